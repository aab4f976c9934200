"""LayerService: edits, content and index rows of single layers, copies, files, and whether they agree with themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Final

from cellmesh.api.cortex.v1 import change_pb2, layer_pb2, node_edit_pb2
from cellmesh.common.auth.context import Caller, CallerKind, current_caller
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.cell.version import cellmesh_version
from cellmesh.common.changelog.record import ChangeRecord
from cellmesh.common.errors import AuthDeny, BadArg, ShuttingDown
from cellmesh.common.rpc import CancelToken, Workers
from cellmesh.common.values import from_value, to_value
from cellmesh.cortex.api.layer_files import Upload, pack_part, run_import
from cellmesh.cortex.api.storm import user_name
from cellmesh.cortex.layers.layer import Layer
from cellmesh.cortex.layers.offsets import Taken, find_taken
from cellmesh.cortex.stores.model_facts import ModelExtensions
from cellmesh.cortex.values.edits import (
    NodeAdd,
    NodeDelete,
    PropDelete,
    PropSet,
    TagDelete,
    TagPropDelete,
    TagPropSet,
    TagSet,
)
from cellmesh.cortex.values.shared import SharedEdit, SharedNode, encode_shared, shared_nodes
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.import_batch import MakeFreshWriter
from cellmesh.cortex.views.index_rows import Index, IndexRow, clone_layer, index_rows
from cellmesh.cortex.views.layer_export import FilePart, export_layer
from cellmesh.cortex.views.sharing import Sharing
from cellmesh.cortex.views.stack_changes import TYPE_NAME as STACK_TYPE_NAME
from cellmesh.cortex.views.taking import BATCH_NODE_COUNT_MAX, take_edits
from cellmesh.cortex.views.verify import Fault, check_layer, repair_layer

FOLLOW_CHECK_S: Final = 0.5
"""How often a stream that waits looks whether its caller is still there, in seconds."""

SOURCE_SIZE_MAX: Final = 200
ORIGIN_SIZE_MAX: Final = 64
CONTENT_NODE_COUNT: Final = 500
"""Nodes in one message of a layer's content."""

SKIPPED_COUNT_MAX: Final = 1000
"""A stream tells how far it is after so many records of no interest."""


