"""`$lib.crypto.rsa` and `$lib.crypto.ecc`: keys that sign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.objects.keys import CURVES, EccKey, RsaKey, read_key
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import toint, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

RSA_BITS: Final = range(1024, 8193)
PUBLIC_EXPONENT: Final = 65537


def _rsa_generate(context: RunContext, bits: Any) -> RsaKey:
    from cryptography.hazmat.primitives.asymmetric import rsa

    size = toint(bits)
    if size not in RSA_BITS:
        raise BadArg(f"a key of RSA has {RSA_BITS.start} to {RSA_BITS.stop - 1} bits", name="bits", valu=size)
    return RsaKey(rsa.generate_private_key(PUBLIC_EXPONENT, size))


def _rsa_load(context: RunContext, key: Any) -> RsaKey:
    from cryptography.hazmat.primitives.asymmetric import rsa

    found = read_key(key)
    if not isinstance(found, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
        raise BadArg("this is no key of RSA", name="key")
    return RsaKey(found)


def _ecc_generate(context: RunContext, curve: Any) -> EccKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    name = tostr(curve)
    if name not in CURVES:
        raise BadArg(f"curve is one of {', '.join(CURVES)}", name="curve", valu=name)
    return EccKey(ec.generate_private_key(getattr(ec, CURVES[name])()))


def _ecc_load(context: RunContext, key: Any) -> EccKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    found = read_key(key)
    if not isinstance(found, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)):
        raise BadArg("this is no key of an elliptic curve", name="key")
    return EccKey(found)


_KEY: Final = ParameterSpec("key", type="str", doc="The key, as PEM text or DER bytes.")

LIBRARIES: Final = (
    LibrarySpec(
        ("crypto", "ecc"),
        "Keys of elliptic curves.",
        (
            FunctionSpec(
                "generate",
                "A new key.",
                _ecc_generate,
                (ParameterSpec("curve", "P-256", "str", "The curve: P-256, P-384 or P-521."),),
                "crypto:ecc:key",
            ),
            FunctionSpec("load", "A key that was encoded.", _ecc_load, (_KEY,), "crypto:ecc:key"),
        ),
    ),
    LibrarySpec(
        ("crypto", "rsa"),
        "Keys of RSA.",
        (
            FunctionSpec(
                "generate",
                "A new key.",
                _rsa_generate,
                (ParameterSpec("bits", 2048, "int", "Its size."),),
                "crypto:rsa:key",
            ),
            FunctionSpec("load", "A key that was encoded.", _rsa_load, (_KEY,), "crypto:rsa:key"),
        ),
    ),
)
