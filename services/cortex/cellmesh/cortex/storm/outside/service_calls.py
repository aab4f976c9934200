"""What queries need of the links to Storm services, and waiting for one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from cellmesh.common.errors import CellError

SERVICE_KEY: Final = "svciden"
"""The key under which a package, its modules' and its commands' settings name the service that they came with."""

POLL_S: Final = 0.05
"""How often a query that waits looks."""


class ServiceCaller(Protocol):
    """Calls methods of a service."""

    def call(self, method: str, arguments: Sequence[Any], named: Mapping[str, Any], user: str) -> Any:
        """Call a method that gives one value."""

    def stream(
        self, method: str, arguments: Sequence[Any], named: Mapping[str, Any], user: str
    ) -> Iterator[Any]:
        """Call a method that gives values one after the other."""


class Link(Protocol):
    """The way to one service."""

    is_ready: bool

    def client(self) -> ServiceCaller:
        """Return what calls it."""

    def describe(self) -> object:
        """Ask the service what it is; raises CellError when it is not there."""

    def streams(self, method: str) -> bool | None:
        """Whether a method gives values one after the other; None if there is no such method."""

    def wake(self) -> None:
        """Have the service asked soon."""


class Links(Protocol):
    """The ways to all services: the capability `service.links`."""

    @property
    def is_active(self) -> bool:
        """Whether services are asked all the time."""

    def link(self, iden: str) -> Link:
        """Return the way to a service."""

    def is_ready(self, iden: str) -> bool:
        """Whether a service was there when it was asked last."""

    def shown_url(self, url: str) -> str:
        """Return a URL without its password; raises BadUrl if no service can be there."""


def wait_for(links: Links, iden: str, timeout_s: float | None, pause: Callable[[float], None]) -> bool:
    """Wait for a service to be there; returns whether it is.

    Args:
        links: The ways to all services.
        iden: The service's iden.
        timeout_s: The longest wait; None for no end.
        pause: Waits for some seconds, and may raise to end it all.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        link = links.link(iden)
        if link.is_ready:
            return True
        if not links.is_active:
            # Nobody else asks it here: this cell does not lead.
            with suppress(CellError):
                link.describe()
                return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
        pause(POLL_S)
