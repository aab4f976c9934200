"""FeedService: nodes in bulk, a batch a transaction, each answered when it is durable.

While a batch is being committed, which is LMDB's work and the disk's, the next one of the stream is already
normalised. Batches are written in the order in which they came: the next one starts when the one before it has run
in its transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.common.auth.context import current_call, current_caller
from cellmesh.common.errors import BadArg, to_detail
from cellmesh.common.rpc import CancelToken, Workers
from cellmesh.cortex.api.storm import user_name
from cellmesh.cortex.views.feed_wire import read_request
from cellmesh.cortex.views.graph import Graph

NODES_PER_BATCH_MAX: Final = 10_000
BATCHES_AT_ONCE_MAX: Final = 2
"""Batches of one stream that are at work: one that is committed, one that is made ready meanwhile."""


@dataclass(slots=True)
class _Feed:
    """One stream of batches: who feeds, and into which view. Its batches are begun one after another."""

    user: str
    view_id: str = ""


class FeedServicer:
    """Hands batches to the graph. A batch is decoded and applied on a worker thread."""

    def __init__(self, graph: Graph, workers: Workers) -> None:
        self._graph = graph
        self._workers = workers

    async def AddNodes(self, request_iterator: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
        """Answer each batch, in order."""
        feed = _Feed(user_name(current_caller()))
        # What is at work, in order; None behind the last.
        at_work: asyncio.Queue[asyncio.Task[feed_pb2.AddNodesResponse] | None] = asyncio.Queue()
        room = asyncio.Semaphore(BATCHES_AT_ONCE_MAX)
        started: list[asyncio.Task[Any]] = []

        async def start_all() -> None:
            try:
                async for request in request_iterator:
                    await room.acquire()
                    applied = asyncio.Event()
                    task = asyncio.create_task(self._run(request, feed, applied))
                    started[:] = [*(other for other in started if not other.done()), task]
                    at_work.put_nowait(task)
                    await applied.wait()
                    if task.done() and task.exception() is not None:
                        return
            finally:
                at_work.put_nowait(None)

        reader = asyncio.create_task(start_all())
        try:
            while (task := await at_work.get()) is not None:
                response = await task
                room.release()
                yield response
            await reader
        finally:
            for other in (reader, *started):
                other.cancel()
            await asyncio.gather(reader, *started, return_exceptions=True)

    async def _run(self, request: bytes, feed: _Feed, applied: asyncio.Event) -> feed_pb2.AddNodesResponse:
        loop = asyncio.get_running_loop()

        def note() -> None:
            loop.call_soon_threadsafe(applied.set)

        try:
            return await self._workers.run_long(partial(self._feed, request, feed, note))
        finally:
            applied.set()

    def _feed(
        self, request: bytes, feed: _Feed, note_applied: Callable[[], None], token: CancelToken
    ) -> feed_pb2.AddNodesResponse:
        token.check()
        batch, view_id = read_request(request)
        if len(batch) > NODES_PER_BATCH_MAX:
            raise BadArg(
                f"a batch holds at most {NODES_PER_BATCH_MAX} nodes, not {len(batch)}",
                name="nodes",
            )
        feed.view_id = feed.view_id or view_id
        current_call().text = f"feed into view {feed.view_id or 'default'}"
        with self._graph.begin(self._graph.view(feed.view_id or None), user=feed.user) as session:
            result = session.feed(batch)
            note_applied()
            session.sync()
        rejects = [
            feed_pb2.FeedReject(index=reject.index, error=to_detail(reject.error))
            for reject in result.rejects
        ]
        return feed_pb2.AddNodesResponse(
            accepted_count=result.accepted_count,
            edit_count=result.edit_count,
            new_node_count=result.new_node_count,
            new_edge_count=result.new_edge_count,
            rejects=rejects,
        )
