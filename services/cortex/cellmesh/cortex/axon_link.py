"""A Cortex's way to its Axon, which is found and connected at the first use: a Cortex without one has no use for it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.errors import IsFini

if TYPE_CHECKING:
    from cellmesh.cortex.axon_client import AxonClient


class AxonLink:
    """Connects to the Axon when it is first asked for. Threads may share it.

    Args:
        url: Where the Axon is; see `cellmesh.client.urls`.
        identity: Folder of the Cortex's own identity.
    """

    name = "axon"

    def __init__(self, url: str, identity: Path) -> None:
        self._url = url
        self._identity = identity
        self._lock = threading.Lock()
        self._client: AxonClient | None = None
        self._is_closed = False

    def client(self) -> AxonClient:
        """Return the client; raises IsFini once the cell stops."""
        with self._lock:
            if self._is_closed:
                raise IsFini("the cell is stopping")
            if self._client is None:
                from cellmesh.client import open_cell
                from cellmesh.cortex.axon_client import AxonClient

                self._client = AxonClient(open_cell(self._url, identity=self._identity))
            return self._client

    async def start(self) -> None:
        """Do nothing: it connects when it is needed."""

    async def stop(self) -> None:
        """Close the connection."""
        with self._lock:
            client, self._client = self._client, None
            self._is_closed = True
        if client is not None:
            await asyncio.to_thread(client.close)

    def health(self) -> PartHealth:
        """Always well: a Cortex serves without its Axon."""
        return WELL


__all__ = ["AxonLink"]
