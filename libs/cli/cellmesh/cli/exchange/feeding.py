"""Batches to the Cortex, two in flight: one is committed while the next one is made ready and sent."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.api.cortex.v1.feed_service_pb2_grpc import FeedServiceStub
from cellmesh.cli.exchange.records import Record
from cellmesh.common.errors import CellError, CellUnreachable, Retry, ShuttingDown, from_detail
from cellmesh.common.values import from_value

IN_FLIGHT_MAX: Final = 2
BATCH_COUNT: Final = 2000
BATCH_COUNT_MAX: Final = 10_000
BATCH_SIZE: Final = 8 * 1024 * 1024
"""Bytes of a batch; one record may make it larger."""

NODE_SIZE_MAX: Final = 32 * 1024 * 1024
ATTEMPTS_MAX: Final = 6
PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 8.0
PARTS_LEFT_OUT_MAX: Final = 20
"""Properties and the like that may be left out of one node before it is given up."""


@dataclass(slots=True)
class Totals:
    """What has become of records so far."""

    records: int = 0
    edges: int = 0
    nodes: int = 0
    edits: int = 0
    nodes_made: int = 0
    edges_made: int = 0
    rejects: int = 0


@dataclass(slots=True)
class _Batch:
    """Nodes on their way, with the record of each.

    Attributes:
        record_count: Records of the import that are whole in the Cortex once this is answered.
    """

    request: feed_pb2.AddNodesRequest
    owners: list[Record] = field(default_factory=list)
    size: int = 0
    record_count: int = 0
    left_out: dict[int, int] = field(default_factory=dict)


class Feeder:
    """Sends the nodes of records.

    Args:
        stub: The Cortex.
        view: The view to write to, 32 hexadecimal digits; empty for the default one.
        batch_count: Most nodes of a batch.
        reject: Called with a record and what of it could not be used.
        done: Called with how many records of the import are durable.
        totals: Where it is counted.
        retry_pause_s: How long to wait before sending again what a broken connection left open.
    """

    def __init__(
        self,
        stub: FeedServiceStub,
        *,
        view: str,
        batch_count: int,
        reject: Callable[[Record, str], None],
        done: Callable[[int], None],
        totals: Totals,
        retry_pause_s: float = PAUSE_S,
    ) -> None:
        self._stub = stub
        self._view = view
        self._batch_count = batch_count
        self._reject = reject
        self._done = done
        self.totals = totals
        self._pause_s = retry_pause_s
        self._open = self._new_batch()
        self._sent: deque[_Batch] = deque()
        self._again: list[tuple[feed_pb2.FeedNode, Record, int]] = []
        self._count = 0
        self._requests: queue.SimpleQueue[feed_pb2.AddNodesRequest | None] | None = None
        self._responses: Iterator[feed_pb2.AddNodesResponse] | None = None

    def skip(self, count: int) -> None:
        """Take so many records as imported before."""
        self._count += count

    def add(self, record: Record) -> None:
        """Send a record's nodes, soon. Waits while two batches are in flight.

        Raises:
            CellError: a batch failed as a whole; all before it is durable.
        """
        self._count += 1
        if record.is_edge:
            self.totals.edges += 1
        else:
            self.totals.records += 1
        for node in record.nodes:
            self._put(node, record)
        self._open.record_count = self._count
        if len(self._open.request.nodes) >= self._batch_count or self._open.size >= BATCH_SIZE:
            self._send()

    def flush(self) -> None:
        """Send what is open and wait until everything is durable; raises as `add`."""
        try:
            while self._open.request.nodes or self._sent or self._again:
                self._send()
                while self._sent:
                    self._take()
            self._done(self._count)
        finally:
            self.close()

    def close(self) -> None:
        """End the stream. What has not been answered may have been written or not."""
        if self._requests is not None:
            self._requests.put(None)
        self._requests = self._responses = None

    def _new_batch(self) -> _Batch:
        return _Batch(feed_pb2.AddNodesRequest(view_id=self._view))

    def _put(self, node: feed_pb2.FeedNode, record: Record, left_out: int = 0) -> None:
        size = node.ByteSize()
        if size > NODE_SIZE_MAX:
            self._reject(record, f"a node of {size:,} bytes, more than {NODE_SIZE_MAX:,}")
            return
        batch = self._open
        if left_out:
            batch.left_out[len(batch.request.nodes)] = left_out
        batch.request.nodes.append(node)
        batch.owners.append(record)
        batch.size += size
        if batch.size >= BATCH_SIZE or len(batch.request.nodes) >= BATCH_COUNT_MAX:
            self._send()

    def _send(self) -> None:
        """Send the open batch, and begin the next one with what is to be tried again."""
        batch, self._open = self._open, self._new_batch()
        self._open.record_count = batch.record_count
        again, self._again = self._again, []
        if batch.request.nodes:
            while len(self._sent) >= IN_FLIGHT_MAX:
                self._take()
            self._sent.append(batch)
            self._stream().put(batch.request)
        for node, record, left_out in again:
            self._put(node, record, left_out)

    def _stream(self) -> queue.SimpleQueue[feed_pb2.AddNodesRequest | None]:
        if self._requests is None:
            requests: queue.SimpleQueue[feed_pb2.AddNodesRequest | None] = queue.SimpleQueue()
            self._requests = requests
            responses: Iterator[feed_pb2.AddNodesResponse] = iter(
                self._stub.AddNodes(iter(requests.get, None))
            )
            self._responses = responses
        return self._requests

    def _take(self) -> None:
        """Wait for the answer to the oldest batch; sends what is unanswered again when the connection breaks."""
        attempt = 0
        while True:
            try:
                assert self._responses is not None
                response = next(self._responses, None)
                if response is None:
                    raise CellUnreachable("the feed ended without an answer", name="cortex")
                break
            except (CellUnreachable, ShuttingDown, Retry):
                attempt += 1
                self.close()
                if attempt >= ATTEMPTS_MAX:
                    raise
                time.sleep(min(self._pause_s * 2 ** (attempt - 1), PAUSE_MAX_S))
                requests = self._stream()
                for batch in self._sent:
                    requests.put(batch.request)
        self._answered(self._sent.popleft(), response)

    def _answered(self, batch: _Batch, response: feed_pb2.AddNodesResponse) -> None:
        totals = self.totals
        totals.nodes += response.accepted_count
        totals.edits += response.edit_count
        totals.nodes_made += response.new_node_count
        totals.edges_made += response.new_edge_count
        for reject in response.rejects:
            self._refused(batch, reject.index, from_detail(reject.error))
        # Parts that are tried again come later: their record is not done yet, but losing them to a kill would need
        # a reject and a kill at once, so the note waits for the next batch.
        if not response.rejects:
            self._done(batch.record_count)

    def _refused(self, batch: _Batch, index: int, error: CellError) -> None:
        """Try a node once more without the part that is at fault, or give it up."""
        node, record = batch.request.nodes[index], batch.owners[index]
        reason = f"{node.form}: {error.name}: {error.message}"
        left_out = batch.left_out.get(index, 0) + 1
        if left_out <= PARTS_LEFT_OUT_MAX and _leave_out(node, error):
            self._reject(record, f"{reason}; imported without it")
            self._again.append((node, record, left_out))
        else:
            self._reject(record, reason)


def _leave_out(node: feed_pb2.FeedNode, error: CellError) -> bool:
    """Remove the part of a node that an error is about; returns whether there is such a part."""
    name, prop = error.get("name"), error.get("prop")
    form = error.get("form")
    if form in (None, node.form):
        for key in _names(node, name, prop):
            if key in node.props:
                del node.props[key]
                return True
    for tag, given in node.tag_props.items():
        if isinstance(name, str) and name in given.props:
            del given.props[name]
            if not given.props:
                del node.tag_props[tag]
            return True
    value = error.get("valu")
    bad = [
        edge
        for edge in node.edges
        if edge.to.form in (form, name) and (value is None or from_value(edge.to.value) == value)
    ]
    if bad:
        kept = [edge for edge in node.edges if edge not in bad]
        del node.edges[:]
        node.edges.extend(kept)
        return True
    return False


def _names(node: feed_pb2.FeedNode, name: object, prop: object) -> Sequence[str]:
    found = [prop] if isinstance(prop, str) else []
    if isinstance(name, str) and name.startswith(f"{node.form}:"):
        found.append(name.removeprefix(f"{node.form}:"))
    if isinstance(name, str) and name.startswith(f"{node.form}."):
        found.append(name.removeprefix(node.form))
    return found
