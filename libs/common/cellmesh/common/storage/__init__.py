"""Storage: one LMDB environment a cell, many readers, one writer at a time, an acknowledged write is on disk.

In order of use:

    subdb.py         declarations of databases, and their typed use
    codecs.py        encodings of keys that sort like their values
    slab.py          open, read transactions, growth, low space, backup, figures
    copying.py       a consistent copy as a stream, while others go on
    session.py       one caller's unit of work: reads that see its own writes, sync
    writer.py        the one write transaction: who has it, whose ops share it, when it is committed
    gate.py          the seam where mirrors hold or refuse acknowledgements
    readers.py       read transactions, pooled, and held back while the map grows
    transactions.py  get, scan in chunks, put, delete
    layout.py        the version of what is stored, and migrations
    compaction.py    a closed slab's file without its free pages
    peek.py          a look into a file that no process has open
    lockfile.py      one process a folder
    faults.py        LMDB's errors as Cellmesh's

docs/storage.md says what is promised and how.
"""

from __future__ import annotations

from cellmesh.common.storage.compaction import Compacted, compact, compact_slab
from cellmesh.common.storage.gate import AckGate
from cellmesh.common.storage.layout import Layout, Migration
from cellmesh.common.storage.peek import layout_version, peek
from cellmesh.common.storage.session import Session
from cellmesh.common.storage.slab import MAP_SIZE_BYTES, Slab, SlabStats
from cellmesh.common.storage.subdb import SubDb, TypedDb
from cellmesh.common.storage.transactions import Chunk, Position, ReadTxn, WriteTxn

__all__ = [
    "MAP_SIZE_BYTES",
    "AckGate",
    "Chunk",
    "Compacted",
    "Layout",
    "Migration",
    "Position",
    "ReadTxn",
    "Session",
    "Slab",
    "SlabStats",
    "SubDb",
    "TypedDb",
    "WriteTxn",
    "compact",
    "compact_slab",
    "layout_version",
    "peek",
]
