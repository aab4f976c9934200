"""Commands about views: view.*, and quorum.merge.list of their merge requests."""

from __future__ import annotations

from typing import Final

from cellmesh.cortex.storm.commands.acting import doing, lib, say
from cellmesh.cortex.storm.objects.view_methods import merge_fork
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.members import get_member
from cellmesh.cortex.views.view import View


def _view_get(context: RunContext, arguments: Arguments) -> None:
    say(context, lib(context, "view.get", arguments.iden))


def _view_list(context: RunContext, arguments: Arguments) -> None:
    context.print("")
    for view in lib(context, "view.list"):
        say(context, view)
        context.print("")


def _view_add(context: RunContext, arguments: Arguments) -> None:
    say(context, lib(context, "view.add", arguments.layers, arguments.name))
    context.print("View added.")


def _view_del(context: RunContext, arguments: Arguments) -> None:
    lib(context, "view.del", arguments.iden)
    context.print(f"View deleted: {arguments.iden}")


def _view_set(context: RunContext, arguments: Arguments) -> None:
    view = lib(context, "view.get", arguments.iden)
    context.call(get_member(context, view, "set"), arguments.name, arguments.valu)
    say(context, view)
    context.print("View updated.")


def _view_fork(context: RunContext, arguments: Arguments) -> None:
    view = lib(context, "view.get", arguments.iden)
    made = context.call(get_member(context, view, "fork"), arguments.name)
    say(context, made)
    context.print(f"View {arguments.iden} forked to new view: {made.view.id}")


def _view_merge(context: RunContext, arguments: Arguments) -> None:
    view: View = lib(context, "view.get", arguments.iden).view
    merge_fork(context, view)
    if not arguments.delete:
        context.print(f"View merged: {arguments.iden}")
        return
    lib(context, "view.del", str(view.id))
    lib(context, "layer.del", str(view.layers[0].id))
    context.print(f"View merged and deleted: {arguments.iden}")


def _quorum_list(context: RunContext, arguments: Arguments) -> None:
    found = list(lib(context, "quorum.merge.list", arguments.todo))
    if not found:
        context.print("Nothing to do. Go grab some coffee!" if arguments.todo else "No merge requests.")
        return
    head = f" {'view':<32}  {'name':<32}  {'creator':<22}  {'created':<24}  {'updated':<24} "
    context.print(head)
    context.print("#" * len(head))
    time = context.model.type("time")
    for view, summary in found:
        request = summary["merge"]
        who = context.model.name_of("user", request["creator"]) or request["creator"]
        created = time.repr(request["created"])
        updated = time.repr(request["updated"]) if "updated" in request else ""
        name = view.get("name") or ""
        context.print(f" {view['iden']:<32}  {name:<32}  {who:<22}  {created:<24}  {updated:<24} ")


_IDEN: Final = ArgumentSpec(("iden",), "The iden.")

_MAYBE_IDEN: Final = ArgumentSpec(("iden",), "The iden; that of the query when left out.", count="?")

_FACT: Final = (ArgumentSpec(("name",), "Which fact: name."), ArgumentSpec(("valu",), "What it shall be."))

COMMANDS: Final = (
    CommandSpec(
        "quorum.merge.list",
        "Print the forks that have merge requests.",
        doing(_quorum_list),
        (ArgumentSpec(("--todo",), "Only those that you may vote on, and have not.", action="store_true"),),
    ),
    CommandSpec(
        "view.add",
        "Make a view of some layers.",
        doing(_view_add),
        (
            ArgumentSpec(("--name",), "What to call it."),
            ArgumentSpec(("--worldreadable",), "Without effect yet.", type="bool", default=False),
            ArgumentSpec(("--layers",), "Idens of the layers, the top one first.", type="any", count="*"),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "view.del", "Remove a view; its layers stay.", doing(_view_del), (_IDEN,), changes_state=True
    ),
    CommandSpec(
        "view.fork",
        "Make a view with a layer of its own on top of another view's.",
        doing(_view_fork),
        (_IDEN, ArgumentSpec(("--name",), "What to call it.")),
        changes_state=True,
    ),
    CommandSpec("view.get", "Print what is known of a view.", doing(_view_get), (_MAYBE_IDEN,)),
    CommandSpec("view.list", "Print what is known of all views.", doing(_view_list)),
    CommandSpec(
        "view.merge",
        "Merge all of a fork into what it was forked from.",
        doing(_view_merge),
        (_IDEN, ArgumentSpec(("--delete",), "Remove the fork and its layer then.", action="store_true")),
        changes_state=True,
    ),
    CommandSpec(
        "view.set", "Set a fact about a view.", doing(_view_set), (_IDEN, *_FACT), changes_state=True
    ),
)
