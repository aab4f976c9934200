"""Change records of stores: joined by hand, they are the bytes that protobuf makes."""

from __future__ import annotations

from pathlib import Path

from cellmesh.api.cortex.v1 import change_pb2
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.cortex.stores.changes import Rows
from cellmesh.cortex.stores.schema import DATABASES, MACROS, QUEUE_ITEMS


def test_rows_are_serialized_as_protobuf_does(tmp_path: Path) -> None:
    given: list[tuple[bytes, bytes | None]] = [
        (b"k", b"v"),
        (b"k" * 200, b"v" * 20_000),
        (b"\x00\xff", b"\x00"),
        (b"k", None),
    ]

    def op(txn: WriteTxn) -> bytes | None:
        rows = Rows(txn)
        assert rows.payload() is None
        for db in (MACROS, QUEUE_ITEMS):
            for key, value in given:
                if value is None:
                    rows.delete(db, key)
                else:
                    rows.put(db, key, value)
        return rows.payload()

    with Slab.open(tmp_path, DATABASES, sync=False) as slab:
        payload = slab.write(op)
    wanted = change_pb2.StoreChange(
        rows=[
            change_pb2.StoreRow(database=db.name, key=key, value=value)
            for db in (MACROS, QUEUE_ITEMS)
            for key, value in given
        ]
    )
    assert payload == wanted.SerializeToString(deterministic=True)
