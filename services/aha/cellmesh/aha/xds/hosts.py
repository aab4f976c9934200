"""IP addresses of host names: clients of the control plane take endpoints by IP address alone."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from typing import Final

from cellmesh.common.telemetry.logs import get_logger

_log = get_logger(__name__)

REFRESH_S: Final = 30.0
HOST_COUNT_MAX: Final = 4096


class Hosts:
    """Looks names up in the background and answers from memory. Used in the event loop.

    Args:
        on_change: Called when an address was found, or is another one now.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._found: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def ip_of(self, host: str) -> str:
        """The IP address of a host; empty while it is not known."""
        if host in self._found:
            return self._found[host]
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            if host not in self._tasks and len(self._tasks) < HOST_COUNT_MAX:
                self._tasks[host] = asyncio.create_task(self._follow(host), name=f"host-{host}")
            return ""

    def keep(self, hosts: set[str]) -> None:
        """Look no other names up any more."""
        for host in self._tasks.keys() - hosts:
            self._tasks.pop(host).cancel()
            self._found.pop(host, None)

    async def stop(self) -> None:
        """End all look-ups."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _follow(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except OSError as error:
                # What was known before stays: the name may be away for a moment only.
                _log.warning("host_not_found", host=host, error=str(error))
            else:
                # IPv4 first, as a cell that listens there alone is common.
                address = str(min(found, key=lambda item: item[0] != socket.AF_INET)[4][0])
                if self._found.get(host) != address:
                    self._found[host] = address
                    self._on_change()
            await asyncio.sleep(REFRESH_S)
