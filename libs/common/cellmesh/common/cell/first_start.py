"""First-start settings: users, roles and key-values that a new cell has before it serves anyone.

    [[roles]]
    name = "hunters"
    rules = ["node.add", "!node.del"]

    [[users]]
    name = "alice"
    email = "alice@example.com"
    roles = ["hunters"]
    password_env = "ALICE_PASSWORD"      # or password_file = "alice.txt", or password_hash = "$argon2id$..."

    [[key_values]]
    path = ["app", "colour"]
    value = "red"

The file is applied in one transaction, as logged changes, while the cell's storage holds nothing of its own. So it is
applied whole or not at all, a cell that was killed applies it at the next start, and never again after that. The role
"all" and the user "root" are there already: naming them changes them.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.auth.principals import ALL_NAME
from cellmesh.common.auth.records import Credentials
from cellmesh.common.auth.rules import Rule
from cellmesh.common.auth.schema import AUTH
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.errors import BadConfValu, CellError
from cellmesh.common.keyvalues.schema import KEYVALUES
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.values import to_value

if TYPE_CHECKING:
    from cellmesh.api.common.v1 import value_pb2
    from cellmesh.common.auth.passwords import Passwords
    from cellmesh.common.auth.store import AuthStore
    from cellmesh.common.keyvalues import KeyValues
    from cellmesh.common.storage import Slab, SubDb, WriteTxn

FILE_NAME: Final = "first-start.toml"
FILE_SIZE_MAX: Final = 4 << 20

ROLE_KEYS: Final = ("name", "rules")
USER_KEYS: Final = (
    "name",
    "email",
    "roles",
    "rules",
    "admin",
    "locked",
    "password_env",
    "password_file",
    "password_hash",
)
KEY_VALUE_KEYS: Final = ("path", "value")
PASSWORD_KEYS: Final = ("password_env", "password_file", "password_hash")

_HASH = re.compile(
    r"\$argon2id\$v=19\$m=(?P<m>\d{1,7}),t=(?P<t>\d{1,2}),p=(?P<p>\d{1,2})"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}"
)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NewRole:
    """A role of the file."""

    place: str
    name: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user of the file; `password` is in plain text, and only one of it and `password_hash` is set."""

    place: str
    name: str
    email: str
    roles: tuple[str, ...]
    rules: tuple[Rule, ...]
    admin: bool | None
    locked: bool
    password: str = field(repr=False)
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewKeyValue:
    """A key-value of the file."""

    place: str
    path: tuple[str, ...]
    value: value_pb2.Value


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What a file says.

    Attributes:
        source: The file, for messages.
    """

    source: Path
    roles: tuple[NewRole, ...]
    users: tuple[NewUser, ...]
    key_values: tuple[NewKeyValue, ...]


def find_file(given: Path | None, folder: Path) -> Path | None:
    """The file to read: the one given, else the one in the cell's folder, if it is there."""
    if given is not None:
        return given.expanduser()
    found = folder / FILE_NAME
    return found if found.exists() else None


