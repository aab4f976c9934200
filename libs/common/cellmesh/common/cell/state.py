"""Where a cell stands in its life."""

from __future__ import annotations

import enum


class CellState(enum.Enum):
    """Where a cell stands in its life."""

    UNSPECIFIED = "new"
    STARTING = "starting"
    READY = "ready"
    READ_ONLY = "read-only"
    STOPPING = "stopping"
    STOPPED = "stopped"


__all__ = ["CellState"]
