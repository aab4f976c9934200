"""A change of a store: rows put and deleted, and one change record that tells of them, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from time import time_ns
from typing import Final, Protocol, TypeVar

from cellmesh.api.cortex.v1 import change_pb2
from cellmesh.common.changelog import ChangeLog, ChangeRecord
from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.storage import ReadTxn, SubDb, WriteTxn
from cellmesh.cortex.stores.schema import DATABASES
from cellmesh.cortex.values.wire import field
from google.protobuf.message import DecodeError

T = TypeVar("T")

TYPE_NAME: Final = "cellmesh.api.cortex.v1.StoreChange"
"""What change records of stores hold."""

_ROW: Final = 0x0A
_KEY: Final = 0x12
_VALUE: Final = 0x1A
_BY_NAME: Final = {db.name: db for db in DATABASES}


class Access(Protocol):
    """What a store is used through: a session of the graph, or `SlabAccess`."""

    user: str

    def read(self, op: Callable[[ReadTxn], T]) -> T:
        """Run a chunk of reading."""

    def write_op(self, op: Callable[[WriteTxn], T]) -> T:
        """Run one op in the open write transaction."""

    def sync(self) -> None:
        """Return when all that was written is durable."""


class Rows:
    """The rows one change puts and deletes."""

    __slots__ = ("_rows", "txn")

    def __init__(self, txn: WriteTxn) -> None:
        self.txn = txn
        # Serialized StoreRows, each a field of the StoreChange: joining bytes takes a third of what messages take.
        self._rows: list[bytes] = []

    def put(self, db: SubDb, key: bytes, value: bytes) -> None:
        """Put a row."""
        self.txn.put(db, key, value)
        self._rows.append(field(_ROW, _named(db) + field(_KEY, key) + field(_VALUE, value)))

    def delete(self, db: SubDb, key: bytes) -> None:
        """Delete a row that is there."""
        self.txn.delete(db, key)
        self._rows.append(field(_ROW, _named(db) + field(_KEY, key)))

    def payload(self) -> bytes | None:
        """Return the change as its record has it, or None if nothing changed."""
        if not self._rows:
            return None
        return b"".join(self._rows)


@cache
def _named(db: SubDb) -> bytes:
    """Return StoreRow.database."""
    return field(0x0A, db.name.encode())


class Changes:
    """Writes changes of all stores of a cell.

    Args:
        log: The cell's change log.
    """

    def __init__(self, log: ChangeLog) -> None:
        self._log = log

    def run(self, access: Access, op: Callable[[Rows], T]) -> T:
        """Run an op that checks first, then puts and deletes rows; log what it did in the same transaction."""

        def write(txn: WriteTxn) -> T:
            rows = Rows(txn)
            result = op(rows)
            payload = rows.payload()
            if payload is not None:
                self._log.append(
                    txn,
                    time_us=time_ns() // 1000,
                    actor=access.user,
                    type_name=TYPE_NAME,
                    payload=payload,
                )
            return result

        return access.write_op(write)


def apply_record(txn: WriteTxn, record: ChangeRecord) -> list[change_pb2.StoreRow]:
    """Apply a change record of a store, as replay and mirrors do; returns the rows it changed.

    Raises:
        StorageCorrupt: it is no change of a store.
    """
    if record.type_name != TYPE_NAME:
        raise StorageCorrupt("a change record of a store has another type", type=record.type_name)
    try:
        rows = list(change_pb2.StoreChange.FromString(record.payload).rows)
    except DecodeError as error:
        raise StorageCorrupt("a change record of a store does not read back") from error
    for row in rows:
        db = _BY_NAME.get(row.database)
        if db is None:
            raise StorageCorrupt("a change record tells of a database that is not there", name=row.database)
        if row.HasField("value"):
            txn.put(db, row.key, row.value)
        else:
            txn.delete(db, row.key)
    return rows
