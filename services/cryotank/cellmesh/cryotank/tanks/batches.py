"""Records on their way in: put together without decoding them, and checked to be what they are said to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import msgpack
from cellmesh.api.cryotank.v1 import change_pb2, tank_pb2
from cellmesh.common.errors import BadArg
from cellmesh.cryotank.schema import Block
from google.protobuf.message import DecodeError

VALUE: Final = int(tank_pb2.RECORD_FORM_UNSPECIFIED)
MSGPACK: Final = int(tank_pb2.RECORD_FORM_MSGPACK)

APPEND_SIZE_MAX: Final = 3 * 1024 * 1024
"""Records of one append, together: what fits in one write transaction and in one gRPC message."""

BLOCK_SIZE: Final = 256 * 1024
"""Records of a block, together: what is read and put together anew when a slice begins or ends in one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that are added together.

    Attributes:
        form: That of all of them.
        count: How many.
        size: Their sizes added up, in bytes.
        data: A serialized RecordBatch.
    """

    form: int
    count: int
    size: int
    data: bytes

    @classmethod
    def of(cls, records: Sequence[bytes], form: int = VALUE) -> Batch:
        """Put records together.

        Raises:
            BadArg: they are more than APPEND_SIZE_MAX bytes together.
        """
        size = sum(map(len, records))
        _check_size(size)
        data = change_pb2.RecordBatch(records=records).SerializeToString()
        return cls(form, len(records), size, data)

    def blocks(self, time_us: int) -> list[Block]:
        """As they are stored: in one block, or in more of about BLOCK_SIZE."""
        if self.size <= BLOCK_SIZE:
            return [Block(self.form, self.count, self.size, time_us, self.data)] if self.count else []
        made: list[Block] = []
        some: list[bytes] = []
        size = 0
        for record in change_pb2.RecordBatch.FromString(self.data).records:
            some.append(record)
            size += len(record)
            if size >= BLOCK_SIZE:
                made.append(_block(self.form, some, size, time_us))
                some, size = [], 0
        if some:
            made.append(_block(self.form, some, size, time_us))
        return made


def _check_size(size: int) -> None:
    if size > APPEND_SIZE_MAX:
        raise BadArg(
            "the records are too large for one call",
            name="values",
            size=size,
            size_max=APPEND_SIZE_MAX,
            hint="send fewer at a time",
        )


def _block(form: int, records: list[bytes], size: int, time_us: int) -> Block:
    data = change_pb2.RecordBatch(records=records).SerializeToString()
    return Block(form, len(records), size, time_us, data)


def read_request(data: bytes) -> tuple[str, Batch]:
    """The tank's name and the records of a serialized AppendRecordsRequest or AppendStreamRequest, which are alike.

    Raises:
        BadArg: it is no such message, has records of both forms, too many, or some that do not read.
    """
    try:
        parts = change_pb2.AppendParts.FromString(data)
        if parts.values:
            # Read, so that nobody stores what no reader could read; and thrown away.
            tank_pb2.AppendRecordsRequest.FromString(data)
    except DecodeError as error:
        raise BadArg("the request is no message of its kind", name="request") from error
    if bool(parts.values) + bool(parts.packed) + bool(parts.packed_items) > 1:
        raise BadArg("an append has records of one form", name="packed", hint="send two requests")
    if parts.packed_items:
        return parts.name, Batch.of(split_items(parts.packed_items), MSGPACK)
    if not parts.packed:
        return parts.name, Batch.of(parts.values, VALUE)
    check_packed(parts.packed)
    return parts.name, Batch.of(parts.packed, MSGPACK)


def check_packed(records: Sequence[bytes]) -> None:
    """See that each is one msgpack item, without decoding it.

    Raises:
        BadArg: one is not.
    """
    wanted = list(accumulate(map(len, records)))
    ends = _ends(b"".join(records), len(records))
    if ends != wanted:
        index = next(
            (number for number, pair in enumerate(zip(ends, wanted)) if pair[0] != pair[1]), len(ends)
        )
        raise BadArg(f"item {index} is not one msgpack item", name="packed", index=index)


def split_items(data: bytes) -> list[bytes]:
    """The msgpack items that lie one after the other, without decoding them.

    Raises:
        BadArg: something else is among them, the last is cut, or they are more than APPEND_SIZE_MAX bytes.
    """
    _check_size(len(data))
    ends = _ends(data, len(data))
    if (ends[-1] if ends else 0) != len(data):
        raise BadArg(
            f"what follows item {len(ends) - 1} is no whole msgpack item"
            if ends
            else "this is no msgpack item",
            name="packed_items",
            index=len(ends),
        )
    return [data[start:end] for start, end in zip([0, *ends], ends)]


def _ends(data: bytes, count_max: int) -> list[int]:
    """Where each of the msgpack items ends that lie one after the other, up to the first that is none."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(2 * APPEND_SIZE_MAX, len(data)))
    unpacker.feed(data)
    skip, tell = unpacker.skip, unpacker.tell
    ends: list[int] = []
    try:
        for _ in range(count_max):
            skip()
            ends.append(tell())
    except (msgpack.UnpackException, ValueError):
        # Not whole, or no msgpack: the caller sees where.
        return ends
    return ends


__all__ = [
    "APPEND_SIZE_MAX",
    "BLOCK_SIZE",
    "MSGPACK",
    "VALUE",
    "Batch",
    "check_packed",
    "read_request",
    "split_items",
]
