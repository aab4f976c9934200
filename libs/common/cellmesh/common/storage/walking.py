"""Every item of a range, fetched in chunks: for callers that want all and hold no more than a chunk in memory.

In one transaction an item shows as it was when its chunk was fetched, so that a caller may write to the database
that it walks. Items that come in between, ahead of the walk, show too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from cellmesh.common.storage.subdb import SubDb
from cellmesh.common.storage.transactions import Position, ReadTxn

if TYPE_CHECKING:
    from cellmesh.common.storage.slab import Slab

WALK_COUNT: Final = 1000
"""Items of a chunk."""


def walk(
    txn: ReadTxn, db: SubDb, low: bytes = b"", high: bytes | None = None, *, count: int = WALK_COUNT
) -> Iterator[tuple[bytes, bytes]]:
    """Yield every item of a range, by key and then by value, in one transaction.

    Args:
        txn: Stays open until the last item was taken.
        db: Where to look.
        low: Least key, included; empty for the start of the database.
        high: Bound above, excluded; None for the end of the database.
        count: Items of a chunk.
    """
    after: Position | None = None
    while True:
        chunk = txn.scan(db, low, high, count_max=count, after=after)
        yield from chunk.items
        if chunk.resume is None:
            return
        after = chunk.resume


def walk_keys(
    txn: ReadTxn, db: SubDb, low: bytes = b"", high: bytes | None = None, *, count: int = WALK_COUNT
) -> Iterator[bytes]:
    """As `walk`, but only the keys, one for each value a key has: twice as fast."""
    after: Position | None = None
    while True:
        chunk = txn.scan_keys(db, low, high, count_max=count, after=after)
        yield from chunk.items
        if chunk.resume is None:
            return
        after = chunk.resume


def walk_apart(slab: Slab, db: SubDb, *, count: int = WALK_COUNT) -> Iterator[tuple[bytes, bytes]]:
    """Yield every item of a database, each chunk from a transaction of its own: none is open while an item is used."""
    after: Position | None = None
    while True:
        with slab.view() as txn:
            chunk = txn.scan(db, count_max=count, after=after)
        yield from chunk.items
        if chunk.resume is None:
            return
        after = chunk.resume
