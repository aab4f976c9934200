"""Global variables: `$lib.globals`."""

from __future__ import annotations

from cellmesh.cortex.stores.changes import Changes
from cellmesh.cortex.stores.named import NamedValues
from cellmesh.cortex.stores.schema import GLOBALS


class Globals(NamedValues):
    """Values that all queries share."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(GLOBALS, changes, "global variable")
