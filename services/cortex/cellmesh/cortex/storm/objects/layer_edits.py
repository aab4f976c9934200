"""Methods of layers: the edits that the change log has of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.objects.stacks import LayerObject
from cellmesh.cortex.storm.objects.storage_form import shown_edits
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, toint
from cellmesh.cortex.views.sharing import Sharing

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

WAIT_S: Final = 0.5
"""How often a query that waits for edits looks whether it was cancelled, in seconds."""


def _edits(
    context: RunContext, self: LayerObject, offset: Any, wait: Any, size: Any, reverse: Any
) -> Iterator[tuple[int, Any]]:
    context.session.sync()
    context.session.pause()
    graph, layer = context.session.graph, frozenset((str(self.layer.id),))
    left = None if size is None else toint(size)
    sharing = Sharing(graph)
    with graph.slab.view() as txn:
        first, end = graph.log.first_offset(txn), graph.log.next_offset(txn)
    at = toint(offset)
    if tobool(reverse):
        records = _backwards(context, end - 1 if at <= 0 else min(at, end - 1), first)
    else:
        records = _forwards(context, at if at > 0 else first, wait=tobool(wait))
    for record in records:
        shared = sharing.record(record, layer)
        if shared is None or not shared.nodes:
            continue
        if left is not None:
            if left <= 0:
                return
            left -= 1
        yield (shared.offset, shown_edits(context.model, shared.nodes))
        if left == 0:
            return


def _forwards(context: RunContext, offset: int, *, wait: bool) -> Iterator[Any]:
    log = context.session.graph.log
    with context.session.graph.slab.view() as txn:
        end = log.next_offset(txn)
    if not wait and offset >= end:
        return
    while True:
        while wait and not log.wait(offset, WAIT_S):
            context.tick()
        chunk = log.read(offset)
        for record in chunk.records:
            context.tick()
            yield record
        offset = chunk.next_offset
        if not wait and not chunk.records:
            return


def _backwards(context: RunContext, offset: int, first: int) -> Iterator[Any]:
    log = context.session.graph.log
    while offset >= first:
        low = max(first, offset - 99)
        chunk = log.read(low, count_max=offset - low + 1)
        if chunk.next_offset <= offset:
            # The chunk was cut off by its size: its end is what comes first.
            chunk = log.read(offset, count_max=1)
            low = offset
        for record in reversed(chunk.records):
            context.tick()
            yield record
        offset = low - 1


def _edited(context: RunContext, self: LayerObject) -> int | None:
    context.session.sync()
    found = context.session.graph.activities.of_layer(str(self.layer.id))
    return None if found is None else found.time_ms


METHODS: Final = (
    FunctionSpec("edited", "When it was edited last, as far as the change log tells.", _edited, (), "time"),
    FunctionSpec(
        "edits",
        "Its edits with their offsets.",
        _edits,
        (
            ParameterSpec("offs", 0, "int", "The first offset."),
            ParameterSpec("wait", True, "bool", "Wait for more at the end."),
            ParameterSpec("size", None, "int", "At most so many."),
            ParameterSpec("reverse", False, "bool", "The last one first."),
        ),
        "list",
        is_generator=True,
    ),
)
