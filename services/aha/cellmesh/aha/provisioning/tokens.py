"""Kubernetes service-account tokens in place of one-time URLs.

A projected token is a JWT that the cluster signs: who holds it runs as that service account. It is checked against the
cluster's keys (JWKS), and a rule says which cells the account may be:

    mesh/cortex=*.cortex      the account cortex in the namespace mesh may be any instance of cortex
    mesh/axon=00.axon

Nothing is asked of the cluster but its keys, which are remembered for some minutes.
"""

from __future__ import annotations

import base64
import binascii
import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from cellmesh.common.errors import AuthDeny, BadArg, LinkErr
from cellmesh.common.tls.identity import CellIdentity
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

TOKEN_SIZE_MAX: Final = 16 * 1024
KEYS_SIZE_MAX: Final = 1024 * 1024
KEYS_KEEP_S: Final = 300.0
KEYS_PAUSE_S: Final = 10.0
"""Least time between two fetches, so that tokens with made-up key ids cause no flood of them."""
FETCH_TIMEOUT_S: Final = 5.0
CLOCK_SKEW_S: Final = 60.0
SUBJECT_PREFIX: Final = "system:serviceaccount:"

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class AccountRule:
    """Which cells a service account may be.

    Attributes:
        namespace: Of the account; * stands for any characters.
        account: Its name; * stands for any characters.
        instance: Number and service of the cells, such as "*.cortex"; * stands for any characters.
    """

    namespace: str
    account: str
    instance: str

    def allows(self, namespace: str, account: str, identity: CellIdentity) -> bool:
        """Whether an account may be a cell by this rule."""
        return (
            fnmatchcase(namespace, self.namespace)
            and fnmatchcase(account, self.account)
            and fnmatchcase(f"{identity.number}.{identity.service}", self.instance)
        )

    @classmethod
    def parse(cls, text: str) -> AccountRule:
        """Read `mesh/cortex=*.cortex`. Raises BadArg."""
        left, equals, instance = text.strip().partition("=")
        namespace, slash, account = left.partition("/")
        if not (equals and slash and namespace and account and "." in instance):
            raise BadArg(f"{text[:200]!r} is no rule such as mesh/cortex=*.cortex", name="token_accounts")
        return cls(namespace, account, instance)


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """What tokens are taken.

    Attributes:
        keys: Where the keys are: a JWKS file, or its http(s) URL.
        issuer: What the tokens must say issued them.
        audience: For whom they must be.
        rules: Which cells accounts may be.
        keys_authority: File with the certificates that the server of the URL is checked against; None for the system's.
        keys_token: File with the token that is shown to the server of the URL; None for none.
    """

    keys: str
    issuer: str
    audience: str
    rules: Sequence[AccountRule]
    keys_authority: Path | None = None
    keys_token: Path | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """The service account that a token was proved to be of."""

    namespace: str
    name: str

    @property
    def text(self) -> str:
        """As it is logged."""
        return f"{SUBJECT_PREFIX}{self.namespace}:{self.name}"


