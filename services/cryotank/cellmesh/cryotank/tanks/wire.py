"""Records as they travel, put together from what is stored without decoding it.

A `ReadRecordsResponse` is nothing but its `records` one after the other, so the bytes of several are the
bytes of each, joined. The layout is that of protos/cellmesh/api/cryotank/v1/tank.proto:

    ReadRecordsResponse.records (1, message)   Record.offset (1, varint)   Record.value (2, message)
"""

from __future__ import annotations

from typing import Final

from cellmesh.cryotank.tanks.values import StoredRecord

_RECORDS_TAG: Final = b"\x0a"
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
    offset, data = record
    head = _OFFSET_TAG + encode_varint(offset) + _VALUE_TAG + encode_varint(len(data))
    return b"".join((_RECORDS_TAG, encode_varint(len(head) + len(data)), head, data))
