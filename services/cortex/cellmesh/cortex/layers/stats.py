"""Exact counts, kept in the transaction that changes what they count.

Kept here: nodes of a form, and nodes of a form with a property (universal ones by form). Counts of one
value, of a tag on a form, and of the edges of a verb are those of one key's values, which LMDB keeps itself.
"""

from __future__ import annotations

from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.common.storage.walking import walk
from cellmesh.cortex.layers.keys import end_of, pack_count, unpack_nid
from cellmesh.cortex.layers.schema import COUNTS


class CountChanges:
    """Changes of counts, added up over one op and written at its end."""

    __slots__ = ("changes",)

    def __init__(self) -> None:
        self.changes: dict[bytes, int] = {}

    def add(self, key: bytes, change: int) -> None:
        """Change a count."""
        changes = self.changes
        changes[key] = changes.get(key, 0) + change

    def write(self, txn: WriteTxn) -> None:
        """Write the changed counts; those that come to zero stay: the layer has had it."""
        for key, change in self.changes.items():
            if change:
                found = txn.get(COUNTS, key)
                count = (unpack_nid(found) if found is not None else 0) + change
                assert count >= 0, "a count fell below zero"
                txn.put(COUNTS, key, pack_count(count))
        self.changes.clear()


def read_count(txn: ReadTxn, key: bytes) -> int:
    """Return one count."""
    found = txn.get(COUNTS, key)
    return 0 if found is None else unpack_nid(found)


def sum_counts(txn: ReadTxn, prefix: bytes) -> int:
    """Return the sum of the counts whose keys start with a prefix: of a universal property over all forms."""
    return sum(unpack_nid(value) for _, value in walk(txn, COUNTS, prefix, end_of(prefix)))
