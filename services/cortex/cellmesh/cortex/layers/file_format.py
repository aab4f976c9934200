"""The blocks of a layer's file: written, and read back with every byte checked. See layer_file.proto for the layout.

The reader takes nothing on trust: a block that is cut short, changed, missing or in another place is refused with the
place where it was found out, and no size is believed beyond a bound.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from cellmesh.api.cortex.v1 import layer_file_pb2
from cellmesh.common.errors import BadMesgFormat, BadMesgVers
from google.protobuf.message import DecodeError, Message

MAGIC: Final = b"cellmesh.layer\r\n"
"""A line that is written another way where a file was sent as text."""

VERSION: Final = 1
HEADER: Final = b"H"
NODES: Final = b"N"
TRAILER: Final = b"T"

BODY_SIZE_MAX: Final = 64 << 20
"""A body has no more bytes, neither packed nor unpacked."""

COMPRESS_LEVEL: Final = 1

_PREFIX: Final = struct.Struct(">cII")
_CHECK: Final = struct.Struct(">I")
_VERSION: Final = struct.Struct(">I")

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class Block:
    """A block that was read.

    Attributes:
        kind: HEADER, NODES or TRAILER.
        number: How many are before it.
        offset: Where it begins in the file.
        body: Its body, unpacked.
    """

    kind: bytes
    number: int
    offset: int
    body: bytes

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return f"block {self.number} at byte {self.offset}"


class FileWriter:
    """Makes the bytes of a file, a block at a time."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._number = 0
        self._check = 0

    def begin(self, header: layer_file_pb2.LayerFileHeader) -> bytes:
        """Return the beginning of the file."""
        start = MAGIC + _VERSION.pack(VERSION)
        self._sha256.update(start)
        return start + self._block(HEADER, header.SerializeToString(deterministic=True))

    def nodes(self, nodes: bytes) -> bytes:
        """Return a block of nodes, from a serialized LayerFileNodes."""
        return self._block(NODES, nodes)

    def end(self, trailer: layer_file_pb2.LayerFileTrailer) -> bytes:
        """Return the end of the file; the digest is filled in."""
        trailer.sha256 = self._sha256.digest()
        return self._block(TRAILER, trailer.SerializeToString(deterministic=True))

    def _block(self, kind: bytes, message: bytes) -> bytes:
        body = zlib.compress(message, COMPRESS_LEVEL)
        block = _PREFIX.pack(kind, self._number, len(body)) + body
        self._check = zlib.crc32(block, self._check)
        block += _CHECK.pack(self._check)
        self._sha256.update(block)
        self._number += 1
        return block


class FileReader:
    """Reads the blocks of a file from its bytes, however they are cut into parts.

    Args:
        parts: The file's bytes.
    """

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._buffer = bytearray()
        self._offset = 0
        self._sha256 = hashlib.sha256()
        self._number = 0
        self._check = 0

    def begin(self) -> layer_file_pb2.LayerFileHeader:
        """Read the beginning.

        Raises:
            BadMesgFormat: it is no such file, or damaged.
            BadMesgVers: it has a version that this program does not read.
        """
        start = self._take(len(MAGIC) + _VERSION.size, "the beginning")
        if not start.startswith(MAGIC):
            raise BadMesgFormat("this is no file of a layer: it begins otherwise", name="layer file")
        (version,) = _VERSION.unpack(start[len(MAGIC) :])
        if version != VERSION:
            raise BadMesgVers(
                f"the file has version {version} of the format, and this program reads {VERSION}",
                vers=version,
            )
        self._sha256.update(start)
        block = self._next()
        if block.kind != HEADER:
            raise self._wrong(block, "the first block is no header")
        return parsed(layer_file_pb2.LayerFileHeader, block)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks of nodes, then the trailer, whose digest and end of file are checked.

        Raises:
            BadMesgFormat: the file is cut short, damaged or goes on behind its end.
        """
        while True:
            digest = self._sha256.digest()
            block = self._next()
            if block.kind == TRAILER:
                break
            if block.kind != NODES:
                raise self._wrong(block, "it is of a kind that does not belong there")
            yield block
        if parsed(layer_file_pb2.LayerFileTrailer, block).sha256 != digest:
            raise self._wrong(block, "the digest of the file is another one")
        if self._buffer or next((part for part in self._parts if part), None) is not None:
            raise BadMesgFormat(
                f"the file of the layer goes on behind its end at byte {self._offset}",
                name="layer file",
                offset=self._offset,
            )
        yield block

    def _next(self) -> Block:
        offset, number = self._offset, self._number
        place = f"block {number}"
        prefix = self._take(_PREFIX.size, place)
        kind, found, size = _PREFIX.unpack(prefix)
        at = Block(kind, number, offset, b"")
        if found != number or kind not in (HEADER, NODES, TRAILER):
            raise self._wrong(at, "another block stands there, or it is damaged")
        if size > BODY_SIZE_MAX:
            raise self._wrong(at, f"it says to have {size} bytes, and {BODY_SIZE_MAX} is the most")
        packed = self._take(size, place)
        check = self._take(_CHECK.size, place)
        self._check = zlib.crc32(packed, zlib.crc32(prefix, self._check))
        if _CHECK.unpack(check)[0] != self._check:
            raise self._wrong(at, "its bytes were changed, or it comes from another file")
        for part in (prefix, packed, check):
            self._sha256.update(part)
        self._number += 1
        return Block(kind, number, offset, self._unpacked(at, packed))

    def _unpacked(self, at: Block, packed: bytes) -> bytes:
        unpacker = zlib.decompressobj()
        try:
            body = unpacker.decompress(packed, BODY_SIZE_MAX)
        except zlib.error as error:
            raise self._wrong(at, f"it does not unpack: {error}") from error
        if not unpacker.eof or unpacker.unused_data:
            raise self._wrong(at, "it unpacks to more than it may, or to less than a whole")
        return body

    def _take(self, size: int, place: str) -> bytes:
        buffer = self._buffer
        while len(buffer) < size:
            part = next(self._parts, None)
            if part is None:
                end = self._offset + len(buffer)
                raise BadMesgFormat(
                    f"the file of the layer is cut short: it ends at byte {end}, in {place}",
                    name="layer file",
                    offset=end,
                )
            buffer += part
        taken = bytes(buffer[:size])
        del buffer[:size]
        self._offset += size
        return taken

    def _wrong(self, block: Block, why: str) -> BadMesgFormat:
        return BadMesgFormat(
            f"the file of the layer is damaged in {block.place}: {why}",
            name="layer file",
            offset=block.offset,
            block=block.number,
        )


def parsed(kind: type[MessageT], block: Block) -> MessageT:
    """Read the message of a block; raises BadMesgFormat."""
    try:
        return kind.FromString(block.body)
    except DecodeError as error:
        raise BadMesgFormat(
            f"the file of the layer does not read in {block.place}",
            name="layer file",
            offset=block.offset,
            block=block.number,
        ) from error


__all__ = [
    "BODY_SIZE_MAX",
    "HEADER",
    "MAGIC",
    "NODES",
    "TRAILER",
    "Block",
    "FileReader",
    "FileWriter",
    "parsed",
]
