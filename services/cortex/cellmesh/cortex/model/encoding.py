"""Index bytes of values: they sort as the values do, and are at most KEY_SIZE_MAX bytes long.

    integers   big-endian, shifted so that the lowest is all zeros
    floats     IEEE 754 with the sign handled, so that bytes sort like numbers; NaN sorts last
    text       UTF-8

Values made of values, such as comps, are indexed by hash (`types/composites.py`) and have no order.

A key that would be longer keeps its first LONG_PREFIX_SIZE bytes followed by a hash of the whole: it still
sorts with its neighbours, and equality is still decided by the key alone. Such a key is exactly
KEY_SIZE_MAX bytes long and no other key is, so the two kinds never meet.
"""

from __future__ import annotations

import hashlib
import struct

KEY_SIZE_MAX = 256
LONG_HASH_SIZE = 16
LONG_PREFIX_SIZE = KEY_SIZE_MAX - LONG_HASH_SIZE

_SIGN_BIT = 1 << 63
_ALL_BITS = (1 << 64) - 1
_DOUBLE = struct.Struct(">d")


def bounded(key: bytes) -> bytes:
    """Return the key, or the prefix and hash that stand for a long one."""
    if len(key) < KEY_SIZE_MAX:
        return key
    return key[:LONG_PREFIX_SIZE] + hashlib.blake2b(key, digest_size=LONG_HASH_SIZE).digest()


def encode_unsigned(value: int, size: int) -> bytes:
    """Encode 0 <= value < 2**(8*size)."""
    return value.to_bytes(size, "big")


def encode_signed(value: int, size: int) -> bytes:
    """Encode a two's complement range of `size` bytes; the lowest integer is all zeros."""
    return (value + (1 << (size * 8 - 1))).to_bytes(size, "big")


def encode_float(value: float) -> bytes:
    """Encode a float in 8 bytes. -0.0 counts as 0.0, and every NaN as one value after infinity."""
    if value != value:
        return b"\xff" * 8
    bits = int.from_bytes(_DOUBLE.pack(value + 0.0), "big")
    bits = bits ^ _ALL_BITS if bits & _SIGN_BIT else bits | _SIGN_BIT
    return bits.to_bytes(8, "big")


def encode_text(value: str) -> bytes:
    """Encode text. Lone surrogates, which UTF-8 lacks, keep their place in the order."""
    return bounded(value.encode("utf-8", "surrogatepass"))
