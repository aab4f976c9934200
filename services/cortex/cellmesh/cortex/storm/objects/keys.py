"""Keys of RSA and of elliptic curves as values: `$lib.crypto.rsa`, `$lib.crypto.ecc`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cryptography.hazmat.primitives import hashes

# The library that knows keys is imported where they are used: it takes long.

HASHES: Final = ("sha256", "sha384", "sha512")
PADDINGS: Final = ("pss", "pkcs1v15")
CURVES: Final = {"P-256": "SECP256R1", "P-384": "SECP384R1", "P-521": "SECP521R1"}


class Key:
    """A private or public key.

    Attributes:
        key: As the cryptography library has it.
    """

    __slots__ = ("key",)
    kind: ClassVar[str]

    def __init__(self, key: Any) -> None:
        self.key = key

    @property
    def is_private(self) -> bool:
        """Whether it can sign."""
        return hasattr(self.key, "private_bytes")

    @property
    def public(self) -> Any:
        """The public key."""
        return self.key.public_key() if self.is_private else self.key

    def encoded(self, form: str) -> str | bytes:
        """Return the key as PEM text or DER bytes; raises BadArg."""
        from cryptography.hazmat.primitives import serialization

        if form not in ("pem", "der"):
            raise BadArg(f"fmt is pem or der, not {form}", name="fmt", valu=form)
        encoding = serialization.Encoding.PEM if form == "pem" else serialization.Encoding.DER
        if self.is_private:
            data = self.key.private_bytes(
                encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        else:
            data = self.key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        return data.decode() if form == "pem" else bytes(data)

    def storm_plain(self) -> str:
        """Return the key as PEM text."""
        return str(self.encoded("pem"))

    def storm_text(self) -> str:
        """Return what is printed, which is nothing of the key."""
        return f"crypto:{self.kind}:key: {'private' if self.is_private else 'public'}"


class RsaKey(Key):
    """A key of RSA."""

    __slots__ = ()
    kind = "rsa"


class EccKey(Key):
    """A key of an elliptic curve."""

    __slots__ = ()
    kind = "ecc"


def read_key(value: Any) -> Any:
    """Return the key that PEM text or DER bytes hold; raises BadArg."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    data = value if isinstance(value, bytes) else tostr(value).encode()
    is_text = data.lstrip().startswith(b"-----BEGIN")
    loaders = (
        (serialization.load_pem_private_key, serialization.load_pem_public_key)
        if is_text
        else (serialization.load_der_private_key, serialization.load_der_public_key)
    )
    try:
        return loaders[0](data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    try:
        return loaders[1](data)
    except (ValueError, UnsupportedAlgorithm):
        raise BadArg("this is no key that can be read", name="key") from None


def _hash(name: Any) -> hashes.HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    text = tostr(name)
    if text not in HASHES:
        raise BadArg(f"hashalgo is one of {', '.join(HASHES)}", name="hashalgo", valu=text)
    found: hashes.HashAlgorithm = getattr(hashes, text.upper())()
    return found


def _padding(name: Any, algorithm: hashes.HashAlgorithm) -> Any:
    from cryptography.hazmat.primitives.asymmetric import padding

    text = tostr(name)
    if text not in PADDINGS:
        raise BadArg(f"padding is one of {', '.join(PADDINGS)}", name="padding", valu=text)
    if text == "pkcs1v15":
        return padding.PKCS1v15()
    return padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)


def _bytes(value: Any, name: str) -> bytes:
    if not isinstance(value, bytes):
        raise BadArg(f"{name} are bytes, not a {type(value).__name__}", name=name)
    return value


def _signing(self: Key) -> Any:
    if not self.is_private:
        raise BadArg("a public key cannot sign", name="key")
    return self.key


def _rsa_sign(context: RunContext, self: RsaKey, data: Any, pad: Any, algorithm: Any) -> bytes:
    chosen = _hash(algorithm)
    return bytes(_signing(self).sign(_bytes(data, "byts"), _padding(pad, chosen), chosen))


def _rsa_verify(
    context: RunContext, self: RsaKey, data: Any, signature: Any, pad: Any, algorithm: Any
) -> bool:
    chosen = _hash(algorithm)
    return _holds(self, _bytes(signature, "signature"), _bytes(data, "byts"), _padding(pad, chosen), chosen)


def _ecc_sign(context: RunContext, self: EccKey, data: Any, algorithm: Any) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec

    return bytes(_signing(self).sign(_bytes(data, "byts"), ec.ECDSA(_hash(algorithm))))


def _ecc_verify(context: RunContext, self: EccKey, data: Any, signature: Any, algorithm: Any) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec

    return _holds(self, _bytes(signature, "signature"), _bytes(data, "byts"), ec.ECDSA(_hash(algorithm)))


def _holds(self: Key, *arguments: Any) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        self.public.verify(*arguments)
    except InvalidSignature:
        return False
    return True


def _encode(context: RunContext, self: Key, form: Any) -> Any:
    return self.encoded(tostr(form))


_DATA: Final = ParameterSpec("byts", type="bytes", doc="What is signed.")
_SIGNATURE: Final = ParameterSpec("signature", type="bytes", doc="The signature.")
_HASH: Final = ParameterSpec("hashalgo", "sha256", "str", "The hash: sha256, sha384 or sha512.")
_PADDING: Final = ParameterSpec("padding", "pss", "str", "The padding: pss or pkcs1v15.")


def _type(kind: type[Key], doc: str, sign: Any, verify: Any, options: tuple[ParameterSpec, ...]) -> TypeSpec:
    name = f"crypto:{kind.kind}:key"
    return TypeSpec(
        name,
        kind,
        doc,
        (
            FunctionSpec(
                "encode",
                "The key as PEM text or DER bytes.",
                _encode,
                (ParameterSpec("fmt", "pem", "str", "How: pem or der."),),
                "str",
            ),
            FunctionSpec("pubkey", "The public key.", lambda c, s: kind(s.public), (), name),
            FunctionSpec("sign", "A signature of bytes.", sign, (_DATA, *options), "bytes"),
            FunctionSpec(
                "verify",
                "Whether a signature is one of the key.",
                verify,
                (_DATA, _SIGNATURE, *options),
                "bool",
            ),
        ),
        (AttributeSpec("isPrivate", "Whether it can sign.", lambda c, s: s.is_private, "bool"),),
    )


TYPES: Final = (
    _type(RsaKey, "A key of RSA.", _rsa_sign, _rsa_verify, (_PADDING, _HASH)),
    _type(EccKey, "A key of an elliptic curve.", _ecc_sign, _ecc_verify, (_HASH,)),
)
