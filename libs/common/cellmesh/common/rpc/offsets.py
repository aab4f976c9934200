"""The metadata that ties calls to the place in the change log: who has seen a change goes on seeing it."""

from __future__ import annotations

from typing import Final

CHANGE_OFFSET_KEY: Final = "cellmesh-change-offset"
"""Trailing metadata: the offset up to which the cell that answered has the changes."""
MIN_OFFSET_KEY: Final = "cellmesh-min-offset"
"""Metadata of a call to a follower: answer only with the changes up to this offset."""
