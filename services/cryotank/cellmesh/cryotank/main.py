"""The Cryotank's process entry."""

from __future__ import annotations

from cellmesh.common.cell import run_cell
from cellmesh.cryotank.cell import CryotankCell
from cellmesh.cryotank.config import CryotankConfig

CONFIG = CryotankConfig


def serve(config: CryotankConfig) -> int:
    """Run until told to stop; returns the exit code."""
    return run_cell(CryotankCell(config))
