"""Passwords, one-time passwords and API keys: made, hashed, compared.

Passwords are hashed with Argon2id, which takes some 50 ms and 19 MiB on purpose, so `hash_password` and
`verify_password` run in worker threads. The other secrets have 256 or 128 random bits, and a guess at those is
hopeless at any speed: SHA-256 is enough.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from cellmesh.common.errors import BadArg

ARGON2_SALT_SIZE: Final = 16
ARGON2_HASH_SIZE: Final = 32

PASSWORD_SIZE_MAX: Final = 1024
"""Bytes; what is longer is no password but an attack."""

API_KEY_PREFIX: Final = "cmk"
API_KEY_SECRET_SIZE: Final = 32
ONE_TIME_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class HashCost:
    """What Argon2id takes for one password. The default is what OWASP recommends as least.

    Attributes:
        memory_kib: Memory, in KiB; at least eight for each lane.
        iterations: Passes over it.
        lanes: Parts of it that could be filled at the same time.
    """

    memory_kib: int = 19 * 1024
    iterations: int = 2
    lanes: int = 1

    def fits(self, password_hash: str) -> bool:
        """Whether a hash was made at this cost."""
        return password_hash.startswith(self._head)

    @property
    def nothing(self) -> str:
        """A hash of nothing known, at this cost: compared against where there is none, so that names which exist cannot
        be told by the time an answer takes.
        """
        return self._head + _NOTHING

    @property
    def _head(self) -> str:
        return f"$argon2id$v=19$m={self.memory_kib},t={self.iterations},p={self.lanes}$"


DEFAULT_COST = HashCost()


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """What a password must be.

    Attributes:
        length_min: Least number of characters.
        classes_min: Least number of kinds of characters out of four: lower case, upper case, digits, others.
        history_count: How many passwords, the present one among them, may not come again.
        attempts_max: Wrong attempts in a row after which a user is locked; 0 for never.
        cost: What hashing a password takes. One hashed at another cost is hashed anew when it is next shown.
    """

    length_min: int = 12
    classes_min: int = 1
    history_count: int = 3
    attempts_max: int = 10
    cost: HashCost = field(default_factory=lambda: DEFAULT_COST)

    def check(self, password: str, *names: str) -> None:
        """Check a new password, except for its history.

        Args:
            password: The password, normalized.
            names: What it may not be, in any case: the user's name and email.

        Raises:
            BadArg: it may not be used; the message says why.
        """
        if len(password) < self.length_min:
            raise BadArg(f"a password has {self.length_min} characters or more", name="password")
        if len(password.encode()) > PASSWORD_SIZE_MAX:
            raise BadArg(f"a password has {PASSWORD_SIZE_MAX} bytes or less", name="password")
        if character_classes(password) < self.classes_min:
            raise BadArg(
                f"a password has characters of {self.classes_min} kinds out of lower case, upper case, digits and "
                "others",
                name="password",
            )
        if password.casefold() in {name.casefold() for name in names if name}:
            raise BadArg("a password is neither the user's name nor its email", name="password")


def character_classes(text: str) -> int:
    """How many kinds of characters are in a text: lower case, upper case, digits, others."""
    kinds = set()
    for char in text:
        kinds.add(
            "lower" if char.islower() else "upper" if char.isupper() else "digit" if char.isdigit() else ""
        )
    return len(kinds)


def normalize_password(password: str) -> str:
    """The form in which a password counts: the same on every keyboard.

    Raises:
        BadArg: it is no proper text, or endless.
    """
    try:
        if len(password.encode()) <= PASSWORD_SIZE_MAX:
            return unicodedata.normalize("NFC", password)
    except UnicodeEncodeError:
        pass
    raise BadArg("this can be no password: too long, or no proper text", name="password")


def hash_password(password: str, cost: HashCost) -> str:
    """Argon2id of a normalized password in PHC form, with a new salt. Takes long."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    return Argon2id(
        salt=secrets.token_bytes(ARGON2_SALT_SIZE),
        length=ARGON2_HASH_SIZE,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    ).derive_phc_encoded(password.encode())


def verify_password(password: str, password_hash: str, cost: HashCost) -> bool:
    """Whether a normalized password is the one hashed. Takes long: what the hash says, or `cost` for an empty hash,
    which fits none.
    """
    from cryptography.exceptions import InvalidKey
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        Argon2id.verify_phc_encoded(password.encode(), password_hash or cost.nothing)
    except InvalidKey:
        return False
    return bool(password_hash)


_NOTHING: Final = (
    base64.b64encode(secrets.token_bytes(ARGON2_SALT_SIZE)).decode().rstrip("=")
    + "$"
    + base64.b64encode(secrets.token_bytes(ARGON2_HASH_SIZE)).decode().rstrip("=")
)


def make_one_time_password() -> str:
    """A password for one call: 26 letters and digits in groups."""
    text = base64.b32encode(secrets.token_bytes(ONE_TIME_SIZE)).decode().rstrip("=").lower()
    return "-".join(text[index : index + 5] for index in range(0, len(text), 5))


def make_api_key(key_id: str) -> tuple[str, bytes]:
    """A new key: its text, and the SHA-256 of its secret part."""
    secret = base64.urlsafe_b64encode(secrets.token_bytes(API_KEY_SECRET_SIZE)).decode().rstrip("=")
    return f"{API_KEY_PREFIX}.{key_id}.{secret}", sha256(secret)


def split_api_key(text: str) -> tuple[str, bytes] | None:
    """The identifier and the SHA-256 of the secret of a key's text; None when it is no key."""
    prefix, _, rest = text.partition(".")
    key_id, dot, secret = rest.partition(".")
    if prefix != API_KEY_PREFIX or not dot or len(text) > 256 or not text.isascii():
        return None
    return key_id, sha256(secret)


def sha256(text: str) -> bytes:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).digest()


def same(left: bytes, right: bytes) -> bool:
    """Whether two hashes are equal, in a time that tells nothing."""
    return hmac.compare_digest(left, right)


def new_identifier() -> str:
    """A new identifier: 32 hexadecimal digits."""
    return secrets.token_hex(16)
