"""`$lib.graph`: graph projections, which are rules for pictures of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import BadArg, NoSuchIden, SchemaViolation
from cellmesh.cortex.storm.library.graph import user_iden
from cellmesh.cortex.storm.packages import parsed
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.rights import EASY_ADMIN, EASY_DENY, EASY_READ
from cellmesh.cortex.storm.runtime.values import toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

DEFAULTS: Final[dict[str, Any]] = {
    "desc": "",
    "refs": False,
    "edges": True,
    "edgelimit": 3000,
    "filterinput": True,
    "yieldfiltered": False,
}
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "name": (str,),
    "desc": (str,),
    "degrees": (int, type(None)),
    "refs": (bool,),
    "edges": (bool,),
    "edgelimit": (int,),
    "filterinput": (bool,),
    "yieldfiltered": (bool,),
    "pivots": (list, tuple),
    "filters": (list, tuple),
    "forms": (dict,),
}


def _rules(value: Any) -> dict[str, Any]:
    """Check the rules of a projection.

    Raises:
        SchemaViolation: something in them is not known, or of the wrong kind.
        BadSyntax: a query in them does not parse.
    """
    found = toprim(value)
    if not isinstance(found, dict):
        raise SchemaViolation("a graph projection is a dictionary", name="gdef")
    for name, item in found.items():
        if name not in _KINDS or not isinstance(item, _KINDS[name]):
            raise SchemaViolation(f"{name} of a graph projection cannot be {item!r}", name=str(name))
    _check_queries(found)
    for form, rules in found.get("forms", {}).items():
        if not isinstance(rules, dict) or rules.keys() - {"pivots", "filters"}:
            raise SchemaViolation(f"the rules for {form} have pivots and filters", name=form)
        _check_queries(rules)
    return dict(found)


def _check_queries(rules: dict[str, Any]) -> None:
    for name in ("pivots", "filters"):
        for text in rules.get(name, ()):
            parsed(tostr(text))


def _add(context: RunContext, definition: Any) -> Any:
    rules = _rules(definition)
    if "name" not in rules:
        raise SchemaViolation("a graph projection has a name", name="name")
    return context.capability("graph.projections").add(
        context.session, {**DEFAULTS, **rules}, user_iden(context)
    )


def _of_packages(context: RunContext) -> dict[str, dict[str, Any]]:
    """The projections that packages bring, by iden."""
    found = {}
    for package, definition in context.capability("packages").all(context.session):
        for rules in definition.get("graphs", ()):
            iden = hashing.guid([package, rules["name"]])
            found[iden] = {
                **DEFAULTS,
                **rules,
                "iden": iden,
                "scope": "power-up",
                "power-up": package,
                "permissions": {"users": {}, "roles": {}, "default": 1},
            }
    return found


def _get(context: RunContext, iden: Any) -> Any:
    if iden is None:
        return None
    wanted = tostr(iden)
    found = context.capability("graph.projections").get(context.session, wanted)
    if found is None:
        found = _of_packages(context).get(wanted)
    if found is None:
        raise NoSuchIden(f"there is no graph projection {wanted}", iden=wanted)
    return found


def _activate(context: RunContext, iden: Any) -> None:
    context.run.projection = _get(context, tostr(iden))


def _list(context: RunContext) -> list[Any]:
    rights = context.run.rights
    own = [
        known
        for _, known in context.capability("graph.projections").all(context.session)
        if rights is None or rights.level(known["permissions"]) >= EASY_READ
    ]
    return sorted([*own, *_of_packages(context).values()], key=lambda known: str(known["name"]))


def _mod(context: RunContext, iden: Any, facts: Any) -> None:
    context.capability("graph.projections").modify(context.session, tostr(iden), _rules(facts))


def _del(context: RunContext, iden: Any) -> None:
    context.capability("graph.projections").remove(context.session, tostr(iden))


def _scope(value: Any) -> str:
    scope = tostr(value)
    if scope not in ("users", "roles"):
        raise BadArg("scope is users or roles", name="scope", valu=scope)
    return scope


def _grant(context: RunContext, iden: Any, scope: Any, holder: Any, level: Any) -> None:
    if not EASY_DENY <= toint(level) <= EASY_ADMIN:
        raise BadArg(f"level is {EASY_DENY} to {EASY_ADMIN}", name="level", valu=toint(level))
    context.capability("graph.projections").grant(
        context.session, tostr(iden), _scope(scope), tostr(holder), toint(level)
    )


def _revoke(context: RunContext, iden: Any, scope: Any, holder: Any) -> None:
    context.capability("graph.projections").grant(
        context.session, tostr(iden), _scope(scope), tostr(holder), None
    )


_IDEN: Final = ParameterSpec("iden", type="str", doc="Which projection.")
_WHICH: Final = ParameterSpec("gden", type="str", doc="Which projection.")
_SCOPE: Final = ParameterSpec("scope", type="str", doc="What the iden is of: users or roles.")
_HOLDER: Final = ParameterSpec("iden", type="str", doc="The user or role.")

LIBRARIES: Final = (
    LibrarySpec(
        ("graph",),
        "Graph projections: rules for pictures of the graph.",
        (
            FunctionSpec(
                "add",
                "Keep a projection; gives what is known of it.",
                _add,
                (ParameterSpec("gdef", type="dict", doc="Its name and rules."),),
                "dict",
                changes_state=True,
            ),
            FunctionSpec(
                "activate",
                "Have the query give the picture that grows from its nodes by a projection's rules.",
                _activate,
                (_IDEN,),
            ),
            FunctionSpec("del", "Remove a projection.", _del, (_IDEN,), changes_state=True),
            FunctionSpec(
                "get",
                "What is known of a projection; null without an iden.",
                _get,
                (ParameterSpec("iden", None, "str", "Which projection."),),
                "dict",
            ),
            FunctionSpec(
                "grant",
                "Say what a user or role may do with a projection.",
                _grant,
                (
                    _WHICH,
                    _SCOPE,
                    _HOLDER,
                    ParameterSpec("level", type="int", doc="0 nothing, 1 read, 2 edit, 3 all."),
                ),
                changes_state=True,
            ),
            FunctionSpec(
                "list",
                "The projections that the user may read, those of packages as well.",
                _list,
                (),
                "list",
            ),
            FunctionSpec(
                "mod",
                "Change facts about a projection.",
                _mod,
                (_IDEN, ParameterSpec("info", type="dict", doc="The facts to change.")),
                changes_state=True,
            ),
            FunctionSpec(
                "revoke",
                "Take back what a user or role may do with a projection.",
                _revoke,
                (_WHICH, _SCOPE, _HOLDER),
                changes_state=True,
            ),
        ),
    ),
)
