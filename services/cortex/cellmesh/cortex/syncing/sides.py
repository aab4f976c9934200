"""The two ends of a push or pull. How far edits were taken is stored where they go to, in the transaction that applies them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from cellmesh.api.cortex.v1 import layer_pb2
from cellmesh.api.cortex.v1.layer_service_pb2_grpc import LayerServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.errors import BadUrl, Cancelled
from cellmesh.cortex.api.layers import taken_from, taken_to, to_node_edits
from cellmesh.cortex.layers.offsets import Taken, find_taken
from cellmesh.cortex.values.shared import SharedNode, shared_from_proto
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.sharing import Sharing
from cellmesh.cortex.views.taking import take_edits

WAIT_S: Final = 0.5
CONTENT_NODE_COUNT: Final = 500
EDITS_NODE_COUNT: Final = 1000
"""A call has no further transaction once it has so many nodes."""

IsOver = Callable[[], bool]


class Source(Protocol):
    """Where edits come from."""

    def content(self, after: bytes) -> Iterator[tuple[list[SharedNode], bytes, int]]:
        """Yield all that the layer holds: nodes, what to go on with (empty at the end), and from where on edits follow."""
        ...

    def edits(self, offset: int) -> Iterator[tuple[list[SharedNode], int]]:
        """Yield edits and where to read on, without an end; nothing and the same offset now and then while there is none."""
        ...


class Target(Protocol):
    """Where edits go to."""

    def taken(self) -> Taken | None:
        """Return how far the source was taken."""
        ...

    def take(self, nodes: Sequence[SharedNode], begins: Taken | None, ends: Taken) -> Taken | None:
        """Apply edits; returns how far the source is taken then."""
        ...


def split_url(url: str) -> tuple[str, str]:
    """Split the URL of a layer into that of its Cortex and the layer's iden; raises BadUrl."""
    cell, _, layer = url.rpartition("/layer/")
    if not cell or len(layer) != 32:
        raise BadUrl(f"the URL of a layer is that of its Cortex, /layer/, and its iden: {url}", url=url)
    return cell, layer


class LocalLayer:
    """A layer of this Cortex."""

    def __init__(self, graph: Graph, layer_id: str, source: str, user: str, is_over: IsOver) -> None:
        self._graph = graph
        self._layer_id = layer_id
        self._source = source
        self._user = user
        self._is_over = is_over
        self._sharing = Sharing(graph)

    def content(self, after: bytes) -> Iterator[tuple[list[SharedNode], bytes, int]]:
        """See Source."""
        layer = self._graph.layer(self._layer_id)
        with self._graph.slab.view() as txn:
            offset = self._graph.log.next_offset(txn)
        while True:
            nodes, after = self._sharing.content(layer, after, CONTENT_NODE_COUNT)
            yield nodes, after, offset
            if not after:
                return

    def edits(self, offset: int) -> Iterator[tuple[list[SharedNode], int]]:
        """See Source."""
        log, wanted = self._graph.log, frozenset((self._layer_id,))
        while not self._is_over():
            if not log.wait(offset, WAIT_S):
                yield [], offset
                continue
            nodes: list[SharedNode] = []
            for record in log.read(offset).records:
                shared = self._sharing.record(record, wanted)
                if shared is not None:
                    nodes += shared.nodes
                offset = record.offset + 1
                if len(nodes) >= EDITS_NODE_COUNT:
                    break
            # Many transactions here are one there: each call waits for the other's disk.
            yield nodes, offset

    def taken(self) -> Taken | None:
        """See Target."""
        with self._graph.slab.view() as txn:
            return find_taken(txn, self._layer_id, self._source)

    def take(self, nodes: Sequence[SharedNode], begins: Taken | None, ends: Taken) -> Taken | None:
        """See Target."""
        layer = self._graph.layer(self._layer_id)
        _, taken = take_edits(
            self._graph, layer, nodes, user=self._user, source=self._source, begins=begins, ends=ends
        )
        return taken


class RemoteLayer:
    """A layer of another Cortex."""

    def __init__(self, url: str, identity: Path, source: str, is_over: IsOver) -> None:
        cell, self._layer_id = split_url(url)
        self._source = source
        self._is_over = is_over
        self._client: CellClient = open_cell(cell, identity=identity)
        self._stub: Any = self._client.stub(LayerServiceStub)

    def close(self) -> None:
        """Close the connection; what waits on it ends."""
        with suppress(Cancelled):
            self._client.close()

    def content(self, after: bytes) -> Iterator[tuple[list[SharedNode], bytes, int]]:
        """See Source."""
        request = layer_pb2.ReadLayerContentRequest(layer_id=self._layer_id, after=after)
        for message in self._stub.ReadLayerContent(request):
            yield [shared_from_proto(node) for node in message.nodes], message.after, message.offset

    def edits(self, offset: int) -> Iterator[tuple[list[SharedNode], int]]:
        """See Source."""
        request = layer_pb2.ReadLayerEditsRequest(layer_ids=[self._layer_id], offset=offset, follow=True)
        for message in self._stub.ReadLayerEdits(request):
            nodes = [shared_from_proto(node) for record in message.records for node in record.nodes]
            yield nodes, message.next_offset
            if self._is_over():
                return

    def taken(self) -> Taken | None:
        """See Target."""
        request = layer_pb2.GetLayerOffsetRequest(layer_id=self._layer_id, source=self._source)
        response = self._stub.GetLayerOffset(request)
        return taken_from(response.taken) if response.HasField("taken") else None

    def take(self, nodes: Sequence[SharedNode], begins: Taken | None, ends: Taken) -> Taken | None:
        """See Target."""
        response = self._stub.SaveLayerEdits(
            layer_pb2.SaveLayerEditsRequest(
                layer_id=self._layer_id,
                nodes=[to_node_edits(node) for node in nodes],
                source=self._source,
                begins=taken_to(begins),
                ends=taken_to(ends),
            )
        )
        return taken_from(response.taken) if response.HasField("taken") else None
