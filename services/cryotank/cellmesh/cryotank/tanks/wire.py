"""Records as they travel, put together from what is stored without decoding it.

A `ReadRecordsResponse` is nothing but its `records` one after the other, so the bytes of several are the
bytes of each, joined. The layout is that of protos/cellmesh/api/cryotank/v1/tank.proto:

    ReadRecordsResponse.records (1, message)   Record.offset (1, varint)   Record.value (2, message)
    ReadRowsResponse.runs (1, message)   RowRun.items (1, as in RecordBatch)   RowRun.offset (2)   RowRun.form (3)
"""

from __future__ import annotations

from typing import Final

from cellmesh.common import msgpack
from cellmesh.common.values import to_value
from cellmesh.cryotank.tanks.batches import VALUE
from cellmesh.cryotank.tanks.values import Run, StoredRecord

_RECORDS_TAG: Final = b"\x0a"
_RUNS_TAG: Final = b"\x0a"
_RUN_OFFSET_TAG: Final = b"\x10"
_RUN_FORM_TAG: Final = b"\x18"
_OFFSET_TAG: Final = b"\x08"
_VALUE_TAG: Final = b"\x12"


def encode_varint(value: int) -> bytes:
    """A non-negative integer in protobuf's variable-length form."""
    if value < 0x80:
        return _SMALL[value]
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


_SMALL: Final = tuple(bytes((value,)) for value in range(0x80))


def encode_record(record: StoredRecord) -> bytes:
    """One record as a part of a serialized ReadRecordsResponse."""
    offset, data, form = record
    if form != VALUE:
        data = to_value(msgpack.decode(data)).SerializeToString()
    head = _OFFSET_TAG + encode_varint(offset) + _VALUE_TAG + encode_varint(len(data))
    return b"".join((_RECORDS_TAG, encode_varint(len(head) + len(data)), head, data))


def encode_run(run: Run) -> bytes:
    """Records that follow one another as a part of a serialized ReadRowsResponse."""
    block = run.block
    tail = _RUN_OFFSET_TAG + encode_varint(run.offset) + _RUN_FORM_TAG + encode_varint(block.form)
    return b"".join((_RUNS_TAG, encode_varint(len(block.data) + len(tail)), block.data, tail))


def records_of(run: Run) -> list[StoredRecord]:
    """The records of a run by themselves."""
    form = run.block.form
    return [StoredRecord(offset, data, form) for offset, data in enumerate(run.block.records(), run.offset)]
