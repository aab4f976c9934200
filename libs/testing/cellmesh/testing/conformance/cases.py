"""Reads conformance cases from JSON Lines files, one file an area."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """One query to run: its text, its options as the case file has them, and the user."""

    text: str
    options: dict[str, Any]
    user: str
    is_call: bool


@dataclass(frozen=True, slots=True)
class Case:
    """One case: queries that set the stage, the query to judge, and what must come of it."""

    area: str
    name: str
    setup: tuple[Step, ...]
    query: Step
    expect: dict[str, Any]

    @property
    def key(self) -> str:
        """The case's name across areas, such as `04-pivot/form-unknown`."""
        return f"{self.area}/{self.name}"


def read_cases(folder: Path, areas: list[str] | None = None, names: list[str] | None = None) -> list[Case]:
    """Return the cases of every `*.jsonl` in `folder`, in file order.

    Args:
        folder: Where the files lie.
        areas: Only areas that begin with one of these, such as "04"; None or empty means all.
        names: Only cases with one of these names; None or empty means all.

    Raises:
        SystemExit: the folder holds no cases, or a line is not a case; the text names file and line.
    """
    cases: list[Case] = []
    for path in sorted(folder.glob("*.jsonl")):
        if areas and not any(path.stem.startswith(area) for area in areas):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                case = _case(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise SystemExit(f"{path}:{number}: not a conformance case: {error!r}") from error
            if not names or case.name in names:
                cases.append(case)
    if not cases:
        raise SystemExit(f"no conformance cases in {folder} (areas {areas or 'all'}, cases {names or 'all'})")
    return cases


def _case(row: dict[str, Any]) -> Case:
    text = row["storm"] if "storm" in row else row["call"]
    query = Step(text, dict(row.get("opts") or {}), row.get("as") or "root", "call" in row)
    setup = tuple(_setup_step(entry) for entry in row.get("setup") or ())
    return Case(row["area"], row["id"], setup, query, row["expect"])


def _setup_step(entry: str | dict[str, Any]) -> Step:
    if isinstance(entry, str):
        return Step(entry, {}, "root", False)
    return Step(entry["storm"], dict(entry.get("opts") or {}), entry.get("as") or "root", False)
