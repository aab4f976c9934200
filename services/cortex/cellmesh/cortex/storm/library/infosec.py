"""`$lib.infosec.cvss` and `$lib.infosec.mitre.attack.flow`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import BadArg, BadDataValu, BadTypeValu
from cellmesh.cortex.storm.formats import cvss
from cellmesh.cortex.storm.formats.attack_flow import FLOW, author_of, flow_of, normalised
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, toprim, tostr
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

VULNERABILITY_FORM: Final = "risk:vuln"
BASE_METRICS: Final = ("AV", "AC", "PR", "UI", "S", "C", "I", "A")
PROP_HEAD: Final = "cvss:"
PROP_VERSION: Final = "3.1"
"""The version whose metrics are properties of a risk:vuln."""


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
        version, pairs = cvss.split_vector(tostr(vector))
    except BadDataValu as error:
        raise BadArg(str(error), name="text") from error
    # The properties of a vulnerability hold the metrics of one version.
    if version not in (None, PROP_VERSION) or any(not cvss.is_metric(name) for name, _ in pairs):
        raise BadArg(f"this is no vector of CVSS {PROP_VERSION}", name="text")
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


def _norm_flow(context: RunContext, flow: Any) -> dict[str, Any]:
    return normalised(toprim(flow))


def _ingest_flow(context: RunContext, flow: Any) -> Node | None:
    """Keep a flow as a node, named by all that it says; None for one that does not tell who drew it."""
    found = normalised(toprim(flow))
    context.check_writable()
    session, model = context.session, context.model
    author, known = author_of(found), flow_of(found)
    contact: dict[str, Any] = {}
    for name, value in (("name", author.get("name")), ("email", author.get("contact_information"))):
        try:
            contact[name] = model.require_prop(f"ps:contact:{name}").type.norm(value)
        except BadTypeValu:
            # Whoever draws a flow may give no name, or no address.
            if name == "name":
                context.warn("the flow does not tell the name of who drew it")
                return None
    node = session.add_node(model.require_form("it:mitre:attack:flow"), hashing.guid([found]))
    user = model.iden_of("user", context.user)
    named = hashing.guid([FLOW, contact["name"], contact.get("email")])
    drawn_by = session.add_node(model.require_form("ps:contact"), named)
    for name, value in contact.items():
        session.set_prop(drawn_by, name, value)
    for name, value in (
        ("name", known["name"]),
        ("data", found),
        ("created", known["created"]),
        ("updated", known["modified"]),
        ("author:user", user),
        ("author:contact", drawn_by.value),
    ):
        if value is not None:
            session.set_prop(node, name, value)
    return node


_FLOW: Final = ParameterSpec("flow", type="dict", doc="The flow: a bundle of STIX 2.1.")

_OLD_SCORES: Final = "vectToScore() gives the scores of a vector"

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
                deprecated=_OLD_SCORES,
            ),
            FunctionSpec(
                "saveVectToNode",
                "Set the `:cvss:` properties of a risk:vuln as a vector has them.",
                _save,
                (_NODE, ParameterSpec("text", type="str", doc="The vector.")),
                changes_state=True,
                deprecated=_OLD_SCORES,
            ),
            FunctionSpec(
                "vectToProps",
                "The `cvss:` properties as a vector has them.",
                _props,
                (ParameterSpec("text", type="str", doc="The vector."),),
                "dict",
                deprecated=_OLD_SCORES,
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
    LibrarySpec(
        ("infosec", "mitre", "attack", "flow"),
        "Attack Flow 2.0: drawings of how attacks went.",
        (
            FunctionSpec(
                "ingest",
                "Keep a flow as a node; null, with a warning, for one that does not tell who drew it.",
                _ingest_flow,
                (_FLOW,),
                "node",
                changes_state=True,
            ),
            FunctionSpec(
                "norm",
                "Check a flow, and give it with its objects and names in order.",
                _norm_flow,
                (_FLOW,),
                "dict",
            ),
        ),
    ),
)
