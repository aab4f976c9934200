"""Commands about what the cell keeps: macro.*, queue.*, model.edge.*, model.deprecated.*."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from cellmesh.common.errors import NoSuchName
from cellmesh.cortex.storm.commands.acting import doing, lib
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import torepr, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


# Macros.


def _macro_set(context: RunContext, arguments: Arguments) -> None:
    query = arguments.storm
    lib(context, "macro.set", arguments.name, query if isinstance(query, StormQuery) else tostr(query))
    context.print(f"Set macro: {arguments.name}")


def _macro_get(context: RunContext, arguments: Arguments) -> None:
    known = lib(context, "macro.get", arguments.name)
    context.print(f"Macro not found: {arguments.name}" if known is None else known["storm"].strip())


def _macro_list(context: RunContext, arguments: Arguments) -> None:
    macros = lib(context, "macro.list")
    for known in macros:
        context.print(f"{known['name']:<20} (owner: {context.user})")
    context.print(f"{len(macros)} macros found")


def _macro_del(context: RunContext, arguments: Arguments) -> None:
    lib(context, "macro.del", arguments.name)
    context.print(f"Removed macro: {arguments.name}")


def _macro_exec(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    """Run a macro on each node, or on none if there are none."""
    is_empty = True
    for path in rows:
        is_empty = False
        yield from context.run_query(_macro(context, arguments.name), context.all_vars(), [path])
    if is_empty and arguments.is_constant:
        yield from context.run_query(_macro(context, arguments.name), context.all_vars())


def _macro(context: RunContext, name: str) -> str:
    known = lib(context, "macro.get", name)
    if known is None:
        raise NoSuchName(f"no macro named {name}", name=name)
    text: str = known["storm"]
    return text


# Queues.


def _queue_add(context: RunContext, arguments: Arguments) -> None:
    lib(context, "queue.add", arguments.name)
    context.print(f"queue added: {arguments.name}")


def _queue_del(context: RunContext, arguments: Arguments) -> None:
    lib(context, "queue.del", arguments.name)
    context.print(f"queue removed: {arguments.name}")


def _queue_list(context: RunContext, arguments: Arguments) -> None:
    context.print("Storm queue list:")
    for known in lib(context, "queue.list"):
        context.print(f"    {known['name']:<32}:  size: {known['size']} offs: {known['offs']}")


# The model.


def _edge_list(context: RunContext, arguments: Arguments) -> None:
    verbs = lib(context, "model.edge.list")
    if not verbs:
        context.print("No edge verbs found in the current view.")
        return
    context.print("\nname       doc")
    context.print("----       ---")
    for verb, said in verbs:
        context.print(f"{verb:<10} {said.get('doc', '')}")
    context.print("")


def _edge_set(context: RunContext, arguments: Arguments) -> None:
    lib(context, "model.edge.set", arguments.verb, arguments.key, arguments.valu)
    context.print(f"Set edge key: verb={arguments.verb} key={arguments.key}")


def _edge_get(context: RunContext, arguments: Arguments) -> None:
    said = lib(context, "model.edge.get", arguments.verb)
    context.print(f"verb = {arguments.verb}")
    for key, value in said.items():
        context.print(f"    {key} = {torepr(value)}")


def _edge_del(context: RunContext, arguments: Arguments) -> None:
    lib(context, "model.edge.del", arguments.verb, arguments.key)
    context.print(f"Deleted edge key: verb={arguments.verb} key={arguments.key}")


def _locks(context: RunContext, arguments: Arguments) -> None:
    context.print("Lock status for deprecated forms/props:")
    for name, is_locked in sorted(lib(context, "model.deprecated.locks").items()):
        context.print(f"{name}: {'true' if is_locked else 'false'}")


def _lock(context: RunContext, arguments: Arguments) -> None:
    word = "Unlocking" if arguments.unlock else "Locking"
    if arguments.name == "*":
        context.print(f"{word} all deprecated model elements.")
        names = list(lib(context, "model.deprecated.locks"))
    else:
        context.print(f"{word}: {arguments.name}")
        names = [arguments.name]
    for name in names:
        lib(context, "model.deprecated.lock", name, not arguments.unlock)


_NAME: Final = ArgumentSpec(("name",), "Its name.")
_VERB: Final = ArgumentSpec(("verb",), "The verb.")
_KEY: Final = ArgumentSpec(("key",), "What is said: doc.")

COMMANDS: Final = (
    CommandSpec("macro.del", "Remove a macro.", doing(_macro_del), (_NAME,), changes_state=True),
    CommandSpec(
        "macro.exec",
        """Run a macro, on each of the nodes if there are any.

            inet:ipv4#cool | macro.exec enrich
        """,
        _macro_exec,
        (_NAME,),
        may_change=True,
    ),
    CommandSpec("macro.get", "Print the query of a macro.", doing(_macro_get), (_NAME,)),
    CommandSpec("macro.list", "Print the names of all macros.", doing(_macro_list)),
    CommandSpec(
        "macro.set",
        """Make a macro, or give it another query.

            macro.set enrich ${ [ +#my.enriched ] }
        """,
        doing(_macro_set),
        (_NAME, ArgumentSpec(("storm",), "The query.", type="any")),
        changes_state=True,
    ),
    CommandSpec(
        "model.deprecated.lock",
        "Lock a deprecated form or property, so that it cannot be used any more.",
        doing(_lock),
        (
            ArgumentSpec(("name",), "Its full name; * for all."),
            ArgumentSpec(("--unlock",), "Unlock it.", action="store_true"),
        ),
        changes_state=True,
    ),
    CommandSpec("model.deprecated.locks", "Print which deprecated names are locked.", doing(_locks)),
    CommandSpec(
        "model.edge.del",
        "Take back what was said of the verb of light edges.",
        doing(_edge_del),
        (_VERB, _KEY),
        changes_state=True,
    ),
    CommandSpec(
        "model.edge.get", "Print what is said of the verb of light edges.", doing(_edge_get), (_VERB,)
    ),
    CommandSpec("model.edge.list", "Print the verbs of light edges in the view.", doing(_edge_list)),
    CommandSpec(
        "model.edge.set",
        "Say something of the verb of light edges.",
        doing(_edge_set),
        (_VERB, _KEY, ArgumentSpec(("valu",), "The text.")),
        changes_state=True,
    ),
    CommandSpec("queue.add", "Make a queue.", doing(_queue_add), (_NAME,), changes_state=True),
    CommandSpec(
        "queue.del", "Remove a queue and its items.", doing(_queue_del), (_NAME,), changes_state=True
    ),
    CommandSpec("queue.list", "Print the queues.", doing(_queue_list)),
)
