"""The Axon's process entry."""

from __future__ import annotations

from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.common.cell import run_cell

CONFIG = AxonConfig


def serve(config: AxonConfig) -> int:
    """Run until told to stop; returns the exit code."""
    return run_cell(AxonCell(config))
