"""The one msgpack encoding of the platform: what is hashed, stored and kept in files.

The bytes agree with Synapse's, as guids and buids are hashes over them:

    int     msgpack's own forms from -2**63 to 2**64-1; beyond, ext 0 (positive, unsigned) or
            ext 1 (negative, two's complement), big-endian, in the fewest bytes
    str     UTF-8, lone surrogates as the three bytes they would have
    bytes   the bin family; bytearray and memoryview likewise
    float   always 8 bytes; a Decimal has no form, other than with `encode_nearest`
    list    arrays; a tuple gives the same bytes
    dict    maps in the order of the dict: callers that hash must fix the order (`hashing.flatten`)

Decoding gives tuples for arrays, unless asked for lists. Msgpack's own timestamp extension, which
nothing here writes, decodes to msgpack.Timestamp.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgpack
from cellmesh.common import errors, limits

EXT_INT_POSITIVE = 0
EXT_INT_NEGATIVE = 1


class _Packers(threading.local):
    """A packer for each thread: one in use must not be entered again by another."""

    def __init__(self) -> None:
        self.pack = _packer(_encode_other)
        self.pack_nearest = _packer(_encode_nearest)


def encode(value: Any) -> bytes:
    """Encode a value.

    Args:
        value: None, bool, int of any size, float, str, bytes, list, tuple or dict of such.

    Raises:
        NotMsgpackSafe: the value, or one inside it, is of another kind.
        LimitExceeded: it nests deeper than MSGPACK_DEPTH_MAX or encodes to more than MSGPACK_SIZE_MAX bytes.
    """
    return _encode(_PACKERS.pack, value)


def encode_nearest(value: Any) -> bytes:
    """Encode a value as `encode` does, a Decimal in it as the float that is nearest to it: for hashes of values."""
    return _encode(_PACKERS.pack_nearest, value)


def _encode(pack: Callable[[Any], bytes], value: Any) -> bytes:
    try:
        made = pack(value)
    except (ValueError, RecursionError, OverflowError, TypeError, MemoryError) as error:
        raise _encode_error(value, error) from None
    if len(made) > limits.MSGPACK_SIZE_MAX:
        raise _too_large(len(made))
    return made


def decode(data: bytes | bytearray | memoryview, *, use_list: bool = False) -> Any:
    """Decode exactly one value.

    Args:
        data: The whole encoding and nothing more.
        use_list: Make lists instead of tuples.

    Raises:
        BadMesgFormat: the bytes are no msgpack, end early or go on after the value.
        LimitExceeded: they are more than MSGPACK_SIZE_MAX, or nest deeper than MSGPACK_DEPTH_MAX.
    """
    if len(data) > limits.MSGPACK_SIZE_MAX:
        raise _too_large(len(data))
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            use_list=use_list,
            strict_map_key=False,
            unicode_errors="surrogatepass",
            ext_hook=_decode_ext,
        )
    except (msgpack.UnpackException, ValueError, TypeError) as error:
        raise _decode_error(error) from None


# The names Synapse users know.
en = encode
un = decode


def isok(value: Any) -> bool:
    """Whether a value can be encoded."""
    try:
        encode(value)
    except (errors.NotMsgpackSafe, errors.LimitExceeded):
        return False
    return True


def deepcopy(value: Any, *, use_list: bool = False) -> Any:
    """Copy a value by encoding and decoding it: arrays become tuples, or lists if asked for."""
    return decode(encode(value), use_list=use_list)


class Unpacker:
    """Decodes a stream of values that arrives in pieces cut anywhere.

    Args:
        use_list: Make lists instead of tuples.
        size_max: Most bytes of one value that is not complete yet.

    After an error the unpacker is of no further use.
    """

    def __init__(self, *, use_list: bool = False, size_max: int = limits.MSGPACK_SIZE_MAX) -> None:
        self._size_max = size_max
        self._fed = 0
        self._offset = 0
        self._unpacker = msgpack.Unpacker(
            raw=False,
            use_list=use_list,
            strict_map_key=False,
            unicode_errors="surrogatepass",
            ext_hook=_decode_ext,
            max_buffer_size=size_max,
        )

    def feed(self, data: bytes) -> list[tuple[int, Any]]:
        """Take the next piece; return the values it completes, each with its size in bytes.

        Raises:
            BadMesgFormat: the stream is no msgpack.
            LimitExceeded: a value is larger than size_max, or nests too deep.
        """
        made: list[tuple[int, Any]] = []
        # In slices, so that what is complete makes room before more is buffered.
        step = max(1, self._size_max // 4)
        for start in range(0, len(data), step):
            self._take(data[start : start + step], made)
        return made

    @property
    def pending_size(self) -> int:
        """Bytes taken that belong to a value which is not complete: 0 where a stream may end."""
        return self._fed - self._offset

    def _take(self, data: bytes, made: list[tuple[int, Any]]) -> None:
        try:
            self._unpacker.feed(data)
            self._fed += len(data)
            for value in self._unpacker:
                end = self._unpacker.tell()
                made.append((end - self._offset, value))
                self._offset = end
        except msgpack.BufferFull:
            raise _too_large(self._fed + len(data) - self._offset, self._size_max) from None
        except (msgpack.UnpackException, ValueError, TypeError) as error:
            raise _decode_error(error) from None


def iter_stream(pieces: Iterable[bytes], *, use_list: bool = False) -> Iterator[Any]:
    """Yield the values of a stream read in pieces, such as a file in chunks.

    Raises:
        BadMesgFormat: the stream is no msgpack, or ends inside a value.
        LimitExceeded: a value is too large or nests too deep.
    """
    unpacker = Unpacker(use_list=use_list)
    for piece in pieces:
        for _, value in unpacker.feed(piece):
            yield value
    if unpacker.pending_size:
        raise errors.BadMesgFormat(
            "the stream ends inside a value", name="msgpack", size=unpacker.pending_size
        )


def _packer(default: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    made: Callable[[Any], bytes] = msgpack.Packer(
        use_bin_type=True, unicode_errors="surrogatepass", default=default
    ).pack
    return made


def _encode_nearest(value: Any) -> msgpack.ExtType | float:
    return float(value) if isinstance(value, Decimal) else _encode_other(value)


def _encode_other(value: Any) -> msgpack.ExtType:
    """Called by msgpack for what it has no form for, integers beyond 64 bits among it."""
    if isinstance(value, int):
        if value >= 0:
            size = (value.bit_length() + 7) // 8
            return msgpack.ExtType(EXT_INT_POSITIVE, value.to_bytes(size, "big"))
        size = value.bit_length() // 8 + 1
        return msgpack.ExtType(EXT_INT_NEGATIVE, value.to_bytes(size, "big", signed=True))
    kind = type(value).__name__
    raise errors.NotMsgpackSafe(f"msgpack has no form for a {kind}", type=kind)


def _decode_ext(code: int, data: bytes) -> int:
    if code == EXT_INT_POSITIVE:
        return int.from_bytes(data, "big")
    if code == EXT_INT_NEGATIVE:
        return int.from_bytes(data, "big", signed=True)
    raise errors.BadMesgFormat(
        f"msgpack extension {code} has no meaning here", name="msgpack", extension=code
    )


def _encode_error(value: Any, error: Exception) -> errors.CellError:
    if isinstance(error, RecursionError) or "recursion limit" in str(error):
        return _too_deep()
    if isinstance(error, MemoryError) or "too large" in str(error):
        return errors.LimitExceeded(
            "the value is too large for msgpack", name="msgpack_size", limit=limits.MSGPACK_SIZE_MAX
        )
    kind = type(value).__name__
    return errors.NotMsgpackSafe(f"msgpack has no form for this {kind}", type=kind)


def _decode_error(error: Exception) -> errors.CellError:
    match error:
        case errors.CellError():
            return error
        case msgpack.StackError():
            return _too_deep()
        case msgpack.ExtraData():
            return errors.BadMesgFormat("bytes follow the value", name="msgpack")
        case UnicodeDecodeError():
            return errors.BadMesgFormat("text is not UTF-8", name="msgpack")
        case TypeError():
            return errors.BadMesgFormat("a map has a key that cannot be one", name="msgpack")
        case msgpack.FormatError():
            return errors.BadMesgFormat("the bytes are no msgpack", name="msgpack")
    return errors.BadMesgFormat("the bytes end early", name="msgpack")


def _too_deep() -> errors.LimitExceeded:
    return errors.LimitExceeded(
        "lists and maps nest too deep", name="msgpack_depth", limit=limits.MSGPACK_DEPTH_MAX
    )


def _too_large(size: int, limit: int = limits.MSGPACK_SIZE_MAX) -> errors.LimitExceeded:
    return errors.LimitExceeded("the msgpack item is too large", name="msgpack_size", limit=limit, size=size)


_PACKERS = _Packers()
