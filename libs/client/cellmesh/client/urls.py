"""URLs of cells.

grpc://HOST:PORT            plain text; an insecure cell, for trials
grpcs://HOST:PORT           mutual TLS with an identity folder; any cell of the network may answer
grpcs://NAME@HOST:PORT      likewise, and only the cell NAME ("00.cortex.demo", "cortex.demo") may answer
grpcs://USER:PASSWORD@HOST:PORT
                            TLS, with or without an identity of one's own, as a user of the cell; also with grpc://
                            on this machine. What is special in a URL is written as %40 and the like
unix://PATH                 the unix socket of a cell on this machine, or the cell's folder
aha://NAME                  the cell that AHA knows as NAME: "cortex", "cortex.demo", "00.cortex.demo"; or the members of
                            the pool NAME, in turn
cell://DIR?KIND             the cell in the folder DIR, started inside this process and stopped with the client; KIND
                            ("axon") may be left out when the folder has been used before

A name without a scheme is an alias, see `cellmesh.client.aliases`.
"""

from __future__ import annotations

import enum
import os.path
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from cellmesh.common.addresses import join_host_port, split_host_port
from cellmesh.common.errors import BadUrl

SOCKET_FILE = "cell.sock"

_KIND = re.compile(r"[a-z][a-z0-9_]*")


class Scheme(enum.Enum):
    """How a cell is reached."""

    GRPC = "grpc"
    GRPCS = "grpcs"
    UNIX = "unix"
    AHA = "aha"
    CELL = "cell"


@dataclass(frozen=True, slots=True)
class CellUrl:
    """A URL, taken apart.

    Attributes:
        scheme: How the cell is reached.
        address: host:port, the path of a unix socket, or the folder of a cell of this process; empty for aha.
        name: The cell's name, where the URL tells it.
        user: The user to log in as, where the URL tells it.
        password: Its password; never shown.
        kind: The kind of the cell that is started in this process, where the URL tells it.
    """

    scheme: Scheme
    address: str = ""
    name: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    kind: str = ""

    def __str__(self) -> str:
        match self.scheme:
            case Scheme.AHA:
                return f"aha://{self.name}"
            case Scheme.GRPCS if self.name:
                return f"grpcs://{self.name}@{self.address}"
            case Scheme.CELL if self.kind:
                return f"cell://{self.address}?{self.kind}"
            case _:
                who = f"{self.user}@" if self.user else ""
                return f"{self.scheme.value}://{who}{self.address}"

    @classmethod
    def parse(cls, text: str) -> CellUrl:
        """Read a URL. Raises BadUrl, which tells what would be right and never a password."""
        head, separator, rest = text.partition("://")
        text, user, password = _without_password(text)
        try:
            scheme = Scheme(head.lower())
        except ValueError:
            scheme = None
        if not separator or scheme is None:
            known = ", ".join(f"{kind.value}://" for kind in Scheme)
            raise BadUrl(f"{text!r} is no URL of a cell: it starts with one of {known}", url=text)
        match scheme:
            case Scheme.UNIX:
                if not rest:
                    raise BadUrl(f"{text!r} names no socket: unix:///DIR/cell.sock", url=text)
                path = Path(rest).expanduser().absolute()
                # `os.path` says no to what cannot be a path at all; the connection will tell.
                return cls(scheme, str(path / SOCKET_FILE if os.path.isdir(path) else path))
            case Scheme.CELL:
                path_text, _, kind = rest.partition("?")
                if not path_text or (kind and not _KIND.fullmatch(kind)):
                    raise BadUrl(f"{text!r} names no cell: cell://DIR?axon", url=text)
                return cls(scheme, str(Path(path_text).expanduser().absolute()), kind=kind)
            case Scheme.AHA:
                name = rest.rstrip("/")
                if not name or any(char in name for char in "/:@?# "):
                    raise BadUrl(f"{text!r} names no service: aha://cortex", url=text)
                return cls(scheme, "", name)
            case Scheme.GRPC | Scheme.GRPCS:
                name, at, address = rest.rstrip("/").rpartition("@")
                if user:
                    return cls(scheme, _host_port(text, address), "", user, password)
                if at and (scheme is Scheme.GRPC or not name):
                    raise BadUrl(f"{text!r}: a name before @ goes with grpcs:// only", url=text)
                return cls(scheme, _host_port(text, address), name)


def _without_password(text: str) -> tuple[str, str, str]:
    """The URL as it may be shown, its user and its password; these are empty unless it has both."""
    head, separator, rest = text.partition("://")
    before, at, address = rest.rpartition("@")
    user, colon, password = before.partition(":")
    if not (separator and at and colon):
        return text, "", ""
    return f"{head}://{user}:***@{address}", unquote(user), unquote(password)


def _host_port(text: str, address: str) -> str:
    try:
        host, port = split_host_port(address)
    except ValueError as error:
        raise BadUrl(f"{text!r} cannot be used: {error}", url=text) from None
    if port == 0:
        raise BadUrl(f"{text!r} has no port that can be called", url=text)
    return join_host_port(host, port)
