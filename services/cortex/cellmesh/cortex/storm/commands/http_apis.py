"""Commands about endpoints of the extended HTTP API: cortex.httpapi.*."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.commands.acting import doing, lib
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.values import torepr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.objects.http_apis import HttpApiObject
    from cellmesh.cortex.storm.runtime.context import RunContext

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS: Final = (("order", 5), ("iden", 32), ("owner", 20), ("auth", 5), ("runas", 6))


def _one(context: RunContext, prefix: str) -> HttpApiObject:
    """Return the endpoint whose iden or name begins so."""
    found: list[HttpApiObject] = []
    for api in lib(context, "cortex.httpapi.list"):
        if api.iden.startswith(prefix) or api.row(context)["name"].startswith(prefix):
            found.append(api)
    if len(found) != 1:
        what = "no endpoint has an iden or name that begins" if not found else "several endpoints begin"
        raise StormRuntimeError(f"{what} with {prefix}", name="iden", valu=prefix[:80])
    return found[0]


def _named(context: RunContext, iden: str) -> str:
    name = context.model.name_of("user", iden)
    return name if name is not None else context.user


def _truth(value: object) -> str:
    return "true" if value else "false"


def _moment(time_ms: int) -> str:
    found = _EPOCH + timedelta(milliseconds=time_ms)
    return f"{found:%Y/%m/%d %H:%M:%S}.{time_ms % 1000:03d}"


def _line(cells: list[str]) -> str:
    padded = [f"{cell:<{width}}" for cell, (_, width) in zip(cells, _COLUMNS)]
    return f" {' | '.join([*padded, cells[-1]])} "


def _list(context: RunContext, arguments: Arguments) -> None:
    apis = lib(context, "cortex.httpapi.list")
    if not apis:
        context.print("No Extended HTTP API endpoints are registered.")
        return
    rule = "=|=".join("=" * width for _, width in _COLUMNS)
    context.print(f"{_line([*(name for name, _ in _COLUMNS), 'path'])[:-1]} \n={rule}=|======")
    for place, api in enumerate(apis):
        row = api.row(context)
        owner = _named(context, row["owner"])
        context.print(
            _line([str(place), api.iden, owner, _truth(row["authenticated"]), row["runas"], row["path"]])
        )


def _stat(context: RunContext, arguments: Arguments) -> None:
    row = _one(context, arguments.iden).row(context)
    view = next((one for one in context.session.graph.views.values() if str(one.id) == row["view"]), None)
    for label, text in (
        ("Iden", row["iden"]),
        ("Creator", f"{_named(context, row['creator'])} ({row['creator']})"),
        ("Created", _moment(row["created"])),
        ("Updated", _moment(row["updated"])),
        ("Path", row["path"]),
        ("Owner", f"{_named(context, row['owner'])} ({row['owner']})"),
        ("Runas", row["runas"]),
        ("View", f"{'' if view is None else view.name or '$lib.null'} ({row['view']})"),
        ("Readonly", _truth(row["readonly"])),
        ("Pool enabled", _truth(row["pool"])),
        ("Authenticated", _truth(row["authenticated"])),
        ("Name", row["name"]),
        ("Description", row["desc"]),
    ):
        context.print(f"{label}: {text}")
    context.print("")
    _tell_permissions(context, row["perms"])
    _tell_queries(context, row["methods"])
    _tell_variables(context, row["vars"])


def _tell_permissions(context: RunContext, permissions: list[dict[str, Any]]) -> None:
    if not permissions:
        context.print("No user permissions are required to run this HTTP API endpoint.")
        return
    context.print("The following user permissions are required to run this HTTP API endpoint:")
    for permission in permissions:
        context.print(".".join(permission["perm"]))
        context.print(f"    default: {_truth(permission['default'])}")
    context.print("")


def _tell_queries(context: RunContext, queries: dict[str, str]) -> None:
    if not queries:
        context.print("No HTTP Methods are set for the handler.")
        return
    context.print("The handler defines the following HTTP methods:")
    for method, text in queries.items():
        context.print(f"Method: {method.upper()}")
        context.print(text)
        context.print("")


def _tell_variables(context: RunContext, variables: dict[str, Any]) -> None:
    if not variables:
        context.print("No vars are set for the handler.")
        return
    context.print("The handler has the following runtime variables set:")
    for name, value in variables.items():
        context.print(f"{name:<16} => {torepr(value)}")
    context.print("")


def _index(context: RunContext, arguments: Arguments) -> None:
    api = _one(context, arguments.iden)
    place = lib(context, "cortex.httpapi.index", api.iden, arguments.index)
    context.print(f"Set HTTP API {api.iden} to index {place}")


_IDEN: Final = ArgumentSpec(("iden",), "The iden or name of the endpoint, or what one of these begins with.")

COMMANDS: Final = (
    CommandSpec(
        "cortex.httpapi.index",
        """Put an endpoint of the extended HTTP API at a place in the order.

            cortex.httpapi.index feeds 0
        """,
        doing(_index),
        (_IDEN, ArgumentSpec(("index",), "The place, 0 for the first.", type="int")),
        changes_state=True,
    ),
    CommandSpec(
        "cortex.httpapi.list",
        "Print the endpoints of the extended HTTP API, in the order in which they are tried.",
        doing(_list),
    ),
    CommandSpec("cortex.httpapi.stat", "Print all about one endpoint.", doing(_stat), (_IDEN,)),
)
