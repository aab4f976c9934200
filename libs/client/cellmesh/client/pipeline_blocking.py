"""Pipeline: many small calls on one stream, from threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
from cellmesh.api.common.v1 import pipeline_service_pb2 as pb
from cellmesh.client.core import Attempts
from cellmesh.client.failures import as_cell_error, never_began
from cellmesh.client.lane import PIPELINE_PATH
from cellmesh.client.pipelining import OPEN_CALLS_MAX, SWEEP_S, PipelineCalls
from cellmesh.common.errors import Cancelled, CellError, IsFini

if TYPE_CHECKING:
    from cellmesh.client.blocking import CellClient


class Pipeline:
    """Many small calls on one stream. Threads may share it.

        with cell.pipeline() as pipeline:
            futures = [pipeline.call(stub.GetBlobInfo, request) for request in requests]
        answers = [future.result() for future in futures]

    The block ends when every call has its answer. Left by an error, it ends at once and the calls are cancelled.

    Args:
        client: Where the calls go.
        in_order: Whether each call begins when the one before is done.
        concurrency: How many calls the cell runs at once; 0 leaves it to the cell.
        read_only: The caller's word that the calls change nothing, as with `CellClient.stub`.
    """

    def __init__(
        self,
        client: CellClient,
        *,
        in_order: bool = False,
        concurrency: int = 0,
        read_only: bool = False,
    ) -> None:
        self._client = client
        self._calls = PipelineCalls(
            client.core, in_order=in_order, concurrency=concurrency, read_only=read_only
        )
        self._changed = threading.Condition()
        self._closing = False
        self._stream: Any = None
        self._thread: threading.Thread | None = None

    def call(self, method: Any, request: Any, timeout: float | None = None) -> Future[Any]:
        """Make a call; waits only while very many have no answer yet.

        Args:
            method: A method of a stub, such as `stub.GetBlobInfo`: one request, one answer.
            request: Its request.
            timeout: The call's deadline in seconds; the client's when left out.

        Returns:
            The answer to be, or the CellError that the call by itself would raise.

        Raises:
            BadArg: no such method can be called so.
            IsFini: the pipeline is closed.
        """
        future: Future[Any] = Future()
        # Running from now on: it cannot be cancelled, as the cell may have the call already.
        future.set_running_or_notify_cancel()
        made = self._calls.make(method, request, timeout, future)
        with self._changed:
            while len(self._calls) >= OPEN_CALLS_MAX and not self._closing:
                self._changed.wait()
            if self._closing:
                raise IsFini("the pipeline is closed", name=str(self._client.url))
            self._calls.add(made)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cell-pipeline", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return future

    def close(self) -> None:
        """Wait until every call has its answer, and end the stream."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def cancel(self) -> None:
        """Give up every call that has no answer, and end the stream."""
        with self._changed:
            self._closing = True
            self._calls.fail_all(Cancelled("the pipeline was cancelled"))
            self._changed.notify_all()
            stream = self._stream
        if stream is not None:
            stream.cancel()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.cancel()

    # The thread that opens streams and reads answers. gRPC has another one, which runs `_requests`.

    def _run(self) -> None:
        attempts = self._calls.attempts()
        while self._wait_for_calls():
            try:
                attempts, pause_s = self._run_stream(attempts)
            except CellError as error:
                with self._changed:
                    self._calls.fail_all(error)
                    self._changed.notify_all()
                attempts, pause_s = self._calls.attempts(), 0.0
            if pause_s:
                time.sleep(pause_s)

    def _wait_for_calls(self) -> bool:
        """Wait until there is something to send; False when there will be nothing."""
        with self._changed:
            while not len(self._calls):
                if self._closing:
                    return False
                self._changed.wait()
            return True

    def _run_stream(self, attempts: Attempts) -> tuple[Attempts, float]:
        """Run one stream to its end; returns what the next one begins with, and the pause before it."""
        connection = self._client.connect(attempts)
        channel: grpc.Channel = connection.channel
        over = threading.Event()
        with self._changed:
            self._calls.opened()
        try:
            open_stream = channel.stream_stream(
                PIPELINE_PATH, pb.PipelineRequest.SerializeToString, pb.PipelineResponse.FromString
            )
            stream = self._stream = open_stream(
                self._requests(attempts, over), metadata=attempts.metadata(None)
            )
        except ValueError:
            raise IsFini("the client is closed", name=str(self._client.url)) from None
        failed: grpc.RpcError | None = None
        try:
            for response in stream:
                with self._changed:
                    self._calls.answered(response.answers)
                    self._changed.notify_all()
                attempts.succeeded(connection, ())
        except grpc.RpcError as error:
            failed = error
        with self._changed:
            over.set()
            self._stream = None
            made = as_cell_error(failed, self._client.url, connection.target) if failed else None
            self._calls.broken(made, never_sent=made is not None and never_began(failed, made))
            progressed, moved = self._calls.progressed, self._calls.moving
            self._changed.notify_all()
        following = self._calls.attempts() if progressed or moved else attempts
        if failed is None or (self._closing and not len(self._calls)):
            return following, self._calls.pause_s
        return following, following.failed(failed, connection)

    def _requests(self, attempts: Attempts, over: threading.Event) -> Iterator[pb.PipelineRequest]:
        """The messages of a stream. While one is sent, calls gather for the next."""
        while True:
            with self._changed:
                while not self._calls.can_send:
                    ended = self._closing and not len(self._calls)
                    if over.is_set() or self._calls.moving or ended:
                        return
                    self._changed.wait(SWEEP_S)
                    self._calls.sweep()
                if over.is_set():
                    return
                message = self._calls.take(attempts)
            yield message
