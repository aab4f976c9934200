"""FeedService: nodes in bulk, a batch a transaction, each answered when it is durable.

While a batch is being committed, which is LMDB's work and the disk's, the next one of the stream is already
normalised. Batches are written in the order in which they came: the next one starts when the one before it has run
in its transaction.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import lru_cache, partial
from typing import Any, Final

from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.common.auth.context import current_call, current_caller
from cellmesh.common.errors import BadArg, to_detail
from cellmesh.common.rpc import CancelToken, Workers
from cellmesh.cortex.api.feed_groups import SMALL_SIZE_MAX, FeedGroups, Stream
from cellmesh.cortex.api.storm import user_name
from cellmesh.cortex.views.feed_values import FeedResult
from cellmesh.cortex.views.feed_wire import read_request
from cellmesh.cortex.views.graph import Graph

NODES_PER_BATCH_MAX: Final = 10_000
BATCHES_AT_ONCE_MAX: Final = 2
"""Batches of one stream that are at work: one that is committed, one that is made ready meanwhile."""


SMALL_AT_ONCE_MAX: Final = 64
"""The same of small ones, which are written together with those of other streams."""


class _OpenStream(Stream):
    """A stream with its batches that are at work, in the order in which they came.

    Whoever answers sleeps until the first of them is done, and is not woken by those that come meanwhile.
    """

    __slots__ = ("_at_work", "_freed", "_has_ended", "_wake", "large_count", "small_count")

    def __init__(self, user: str) -> None:
        super().__init__(user)
        self.small_count = self.large_count = 0
        self._at_work: deque[tuple[asyncio.Future[FeedResult], bool]] = deque()
        self._has_ended = False
        self._wake: asyncio.Future[None] | None = None
        self._freed: asyncio.Future[None] | None = None

    def start(self, work: asyncio.Future[FeedResult], *, is_small: bool) -> None:
        """Add what is at work behind what is there."""
        self._at_work.append((work, is_small))
        if is_small:
            self.small_count += 1
        else:
            self.large_count += 1
        work.add_done_callback(self._look)

    def end(self) -> None:
        """No more will come."""
        self._has_ended = True
        self._look()

    async def next_done(self) -> asyncio.Future[FeedResult] | None:
        """Wait for the first that is at work, and take it; None behind the last."""
        while not self._at_work or not self._at_work[0][0].done():
            if self._has_ended and not self._at_work:
                return None
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        work, is_small = self._at_work.popleft()
        if is_small:
            self.small_count -= 1
        else:
            self.large_count -= 1
        if self._freed is not None and not self._freed.done():
            self._freed.set_result(None)
        return work

    async def room(self, has_room: Callable[[], bool]) -> None:
        """Wait until some have been taken."""
        while not has_room():
            self._freed = asyncio.get_running_loop().create_future()
            await self._freed

    async def cancel(self, reader: asyncio.Task[None]) -> None:
        """Stop what is at work, and the task that reads."""
        left: list[asyncio.Future[Any]] = [reader, *(work for work, _ in self._at_work)]
        for other in left:
            other.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _look(self, _: object = None) -> None:
        wake = self._wake
        if wake is None or wake.done():
            return
        if self._at_work[0][0].done() if self._at_work else self._has_ended:
            wake.set_result(None)


class FeedServicer:
    """Hands batches to the graph. A batch is decoded and applied on a worker thread."""

    def __init__(self, graph: Graph, workers: Workers) -> None:
        self._graph = graph
        self._workers = workers
        self._groups = FeedGroups(graph, workers)

    async def AddNodes(self, request_iterator: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        """Answer each batch, in order.

        Answers are written to the context here, and nothing is yielded: each would go through the handlers around
        this one, which for a batch of one node is a good part of what it costs.
        """
        stream = _OpenStream(user_name(current_caller()))
        reader = asyncio.create_task(self._start_all(request_iterator, stream))
        try:
            while (work := await stream.next_done()) is not None:
                await context.write(_response(await work))
            await reader
        finally:
            await stream.cancel(reader)
        return
        yield  # what makes this a generator, which a handler of a stream is

    async def _start_all(self, requests: AsyncIterator[bytes], stream: _OpenStream) -> None:
        """Begin the work on each batch as it comes."""
        last_small: asyncio.Future[FeedResult] | None = None
        try:
            async for request in requests:
                if len(request) <= SMALL_SIZE_MAX:
                    if stream.small_count >= SMALL_AT_ONCE_MAX:
                        await stream.room(lambda: stream.small_count < SMALL_AT_ONCE_MAX)
                    last_small = self._groups.add(request, stream)
                    stream.start(last_small, is_small=True)
                    continue
                if stream.large_count >= BATCHES_AT_ONCE_MAX:
                    await stream.room(lambda: stream.large_count < BATCHES_AT_ONCE_MAX)
                if last_small is not None:
                    # Those wait for others; what comes behind them is not written before them.
                    await asyncio.wait((last_small,))
                applied = asyncio.Event()
                task = asyncio.create_task(self._run(request, stream, applied))
                stream.start(task, is_small=False)
                await applied.wait()
                if task.done() and task.exception() is not None:
                    return
        finally:
            stream.end()

    async def _run(self, request: bytes, stream: Stream, applied: asyncio.Event) -> FeedResult:
        loop = asyncio.get_running_loop()

        def note() -> None:
            loop.call_soon_threadsafe(applied.set)

        try:
            return await self._workers.run_long(partial(self._feed, request, stream, note))
        finally:
            applied.set()

    def _feed(
        self, request: bytes, stream: Stream, note_applied: Callable[[], None], token: CancelToken
    ) -> FeedResult:
        token.check()
        batch, view_id = read_request(request)
        if len(batch) > NODES_PER_BATCH_MAX:
            raise BadArg(
                f"a batch holds at most {NODES_PER_BATCH_MAX} nodes, not {len(batch)}",
                name="nodes",
            )
        stream.enter(view_id)
        current_call().text = f"feed into view {stream.view_id or 'default'}"
        with self._graph.begin(self._graph.view(stream.view_id or None), user=stream.user) as session:
            result = session.feed(batch)
            note_applied()
            session.sync()
        return result


def _response(result: FeedResult) -> bytes:
    if not result.rejects:
        return _plain_response(
            result.accepted_count, result.edit_count, result.new_node_count, result.new_edge_count
        )
    rejects = [
        feed_pb2.FeedReject(index=reject.index, error=to_detail(reject.error)) for reject in result.rejects
    ]
    return feed_pb2.AddNodesResponse(
        accepted_count=result.accepted_count,
        edit_count=result.edit_count,
        new_node_count=result.new_node_count,
        new_edge_count=result.new_edge_count,
        rejects=rejects,
    ).SerializeToString()


@lru_cache(1024)
def _plain_response(accepted: int, edits: int, nodes: int, edges: int) -> bytes:
    """Return the answer to a batch of which nothing was rejected: small batches have the same, again and again."""
    return feed_pb2.AddNodesResponse(
        accepted_count=accepted, edit_count=edits, new_node_count=nodes, new_edge_count=edges
    ).SerializeToString()
