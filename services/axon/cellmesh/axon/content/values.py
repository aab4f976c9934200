"""Values in contents: JSON lines, MessagePack, fixed structures."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final

from cellmesh.common.errors import BadArg, BadDataValu, BadJsonText, BadMesgFormat
from cellmesh.common.msgpack import Unpacker

ITEM_SIZE_MAX: Final = 16 * 1024 * 1024
"""Bytes of one MessagePack item."""

STRUCT_SIZE_MAX: Final = 1024 * 1024
"""Bytes of a fixed structure."""

STRUCT_FIELD_COUNT_MAX: Final = 65536
FORMAT_SIZE_MAX: Final = 4096


def read_json_lines(lines: Iterable[str]) -> Iterator[Any]:
    """Yield the values of lines of JSON; empty lines are passed over.

    Raises:
        BadJsonText: a line is no JSON, or nests too deep.
    """
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        try:
            yield json.loads(text)
        except RecursionError:
            raise BadJsonText(f"line {number} nests too deep", line=number) from None
        except ValueError as error:
            raise BadJsonText(f"line {number} is no JSON: {error}", line=number) from None


def read_items(pieces: Iterable[bytes]) -> Iterator[Any]:
    """Yield the items of a MessagePack stream.

    Raises:
        BadMesgFormat: it is none, or ends inside an item.
        LimitExceeded: an item has more than ITEM_SIZE_MAX bytes, or nests too deep.
    """
    unpacker = Unpacker(size_max=ITEM_SIZE_MAX)
    for piece in pieces:
        for _, item in unpacker.feed(piece):
            yield item
    if unpacker.pending_size:
        raise BadMesgFormat("the content ends inside an item", name="msgpack", size=unpacker.pending_size)


def struct_size(format: str) -> int:
    """The size of a structure in bytes.

    Raises:
        BadArg: there is no such format, or it is larger than STRUCT_SIZE_MAX.
    """
    try:
        if len(format) > FORMAT_SIZE_MAX:
            raise struct.error("the format is too long")
        size = struct.calcsize(format)
    except (struct.error, OverflowError, UnicodeEncodeError) as error:
        raise BadArg(f"no structure has this format: {error}", name="format", valu=format[:100]) from None
    if size > STRUCT_SIZE_MAX:
        raise BadArg("the structure is too large", name="format", size=size, size_max=STRUCT_SIZE_MAX)
    return size


def unpack(format: str, data: bytes) -> list[Any]:
    """The fields of a structure.

    Raises:
        BadArg: as `struct_size`.
        BadDataValu: the data is shorter than the structure.
    """
    size = struct_size(format)
    if len(data) < size:
        raise BadDataValu(
            f"the structure takes {size} bytes, and {len(data)} are there", name="format", size=len(data)
        )
    fields = list(struct.unpack(format, data[:size]))
    if len(fields) > STRUCT_FIELD_COUNT_MAX:
        raise BadArg(
            "the structure has too many fields",
            name="format",
            count=len(fields),
            count_max=STRUCT_FIELD_COUNT_MAX,
        )
    return fields


__all__ = ["ITEM_SIZE_MAX", "read_items", "read_json_lines", "struct_size", "unpack"]