def read_first_start(path: Path, environ: Mapping[str, str] | None = None) -> FirstStart:
    """Read a file. Raises BadConfValu, which names the entry at fault."""
    environ = os.environ if environ is None else environ
    try:
        if path.stat().st_size > FILE_SIZE_MAX:
            raise _bad(path, "", f"it has more than {FILE_SIZE_MAX} bytes")
        told = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(path, "", f"it cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise _bad(path, "", f"it is not TOML: {error}") from error
    reader = _Reader(path, environ)
    reader.check_names(told, "", ("roles", "users", "key_values"))
    return FirstStart(
        path,
        tuple(reader.each(told, "roles", ROLE_KEYS, reader.role)),
        tuple(reader.each(told, "users", USER_KEYS, reader.user)),
        tuple(reader.each(told, "key_values", KEY_VALUE_KEYS, reader.key_value)),
    )


def is_new(slab: Slab, databases: Collection[SubDb]) -> bool:
    """Whether a storage holds nothing yet but what every storage is born with.

    Args:
        slab: The storage.
        databases: Those of the kind of cell.
    """
    own = {*databases, AUTH, KEYVALUES} - set(LOG_DATABASES)
    with slab.view() as txn:
        return all(txn.entries(db) == 0 for db in own)


def apply_first_start(
    settings: FirstStart, slab: Slab, auth: AuthStore, passwords: Passwords, keyvalues: KeyValues
) -> None:
    """Write everything in one transaction. Takes some 50 ms for each password that is not a hash.

    Raises:
        BadConfValu: an entry cannot be used. Nothing was written.
    """
    with auth.changing(), auth.together() as writes:
        for role in settings.roles:
            with _at(settings.source, role.place):
                made = auth.get_role(ALL_NAME) if role.name == ALL_NAME else auth.add_role(role.name)
                auth.set_rules(made, role.rules)
        for user in settings.users:
            with _at(settings.source, user.place):
                _apply_user(user, auth, passwords)
        load: Callable[[WriteTxn], object] | None = None
        if settings.key_values:
            for item in settings.key_values:
                with _at(settings.source, item.place):
                    keyvalues.check(item.path, item.value)
            fill = keyvalues.loading([(item.path, item.value) for item in settings.key_values])
            append = keyvalues.begin()
            load = lambda txn: fill(txn, append, [])  # noqa: E731

        def op(txn: WriteTxn) -> None:
            for write in writes:
                write(txn)
            if load is not None:
                load(txn)

        # Past the gate of a mirror: nobody is told of it yet.
        slab.write(op, privileged=True)
    _log.info(
        "first_start_applied",
        file=str(settings.source),
        roles=len(settings.roles),
        users=len(settings.users),
        key_values=len(settings.key_values),
    )


def _apply_user(user: NewUser, auth: AuthStore, passwords: Passwords) -> None:
    there = auth.policy.find_user(user.name)
    if there is not None and there.is_root:
        auth.update_user(user.name, email=user.email or None, admin=user.admin, locked=user.locked or None)
    else:
        auth.add_user(user.name, user.email, admin=bool(user.admin))
    for role in user.roles:
        auth.grant(user.name, role)
    if user.rules:
        auth.set_rules(auth.get_user(user.name), user.rules)
    if user.password:
        passwords.set_password(user.name, user.password)
    elif user.password_hash:
        found = auth.get_credentials(auth.get_user(user.name).user_id)
        made: Credentials = replace(found, password_hash=user.password_hash)
        auth.put(made, detail="password set")
    if user.locked:
        auth.update_user(user.name, locked=True)


class _Reader:
    """Checks entries, and says where one is wrong."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ

    def each(
        self,
        told: Mapping[str, Any],
        kind: str,
        known: Sequence[str],
        read: Callable[[str, Mapping[str, Any]], Any],
    ) -> Iterator[Any]:
        entries = told.get(kind, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise _bad(self._path, kind, f"write each as [[{kind}]]")
        for number, entry in enumerate(entries, 1):
            label = entry.get("name") or entry.get("path")
            place = f"{kind} {number}" + (f" ({label})" if isinstance(label, str | list) else "")
            self.check_names(entry, place, known)
            yield read(place, entry)

    def check_names(self, entry: Mapping[str, Any], place: str, known: Sequence[str]) -> None:
        for name in entry:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                raise _bad(self._path, place, f"there is no {name!r}", hint=hint)

    def role(self, place: str, entry: Mapping[str, Any]) -> NewRole:
        return NewRole(place, self._text(place, entry, "name", needed=True), self._rules(place, entry))

    def user(self, place: str, entry: Mapping[str, Any]) -> NewUser:
        password, password_hash = self._password(place, entry)
        return NewUser(
            place,
            self._text(place, entry, "name", needed=True),
            self._text(place, entry, "email"),
            self._texts(place, entry, "roles"),
            self._rules(place, entry),
            self._flag(place, entry, "admin"),
            bool(self._flag(place, entry, "locked")),
            password,
            password_hash,
        )

    def key_value(self, place: str, entry: Mapping[str, Any]) -> NewKeyValue:
        if "value" not in entry:
            raise _bad(self._path, place, "it has no value")
        with _at(self._path, place):
            return NewKeyValue(place, self._texts(place, entry, "path"), to_value(entry["value"]))

    def _password(self, place: str, entry: Mapping[str, Any]) -> tuple[str, str]:
        given = [name for name in PASSWORD_KEYS if name in entry]
        if len(given) > 1:
            raise _bad(self._path, place, f"it has {' and '.join(given)}: one is enough")
        if not given:
            return "", ""
        (name,) = given
        text = self._text(place, entry, name, needed=True)
        if name == "password_hash":
            found = _HASH.fullmatch(text)
            if found is None or int(found["m"]) > 1 << 20 or not int(found["p"]):
                raise _bad(
                    self._path,
                    place,
                    "password_hash is no Argon2id hash in PHC form, $argon2id$v=19$m=...,t=...,p=...$salt$hash, "
                    "of 1 GiB at most",
                )
            return "", text
        if name == "password_env":
            password = self._environ.get(text, "")
            if not password:
                raise _bad(self._path, place, f"the environment has no {text}")
            return password, ""
        try:
            password = (self._path.parent / text).expanduser().read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise _bad(self._path, place, f"password_file cannot be read: {error}") from error
        if not password:
            raise _bad(self._path, place, f"the file {text} is empty")
        return password, ""

    def _rules(self, place: str, entry: Mapping[str, Any]) -> tuple[Rule, ...]:
        made = []
        for number, text in enumerate(self._texts(place, entry, "rules"), 1):
            with _at(self._path, f"{place}, rule {number}"):
                made.append(Rule.parse(text))
        return tuple(made)

    def _text(self, place: str, entry: Mapping[str, Any], name: str, *, needed: bool = False) -> str:
        found = entry.get(name, "")
        if not isinstance(found, str):
            raise _bad(self._path, place, f"{name} is no text")
        if needed and not found:
            raise _bad(self._path, place, f"it has no {name}")
        return found

    def _texts(self, place: str, entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
        found = entry.get(name, [])
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise _bad(self._path, place, f"{name} is no list of texts")
        return tuple(found)

    def _flag(self, place: str, entry: Mapping[str, Any], name: str) -> bool | None:
        found = entry.get(name)
        if found is not None and not isinstance(found, bool):
            raise _bad(self._path, place, f"{name} is true or false")
        return found


@contextmanager
def _at(path: Path, place: str) -> Iterator[None]:
    """Have errors say which entry they are about."""
    try:
        yield
    except BadConfValu:
        raise
    except CellError as error:
        raise _bad(path, place, error.message) from error


def _bad(path: Path, place: str, why: str, *, hint: str = "") -> BadConfValu:
    where = f"{path}: {place}" if place else str(path)
    fields = {"hint": hint} if hint else {}
    return BadConfValu(f"{where}: {why}", name="first_start", origin=str(path), **fields)
