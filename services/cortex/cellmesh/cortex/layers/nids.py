"""Buids and nids: which node has which number, and fresh numbers. Common to all layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cellmesh.common.errors import BadArg
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers.keys import pack_nid, unpack_nid
from cellmesh.cortex.layers.schema import NIDS, SEQUENCES
from cellmesh.cortex.values.ids import make_nid, sequence_of

NEXT_KEY: Final = b"next"


class Nids:
    """The table of nids. The sequence only grows: what was given out in a write that was rolled back is skipped.

    What is stored of the sequence follows from the nids that are stored, so that a replica comes to the same.
    """

    def __init__(self) -> None:
        self._next = 1

    def load(self, txn: ReadTxn) -> None:
        """Learn where the sequence goes on; to be called once, after opening."""
        found = txn.get(SEQUENCES, NEXT_KEY)
        self._next = 1 if found is None else unpack_nid(found)

    def find(self, txn: ReadTxn, buid: bytes) -> int | None:
        """Return the nid of a node that some layer knows, or knew."""
        found = txn.get(NIDS, buid)
        return None if found is None else unpack_nid(found)

    def find_many(self, txn: ReadTxn, buids: Sequence[bytes]) -> list[int | None]:
        """Return the nid of each buid, or None."""
        return [None if found is None else unpack_nid(found) for found in txn.get_many(NIDS, buids)]

    def fresh(self, form_number: int) -> int:
        """Take the next nid, for a node of a form. `store` or `advance` makes it last."""
        sequence = self._next
        self._next = sequence + 1
        return make_nid(form_number, sequence)

    def store(self, txn: WriteTxn, buid: bytes, nid: int) -> None:
        """Store which nid a buid has.

        Raises:
            BadArg: it has another one.
        """
        value = pack_nid(nid)
        if not txn.put(NIDS, buid, value, overwrite=False):
            if txn.get(NIDS, buid) != value:
                raise BadArg("the node has another nid here", nid=nid, iden=buid.hex())
            return
        self.advance(txn, nid)

    def advance(self, txn: WriteTxn, nid: int) -> None:
        """Store that the sequence goes on behind a nid that is stored, and all before."""
        following = sequence_of(nid) + 1
        if following > self._next:
            self._next = following
        found = txn.get(SEQUENCES, NEXT_KEY)
        if found is None or unpack_nid(found) < following:
            txn.put(SEQUENCES, NEXT_KEY, pack_nid(following))

    def first_unused(self, txn: ReadTxn) -> int:
        """Return the first sequence that no stored nid has, nor any above it."""
        found = txn.get(SEQUENCES, NEXT_KEY)
        return 1 if found is None else unpack_nid(found)
