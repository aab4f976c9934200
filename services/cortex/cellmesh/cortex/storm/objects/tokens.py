"""JSON Web Tokens as values: `$lib.crypto.jwt.generate()`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.formats.json_tokens import decode_part, prepare_key, require_algorithm, sign
from cellmesh.cortex.storm.objects.keys import Key, read_key
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


class JsonToken:
    """A token that is being made, or that was verified.

    Attributes:
        header, payload: What it says; both may be changed until it is signed.
        signature: Its bytes, once it is signed.
    """

    __slots__ = ("header", "payload", "signature")

    def __init__(
        self, payload: dict[str, Any], header: dict[str, Any] | None = None, signature: bytes | None = None
    ) -> None:
        self.header = header if header is not None else {}
        self.payload = payload
        self.signature = signature

    def storm_text(self) -> str:
        """Return what is printed, which is nothing of the token."""
        return f"crypto:jwt: {'signed' if self.signature else 'not signed'}"


def token_key(value: Any, algorithm: str) -> Any:
    """Return the key that a value is, for an algorithm: a key, its PEM text or DER bytes, or a secret.

    Raises:
        BadArg: it is no key for the algorithm.
    """
    if isinstance(value, Key):
        return prepare_key(algorithm, value.key)
    if algorithm.startswith("HS"):
        return prepare_key(algorithm, value if isinstance(value, bytes) else tostr(value).encode())
    return prepare_key(algorithm, read_key(value))


def _sign(context: RunContext, self: JsonToken, key: Any, algorithm: Any, form: Any) -> str:
    name = require_algorithm(tostr(algorithm))
    if tostr(form) not in ("compact", "json"):
        raise BadArg("fmt is compact or json", name="fmt", valu=tostr(form))
    self.header["alg"] = name
    self.header.setdefault("typ", "JWT")
    header, payload, signature = sign(toprim(self.header), toprim(self.payload), name, token_key(key, name))
    self.signature = decode_part(signature)
    if tostr(form) == "compact":
        return f"{header}.{payload}.{signature}"
    return json.dumps(
        {"payload": payload, "protected": header, "signature": signature}, separators=(",", ":")
    )


TYPES: Final = (
    TypeSpec(
        "crypto:jwt",
        JsonToken,
        "A JSON Web Token.",
        (
            FunctionSpec(
                "sign",
                "The token with a signature, as text.",
                _sign,
                (
                    ParameterSpec(
                        "key", type="str", doc="A private key, or a secret for HS256 and the like."
                    ),
                    ParameterSpec("alg", type="str", doc="The algorithm."),
                    ParameterSpec("fmt", "compact", "str", "How it is written: compact or json."),
                ),
                "str",
            ),
        ),
        (
            AttributeSpec("header", "Its header, which may be changed.", lambda c, s: s.header, "dict"),
            AttributeSpec("payload", "Its claims, which may be changed.", lambda c, s: s.payload, "dict"),
            AttributeSpec(
                "signature", "Its signature; null until it is signed.", lambda c, s: s.signature, "bytes"
            ),
        ),
    ),
)
