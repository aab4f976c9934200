"""`$lib.infosec.cvss` and `$lib.infosec.mitre.attack.flow`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadDataValu
from cellmesh.cortex.storm import cvss
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, toprim, tostr
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

VULNERABILITY_FORM: Final = "risk:vuln"
BASE_METRICS: Final = ("AV", "AC", "PR", "UI", "S", "C", "I", "A")
PROP_HEAD: Final = "cvss:"


def _score(context: RunContext, vector: Any, version: Any) -> dict[str, Any]:
    wanted = None if version is None else tostr(version)
    if wanted is not None and wanted not in cvss.VERSIONS:
        raise BadArg(f"vers is one of {', '.join(cvss.VERSIONS)}", name="vers")
    found, metrics = cvss.read_vector(tostr(vector), wanted)
    result = cvss.scores(found, metrics)
    return {
        "version": found,
        "score": result.score,
        "base": result.base,
        "temporal": result.temporal,
        "environmental": result.environmental,
        "normalized": "/".join(f"{name}:{value}" for name, value in metrics.items()),
    }


def _props(context: RunContext, vector: Any) -> dict[str, str]:
    try:
        _, pairs = cvss.split_vector(tostr(vector))
    except BadDataValu as error:
        raise BadArg(str(error), name="text") from error
    return {f"{PROP_HEAD}{name.lower()}": value for name, value in pairs}


def _require_vulnerability(node: Any) -> Node:
    if not isinstance(node, Node) or node.form.name != VULNERABILITY_FORM:
        raise BadArg(f"the node is a {VULNERABILITY_FORM}", name="node")
    return node


def _save(context: RunContext, node: Any, vector: Any) -> None:
    vulnerability = _require_vulnerability(node)
    context.check_writable()
    for name, value in _props(context, vector).items():
        context.session.set_prop(vulnerability, name, value)


def _calculate(context: RunContext, node: Any, save: Any, version: Any) -> dict[str, Any]:
    vulnerability = _require_vulnerability(node)
    props = {name: vulnerability.get(name) for name in _metric_props()}
    found = _calculated(props, version)
    if tobool(save):
        context.check_writable()
        saved = {"cvss:score": found["score"]}
        saved |= {
            f"cvss:score:{name}": found["scores"][name] for name in ("base", "temporal", "environmental")
        }
        for name, value in saved.items():
            if value is not None:
                context.session.set_prop(vulnerability, name, value)
    return found


def _calculate_props(context: RunContext, props: Any, version: Any) -> dict[str, Any]:
    found = toprim(props)
    if not isinstance(found, dict):
        raise BadArg("props is a dictionary", name="props")
    return _calculated(found, version)


def _metric_props() -> tuple[str, ...]:
    return tuple(f"{PROP_HEAD}{name.lower()}" for name in (*BASE_METRICS, *_FURTHER))


_FURTHER: Final = ("E", "RL", "RC", "CR", "IR", "AR", "MAV", "MAC", "MPR", "MUI", "MS", "MC", "MI", "MA")
_GROUPS: Final = (("E", "RL", "RC"), _FURTHER[3:])


def _calculated(props: dict[str, Any], version: Any) -> dict[str, Any]:
    if tostr(version) != "3.1":
        raise BadArg("scores of properties are those of version 3.1", name="vers")
    values = {name: props.get(f"{PROP_HEAD}{name.lower()}") for name in (*BASE_METRICS, *_FURTHER)}
    shown: dict[str, Any] = {"base": None, "temporal": None, "environmental": None}
    score = None
    if all(values[name] is not None for name in BASE_METRICS):
        # A group of metrics counts when all of it is known.
        kept = list(BASE_METRICS)
        for group in _GROUPS:
            if all(values[name] is not None for name in group):
                kept += group
        vector = "/".join(f"{name}:{values[name]}" for name in kept)
        result = cvss.scores("3.1", cvss.read_vector(vector, "3.1")[1])
        score = result.score
        shown = {
            "base": result.base,
            "temporal": result.temporal,
            "environmental": result.environmental,
            "impact": result.impact,
            "exploitability": result.exploitability,
        }
    return {"ok": True, "version": "3.1", "score": score, "scores": shown}


_NODE: Final = ParameterSpec("node", type="node", doc="A risk:vuln.")
_VERSION: Final = ParameterSpec("vers", "3.1", "str", "The version of CVSS.")

LIBRARIES: Final = (
    LibrarySpec(
        ("infosec", "cvss"),
        "Scores of vulnerabilities.",
        (
            FunctionSpec(
                "calculate",
                "The scores of a risk:vuln by its `:cvss:` properties.",
                _calculate,
                (_NODE, ParameterSpec("save", True, "bool", "Set the properties of the scores."), _VERSION),
                "dict",
                may_change=True,
            ),
            FunctionSpec(
                "calculateFromProps",
                "The scores by `cvss:` properties.",
                _calculate_props,
                (ParameterSpec("props", type="dict", doc="The properties."), _VERSION),
                "dict",
            ),
            FunctionSpec(
                "saveVectToNode",
                "Set the `:cvss:` properties of a risk:vuln as a vector has them.",
                _save,
                (_NODE, ParameterSpec("text", type="str", doc="The vector.")),
                changes_state=True,
            ),
            FunctionSpec(
                "vectToProps",
                "The `cvss:` properties as a vector has them.",
                _props,
                (ParameterSpec("text", type="str", doc="The vector."),),
                "dict",
            ),
            FunctionSpec(
                "vectToScore",
                "The scores of a vector.",
                _score,
                (
                    ParameterSpec("vect", type="str", doc="The vector."),
                    ParameterSpec(
                        "vers", None, "str", "The version: 2, 3.0 or 3.1; by default as it is written."
                    ),
                ),
                "dict",
            ),
        ),
    ),
)
