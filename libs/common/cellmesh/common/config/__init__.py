"""Settings of a cell: what they are, where their values come from, how they are told.

spec           CellConfig: the settings every cell has; a cell's own class adds its own
load           defaults, then DIR/cell.toml, environment and flags; the origin of each value is kept
click_options  a config class as options of a command
docs           a config class as a table for the reference
"""

from __future__ import annotations

from cellmesh.common.config.load import load_config
from cellmesh.common.config.spec import CellConfig

__all__ = ["CellConfig", "load_config"]
