"""From a blocking generator in a worker thread to an async stream of growing batches.

    generator ─ item ─> pending ─ pack ─> ready (bounded) ─> event loop ─> client

- The first item leaves at once; then batches grow, up to a count and a size. Items never wait longer than
  some milliseconds for others: the event loop takes a batch that is not full when it has nothing to send.
- `ready` is bounded: when the client is slow the thread waits, after `on_block` has let go of storage.
- When the client is gone the CancelToken is set; the generator is closed at its next item, on its own thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Generic, TypeVar

from cellmesh.common.errors import Cancelled

BATCH_COUNT_MAX: Final = 256
BATCH_SIZE_MIN: Final = 64 * 1024
BATCH_SIZE_MAX: Final = 1024 * 1024
BATCH_GROWTH: Final = 4
READY_COUNT_MAX: Final = 4
FLUSH_S: Final = 0.005

FLUSH: Final[Any] = object()
"""A generator yields this to have everything before it sent at once."""

ItemT = TypeVar("ItemT")
MessageT = TypeVar("MessageT")
MessageT_co = TypeVar("MessageT_co", covariant=True)


class CancelToken:
    """Tells blocking work that nobody waits for it any more. Checking is cheap."""

    __slots__ = ("_event", "_listener", "_lock", "cancelled")

    def __init__(self) -> None:
        self.cancelled = False
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._listener: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Ask the work to end."""
        with self._lock:
            self.cancelled = True
            listener, self._listener = self._listener, None
        self._event.set()
        if listener is not None:
            listener()

    def on_cancel(self, listener: Callable[[], None]) -> None:
        """Have one function called when cancelled, on whichever thread cancels; at once if that was before.

        For work that has a switch of its own: it must be quick and must not raise.
        """
        with self._lock:
            if not self.cancelled:
                self._listener = listener
                return
        listener()

    def check(self) -> None:
        """Raise Cancelled if the work should end."""
        if self.cancelled:
            raise Cancelled("the caller does not wait any more")

    def wait(self, timeout_s: float) -> bool:
        """Sleep, but no longer than until cancelled. Returns whether it is cancelled."""
        return self._event.wait(timeout_s)


Producer = Callable[[CancelToken], Iterator[ItemT]]
Packer = Callable[[list[ItemT]], MessageT]


class BatchStream(AsyncIterator[MessageT_co], Generic[ItemT, MessageT_co]):
    """The receiving end, in the event loop. Made by `Workers.stream`.

    The work starts when the first message is asked for. Dropping or closing the stream cancels it.
    """

    def __init__(
        self,
        submit: Callable[[Callable[[], None]], None],
        produce: Producer[ItemT],
        *,
        pack: Packer[ItemT, MessageT_co],
        size_of: Callable[[ItemT], int] | None,
        on_block: Callable[[], None] | None,
        count_max: int,
        size_max_bytes: int,
        flush_s: float,
    ) -> None:
        self._submit = submit
        self._produce = produce
        self._pack = pack
        self._flush_s = flush_s
        self._pipe: _Pipe[ItemT, MessageT_co] = _Pipe(pack, size_of, on_block, count_max, size_max_bytes)
        self._started = False

    def __aiter__(self) -> BatchStream[ItemT, MessageT_co]:
        return self

    async def __anext__(self) -> MessageT_co:
        pipe = self._pipe
        if not self._started:
            self._start()
        while True:
            state, message, items = pipe.take()
            if state is _READY:
                assert message is not None
                return message[0]
            if state is _PENDING:
                return self._pack(items)
            if state is _ENDED:
                if pipe.error is not None:
                    error, pipe.error = pipe.error, None
                    raise error
                raise StopAsyncIteration
            assert pipe.waiter is not None
            timer = pipe.loop.call_later(self._flush_s, pipe.on_timer)
            try:
                await pipe.waiter
            finally:
                timer.cancel()

    def close(self) -> None:
        """Cancel the work. It ends in its own time, on its thread."""
        self._pipe.cancel()

    def __del__(self) -> None:
        self._pipe.cancel()

    def _start(self) -> None:
        self._started = True
        pipe = self._pipe
        pipe.loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        produce = self._produce
        # The job holds the pipe and not this object, so that dropping the stream is noticed.
        self._submit(lambda: context.run(pipe.run, produce))


# What `_Pipe.take` found.
_READY: Final = 0
_PENDING: Final = 1
_ENDED: Final = 2
_NOTHING: Final = 3


