"""Gathers the health of a cell's parts and tells it on the server's board."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from cellmesh.common.cell.part import WELL, Part, PartHealth, PartState
from cellmesh.common.rpc.health import HealthBoard
from cellmesh.common.telemetry.logs import get_logger

CHECK_INTERVAL_S: Final = 1.0

_SEVERITY = {PartState.WELL: 0, PartState.READ_ONLY: 1, PartState.FAILED: 2}

_log = get_logger(__name__)


def worst_of(parts: Sequence[Part]) -> tuple[str, PartHealth]:
    """Find the part that does worst, the first of equals; ("", well) when there are none."""
    name, worst = "", WELL
    for part in parts:
        health = part.health()
        if _SEVERITY[health.state] > _SEVERITY[worst.state]:
            name, worst = part.name, health
    return name, worst


class HealthWatch:
    """Asks the parts about once a second; tells the board and the cell of changes.

    Attributes:
        failure: The part that has failed, and why; empty while none has.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        board: HealthBoard,
        on_change: Callable[[PartState], None],
        *,
        interval_s: float = CHECK_INTERVAL_S,
    ) -> None:
        self._parts = tuple(parts)
        self._board = board
        self._on_change = on_change
        self._interval_s = interval_s
        self._state = PartState.WELL
        self.failure = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """For logs."""
        return "health"

    async def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.create_task(self._run(), name="health")

    async def stop(self) -> None:
        """Stop asking."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def health(self) -> PartHealth:
        """It has no trouble of its own."""
        return WELL

    def check(self) -> None:
        """Ask the parts once."""
        name, worst = worst_of(self._parts)
        self.failure = f"{name}: {worst.reason}" if worst.state is PartState.FAILED else ""
        if worst.state is self._state:
            return
        self._state = worst.state
        if worst.state is PartState.WELL:
            _log.info("cell_well_again")
        else:
            _log.warning("cell_unwell", part=name, state=worst.state.value, reason=worst.reason)
        self._board.set_all(worst.state is not PartState.FAILED)
        self._on_change(worst.state)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            self.check()
