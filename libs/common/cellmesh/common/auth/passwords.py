"""What users do with passwords and keys: set them, prove them, wear out their attempts.

All of it blocks: Argon2id on purpose, the rest for a commit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cellmesh.common.auth.credentials import (
    PasswordPolicy,
    hash_password,
    make_api_key,
    make_one_time_password,
    new_identifier,
    normalize_password,
    same,
    sha256,
    split_api_key,
    verify_password,
)
from cellmesh.common.auth.principals import User
from cellmesh.common.auth.records import API_KEY_NAME_SIZE_MAX, ApiKey, Credentials
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.errors import AuthDeny, BadArg, CellError, Unauthenticated
from cellmesh.common.telemetry.logs import get_logger

MICROS: Final = 1_000_000
ONE_TIME_LIFE_S_DEFAULT: Final = 24 * 3600.0
ONE_TIME_LIFE_S_MAX: Final = 7 * 24 * 3600.0
ROOT_PAUSE_US: Final = 60 * MICROS
"""root is not locked by wrong passwords, or anybody could lock it: it may try once a minute then. So may every user on
a follower, which cannot lock anybody."""

_log = get_logger(__name__)


class Passwords:
    """The credentials of the users in a store.

    A follower checks passwords by what it has from its leader. Wrong attempts count there in its memory alone, and a
    one-time password, which must be used up for all, is good at the leader only.

    Args:
        store: The users.
        policy: What passwords must be.

    Attributes:
        follows: Whether the instance follows another one now.
    """

    def __init__(self, store: AuthStore, policy: PasswordPolicy) -> None:
        self._store = store
        self.policy = policy
        self.follows: Callable[[], bool] = _never

    def set_password(self, name: str, password: str) -> None:
        """Set a user's password, or remove it if empty. Its wrong attempts and one-time password are forgotten.

        Raises:
            NoSuchUser: there is no such user.
            BadArg: the policy refuses the password; the message says why.
        """
        store = self._store
        password = normalize_password(password)
        user = store.get_user(name)
        hashed = ""
        if password:
            self.policy.check(password, user.name, user.email)
            self._check_history(store.get_credentials(user.user_id), password)
            hashed = hash_password(password, self.policy.cost)
        with store.changing():
            store.get_user(user.user_id)
            found = store.get_credentials(user.user_id)
            olds = (found.password_hash, *found.old_password_hashes) if found.password_hash else ()
            kept = (olds or found.old_password_hashes)[: max(self.policy.history_count - 1, 0)]
            made = Credentials(user.user_id, hashed, kept)
            store.put(made, detail="password set" if hashed else "password removed")

    def prove(self, name: str, password: str) -> tuple[User, str]:
        """Prove by a password who somebody is.

        Returns:
            The user, and the hash that the password fits; that is empty when it was the one-time password, which is
            used up by now.

        Raises:
            Unauthenticated: the user or password is wrong, or the user is locked; which, is not told.
            NotLeader: it is a one-time password, and this instance follows.
        """
        store = self._store
        try:
            password = normalize_password(password)
        except BadArg:
            raise wrong_login(name) from None
        user = store.policy.find_user(name) if name else None
        # A user is named by its name here: identifiers are no secret, and no name either.
        if user is None or user.name != name:
            verify_password(password, "", self.policy.cost)
            raise wrong_login(name)
        if self._use_one_time(user, password):
            return user, ""
        found = store.get_credentials(user.user_id)
        open_to_try = user.active and not self._must_pause(user, found)
        if not verify_password(password, found.password_hash if open_to_try else "", self.policy.cost):
            # Where nobody is locked nothing is counted, or guesses would fill the disk.
            if open_to_try and found.password_hash and self.policy.attempts_max:
                self._count_failure(user)
            raise wrong_login(name)
        with store.changing():
            # Others may have worn out the attempts, or changed the password, in the meantime.
            now = store.policy.users.get(user.user_id)
            fresh = store.get_credentials(user.user_id)
            if now is None or not now.active or fresh.password_hash != found.password_hash:
                raise wrong_login(name)
            if fresh.failed_attempt_count:
                if self._must_pause(now, fresh):
                    raise wrong_login(name)
                cleared = replace(fresh, failed_attempt_count=0, failed_time_us=0)
                self._put_quietly(cleared, "attempts forgotten")
        return now, self._hashed_anew(now, password, found.password_hash)

    def check_current(self, user: User, password: str) -> None:
        """Have a user show its present password, which counts as an attempt. Raises Unauthenticated."""
        self.prove(user.name, password)

    def prove_by_key(self, text: str) -> tuple[User, ApiKey]:
        """Prove by an API key who somebody is. Does not block.

        Raises:
            Unauthenticated: the key is no key, unknown, revoked or expired; which, is not told.
            AuthDeny: its user is locked or archived.
        """
        split = split_api_key(text)
        policy = self._store.policy
        key = policy.api_keys.get(split[0]) if split else None
        if split is None or key is None or not same(key.secret_sha256, split[1]):
            raise Unauthenticated("the API key is unknown, or it was revoked or has expired")
        user = policy.users.get(key.user_id)
        if user is None or key.expired(self._store.now_us):
            raise Unauthenticated("the API key is unknown, or it was revoked or has expired")
        if not user.active:
            raise AuthDeny(
                f"user {user.name} is {'archived' if user.archived else 'locked'}",
                user=user.user_id,
                username=user.name,
            )
        return user, key

    def make_one_time(self, name: str, life_s: float = ONE_TIME_LIFE_S_DEFAULT) -> tuple[str, int]:
        """Make a password for one call, in place of the one before.

        Returns:
            The password, and until when it is good, in microseconds since 1970.

        Raises:
            NoSuchUser, BadArg: no such user, or no such life time.
        """
        store = self._store
        if not 0 < life_s <= ONE_TIME_LIFE_S_MAX:
            raise BadArg(f"a one-time password lives up to {ONE_TIME_LIFE_S_MAX:.0f} s", name="life_time")
        password = make_one_time_password()
        with store.changing():
            user = store.get_user(name)
            expire_time_us = store.now_us + int(life_s * MICROS)
            made = replace(
                store.get_credentials(user.user_id),
                one_time_sha256=sha256(password),
                one_time_expire_time_us=expire_time_us,
            )
            store.put(made, detail="one-time password created")
        return password, expire_time_us

    def make_key(self, name: str, key_name: str, life_s: float | None = None) -> tuple[ApiKey, str]:
        """Make an API key; returns it and its text, which is not kept. Raises NoSuchUser, BadArg, LimitExceeded."""
        store = self._store
        if len(key_name) > API_KEY_NAME_SIZE_MAX or not (key_name == "" or key_name.isprintable()):
            raise BadArg(
                f"the name of a key has up to {API_KEY_NAME_SIZE_MAX} printable characters", name="name"
            )
        if life_s is not None and not 0 < life_s < 1e10:
            raise BadArg("the life time of a key is more than nothing", name="life_time")
        user = store.get_user(name)
        key_id = new_identifier()
        text, secret_sha256 = make_api_key(key_id)
        now_us = store.now_us
        expire_time_us = 0 if life_s is None else now_us + int(life_s * MICROS)
        made = ApiKey(key_id, user.user_id, key_name, secret_sha256, now_us, expire_time_us)
        return store.add_api_key(made), text

    def _check_history(self, found: Credentials, password: str) -> None:
        olds = (found.password_hash, *found.old_password_hashes)[: self.policy.history_count]
        if any(old and verify_password(password, old, self.policy.cost) for old in olds):
            raise BadArg(
                f"a password is none of the last {self.policy.history_count} that the user had",
                name="password",
            )

    def _hashed_anew(self, user: User, password: str, password_hash: str) -> str:
        """The hash of a password that was right, made at the cost of today's settings. Where it cannot be stored, or
        the password was changed meanwhile, the old one.
        """
        cost = self.policy.cost
        if cost.fits(password_hash) or self.follows():
            return password_hash
        fresh = hash_password(password, cost)
        with self._store.changing():
            found = self._store.get_credentials(user.user_id)
            if user.user_id not in self._store.policy.users or found.password_hash != password_hash:
                return password_hash
            try:
                self._store.put(replace(found, password_hash=fresh), detail="password hashed anew")
            except CellError as error:
                _log.warning("password_not_hashed_anew", user=user.name, error=str(error))
                # It may have been committed all the same, if only the acknowledgement failed.
                return self._store.get_credentials(user.user_id).password_hash
        return fresh

    def _use_one_time(self, user: User, password: str) -> bool:
        store = self._store
        with store.changing():
            found = store.get_credentials(user.user_id)
            now = store.policy.users.get(user.user_id)
            if now is None or not now.active or not found.one_time_sha256:
                return False
            if found.one_time_expire_time_us <= store.now_us:
                return False
            if not same(found.one_time_sha256, sha256(password)):
                return False
            # Durable before the call goes on: it must not be good again after a crash.
            used = replace(found, one_time_sha256=b"", one_time_expire_time_us=0)
            store.put(used, detail="one-time password used")
            return True

    def _must_pause(self, user: User, found: Credentials) -> bool:
        limit = self.policy.attempts_max
        if not limit or found.failed_attempt_count < limit:
            return False
        if user.is_root or self.follows():
            return self._store.now_us - found.failed_time_us < ROOT_PAUSE_US
        return True

    def _count_failure(self, user: User) -> None:
        store = self._store
        with store.changing():
            now = store.policy.users.get(user.user_id)
            if now is None:
                return
            found = store.get_credentials(user.user_id)
            count = found.failed_attempt_count + 1
            made = replace(found, failed_attempt_count=count, failed_time_us=store.now_us)
            self._put_quietly(made, f"wrong password, {count} in a row")
            if self.follows():
                return
            if count >= self.policy.attempts_max and not now.is_root and not now.locked:
                self._put_quietly(replace(now, locked=True), "locked after wrong passwords")
                _log.warning("user_locked", user=now.name, attempts=count)

    def _put_quietly(self, value: Credentials | User, detail: str) -> None:
        """Store what a login changes. Where nothing can be written it holds until the restart."""
        if self.follows():
            self._store.put_in_memory(value)
            return
        try:
            self._store.put(value, detail=detail)
        except CellError as error:
            _log.error("login_not_stored", error=str(error))
            self._store.put_in_memory(value)


def _never() -> bool:
    return False


def wrong_login(name: str) -> Unauthenticated:
    """What every wrong login gets, so that nothing is learnt from it."""
    return Unauthenticated(
        "the user or password is wrong, or the user is locked", username=name if len(name) <= 128 else ""
    )
