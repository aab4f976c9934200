"""The two ends of a push or pull. How far edits were taken is stored where they go to, in the transaction that applies them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Edits:
    """Some edits of a layer.

    Attributes:
        nodes: What they change; may be nothing.
        offset: Where to read on.
        origin: The layer that they were made in first.
    """

    nodes: list[SharedNode]
    offset: int
    origin: str


class Source(Protocol):
    """Where edits come from."""

    @property
    def layer_id(self) -> str:
        """The layer."""
        ...

    def content(self, after: bytes) -> Iterator[tuple[list[SharedNode], bytes, int]]:
        """Yield all that the layer holds: nodes, what to go on with (empty at the end), and from where on edits follow."""
        ...

    def edits(self, offset: int, skip_origin: str) -> Iterator[Edits]:
        """Yield edits that were not made in the layer `skip_origin`, without an end; now and then none at all."""
        ...


class Target(Protocol):
    """Where edits go to."""

    @property
    def layer_id(self) -> str:
        """The layer."""
        ...

    def taken(self) -> Taken | None:
        """Return how far the source was taken."""
        ...

    def take(
        self, nodes: Sequence[SharedNode], begins: Taken | None, ends: Taken, origin: str
    ) -> Taken | None:
        """Apply edits that were made in the layer `origin` first; returns how far the source is taken then."""
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
        self.layer_id = layer_id
        self._source = source
        self._user = user
        self._is_over = is_over
        self._sharing = Sharing(graph)

    def content(self, after: bytes) -> Iterator[tuple[list[SharedNode], bytes, int]]:
        """See Source."""
        layer = self._graph.layer(self.layer_id)
        with self._graph.slab.view() as txn:
            offset = self._graph.log.next_offset(txn)
        while True:
            nodes, after = self._sharing.content(layer, after, CONTENT_NODE_COUNT)
            yield nodes, after, offset
            if not after:
                return

    def edits(self, offset: int, skip_origin: str) -> Iterator[Edits]:
        """See Source."""
        log, wanted = self._graph.log, frozenset((self.layer_id,))
        while not self._is_over():
            if not log.wait(offset, WAIT_S):
                yield Edits([], offset, self.layer_id)
                continue
            nodes: list[SharedNode] = []
            origin = self.layer_id
            for record in log.read(offset).records:
                shared = self._sharing.record(record, wanted)
                if shared is not None and shared.origin != skip_origin:
                    made_in = shared.origin or self.layer_id
                    if nodes and made_in != origin:
                        break
                    origin = made_in
                    nodes += shared.nodes
                offset = record.offset + 1
                if len(nodes) >= EDITS_NODE_COUNT:
                    break
            # Many transactions here are one there: each call waits for the other's disk.
            yield Edits(nodes, offset, origin)

    def taken(self) -> Taken | None:
        """See Target."""
        with self._graph.slab.view() as txn:
            return find_taken(txn, self.layer_id, self._source)

    def take(
        self, nodes: Sequence[SharedNode], begins: Taken | None, ends: Taken, origin: str
    ) -> Taken | None:
        """See Target."""
        _, taken = take_edits(
            self._graph,
            self._graph.layer(self.layer_id),
            nodes,
            user=self._user,
            source=self._source,
            begins=begins,
            ends=ends,
            origin=origin,
            is_stored=True,
        )
        return taken


class RemoteLayer:
    """A layer of another Cortex."""

    def __init__(self, url: str, identity: Path, source: str, is_over: IsOver) -> None:
        cell, self.layer_id = split_url(url)
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
        request = layer_pb2.ReadLayerContentRequest(layer_id=self.layer_id, after=after)
        for message in self._stub.ReadLayerContent(request):
            yield [shared_from_proto(node) for node in message.nodes], message.after, message.offset

    def edits(self, offset: int, skip_origin: str) -> Iterator[Edits]:
        """See Source."""
        request = layer_pb2.ReadLayerEditsRequest(
            layer_ids=[self.layer_id], offset=offset, follow=True, skip_origin=skip_origin
        )
        for message in self._stub.ReadLayerEdits(request):
            waiting = Edits([], offset, self.layer_id)
            for record in message.records:
                nodes = [shared_from_proto(node) for node in record.nodes]
                origin = record.origin or self.layer_id
                if waiting.nodes and origin != waiting.origin:
                    yield waiting
                    waiting = Edits([], record.offset, origin)
                waiting = Edits(waiting.nodes + nodes, record.offset + 1, origin)
            offset = message.next_offset
            yield Edits(waiting.nodes, offset, waiting.origin)
            if self._is_over():
                return

    def taken(self) -> Taken | None:
        """See Target."""
        request = layer_pb2.GetLayerOffsetRequest(layer_id=self.layer_id, source=self._source)
        response = self._stub.GetLayerOffset(request)
        return taken_from(response.taken) if response.HasField("taken") else None

    def take(
        self, nodes: Sequence[SharedNode], begins: Taken | None, ends: Taken, origin: str
    ) -> Taken | None:
        """See Target."""
        response = self._stub.SaveLayerEdits(
            layer_pb2.SaveLayerEditsRequest(
                layer_id=self.layer_id,
                nodes=[to_node_edits(node) for node in nodes],
                source=self._source,
                begins=taken_to(begins),
                ends=taken_to(ends),
                origin=origin,
            )
        )
        return taken_from(response.taken) if response.HasField("taken") else None
