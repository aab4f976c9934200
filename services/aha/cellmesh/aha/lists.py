"""StoredLists: what is in memory as whole lists, read when AHA starts and, on a follower, when it has changed."""

from __future__ import annotations

from cellmesh.aha.api.pools import PoolServicer
from cellmesh.aha.ca.revocations import RevocationBoard
from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.rpc.workers import Workers


class StoredLists:
    """A Part: what is revoked, and the pools.

    Args:
        board: What is revoked.
        pools: The pools.
        workers: Threads for reading.
    """

    name = "stored lists"

    def __init__(self, board: RevocationBoard, pools: PoolServicer, workers: Workers) -> None:
        self._board = board
        self._pools = pools
        self._workers = workers

    async def start(self) -> None:
        """Read them."""
        await self.refresh()

    async def refresh(self) -> None:
        """Read them anew."""
        self._board.told(await self._workers.run(self._board.store.load))
        await self._pools.refresh()

    async def stop(self) -> None:
        """Nothing to do."""

    def health(self) -> PartHealth:
        """Always well."""
        return WELL
