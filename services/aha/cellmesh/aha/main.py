"""AHA's process entry."""

from __future__ import annotations

from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.common.cell import run_cell

CONFIG = AhaConfig


def serve(config: AhaConfig) -> int:
    """Run until told to stop; returns the exit code."""
    return run_cell(AhaCell(config))
