"""A network of Linux network namespaces: each host has a cable of its own, which can be pulled, slowed down and put back.

The switch is a bridge in a namespace too, so nothing of it shows in the machine's own network: addresses and names of
interfaces may be the same in two networks at once. The names of the namespaces hold the process and a random part.
Everything goes with `close`, in any state.

A cable is pulled at the switch, so that a host keeps its addresses and routes and loses the carrier, as with a real one.
Hosts know one another's hardware addresses from the start: what is sent to one that is cut off is lost without a word,
and nobody is told by ARP that it cannot be reached.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

HOSTS_MAX: Final = 200
COMMAND_TIMEOUT_S: Final = 20.0
END_TIMEOUT_S: Final = 10.0
SWITCH_LINK: Final = "switch"
HOST_LINK: Final = "cable"


class Namespaces:
    """A switch and hosts. A context manager; not for several threads at once.

    Attributes:
        addresses: Of the hosts, by name.
    """

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self._prefix = f"cm{os.getpid()}{secrets.token_hex(3)}"
        self._switch = f"{self._prefix}switch"
        self._made: list[str] = []
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._make(self._switch)
            # No spanning tree: a cable that is put back carries at once.
            _ip("-n", self._switch, "link", "add", SWITCH_LINK, "type", "bridge", "stp_state", "0")
            _ip("-n", self._switch, "link", "set", SWITCH_LINK, "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, host: str) -> str:
        """Make a host and connect it; returns its address."""
        number = len(self.addresses) + 1
        assert number <= HOSTS_MAX, f"a network has at most {HOSTS_MAX} hosts"
        space, address = self._space(host), f"10.0.0.{number}"
        self._make(space)
        cable = _cable(number)
        _ip(
            *("-n", self._switch, "link", "add", cable, "type", "veth"),
            *("peer", "name", HOST_LINK, "address", _hardware(number), "netns", space),
        )
        _ip("-n", self._switch, "link", "set", cable, "master", SWITCH_LINK)
        _ip("-n", self._switch, "link", "set", cable, "up")
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", space, "address", "add", f"{address}/24", "dev", HOST_LINK)
        _ip("-n", space, "link", "set", HOST_LINK, "up")
        for other, (name, at) in enumerate(self.addresses.items(), 1):
            self._introduce(space, at, other)
            self._introduce(self._space(name), address, number)
        self.addresses[host] = address
        return address

    def start(
        self,
        host: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process on a host. It has the host's network, and files and unix sockets of the machine.

        Args:
            host: Where.
            command: The program and its arguments.
            log: Where what it prints is appended.
            environment: Added to that of this process.
        """
        with log.open("ab") as output:
            # `ip netns exec` becomes the program, so the process is that of the program itself.
            child = subprocess.Popen(
                ["ip", "netns", "exec", self._space(host), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._children.append(child)
        return child

    def cut(self, host: str) -> None:
        """Pull a host's cable."""
        _ip("-n", self._switch, "link", "set", self._cable_of(host), "down")

    def heal(self, hosts: Iterable[str] | None = None) -> None:
        """Put the cables of these hosts back, or all."""
        for host in self.addresses if hosts is None else hosts:
            _ip("-n", self._switch, "link", "set", self._cable_of(host), "up")

    def delay(self, host: str, delay_ms: float) -> None:
        """Let everything that a host sends take so much longer; 0 for no delay.

        Raises:
            RuntimeError: the kernel has no `netem`; see `can_delay`.
        """
        device = ("dev", HOST_LINK, "root")
        if delay_ms:
            _run(
                "tc", "-n", self._space(host), "qdisc", "replace", *device, "netem", "delay", f"{delay_ms}ms"
            )
        else:
            _run("tc", "-n", self._space(host), "qdisc", "delete", *device, check=False)

    def can_delay(self) -> bool:
        """Whether this kernel can delay packets."""
        probe = ("tc", "-n", self._switch, "qdisc", "replace", "dev", "lo", "root", "netem", "delay", "1ms")
        return _run(*probe, check=False) == ""

    def close(self) -> None:
        """End all processes, and remove everything. May be called again."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
        for child in self._children:
            child.wait(END_TIMEOUT_S)
        self._children.clear()
        # With a namespace go its interfaces, and with an interface the other end of its cable.
        for space in reversed(self._made):
            _run("ip", "netns", "delete", space, check=False)
        self._made.clear()
        self.addresses.clear()

    def _make(self, space: str) -> None:
        _ip("netns", "add", space)
        self._made.append(space)

    def _introduce(self, space: str, address: str, number: int) -> None:
        _ip(
            *("-n", space, "neighbour", "replace", address, "lladdr", _hardware(number)),
            *("dev", HOST_LINK, "nud", "permanent"),
        )

    def _space(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def _cable_of(self, host: str) -> str:
        return _cable(list(self.addresses).index(host) + 1)


def why_not() -> str:
    """Why namespaces cannot be made here, in a sentence; empty if they can."""
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            return f"network namespaces need the program {program} (iproute2)"
    if os.geteuid():
        return "network namespaces need root"
    try:
        with Namespaces() as network:
            network.add("probe")
    except RuntimeError as error:
        return f"network namespaces cannot be made here: {error}"
    return ""


def _cable(number: int) -> str:
    """The switch's end of a host's cable."""
    return f"port{number}"


def _hardware(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*command: str, check: bool = True) -> str:
    """Run a command; returns what it complains of. Raises RuntimeError when it fails and that is not allowed."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode == 0:
        return ""
    told = done.stderr.strip() or f"status {done.returncode}"
    if check:
        raise RuntimeError(f"{' '.join(command)}: {told}")
    return told


__all__ = ["HOSTS_MAX", "Namespaces", "why_not"]
