"""Identifiers and hashes, and 64-bit integers as bytes that sort.

A guid is 16 bytes as 32 hexadecimal digits: random, or the MD5 of a value's msgpack. A buid is 32
bytes: random, or the SHA-256 of a value's msgpack; a node's is that of (form, value). Both agree with
Synapse's. They name things and prove nothing: MD5 keeps no secret.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Iterable
from typing import Any, Final

from cellmesh.common import errors, msgpack

GUID_SIZE: Final = 16
BUID_SIZE: Final = 32

_GUID_RE = re.compile(r"[0-9a-f]{32}")
_BUID_HEX_RE = re.compile(r"[0-9a-f]{64}")

_UINT64 = struct.Struct(">Q")
_INT64 = struct.Struct(">q")
_SIGN_BIT = 1 << 63
_MASK = (1 << 64) - 1


def guid(value: Any = None) -> str:
    """Return the guid of a value, or a random one for None.

    A dict is hashed in its own order: `flatten` first when the order carries no meaning. A Decimal counts as the float
    that is nearest to it.

    Raises:
        NotMsgpackSafe: the value has parts that msgpack cannot hold.
    """
    if value is None:
        return os.urandom(GUID_SIZE).hex()
    return hashlib.md5(msgpack.encode_nearest(value), usedforsecurity=False).hexdigest()


def buid(value: Any = None) -> bytes:
    """Return the buid of a value, or a random one for None. Dicts and errors: as for `guid`."""
    if value is None:
        return os.urandom(BUID_SIZE)
    return hashlib.sha256(msgpack.encode_nearest(value)).digest()


def ehex(data: bytes) -> str:
    """Bytes as lower-case hexadecimal text."""
    return data.hex()


def uhex(text: str) -> bytes:
    """Hexadecimal text, of either case and with nothing else in it, as bytes.

    Raises:
        BadDataValu: the text is something else.
    """
    try:
        return bytes.fromhex(_no_space(text))
    except ValueError:
        raise errors.BadDataValu("the text is not hexadecimal", valu=text) from None


def isguid(text: str) -> bool:
    """Whether text is a guid: 32 lower-case hexadecimal digits."""
    return _GUID_RE.fullmatch(text) is not None


def isbuidhex(text: str) -> bool:
    """Whether text is a buid in hexadecimal: 64 lower-case digits."""
    return _BUID_HEX_RE.fullmatch(text) is not None


def flatten(value: Any) -> Any:
    """Copy a value with its dicts sorted by key and its lists made tuples, so that equal data hash equal.

    Raises:
        BadDataValu: a part is of a kind that msgpack cannot hold, or a dict has keys that do not sort.
    """
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return value
        case list() | tuple():
            return tuple([flatten(item) for item in value])
        case dict():
            try:
                keys = sorted(value)
            except TypeError:
                raise errors.BadDataValu("the keys of a dict do not sort together") from None
            return {flatten(key): flatten(value[key]) for key in keys}
    kind = type(value).__name__
    raise errors.BadDataValu(f"a {kind} cannot be hashed as data", type=kind)


def int64en(value: int) -> bytes:
    """An integer from 0 to 2**64-1 as 8 bytes that sort as the integers do.

    Raises:
        BadIndxValu: the integer is out of range. So for all four encoders.
    """
    try:
        return _UINT64.pack(value)
    except struct.error:
        raise _out_of_range(value, 0, _MASK) from None


def int64un(data: bytes) -> int:
    """Undo `int64en`.

    Raises:
        BadIndxValu: these are not 8 bytes. So for all four decoders.
    """
    try:
        return int(_UINT64.unpack(data)[0])
    except struct.error:
        raise _wrong_size(data) from None


def signedint64en(value: int) -> bytes:
    """An integer from -2**63 to 2**63-1 in two's complement: compact, but negatives sort last."""
    try:
        return _INT64.pack(value)
    except struct.error:
        raise _out_of_range(value, -_SIGN_BIT, _SIGN_BIT - 1) from None


def signedint64un(data: bytes) -> int:
    """Undo `signedint64en`."""
    try:
        return int(_INT64.unpack(data)[0])
    except struct.error:
        raise _wrong_size(data) from None


def sortint64en(value: int) -> bytes:
    """An integer from -2**63 to 2**63-1 as 8 bytes that sort as the integers do."""
    try:
        return _UINT64.pack(value + _SIGN_BIT)
    except (struct.error, TypeError):
        raise _out_of_range(value, -_SIGN_BIT, _SIGN_BIT - 1) from None


def sortint64un(data: bytes) -> int:
    """Undo `sortint64en`."""
    try:
        return int(_UINT64.unpack(data)[0]) - _SIGN_BIT
    except struct.error:
        raise _wrong_size(data) from None


class HashSet:
    """Several digests and the size of one stream of bytes, in one pass.

    Args:
        names: Which of ALGORITHMS to make; all of them by default.
    """

    ALGORITHMS: Final = ("md5", "sha1", "sha256", "sha512")

    __slots__ = ("_hashes", "_updates", "size")

    def __init__(self, names: Iterable[str] = ALGORITHMS) -> None:
        self.size = 0
        self._hashes = {name: self._make(name) for name in names}
        self._updates = tuple(item.update for item in self._hashes.values())

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes. Large pieces are hashed without holding the interpreter lock."""
        self.size += len(data)
        for update in self._updates:
            update(data)

    def digests(self) -> dict[str, bytes]:
        """The digests of the bytes so far, by name; more may follow."""
        return {name: item.digest() for name, item in self._hashes.items()}

    def hexdigests(self) -> dict[str, str]:
        """The digests in hexadecimal, by name."""
        return {name: item.hexdigest() for name, item in self._hashes.items()}

    @classmethod
    def _make(cls, name: str) -> hashlib._Hash:
        if name not in cls.ALGORITHMS:
            raise errors.NoSuchName("no hash algorithm of this name", name=name, known=list(cls.ALGORITHMS))
        return hashlib.new(name, usedforsecurity=False)


def _no_space(text: str) -> str:
    """bytes.fromhex skips white space; an identifier with any in it is wrong."""
    if any(character.isspace() for character in text):
        raise ValueError
    return text


def _out_of_range(value: object, low: int, high: int) -> errors.BadIndxValu:
    return errors.BadIndxValu(f"an integer from {low} to {high} is needed", valu=value)


def _wrong_size(data: bytes) -> errors.BadIndxValu:
    return errors.BadIndxValu("8 bytes are needed", valu=data[:32], size=len(data))
