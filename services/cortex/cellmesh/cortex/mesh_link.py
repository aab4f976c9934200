"""A Cortex's way to other cells of its mesh, for queries that call them: `$lib.aha`, `$lib.telepath`."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.errors import BadUrl, IsFini

if TYPE_CHECKING:
    from cellmesh.client import CellClient

CLIENT_COUNT_MAX: Final = 64
"""Connections that are kept. The one that was used the longest ago is closed for a new one."""

REGISTRY_URL: Final = "aha://aha"


class MeshLink:
    """Connections to cells by URL, made at their first use. Threads may share it.

    Args:
        identity: Folder of the Cortex's own identity.
    """

    name = "mesh"

    def __init__(self, identity: Path) -> None:
        self._identity = identity
        self._lock = threading.Lock()
        self._clients: OrderedDict[str, CellClient] = OrderedDict()
        self._is_closed = False

    def client(self, url: str) -> CellClient:
        """Return a client of a cell.

        Raises:
            BadUrl: the URL cannot be used, or would start a cell in this process.
            IsFini: the cell stops.
        """
        from cellmesh.client import Scheme, open_cell
        from cellmesh.client.aliases import parse_url

        dropped = None
        with self._lock:
            if self._is_closed:
                raise IsFini("the cell is stopping")
            found = self._clients.get(url)
            if found is None:
                if parse_url(url).scheme is Scheme.CELL:
                    raise BadUrl("queries reach cells that are processes of their own", url=url[:200])
                found = self._clients[url] = open_cell(url, identity=self._identity)
                if len(self._clients) > CLIENT_COUNT_MAX:
                    dropped = self._clients.popitem(last=False)[1]
            else:
                self._clients.move_to_end(url)
        if dropped is not None:
            dropped.close()
        return found

    def registry(self) -> CellClient:
        """Return a client of AHA; as `client`."""
        return self.client(REGISTRY_URL)

    async def start(self) -> None:
        """Do nothing: it connects when it is needed."""

    async def stop(self) -> None:
        """Close the connections."""
        with self._lock:
            clients = list(self._clients.values())
            self._clients.clear()
            self._is_closed = True
        for client in clients:
            await asyncio.to_thread(client.close)

    def health(self) -> PartHealth:
        """Always well: a Cortex serves without other cells."""
        return WELL
