"""Commands about Storm services: service.*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.commands.acting import doing, lib
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def _label(row: dict[str, Any]) -> str:
    return f"{row['iden']} ({row['name']}): {row['url']}"


def _add(context: RunContext, arguments: Arguments) -> None:
    context.print(f"added {_label(lib(context, 'service.add', arguments.name, arguments.url))}")


def _del(context: RunContext, arguments: Arguments) -> None:
    found = [row for row in lib(context, "service.list") if row["iden"].startswith(arguments.iden)]
    if not found:
        context.print(f"No service found by iden: {arguments.iden}")
    elif len(found) > 1:
        context.print(f"Multiple matches found for {arguments.iden}.  Aborting delete.")
    else:
        lib(context, "service.del", found[0]["iden"])
        context.print(f"removed {_label(found[0])}")


def _list(context: RunContext, arguments: Arguments) -> None:
    context.print("")
    context.print("Storm service list (iden, ready, name, service name, service version, url):")
    rows = lib(context, "service.list")
    for row in rows:
        ready = "true" if row["ready"] else "false"
        name, version = row["svcname"] or "Unknown", row["svcvers"] or "Unknown"
        context.print(f"    {row['iden']} {ready} ({row['name']}) ({name} @ {version}): {row['url']}")
    context.print("")
    context.print(f"{len(rows)} services")


COMMANDS: Final = (
    CommandSpec(
        "service.add",
        """Add a Storm service. Its commands are there as soon as it was reached.

            service.add whois aha://whois
        """,
        doing(_add),
        (
            ArgumentSpec(("name",), "What queries may call it."),
            ArgumentSpec(("url",), "Where it is."),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "service.del",
        "Remove a Storm service, and the packages that came with it.",
        doing(_del),
        (ArgumentSpec(("iden",), "The iden of the service, or what it begins with."),),
        changes_state=True,
    ),
    CommandSpec(
        "service.list", "Print the Storm services, and whether they are there.", doing(_list), may_change=True
    ),
)