class TokenChecker:
    """Checks tokens. Blocking; threads may share it.

    Args:
        settings: What tokens are taken.
        now_s: The time, in seconds since 1970.
    """

    def __init__(self, settings: TokenSettings, now_s: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now_s = now_s
        self._lock = threading.Lock()
        self._keys: Mapping[str, PublicKey] = {}
        self._fetched_s = float("-inf")

    def check(self, token: str, identity: CellIdentity) -> Account:
        """Who shows this token, if they may be this cell.

        Raises:
            AuthDeny: the token is forged, over, of another issuer or for another audience, or its account may not be
                this cell.
            LinkErr: the cluster's keys cannot be fetched.
        """
        claims = self._claims(token)
        settings, now_s = self._settings, self._now_s()
        if claims.get("iss") != settings.issuer:
            raise _refused("it was issued by another cluster")
        audience = claims.get("aud")
        if settings.audience not in (audience if isinstance(audience, list) else [audience]):
            raise _refused(f"it is not for the audience {settings.audience}")
        ends, begins = claims.get("exp"), claims.get("nbf", claims.get("iat", 0))
        if not isinstance(ends, int | float) or ends + CLOCK_SKEW_S < now_s:
            raise _refused("it has run out")
        if not isinstance(begins, int | float) or begins - CLOCK_SKEW_S > now_s:
            raise _refused("it is not valid yet")
        subject = str(claims.get("sub", ""))
        namespace, colon, name = subject.removeprefix(SUBJECT_PREFIX).partition(":")
        if not (subject.startswith(SUBJECT_PREFIX) and colon and namespace and name):
            raise _refused("it is of no service account")
        account = Account(namespace, name)
        if not any(rule.allows(namespace, name, identity) for rule in settings.rules):
            raise AuthDeny(
                f"the service account {namespace}/{name} may not be {identity.name}",
                username=account.text,
                hint=f"allow it in AHA's settings: token_accounts {namespace}/{name}={identity.number}.{identity.service}",
            )
        return account

    def _claims(self, token: str) -> dict[str, Any]:
        parts = token.strip().split(".")
        if len(token) > TOKEN_SIZE_MAX or len(parts) != 3:
            raise _refused("it is no signed JWT")
        header, claims = _read_json(parts[0]), _read_json(parts[1])
        signed, signature = f"{parts[0]}.{parts[1]}".encode(), _decode(parts[2])
        key_id = str(header.get("kid", ""))
        key = self._key(key_id)
        algorithm = header.get("alg")
        try:
            if algorithm == "RS256" and isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            elif algorithm == "ES256" and isinstance(key, ec.EllipticCurvePublicKey) and len(signature) == 64:
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
            else:
                raise _refused("it is signed in a way that is not taken: RS256 and ES256 are")
        except InvalidSignature:
            raise _refused("its signature is wrong") from None
        return claims

    def _key(self, key_id: str) -> PublicKey:
        with self._lock:
            age_s = time.monotonic() - self._fetched_s
            if age_s > KEYS_KEEP_S or (key_id not in self._keys and age_s > KEYS_PAUSE_S):
                self._keys = _parse_keys(self._fetch())
                self._fetched_s = time.monotonic()
            found = self._keys.get(key_id)
        if found is None:
            raise _refused("it is signed with a key that the cluster does not have")
        return found

    def _fetch(self) -> bytes:
        settings = self._settings
        try:
            if not settings.keys.startswith(("http://", "https://")):
                return Path(settings.keys).read_bytes()[:KEYS_SIZE_MAX]
            request = urllib.request.Request(settings.keys)
            if settings.keys_token is not None:
                request.add_header("Authorization", f"Bearer {settings.keys_token.read_text().strip()}")
            trust = None
            if settings.keys.startswith("https://"):
                authority = settings.keys_authority
                trust = ssl.create_default_context(cafile=None if authority is None else str(authority))
            with urllib.request.urlopen(request, timeout=FETCH_TIMEOUT_S, context=trust) as answer:
                data: bytes = answer.read(KEYS_SIZE_MAX)
                return data
        except (OSError, ValueError) as error:
            raise LinkErr(f"the keys of the cluster cannot be read from {settings.keys}: {error}") from error


def _parse_keys(data: bytes) -> dict[str, PublicKey]:
    """Read a JWKS. Keys of other kinds are passed over. Raises LinkErr."""
    try:
        items = json.loads(data)["keys"]
        found: dict[str, PublicKey] = {}
        for item in items:
            key_id = str(item.get("kid", ""))
            if item.get("kty") == "RSA":
                numbers = rsa.RSAPublicNumbers(_number(item["e"]), _number(item["n"]))
                found[key_id] = numbers.public_key()
            elif item.get("kty") == "EC" and item.get("crv") == "P-256":
                point = ec.EllipticCurvePublicNumbers(_number(item["x"]), _number(item["y"]), ec.SECP256R1())
                found[key_id] = point.public_key()
        return found
    except (ValueError, KeyError, TypeError, AttributeError, AuthDeny) as error:
        raise LinkErr(f"the keys of the cluster are no JWKS: {error}") from error


def _number(text: str) -> int:
    return int.from_bytes(_decode(text), "big")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused("it is no signed JWT") from None


def _read_json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(_decode(text))
    except ValueError:
        raise _refused("it is no signed JWT") from None
    if not isinstance(found, dict):
        raise _refused("it is no signed JWT")
    return found


def _refused(why: str) -> AuthDeny:
    return AuthDeny(
        f"the service-account token is refused: {why}",
        hint="project it with the audience and in the cluster that AHA's settings name",
    )
