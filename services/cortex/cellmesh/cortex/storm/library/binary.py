"""`$lib.hex`, `$lib.base64`, `$lib.basex`, `$lib.bytes` and `$lib.pack`: bytes as text and numbers, and back."""

from __future__ import annotations

import base64
import binascii
import string
import struct
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, LimitExceeded, StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.values import tobool, toint, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

HEX_SIZE_MAX: Final = 1024 * 1024
"""Most digits or bytes that a number may be written with."""

BASEX_SIZE_MAX: Final = 16 * 1024
"""Most bytes or characters of base-x, whose work grows with the square of the size."""


def _bytes(value: Any, name: str, error: type[BadArg | StormRuntimeError] = BadArg) -> bytes:
    if not isinstance(value, bytes):
        raise error(f"{name} must be bytes, not a {type(value).__name__}", name=name)
    return value


def _bounded(size: int, size_max: int, name: str) -> None:
    if size > size_max:
        raise LimitExceeded(f"{name} may be at most {size_max}, not {size}", name=name, limit=size_max)


# Hexadecimal digits.


def _hex_decode(context: RunContext, text: Any) -> bytes:
    given = tostr(text)
    try:
        return binascii.unhexlify(given)
    except ValueError as error:
        raise BadArg(f"not an even number of hexadecimal digits: {given[:80]!r}", name="valu") from error


def _hex_encode(context: RunContext, value: Any) -> str:
    return _bytes(value, "valu").hex()


def _hex_fromint(context: RunContext, value: Any, length: Any, signed: Any) -> str:
    number, size = toint(value), toint(length)
    _bounded(size, HEX_SIZE_MAX, "length")
    try:
        return number.to_bytes(size, "big", signed=tobool(signed)).hex()
    except (OverflowError, ValueError) as error:
        raise BadArg(f"the number does not fit into {size} bytes", name="valu") from error


def _hex_toint(context: RunContext, text: Any, signed: Any) -> int:
    return int.from_bytes(_hex_decode(context, text), "big", signed=tobool(signed))


def _hex_signext(context: RunContext, text: Any, length: Any) -> str:
    digits, size = tostr(text).lower(), toint(length)
    _bounded(size, HEX_SIZE_MAX, "length")
    if not digits or not set(digits) <= set(string.hexdigits):
        raise BadArg(f"not hexadecimal digits: {digits[:80]!r}", name="valu")
    return digits.rjust(size, "f" if int(digits[0], 16) & 8 else "0")


def _hex_trimext(context: RunContext, text: Any) -> str:
    data = _hex_decode(context, text)
    start = 0
    # A byte that only repeats the sign of the next one says nothing.
    while start + 1 < len(data) and data[start] == (0xFF if data[start + 1] & 0x80 else 0):
        start += 1
    return data[start:].hex()


# Base 64 and other bases.


def _base64_encode(context: RunContext, value: Any, urlsafe: Any) -> str:
    data = _bytes(value, "valu", StormRuntimeError)
    return (base64.urlsafe_b64encode if tobool(urlsafe) else base64.b64encode)(data).decode()


def _base64_decode(context: RunContext, text: Any, urlsafe: Any) -> bytes:
    if text is None:
        raise StormRuntimeError("null is no base64", name="valu")
    try:
        return (base64.urlsafe_b64decode if tobool(urlsafe) else base64.b64decode)(tostr(text))
    except (ValueError, binascii.Error) as error:
        raise StormRuntimeError(f"not valid base 64: {error}") from error


def _charset(value: Any) -> str:
    charset = tostr(value)
    if len(charset) < 2 or len(set(charset)) != len(charset):
        raise BadArg("a charset is two characters or more, no two alike", name="charset")
    return charset


def _basex_encode(context: RunContext, value: Any, charset: Any) -> str:
    data, characters = _bytes(value, "byts"), _charset(charset)
    _bounded(len(data), BASEX_SIZE_MAX, "byts")
    number, base = int.from_bytes(data, "big"), len(characters)
    digits = []
    while number:
        number, digit = divmod(number, base)
        digits.append(characters[digit])
    return "".join(reversed(digits)) or characters[0]


def _basex_decode(context: RunContext, text: Any, charset: Any) -> bytes:
    given, characters = tostr(text), _charset(charset)
    _bounded(len(given), BASEX_SIZE_MAX, "text")
    digits = {character: place for place, character in enumerate(characters)}
    number = 0
    for character in given:
        if character not in digits:
            raise BadArg(f"the charset has no {character!r}", name="text")
        number = number * len(characters) + digits[character]
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


# Packed numbers.


def _fromints(context: RunContext, numbers: Any) -> bytes:
    if numbers is None or isinstance(numbers, int):
        raise BadArg("bytes are made of a list of numbers", name="ints")
    try:
        return bytes(toint(number) for number in toiter(context, numbers))
    except ValueError as error:
        raise BadArg("bytes are made of numbers from 0 to 255", name="ints") from error


