"""The name of a cell or user in certificates.

A certificate carries its owner as one URI (SPIFFE form, so that other software can read it):

    spiffe://<network>/cell/<number>.<service>      spiffe://demo/cell/00.cortex
    spiffe://<network>/user/<name>                  spiffe://demo/user/alice

A cell's certificate also carries DNS names, against which TLS clients check whom they reached: the
instance "00.cortex.demo", its service "cortex.demo" and "cell.demo", which says no more than "some cell of
this network". A user's certificate carries none, so it can serve nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cellmesh.common.errors import BadName

SCHEME: Final = "spiffe://"
LABEL_SIZE_MAX: Final = 63
ADMIN_USERS: Final = frozenset({"root"})

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]{2,4}")
_USER = re.compile(r"[a-z0-9_][a-z0-9_.@+-]*")


@dataclass(frozen=True, slots=True)
class CellIdentity:
    """One instance of a service in a network.

    Raises:
        BadName: a part is not as names must be (on construction).
    """

    number: str
    service: str
    network: str

    def __post_init__(self) -> None:
        if not _NUMBER.fullmatch(self.number):
            raise BadName(f"{self.number!r} is no instance number: two to four digits", name=self.number)
        check_label(self.service, "service")
        check_label(self.network, "network")

    @property
    def name(self) -> str:
        """The instance's name, such as "00.cortex.demo"."""
        return f"{self.number}.{self.service}.{self.network}"

    @property
    def service_name(self) -> str:
        """The name of its service, such as "cortex.demo"."""
        return f"{self.service}.{self.network}"

    @property
    def uri(self) -> str:
        """The URI in its certificate."""
        return f"{SCHEME}{self.network}/cell/{self.number}.{self.service}"

    @property
    def dns_names(self) -> tuple[str, ...]:
        """The DNS names in its certificate."""
        return (self.name, self.service_name, any_cell_name(self.network))

    @classmethod
    def parse(cls, name: str) -> CellIdentity:
        """Read "00.cortex.demo". Raises BadName."""
        parts = name.split(".")
        if len(parts) != 3:
            raise BadName(f"{name!r} is no instance name such as 00.cortex.demo", name=name)
        return cls(*parts)


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """One user of a network.

    Raises:
        BadName: a part is not as names must be (on construction).
    """

    user: str
    network: str

    def __post_init__(self) -> None:
        if len(self.user) > LABEL_SIZE_MAX or not _USER.fullmatch(self.user):
            raise BadName(
                f"{self.user!r} is no user name: lower-case letters, digits and _ . @ + -", name=self.user
            )
        check_label(self.network, "network")

    @property
    def name(self) -> str:
        """The user's name in the mesh, such as "alice@demo"."""
        return f"{self.user}@{self.network}"

    @property
    def uri(self) -> str:
        """The URI in the certificate."""
        return f"{SCHEME}{self.network}/user/{self.user}"

    @property
    def dns_names(self) -> tuple[str, ...]:
        """None: a user serves nobody."""
        return ()

    @property
    def admin(self) -> bool:
        """Whether the user may do everything."""
        return self.user in ADMIN_USERS

    @classmethod
    def parse(cls, name: str) -> UserIdentity:
        """Read "alice@demo". Raises BadName."""
        user, at, network = name.rpartition("@")
        if not at:
            raise BadName(f"{name!r} is no user name such as alice@demo", name=name)
        return cls(user, network)


Identity = CellIdentity | UserIdentity


def check_label(text: str, what: str) -> None:
    """Raise BadName unless the text can be a service or network: a DNS label in lower case."""
    if len(text) > LABEL_SIZE_MAX or not _LABEL.fullmatch(text):
        raise BadName(f"{text!r} is no {what} name: lower-case letters, digits and inner hyphens", name=text)


def any_cell_name(network: str) -> str:
    """The DNS name that every cell of a network carries."""
    return f"cell.{network}"


def registry_name(network: str) -> str:
    """The DNS name by which clients know the registry of a network."""
    return f"aha.{network}"


def parse_name(name: str) -> Identity:
    """Read "00.cortex.demo" or "alice@demo". Raises BadName."""
    return UserIdentity.parse(name) if "@" in name else CellIdentity.parse(name)


def parse_identity(uri: str) -> Identity:
    """Read the URI of a certificate.

    Raises:
        BadName: the URI is not one of ours.
    """
    if uri.startswith(SCHEME):
        match uri[len(SCHEME) :].split("/"):
            case [network, "cell", instance]:
                number, dot, service = instance.partition(".")
                if dot:
                    return CellIdentity(number, service, network)
            case [network, "user", user]:
                return UserIdentity(user, network)
    raise BadName(f"{uri!r} names no cell or user", name=uri)


def identity_of_names(names: Iterable[bytes | str]) -> Identity | None:
    """Find the one identity among a verified peer's subject alternative names, None when there is none.

    Two identities in one certificate are none: no authority of ours issues that.
    """
    found: set[Identity] = set()
    for name in names:
        text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        if text.startswith(SCHEME):
            try:
                found.add(parse_identity(text))
            except BadName:
                continue
    return found.pop() if len(found) == 1 else None
