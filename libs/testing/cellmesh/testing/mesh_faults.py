"""A mesh in which each cell has a host of its own, clients that call it by name, and faults whose effect is measured.

    with MeshOnHosts(folder, cells) as mesh:      AHA, Axon, Cryotank, Cortex on hosts of a network of namespaces
        mesh.start_clients()                      on a host of their own; each writes a ledger
        mesh.kill_and_start("00.axon")            and cut_and_heal, lose_leader: each tells phases
        mesh.stop_clients(); mesh.table()         the longest time for which each kind of call was not answered
        mesh.verify()                             what was acknowledged is there, replicas are equal

The test asks cells on their unix sockets, which no cable carries: it sees one that is cut off too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from subprocess import Popen
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.api.common.v1 import mirror_pb2, mirror_service_pb2_grpc
from cellmesh.api.cortex.v1 import storm_pb2, storm_service_pb2_grpc
from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
from cellmesh.cli.mesh import processes
from cellmesh.cli.mesh.mesh import provision
from cellmesh.client import CellClient, open_cell
from cellmesh.common.errors import CellError
from cellmesh.common.values import from_value
from cellmesh.testing import mesh_load
from cellmesh.testing.mesh_load import Entry
from cellmesh.testing.mirrors import asking
from cellmesh.testing.namespaces import Namespaces

T = TypeVar("T")

FIRST_AHA: Final = "00.aha"
CLIENTS: Final = "clients"
PORT: Final = 27500
ENROLL_PORT: Final = 27501
WAIT_S: Final = 40.0
PROMOTE_TIMEOUT_S: Final = 30.0
READ_TIMEOUT_S: Final = 60.0

CLIENT_PROCESSES: Final = (
    (mesh_load.WRITE_NODES, mesh_load.READ_NODES, mesh_load.READ_ANY_NODES, mesh_load.NEW_CLIENT),
    (mesh_load.PUT_BLOBS, mesh_load.HAS_BLOBS, mesh_load.APPEND_RECORDS, mesh_load.READ_RECORDS),
)
KINDS: Final = tuple(kind for kinds in CLIENT_PROCESSES for kind in kinds)
VALUES_PER_PROCESS: Final = 10_000_000


@dataclass(slots=True)
class Phase:
    """A stretch of time that begins with a fault or its end.

    Attributes:
        name: What happened.
        began_s: When, on the monotonic clock.
        ended_s: When the next thing happened.
        without: Kinds of calls that cannot be answered in it, as their only cell is away.
        gaps_s: For how long, at most, each other kind of call was not answered, from the beginning on.
        start_s: For how long of it the process of a cell started, which is a matter of the machine.
    """

    name: str
    began_s: float
    ended_s: float = 0.0
    without: frozenset[str] = frozenset()
    gaps_s: dict[str, float] = field(default_factory=dict)
    start_s: float = 0.0


class MeshOnHosts:
    """The cells of a mesh, each on a host of a network of namespaces. A context manager.

    Args:
        folder: Where everything is kept.
        cells: Their names without network, such as "01.cortex"; those of AHA first, "00.aha" leads.
        settings: By kind and name, such as "cortex_synchronous_followers".
    """

    def __init__(self, folder: Path, cells: Sequence[str], settings: Mapping[str, str] | None = None) -> None:
        assert cells[0] == FIRST_AHA, "the first AHA makes the network"
        self.folder = folder
        self.cells = tuple(cells)
        self.network = Namespaces()
        self.phases: list[Phase] = []
        self._environment = {f"CELLMESH_{name}".upper(): value for name, value in (settings or {}).items()}
        self._children: dict[str, Popen[bytes]] = {}
        self._clients: list[Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.network.__enter__()
        try:
            for cell in (*self.cells, CLIENTS):
                self.network.add(cell)
            # First those that others follow.
            self.start(FIRST_AHA)
            self._start_all([cell for cell in self.cells if cell.startswith("00.") and cell != FIRST_AHA])
            self._start_all([cell for cell in self.cells if not cell.startswith("00.")])
            self.wait("all follow", self.is_whole)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.network.close()
        if error is not None:
            for name in (*self.cells, *(f"{CLIENTS}{number}" for number in range(len(self._clients)))):
                if self._log(name).exists():
                    print(f"--- {name} ---\n{self._log(name).read_text()[-4000:]}")

    # Cells.

    def start(self, cell: str, *, enroll: bool = False, wait: bool = True) -> None:
        """Start a cell."""
        number, _, kind = cell.partition(".")
        address = self.network.addresses[cell]
        given = {"listen": f"{address}:{PORT}"}
        if kind == "aha":
            given |= {"enroll_listen": f"{address}:{ENROLL_PORT}"}
        if enroll and cell != FIRST_AHA:
            with open_cell(f"unix://{self.dir(FIRST_AHA)}") as client:
                given |= {"enroll": provision(client, instance=f"{number}.{kind}")}
        environment = {f"CELLMESH_{kind}_{name}".upper(): value for name, value in given.items()}
        command = [sys.executable, "-m", "cellmesh.cli.main", kind, "serve", "--dir", str(self.dir(cell))]
        self._children[cell] = self.network.start(
            cell, command, log=self._log(cell), environment=environment | self._environment
        )
        if wait:
            self.wait_serving(cell)

    def _start_all(self, cells: Sequence[str]) -> None:
        for cell in cells:
            self.start(cell, enroll=True, wait=False)
        for cell in cells:
            self.wait_serving(cell)

    def wait_serving(self, cell: str) -> None:
        """Wait until a cell that was started serves."""
        kind = cell.partition(".")[2]
        processes.wait_until_serving(kind, self.dir(cell), self._children[cell], self._log(cell))

    def kill(self, cell: str) -> None:
        """SIGKILL."""
        self._children[cell].kill()
        self._children[cell].wait()

    def dir(self, cell: str) -> Path:
        """The folder of a cell."""
        return self.folder / cell

    def instances(self, kind: str) -> list[str]:
        """The instances of a kind."""
        return [cell for cell in self.cells if cell.endswith(f".{kind}")]

    def leader(self, kind: str) -> str:
        """Which instance leads and may take writes, once there is one."""
        found: list[str] = []

        def leads() -> bool:
            found[:] = [cell for cell in self.instances(kind) if self._leads(cell)]
            return bool(found)

        self.wait(f"an instance of {kind} leads", leads)
        return found[0]

    def _leads(self, cell: str) -> bool:
        try:
            return asking.leads(self.status(cell))
        except CellError:
            return False

    def is_whole(self) -> bool:
        """Whether each service has one leader that may take writes, followed by all its other instances."""
        for kind in {cell.partition(".")[2] for cell in self.cells}:
            instances = self.instances(kind)
            leaders = [cell for cell in instances if self._leads(cell)]
            if len(leaders) != 1:
                return False
            if asking.follower_count(self.status(leaders[0])) < len(instances) - 1:
                return False
        return True

    # Asking a cell, on its unix socket.

    def ask(self, cell: str, call: Callable[[CellClient], T]) -> T:
        """Ask a cell something, whether its cable is in or not."""
        with open_cell(f"unix://{self.dir(cell)}") as client:
            return call(client)

    def status(self, cell: str) -> mirror_pb2.MirrorStatus:
        """How an instance stands."""
        return asking.status_of(self.dir(cell))

    def promote(self, cell: str, *, force: bool) -> float:
        """Make an instance leader, as an operator does; returns how long it took in seconds."""
        return asking.promote(self.dir(cell), timeout_s=PROMOTE_TIMEOUT_S, force=force)

    def wait(self, what: str, test: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
        """Wait until a test holds. Raises TimeoutError."""
        asking.wait(what, test, timeout_s)

    # Clients.

    def start_clients(self) -> None:
        """Start the clients, and wait until each kind of call was answered."""
        registries = len(self.instances("aha"))
        self.wait("root knows all AHAs", lambda: len(asking.known_registries(self._identity)) == registries)

        def create(client: CellClient) -> None:
            stub: Any = client.stub(tank_service_pb2_grpc.TankServiceStub)
            stub.CreateTank(tank_pb2.CreateTankRequest(name=mesh_load.TANK))

        self.ask(self.leader("cryotank"), create)
        for number, kinds in enumerate(CLIENT_PROCESSES):
            ledger, first = self._ledger(number), (number + 1) * VALUES_PER_PROCESS
            command = [sys.executable, "-m", mesh_load.__name__, str(self._identity), str(ledger), str(first)]
            self._clients.append(
                self.network.start(CLIENTS, [*command, *kinds], log=self._log(f"{CLIENTS}{number}"))
            )
        self.wait_answered(time.monotonic())

    def wait_answered(self, since_s: float, without: Collection[str] = (), timeout_s: float = WAIT_S) -> None:
        """Wait until a call of each kind that began after a moment was answered."""
        wanted = set(KINDS) - set(without)

        def answered() -> bool:
            assert all(client.poll() is None for client in self._clients), "a client ended"
            return wanted <= {
                entry.kind for entry in self.ledger() if not entry.error and entry.began_s > since_s
            }

        self.wait(f"calls of all kinds but {sorted(without)} are answered", answered, timeout_s)

    def ledger(self) -> list[Entry]:
        """All calls that have ended."""
        return [
            entry
            for number in range(len(self._clients))
            for entry in mesh_load.read_ledger(self._ledger(number))
        ]

    @contextmanager
    def phase(self, name: str, *, without: Collection[str] = (), hold_s: float = 1.0) -> Iterator[Phase]:
        """Measure what comes of the body, until each kind of call was answered and some time has gone by.

        Args:
            name: What happens in the body.
            without: Kinds of calls that cannot be answered.
            hold_s: For how long it lasts at least, from its beginning.
        """
        phase = Phase(name, time.monotonic(), without=frozenset(without))
        yield phase
        self.wait_answered(time.monotonic(), without)
        time.sleep(max(0.0, phase.began_s + hold_s - time.monotonic()))
        phase.ended_s = time.monotonic()
        self.phases.append(phase)

    # Faults, each with its end; the mesh is whole after it.

    def kill_and_start(self, cell: str, *, away_s: float = 0.0) -> None:
        """Kill a cell, and start it again, as what keeps processes running does.

        Args:
            cell: Which.
            away_s: Let it be away for so long first; then only others are asked to go on meanwhile.
        """
        if away_s:
            with self.phase(f"{cell} killed", without=self._only_at(cell), hold_s=away_s):
                self.kill(cell)
            with self.phase(f"{cell} started again"):
                self.start(cell)
        else:
            with self.phase(f"{cell} killed, started again at once") as phase:
                self.kill(cell)
                self.start(cell)
                phase.start_s = time.monotonic() - phase.began_s
                phase.name += f", serves after {phase.start_s:.1f} s"
        self.wait(f"{cell} is back", self.is_whole)

    def cut_and_heal(self, cell: str, *, away_s: float) -> None:
        """Cut a cell off for so long."""
        with self.phase(f"{cell} cut off, {away_s:g} s", without=self._only_at(cell), hold_s=away_s):
            self.network.cut(cell)
        with self.phase(f"{cell} healed"):
            self.network.heal([cell])
        self.wait(f"{cell} is back", self.is_whole)

    def lose_leader(self, kind: str, *, cut: bool, away_s: float) -> None:
        """Kill the leader of a service, or cut it off; promote another instance by force, and let the old one come back."""
        cell = self.leader(kind)
        successor = next(other for other in self.instances(kind) if other != cell)
        what = "cut off" if cut else "killed"
        with self.phase(f"{cell} (leads) {what}, {successor} promoted", hold_s=away_s):
            if cut:
                self.network.cut(cell)
            else:
                self.kill(cell)
            self.promote(successor, force=True)
        with self.phase(f"{cell} {'healed' if cut else 'started again'}, follows"):
            if cut:
                self.network.heal([cell])
            else:
                self.start(cell)
        self.wait(f"{cell} follows", self.is_whole)

    def _only_at(self, cell: str) -> frozenset[str]:
        """The kinds of calls that this cell alone can answer."""
        kind = cell.partition(".")[2]
        if len(self.instances(kind)) > 1:
            return frozenset()
        return frozenset(found for found in KINDS if found.startswith(f"{kind} "))

    def stop_clients(self) -> None:
        """End the clients, and work out the phases."""
        for client in self._clients:
            assert client.poll() is None, "a client ended before its time"
            client.terminate()
        for client in self._clients:
            client.wait()
        entries = self.ledger()
        for phase in self.phases:
            for kind in KINDS:
                if kind not in phase.without:
                    phase.gaps_s[kind] = _gap_s(entries, kind, phase)

    @property
    def slowest(self) -> tuple[float, str]:
        """The longest time without an answer in any phase, in seconds, without the start of processes; and of what."""
        return max(
            (gap_s - phase.start_s, f"{kind}: {phase.name}")
            for phase in self.phases
            for kind, gap_s in phase.gaps_s.items()
        )

    def table(self) -> str:
        """The phases in Markdown, each with the longest time without an answer in seconds."""
        lines = [
            "| what | " + " | ".join(KINDS) + " |",
            "| --- |" + " ---: |" * len(KINDS),
        ]
        for phase in self.phases:
            cells = (f"{phase.gaps_s[kind]:.2f}" if kind in phase.gaps_s else "–" for kind in KINDS)
            lines.append(f"| {phase.name} | {' | '.join(cells)} |")
        return "\n".join(lines)

    # What must be there.

    def verify(self) -> dict[str, int]:
        """Check that what was acknowledged is there, at every instance; returns how many writes that were.

        Raises:
            AssertionError: something is missing, there twice, or differs.
        """
        self.wait("all follow", self.is_whole)
        acknowledged = {
            kind: {entry.value for entry in self.ledger() if entry.kind == kind and not entry.error}
            for kind in mesh_load.WRITES
        }
        for kind, read in (
            (mesh_load.WRITE_NODES, _nodes),
            (mesh_load.PUT_BLOBS, lambda client: _blobs(client, acknowledged[mesh_load.PUT_BLOBS])),
            (mesh_load.APPEND_RECORDS, _records),
        ):
            for cell in self.instances(kind.partition(" ")[0]):
                found = self.ask(cell, read)
                missing = acknowledged[kind] - set(found)
                assert not missing, f"{cell} lost {sorted(missing)[:10]}, {len(missing)} in all"
                assert len(found) == len(set(found)), f"{cell} has something twice"
        for kind in ("aha", "cortex"):
            self._verify_equal(kind)
        return {kind: len(values) for kind, values in acknowledged.items()}

    def _verify_equal(self, kind: str) -> None:
        leader = self.leader(kind)

        def make(client: CellClient) -> int:
            stub: Any = client.stub(mirror_service_pb2_grpc.MirrorServiceStub)
            return int(stub.CreateCheckpoint(mirror_pb2.CreateCheckpointRequest()).offset)

        offset = self.ask(leader, make)

        def take(client: CellClient) -> dict[str, bytes]:
            stub: Any = client.stub(mirror_service_pb2_grpc.MirrorServiceStub)
            request = mirror_pb2.GetStateHashRequest(offset=offset)
            return dict(stub.GetStateHash(request, timeout=READ_TIMEOUT_S).databases)

        wanted = self.ask(leader, take)
        for cell in self.instances(kind):
            found = self.ask(cell, take)
            differing = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
            assert not differing, f"{cell} differs from {leader} at offset {offset} in {differing}"

    @property
    def _identity(self) -> Path:
        return self.dir(FIRST_AHA) / "users" / "root"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _ledger(self, number: int) -> Path:
        return self.folder / f"ledger{number}.jsonl"


def _gap_s(entries: list[Entry], kind: str, phase: Phase) -> float:
    """The longest time without an answer within the phase. As it has one that was asked for in it, none is cut short but
    by the next fault."""
    answered = [
        entry.ended_s
        for entry in entries
        if entry.kind == kind and not entry.error and phase.began_s < entry.ended_s < phase.ended_s
    ]
    times = [phase.began_s, *answered, phase.ended_s]
    return max(later - earlier for earlier, later in pairwise(times))


def _nodes(client: CellClient) -> list[int]:
    stub: Any = client.stub(storm_service_pb2_grpc.StormServiceStub)
    return [
        int(from_value(message.node.value))
        for response in stub.Storm(storm_pb2.StormRequest(text="inet:ipv4"), timeout=READ_TIMEOUT_S)
        for message in response.messages
        if message.HasField("node")
    ]


def _blobs(client: CellClient, values: Collection[int]) -> list[int]:
    stub: Any = client.stub(blob_service_pb2_grpc.BlobServiceStub)
    asked = sorted(values)
    request = blob_pb2.HasBlobsRequest(sha256s=[mesh_load.blob_sha256(value) for value in asked])
    present = stub.HasBlobs(request, timeout=READ_TIMEOUT_S).present
    return [value for value, there in zip(asked, present, strict=True) if there]


def _records(client: CellClient) -> list[int]:
    stub: Any = client.stub(tank_service_pb2_grpc.TankServiceStub)
    return [
        int(from_value(record.value))
        for response in stub.ReadRecords(
            tank_pb2.ReadRecordsRequest(name=mesh_load.TANK), timeout=READ_TIMEOUT_S
        )
        for record in response.records
    ]


__all__ = ["KINDS", "MeshOnHosts", "Phase"]
