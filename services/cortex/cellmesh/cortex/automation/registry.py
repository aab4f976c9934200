"""What automation adds to the language, for the Engine."""

from __future__ import annotations

from typing import Final

from cellmesh.cortex.automation import storm_background, storm_cron, storm_dmons, storm_triggers
from cellmesh.cortex.storm.runtime.interface import CommandSpec, LibrarySpec, TypeSpec

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    *storm_triggers.COMMANDS,
    *storm_cron.COMMANDS,
    *storm_dmons.COMMANDS,
    *storm_background.COMMANDS,
)
LIBRARIES: Final[tuple[LibrarySpec, ...]] = (
    *storm_triggers.LIBRARIES,
    *storm_cron.LIBRARIES,
    *storm_dmons.LIBRARIES,
)
TYPES: Final[tuple[TypeSpec, ...]] = (*storm_triggers.TYPES, *storm_cron.TYPES)