def _layout(value: Any) -> str:
    form = tostr(value)
    if not form or not form.isascii():
        raise BadArg("a layout is made of the letters that Python's struct knows", name="fmt")
    return form


def _pack(context: RunContext, layout: Any, items: Any) -> bytes:
    form = _layout(layout)
    try:
        _bounded(struct.calcsize(form), HEX_SIZE_MAX, "fmt")
        return struct.pack(form, *(plain_value(item) for item in toiter(context, items)))
    except (struct.error, OverflowError, TypeError) as error:
        raise BadArg(f"the items do not fit the layout {form[:80]!r}: {error}", name="fmt") from error


def _unpack(context: RunContext, layout: Any, data: Any, offset: Any) -> list[Any]:
    try:
        return list(struct.unpack_from(_layout(layout), _bytes(data, "byts"), toint(offset)))
    except struct.error as error:
        raise BadArg(f"the bytes do not fit the layout: {error}", name="byts") from error


_DIGITS: Final = ParameterSpec("valu", type="str", doc="Hexadecimal digits.")
_SIGNED: Final = ParameterSpec("signed", False, "bool", "Whether the first bit is the sign.")
_URLSAFE: Final = ParameterSpec("urlsafe", True, "bool", "Whether `-` and `_` stand for 62 and 63.")
_CHARSET: Final = ParameterSpec("charset", type="str", doc="The digits, from 0 up.")
_LAYOUT: Final = ParameterSpec("fmt", type="str", doc="The layout, as Python's struct has it.")

LIBRARIES: Final = (
    LibrarySpec(
        ("hex",),
        "Bytes and numbers as hexadecimal digits.",
        (
            FunctionSpec("decode", "The bytes that digits stand for.", _hex_decode, (_DIGITS,), "bytes"),
            FunctionSpec(
                "encode",
                "The digits of bytes.",
                _hex_encode,
                (ParameterSpec("valu", type="bytes", doc="The bytes."),),
                "str",
            ),
            FunctionSpec(
                "fromint",
                "The digits of a number, most significant first.",
                _hex_fromint,
                (
                    ParameterSpec("valu", type="int", doc="The number."),
                    ParameterSpec("length", type="int", doc="How many bytes to write."),
                    _SIGNED,
                ),
                "str",
            ),
            FunctionSpec(
                "signext",
                "Digits made longer by repeating the sign.",
                _hex_signext,
                (_DIGITS, ParameterSpec("length", type="int", doc="How many digits there should be.")),
                "str",
            ),
            FunctionSpec("toint", "The number that digits stand for.", _hex_toint, (_DIGITS, _SIGNED), "int"),
            FunctionSpec(
                "trimext",
                "Digits without the bytes that only repeat the sign.",
                _hex_trimext,
                (_DIGITS,),
                "str",
            ),
        ),
    ),
    LibrarySpec(
        ("base64",),
        "Bytes as base 64.",
        (
            FunctionSpec(
                "decode",
                "The bytes that base 64 stands for.",
                _base64_decode,
                (ParameterSpec("valu", type="str", doc="The text."), _URLSAFE),
                "bytes",
            ),
            FunctionSpec(
                "encode",
                "Bytes as base 64.",
                _base64_encode,
                (ParameterSpec("valu", type="bytes", doc="The bytes."), _URLSAFE),
                "str",
            ),
        ),
    ),
    LibrarySpec(
        ("basex",),
        "Bytes as one number in any base.",
        (
            FunctionSpec(
                "decode",
                "The bytes of a number.",
                _basex_decode,
                (ParameterSpec("text", type="str", doc="The number."), _CHARSET),
                "bytes",
            ),
            FunctionSpec(
                "encode",
                "Bytes as a number; leading zeros are lost.",
                _basex_encode,
                (ParameterSpec("byts", type="bytes", doc="The bytes."), _CHARSET),
                "str",
            ),
        ),
    ),
    LibrarySpec(
        ("bytes",),
        "Bytes.",
        (
            FunctionSpec(
                "fromints",
                "Bytes of numbers.",
                _fromints,
                (ParameterSpec("ints", type="list of int", doc="Numbers from 0 to 255."),),
                "bytes",
            ),
        ),
    ),
    LibrarySpec(
        ("pack",),
        "Packed binary values.",
        (
            FunctionSpec(
                "en",
                "Values packed into bytes.",
                _pack,
                (_LAYOUT, ParameterSpec("items", type="list", doc="The values.")),
                "bytes",
            ),
            FunctionSpec(
                "un",
                "Values from packed bytes.",
                _unpack,
                (
                    _LAYOUT,
                    ParameterSpec("byts", type="bytes", doc="The bytes."),
                    ParameterSpec("offs", 0, "int", "Where they begin."),
                ),
                "list",
            ),
        ),
    ),
)
