"""Threads for blocking work, and the way back into the event loop.

The standard executor makes a future with a lock and two callbacks for each call; handing a function to a
thread and its result back costs less than half of that here. Threads are started when needed, kept, and
bounded in number; what finds none free waits its turn.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

from cellmesh.common.errors import ShuttingDown
from cellmesh.common.rpc.streams import (
    BATCH_COUNT_MAX,
    BATCH_SIZE_MAX,
    FLUSH_S,
    BatchStream,
    CancelToken,
    Packer,
    Producer,
)

CALL_THREADS: Final = 8
STREAM_THREADS: Final = 64
JOIN_S: Final = 10.0

P = ParamSpec("P")
T = TypeVar("T")
ItemT = TypeVar("ItemT")
MessageT = TypeVar("MessageT")

_Job = Callable[[], None]


class ThreadPool:
    """At most so many daemon threads, which run jobs in the order they came."""

    def __init__(self, name: str, count_max: int) -> None:
        self._name = name
        self._count_max = count_max
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._free = 0
        self._closed = False

    def submit(self, job: _Job) -> None:
        """Have a job run. It must not raise. Raises ShuttingDown once the pool is closed."""
        with self._lock:
            if self._closed:
                raise ShuttingDown("the cell is stopping and starts no new work")
            # `_free` counts idle threads less the jobs already queued for them.
            self._free -= 1
            start = self._free < 0 and len(self._threads) < self._count_max
            if start:
                self._free += 1
                thread = threading.Thread(
                    target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True
                )
                self._threads.append(thread)
        self._jobs.put(job)
        if start:
            thread.start()

    def close(self, *, join_s: float = JOIN_S) -> bool:
        """Run what is queued, then end the threads. Returns whether all ended in time."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        for _ in threads:
            self._jobs.put(None)
        end = time.monotonic() + join_s
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in threads)

    def _run(self) -> None:
        take = self._jobs.get
        while True:
            job = take()
            if job is None:
                return
            job()
            del job  # or the last job's arguments would live until the next one
            with self._lock:
                self._free += 1


class Workers:
    """The worker threads of a cell: some for single calls, others for streams."""

    def __init__(self, *, call_threads: int = CALL_THREADS, stream_threads: int = STREAM_THREADS) -> None:
        self._calls = ThreadPool("call", call_threads)
        self._streams = ThreadPool("stream", stream_threads)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function in a worker thread and return what it returns or raise what it raises.

        The function sees the caller's context (who calls, request id). If the awaiting task is cancelled the
        function still runs to its end; nobody hears of the result.
        """
        return await _start(self._calls, partial(function, *args, **kwargs))

    async def run_long(self, function: Callable[[CancelToken], T]) -> T:
        """Run blocking work that may take long, in one of the streams' threads.

        The function gets a CancelToken, which is set when the awaiting task is cancelled: when the client has
        gone away or its deadline has passed.
        """
        token = CancelToken()
        try:
            return await _start(self._streams, partial(function, token))
        except asyncio.CancelledError:
            token.cancel()
            raise

    def stream(
        self,
        produce: Producer[ItemT],
        *,
        pack: Packer[ItemT, MessageT],
        size_of: Callable[[ItemT], int] | None = None,
        on_block: Callable[[], None] | None = None,
        count_first: int = 1,
        count_max: int = BATCH_COUNT_MAX,
        size_max_bytes: int = BATCH_SIZE_MAX,
        flush_s: float = FLUSH_S,
    ) -> BatchStream[ItemT, MessageT]:
        """Drive a blocking iterator in a thread of its own and get its items back as batches.

        Args:
            produce: Called in the thread with a CancelToken; returns the iterator.
            pack: Makes a message of one or more items. Called in the thread or the event loop, so it is pure.
            size_of: Bytes of an item. Left out, only items are counted.
            on_block: Called in the thread before it waits for a slow client: let go of storage here.
            count_first: Items in the first message, if the iterator is quick. More than one lets a small answer
                leave as one message; the first item of a long one then waits for the others.
            count_max: Most items in a message, once batches have grown.
            size_max_bytes: A message is sent when its items reach this size, once batches have grown.
            flush_s: Items wait at most about this long for others to join them.

        Returns:
            An async iterator over messages. Dropping it cancels the work.
        """
        return BatchStream(
            self._streams.submit,
            produce,
            pack=pack,
            size_of=size_of,
            on_block=on_block,
            count_first=count_first,
            count_max=count_max,
            size_max_bytes=size_max_bytes,
            flush_s=flush_s,
        )

    async def close(self) -> bool:
        """End the threads once their work is done. Returns whether all ended in time."""
        # In a thread of its own: asyncio would wait for one of its executor's when the process ends.
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        loop = future.get_loop()

        def join() -> None:
            _hand_over(loop, _settle, future, self._calls.close() & self._streams.close())

        threading.Thread(target=join, name="workers-close", daemon=True).start()
        return await future


async def _start(pool: ThreadPool, function: Callable[[], T]) -> T:
    """Run a function in a pool's thread, in the caller's context, and await it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def job() -> None:
        try:
            result = context.run(function)
        except BaseException as error:  # noqa: BLE001  it is raised again where it is awaited
            _hand_over(loop, _settle_error, future, error)
        else:
            _hand_over(loop, _settle, future, result)

    pool.submit(job)
    return await future


def _hand_over(loop: asyncio.AbstractEventLoop, settle: Callable[..., None], *args: Any) -> None:
    try:
        loop.call_soon_threadsafe(settle, *args)
    except RuntimeError:
        # The loop is closed: the process ends and nobody awaits this any more.
        if not loop.is_closed():
            raise


def _settle(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _settle_error(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
