"""From keyword arguments to StormOptions, and from messages to what a query told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypedDict, Unpack

from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.common.errors import BadArg, CellError
from cellmesh.common.errors.status import from_detail
from cellmesh.common.values import fill_value, from_value

MODES: Final = {
    "storm": storm_pb2.STORM_MODE_STORM,
    "lookup": storm_pb2.STORM_MODE_LOOKUP,
    "autoadd": storm_pb2.STORM_MODE_AUTOADD,
    "search": storm_pb2.STORM_MODE_SEARCH,
}


class StormKeywords(TypedDict, total=False):
    """How a query runs.

    Attributes:
        vars: Variables by name without the $.
        view: The view to run in; the default view when left out.
        user: Whom to run as; only administrators may name another than themselves.
        mode: "storm", "lookup", "autoadd" or "search": how the text is read.
        limit: Stop after so many nodes; 0 for no limit.
        readonly: Refuse edits. Calls may then be sent again by themselves.
        idens: Nodes to begin with.
        repr: Add human text to each node; in frames it stands in place of the values.
        path: Add the variables of each node's path.
        time_limit_s: Stop the query after this long.
    """

    vars: Mapping[str, Any]
    view: str
    user: str
    mode: Literal["storm", "lookup", "autoadd", "search"]
    limit: int
    readonly: bool
    idens: Sequence[str]
    repr: bool
    path: bool
    time_limit_s: float


def make_options(**given: Unpack[StormKeywords]) -> storm_pb2.StormOptions:
    """Make the options of a query.

    Raises:
        BadArg: there is no such mode.
        BadDataValu: a variable is of a kind that does not travel.
    """
    mode = given.get("mode", "storm")
    if mode not in MODES:
        raise BadArg(f"there is no mode {mode!r}; there are {', '.join(MODES)}", name="mode")
    options = storm_pb2.StormOptions(
        view_id=given.get("view", ""),
        user=given.get("user", ""),
        mode=MODES[mode],
        limit=given.get("limit", 0),
        readonly=given.get("readonly", False),
        idens=given.get("idens", ()),
        repr=given.get("repr", False),
        path=given.get("path", False),
    )
    for name, value in given.get("vars", {}).items():
        fill_value(options.vars[name.removeprefix("$")], value)
    time_limit_s = given.get("time_limit_s")
    if time_limit_s is not None:
        options.time_limit.FromMilliseconds(round(time_limit_s * 1000))
    return options


@dataclass(slots=True)
class Told:
    """What a query told beside its nodes; grows while it runs.

    Attributes:
        prints: What it printed.
        warnings: What it warned of.
        fired: Events that it fired: their types, and what they carry.
        edit_count: How many node edits it made; 0 before it has ended.
        duration_s: For how long it ran; 0 before it has ended.
    """

    prints: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fired: list[tuple[str, Any]] = field(default_factory=list)
    edit_count: int = 0
    duration_s: float = 0.0

    def take(self, message: storm_pb2.StormMessage) -> None:
        """Take in a message that is no node.

        Raises:
            CellError: the message says that the query failed; the class that the cell raised.
        """
        match message.WhichOneof("kind"):
            case "print":
                self.prints.append(message.print.text)
            case "warn":
                self.warnings.append(message.warn.text)
            case "fire":
                self.fired.append((message.fire.type, from_value(message.fire.data)))
            case "err":
                error: CellError = from_detail(message.err)
                raise error
            case "fini":
                self.edit_count = message.fini.edit_count
                self.duration_s = message.fini.duration.ToMilliseconds() / 1000
            case _:
                # The beginning, rows of tables, and what a newer Cortex tells.
                pass
