"""One query: read in a thread of its own, so that whoever shows what comes can look at the clock and at Ctrl-C."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from cellmesh.api.cortex.v1 import storm_pb2, storm_service_pb2_grpc
from cellmesh.client import CellClient
from cellmesh.common.errors import CellError

QUEUE_SIZE: Final = 8
"""Batches that wait to be shown. When they are this many nothing more is read, and so the Cortex waits too."""

TICK_S: Final = 0.1
PROGRESS_EVERY_S: Final = 0.7
PROGRESS_TIMEOUT_S: Final = 5.0


class RunningQuery:
    """A query that runs.

    Args:
        client: The Cortex.
        request: The query.
    """

    def __init__(self, client: CellClient, request: storm_pb2.StormRequest) -> None:
        self.started = time.monotonic()
        self.node_count = 0
        self.edit_count = 0
        self._client = client
        self.text = request.text
        self._request = request
        self._queue: queue.Queue[Any] = queue.Queue(QUEUE_SIZE)
        self._stopped = threading.Event()
        self._call: Any = None
        self._task_id = ""
        threading.Thread(target=self._read, name="shell-query", daemon=True).start()

    @property
    def elapsed_s(self) -> float:
        """Since when it runs."""
        return time.monotonic() - self.started

    def messages(self) -> Iterator[storm_pb2.StormMessage | None]:
        """Yield what comes, and None now and then while nothing does.

        Raises:
            CellError: the call failed; a query that fails has a message that says so.
        """
        while True:
            try:
                item = self._queue.get(timeout=TICK_S)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            for message in item.messages:
                if message.HasField("node"):
                    self.node_count += 1
                elif message.HasField("init") and message.init.task_id:
                    self._task_id = message.init.task_id
                    threading.Thread(target=self._ask_progress, name="shell-progress", daemon=True).start()
                yield message

    def cancel(self) -> None:
        """End it, here and at the Cortex. What it has changed by then stays."""
        self._stopped.set()
        call = self._call
        if call is not None:
            call.cancel()

    def _read(self) -> None:
        try:
            stub = self._client.stub(storm_service_pb2_grpc.StormServiceStub)
            self._call = stub.Storm(self._request)
            if self._stopped.is_set():
                self._call.cancel()
            for batch in self._call:
                if not self._put(batch):
                    return
            self._put(None)
        except CellError as error:
            self._put(error)
        except Exception as error:  # noqa: BLE001  raised where the query is read, not lost in a thread
            self._put(error)

    def _ask_progress(self) -> None:
        """Ask now and then how many edits were made: a query that only edits tells nothing itself before its end."""
        stub = self._client.stub(storm_service_pb2_grpc.StormServiceStub)
        request = storm_pb2.GetStormProgressRequest(task_id=self._task_id)
        while not self._stopped.wait(PROGRESS_EVERY_S):
            try:
                self.edit_count = stub.GetStormProgress(request, timeout=PROGRESS_TIMEOUT_S).edit_count
            except CellError:
                # It has ended, runs in another cell, or the Cortex is older: then only nodes are counted.
                return

    def _put(self, item: Any) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=TICK_S)
                return True
            except queue.Full:
                continue
        return False
