"""Mesh: the four cells under one folder."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellmesh.api.aha.v1 import enrollment_pb2, enrollment_service_pb2_grpc
from cellmesh.cli.mesh import ports, processes
from cellmesh.cli.mesh.status import CellStatus, ask_status
from cellmesh.client import CellClient, open_cell
from cellmesh.common.errors import BadArg, BadConfValu, NoSuchDir, StepTimeout, StorageLocked
from cellmesh.common.tls.folder import IdentityFolder

KINDS: Final = ("aha", "axon", "cryotank", "cortex")
"""In the order in which they start; they stop in reverse."""

REGISTRY: Final = "aha"
NETWORK_DEFAULT: Final = "mesh"
NUMBER: Final = "00"
FOUND_S: Final = 20.0
"""How long AHA may take to know a cell that serves."""

Progress = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Stopped:
    """What became of a cell at `down`.

    Attributes:
        kind: The kind of cell.
        pid: The process that was ended, None when there was none.
        killed: Whether it had to be killed.
    """

    kind: str
    pid: int | None
    killed: bool = False


def _silent(text: str) -> None:
    """Tell nobody."""


class Mesh:
    """Cells under one folder, which share a network and find each other through AHA.

    Args:
        dir: The mesh's folder.
        cells: The cells: a kind, such as "cortex", or an instance beside the first, such as "01.cortex", which is
            its mirror. AHA is always among them, and so are the instances that the folder has.
        network: The name of the network, settled when the folder is first used.
    """

    def __init__(
        self, dir: Path | str, *, cells: Sequence[str] = KINDS, network: str = NETWORK_DEFAULT
    ) -> None:
        unknown = {cell for cell in cells if split_cell(cell)[1] not in KINDS}
        if unknown:
            raise BadArg(f"there is no cell of kind {', '.join(sorted(unknown))}", name="cells")
        self.dir = Path(dir).expanduser().absolute()
        wanted = {REGISTRY, *cells, *self._mirrors()}
        self.kinds = tuple(
            sorted(wanted, key=lambda cell: (KINDS.index(split_cell(cell)[1]), cell[0:1].isdigit(), cell))
        )
        self._network = network
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    # Where things are.

    def folder(self, kind: str) -> Path:
        """The folder of a cell."""
        return self.dir / kind

    def next_mirror(self, kind: str) -> str:
        """What one more instance of a kind is called, such as "01.cortex". Raises BadArg when there can be none."""
        if kind not in KINDS:
            raise BadArg(f"there are no mirrors of {kind}", name="mirror", valu=kind)
        taken = {split_cell(cell)[0] for cell in self.kinds if split_cell(cell)[1] == kind}
        return next(f"{number:02}.{kind}" for number in range(1, 100) if f"{number:02}" not in taken)

    def _mirrors(self) -> list[str]:
        """The instances beside the first ones that the folder has."""
        found = self.dir.glob("[0-9][0-9].*/cell.json") if self.dir.is_dir() else ()
        return [path.parent.name for path in found if split_cell(path.parent.name)[1] in KINDS]

    def log(self, kind: str) -> Path:
        """What a cell logs."""
        return self.dir / "logs" / f"{kind}.log"

    @property
    def identity(self) -> Path:
        """The identity folder of the mesh's root user, to call its cells with."""
        return self.folder(REGISTRY) / "users" / "root"

    def url(self, kind: str) -> str:
        """The URL of a cell, for `open_cell(mesh.url("cortex"), identity=mesh.identity)`."""
        return f"aha://{kind}"

    def instance_url(self, kind: str) -> str:
        """The URL of one instance of a service, whether it leads or not."""
        return "aha://" + ".".join(split_cell(kind))

    @property
    def exists(self) -> bool:
        """Whether the folder holds a mesh."""
        return self.folder(REGISTRY).is_dir()

    # Up.

    def up(self, progress: Progress = _silent) -> list[CellStatus]:
        """Start the cells that do not run, and wait until all serve and AHA knows them.

        Cells that run already are left alone. When one fails, those that were started go on. Interrupted, it ends those
        that do not serve yet.

        Args:
            progress: Told each step, in a sentence.

        Returns:
            How each cell does.

        Raises:
            SpawnExit: a cell ended; tells what it said.
            StepTimeout: a cell took too long.
            StorageLocked: another `up` or `down` works on the folder.
            BadConfValu: the folder cannot be used.
        """
        with self._working():
            running = self.running()
            missing = [kind for kind in self.kinds if kind not in running]
            if not missing:
                progress(f"the mesh under {self.dir} runs already")
                return self.status()
            if running:
                progress(f"running already: {', '.join(running)}")
            try:
                if REGISTRY in missing:
                    self._start_registry(missing, progress)
                self._start_others([kind for kind in missing if kind != REGISTRY], progress)
            except KeyboardInterrupt:
                self._end_what_is_starting()
                raise
            return self._wait_until_found()

    def _end_what_is_starting(self) -> None:
        """Leave no process that holds its folder and is not known to run yet: the next `up` would stumble over it."""
        for kind, process in self._children.items():
            running = processes.find_running(self.folder(kind))
            if process.poll() is None and (running is None or running.pid != process.pid):
                processes.stop(process.pid, process)

    def _start_registry(self, missing: Sequence[str], progress: Progress) -> None:
        folder = self.folder(REGISTRY)
        if not (folder / ports.CONFIG_FILE).exists() and not (folder / "cell.json").exists():
            ports.write_first_settings(folder, self._network)
        elif len(missing) == len(self.kinds):
            identities = [IdentityFolder(self.folder(kind) / "certs") for kind in self.kinds]
            moved = ports.move_if_busy(folder, [*identities, IdentityFolder(self.identity)])
            if moved:
                progress(f"another program uses the port that AHA had: it moves to {moved}")
        self._start(REGISTRY, {})
        self._wait_until_serving(REGISTRY, progress)

    def _start_others(self, kinds: Sequence[str], progress: Progress) -> None:
        # Mirrors after what they follow, so that they find their leader.
        first = [kind for kind in kinds if kind in KINDS]
        for group in (first, [kind for kind in kinds if kind not in KINDS]):
            for kind in group:
                self._start(kind, self._enrollment(kind))
            for kind in group:
                self._wait_until_serving(kind, progress)

    def _enrollment(self, kind: str) -> dict[str, str]:
        if IdentityFolder(self.folder(kind) / "certs").exists():
            return {}
        number, own_kind = split_cell(kind)
        if own_kind == REGISTRY:
            network = str(ports.read_settings(self.folder(REGISTRY)).get("network", self._network))
            ports.write_first_settings(self.folder(kind), network)
        return {f"CELLMESH_{own_kind.upper()}_ENROLL": self.provision(instance=f"{number}.{own_kind}")}

    def _start(self, kind: str, environment: dict[str, str]) -> None:
        self._children[kind] = processes.start(
            split_cell(kind)[1], self.folder(kind), self.log(kind), environment
        )

    def _wait_until_serving(self, kind: str, progress: Progress) -> None:
        process = self._children[kind]
        running = processes.wait_until_serving(
            split_cell(kind)[1], self.folder(kind), process, self.log(kind)
        )
        address = running.addresses[0] if running.addresses else ""
        progress(f"{kind} serves at {address} (process {running.pid})")

    def _wait_until_found(self) -> list[CellStatus]:
        until = time.monotonic() + FOUND_S
        while True:
            found = self.status()
            if all(cell.is_ready for cell in found):
                return found
            if time.monotonic() > until:
                lost = next(cell for cell in found if not cell.is_ready)
                raise StepTimeout(
                    f"the {lost.kind} is {lost.state} after {FOUND_S:.0f} s",
                    name=f"start {lost.kind}",
                    hint=lost.problem or f"look at {self.log(lost.kind)}",
                )
            time.sleep(processes.POLL_S)

    def provision(self, *, instance: str = "", user: str = "") -> str:
        """Make a one-time enrolment URL at the mesh's AHA. It is a secret.

        Args:
            instance: The name of a cell to be, such as "01.axon".
            user: Or the name of a user to be.

        Raises:
            CellUnreachable: AHA does not run.
            BadName: the name is malformed.
        """
        with open_cell(f"unix://{self.folder(REGISTRY)}") as client:
            return provision(client, instance=instance, user=user)

    # Down.

    def down(self, progress: Progress = _silent) -> list[Stopped]:
        """Stop the cells that run: by SIGTERM, so that they finish what they do; AHA last.

        Returns:
            What became of each cell, in the order in which they were stopped.

        Raises:
            NoSuchDir: there is no mesh under the folder.
            StorageLocked: another `up` or `down` works on the folder.
        """
        self.require()
        with self._working():
            return [self._stop(kind, progress) for kind in reversed(self.kinds)]

    def _stop(self, kind: str, progress: Progress) -> Stopped:
        running = processes.find_running(self.folder(kind))
        child = self._children.pop(kind, None)
        if running is None:
            if child is not None and child.poll() is None:
                # It was started and never served.
                processes.stop(child.pid, child)
                progress(f"{kind} had not begun to serve and was stopped (process {child.pid})")
                return Stopped(kind, child.pid)
            progress(f"{kind} was not running")
            return Stopped(kind, None)
        begin = time.monotonic()
        clean = processes.stop(running.pid, child if child and child.pid == running.pid else None)
        if clean:
            progress(f"{kind} stopped in {time.monotonic() - begin:.1f} s (process {running.pid})")
        else:
            progress(
                f"{kind} did not stop in {processes.STOP_S:.0f} s and was killed (process {running.pid})"
            )
        return Stopped(kind, running.pid, killed=not clean)

    # Status.

    def status(self) -> list[CellStatus]:
        """Ask each cell how it does, through AHA and over mutual TLS.

        Raises:
            NoSuchDir: there is no mesh under the folder.
        """
        self.require()
        return [
            ask_status(kind, self.folder(kind), self.identity, self.instance_url(kind)) for kind in self.kinds
        ]

    def running(self) -> list[str]:
        """The kinds of cell that have a process now, in the order in which they start."""
        return [kind for kind in self.kinds if processes.find_running(self.folder(kind)) is not None]

    def require(self) -> None:
        """Raise NoSuchDir unless there is a mesh under the folder."""
        if not self.exists:
            raise NoSuchDir(
                f"there is no mesh under {self.dir}",
                name=str(self.dir),
                hint=f"make one with `cellmesh up --dir {self.dir}`",
            )

    @contextmanager
    def _working(self) -> Iterator[None]:
        try:
            self.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadConfValu(
                f"the folder {self.dir} cannot be used: {error.strerror}",
                name="dir",
                valu=str(self.dir),
                hint="give a folder that this user can make and write with --dir",
            ) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StorageLocked(
                    f"another `cellmesh up` or `down` works on {self.dir}",
                    name=str(self.dir),
                    hint="wait until it has ended",
                ) from error
            yield
        finally:
            os.close(handle)


def split_cell(cell: str) -> tuple[str, str]:
    """Number and kind of a cell's name in its mesh: "cortex" is ("00", "cortex"), "01.cortex" ("01", "cortex")."""
    number, dot, kind = cell.rpartition(".")
    return (number, kind) if dot else (NUMBER, kind)


def provision(
    client: CellClient,
    *,
    instance: str = "",
    user: str = "",
    lifetime_s: float = 0.0,
    again: bool = False,
) -> str:
    """Make a one-time enrolment URL at an AHA; see `Mesh.provision`.

    Args:
        client: Of AHA.
        instance: The name of a cell to be.
        user: Or the name of a user to be.
        lifetime_s: For how long it is good, in seconds; 0 means an hour.
        again: Whether to make one even if a cell of that name is registered now.
    """
    request = enrollment_pb2.CreateEnrollmentRequest(again=again)
    if instance:
        request.instance = instance
    else:
        request.user = user
    request.lifetime.FromNanoseconds(int(lifetime_s * 1e9))
    stub = client.stub(enrollment_service_pb2_grpc.CertificateServiceStub)
    made: str = stub.CreateEnrollment(request).url
    return made
