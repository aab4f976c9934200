"""Process entry of a Cortex: `cellmesh cortex serve`."""

from __future__ import annotations

from cellmesh.common.cell import run_cell
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

CONFIG = CortexConfig


def serve(config: CortexConfig) -> int:
    """Run the cell until told to stop; return the exit code of the process."""
    return run_cell(CortexCell(config))
