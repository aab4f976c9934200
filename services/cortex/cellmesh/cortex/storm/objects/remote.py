"""Other cells as values: `$lib.telepath.open(url)`, whose members are the RPCs of the cell, and pools of AHA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.outside.remote_calls import call
from cellmesh.cortex.storm.runtime.functions import StormGenerator
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import toprim, tostr

if TYPE_CHECKING:
    from cellmesh.client import CellClient
    from cellmesh.cortex.storm.runtime.context import RunContext


class RemoteCell:
    """Another cell.

    Args:
        client: The way to it.
        url: Where it is, without a password.
    """

    __slots__ = ("client", "url")

    def __init__(self, client: CellClient, url: str) -> None:
        self.client = client
        self.url = url

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"telepath:proxy: {self.url}"


class RemoteMethod:
    """An RPC of another cell. Fields of its request are its named arguments, or one dictionary.

    Args:
        cell: The cell.
        name: The RPC, as Storm calls it.
    """

    __slots__ = ("cell", "name")

    def __init__(self, cell: RemoteCell, name: str) -> None:
        self.cell = cell
        self.name = name

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"telepath:proxy:method: {self.name}"

    def storm_call(self, context: RunContext, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Make the call: what it answers, or a generator of its answers."""
        fields = dict(toprim(keywords))
        if arguments:
            given = toprim(arguments[0])
            if len(arguments) > 1 or not isinstance(given, dict):
                raise StormRuntimeError(
                    f"{self.name} takes the fields of its request by name, or one dictionary", name=self.name
                )
            fields = {**given, **fields}
        context.session.sync()
        context.session.pause()
        found = call(self.cell.client, self.name, fields)
        context.tick()
        if isinstance(found, Iterator):
            return StormGenerator(_ticked(context, found))
        return found


def _ticked(context: RunContext, values: Iterator[Any]) -> Iterator[Any]:
    for value in values:
        context.tick()
        yield value


class AhaPool:
    """A pool of services, as AHA told of it.

    Args:
        client: A client of AHA.
        facts: What it told.
    """

    __slots__ = ("client", "facts")

    def __init__(self, client: CellClient, facts: dict[str, Any]) -> None:
        self.client = client
        self.facts = facts

    def storm_plain(self) -> dict[str, Any]:
        """Return what is known of it."""
        return {
            "name": self.facts["name"],
            "services": {row["name"]: {"created": row.get("add_time")} for row in self.facts["members"]},
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"aha:pool: {self.storm_plain()}"


def _add(context: RunContext, self: AhaPool, name: Any) -> None:
    context.session.pause()
    wanted = {"name": self.facts["name"], "member": tostr(name)}
    self.facts = call(self.client, "addPoolMember", wanted)["pool"]


def _del(context: RunContext, self: AhaPool, name: Any) -> None:
    context.session.pause()
    wanted = {"name": self.facts["name"], "member": tostr(name)}
    self.facts = call(self.client, "removePoolMember", wanted)["pool"]


_SERVICE: Final = ParameterSpec("svcname", type="str", doc="The service.")

TYPES: Final = (
    TypeSpec(
        "aha:pool",
        AhaPool,
        "A pool of services, which AHA keeps.",
        (
            FunctionSpec("add", "Add a service.", _add, (_SERVICE,), may_change=True),
            FunctionSpec("del", "Take a service out.", _del, (_SERVICE,), may_change=True),
        ),
        get_item=lambda context, self, key: self.storm_plain().get(tostr(key)),
    ),
    TypeSpec(
        "telepath:proxy",
        RemoteCell,
        "Another cell. Its RPCs are its members, with a small letter first.",
        get_item=lambda context, self, key: RemoteMethod(self, tostr(key)),
    ),
    TypeSpec("telepath:proxy:method", RemoteMethod, "An RPC of another cell."),
)
