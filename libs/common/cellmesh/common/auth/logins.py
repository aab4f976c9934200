"""Who a caller is among the users of the cell: by certificate, password or API key.

    authorization: Basic BASE64(NAME:PASSWORD)
    authorization: Bearer API-KEY

Such a header decides alone who calls, whatever certificate is shown beside it, and a wrong one ends the call. It counts
on TLS, on the unix socket, and in plain text only from this machine itself.

A password that was right is good for some seconds more without another Argon2id, unless the user or the password
changes. What is kept for that is a keyed hash of the header, in memory.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cellmesh.common.auth.behalf import caller_named, user_id_of
from cellmesh.common.auth.certificates import CertificateRule, user_name_of
from cellmesh.common.auth.context import LOCAL_ROOT, Call, Caller, CallerKind
from cellmesh.common.auth.passwords import Passwords, wrong_login
from cellmesh.common.auth.principals import User
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.errors import AuthDeny, CellError, LimitExceeded, NoSuchUser, Unauthenticated
from cellmesh.common.tls.identity import UserIdentity

if TYPE_CHECKING:
    from cellmesh.common.auth.denials import Denials
    from cellmesh.common.rpc.workers import Workers

REMEMBER_S: Final = 10.0
REMEMBER_COUNT_MAX: Final = 1024
HEADER_SIZE_MAX: Final = 4096
CHECKS_AT_ONCE: Final = 2
"""Passwords checked at the same time, each with 19 MiB and a processor of its own."""
CHECKS_WAITING_MAX: Final = 100

_LOCAL_PEERS: Final = (
    "unix:",
    "ipv4:127.",
    "ipv6:[::1]",
    "ipv6:%5B::1%5D",
    "ipv6:[::ffff:127.",
    "ipv6:%5B::ffff:127.",
)


@dataclass(frozen=True, slots=True)
class _Remembered:
    user_id: str
    password_hash: str
    until_s: float


class Logins:
    """Finds the user that a caller is. Used in the event loop.

    Args:
        store: The users.
        passwords: Their credentials.
        denials: Where refused calls are noted.
        workers: Threads for Argon2id.
        anonymous: Name of the user that strangers count as; empty for none.
        certificate_rules: Which user a certificate is for.
        admit_unknown: Whether who has a certificate of the network but is no user of the cell is a member all the
            same, without rights of a user.
        insecure: Whether TCP is in plain text.
    """

    def __init__(
        self,
        store: AuthStore,
        passwords: Passwords,
        denials: Denials,
        workers: Workers,
        *,
        anonymous: str = "",
        certificate_rules: Sequence[CertificateRule] = (),
        admit_unknown: bool = False,
        insecure: bool = False,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._denials = denials
        self._workers = workers
        self._anonymous = anonymous
        self._certificate_rules = certificate_rules
        self._admit_unknown = admit_unknown
        self._insecure = insecure
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._checks = asyncio.Semaphore(CHECKS_AT_ONCE)
        self._waiting = 0

    def user_of(self, caller: Caller) -> Caller:
        """The caller with the user of the cell that its certificate, or being a stranger, makes it."""
        if caller.kind is CallerKind.USER and isinstance(caller.identity, UserIdentity):
            return self._user_of_certificate(caller, caller.identity)
        if caller.kind is CallerKind.ANONYMOUS and self._anonymous:
            user = self._store.policy.find_user(self._anonymous)
            if user is not None and user.active and not user.admin:
                return Caller(user.name, CallerKind.USER, user_id=user.user_id)
        return caller

    def named(self, name: str) -> Caller:
        """Who is meant by the name that a follower gives of its caller. Raises Unauthenticated."""
        user_id = user_id_of(name)
        if not user_id:
            caller = caller_named(name)
            return caller if caller is LOCAL_ROOT else self.user_of(caller)
        user = self._store.policy.users.get(user_id)
        if user is None:
            raise Unauthenticated("the user on whose behalf the call is has been deleted")
        if not user.active:
            raise AuthDeny(f"user {user.name} is locked", username=user.name)
        return _caller(user)

    async def login(self, header: str | bytes, peer: str) -> Caller:
        """Who the authorization header says.

        Raises:
            Unauthenticated: it is malformed, wrong, or came in plain text from another machine.
            AuthDeny: the user of an API key is locked.
            LimitExceeded: too many passwords are being checked.
        """
        if self._insecure and not peer.startswith(_LOCAL_PEERS):
            raise Unauthenticated(
                "credentials are not taken in plain text from another machine",
                hint="serve with TLS, and log in with a grpcs:// URL",
            )
        if not isinstance(header, str) or len(header) > HEADER_SIZE_MAX:
            raise Unauthenticated("the authorization header cannot be read")
        scheme, _, rest = header.strip().partition(" ")
        match scheme.lower():
            case "bearer":
                user, _ = self._passwords.prove_by_key(rest.strip())
                return _caller(user)
            case "basic":
                return await self._by_password(rest.strip())
            case _:
                raise Unauthenticated("the authorization header is neither Basic nor Bearer")

    def check_rules(
        self, caller: Caller, path: tuple[str, ...], method: str, *, needed: bool = False
    ) -> None:
        """Refuse a member whom a rule denies a method, or a user whom none allows it where one is needed.

        Raises:
            AuthDeny: it is refused.
        """
        if caller.refusal:
            raise AuthDeny(caller.refusal, username=caller.name)
        if caller.kind is not CallerKind.USER or caller.admin or not path:
            return
        # A user that AHA admits without keeping it has no rules.
        decision = self._store.policy.decide(caller.user_id, path)
        allowed = decision.allowed if caller.user_id else None
        if allowed is False or (needed and not allowed):
            raise AuthDeny(
                f"{caller.name} may not call {method}: {decision.reason}",
                perm=".".join(path),
                username=caller.name,
                hint="" if allowed is False else f"an administrator allows it with a rule {'.'.join(path)}",
            )

    def note_denial(self, call: Call, error: CellError) -> None:
        """Note in the audit log that a call was refused."""
        self._denials.note(
            actor=call.caller.name or str(error.get("username") or ""),
            method=call.method,
            reason=f"{error.name}: {error.message}",
            peer=call.peer,
            request_id=call.request_id,
        )

    def _user_of_certificate(self, caller: Caller, identity: UserIdentity) -> Caller:
        policy = self._store.policy
        name = user_name_of(identity, self._certificate_rules)
        if not name:
            return replace(
                caller,
                admin=False,
                refusal=f"{caller.name} has a certificate that is for no user of this cell, by its settings",
            )
        user = policy.users.get(policy.user_names.get(name, ""))
        if user is None:
            if self._admit_unknown and name == identity.user:
                return caller
            return replace(
                caller,
                admin=False,
                refusal=f"{caller.name} has a certificate of the network and is no user of this cell: an "
                f"administrator adds it with `cellmesh auth user add {name}`",
            )
        if not user.active:
            state = "archived" if user.archived else "locked"
            return replace(caller, admin=False, user_id=user.user_id, refusal=f"user {user.name} is {state}")
        return replace(caller, admin=user.admin, user_id=user.user_id)

    async def _by_password(self, encoded: str) -> Caller:
        try:
            decoded = base64.b64decode(encoded, validate=True)
            name, colon, password = decoded.decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Unauthenticated("the authorization header is no Basic one") from None
        if not colon:
            raise Unauthenticated("the authorization header is no Basic one")
        digest = hashlib.blake2b(decoded, key=self._key, digest_size=32).digest()
        user = self._recall(digest)
        if user is not None:
            return _caller(user)
        if self._waiting >= CHECKS_WAITING_MAX:
            raise LimitExceeded(
                "too many passwords are being checked just now",
                limit=CHECKS_WAITING_MAX,
                hint="try again later",
            )
        self._waiting += 1
        try:
            async with self._checks:
                # Others with the same header may have been before us.
                user = self._recall(digest)
                if user is not None:
                    return _caller(user)
                proved, password_hash = await self._workers.run(self._passwords.prove, name, password)
        except NoSuchUser:
            # It was deleted meanwhile.
            raise wrong_login(name) from None
        finally:
            self._waiting -= 1
        if password_hash:
            self._remember(digest, proved, password_hash)
        return _caller(proved, one_time=not password_hash)

    def _recall(self, digest: bytes) -> User | None:
        found = self._remembered.get(digest)
        if found is None:
            return None
        user = self._store.policy.users.get(found.user_id)
        good = (
            user is not None
            and user.active
            and found.until_s > self._store.clock.monotonic()
            and self._store.get_credentials(found.user_id).password_hash == found.password_hash
        )
        if not good:
            self._remembered.pop(digest, None)
            return None
        return user

    def _remember(self, digest: bytes, user: User, password_hash: str) -> None:
        until_s = self._store.clock.monotonic() + REMEMBER_S
        self._remembered[digest] = _Remembered(user.user_id, password_hash, until_s)
        while len(self._remembered) > REMEMBER_COUNT_MAX:
            self._remembered.popitem(last=False)


def _caller(user: User, *, one_time: bool = False) -> Caller:
    return Caller(user.name, CallerKind.USER, admin=user.admin, user_id=user.user_id, one_time=one_time)