class LayerServicer:
    """Works on worker threads. Who may do what is asked of the rules on the layer."""

    def __init__(
        self,
        graph: Graph,
        workers: Workers,
        auth: AuthStore,
        is_stopping: Callable[[], bool],
        *,
        extensions: ModelExtensions,
        make_writer: MakeFreshWriter,
        cell_id: str,
    ) -> None:
        self._make_writer = make_writer
        self._extensions = extensions
        self._cell_id = cell_id
        self._graph = graph
        self._workers = workers
        self._auth = auth
        self._is_stopping = is_stopping

    def _may(self, caller: Caller, right: str, layer_id: str) -> bool:
        if caller.admin or caller.kind in (CallerKind.LOCAL, CallerKind.CELL):
            return True
        return bool(caller.user_id) and self._auth.policy.allowed(
            caller.user_id, ("layer", right), layer_id, default=False
        )

    def _layer(self, layer_id: str, right: str) -> Layer:
        caller = current_caller()
        if not self._may(caller, right, layer_id):
            raise AuthDeny(
                f"{caller.name} may not {right} the layer", perm=f"layer.{right}", user=caller.name
            )
        return self._graph.layer(layer_id)

    # Edits.

    async def ReadLayerEdits(
        self, request: layer_pb2.ReadLayerEditsRequest, context: Any
    ) -> AsyncIterator[layer_pb2.ReadLayerEditsResponse]:
        """See the proto."""
        caller = current_caller()
        for layer_id in request.layer_ids:
            self._layer(layer_id, "read")
        wanted = frozenset(request.layer_ids)

        def may_read(layer_id: str) -> bool:
            return layer_id in wanted if wanted else self._may(caller, "read", layer_id)

        stream = self._workers.stream(
            lambda token: self._records(request, may_read, token), pack=_pack_records, size_of=_size_of
        )
        async for message in stream:
            yield message

    def _records(
        self,
        request: layer_pb2.ReadLayerEditsRequest,
        may_read: Callable[[str], bool],
        token: CancelToken,
    ) -> Iterator[layer_pb2.ReadLayerEditsResponse]:
        log, sharing = self._graph.log, Sharing(self._graph)
        matches = _filter(request.filter) if request.HasField("filter") else None
        left = request.count_max or None
        if request.HasField("offset"):
            offset = request.offset
        else:
            with self._graph.slab.view() as txn:
                offset = log.first_offset(txn)
        skipped = 0
        while True:
            chunk = log.read(offset)
            for record in chunk.records:
                token.check()
                made = [
                    item
                    for item in _layer_records(sharing, record, matches)
                    if may_read(item.layer_id) and not (item.origin and item.origin == request.skip_origin)
                ]
                skipped += 1
                if made or skipped >= SKIPPED_COUNT_MAX:
                    skipped = 0
                    yield layer_pb2.ReadLayerEditsResponse(records=made, next_offset=record.offset + 1)
                if made and left is not None:
                    left -= 1
                    if left <= 0:
                        return
            offset = chunk.next_offset
            if chunk.records:
                continue
            if not request.follow:
                yield layer_pb2.ReadLayerEditsResponse(next_offset=offset)
                return
            while not log.wait(offset, FOLLOW_CHECK_S):
                token.check()
                if self._is_stopping():
                    raise ShuttingDown("the cell is stopping; read on from where you are when it is back")

    async def ReadLayerContent(
        self, request: layer_pb2.ReadLayerContentRequest, context: Any
    ) -> AsyncIterator[layer_pb2.ReadLayerContentResponse]:
        """See the proto."""
        layer = self._layer(request.layer_id, "read")
        stream = self._workers.stream(
            lambda token: self._content(layer, request.after, token), pack=_only, count_max=1
        )
        async for message in stream:
            yield message

    def _content(
        self, layer: Layer, after: bytes, token: CancelToken
    ) -> Iterator[layer_pb2.ReadLayerContentResponse]:
        sharing = Sharing(self._graph)
        with self._graph.slab.view() as txn:
            offset = self._graph.log.next_offset(txn)
        while True:
            token.check()
            nodes, after = sharing.content(layer, after, CONTENT_NODE_COUNT)
            yield layer_pb2.ReadLayerContentResponse(
                nodes=[to_node_edits(node) for node in nodes], after=after, offset=offset
            )
            if not after:
                return

    async def SaveLayerEdits(
        self, request: layer_pb2.SaveLayerEditsRequest, context: Any
    ) -> layer_pb2.SaveLayerEditsResponse:
        """See the proto."""
        layer = self._layer(request.layer_id, "write")
        if len(request.nodes) > BATCH_NODE_COUNT_MAX:
            raise BadArg(f"a call holds at most {BATCH_NODE_COUNT_MAX} nodes", name="nodes")
        if len(request.source) > SOURCE_SIZE_MAX:
            raise BadArg(f"a source has at most {SOURCE_SIZE_MAX} characters", name="source")
        if len(request.origin) > ORIGIN_SIZE_MAX:
            raise BadArg(f"an origin has at most {ORIGIN_SIZE_MAX} characters", name="origin")
        if request.source and not request.HasField("ends"):
            raise BadArg("edits of a source need to say where they end", name="ends")
        user = user_name(current_caller())
        return await self._workers.run_long(partial(self._save, request, layer, user))

    def _save(
        self, request: layer_pb2.SaveLayerEditsRequest, layer: Layer, user: str, token: CancelToken
    ) -> layer_pb2.SaveLayerEditsResponse:
        token.check()
        count, taken = take_edits(
            self._graph,
            layer,
            shared_nodes(request.nodes),
            user=user,
            source=request.source,
            begins=taken_from(request.begins) if request.HasField("begins") else None,
            ends=taken_from(request.ends) if request.HasField("ends") else None,
            origin=request.origin,
        )
        return layer_pb2.SaveLayerEditsResponse(edit_count=count, taken=taken_to(taken))

    async def GetLayerOffset(
        self, request: layer_pb2.GetLayerOffsetRequest, context: Any
    ) -> layer_pb2.GetLayerOffsetResponse:
        """See the proto."""
        layer = self._layer(request.layer_id, "write")

        def find() -> Taken | None:
            with self._graph.slab.view() as txn:
                return find_taken(txn, layer.id, request.source)

        return layer_pb2.GetLayerOffsetResponse(taken=taken_to(await self._workers.run(find)))

    # Indexes.

    async def ReadIndexRows(
        self, request: layer_pb2.ReadIndexRowsRequest, context: Any
    ) -> AsyncIterator[layer_pb2.ReadIndexRowsResponse]:
        """See the proto."""
        layer = self._layer(request.layer_id, "read")
        index = Index(request.form, request.prop, request.tag, request.tag_prop)
        start = (from_value(request.start),) if request.HasField("start") else None

        def rows(token: CancelToken) -> Iterator[IndexRow]:
            for row in index_rows(self._graph, layer, index, start=start, resume=request.resume_token):
                token.check()
                yield row

        async for message in self._workers.stream(rows, pack=_pack_rows):
            yield message

    # Care.

    async def VerifyLayer(
        self, request: layer_pb2.VerifyLayerRequest, context: Any
    ) -> AsyncIterator[layer_pb2.VerifyLayerResponse]:
        """See the proto."""
        layer = self._layer(request.layer_id, "read")

        def faults(token: CancelToken) -> Iterator[layer_pb2.VerifyLayerResponse]:
            for fault in check_layer(self._graph, layer, token.check):
                yield layer_pb2.VerifyLayerResponse(faults=[_fault(fault)])
            if request.repair:
                count = repair_layer(self._graph, layer, token.check)
                yield layer_pb2.VerifyLayerResponse(repaired_count=count)

        async for message in self._workers.stream(faults, pack=_pack_faults):
            yield message

    async def CloneLayer(
        self, request: layer_pb2.CloneLayerRequest, context: Any
    ) -> layer_pb2.CloneLayerResponse:
        """See the proto."""
        layer, user = self._layer(request.layer_id, "read"), user_name(current_caller())
        made, count = await self._workers.run_long(
            lambda token: clone_layer(self._graph, layer, request.name, user=user, tick=token.check)
        )
        return layer_pb2.CloneLayerResponse(layer_id=made.id, node_count=count)

    # Files.

    async def ExportLayer(
        self, request: layer_pb2.ExportLayerRequest, context: Any
    ) -> AsyncIterator[layer_pb2.ExportLayerResponse]:
        """See the proto."""
        layer = self._layer(request.layer_id, "read")

        def parts(token: CancelToken) -> Iterator[FilePart]:
            return export_layer(
                self._graph,
                layer,
                cell_id=self._cell_id,
                program_version=cellmesh_version(),
                tick=token.check,
            )

        async for message in self._workers.stream(parts, pack=pack_part, size_of=lambda part: len(part.data)):
            yield message

    async def ImportLayer(
        self, request_iterator: AsyncIterator[layer_pb2.ImportLayerRequest], context: Any
    ) -> layer_pb2.ImportLayerResponse:
        """See the proto."""
        upload, user = Upload(request_iterator), user_name(current_caller())
        first = await upload.begin()
        return await self._workers.run_long(
            lambda token: run_import(
                self._graph, self._extensions, first, upload, user, self._make_writer, token
            )
        )


