"""JSON Web Tokens and the signatures under them (RFC 7515, 7518, 7519).

The cryptography is PyJWT's, imported at the first use. What is checked is here: a secret that is long enough, a key of the
kind that the algorithm is for, and claims that hold. An algorithm is only what the caller names, never what a token asks
for.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cellmesh.common.errors import BadArg

ALGORITHMS: Final = tuple(f"{kind}{size}" for kind in ("HS", "RS", "PS", "ES") for size in (256, 384, 512))
TOKEN_SIZE_MAX: Final = 1 << 20
RSA_BIT_COUNT_MIN: Final = 2048

_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_PART_COUNT: Final = 3


@dataclass(frozen=True, slots=True)
class Token:
    """A token taken apart; nothing of it is checked yet.

    Attributes:
        header, payload: What they hold; the payload of a token need not be JSON, then it is bytes.
        signature: Its bytes.
        signed: What the signature is of.
    """

    header: dict[str, Any]
    payload: Any
    signature: bytes
    signed: bytes


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token's claims must be.

    Attributes:
        audience, issuer, subject: Values of aud, iss and sub, or None for any. Of several, one must be there.
        leeway_s: Seconds by which clocks may differ.
        typ: The header's typ, or None for any.
        required: Claims that must be there.
        ignored: Claims that are not checked.
    """

    audience: str | Sequence[str] | None = None
    issuer: str | Sequence[str] | None = None
    subject: str | None = None
    leeway_s: int = 0
    typ: str | None = None
    required: Sequence[str] = ()
    ignored: frozenset[str] = frozenset()


