"""Every database of the Cryotank's slab, and how keys and values are laid out.

All tanks share one database of records. A tank has a number, given out once and never again; the key of
a record is the number and the offset, so a slice is one seek and a walk, and an idle tank costs its row.
A record is stored as the serialized `Value` that came, and goes out as it is.

`tanks` holds each tank's counts, which change in the transaction that changes the records, together with
the entry in the change log. A tank that is deleted loses its row at once; its number then stands in
`dropped` until all its records are removed, some at a time, each time with an entry in the change log: all
databases are equal on replicas at equal offsets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from cellmesh.common.changelog import DATABASES as CHANGELOG_DATABASES
from cellmesh.common.storage import SubDb

TANKS: Final = SubDb("tanks", "name (UTF-8) -> TankRow")
RECORDS: Final = SubDb("records", "tank number (8 bytes), offset (8 bytes) -> serialized Value")
DROPPED: Final = SubDb("dropped", "number of a deleted tank with records left (8 bytes) -> nothing")
COUNTERS: Final = SubDb("counters", 'b"tank" -> the number of the next tank (8 bytes)')

DATABASES: Final = (TANKS, RECORDS, DROPPED, COUNTERS, *CHANGELOG_DATABASES)

NEXT_TANK_KEY: Final = b"tank"

_U64 = struct.Struct(">Q")
_RECORD_KEY = struct.Struct(">QQ")
_ROW = struct.Struct(">Q16sqQQQ")


@dataclass(frozen=True, slots=True)
class TankRow:
    """What is stored about one tank.

    Attributes:
        number: Under which its records lie.
        tank_id: 16 bytes.
        create_time_us: Microseconds since 1970.
        next_offset: That the next record gets.
        record_count: How many records it holds.
        size: The sum of their sizes as stored, in bytes.
    """

    number: int
    tank_id: bytes
    create_time_us: int
    next_offset: int = 0
    record_count: int = 0
    size: int = 0

    def encode(self) -> bytes:
        """As stored."""
        return _ROW.pack(
            self.number, self.tank_id, self.create_time_us, self.next_offset, self.record_count, self.size
        )

    @classmethod
    def decode(cls, data: bytes) -> TankRow:
        """From what is stored."""
        return cls(*_ROW.unpack(data))


def number_key(number: int) -> bytes:
    """The key of a dropped tank, the start of the keys of a tank's records, or the value of a counter."""
    return _U64.pack(number)


def number_of(data: bytes) -> int:
    """What `number_key` packed."""
    found: int = _U64.unpack(data)[0]
    return found


def record_key(number: int, offset: int) -> bytes:
    """The key of a record."""
    return _RECORD_KEY.pack(number, offset)


def offset_of(key: bytes) -> int:
    """The offset in the key of a record."""
    found: int = _U64.unpack_from(key, 8)[0]
    return found
