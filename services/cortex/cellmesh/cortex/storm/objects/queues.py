"""Queues as values: `$lib.queue.get(name)`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.runtime.interface import (
    AttributeSpec,
    FunctionSpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.values import tobool, toint, tostored

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

WAIT_SLICE_S: Final = 0.25
"""A wait is cut into slices, so that the query can be ended meanwhile."""

READ_COUNT_MAX: Final = 100


class QueueObject:
    """A queue, by its name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QueueObject) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"queue: {self.name}"


def _first(context: RunContext, self: QueueObject, offset: int, *, is_waiting: bool) -> Any:
    """Return the first item from an offset on; None if there is none and no wait is wanted."""
    queues = context.capability("queues")
    slab = context.session.graph.slab
    while True:
        seen_count = slab.commit_count
        found = queues.read(context.session, self.name, offset, 1)
        if found or not is_waiting:
            return found[0] if found else None
        context.session.pause()
        slab.wait_for_commit(seen_count, WAIT_SLICE_S)
        context.tick()


def _place(offset: Any) -> int:
    """Return an offset; raises BadArg if no item can have it."""
    place = toint(offset)
    if place < 0:
        raise BadArg("an offset is not below 0", name="offs", valu=place)
    return place


def _get(context: RunContext, self: QueueObject, offset: Any, cull: Any, wait: Any) -> Any:
    start = _place(offset)
    if tobool(cull) and start > 0:
        context.capability("queues").cull(context.session, self.name, start - 1)
    return _first(context, self, start, is_waiting=tobool(wait))


def _gets(
    context: RunContext, self: QueueObject, offset: Any, wait: Any, cull: Any, size: Any
) -> Iterator[tuple[int, Any]]:
    queues = context.capability("queues")
    # At least one is given, as `limit 0` lets one through.
    start, left = _place(offset), None if size is None else max(1, toint(size))
    is_waiting = tobool(wait)
    if tobool(cull) and start > 0:
        queues.cull(context.session, self.name, start - 1)
    while left is None or left > 0:
        items = queues.read(
            context.session, self.name, start, READ_COUNT_MAX if left is None else min(left, READ_COUNT_MAX)
        )
        if not items:
            item = _first(context, self, start, is_waiting=is_waiting)
            if item is None:
                return
            items = [item]
        for place, item in items:
            context.tick()
            start = place + 1
            if left is not None:
                left -= 1
            yield (place, item)


def _pop(context: RunContext, self: QueueObject, offset: Any, wait: Any) -> Any:
    queues = context.capability("queues")
    place = None if offset is None else _place(offset)
    if place is None and tobool(wait):
        _first(context, self, 0, is_waiting=True)
    return queues.pop(context.session, self.name, place)


def _put(context: RunContext, self: QueueObject, item: Any) -> Any:
    return context.capability("queues").put(context.session, self.name, [tostored(item)])


def _puts(context: RunContext, self: QueueObject, items: Any) -> Any:
    if items is None:
        raise BadArg("the items are a list", name="items")
    return context.capability("queues").put(
        context.session, self.name, [tostored(item) for item in toiter(context, items)]
    )


def _cull(context: RunContext, self: QueueObject, offset: Any) -> None:
    context.capability("queues").cull(context.session, self.name, toint(offset))


def _size(context: RunContext, self: QueueObject) -> Any:
    return context.capability("queues").size(context.session, self.name)


_OFFSET: Final = ParameterSpec("offs", 0, "int", "The first offset wanted.")
_WAIT: Final = ParameterSpec("wait", True, "bool", "Wait until there is one.")

TYPES: Final = (
    TypeSpec(
        "queue",
        QueueObject,
        "A queue: items in order, each with an offset that is never given twice.",
        (
            FunctionSpec(
                "cull",
                "Remove all items up to and with an offset.",
                _cull,
                (ParameterSpec("offs", type="int", doc="The last offset to remove."),),
                changes_state=True,
            ),
            FunctionSpec(
                "get",
                "The first item from an offset on, as a pair of its offset and itself; null if there is none.",
                _get,
                (
                    _OFFSET,
                    ParameterSpec("cull", True, "bool", "Remove the items before the offset."),
                    _WAIT,
                ),
                "list",
            ),
            FunctionSpec(
                "gets",
                "Items from an offset on, as pairs of offset and item.",
                _gets,
                (
                    _OFFSET,
                    _WAIT,
                    ParameterSpec("cull", False, "bool", "Remove the items before the offset."),
                    ParameterSpec("size", None, "int", "Give at most so many."),
                ),
                "lists",
                is_generator=True,
            ),
            FunctionSpec(
                "pop",
                "Remove an item and give it, as a pair of its offset and itself; null if it is not there.",
                _pop,
                (
                    ParameterSpec("offs", None, "int", "Its offset; the first item when left out."),
                    ParameterSpec("wait", False, "bool", "Wait until there is one."),
                ),
                "list",
                changes_state=True,
            ),
            FunctionSpec(
                "put",
                "Add an item; gives its offset.",
                _put,
                (ParameterSpec("item", type="prim", doc="What to add."),),
                "int",
                changes_state=True,
            ),
            FunctionSpec(
                "puts",
                "Add several items; gives the offset of the first.",
                _puts,
                (ParameterSpec("items", type="list", doc="What to add."),),
                "int",
                changes_state=True,
            ),
            FunctionSpec("size", "How many items it has.", _size, (), "int"),
        ),
        (AttributeSpec("name", "Its name.", lambda c, s: s.name, "str"),),
    ),
)
