"""`$lib.trigger`, triggers as values, and the commands `trigger.*`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.automation.store import by_prefix, writing_in
from cellmesh.cortex.automation.storm_values import iden_of_user, query_text, user_of_iden
from cellmesh.cortex.automation.triggers import Trigger, Triggers
from cellmesh.cortex.storm.commands.acting import lib
from cellmesh.cortex.storm.runtime.interface import (
    Arguments,
    ArgumentSpec,
    AttributeSpec,
    CommandSpec,
    FunctionSpec,
    LibrarySpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.values import tobool, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

_PREFIX: Final = ParameterSpec("prefix", type="str", doc="The iden, or what it begins with.")
_HIDDEN: Final = frozenset({"number"})


class TriggerObject:
    """A trigger in a query."""

    __slots__ = ("trigger", "user_iden")

    def __init__(self, context: RunContext, trigger: Trigger) -> None:
        self.trigger = trigger
        self.user_iden = iden_of_user(context, trigger.row["user"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TriggerObject) and other.trigger is self.trigger

    def __hash__(self) -> int:
        return hash(self.trigger.iden)

    def storm_plain(self) -> dict[str, Any]:
        """Return what is known of it."""
        trigger = self.trigger
        return {
            **{name: value for name, value in trigger.row.items() if name not in _HIDDEN},
            "user": self.user_iden,
            "username": trigger.row["user"],
            "startcount": trigger.start_count,
            "errcount": trigger.error_count,
            "lasterrs": list(trigger.errors),
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"trigger: {self.storm_plain()}"


def _triggers(context: RunContext) -> Triggers:
    found: Triggers = context.capability("triggers")
    return found


def _by_prefix(context: RunContext, prefix: Any) -> Trigger:
    triggers = _triggers(context)
    return triggers.get(by_prefix(triggers.by_iden, tostr(prefix), "trigger"))


def _add(context: RunContext, tdef: Any) -> TriggerObject:
    given = toprim(tdef)
    if not isinstance(given, dict):
        raise BadArg("a trigger is defined by a dictionary", name="tdef")
    made = _triggers(context).add(writing_in(context), given, user=context.user, view=str(context.view.id))
    return TriggerObject(context, made)


def _del(context: RunContext, prefix: Any) -> str:
    trigger = _by_prefix(context, prefix)
    _triggers(context).delete(writing_in(context), trigger.iden, user=context.user)
    return trigger.iden


def _list(context: RunContext, is_all: Any) -> list[TriggerObject]:
    view, rights = None if tobool(is_all) else str(context.view.id), context.run.rights
    return [
        TriggerObject(context, found)
        for found in _triggers(context).of_view(view)
        if rights is None
        or found.row["user"] in (rights.user, rights.user_id)
        or rights.allowed(("trigger", "get"), found.iden)
    ]


def _get(context: RunContext, iden: Any) -> TriggerObject:
    return TriggerObject(context, _triggers(context).get(tostr(iden)))


def _change(context: RunContext, prefix: Any, name: str, value: Any) -> str:
    trigger = _by_prefix(context, prefix)
    _triggers(context).set(writing_in(context), trigger, name, value, user=context.user)
    return trigger.iden


def _set(context: RunContext, self: TriggerObject, name: Any, value: Any) -> TriggerObject:
    field = tostr(name)
    match field:
        case "enabled" | "async":
            value = tobool(value)
        case "storm":
            value = query_text(value)
        case "user":
            value = user_of_iden(context, tostr(value))
        case _:
            value = tostr(value)
    _triggers(context).set(writing_in(context), self.trigger, field, value, user=context.user)
    return self


def _move(context: RunContext, self: TriggerObject, view: Any) -> None:
    _triggers(context).move(writing_in(context), self.trigger, tostr(view), user=context.user)


def _item(context: RunContext, self: TriggerObject, key: Any) -> Any:
    return self.storm_plain().get(key)


LIBRARIES: Final = (
    LibrarySpec(
        ("trigger",),
        "Queries that run when a view is edited.",
        (
            FunctionSpec(
                "add",
                "Make a trigger.",
                _add,
                (
                    ParameterSpec(
                        "tdef",
                        type="dict",
                        doc="condition, storm, and form, tag, prop, verb or n2form; "
                        "further name, doc, enabled, async, view, iden.",
                    ),
                ),
                "trigger",
                changes_state=True,
            ),
            FunctionSpec("del", "Remove a trigger.", _del, (_PREFIX,), "str", changes_state=True),
            FunctionSpec(
                "disable",
                "Switch a trigger off.",
                lambda c, prefix: _change(c, prefix, "enabled", False),
                (_PREFIX,),
                "str",
                changes_state=True,
            ),
            FunctionSpec(
                "enable",
                "Switch a trigger on.",
                lambda c, prefix: _change(c, prefix, "enabled", True),
                (_PREFIX,),
                "str",
                changes_state=True,
            ),
            FunctionSpec(
                "get", "A trigger by its iden.", _get, (ParameterSpec("iden", type="str"),), "trigger"
            ),
            FunctionSpec(
                "list",
                "The triggers of the view that the user may see.",
                _list,
                (ParameterSpec("all", False, "bool", "Those of all views."),),
                "list",
            ),
            FunctionSpec(
                "mod",
                "Change the query of a trigger.",
                lambda c, prefix, query: _change(c, prefix, "storm", query_text(query)),
                (_PREFIX, ParameterSpec("query", type="query", doc="The new query.")),
                "str",
                changes_state=True,
            ),
        ),
    ),
)

TYPES: Final = (
    TypeSpec(
        "trigger",
        TriggerObject,
        "A query that runs when a view is edited.",
        (
            FunctionSpec("pack", "What is known of it.", lambda c, self: self.storm_plain(), (), "dict"),
            FunctionSpec(
                "set",
                "Change name, doc, enabled, storm, async or user.",
                _set,
                (ParameterSpec("name", type="str"), ParameterSpec("valu", type="any")),
                "trigger",
                changes_state=True,
            ),
            FunctionSpec(
                "move",
                "Have it watch another view.",
                _move,
                (ParameterSpec("viewiden", type="str"),),
                changes_state=True,
            ),
        ),
        (AttributeSpec("iden", "Its iden.", lambda c, self: self.trigger.iden, "str"),),
        get_item=_item,
    ),
)


# Commands --------------------------------------------------------------------------------------------------------


def _add_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    given = {
        "condition": arguments.condition,
        "storm": query_text(arguments.storm),
        "enabled": not arguments.disabled,
        "async": bool(getattr(arguments, "async")),
    }
    for name in ("form", "tag", "prop", "verb", "n2form", "name", "view"):
        value = getattr(arguments, name)
        if value is not None:
            given[name] = value
    made: TriggerObject = lib(context, "trigger.add", given)
    context.print(f"Added trigger: {made.trigger.iden}")
    yield from rows


def _del_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    context.print(f"Deleted trigger: {lib(context, 'trigger.del', arguments.iden)}")
    yield from rows


def _switch(is_enabled: bool) -> Any:
    def run(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
        iden = lib(context, f"trigger.{'enable' if is_enabled else 'disable'}", arguments.iden)
        context.print(f"{'Enabled' if is_enabled else 'Disabled'} trigger: {iden}")
        yield from rows

    return run


def _mod_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    iden = lib(context, "trigger.mod", arguments.iden, query_text(arguments.query))
    context.print(f"Modified trigger: {iden}")
    yield from rows


def _list_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    found: list[TriggerObject] = lib(context, "trigger.list", arguments.all)
    if found:
        context.print(
            f"{'user':10} {'iden':32} {'view':32} {'en?':6} {'async?':6} {'cond':9} {'object':25} storm query"
        )
    else:
        context.print("No triggers found")
    for item in found:
        row = item.trigger.row
        names = ("form", "tag", "prop", "verb", "n2form")
        subject = " ".join(str(row[name]) for name in names if name in row)
        context.print(
            f"{row['user']:10} {row['iden']:32} {row['view']:32} {str(row['enabled']).lower():6} "
            f"{str(row['async']).lower():6} {row['cond']:9} {subject:25} {row['storm']}"
        )
    yield from rows


_IDEN: Final = ArgumentSpec(("iden",), "The iden of the trigger, or what it begins with.")

COMMANDS: Final = (
    CommandSpec(
        "trigger.add",
        """Make a trigger: a query that runs when an edit of the view meets a condition.

        The conditions are node:add, node:del (with --form), prop:set (--prop), tag:add, tag:del (--tag) and
        edge:add, edge:del (--verb). In tags, * stands for one level and ** for any.

            trigger.add tag:add --tag "cno.*" --query { [ +#todo ] }
        """,
        _add_command,
        (
            ArgumentSpec(("condition",), "What sets it off."),
            ArgumentSpec(("--form",), "The form of the node."),
            ArgumentSpec(("--tag",), "The tag."),
            ArgumentSpec(("--prop",), "The property."),
            ArgumentSpec(("--verb",), "The verb of the edge."),
            ArgumentSpec(("--n2form",), "The form of the node the edge leads to."),
            ArgumentSpec(("--query",), "What to run.", type="query", is_required=True, name="storm"),
            ArgumentSpec(("--async",), "Run it soon, apart from the edit.", action="store_true"),
            ArgumentSpec(("--disabled",), "Leave it switched off.", action="store_true"),
            ArgumentSpec(("--name",), "A name."),
            ArgumentSpec(("--view",), "The iden of the view to watch."),
        ),
        needs_constant=True,
        changes_state=True,
    ),
    CommandSpec("trigger.del", "Remove a trigger.", _del_command, (_IDEN,), changes_state=True),
    CommandSpec("trigger.disable", "Switch a trigger off.", _switch(False), (_IDEN,), changes_state=True),
    CommandSpec("trigger.enable", "Switch a trigger on.", _switch(True), (_IDEN,), changes_state=True),
    CommandSpec(
        "trigger.list",
        "List the triggers of the view.",
        _list_command,
        (ArgumentSpec(("--all",), "List those of all views.", action="store_true"),),
    ),
    CommandSpec(
        "trigger.mod",
        "Change the query of a trigger.",
        _mod_command,
        (_IDEN, ArgumentSpec(("query",), "The new query.", type="query")),
        changes_state=True,
    ),
)
