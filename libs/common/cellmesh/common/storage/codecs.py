"""Encodings of keys that sort, byte by byte, like the values they stand for.

| codec                  | value               | bytes                                                        |
| ---------------------- | ------------------- | ------------------------------------------------------------ |
| `Unsigned(size)`       | 0 <= int < 256^size | big-endian                                                   |
| `Signed(size)`         | int                 | big-endian, the sign bit flipped                             |
| `BIG_INT`              | any int             | sign and length, then the magnitude (negative: all flipped)  |
| `FLOAT`                | float               | IEEE 754; negative: all bits flipped, else the sign bit      |
| `RAW`, `TEXT`          | bytes, str          | as they are, text in UTF-8: sorts by code point; last in a key |
| `TERMINATED_BYTES`, `TERMINATED_TEXT` | bytes, str | 00 becomes 00 FF, the end is 00 00: may be followed      |
| `Tuple(codec, ...)`    | tuple               | the parts' bytes one after another                           |

In a tuple each codec but the last must be self-delimiting (`decode_from` knows where it ends).
"""

from __future__ import annotations

import struct
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Codec(Protocol[T]):
    """Bytes for values and back, keeping their order."""

    def encode(self, value: T, /) -> bytes:
        """The bytes of a value; ValueError if the codec has none for it."""
        ...

    def decode(self, data: bytes, /) -> T:
        """The value of all the bytes."""
        ...

    def decode_from(self, data: bytes, offset: int, /) -> tuple[T, int]:
        """The value whose bytes start at the offset, and the offset behind them."""
        ...


class Unsigned:
    """Integers from 0, in a fixed number of bytes."""

    def __init__(self, size: int) -> None:
        self.size = size

    def encode(self, value: int, /) -> bytes:
        """Big-endian; ValueError if out of range."""
        try:
            return value.to_bytes(self.size, "big")
        except OverflowError:
            raise ValueError(f"{value} does not fit in {self.size} unsigned bytes") from None

    def decode(self, data: bytes, /) -> int:
        """See `Codec`."""
        return int.from_bytes(data, "big")

    def decode_from(self, data: bytes, offset: int, /) -> tuple[int, int]:
        """See `Codec`."""
        end = offset + self.size
        return int.from_bytes(_part(data, offset, end), "big"), end


