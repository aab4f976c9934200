"""A mesh of the four cells under one folder, kept running on this machine.

mesh       Mesh: up, down, status, URLs, the identity to call with
processes  cells as detached processes: start, find, end
status     what is known of one cell, and how it is asked
ports      a free port for AHA, and telling the cells where it is when that changed

DIR/aha, DIR/axon, DIR/cryotank, DIR/cortex   the cells' folders
DIR/logs/KIND.log                             what each cell logs
DIR/lock                                      held while `up` or `down` works
"""

from __future__ import annotations

from cellmesh.cli.mesh.mesh import KINDS, REGISTRY, Mesh, Stopped
from cellmesh.cli.mesh.status import CellStatus

__all__ = ["KINDS", "REGISTRY", "CellStatus", "Mesh", "Stopped"]
