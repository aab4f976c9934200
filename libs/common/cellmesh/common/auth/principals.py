"""Users and roles.

Two exist in every cell, with identifiers that are the same everywhere: the user `root`, who may do everything
and cannot be locked, renamed or removed, and the role `all`, which every user has. Nothing is stored for
them until something about them is changed.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from cellmesh.common.auth.context import ROOT_ID, ROOT_USER
from cellmesh.common.auth.rules import Rule
from cellmesh.common.errors import BadArg, BadName

NAME_SIZE_MAX: Final = 128
EMAIL_SIZE_MAX: Final = 254
ROLE_COUNT_MAX: Final = 256
"""Most roles of one user."""

ALL_NAME: Final = "all"
ALL_ID: Final = "0" * 31 + "2"

_IDENTIFIER = re.compile(r"[0-9a-f]{32}")
_EMAIL = re.compile(r"[^\s@<>\"]+@[^\s@<>\"]+")


@dataclass(frozen=True, slots=True)
class User:
    """One user.

    Attributes:
        user_id: 32 hexadecimal digits.
        name: Unique in the cell.
        email: Unique in the cell, or empty.
        admin: Whether it may do everything.
        locked: Whether it may do nothing for now.
        archived: Whether it is kept for the record only; it may do nothing.
        role_ids: Its roles, in the order in which their rules are asked.
        rules: Its rules.
        create_time_us: When it was made, in microseconds since 1970; 0 for root.
    """

    user_id: str
    name: str
    email: str = ""
    admin: bool = False
    locked: bool = False
    archived: bool = False
    role_ids: tuple[str, ...] = (ALL_ID,)
    rules: tuple[Rule, ...] = ()
    create_time_us: int = 0

    @property
    def is_root(self) -> bool:
        """Whether this is root."""
        return self.user_id == ROOT_ID

    @property
    def active(self) -> bool:
        """Whether it may do anything at all."""
        return not (self.locked or self.archived)


@dataclass(frozen=True, slots=True)
class Role:
    """Rules that users share.

    Attributes:
        role_id: 32 hexadecimal digits.
        name: Unique in the cell.
        rules: Its rules.
        create_time_us: When it was made, in microseconds since 1970; 0 for `all`.
    """

    role_id: str
    name: str
    rules: tuple[Rule, ...] = ()
    create_time_us: int = 0


ROOT: Final = User(ROOT_ID, ROOT_USER, admin=True)
ALL: Final = Role(ALL_ID, ALL_NAME)


def is_identifier(text: str) -> bool:
    """Whether this looks like the identifier of a user, role or key."""
    return _IDENTIFIER.fullmatch(text) is not None


def check_name(name: str) -> str:
    """Return the name of a user or role as it is kept.

    Raises:
        BadName: it is empty, too long, looks like an identifier, begins or ends with a space, or has a colon
            (which ends the name in HTTP's Basic form), a slash or a control character in it.
    """
    name = unicodedata.normalize("NFC", name)
    sound = 0 < len(name) <= NAME_SIZE_MAX and name == name.strip() and not is_identifier(name)
    if not sound or any(char in ":/" or unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in name):
        raise BadName(
            f"{name[:NAME_SIZE_MAX]!r} cannot be the name of a user or role: 1 to {NAME_SIZE_MAX} characters "
            "without : / and control characters",
            name=name[:NAME_SIZE_MAX],
        )
    return name


def check_email(email: str) -> str:
    """Return an email as it is kept; empty is none. Raises BadArg."""
    if email and (len(email) > EMAIL_SIZE_MAX or not _EMAIL.fullmatch(email)):
        raise BadArg(f"{email[:EMAIL_SIZE_MAX]!r} is no email", name="email", valu=email[:EMAIL_SIZE_MAX])
    return email
