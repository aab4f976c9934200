"""Every database of the Cryotank's slab, and how keys and values are laid out.

All tanks share one database of records. A tank has a number, given out once and never again. What one append brought
lies in one block, or in some if it is large; its key is the number and the offset of its first record, so a slice is one
seek and a walk, and an idle tank costs its row. The records in a block are those that came, byte by byte, in the form in
which they go out again: a serialized `RecordBatch`.

`tanks` holds each tank's counts, which change in the transaction that changes the records, together with
the entry in the change log. A tank that is deleted loses its row at once; its number then stands in
`dropped` until all its records are removed, some at a time, each time with an entry in the change log: all
databases are equal on replicas at equal offsets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from cellmesh.api.cryotank.v1 import change_pb2
from cellmesh.common.changelog import DATABASES as CHANGELOG_DATABASES
from cellmesh.common.storage import Layout, Migration, SubDb, WriteTxn
from cellmesh.common.storage.walking import walk

TANKS: Final = SubDb("tanks", "name (UTF-8) -> TankRow")
RECORDS: Final = SubDb("records", "tank number (8 bytes), offset of the first record (8 bytes) -> Block")
CONSUMERS: Final = SubDb(
    "consumers", "tank number (8 bytes), name (UTF-8) -> offset, microseconds since 1970"
)
BOUNDED: Final = SubDb("bounded", "name of a tank that has limits (UTF-8) -> nothing")
DROPPED: Final = SubDb("dropped", "number of a deleted tank with records left (8 bytes) -> nothing")
COUNTERS: Final = SubDb("counters", 'b"tank" -> the number of the next tank (8 bytes)')

DATABASES: Final = (TANKS, RECORDS, CONSUMERS, BOUNDED, DROPPED, COUNTERS, *CHANGELOG_DATABASES)

NEXT_TANK_KEY: Final = b"tank"

_U64 = struct.Struct(">Q")
_RECORD_KEY = struct.Struct(">QQ")
_ROW = struct.Struct(">Q16s7Q")
_OLD_ROW = struct.Struct(">Q16sQQQQ")
_BLOCK = struct.Struct(">BIIQ")
_CONSUMER = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class TankRow:
    """What is stored about one tank.

    Attributes:
        number: Under which its records lie.
        tank_id: 16 bytes.
        create_time_us: Microseconds since 1970.
        first_offset: Of the oldest record; the same as `next_offset` when there is none.
        next_offset: That the next record gets.
        size: The sum of the sizes of its records as stored, in bytes.
        count_max: At most so many records; 0 for no limit.
        size_max: At most so many bytes; 0 for no limit.
        age_max_us: None older than so many microseconds; 0 for no limit.
    """

    number: int
    tank_id: bytes
    create_time_us: int
    first_offset: int = 0
    next_offset: int = 0
    size: int = 0
    count_max: int = 0
    size_max: int = 0
    age_max_us: int = 0

    @property
    def record_count(self) -> int:
        """How many records it holds."""
        return self.next_offset - self.first_offset

    @property
    def is_bounded(self) -> bool:
        """Whether it has limits."""
        return bool(self.count_max or self.size_max or self.age_max_us)

    def encode(self) -> bytes:
        """As stored."""
        return _ROW.pack(
            self.number, self.tank_id, self.create_time_us, self.first_offset, self.next_offset, self.size,
            self.count_max, self.size_max, self.age_max_us,
        )  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> TankRow:
        """From what is stored."""
        return cls(*_ROW.unpack(data))


@dataclass(frozen=True, slots=True)
class Block:
    """Records of one tank that follow one another and came together.

    Attributes:
        form: That of all of them; the number of a RecordForm.
        count: How many.
        size: Their sizes added up, in bytes.
        time_us: When they came, in microseconds since 1970.
        data: A serialized RecordBatch.
    """

    form: int
    count: int
    size: int
    time_us: int
    data: bytes

    def encode(self) -> bytes:
        """As stored."""
        return _BLOCK.pack(self.form, self.count, self.size, self.time_us) + self.data

    @classmethod
    def decode(cls, stored: bytes) -> Block:
        """From what is stored."""
        form, count, size, time_us = _BLOCK.unpack_from(stored)
        return cls(form, count, size, time_us, stored[_BLOCK.size :])

    def records(self) -> list[bytes]:
        """The records by themselves."""
        return list(change_pb2.RecordBatch.FromString(self.data).records)

    def part(self, start: int, end: int) -> Block:
        """The block with the records [start:end] alone."""
        if start <= 0 and end >= self.count:
            return self
        records = self.records()[max(start, 0) : end]
        data = change_pb2.RecordBatch(records=records).SerializeToString()
        return Block(self.form, len(records), sum(map(len, records)), self.time_us, data)


def number_key(number: int) -> bytes:
    """The key of a dropped tank, the start of the keys of a tank's records, or the value of a counter."""
    return _U64.pack(number)


def number_of(data: bytes) -> int:
    """What `number_key` packed."""
    found: int = _U64.unpack(data)[0]
    return found


def record_key(number: int, offset: int) -> bytes:
    """The key of a block, by its first record."""
    return _RECORD_KEY.pack(number, offset)


def offset_of(key: bytes) -> int:
    """The offset in the key of a block."""
    found: int = _U64.unpack_from(key, 8)[0]
    return found


def consumer_key(number: int, name: str) -> bytes:
    """The key of a consumer."""
    return _U64.pack(number) + name.encode()


def consumer_name(key: bytes) -> str:
    """The name in the key of a consumer."""
    return key[8:].decode()


def encode_consumer(offset: int, time_us: int) -> bytes:
    """What is stored of a consumer."""
    return _CONSUMER.pack(offset, time_us)


def decode_consumer(data: bytes) -> tuple[int, int]:
    """The offset and the time of a consumer."""
    offset, time_us = _CONSUMER.unpack(data)
    return offset, time_us


def _make_blocks(txn: WriteTxn) -> None:
    """From a record an item to a block an item. One record a block: appends in a log of that time are applied so too."""
    times: dict[int, int] = {}
    for key, data in walk(txn, TANKS):
        number, tank_id, create_time_us, next_offset, _, size = _OLD_ROW.unpack(data)
        times[number] = create_time_us
        row = TankRow(number, tank_id, create_time_us, 0, next_offset, size)
        txn.put(TANKS, key, row.encode())
    for key, record in walk(txn, RECORDS):
        time_us = times.get(number_of(key[:8]))
        if time_us is None:
            txn.delete(RECORDS, key)
        else:
            batch = change_pb2.RecordBatch(records=[record]).SerializeToString()
            txn.put(RECORDS, key, Block(0, 1, len(record), time_us, batch).encode())
    for key, _ in walk(txn, DROPPED):
        txn.delete(DROPPED, key)


LAYOUT: Final = Layout("slab", 2, (Migration(2, "records lie in blocks", _make_blocks),))