def to_node_edits(node: SharedNode) -> node_edit_pb2.NodeEdits:
    """Make a message of edits of a node."""
    return node_edit_pb2.NodeEdits.FromString(encode_shared(node))


def taken_from(message: layer_pb2.LayerOffset) -> Taken:
    """Read a place in a layer's history."""
    return Taken(message.offset, message.after)


def taken_to(taken: Taken | None) -> layer_pb2.LayerOffset | None:
    """Make a message of a place in a layer's history."""
    return None if taken is None else layer_pb2.LayerOffset(offset=taken.offset, after=taken.after)


Matches = Callable[[SharedNode, SharedEdit], bool]


def _filter(given: layer_pb2.LayerEditFilter) -> Matches:
    forms, props = frozenset(given.forms), frozenset(given.props)
    tags, tag_props = frozenset(given.tags), frozenset(given.tag_props)

    def matches(node: SharedNode, edit: SharedEdit) -> bool:
        match edit:
            case NodeAdd() | NodeDelete():
                return node.form in forms
            case PropSet(name) | PropDelete(name):
                return f"{node.form}:{name}" in props or (name.startswith(".") and name in props)
            case TagSet(name) | TagDelete(name):
                return name in tags
            case TagPropSet(_, name) | TagPropDelete(_, name):
                return name in tag_props
            case _:
                return False

    return matches


