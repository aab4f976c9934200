"""The cell's part that has the model's steps run, before calls are answered, where the cell leads."""

from __future__ import annotations

import asyncio

from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.cortex.migration.runner import ModelSteps


class Migration:
    """Runs the steps of the model at the start of a leader, and when a follower becomes one.

    Args:
        steps: The steps.
        is_active: Whether the cell leads at its start.
    """

    name = "model steps"

    def __init__(self, steps: ModelSteps, *, is_active: bool) -> None:
        self._steps = steps
        self._leads = is_active
        self._is_stopped = False

    async def start(self) -> None:
        """Return when the data follow the model."""
        if self._leads:
            await asyncio.to_thread(self._steps.run, self._is_stopping)

    async def stop(self) -> None:
        """Leave the rest for the next time."""
        self._is_stopped = True

    async def role_changed(self, leads: bool) -> None:
        """A new leader goes on where the last one was."""
        self._leads = leads
        if leads:
            await asyncio.to_thread(self._steps.run, self._is_stopping)

    def health(self) -> PartHealth:
        """Well: until the steps are done the cell has not started."""
        return WELL

    def _is_stopping(self) -> bool:
        return self._is_stopped or not self._leads
