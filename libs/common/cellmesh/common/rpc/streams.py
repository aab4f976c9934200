"""From a blocking generator in a worker thread to an async stream of growing batches.

    generator ─ item ─> pending ─ pack ─> ready (bounded) ─> event loop ─> client

- The first item leaves at once, unless told otherwise; then batches grow, up to a count and a size. Items never wait
  longer than some milliseconds for others: the event loop takes a batch that is not full when it has nothing to send.
- The last batch and the end are handed over together, so that a small answer costs one turn of the event loop.
- `ready` is bounded: when the client is slow the thread waits, after `on_block` has let go of storage.
- When the client is gone the CancelToken is set; the generator is closed at its next item, on its own thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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
        self._event: threading.Event | None = None  # made by the first `wait`: most work never sleeps
        self._lock = threading.Lock()
        self._listener: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Ask the work to end."""
        with self._lock:
            self.cancelled = True
            listener, self._listener = self._listener, None
            if self._event is not None:
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
        with self._lock:
            if self.cancelled:
                return True
            event = self._event
            if event is None:
                event = self._event = threading.Event()
        return event.wait(timeout_s)


class StreamToken(CancelToken):
    """The token of a stream's work, which may also send items itself, between those that its iterator gives.

    For work that is not an iterator by nature, such as a query that prints while it looks for its next row.
    """

    __slots__ = ("_put",)

    def __init__(self, put: Callable[[Any], None]) -> None:
        super().__init__()
        self._put = put

    def send(self, item: Any) -> None:
        """Send an item, waiting while the client is slow. Raises Cancelled if the work should end."""
        self.check()
        self._put(item)


Producer = Callable[[StreamToken], Iterator[ItemT]]
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
        count_first: int,
        count_max: int,
        size_max_bytes: int,
        flush_s: float,
    ) -> None:
        self._submit = submit
        self._produce = produce
        self._pack = pack
        self._flush_s = flush_s
        self._pipe: _Pipe[ItemT, MessageT_co] = _Pipe(
            pack, size_of, on_block, count_first, count_max, size_max_bytes
        )
        self._started = False

    def __aiter__(self) -> BatchStream[ItemT, MessageT_co]:
        return self

    async def __anext__(self) -> MessageT_co:
        found = await self._next()
        if found is None:
            raise StopAsyncIteration
        return found[0]

    async def write_to(self, write: Callable[[MessageT_co], Awaitable[object]]) -> MessageT_co | None:
        """Write all messages but the last, and return that one for the caller to send together with the end.

        Returns:
            The last message. None if there was none, or if it was written before it was known to be the last.
        """
        try:
            while (found := await self._next()) is not None:
                message, is_last = found
                if is_last:
                    return message
                await write(message)
        except BaseException:
            self.close()
            raise
        return None

    async def _next(self) -> tuple[MessageT_co, bool] | None:
        """Return the next message and whether it is the last, or None at the end."""
        pipe = self._pipe
        if not self._started:
            self._start()
        while True:
            state, message, items, waiter = pipe.take()
            if state is _READY:
                assert message is not None
                return message
            if state is _PENDING:
                return self._pack(items), False
            if state is _ENDED:
                if pipe.error is not None:
                    error, pipe.error = pipe.error, None
                    raise error
                return None
            assert waiter is not None
            timer = pipe.loop.call_later(self._flush_s, pipe.on_timer)
            try:
                await waiter
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
        count_first: int,
        count_max: int,
        size_max: int,
    ) -> None:
        self.token = StreamToken(self.put)
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
        self._count_limit = min(count_first, count_max)
        self._size_limit = min(BATCH_SIZE_MIN, size_max)

    # In the event loop.

    def take(
        self,
    ) -> tuple[int, tuple[MessageT, bool] | None, list[ItemT], asyncio.Future[None] | None]:
        """Take what may be sent now, a packed message with whether it is the last or items, or get a waiter.

        The waiter is handed out rather than read from here: the thread may have settled and dropped it by then.
        """
        with self._lock:
            if self._ready:
                message = self._ready.popleft()
                if len(self._ready) == READY_COUNT_MAX - 1:
                    self._room.notify()
                is_last = self.ended and not self._ready and self.error is None
                return _READY, (message, is_last), [], None
            if self._pending and self._hungry:
                items, self._pending, self._size = self._pending, [], 0
                self._hungry = False
                return _PENDING, None, items, None
            if self.ended:
                return _ENDED, None, [], None
            self._hungry = False
            waiter = self.waiter = self.loop.create_future()
            return _NOTHING, None, [], waiter

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
        self._end(failure)

    def _end(self, failure: BaseException | None) -> None:
        """Hand over what is left together with the end: the loop wakes once, and knows that nothing follows."""
        with self._lock:
            batch, self._pending, self._size = self._pending, [], 0
        messages: list[MessageT] = []
        if batch:
            try:
                messages.append(self._pack(batch))
            except BaseException as error:  # noqa: BLE001  likewise
                failure = failure or error
        with self._lock:
            self._ready.extend(messages)
            self.error = failure
            self.ended = True
            self._wake_threadsafe_locked()

    def _drive(self, items: Iterator[ItemT]) -> None:
        token, put = self.token, self.put
        for item in items:
            if token.cancelled:
                return
            put(item)

    def put(self, item: ItemT) -> None:
        """Take in one item; waits while the client is slow."""
        if item is FLUSH:
            self._emit()
            return
        size = self._size_of(item) if self._size_of is not None else 0
        with self._lock:
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
