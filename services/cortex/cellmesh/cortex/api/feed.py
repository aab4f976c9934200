"""FeedService: nodes in bulk, a batch a transaction, each answered when it is durable.

While a batch is being committed, which is LMDB's work and the disk's, the next one of the stream is already
normalised. Batches are written in the order in which they came: the next one starts when the one before it has run
in its transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
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


class FeedServicer:
    """Hands batches to the graph. A batch is decoded and applied on a worker thread."""

    def __init__(self, graph: Graph, workers: Workers) -> None:
        self._graph = graph
        self._workers = workers
        self._groups = FeedGroups(graph, workers)

    async def AddNodes(self, request_iterator: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        """Answer each batch, in order."""
        stream = Stream(user_name(current_caller()))
        # What is at work, in order; None behind the last.
        at_work: asyncio.Queue[tuple[asyncio.Future[FeedResult], asyncio.Semaphore] | None] = asyncio.Queue()
        large_room = asyncio.Semaphore(BATCHES_AT_ONCE_MAX)
        small_room = asyncio.Semaphore(SMALL_AT_ONCE_MAX)
        started: list[asyncio.Future[Any]] = []

        async def start_all() -> None:
            last_small: asyncio.Future[FeedResult] | None = None
            try:
                async for request in request_iterator:
                    is_small = len(request) <= SMALL_SIZE_MAX
                    room = small_room if is_small else large_room
                    await room.acquire()
                    if is_small:
                        work = last_small = self._groups.add(request, stream)
                        started[:] = [*(other for other in started if not other.done()), work]
                        at_work.put_nowait((work, room))
                        continue
                    if last_small is not None:
                        # Those wait for others; what comes behind them is not written before them.
                        await asyncio.wait((last_small,))
                    applied = asyncio.Event()
                    task = asyncio.create_task(self._run(request, stream, applied))
                    started[:] = [*(other for other in started if not other.done()), task]
                    at_work.put_nowait((task, room))
                    await applied.wait()
                    if task.done() and task.exception() is not None:
                        return
            finally:
                at_work.put_nowait(None)

        reader = asyncio.create_task(start_all())
        try:
            while (item := await at_work.get()) is not None:
                work, room = item
                result = await work
                room.release()
                yield _response(result)
            await reader
        finally:
            for other in (reader, *started):
                other.cancel()
            await asyncio.gather(reader, *started, return_exceptions=True)

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
        stream.view_id = stream.view_id or view_id
        current_call().text = f"feed into view {stream.view_id or 'default'}"
        with self._graph.begin(self._graph.view(stream.view_id or None), user=stream.user) as session:
            result = session.feed(batch)
            note_applied()
            session.sync()
        return result


def _response(result: FeedResult) -> feed_pb2.AddNodesResponse:
    rejects = [
        feed_pb2.FeedReject(index=reject.index, error=to_detail(reject.error)) for reject in result.rejects
    ]
    return feed_pb2.AddNodesResponse(
        accepted_count=result.accepted_count,
        edit_count=result.edit_count,
        new_node_count=result.new_node_count,
        new_edge_count=result.new_edge_count,
        rejects=rejects,
    )