class _Pipe(Generic[ItemT, MessageT]):
    """What the thread and the loop share. Each field is used under the lock unless said otherwise."""

    __slots__ = (
        "_count_limit",
        "_count_max",
        "_hungry",
        "_lock",
        "_on_block",
        "_pack",
        "_pending",
        "_ready",
        "_room",
        "_size",
        "_size_limit",
        "_size_max",
        "_size_of",
        "ended",
        "error",
        "loop",
        "token",
        "waiter",
    )

    loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        pack: Packer[ItemT, MessageT],
        size_of: Callable[[ItemT], int] | None,
        on_block: Callable[[], None] | None,
        count_max: int,
        size_max: int,
    ) -> None:
        self.token = CancelToken()
        self.ended = False
        self.error: BaseException | None = None
        self.waiter: asyncio.Future[None] | None = None
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._ready: deque[MessageT] = deque()
        self._pending: list[ItemT] = []
        self._size = 0
        self._hungry = False  # the loop waits and has waited long enough: wake it for one item
        # Used by the thread alone.
        self._pack = pack
        self._size_of = size_of
        self._on_block = on_block
        self._count_max = count_max
        self._size_max = size_max
        self._count_limit = 1
        self._size_limit = min(BATCH_SIZE_MIN, size_max)

    # In the event loop.

    def take(self) -> tuple[int, tuple[MessageT] | None, list[ItemT]]:
        """Take what may be sent now, or set `waiter`."""
        with self._lock:
            if self._ready:
                message = self._ready.popleft()
                if len(self._ready) == READY_COUNT_MAX - 1:
                    self._room.notify()
                return _READY, (message,), []
            if self._pending and (self._hungry or self.ended):
                items, self._pending, self._size = self._pending, [], 0
                self._hungry = False
                return _PENDING, None, items
            if self.ended:
                return _ENDED, None, []
            self._hungry = False
            self.waiter = self.loop.create_future()
            return _NOTHING, None, []

    def on_timer(self) -> None:
        """Items have waited long enough: take them, or be woken by the next one."""
        with self._lock:
            self._hungry = True
            if self._pending:
                self._wake_locked()

    def cancel(self) -> None:
        """Make the thread end. May be called from anywhere, any number of times."""
        if not self.token.cancelled:
            self.token.cancel()
            with self._lock:
                self._room.notify_all()

    # In the thread.

    def run(self, produce: Producer[ItemT]) -> None:
        """Drive the generator to its end, the client's, or its error's."""
        items: Iterator[ItemT] | None = None
        failure: BaseException | None = None
        try:
            if not self.token.cancelled:
                items = iter(produce(self.token))
                self._drive(items)
        except BaseException as error:  # noqa: BLE001  raised again by __anext__
            failure = error
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                try:
                    close()
                except BaseException as error:  # noqa: BLE001  likewise
                    failure = failure or error
        with self._lock:
            self.error = failure
            self.ended = True
            self._wake_threadsafe_locked()

    def _drive(self, items: Iterator[ItemT]) -> None:
        token, lock, size_of = self.token, self._lock, self._size_of
        for item in items:
            if token.cancelled:
                return
            if item is FLUSH:
                self._emit()
                continue
            size = size_of(item) if size_of is not None else 0
            with lock:
                self._pending.append(item)
                self._size += size
                full = len(self._pending) >= self._count_limit or self._size >= self._size_limit
                if self._hungry and not full:
                    self._wake_threadsafe_locked()
            if full:
                self._emit()
                self._count_limit = min(self._count_limit * BATCH_GROWTH, self._count_max)
                if self._size_limit < self._size_max:
                    self._size_limit = min(self._size_limit * 2, self._size_max)
        if not token.cancelled:
            self._emit()

    def _emit(self) -> None:
        """Pack what is pending and queue it, waiting for room."""
        with self._lock:
            batch, self._pending, self._size = self._pending, [], 0
        if not batch:
            return
        message = self._pack(batch)
        with self._lock:
            must_wait = len(self._ready) >= READY_COUNT_MAX and not self.token.cancelled
        if must_wait:
            if self._on_block is not None:
                self._on_block()
            with self._lock:
                while len(self._ready) >= READY_COUNT_MAX and not self.token.cancelled:
                    self._room.wait()
        with self._lock:
            self._ready.append(message)
            self._wake_threadsafe_locked()

    def _wake_threadsafe_locked(self) -> None:
        if self.waiter is not None:
            waiter, self.waiter = self.waiter, None
            try:
                self.loop.call_soon_threadsafe(_settle, waiter)
            except RuntimeError:
                # The loop is closed: nobody waits any more.
                if not self.loop.is_closed():
                    raise

    def _wake_locked(self) -> None:
        if self.waiter is not None:
            waiter, self.waiter = self.waiter, None
            _settle(waiter)


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
