"""Scores of the Common Vulnerability Scoring System, versions 2, 3.0 and 3.1, from vectors.

Formulas and weights are those of FIRST's specifications.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cellmesh.common.errors import BadDataValu

VERSIONS: Final = ("2", "3.0", "3.1")

_AV3: Final = {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2}
_AC3: Final = {"L": 0.77, "H": 0.44}
_PR3: Final = {"N": 0.85, "L": 0.62, "H": 0.27}
_PR3_CHANGED: Final = {"N": 0.85, "L": 0.68, "H": 0.5}
_UI3: Final = {"N": 0.85, "R": 0.62}
_SCOPE: Final = {"U": 0.0, "C": 0.0}
_CIA3: Final = {"H": 0.56, "L": 0.22, "N": 0.0}
_REQUIRED3: Final = {"H": 1.5, "M": 1.0, "L": 0.5}

_METRICS3: Final[dict[str, dict[str, float]]] = {
    "AV": _AV3,
    "AC": _AC3,
    "PR": _PR3,
    "UI": _UI3,
    "S": _SCOPE,
    "C": _CIA3,
    "I": _CIA3,
    "A": _CIA3,
    "E": {"H": 1.0, "F": 0.97, "P": 0.94, "U": 0.91},
    "RL": {"U": 1.0, "W": 0.97, "T": 0.96, "O": 0.95},
    "RC": {"C": 1.0, "R": 0.96, "U": 0.92},
    "CR": _REQUIRED3,
    "IR": _REQUIRED3,
    "AR": _REQUIRED3,
    "MAV": _AV3,
    "MAC": _AC3,
    "MPR": _PR3,
    "MUI": _UI3,
    "MS": _SCOPE,
    "MC": _CIA3,
    "MI": _CIA3,
    "MA": _CIA3,
}
_BASE3: Final = ("AV", "AC", "PR", "UI", "S", "C", "I", "A")
_TEMPORAL: Final = ("E", "RL", "RC")
_ENVIRONMENTAL3: Final = ("CR", "IR", "AR", "MAV", "MAC", "MPR", "MUI", "MS", "MC", "MI", "MA")

_CIA2: Final = {"N": 0.0, "P": 0.275, "C": 0.66}
_REQUIRED2: Final = {"L": 0.5, "M": 1.0, "H": 1.51}
_METRICS2: Final[dict[str, dict[str, float]]] = {
    "AV": {"L": 0.395, "A": 0.646, "N": 1.0},
    "AC": {"H": 0.35, "M": 0.61, "L": 0.71},
    "Au": {"M": 0.45, "S": 0.56, "N": 0.704},
    "C": _CIA2,
    "I": _CIA2,
    "A": _CIA2,
    "E": {"U": 0.85, "POC": 0.9, "F": 0.95, "H": 1.0},
    "RL": {"OF": 0.87, "TF": 0.9, "W": 0.95, "U": 1.0},
    "RC": {"UC": 0.9, "UR": 0.95, "C": 1.0},
    "CDP": {"N": 0.0, "L": 0.1, "LM": 0.3, "MH": 0.4, "H": 0.5},
    "TD": {"N": 0.0, "L": 0.25, "M": 0.75, "H": 1.0},
    "CR": _REQUIRED2,
    "IR": _REQUIRED2,
    "AR": _REQUIRED2,
}
_BASE2: Final = ("AV", "AC", "Au", "C", "I", "A")
_ENVIRONMENTAL2: Final = ("CDP", "TD", "CR", "IR", "AR")

_UNSET2: Final = "ND"
_UNSET3: Final = "X"


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of a vector; None for those that nothing in it is about.

    Attributes:
        impact, exploitability: The parts of the base score, rounded.
    """

    base: float
    temporal: float | None
    environmental: float | None
    impact: float
    exploitability: float

    @property
    def score(self) -> float:
        """The most specific one."""
        if self.environmental is not None:
            return self.environmental
        return self.base if self.temporal is None else self.temporal


def is_metric(name: str) -> bool:
    """Whether versions 3.0 and 3.1 have a metric of this name."""
    return name in _METRICS3


def split_vector(text: str) -> tuple[str | None, list[tuple[str, str]]]:
    """Return the version that a vector names, if it does, and its metrics as they stand.

    Raises:
        BadDataValu: it is no vector.
    """
    inner, version = text.strip(), None
    if inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1]
    if inner.upper().startswith("CVSS:"):
        head, _, inner = inner.partition("/")
        version = head[5:]
    pairs = []
    for part in inner.split("/"):
        name, mark, value = part.partition(":")
        if not (name and mark and value) or ":" in value:
            raise BadDataValu(f"{text} is no CVSS vector", name="vect", valu=text)
        pairs.append((name, value))
    return version, pairs


