"""A client that calls a service of a mesh by its name, one write after the other, while a test moves or ends its cells."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod

from cellmesh.cli.mesh import Mesh
from cellmesh.client import CellClient, open_cell
from cellmesh.common.errors import CellError

RETRY_S = 0.02
PAUSE_S = 0.005
STOP_TIMEOUT_S = 30.0


class Load(ABC):
    """Writes 0, 1, 2, ... from a thread of its own, by one client that is never opened anew.

    Attributes:
        acknowledged: The values of which the cell said that it has them.
        gap_s: The longest time from one acknowledged write to the next.
    """

    def __init__(self, mesh: Mesh, service: str) -> None:
        self.acknowledged: list[int] = []
        self.gap_s = 0.0
        self._mesh = mesh
        self._service = service
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @abstractmethod
    def write(self, client: CellClient, value: int) -> None:
        """Write one value; raises CellError where it was not acknowledged."""

    def stop(self) -> None:
        """Write no more."""
        self._stop.set()
        self._thread.join(STOP_TIMEOUT_S)
        assert not self._thread.is_alive()

    def wait_more(self, count: int = 20) -> None:
        """Wait until so many more writes were acknowledged."""
        wanted, end_s = len(self.acknowledged) + count, time.monotonic() + STOP_TIMEOUT_S
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < end_s, "writes are not acknowledged"
            time.sleep(RETRY_S)

    def _run(self) -> None:
        value, last_s = 0, time.monotonic()
        with open_cell(self._mesh.url(self._service), identity=self._mesh.identity) as client:
            while not self._stop.is_set():
                try:
                    self.write(client, value)
                except CellError:
                    time.sleep(RETRY_S)
                else:
                    self.acknowledged.append(value)
                    self.gap_s = max(self.gap_s, time.monotonic() - last_s)
                    last_s = time.monotonic()
                    time.sleep(PAUSE_S)
                value += 1