def _layer_records(
    sharing: Sharing, record: ChangeRecord, matches: Matches | None
) -> Iterator[layer_pb2.LayerRecord]:
    if record.type_name == STACK_TYPE_NAME:
        if matches is None:
            yield from _stack_events(record)
        return
    shared = sharing.record(record)
    if shared is None:
        return
    nodes = shared.nodes
    if matches is not None:
        kept = (
            SharedNode(node.form, node.value, tuple(edit for edit in node.edits if matches(node, edit)))
            for node in nodes
        )
        nodes = tuple(node for node in kept if node.edits)
    if nodes:
        yield layer_pb2.LayerRecord(
            offset=shared.offset,
            layer_id=shared.layer_id,
            event=layer_pb2.LAYER_EVENT_EDITED,
            user=shared.user,
            time_ms=shared.time_ms,
            nodes=[to_node_edits(node) for node in nodes],
            origin=shared.origin,
        )


def _stack_events(record: ChangeRecord) -> Iterator[layer_pb2.LayerRecord]:
    for step in change_pb2.StackChange.FromString(record.payload).steps:
        kind = step.WhichOneof("step")
        if kind == "layer_put":
            layer_id, event = step.layer_put.layer_id, layer_pb2.LAYER_EVENT_PUT
        elif kind == "layer_attach":
            layer_id, event = step.layer_attach.layer_id, layer_pb2.LAYER_EVENT_PUT
        elif kind == "layer_detach":
            layer_id, event = step.layer_detach.layer_id, layer_pb2.LAYER_EVENT_REMOVED
        else:
            continue
        yield layer_pb2.LayerRecord(
            offset=record.offset,
            layer_id=layer_id,
            event=event,
            user=record.actor,
            time_ms=record.time_us // 1000,
        )


def _size_of(message: layer_pb2.ReadLayerEditsResponse) -> int:
    return message.ByteSize()


def _pack_records(messages: list[layer_pb2.ReadLayerEditsResponse]) -> layer_pb2.ReadLayerEditsResponse:
    if len(messages) == 1:
        return messages[0]
    records = [record for message in messages for record in message.records]
    return layer_pb2.ReadLayerEditsResponse(records=records, next_offset=messages[-1].next_offset)


def _only(messages: list[layer_pb2.ReadLayerContentResponse]) -> layer_pb2.ReadLayerContentResponse:
    (message,) = messages
    return message


def _pack_rows(rows: list[IndexRow]) -> layer_pb2.ReadIndexRowsResponse:
    return layer_pb2.ReadIndexRowsResponse(
        rows=[layer_pb2.IndexRow(buid=row.buid, form=row.form, value=to_value(row.value)) for row in rows],
        resume_token=rows[-1].resume if rows else b"",
    )


def _fault(fault: Fault) -> layer_pb2.LayerFault:
    return layer_pb2.LayerFault(kind=fault.kind, database=fault.db.name, key=fault.key, value=fault.value)


def _pack_faults(messages: list[layer_pb2.VerifyLayerResponse]) -> layer_pb2.VerifyLayerResponse:
    return layer_pb2.VerifyLayerResponse(
        faults=[fault for message in messages for fault in message.faults],
        repaired_count=sum(message.repaired_count for message in messages),
    )


__all__ = ["LayerServicer", "taken_from", "taken_to", "to_node_edits"]
