"""Lanes for threads; see `cellmesh.client.lane`.

    callers ─ inbox ─> gRPC's thread that sends      the lane's thread, which reads ─> callers

Callers only put something into the inbox, which may be done anywhere, in a destructor too. The two threads of the lane
share its book, under a lock that no caller takes.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc
from cellmesh.api.common.v1 import pipeline_service_pb2 as pb
from cellmesh.client.lane import (
    PIPELINE_PATH,
    LaneBook,
    LaneCall,
    LaneError,
    LaneHistory,
    deadline_of,
    describe,
    too_late,
)

# What callers want of a call.
_SEND: Final = 0
_TOOK: Final = 1
_DROP: Final = 2
_NOTHING: Final = 3


class Lanes:
    """The lanes of a connection: one, and while the cell ends that, another. Threads may share it.

    Args:
        channel: The connection's.
        metadata: The login, which goes with the stream.
    """

    def __init__(self, channel: grpc.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        self._channel = channel
        self._metadata = metadata
        self._history = LaneHistory()
        self._lock = threading.Lock()
        self._lane: Lane | None = None

    def begin(
        self, method: Any, request: Any, timeout_s: float | None, metadata: Any
    ) -> BlockingLaneCall | None:
        """Begin a call; None if it is to be made by itself. Arguments are those of `AioLanes.begin`.

        Raises:
            ValueError: the channel is closed.
        """
        if not self._history.may_try:
            return None
        lane = self._lane
        if lane is None or lane.book.closing:
            with self._lock:
                lane = self._lane
                if lane is None or lane.book.closing:
                    self._lane = lane = Lane(self._channel, self._metadata, self._history)
        elif lane.book.is_full:
            return None
        sent = describe(method, request, metadata)
        if sent is None:
            return None
        call = BlockingLaneCall(sent, deadline_of(timeout_s), lane, method.kwargs["response_deserializer"])
        lane.want(_SEND, call, 0)
        return call

    def close(self) -> None:
        """End the lane; calls on it are cancelled."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.close()


class Lane:
    """One stream and its calls.

    Raises:
        ValueError: the channel is closed.
    """

    def __init__(
        self, channel: grpc.Channel, metadata: tuple[tuple[str, str], ...], history: LaneHistory
    ) -> None:
        self.book = LaneBook(history)
        self._inbox: queue.SimpleQueue[tuple[int, BlockingLaneCall | None, int]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._over = False
        self._stream: Any = channel.stream_stream(
            PIPELINE_PATH, pb.PipelineRequest.SerializeToString, pb.PipelineResponse.FromString
        )(self._requests(), metadata=metadata)
        threading.Thread(target=self._read, name="cell-lane", daemon=True).start()

    def want(self, what: int, call: BlockingLaneCall | None, size: int) -> None:
        """Ask something of the lane. It takes no lock, so that destructors may."""
        self._inbox.put((what, call, size))
        if self._over and what == _SEND:
            self._refuse_late()

    def close(self) -> None:
        """End the stream."""
        self.book.closing = True
        self._stream.cancel()

    def _requests(self) -> Iterator[pb.PipelineRequest]:
        """The messages of the stream. While one is sent, what is wanted gathers for the next."""
        inbox, book = self._inbox, self.book
        while not self._over:
            # Where more waits than one message holds, the next follows at once.
            wanted = [] if book.can_send else [inbox.get()]
            while True:
                try:
                    wanted.append(inbox.get_nowait())
                except queue.Empty:
                    break
            with self._lock:
                for what, call, size in wanted:
                    self._note(what, call, size)
                message = book.take() if book.can_send else None
            # Nothing is held while it waits, so that what is dropped elsewhere is noticed.
            wanted, call = [], None
            if message is not None:
                yield message

    def _note(self, what: int, call: BlockingLaneCall | None, size: int) -> None:
        if call is None:
            return
        if what == _SEND:
            if self._over:
                self.book.refuse(call)
            else:
                self.book.add(call)
        elif what == _TOOK:
            self.book.took(call, size)
        else:
            self.book.cancel(call)

    def _read(self) -> None:
        book = self.book
        error: grpc.RpcError | None = None
        try:
            for response in self._stream:
                with self._lock:
                    book.read(response)
        except grpc.RpcError as failed:
            error = failed
        with self._lock:
            self._over = True
            book.broken(error)
        self._refuse_late()
        # Wakes the thread that sends, so that it ends.
        self.want(_NOTHING, None, 0)

    def _refuse_late(self) -> None:
        """Calls that came when the stream was over never left."""
        while True:
            try:
                what, call, _ = self._inbox.get_nowait()
            except queue.Empty:
                return
            if what == _SEND and call is not None:
                self.book.refuse(call)


class BlockingLaneCall(LaneCall):
    """Looks like a call of gRPC: iterated, or asked for its one answer."""

    __slots__ = ("_lane", "_read", "_signal")

    def __init__(
        self, sent: pb.PipelineCall, deadline: float | None, lane: Lane, read: Callable[[bytes], Any]
    ) -> None:
        self._signal: queue.SimpleQueue[None] = queue.SimpleQueue()
        super().__init__(sent, deadline, self._came)
        self._lane = lane
        self._read = read

    def _came(self) -> None:
        self._signal.put(None)

    def __iter__(self) -> BlockingLaneCall:
        return self

    def __next__(self) -> Any:
        while not self.messages:
            # The end is looked at first: a message may come between two looks.
            if self.ended and not self.messages:
                if self.error is not None:
                    raise self.error
                raise StopIteration
            self._wait()
        data = self.messages.popleft()
        if not self.ended:
            self._lane.want(_TOOK, self, len(data))
        return self._read(data)

    def answer(self) -> Any:
        """Wait for the one answer."""
        while not self.ended:
            self._wait()
        if self.error is not None:
            raise self.error
        return self._read(self.messages[0] if self.messages else b"")

    def _wait(self) -> None:
        """Wait until something has come. Interrupted meanwhile, the call is given up."""
        try:
            if self.deadline is None:
                self._signal.get()
            else:
                self._signal.get(timeout=max(self.deadline - time.monotonic(), 0.0))
        except queue.Empty:
            self._give_up(too_late())
        except BaseException:
            self.cancel()
            raise

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """What the cell told with the end."""
        return self.trailing

    def cancel(self) -> None:
        """End the call."""
        self._give_up(LaneError(grpc.StatusCode.CANCELLED, "the call was cancelled by its caller"))

    def _give_up(self, error: LaneError) -> None:
        if not self.ended:
            self.fail(error)
            self._lane.want(_DROP, self, 0)
