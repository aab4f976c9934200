"""Methods of bytes."""

from __future__ import annotations

import bz2
import gzip
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadJsonText, StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import toint, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

INFLATED_BYTES_MAX: Final = 256 * 1024 * 1024
"""Most that packed bytes may grow to, so that a small blob cannot use up the memory."""


def _decode(context: RunContext, self: bytes, encoding: Any, errors: Any) -> str:
    try:
        return self.decode(tostr(encoding), tostr(errors))
    except (ValueError, LookupError) as error:
        raise StormRuntimeError(f"cannot read the bytes as {encoding}: {error}") from error


def _json(context: RunContext, self: bytes, encoding: Any, errors: Any) -> Any:
    try:
        text = self.decode(
            tostr(encoding) if encoding is not None else json.detect_encoding(self), tostr(errors)
        )
        return json.loads(text)
    except (ValueError, LookupError) as error:
        raise BadJsonText(f"the bytes are not valid JSON: {error}") from error


def _inflated(unpacker: Any, data: bytes, kind: str) -> bytes:
    try:
        out: bytes = unpacker.decompress(data, INFLATED_BYTES_MAX)
    except (OSError, zlib.error, ValueError) as error:
        raise StormRuntimeError(f"the bytes are not valid {kind}: {error}") from error
    if not unpacker.eof:
        raise StormRuntimeError(f"the {kind} bytes are cut off, or hold more than {INFLATED_BYTES_MAX} bytes")
    return out


def _gunzip(context: RunContext, self: bytes) -> bytes:
    return _inflated(zlib.decompressobj(wbits=31), self, "gzip")


def _bunzip(context: RunContext, self: bytes) -> bytes:
    return _inflated(bz2.BZ2Decompressor(), self, "bzip2")


def _slice(context: RunContext, self: bytes, start: Any, end: Any) -> bytes:
    return self[toint(start) :] if end is None else self[toint(start) : toint(end)]


def _unpack(context: RunContext, self: bytes, layout: Any, offset: Any) -> list[Any]:
    try:
        return list(struct.unpack_from(tostr(layout), self, toint(offset)))
    except struct.error as error:
        raise BadArg(f"cannot unpack the bytes: {error}") from error


def _xor(context: RunContext, self: bytes, key: Any) -> bytes:
    mask = key.encode() if isinstance(key, str) else key
    if not isinstance(mask, bytes) or not mask:
        raise BadArg("the key must be text or bytes, and not empty", name="key")
    return bytes(byte ^ mask[place % len(mask)] for place, byte in enumerate(self))


_ERRORS: Final = ParameterSpec("errors", "surrogatepass", "str", "What to do about bytes that are no text.")

METHODS: Final = (
    FunctionSpec("bunzip", "Unpack bzip2.", _bunzip, (), "bytes"),
    FunctionSpec("bzip", "Pack by bzip2.", lambda c, s: bz2.compress(s), (), "bytes"),
    FunctionSpec(
        "decode",
        "Read as text.",
        _decode,
        (ParameterSpec("encoding", "utf8", "str", "The encoding."), _ERRORS),
        "str",
    ),
    FunctionSpec("gunzip", "Unpack gzip.", _gunzip, (), "bytes"),
    FunctionSpec("gzip", "Pack by gzip.", lambda c, s: gzip.compress(s), (), "bytes"),
    FunctionSpec(
        "json",
        "Read as JSON.",
        _json,
        (ParameterSpec("encoding", None, "str", "The encoding; found out when left out."), _ERRORS),
        "any",
    ),
    FunctionSpec(
        "slice",
        "A part of them.",
        _slice,
        (
            ParameterSpec("start", type="int", doc="Where it begins; below 0 counted from the end."),
            ParameterSpec(
                "end", None, "int", "Where it ends, this place left out; at the end when left out."
            ),
        ),
        "bytes",
    ),
    FunctionSpec(
        "unpack",
        "Read packed values, by a layout as Python's struct has it.",
        _unpack,
        (
            ParameterSpec("fmt", type="str", doc="The layout."),
            ParameterSpec("offset", 0, "int", "Where they begin."),
        ),
        "list",
    ),
    FunctionSpec(
        "xor",
        "Exclusive-or with a key, repeated.",
        _xor,
        (ParameterSpec("key", type="str or bytes", doc="The key."),),
        "bytes",
    ),
)

TYPES: Final = (TypeSpec("bytes", bytes, "Raw bytes.", METHODS),)
