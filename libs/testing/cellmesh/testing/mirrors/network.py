"""A network that can be cut: each member is reached through a proxy, which knows who calls.

The proxy finds the calling process by the local end of its connection, in /proc, so a link is a pair of names.
A cut link loses everything on its way and accepts nothing new, as a cable that was pulled: connections stay
open, and nothing comes through.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
PIECE_SIZE: Final = 64 * 1024
CONNECT_TIMEOUT_S: Final = 5.0
FIND_TRIES: Final = 20


@dataclass(slots=True)
class _Connection:
    source: str
    target: str
    ends: tuple[socket.socket, socket.socket]


@dataclass(slots=True)
class Network:
    """Proxies and the links between members. A context manager.

    Args:
        pid_of: The processes of the members, by name; asked at each connection.
    """

    pid_of: Callable[[], dict[str, int]]
    _cut: set[frozenset[str]] = field(default_factory=set)
    _delay_s: float = 0.0
    _targets: dict[str, int] = field(default_factory=dict)
    _listeners: list[socket.socket] = field(default_factory=list)
    _connections: list[_Connection] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add(self, name: str, port: int) -> int:
        """Put a proxy in front of a member's port; returns the port of the proxy."""
        listener = socket.create_server((HOST, 0))
        self._listeners.append(listener)
        self._targets[name] = port
        threading.Thread(target=self._accept, args=(name, listener), daemon=True).start()
        made: int = listener.getsockname()[1]
        return made

    def cut(self, name: str, others: Iterable[str]) -> None:
        """Cut the links between a member and others, in both directions."""
        with self._lock:
            self._cut |= {frozenset((name, other)) for other in others}

    def heal(self) -> None:
        """Mend all links. What was on its way on a cut one is lost: its connections are closed."""
        with self._lock:
            cut, self._cut = self._cut, set()
            broken = [found for found in self._connections if frozenset((found.source, found.target)) in cut]
        for connection in broken:
            _close(connection.ends)

    def delay(self, seconds: float) -> None:
        """Let each piece of data wait so long."""
        self._delay_s = seconds

    def close(self) -> None:
        """End all proxies and connections."""
        self._closed = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            _close(connection.ends)

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing comes through between two members."""
        return frozenset((source, target)) in self._cut

    def _accept(self, target: str, listener: socket.socket) -> None:
        while not self._closed:
            try:
                caller, address = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(target, caller, address[1]), daemon=True).start()

    def _serve(self, target: str, caller: socket.socket, port: int) -> None:
        source = self._who(port)
        while self.is_cut(source, target):
            # Not a word, as if the packets were lost.
            time.sleep(0.05)
            if self._closed:
                caller.close()
                return
        try:
            callee = socket.create_connection((HOST, self._targets[target]), CONNECT_TIMEOUT_S)
        except OSError:
            caller.close()
            return
        for end in (caller, callee):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setblocking(True)
        connection = _Connection(source, target, (caller, callee))
        with self._lock:
            self._connections.append(connection)
        try:
            self._carry(connection)
        finally:
            _close(connection.ends)
            with self._lock:
                self._connections.remove(connection)

    def _carry(self, connection: _Connection) -> None:
        first, second = connection.ends
        with selectors.DefaultSelector() as selector:
            selector.register(first, selectors.EVENT_READ, second)
            selector.register(second, selectors.EVENT_READ, first)
            while not self._closed:
                for key, _ in selector.select(0.2):
                    try:
                        data = key.fileobj.recv(PIECE_SIZE)  # type: ignore[union-attr]  # a socket
                    except OSError:
                        return
                    if not data:
                        return
                    if self.is_cut(connection.source, connection.target):
                        # Lost. From here on the connection is of no use to anyone.
                        self._wait_healed(connection)
                        return
                    if self._delay_s:
                        time.sleep(self._delay_s)
                    try:
                        key.data.sendall(data)
                    except OSError:
                        return

    def _wait_healed(self, connection: _Connection) -> None:
        while not self._closed and self.is_cut(connection.source, connection.target):
            time.sleep(0.05)

    def _who(self, port: int) -> str:
        """The member whose process has this local port; empty for anybody else."""
        for _ in range(FIND_TRIES):
            inode = _inode_of(port)
            if inode:
                for name, pid in self.pid_of().items():
                    if _has_socket(pid, inode):
                        return name
                return ""
            time.sleep(0.005)
        return ""


def _inode_of(port: int) -> str:
    wanted = f":{port:04X}"
    # gRPC calls IPv4 addresses through IPv6 sockets.
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[9] != "0":
                return fields[9]
    return ""


def _has_socket(pid: int, inode: str) -> bool:
    wanted = f"socket:[{inode}]"
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(entry.path) == wanted:
                    return True
            except OSError:
                continue
    except OSError:
        return False
    return False


def _close(ends: tuple[socket.socket, socket.socket]) -> None:
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()