def encode_part(data: bytes) -> str:
    """Return bytes in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_part(text: Any) -> bytes:
    """Return the bytes of base64url without padding; raises BadArg."""
    if not isinstance(text, str):
        raise BadArg("a part of the token is no text", name="token")
    try:
        data = text.encode("ascii")
        return base64.b64decode(data + b"=" * (-len(data) % 4), b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadArg(f"the token cannot be decoded: {error}", name="token") from error


def take_apart(text: str) -> Token:
    """Return the parts of a token, compact or as a JSON object with one signature.

    Raises:
        BadArg: it is no token.
    """
    if len(text) > TOKEN_SIZE_MAX:
        raise BadArg(f"a token has at most {TOKEN_SIZE_MAX} characters", name="token")
    if text.lstrip().startswith("{"):
        found = _json(text.encode(), "the token")
        parts = [found.get(name) for name in ("protected", "payload", "signature")]
    else:
        parts = list(text.split("."))
    if len(parts) != _PART_COUNT or not all(isinstance(part, str) for part in parts):
        raise BadArg("a token has three parts", name="token")
    header = _json(decode_part(parts[0]), "the header")
    body = decode_part(parts[1])
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = body
    return Token(header, payload, decode_part(parts[2]), f"{parts[0]}.{parts[1]}".encode())


def _json(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadArg(f"{what} is no JSON object", name="token")
    return found


def require_algorithm(name: Any) -> str:
    """Return the name of an algorithm; raises BadArg."""
    if name not in ALGORITHMS:
        raise BadArg(f"an algorithm is one of {', '.join(ALGORITHMS)}", name="alg", valu=str(name))
    return str(name)


def prepare_key(algorithm: str, key: Any) -> Any:
    """Return a key for an algorithm.

    Args:
        algorithm: Its name.
        key: A secret as bytes, or a key of the cryptography library.

    Raises:
        BadArg: the key is of another kind, or too weak.
    """
    kind, size = algorithm[:2], int(algorithm[2:])
    if kind == "HS":
        if not isinstance(key, bytes) or key.lstrip().startswith(b"-----BEGIN"):
            raise BadArg(f"{algorithm} takes a secret, not a key of a pair", name="key")
        if len(key) * 8 < size:
            raise BadArg(f"a secret for {algorithm} has at least {size // 8} bytes", name="key")
        return key
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if kind == "ES":
        is_right = isinstance(key, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey))
        if not is_right or key.curve.name != _CURVES[algorithm]:
            raise BadArg(f"{algorithm} takes a key of the curve {_CURVES[algorithm]}", name="key")
        return key
    if not isinstance(key, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
        raise BadArg(f"{algorithm} takes a key of RSA", name="key")
    if key.key_size < RSA_BIT_COUNT_MIN:
        raise BadArg(f"{algorithm} takes a key of at least {RSA_BIT_COUNT_MIN} bits", name="key")
    return key


def _algorithm(name: str) -> Any:
    from jwt.algorithms import get_default_algorithms

    return get_default_algorithms()[name]


def sign(
    header: Mapping[str, Any], payload: Mapping[str, Any], algorithm: str, key: Any
) -> tuple[str, str, str]:
    """Return header, payload and signature of a token, encoded.

    Args:
        header: As it will stand there, with `alg`.
        payload: The claims.
        algorithm: Its name.
        key: As `prepare_key` takes it; a private one.

    Raises:
        BadArg: the key cannot sign so, or a claim cannot be written as JSON.
    """
    prepared = prepare_key(algorithm, key)
    if not isinstance(prepared, bytes) and not hasattr(prepared, "private_bytes"):
        raise BadArg("a public key cannot sign", name="key")
    try:
        parts = [
            encode_part(json.dumps(part, separators=(",", ":")).encode())
            for part in (dict(header), dict(payload))
        ]
    except (TypeError, ValueError) as error:
        raise BadArg(f"a claim cannot be written as JSON: {error}", name="payload") from error
    signature = _algorithm(algorithm).sign(".".join(parts).encode(), prepared)
    return parts[0], parts[1], encode_part(signature)


def holds(token: Token, algorithm: str, key: Any) -> bool:
    """Whether the signature of a token is one of a key; raises BadArg for a key of another kind."""
    prepared = prepare_key(algorithm, key)
    if hasattr(prepared, "private_bytes"):
        prepared = prepared.public_key()
    return bool(_algorithm(algorithm).verify(token.signed, prepared, token.signature))


def check_claims(token: Token, wanted: Claims, *, now_s: float | None = None) -> None:
    """Check what a token says; raises BadArg for what does not hold. Times are seconds since 1970."""
    payload = token.payload
    if not isinstance(payload, dict):
        raise BadArg("the payload is no JSON object", name="token")
    for name in wanted.required:
        if name not in payload:
            raise BadArg(f"the token has no claim {name}", claim=name)
    kind = token.header.get("typ")
    if wanted.typ is not None and kind != wanted.typ:
        raise BadArg(f"the token is of type {kind}, not {wanted.typ}", name="typ")
    now = time.time() if now_s is None else now_s
    times = [name for name in ("exp", "nbf", "iat") if name in payload and name not in wanted.ignored]
    for name in times:
        value = payload[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise BadArg(f"{name} is no time", claim=name)
    if "exp" in times and payload["exp"] <= now - wanted.leeway_s:
        raise BadArg("the token has expired", claim="exp")
    if "nbf" in times and payload["nbf"] > now + wanted.leeway_s:
        raise BadArg("the token is not valid yet", claim="nbf")
    for name, value in (("iss", wanted.issuer), ("sub", wanted.subject), ("aud", wanted.audience)):
        if value is None or name in wanted.ignored:
            continue
        if not _texts(payload.get(name)).intersection(_texts(value)):
            raise BadArg(f"{name} is not what was expected", claim=name)


def _texts(value: Any) -> set[Any]:
    if isinstance(value, str):
        return {value}
    return {one for one in value if isinstance(one, str)} if isinstance(value, (list, tuple)) else set()


def key_of_dict(found: dict[str, Any]) -> Any:
    """Return the key that a JSON Web Key holds; raises BadArg."""
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    try:
        return PyJWK.from_dict(found).key
    except (PyJWTError, ValueError, TypeError) as error:
        raise BadArg(f"this is no JSON Web Key: {error}", name="key") from error


def keys_of_set(found: Any, wanted: str | None) -> list[tuple[str | None, Any]]:
    """Return the keys of a JSON Web Key Set: their algorithms, if they say, and the keys.

    Args:
        found: The set, as JSON has it.
        wanted: The `kid` that a token names; None for all keys.

    Raises:
        BadArg: it is no set of keys.
    """
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise BadArg("jwks_uri gives no set of keys", name="jwks_uri")
    keys: list[tuple[str | None, Any]] = []
    for one in found["keys"]:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig" or one.get("kty") == "oct":
            continue
        if wanted is not None and one.get("kid") != wanted:
            continue
        try:
            keys.append((one.get("alg"), key_of_dict(one)))
        except BadArg:
            # A set may hold keys of kinds that are not known here.
            continue
    return keys


__all__ = [
    "ALGORITHMS",
    "Claims",
    "Token",
    "check_claims",
    "encode_part",
    "holds",
    "key_of_dict",
    "keys_of_set",
    "prepare_key",
    "require_algorithm",
    "sign",
    "take_apart",
]
