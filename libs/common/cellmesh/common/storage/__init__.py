"""Storage: one LMDB environment a cell, many readers, one writer at a time, an acknowledged write is on disk.

In order of use:

    subdb.py         declarations of databases, and their typed use
    codecs.py        encodings of keys that sort like their values
    slab.py          open, transactions, snapshots, copies, figures
    upkeep.py        its lower half: growth, no room, the file opened anew or replaced
    environment.py   LMDB's environment, opened as slabs need it
    snapshot.py      a state kept open for more than a chunk of work
    creation.py      the first file, whole or absent
    copying.py       a consistent copy as a stream, while others go on
    state_hash.py    a hash of what databases hold, to compare replicas
    session.py       one caller's unit of work: reads that see its own writes, sync
    writer.py        the one write transaction: who has it, whose ops share it, when it is committed
    gate.py          the seam where mirrors hold or refuse acknowledgements
    readers.py       read transactions, pooled, and held back while the map grows
    transactions.py  get, scan in chunks, put, delete
    walking.py       every item of a range, chunk by chunk
    recovery.py      the file opened anew after an error of the disk
    layout.py        the version of what is stored, and migrations
    compaction.py    a closed slab's file without its free pages
    online.py        the same of a slab in use
    noting.py        which items are written meanwhile
    compaction_copy.py  the process that copies for it
    peeking.py       a look into a file that no process has open
    lockfile.py      one process a folder
    faults.py        LMDB's errors as Cellmesh's

docs/storage.md says what is promised and how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellmesh.common.exports import exports

if TYPE_CHECKING:
    from cellmesh.common.storage.compaction import Compacted, compact, compact_slab
    from cellmesh.common.storage.gate import AckGate
    from cellmesh.common.storage.layout import Layout, Migration
    from cellmesh.common.storage.online import CompactionProgress, compact_online
    from cellmesh.common.storage.peeking import layout_version, peek
    from cellmesh.common.storage.session import Session
    from cellmesh.common.storage.slab import MAP_SIZE_BYTES, Slab, SlabStats
    from cellmesh.common.storage.snapshot import Snapshot
    from cellmesh.common.storage.state_hash import StateHash, hash_state
    from cellmesh.common.storage.subdb import SubDb, TypedDb
    from cellmesh.common.storage.transactions import Chunk, Position, ReadTxn, WriteTxn
else:
    __getattr__ = exports(
        __name__,
        {
            "Compacted": "compaction",
            "compact": "compaction",
            "compact_slab": "compaction",
            "AckGate": "gate",
            "Layout": "layout",
            "Migration": "layout",
            "CompactionProgress": "online",
            "compact_online": "online",
            "layout_version": "peeking",
            "peek": "peeking",
            "Session": "session",
            "MAP_SIZE_BYTES": "slab",
            "Slab": "slab",
            "SlabStats": "slab",
            "Snapshot": "snapshot",
            "StateHash": "state_hash",
            "hash_state": "state_hash",
            "SubDb": "subdb",
            "TypedDb": "subdb",
            "Chunk": "transactions",
            "Position": "transactions",
            "ReadTxn": "transactions",
            "WriteTxn": "transactions",
        },
    )

__all__ = [
    "MAP_SIZE_BYTES",
    "AckGate",
    "Chunk",
    "Compacted",
    "CompactionProgress",
    "Layout",
    "Migration",
    "Position",
    "ReadTxn",
    "Session",
    "Slab",
    "SlabStats",
    "Snapshot",
    "StateHash",
    "SubDb",
    "TypedDb",
    "WriteTxn",
    "compact",
    "compact_online",
    "compact_slab",
    "hash_state",
    "layout_version",
    "peek",
]
