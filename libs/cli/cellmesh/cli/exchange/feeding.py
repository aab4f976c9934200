"""Batches to the Cortex, two in flight: one is committed while the next one is made ready and sent."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.api.cortex.v1.feed_service_pb2_grpc import FeedServiceStub
from cellmesh.cli.exchange.parts import leave_out, parts_of
from cellmesh.cli.exchange.records import Record
from cellmesh.common.errors import CellError, CellUnreachable, Retry, ShuttingDown, from_detail

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


@dataclass(frozen=True, slots=True)
class _Again:
    """A node that is sent once more because the Cortex refused something of it.

    Attributes:
        left_out: Parts that have been left out of it.
        parts: What is sent by itself once the node is there, each with its name.
        part: The name of the part, if it is one.
        since: How many records came before those that it was first sent with.
    """

    left_out: int = 0
    parts: tuple[tuple[feed_pb2.FeedNode, str], ...] = ()
    part: str = ""
    since: int = 0


_FIRST: Final = _Again()


@dataclass(slots=True)
class _Batch:
    """Nodes on their way, with the record of each.

    Attributes:
        record_count: Records of the import that are whole in the Cortex once this and what was refused is answered.
        count_before: The same of the batch before it.
        again: Nodes that have been sent before, by their index.
    """

    request: feed_pb2.AddNodesRequest
    owners: list[Record] = field(default_factory=list)
    size: int = 0
    record_count: int = 0
    count_before: int = 0
    again: dict[int, _Again] = field(default_factory=dict)


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
        self._again: list[tuple[feed_pb2.FeedNode, Record, _Again]] = []
        self._count = 0
        self._noted = 0
        self._requests: queue.SimpleQueue[feed_pb2.AddNodesRequest | None] | None = None
        self._responses: Iterator[feed_pb2.AddNodesResponse] | None = None

    @property
    def count(self) -> int:
        """Records given so far, with those that were skipped."""
        return self._count

    def skip(self, count: int) -> None:
        """Take so many records as imported before."""
        self._count += count
        self._open.record_count = self._open.count_before = self._count

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

    def _put(self, node: feed_pb2.FeedNode, record: Record, again: _Again = _FIRST) -> None:
        size = node.ByteSize()
        if size > NODE_SIZE_MAX:
            self._reject(record, f"a node of {size:,} bytes, more than {NODE_SIZE_MAX:,}")
            return
        batch = self._open
        if again is not _FIRST:
            batch.again[len(batch.request.nodes)] = again
        batch.request.nodes.append(node)
        batch.owners.append(record)
        batch.size += size
        if batch.size >= BATCH_SIZE or len(batch.request.nodes) >= BATCH_COUNT_MAX:
            self._send()

    def _send(self) -> None:
        """Send the open batch, and begin the next one with what is to be tried again."""
        batch, self._open = self._open, self._new_batch()
        self._open.record_count = self._open.count_before = batch.record_count
        if batch.request.nodes:
            while len(self._sent) >= IN_FLIGHT_MAX:
                self._take(batch)
            self._sent.append(batch)
            self._stream().put(batch.request)
        again, self._again = self._again, []
        for node, record, how in again:
            self._put(node, record, how)

    def _stream(self) -> queue.SimpleQueue[feed_pb2.AddNodesRequest | None]:
        if self._requests is None:
            requests: queue.SimpleQueue[feed_pb2.AddNodesRequest | None] = queue.SimpleQueue()
            self._requests = requests
            responses: Iterator[feed_pb2.AddNodesResponse] = iter(
                self._stub.AddNodes(iter(requests.get, None))
            )
            self._responses = responses
        return self._requests

    def _take(self, waiting: _Batch | None = None) -> None:
        """Wait for the answer to the oldest batch; sends what is unanswered again when the connection breaks.

        Args:
            waiting: The batch that is sent next, if it is closed already.
        """
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
        self._answered(self._sent.popleft(), response, waiting)

    def _answered(self, batch: _Batch, response: feed_pb2.AddNodesResponse, waiting: _Batch | None) -> None:
        totals = self.totals
        refused = {reject.index for reject in response.rejects}
        totals.nodes += response.accepted_count
        totals.edits += response.edit_count
        totals.nodes_made += response.new_node_count
        totals.edges_made += response.new_edge_count
        for reject in response.rejects:
            self._refused(batch, reject.index, from_detail(reject.error))
        for index, again in batch.again.items():
            if index in refused:
                continue
            # A part's node has been counted.
            totals.nodes -= bool(again.part)
            for node, name in again.parts:
                self._again.append((node, batch.owners[index], _Again(part=name, since=again.since)))
        durable = min(batch.record_count, self._count_before_refused(waiting))
        if durable > self._noted:
            self._noted = durable
            self._done(durable)

    def _count_before_refused(self, waiting: _Batch | None) -> int:
        """How many records came before the first one of which something is tried again."""
        batches = (*self._sent, self._open, *([waiting] if waiting is not None else ()))
        again = chain(
            (how for batch in batches for how in batch.again.values()), (how for *_, how in self._again)
        )
        return min((how.since for how in again), default=self._count)

    def _refused(self, batch: _Batch, index: int, error: CellError) -> None:
        """Try a node once more without the part that is at fault, or without any part, or give it up."""
        node, record = batch.request.nodes[index], batch.owners[index]
        again = batch.again.get(index, _Again(since=batch.count_before))
        reason = f"{node.form}: {error.name}: {error.message}"
        if again.part:
            self._reject(record, f"{reason}; imported without {again.part}")
            return
        left_out = again.left_out + 1
        if left_out <= PARTS_LEFT_OUT_MAX and (part := leave_out(node, error)):
            self._reject(record, f"{reason}; imported without {part}")
            self._again.append((node, record, _Again(left_out, since=again.since)))
            return
        # The error tells of no part, such as that of a port in a URL at the other end of an edge.
        parts = () if again.parts else parts_of(node)
        if parts:
            bare = feed_pb2.FeedNode(form=node.form, value=node.value)
            self._again.append((bare, record, _Again(parts=parts, since=again.since)))
        else:
            self._reject(record, reason)
