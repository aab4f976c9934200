"""Logging in: the credentials a client shows with each call."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, field

from cellmesh.client.urls import CellUrl, Scheme
from cellmesh.common.addresses import split_host_port
from cellmesh.common.errors import BadArg, BadUrl

AUTHORIZATION_KEY = "authorization"


@dataclass(frozen=True, slots=True)
class Login:
    """What a client shows of itself, beside its certificate.

    Attributes:
        header: The value of the authorization header; empty for none.
    """

    header: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: CellUrl, user: str | None, password: str | None, api_key: str | None) -> Login:
        """Make it of what the caller gave, or of the URL.

        Raises:
            BadArg: what was given does not go together.
            BadUrl: the credentials would travel to another machine in plain text.
        """
        if user is None and password is None and api_key is None and url.user:
            user, password = url.user, url.password
        if api_key is not None:
            if user is not None or password is not None:
                raise BadArg("an API key stands alone: it says whose it is", name="api_key")
            if not api_key.isascii() or not api_key.isprintable() or not api_key.strip():
                raise BadArg("this is no API key", name="api_key")
            made = cls(f"Bearer {api_key.strip()}")
        elif user is None and password is None:
            return cls()
        elif user is None or password is None:
            raise BadArg(
                "a user needs a password, and a password a user", name="user" if user is None else "password"
            )
        elif ":" in user:
            raise BadArg("the name of a user has no colon", name="user", valu=user)
        else:
            made = cls("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
        if url.scheme is Scheme.GRPC and not _is_loopback(url.address):
            raise BadUrl(f"credentials would travel to {url} in plain text: use grpcs://", url=str(url))
        return made

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each call."""
        return ((AUTHORIZATION_KEY, self.header),) if self.header else ()


def _is_loopback(address: str) -> bool:
    host, _ = split_host_port(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
