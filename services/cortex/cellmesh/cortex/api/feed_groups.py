"""Small batches of several feeds, written and synced together.

Many clients that each write a little would pay for an op and a sync each. What comes in while one group is at work
makes the next: one op a user and view, and one sync. A group is at work alone, in the order in which its batches came.

Clients that wait for an answer before they send more would fall apart into groups of one and all the others: the
first to come back would begin a group. So a group waits a moment for those who have just been answered. A client
that is alone never waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final

from cellmesh.common.errors import BadArg, CellError
from cellmesh.common.rpc import CancelToken, Workers
from cellmesh.cortex.views.feed_values import BATCH_COUNT_MAX, FeedResult
from cellmesh.cortex.views.feed_wire import FeedRecord, WireRecord, read_request
from cellmesh.cortex.views.graph import Graph

SMALL_SIZE_MAX: Final = 8 * 1024
"""A serialized batch up to this size waits for others; a larger one is worth an op of its own."""

GROUP_COUNT_MAX: Final = 256

GATHER_MAX_S: Final = 0.004
"""How long a group may wait for those whose batches have just been answered: they are likely to send their next."""

GATHER_STEP_S: Final = 0.0005
"""It waits no longer when nothing has come for so long."""

GATHER_OLD_S: Final = 0.010
"""Whoever was answered longer ago is not waited for."""


@dataclass(slots=True)
class Stream:
    """One stream of batches: who feeds, and into which view. Its batches are begun one after another."""

    user: str
    view_id: str | None = None

    def enter(self, view_id: str) -> None:
        """Take note of the view that a batch names.

        Raises:
            BadArg: It is not the one that batches before it went to.
        """
        if self.view_id is None:
            self.view_id = view_id
        elif view_id and view_id != self.view_id:
            into = self.view_id or "the default view"
            raise BadArg(
                f"this feed goes into {into}: a batch for {view_id[:40]!r} needs a stream of its own",
                name="view_id",
                valu=view_id[:40],
            )


@dataclass(slots=True, eq=False)
class _Small:
    """A small batch.

    Attributes:
        data: The request, serialized.
        stream: Where it came from.
        future: Awaits the result, in the event loop.
        records: The request, read.
        result: What became of it, or why nothing did.
    """

    data: bytes
    stream: Stream
    future: asyncio.Future[FeedResult]
    records: Sequence[FeedRecord] = ()
    result: FeedResult | BaseException | None = field(default=None)


class FeedGroups:
    """Takes small batches and has worker threads apply them in groups. Used in the event loop."""

    def __init__(self, graph: Graph, workers: Workers) -> None:
        self._graph = graph
        self._workers = workers
        self._waiting: list[_Small] = []
        self._task: asyncio.Task[None] | None = None
        # How many are likely to come, as of when a group was answered last.
        self._expected = 0
        self._answered_s = 0.0

    def add(self, data: bytes, stream: Stream) -> asyncio.Future[FeedResult]:
        """Take a batch. It is applied after those taken before, and durable when there is a result.

        Raises, when awaited:
            CellError: nothing of it was applied.
        """
        small = _Small(data, stream, asyncio.get_running_loop().create_future())
        self._waiting.append(small)
        if self._task is None:
            # The work is for all who wait, so it has the context of none.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
        return small.future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                group, self._waiting = self._waiting[:GROUP_COUNT_MAX], self._waiting[GROUP_COUNT_MAX:]
                try:
                    await self._workers.run_long(lambda token, group=group: self._apply(group, token))  # type: ignore[misc]
                except BaseException as error:
                    for small in group:
                        small.result = small.result or error
                    if not isinstance(error, Exception):
                        raise
                finally:
                    for small in group:
                        self._settle(small)
                    self._expected = min(len(group) + len(self._waiting), GROUP_COUNT_MAX)
                    self._answered_s = asyncio.get_running_loop().time()
        finally:
            self._task = None

    async def _gather(self) -> None:
        """Wait for those who are likely to come, as long as any of them come."""
        time = asyncio.get_running_loop().time
        begin_s = time()
        if begin_s - self._answered_s > GATHER_OLD_S:
            return
        seen_count = 0
        while seen_count < len(self._waiting) < self._expected and time() - begin_s < GATHER_MAX_S:
            seen_count = len(self._waiting)
            await asyncio.sleep(GATHER_STEP_S)

    @staticmethod
    def _settle(small: _Small) -> None:
        if small.future.done():
            return
        if isinstance(small.result, FeedResult):
            small.future.set_result(small.result)
        elif isinstance(small.result, Exception):
            small.future.set_exception(small.result)
        else:
            small.future.cancel()

    # On a worker thread.

    def _apply(self, group: list[_Small], token: CancelToken) -> None:
        """Apply a group: in the order of its batches, those in a row of one user and view in one op."""
        todo: list[_Small] = []
        for small in group:
            try:
                small.records, view_id = read_request(small.data)
                small.stream.enter(view_id)
            except CellError as error:
                small.result = error
                continue
            todo.append(small)
        runs: dict[tuple[str, str], list[_Small]] = {}
        for small in todo:
            runs.setdefault((small.stream.user, small.stream.view_id or ""), []).append(small)
        for (user, view_id), run in runs.items():
            try:
                self._feed(run, user, view_id)
            except CellError as error:
                for small in run:
                    small.result = error

    def _feed(self, run: list[_Small], user: str, view_id: str) -> None:
        with self._graph.begin(self._graph.view(view_id or None), user=user) as session:
            plain: list[_Small] = []
            results: list[tuple[_Small, FeedResult]] = []

            def write() -> None:
                if plain:
                    found = session.feed_together([small.records for small in plain])
                    results.extend(zip(plain, found, strict=True))
                    plain.clear()

            for small in run:
                if sum(len(other.records) for other in plain) + len(small.records) > BATCH_COUNT_MAX:
                    write()
                if all(type(record) is WireRecord for record in small.records):
                    plain.append(small)
                else:
                    write()
                    results.append((small, session.feed(small.records)))
            write()
            session.sync()
        for small, result in results:
            small.result = result