def read_vector(text: str, version: str | None = None) -> tuple[str, dict[str, str]]:
    """Return version and metrics of a vector, in their usual order, without those that are not defined.

    Args:
        text: The vector.
        version: What it must be of; by default what it names, or is written like.

    Raises:
        BadDataValu: it is no vector of the version.
    """
    named, pairs = split_vector(text)
    if named is not None and named not in VERSIONS:
        raise BadDataValu(f"{text} is of no known version of CVSS", name="vect", valu=text)
    if version is not None and named is not None and named != version:
        raise BadDataValu(f"{text} is no vector of version {version}", name="vect", valu=text)
    found = version or named or ("2" if any(name == "Au" for name, _ in pairs) else "3.1")
    metrics, base, unset = (_METRICS2, _BASE2, _UNSET2) if found == "2" else (_METRICS3, _BASE3, _UNSET3)
    known: dict[str, str] = {}
    for name, value in pairs:
        if name in known:
            raise BadDataValu(f"{text} has {name} twice", name="vect", valu=text)
        is_unset = value == unset and name not in base
        if name not in metrics or (value not in metrics[name] and not is_unset):
            raise BadDataValu(f"{name}:{value} is nothing in CVSS {found}", name="vect", valu=text)
        known[name] = value
    missing = [name for name in base if name not in known]
    if missing:
        raise BadDataValu(f"{text} lacks {', '.join(missing)}", name="vect", valu=text)
    return found, {
        name: known[name] for name in metrics if name in known and (name in base or known[name] != unset)
    }


def scores(version: str, metrics: Mapping[str, str]) -> Scores:
    """Work out the scores of metrics that `read_vector` gave."""
    return _scores2(metrics) if version == "2" else _scores3(metrics, version)


def _scores2(metrics: Mapping[str, str]) -> Scores:
    def weight(name: str, default: float = 1.0) -> float:
        value = metrics.get(name)
        return default if value is None else _METRICS2[name][value]

    def base_of(impact: float) -> float:
        factor = 1.176 if impact else 0.0
        return round(((0.6 * impact) + (0.4 * exploitability) - 1.5) * factor, 1)

    def temporal_of(base: float) -> float:
        return round(base * weight("E") * weight("RL") * weight("RC"), 1)

    exploitability = 20 * weight("AV") * weight("AC") * weight("Au")
    impact = 10.41 * (1 - (1 - weight("C")) * (1 - weight("I")) * (1 - weight("A")))
    base = base_of(impact)
    temporal = temporal_of(base) if any(name in metrics for name in _TEMPORAL) else None
    environmental = None
    if any(name in metrics for name in _ENVIRONMENTAL2):
        left = math.prod(1 - weight(name) * weight(f"{name}R") for name in ("C", "I", "A"))
        adjusted = temporal_of(base_of(min(10.0, 10.41 * (1 - left))))
        environmental = round((adjusted + (10 - adjusted) * weight("CDP", 0.0)) * weight("TD"), 1)
    return Scores(base, temporal, environmental, round(impact, 1), round(exploitability, 1))


def _scores3(metrics: Mapping[str, str], version: str) -> Scores:
    def weight(name: str) -> float:
        value = metrics.get(name)
        return 1.0 if value is None else _METRICS3[name][value]

    def modified(name: str) -> str:
        return metrics.get(f"M{name}", metrics[name])

    def exploitability_of(values: Mapping[str, str]) -> float:
        rights = _PR3_CHANGED if values["S"] == "C" else _PR3
        return 8.22 * _AV3[values["AV"]] * _AC3[values["AC"]] * rights[values["PR"]] * _UI3[values["UI"]]

    def score_of(impact: float, exploitability: float, *, is_changed: bool) -> float:
        if impact <= 0:
            return 0.0
        return up(min(10.0, (1.08 if is_changed else 1.0) * (impact + exploitability)))

    up = _rounded_up if version == "3.1" else _rounded_up_30
    is_changed = metrics["S"] == "C"
    exploitability = exploitability_of(metrics)
    part = 1 - math.prod(1 - _CIA3[metrics[name]] for name in ("C", "I", "A"))
    impact = 7.52 * (part - 0.029) - 3.25 * (part - 0.02) ** 15 if is_changed else 6.42 * part
    base = score_of(impact, exploitability, is_changed=is_changed)
    chance = weight("E") * weight("RL") * weight("RC")
    temporal = up(base * chance) if any(name in metrics for name in _TEMPORAL) else None
    environmental = None
    if any(name in metrics for name in _ENVIRONMENTAL3):
        own = {name: modified(name) for name in _BASE3}
        is_changed = own["S"] == "C"
        part = min(
            0.915, 1 - math.prod(1 - _CIA3[own[name]] * weight(f"{name}R") for name in ("C", "I", "A"))
        )
        if not is_changed:
            changed = 6.42 * part
        elif version == "3.1":
            changed = 7.52 * (part - 0.029) - 3.25 * (part * 0.9731 - 0.02) ** 13
        else:
            changed = 7.52 * (part - 0.029) - 3.25 * (part - 0.02) ** 15
        environmental = up(score_of(changed, exploitability_of(own), is_changed=is_changed) * chance)
    return Scores(base, temporal, environmental, round(max(0.0, impact), 1), round(exploitability, 1))


def _rounded_up(value: float) -> float:
    """Round up to one digit, free of what binary fractions add."""
    whole = round(value * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (whole // 10_000 + 1) / 10


def _rounded_up_30(value: float) -> float:
    return math.ceil(round(value * 10, 9)) / 10


__all__ = ["VERSIONS", "Scores", "read_vector", "scores", "split_vector"]
