"""A slab that is kept in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellmesh.common.storage import Layout, Slab, SubDb
from cellmesh.common.storage.layout import DEFAULT_LAYOUT, META
from cellmesh.common.storage.writer import BURST_ALONE_S, BURST_SHARED_S
from cellmesh.testing.memory.environment import MemoryEnvironment


class _NoLock:
    """Stands for the lock of a folder that there is not."""

    def release(self) -> None:
        """Do nothing."""


def memory_slab(databases: Sequence[SubDb], *, layout: Layout | None = None) -> Slab:
    """Make an empty slab in memory, with everything but copies, compaction and what else is about its file."""
    environment: Any = MemoryEnvironment()
    lock: Any = _NoLock()
    slab = Slab(
        # Only its disk's free space is looked at.
        Path(tempfile.gettempdir()),
        environment,
        lock,
        (META, *databases),
        space_min_bytes=0,
        burst_shared_s=BURST_SHARED_S,
        burst_alone_s=BURST_ALONE_S,
    )
    slab._bring_up(layout or DEFAULT_LAYOUT)
    return slab
