"""AHA and the instances of one service, each a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from cellmesh.api.common.v1 import (
    key_value_service_pb2,
    key_value_service_pb2_grpc,
    mirror_pb2,
    mirror_service_pb2_grpc,
)
from cellmesh.api.cortex.v1 import storm_pb2, storm_service_pb2_grpc
from cellmesh.cli.mesh import Mesh, ports, processes
from cellmesh.client import CellClient, open_cell
from cellmesh.common.errors import NoSuchName
from cellmesh.common.values import from_value, to_value
from cellmesh.testing.mirrors import asking
from cellmesh.testing.mirrors.network import HOST, Network

T = TypeVar("T")

NETWORK: Final = "mesh"
AHA: Final = "aha"


class Instances:
    """AHA and instances 00, 01, ... of a service, found through proxies. A context manager.

    Args:
        folder: Where everything is kept.
        kind: The kind of cell.
        count: How many instances.
        settings: Settings of the instances, as their environment variables without prefix.
    """

    def __init__(
        self, folder: Path, kind: str, count: int, settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.kind = kind
        self.numbers = tuple(f"{number:02}" for number in range(count))
        self.settings = dict(settings or {})
        self.mesh = Mesh(folder / "mesh", cells=(AHA,), network=NETWORK)
        self.network = Network(self._pids)
        self._ports: dict[str, tuple[int, int]] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        aha = self.mesh.folder(AHA)
        ports.write_first_settings(aha, NETWORK)
        port = int(str(ports.read_settings(aha)["listen"]).rpartition(":")[2])
        proxy = self.network.add(AHA, port)
        before = os.environ.get("CELLMESH_AHA_ADVERTISE")
        os.environ["CELLMESH_AHA_ADVERTISE"] = f"{HOST}:{proxy}"
        try:
            self.mesh.up()
        finally:
            if before is None:
                del os.environ["CELLMESH_AHA_ADVERTISE"]
        for number in self.numbers:
            self.start(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.network.heal()
        self._stack.close()
        for number, child in self._children.items():
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGCONT)
                processes.stop(child.pid, child)
            if error is not None:
                print(f"--- {self.name(number)} ---\n{self.log(number).read_text()[-6000:]}")
        self.mesh.down()
        self.network.close()

    # Names and places.

    def name(self, number: str) -> str:
        """The name of an instance in the mesh, such as "01.cortex.mesh"; AHA's is "aha"."""
        return number if number == AHA else f"{number}.{self.kind}.{NETWORK}"

    def dir(self, number: str) -> Path:
        """The folder of an instance."""
        return self.folder / f"{self.kind}-{number}"

    def log(self, number: str) -> Path:
        """What an instance logs."""
        return self.folder / f"{self.kind}-{number}.log"

    def others(self, number: str) -> list[str]:
        """All members of the network but one, AHA among them."""
        return [found for found in (*self.numbers, AHA) if found != number]

    # Processes.

    def start(self, number: str, *, wait: bool = True, environment: Mapping[str, str] | None = None) -> None:
        """Start an instance; `environment` comes on top of the settings."""
        prefix = f"CELLMESH_{self.kind.upper()}_"
        given = {prefix + key.upper(): value for key, value in self.settings.items()}
        if number not in self._ports:
            own = ports.free_port()
            self._ports[number] = own, self.network.add(number, own)
            given[prefix + "ENROLL"] = self.mesh.provision(instance=f"{number}.{self.kind}")
        own, proxy = self._ports[number]
        given |= {prefix + "LISTEN": f"{HOST}:{own}", prefix + "ADVERTISE": f"{HOST}:{proxy}"}
        given |= environment or {}
        self._children[number] = processes.start(self.kind, self.dir(number), self.log(number), given)
        if wait:
            self.wait_serving(number)

    def wait_serving(self, number: str) -> None:
        """Wait until an instance that was started serves."""
        processes.wait_until_serving(self.kind, self.dir(number), self._children[number], self.log(number))

    def kill(self, number: str) -> None:
        """SIGKILL."""
        child = self._children[number]
        child.kill()
        child.wait()

    def stop(self, number: str) -> None:
        """SIGTERM, and wait."""
        child = self._children[number]
        processes.stop(child.pid, child)

    def pause(self, number: str) -> None:
        """SIGSTOP: the process stands still."""
        os.kill(self._children[number].pid, signal.SIGSTOP)

    def resume(self, number: str) -> None:
        """SIGCONT."""
        os.kill(self._children[number].pid, signal.SIGCONT)

    def is_running(self, number: str) -> bool:
        """Whether its process lives."""
        child = self._children.get(number)
        return child is not None and child.poll() is None

    # Asking an instance, on its unix socket: nothing of the network between.

    def client(self, number: str) -> CellClient:
        """A client of one instance; closed with everything else."""
        return self._stack.enter_context(open_cell(f"unix://{self.dir(number)}"))

    def ask(self, number: str, call: Callable[[CellClient], T]) -> T:
        """Ask an instance something on a connection of its own."""
        with open_cell(f"unix://{self.dir(number)}") as client:
            return call(client)

    def status(self, number: str) -> mirror_pb2.MirrorStatus:
        """How an instance stands."""
        return asking.status_of(self.dir(number))

    def promote(self, number: str, *, force: bool = False, accept_loss: bool = False) -> float:
        """Make an instance leader; returns how long it took in seconds."""
        return asking.promote(self.dir(number), force=force, accept_loss=accept_loss)

    def remove(self, leader: str, number: str) -> None:
        """Have the leader forget an instance."""
        request = mirror_pb2.RemoveFollowerRequest(name=self.name(number))

        def call(client: CellClient) -> None:
            stub: Any = client.stub(mirror_service_pb2_grpc.MirrorServiceStub)
            stub.RemoveFollower(request, timeout=5.0)

        self.ask(leader, call)

    def set(self, number: str, path: str, value: Any, *, timeout_s: float = 5.0) -> None:
        """Set a key-value at an instance; durable, and acknowledged, when this returns."""
        request = key_value_service_pb2.SetKeyValueRequest(path=[path], value=to_value(value))

        def call(client: CellClient) -> None:
            stub: Any = client.stub(key_value_service_pb2_grpc.KeyValueServiceStub)
            stub.SetKeyValue(request, timeout=timeout_s)

        self.ask(number, call)

    def get(self, number: str, path: str) -> Any:
        """A key-value as an instance has it. Raises NoSuchName when it has none."""
        request = key_value_service_pb2.GetKeyValueRequest(path=[path])

        def call(client: CellClient) -> Any:
            stub: Any = client.stub(key_value_service_pb2_grpc.KeyValueServiceStub)
            found = stub.GetKeyValue(request, timeout=5.0)
            if not found.HasField("key_value"):
                raise NoSuchName(f"{number} has no key-value {path}", name=path)
            return from_value(found.key_value.value)

        return self.ask(number, call)

    def forget(self, number: str, path: str) -> None:
        """Take a key-value away at an instance."""
        request = key_value_service_pb2.PopKeyValueRequest(path=[path])

        def call(client: CellClient) -> None:
            stub: Any = client.stub(key_value_service_pb2_grpc.KeyValueServiceStub)
            stub.PopKeyValue(request, timeout=10.0)

        self.ask(number, call)

    def storm(self, number: str, text: str) -> None:
        """Run a query at an instance to its end."""

        def call(client: CellClient) -> None:
            stub: Any = client.stub(storm_service_pb2_grpc.StormServiceStub)
            for _ in stub.Storm(storm_pb2.StormRequest(text=text), timeout=60.0):
                pass

        self.ask(number, call)

    def count(self, number: str, text: str) -> int:
        """How many nodes a query gives at an instance."""

        def call(client: CellClient) -> int:
            stub: Any = client.stub(storm_service_pb2_grpc.StormServiceStub)
            return int(stub.CountStorm(storm_pb2.CountStormRequest(text=text), timeout=10.0).count)

        return self.ask(number, call)

    def wait(self, what: str, test: Callable[[], bool], timeout_s: float = asking.WAIT_S) -> float:
        """Wait until a test holds; returns how long it took in seconds. Raises TimeoutError."""
        return asking.wait(what, test, timeout_s)

    def leader(self) -> str:
        """The number of the instance that leads and may take writes, once there is one."""
        found: list[str] = []

        def leads() -> bool:
            for number in self.numbers:
                if self.is_running(number) and asking.leads(self.status(number)):
                    found.append(number)
                    return True
            return False

        self.wait("an instance leads", leads)
        return found[0]

    def settle(self) -> tuple[str, ...]:
        """Mend the network and run what is down; the numbers of all instances, the leader first, all equal."""
        self.network.heal()
        self.network.delay(0.0)
        for number in self.numbers:
            if not self.is_running(number):
                self.start(number)
        leader = self.leader()
        self.wait_followers(leader)
        return (leader, *(number for number in self.numbers if number != leader))

    def wait_followers(self, leader: str) -> None:
        """Wait until all other running instances follow a leader and have everything."""
        names = {self.name(number) for number in self.numbers if number != leader and self.is_running(number)}

        def caught_up() -> bool:
            status = self.status(leader)
            at_end = {found.name for found in status.followers if found.connected and not found.lag}
            return status.role == mirror_pb2.MIRROR_ROLE_LEADER and names <= at_end

        self.wait(f"{sorted(names)} follow {leader}", caught_up)

    def check_equal(self, leader: str) -> int:
        """Compare the hashes of the running instances' states at one offset; returns how many they are.

        Raises:
            AssertionError: they differ; tells in which databases.
        """

        def make(client: CellClient) -> int:
            stub: Any = client.stub(mirror_service_pb2_grpc.MirrorServiceStub)
            return int(stub.CreateCheckpoint(mirror_pb2.CreateCheckpointRequest()).offset)

        offset = self.ask(leader, make)

        def take(client: CellClient) -> dict[str, bytes]:
            stub: Any = client.stub(mirror_service_pb2_grpc.MirrorServiceStub)
            request = mirror_pb2.GetStateHashRequest(offset=offset)
            found = stub.GetStateHash(request, timeout=60.0)
            return {**found.databases, "all": found.sha256}

        wanted = self.ask(leader, take)
        running = [number for number in self.numbers if self.is_running(number)]
        for number in running:
            found = self.ask(number, take)
            differing = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
            assert not differing, f"{number} differs from {leader} at offset {offset} in {differing}"
        return len(running)

    def _pids(self) -> dict[str, int]:
        found = {number: child.pid for number, child in self._children.items()}
        running = processes.find_running(self.mesh.folder(AHA))
        if running is not None:
            found[AHA] = running.pid
        return found
