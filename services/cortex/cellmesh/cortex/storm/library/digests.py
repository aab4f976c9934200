"""`$lib.crypto.hashes`, `$lib.crypto.hmac`, `$lib.compression`, `$lib.inet.http` (its text functions), `$lib.inet.ipv6`."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import hmac
import ipaddress
import zlib
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, unquote_plus

from cellmesh.common.errors import BadArg, StormRuntimeError
from cellmesh.cortex.storm.formats.keccak import keccak256
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import toint, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

UNPACKED_SIZE_MAX: Final = 1 << 30
"""Bytes that compressed data may unpack to."""

ALGORITHMS: Final = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")


def _bytes(value: Any, name: str) -> bytes:
    if not isinstance(value, bytes):
        raise BadArg(f"{name} are bytes, not a {type(value).__name__}", name=name)
    return value


def _packable(value: Any, name: str) -> bytes:
    if not isinstance(value, bytes):
        raise StormRuntimeError(f"{name} are bytes, not a {type(value).__name__}", name=name)
    return value


def _digest(algorithm: str) -> Callable[[RunContext, Any], str]:
    def run(context: RunContext, data: Any) -> str:
        return hashlib.new(algorithm, _bytes(data, "byts"), usedforsecurity=False).hexdigest()

    return run


def _hmac(context: RunContext, key: Any, message: Any, algorithm: Any) -> bytes:
    name = tostr(algorithm).lower()
    if name not in ALGORITHMS:
        raise BadArg(f"alg is one of {', '.join(ALGORITHMS)}, not {name}", name="alg")
    return hmac.digest(_bytes(key, "key"), _bytes(message, "mesg"), name)


# Addresses of coins.


def _eip55(context: RunContext, address: Any) -> tuple[bool, str | None]:
    """Return an address of Ethereum with the letters in upper case that its hash says."""
    text = tostr(address).lower().removeprefix("0x")
    if not text or set(text) - set("0123456789abcdef"):
        return (False, None)
    digest = keccak256(text.encode()).hex()
    written = [letter.upper() if int(mark, 16) >= HALF else letter for letter, mark in zip(text, digest)]
    return (True, "0x" + "".join(written) + text[len(digest) :])


HALF: Final = 8


# Compression.


def _packer(pack: Callable[[bytes], bytes], name: str) -> Callable[[RunContext, Any], bytes]:
    def run(context: RunContext, data: Any) -> bytes:
        return pack(_packable(data, name))

    return run


def _unpacker(make: Callable[[], Any], name: str) -> Callable[[RunContext, Any], bytes]:
    def run(context: RunContext, data: Any) -> bytes:
        reader = make()
        try:
            found: bytes = reader.decompress(_packable(data, "valu"), UNPACKED_SIZE_MAX)
        except (OSError, zlib.error, ValueError, EOFError) as error:
            raise StormRuntimeError(f"the bytes are no {name} data: {error}", name=name) from error
        if not reader.eof:
            raise StormRuntimeError(f"the {name} data ends too early, or is too large", name=name)
        return found

    return run


# Text of the web.


def _url_encode(context: RunContext, text: Any) -> str:
    return quote_plus(tostr(text))


def _url_decode(context: RunContext, text: Any) -> str:
    return unquote_plus(tostr(text))


def _reason(context: RunContext, code: Any) -> str:
    number = toint(code)
    try:
        return HTTPStatus(number).phrase
    except ValueError:
        return f"Unknown HTTP status code {number}"


def _expand(context: RunContext, value: Any) -> str:
    try:
        return ipaddress.IPv6Address(tostr(value).strip()).exploded
    except ValueError as error:
        raise StormRuntimeError(f"{tostr(value)} is no IPv6 address", valu=tostr(value)) from error


_DATA: Final = ParameterSpec("byts", type="bytes", doc="The bytes.")
_VALUE: Final = ParameterSpec("valu", type="bytes", doc="The bytes.")
_TEXT: Final = ParameterSpec("text", type="str", doc="The text.")
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


def _compression(name: str, pack: Callable[[bytes], bytes], make: Callable[[], Any]) -> LibrarySpec:
    return LibrarySpec(
        ("compression", name),
        f"Compression with {name}.",
        (
            FunctionSpec("en", "Compress bytes.", _packer(pack, "valu"), (_VALUE,), "bytes"),
            FunctionSpec("un", "Unpack compressed bytes.", _unpacker(make, name), (_VALUE,), "bytes"),
        ),
    )


LIBRARIES: Final = (
    _compression("bzip2", bz2.compress, bz2.BZ2Decompressor),
    _compression("gzip", lambda data: gzip.compress(data, mtime=0), lambda: zlib.decompressobj(_GZIP_WINDOW)),
    _compression("zlib", zlib.compress, zlib.decompressobj),
    LibrarySpec(
        ("crypto", "hashes"),
        "Hashes of bytes, in hexadecimal digits.",
        tuple(
            FunctionSpec(name, f"The {name} hash of bytes.", _digest(name), (_DATA,), "str")
            for name in ("md5", "sha1", "sha256", "sha512")
        ),
    ),
    LibrarySpec(
        ("crypto", "hmac"),
        "Hashes with a key.",
        (
            FunctionSpec(
                "digest",
                "The HMAC of a message.",
                _hmac,
                (
                    ParameterSpec("key", type="bytes", doc="The key."),
                    ParameterSpec("mesg", type="bytes", doc="The message."),
                    ParameterSpec("alg", "sha256", "str", "The hash."),
                ),
                "bytes",
            ),
        ),
    ),
    LibrarySpec(
        ("crypto", "coin", "ethereum"),
        "Ethereum.",
        (
            FunctionSpec(
                "eip55",
                "An address with its checksum in the case of its letters: whether it is one, and its text.",
                _eip55,
                (ParameterSpec("addr", type="str", doc="The address."),),
                "list",
            ),
        ),
    ),
    LibrarySpec(
        ("inet", "http"),
        "The web.",
        (
            FunctionSpec(
                "codereason",
                "What an HTTP status code means.",
                _reason,
                (ParameterSpec("code", type="int", doc="The code, such as 404."),),
                "str",
            ),
            FunctionSpec("urldecode", "Text of a part of a URL.", _url_decode, (_TEXT,), "str"),
            FunctionSpec("urlencode", "Text as a part of a URL.", _url_encode, (_TEXT,), "str"),
        ),
    ),
    LibrarySpec(
        ("inet", "ipv6"),
        "IPv6 addresses.",
        (
            FunctionSpec(
                "expand",
                "An address with all its digits.",
                _expand,
                (ParameterSpec("valu", type="str", doc="The address."),),
                "str",
            ),
        ),
    ),
)
