"""`$lib.globals`, `$lib.macro` and `$lib.queue`: what the cell keeps beside the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, DupName, NoSuchName, NoSuchRole, NoSuchUser, StormRuntimeError
from cellmesh.cortex.storm.library.graph import user_iden
from cellmesh.cortex.storm.objects.queues import QueueObject
from cellmesh.cortex.storm.parser import parse_source
from cellmesh.cortex.storm.parser.ast import ParseMode
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.rights import AUTH, EASY_ADMIN, EASY_DENY
from cellmesh.cortex.storm.runtime.values import toint, toprim, tostored, tostr
from cellmesh.cortex.storm.source import Source

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


# Global variables.


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise StormRuntimeError("the name of a global variable is text", name="name")
    return name


def _globals_get(context: RunContext, name: Any, default: Any) -> Any:
    return context.capability("globals").get(context.session, _name(name), default)


def _globals_set(context: RunContext, name: Any, value: Any) -> Any:
    kept = tostored(value)
    context.capability("globals").put(context.session, _name(name), kept)
    return kept


def _globals_pop(context: RunContext, name: Any, default: Any) -> Any:
    return context.capability("globals").pop(context.session, _name(name), default)


def _globals_list(context: RunContext) -> Any:
    """Those that the user may read."""
    rights = context.run.rights
    return [
        [name, value]
        for name, value in context.capability("globals").all(context.session)
        if rights is None or rights.allowed(("globals", "get", name))
    ]


# Macros.


def set_macro(context: RunContext, name: Any, query: Any) -> None:
    """Make or change a macro."""
    text = _macro_name(name)
    context.capability("macros").set(context.session, text, macro_text(context, query), user_iden(context))


def macro_text(context: RunContext, query: Any) -> str:
    """Return the text of a query for a macro, which may use variables that its caller sets."""
    if isinstance(query, StormQuery):
        return query.text
    text = tostr(query)
    parse_source(Source(text), ParseMode.STORM)
    return text


def _macro_name(name: Any) -> str:
    text = tostr(name)
    if not text:
        raise BadArg("a macro has a name", name="name")
    return text


def _macro_get(context: RunContext, name: Any) -> Any:
    return context.capability("macros").get(context.session, _macro_name(name))


def _macro_del(context: RunContext, name: Any) -> None:
    context.capability("macros").remove(context.session, _macro_name(name))


def _macro_list(context: RunContext) -> Any:
    return [known for _, known in context.capability("macros").all(context.session)]


def _macro_mod(context: RunContext, name: Any, info: Any) -> None:
    facts = toprim(info)
    if not isinstance(facts, dict):
        raise BadArg("info is a dictionary", name="info")
    if "storm" in facts:
        facts["storm"] = macro_text(context, facts["storm"])
    context.capability("macros").change(context.session, tostr(name), facts)


def _require_holder(policy: Any, kind: str, holder: str) -> None:
    if kind == "users" and holder not in policy.users:
        raise NoSuchUser(f"there is no user {holder[:64]}", iden=holder[:64])
    if kind == "roles" and holder not in policy.roles:
        raise NoSuchRole(f"there is no role {holder[:64]}", iden=holder[:64])


def _macro_grant(context: RunContext, name: Any, scope: Any, holder: Any, level: Any) -> None:
    wanted = None if level is None else toint(level)
    if context.capability("macros").get(context.session, tostr(name)) is None:
        raise NoSuchName(f"no macro named {tostr(name)}", name=tostr(name))
    kind = tostr(scope)
    if kind not in ("users", "roles"):
        raise BadArg("scope is users or roles", name="scope", valu=kind)
    if wanted is not None and not EASY_DENY <= wanted <= EASY_ADMIN:
        raise BadArg(f"level is {EASY_DENY} to {EASY_ADMIN}", name="level", valu=wanted)
    auth: Any = context.run.engine.capabilities.get(AUTH)
    if wanted is not None and auth is not None:
        _require_holder(auth.policy, kind, tostr(holder))
    context.capability("macros").grant(context.session, tostr(name), kind, tostr(holder), wanted)


# Queues.


def _queue_name(name: Any) -> str:
    if not isinstance(name, str):
        raise BadArg("the name of a queue is text", name="name")
    return name


def _queue_add(context: RunContext, name: Any) -> QueueObject:
    text = _queue_name(name)
    context.capability("queues").add(context.session, text, user_iden(context))
    return QueueObject(text)


def _queue_get(context: RunContext, name: Any) -> QueueObject:
    text = tostr(name)
    if not context.capability("queues").has(context.session, text):
        raise NoSuchName(f"no queue named {text}", name=text)
    return QueueObject(text)


def _queue_gen(context: RunContext, name: Any) -> QueueObject:
    text = _queue_name(name)
    if not context.capability("queues").has(context.session, text):
        try:
            return _queue_add(context, text)
        except DupName:  # another query was quicker
            pass
    return QueueObject(text)


def _queue_del(context: RunContext, name: Any) -> None:
    context.capability("queues").remove(context.session, tostr(name))


def _queue_list(context: RunContext) -> Any:
    """Those that the user may read, or has made."""
    rights = context.run.rights
    return [
        known
        for known in context.capability("queues").describe(context.session)
        if rights is None
        or known["meta"]["creator"] == rights.user_id
        or rights.allowed(("queue", "get"), f"queue:{known['name']}")
    ]


_GLOBAL: Final = ParameterSpec("name", type="str", doc="The name of the variable.")
_MACRO: Final = ParameterSpec("name", type="str", doc="The name of the macro.")
_QUEUE: Final = ParameterSpec("name", type="str", doc="The name of the queue.")
_DEFAULT: Final = ParameterSpec("default", None, "prim", "What to give when there is none.")

LIBRARIES: Final = (
    LibrarySpec(
        ("globals",),
        "Variables that all queries share; they are kept.",
        (
            FunctionSpec("get", "The value of a variable.", _globals_get, (_GLOBAL, _DEFAULT), "prim"),
            FunctionSpec("list", "Names and values.", _globals_list, (), "list"),
            FunctionSpec(
                "pop",
                "Remove a variable; gives what its value was.",
                _globals_pop,
                (_GLOBAL, _DEFAULT),
                "prim",
                changes_state=True,
            ),
            FunctionSpec(
                "set",
                "Set a variable; gives the value back.",
                _globals_set,
                (_GLOBAL, ParameterSpec("valu", type="prim", doc="Its value.")),
                "any",
                changes_state=True,
            ),
        ),
    ),
    LibrarySpec(
        ("macro",),
        "Queries kept under a name, run by the command `macro.exec`.",
        (
            FunctionSpec("del", "Remove a macro.", _macro_del, (_MACRO,), changes_state=True),
            FunctionSpec(
                "get", "What is known of a macro; null if there is none.", _macro_get, (_MACRO,), "dict"
            ),
            FunctionSpec(
                "grant",
                "Say what a user or role may do with a macro.",
                _macro_grant,
                (
                    _MACRO,
                    ParameterSpec("scope", type="str", doc="What the iden is of: users or roles."),
                    ParameterSpec("iden", type="str", doc="The user or role."),
                    ParameterSpec(
                        "level", type="int", doc="0 nothing, 1 read, 2 edit, 3 all; null takes it back."
                    ),
                ),
                changes_state=True,
            ),
            FunctionSpec("list", "All macros.", _macro_list, (), "list"),
            FunctionSpec(
                "mod",
                "Change the name, description or query of a macro.",
                _macro_mod,
                (_MACRO, ParameterSpec("info", type="dict", doc="The facts to change: name, desc, storm.")),
                changes_state=True,
            ),
            FunctionSpec(
                "set",
                "Make a macro, or give it another query.",
                set_macro,
                (_MACRO, ParameterSpec("storm", type="query", doc="The query.")),
                changes_state=True,
            ),
        ),
    ),
    LibrarySpec(
        ("queue",),
        "Queues of items, which are kept until they are culled.",
        (
            FunctionSpec("add", "Make a queue.", _queue_add, (_QUEUE,), "queue", changes_state=True),
            FunctionSpec("del", "Remove a queue and its items.", _queue_del, (_QUEUE,), changes_state=True),
            FunctionSpec(
                "gen", "A queue, made if there is none.", _queue_gen, (_QUEUE,), "queue", changes_state=True
            ),
            # What is taken from it may be removed.
            FunctionSpec("get", "A queue.", _queue_get, (_QUEUE,), "queue", may_change=True),
            FunctionSpec("list", "What is known of each queue.", _queue_list, (), "list"),
        ),
    ),
)
