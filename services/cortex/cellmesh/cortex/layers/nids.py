"""Buids and nids: which node has which number, and fresh numbers. Common to all layers."""

from __future__ import annotations

from collections.abc import Sequence

from cellmesh.common.errors import BadArg
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers.keys import pack_form, pack_nid, unpack_form, unpack_nid
from cellmesh.cortex.layers.schema import NIDS, SEQUENCES
from cellmesh.cortex.values.ids import form_number_of, make_nid, sequence_of


class Nids:
    """The table of nids. Sequences only grow: one given out in a write that was rolled back is skipped."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}

    def load(self, txn: ReadTxn) -> None:
        """Learn where the sequences go on; to be called once, after opening."""
        position = None
        while True:
            chunk = txn.scan(SEQUENCES, count_max=1000, after=position)
            for key, value in chunk.items:
                self._next[unpack_form(key)] = unpack_nid(value)
            if chunk.resume is None:
                return
            position = chunk.resume

    def find(self, txn: ReadTxn, buid: bytes) -> int | None:
        """Return the nid of a node that some layer knows, or knew."""
        found = txn.get(NIDS, buid)
        return None if found is None else unpack_nid(found)

    def find_many(self, txn: ReadTxn, buids: Sequence[bytes]) -> list[int | None]:
        """Return the nid of each buid, or None."""
        return [None if found is None else unpack_nid(found) for found in txn.get_many(NIDS, buids)]

    def fresh(self, form_number: int, count: int = 1) -> int:
        """Take the next nids of a form and return the first. `store` makes it last."""
        sequence = self._next.get(form_number, 0)
        self._next[form_number] = sequence + count
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
        number = form_number_of(nid)
        if sequence_of(nid) >= self._next.get(number, 0):
            self._next[number] = sequence_of(nid) + 1
        self.store_sequence(txn, number)

    def store_sequence(self, txn: WriteTxn, form_number: int) -> None:
        """Store where the sequence of a form goes on."""
        txn.put(SEQUENCES, pack_form(form_number), pack_nid(self._next[form_number]))