class Signed:
    """Integers of both signs, in a fixed number of bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._bias = 1 << (8 * size - 1)

    def encode(self, value: int, /) -> bytes:
        """Big-endian from the least value up; ValueError if out of range."""
        try:
            return (value + self._bias).to_bytes(self.size, "big")
        except OverflowError:
            raise ValueError(f"{value} does not fit in {self.size} signed bytes") from None

    def decode(self, data: bytes, /) -> int:
        """See `Codec`."""
        return int.from_bytes(data, "big") - self._bias

    def decode_from(self, data: bytes, offset: int, /) -> tuple[int, int]:
        """See `Codec`."""
        end = offset + self.size
        return int.from_bytes(_part(data, offset, end), "big") - self._bias, end


class BigInt:
    """Integers of any size.

    Two bytes hold 8000 hex plus the length for a value from 0, or 7FFF hex minus the length for a negative
    one, whose magnitude follows with all bits flipped. Lengths over 7FFE hex do not fit.
    """

    def encode(self, value: int, /) -> bytes:
        """See the class; ValueError if it is too large."""
        magnitude = abs(value)
        size = (magnitude.bit_length() + 7) // 8
        if size > 0x7FFE:
            raise ValueError("the integer is too large for a key")
        if value >= 0:
            return (0x8000 + size).to_bytes(2, "big") + magnitude.to_bytes(size, "big")
        flipped = (1 << (8 * size)) - 1 - magnitude
        return (0x7FFF - size).to_bytes(2, "big") + flipped.to_bytes(size, "big")

    def decode(self, data: bytes, /) -> int:
        """See `Codec`."""
        return self.decode_from(data, 0)[0]

    def decode_from(self, data: bytes, offset: int, /) -> tuple[int, int]:
        """See `Codec`."""
        start = offset + 2
        head = int.from_bytes(_part(data, offset, start), "big")
        size = head - 0x8000 if head >= 0x8000 else 0x7FFF - head
        end = start + size
        number = int.from_bytes(_part(data, start, end), "big")
        return (number if head >= 0x8000 else number - (1 << (8 * size)) + 1), end


class Float:
    """Floats, infinities included; -0.0 sorts just below 0.0, NaNs at the ends."""

    def encode(self, value: float, /) -> bytes:
        """8 bytes."""
        bits: int = struct.unpack(">Q", struct.pack(">d", value))[0]
        bits = bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits | 1 << 63
        return bits.to_bytes(8, "big")

    def decode(self, data: bytes, /) -> float:
        """See `Codec`."""
        return self.decode_from(data, 0)[0]

    def decode_from(self, data: bytes, offset: int, /) -> tuple[float, int]:
        """See `Codec`."""
        bits = int.from_bytes(_part(data, offset, offset + 8), "big")
        bits = bits ^ 1 << 63 if bits >> 63 else bits ^ 0xFFFFFFFFFFFFFFFF
        value: float = struct.unpack(">d", bits.to_bytes(8, "big"))[0]
        return value, offset + 8


class Raw:
    """Bytes as they are, up to the end of the key."""

    def encode(self, value: bytes, /) -> bytes:
        """The same bytes."""
        return value

    def decode(self, data: bytes, /) -> bytes:
        """See `Codec`."""
        return data

    def decode_from(self, data: bytes, offset: int, /) -> tuple[bytes, int]:
        """All that is left."""
        return data[offset:], len(data)


class Text:
    """Text as UTF-8, up to the end of the key. Lone surrogates are kept."""

    def encode(self, value: str, /) -> bytes:
        """UTF-8, which sorts by code point."""
        return value.encode("utf-8", "surrogatepass")

    def decode(self, data: bytes, /) -> str:
        """See `Codec`."""
        return data.decode("utf-8", "surrogatepass")

    def decode_from(self, data: bytes, offset: int, /) -> tuple[str, int]:
        """All that is left."""
        return self.decode(data[offset:]), len(data)


class TerminatedBytes:
    """Bytes that something may follow: a shorter one sorts before all it begins."""

    def encode(self, value: bytes, /) -> bytes:
        """With 00 as 00 FF and 00 00 at the end."""
        return value.replace(b"\x00", b"\x00\xff") + b"\x00\x00"

    def decode(self, data: bytes, /) -> bytes:
        """See `Codec`."""
        return self.decode_from(data, 0)[0]

    def decode_from(self, data: bytes, offset: int, /) -> tuple[bytes, int]:
        """See `Codec`."""
        end = data.find(b"\x00", offset)
        while end >= 0 and data[end + 1 : end + 2] == b"\xff":
            end = data.find(b"\x00", end + 2)
        if end < 0 or data[end + 1 : end + 2] != b"\x00":
            raise ValueError("the key ends before its terminator")
        return data[offset:end].replace(b"\x00\xff", b"\x00"), end + 2


class TerminatedText:
    """Text that something may follow."""

    _bytes = TerminatedBytes()

    def encode(self, value: str, /) -> bytes:
        """See `TerminatedBytes`."""
        return self._bytes.encode(value.encode("utf-8", "surrogatepass"))

    def decode(self, data: bytes, /) -> str:
        """See `Codec`."""
        return self.decode_from(data, 0)[0]

    def decode_from(self, data: bytes, offset: int, /) -> tuple[str, int]:
        """See `Codec`."""
        value, end = self._bytes.decode_from(data, offset)
        return value.decode("utf-8", "surrogatepass"), end


class Tuple:
    """Several values, the first one most significant."""

    def __init__(self, *codecs: Codec[Any]) -> None:
        for codec in codecs[:-1]:
            assert not isinstance(codec, Raw | Text), "only the last part of a key may be open-ended"
        self.codecs = codecs

    def encode(self, value: tuple[Any, ...], /) -> bytes:
        """The parts' bytes; fewer parts than codecs give the common prefix of all tuples that start so."""
        return b"".join([codec.encode(part) for codec, part in zip(self.codecs, value)])

    def decode(self, data: bytes, /) -> tuple[Any, ...]:
        """See `Codec`."""
        value, end = self.decode_from(data, 0)
        if end != len(data):
            raise ValueError("the key goes on behind its last part")
        return value

    def decode_from(self, data: bytes, offset: int, /) -> tuple[tuple[Any, ...], int]:
        """See `Codec`."""
        parts = []
        for codec in self.codecs:
            part, offset = codec.decode_from(data, offset)
            parts.append(part)
        return tuple(parts), offset


UINT8, UINT16, UINT32, UINT64 = Unsigned(1), Unsigned(2), Unsigned(4), Unsigned(8)
INT8, INT16, INT32, INT64 = Signed(1), Signed(2), Signed(4), Signed(8)
BIG_INT = BigInt()
FLOAT = Float()
RAW = Raw()
TEXT = Text()
TERMINATED_BYTES = TerminatedBytes()
TERMINATED_TEXT = TerminatedText()


def prefix_end(prefix: bytes) -> bytes | None:
    """The bound above all keys that start with the prefix: the `high` of a scan. None: there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None


def _part(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise ValueError("the key ends inside a value")
    return data[start:end]
