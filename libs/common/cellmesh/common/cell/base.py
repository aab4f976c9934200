"""Cell: what every cell is. A kind of cell subclasses it and names its databases, parts and services.

    new -> starting -> ready <-> read-only -> stopping -> stopped

Start: folder and lock, identity (enrolment if it has a URL and no certificate), slab, the cell's parts, the
server, health, registration with AHA. Stop: the same in reverse, so calls are drained before the parts end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeVar

from cellmesh.common.auth.passwords import Passwords
from cellmesh.common.auth.replay import AuthApplier
from cellmesh.common.auth.schema import DATABASES as AUTH_DATABASES
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.cell.accounts import CellAccounts
from cellmesh.common.cell.first_start import apply_first_start, find_file, is_new, read_first_start
from cellmesh.common.cell.folder import CELL_FILE, CERTS_FOLDER, CellFolder
from cellmesh.common.cell.health import HealthWatch
from cellmesh.common.cell.listeners import advertised, listens_to_peers
from cellmesh.common.cell.observing import start_telemetry
from cellmesh.common.cell.part import Part, PartHealth, PartState, RolePart
from cellmesh.common.cell.serving import wire
from cellmesh.common.cell.state import CellState
from cellmesh.common.cell.trimming import log_rules
from cellmesh.common.cell.version import cellmesh_version
from cellmesh.common.changelog import DATABASES as CHANGELOG_DATABASES
from cellmesh.common.changelog import Applier, ChangeLog, LogKeeper
from cellmesh.common.config.spec import CONFIG_FILE_NAME, CellConfig
from cellmesh.common.errors import BadState
from cellmesh.common.keyvalues import DATABASES as KEYVALUE_DATABASES
from cellmesh.common.keyvalues import KeyValueApplier, KeyValues
from cellmesh.common.mirror.schema import DATABASES as MIRROR_DATABASES
from cellmesh.common.rpc.server import RpcServer
from cellmesh.common.rpc.service import Service
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.storage import Layout, Slab, SubDb, compact_slab
from cellmesh.common.tasks import TaskRegistry
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.telemetry.tracing import stop_telemetry
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity
from cellmesh.common.tls.revocation import RevocationList

if TYPE_CHECKING:
    from cellmesh.common.cell.backup import Backups
    from cellmesh.common.mirror.instance import Mesh
    from cellmesh.common.mirror.role import Mirror

ConfigT = TypeVar("ConfigT", bound=CellConfig)

_log = get_logger(__name__)


class Cell(Generic[ConfigT]):
    """One cell. Use it as `async with`, or call `start` and `stop`; `run_cell` does it for a process.

    Attributes:
        kind: The kind of cell, such as "axon". Set by the subclass.
        databases: The databases of its slab; a cell without any has no slab. Set by the subclass.
        layout: Version and migrations of its storage. Set by the subclass.
        admits_unknown_users: Whether a user with a certificate of the network who is no user of this cell is a
            member all the same. Set by the subclass.
        keeps_revocations: Whether it has the list of revoked certificates itself, as AHA does. Set by the subclass.
        backup_paths: What a backup takes of the folder beside the storage. Set by the subclass.
        seed_paths: What a follower gets of its leader's folder beside the storage. Set by the subclass.
        config: Its settings.
        folder: Its folder.
        workers: Its threads for blocking work.
        slab: Its storage, open while parts and services live.
        identity: Its name in the mesh, None when it is not enrolled. Known once the parts have started.
        start_time_ns: When it was started, in nanoseconds since the epoch.
        mirror: Its role among the instances of its service; None outside of a mesh.
        restart_wanted: Set when it must be stopped and started anew, on the same folder; `run_cell` does.
        tasks: The calls it is serving.
        revoked: The certificates that it does not trust any more.
        metrics_address: Where it serves metrics, as host:port; empty when it does not.
        backups: What makes its backups, while it serves; None without storage.
    """

    kind: ClassVar[str] = "cell"
    databases: ClassVar[Sequence[SubDb]] = ()
    layout: ClassVar[Layout | None] = None
    admits_unknown_users: ClassVar[bool] = False
    keeps_revocations: ClassVar[bool] = False
    backup_paths: ClassVar[Sequence[str]] = (CELL_FILE, CONFIG_FILE_NAME, CERTS_FOLDER)
    seed_paths: ClassVar[Sequence[str]] = ()

    def __init__(self, config: ConfigT) -> None:
        self.config = config
        self.folder = CellFolder(config.dir, self.kind)
        self.workers = Workers(call_threads=config.call_threads, stream_threads=config.stream_threads)
        self.tasks = TaskRegistry()
        self.revoked = RevocationList()
        self.identity: CellIdentity | None = None
        self.state = CellState.UNSPECIFIED
        self.start_time_ns = 0
        self.mirror: Mirror | None = None
        self.restart_wanted = asyncio.Event()
        self._slab: Slab | None = None
        self._accounts: CellAccounts | None = None
        self._log_keeper: LogKeeper | None = None
        self._keyvalues: KeyValues | None = None
        self._health: HealthWatch | None = None
        self.metrics_address = ""
        self.backups: Backups | None = None
        self._server: RpcServer | None = None
        self._started: list[Part] = []

    # What a kind of cell says of itself.

    def parts(self) -> Sequence[Part]:
        """Make the cell's parts, in start order. Called once, with the slab open and nothing else running."""
        return ()

    def services(self) -> Sequence[Service]:
        """Make the cell's services. Called once, after the parts have started."""
        return ()

    def change_offset(self) -> int:
        """The offset that the next change record will get; 0 for a cell that keeps no change log."""
        if not self.keeps_log:
            return 0
        with self.slab.view() as txn:
            return self.changes.next_offset(txn)

    def appliers(self) -> Sequence[Applier]:
        """Make what applies the change records of its own databases. Called once, after `parts`."""
        return ()

    def make_mesh(self, identity: CellIdentity) -> Mesh:
        """Make what its mirror asks who leads: AHA."""
        from cellmesh.common.mirror.arbiter import Arbiter

        return Arbiter(identity, self.folder.identity)

    async def introduce(self) -> None:
        """Called as soon as its server serves, before anybody is told of it."""

    def told_folders(self) -> Sequence[IdentityFolder]:
        """Identity folders beside its own that it keeps told where the registry is."""
        return ()

    def registers(self) -> bool:
        """Whether the cell registers with AHA when it has an identity."""
        return True

    # What all cells have.

    @property
    def slab(self) -> Slab:
        """The cell's storage. Raises BadState while it is not open."""
        if self._slab is None:
            raise BadState(f"the {self.kind} has no storage open", name=self.kind, state=self.state.value)
        return self._slab

    @property
    def has_mirrors(self) -> bool:
        """Whether other instances of its service may follow it: it is in a mesh and keeps a log."""
        return self.keeps_log and self.folder.identity.exists()

    @property
    def leads(self) -> bool:
        """Whether it takes the writes of its service."""
        return self.mirror is None or self.mirror.is_leader

    @property
    def is_stopping(self) -> bool:
        """Whether it is about to end."""
        return self.state is CellState.STOPPING

    @property
    def keeps_log(self) -> bool:
        """Whether the databases of the change log are among its own."""
        return set(CHANGELOG_DATABASES) <= set(self.databases)

    @property
    def changes(self) -> ChangeLog:
        """The cell's change log. Raises BadState while its storage is not open."""
        return ChangeLog(self.slab)

    @property
    def log_keeper(self) -> LogKeeper:
        """Who needs which records of the change log. Raises BadState while its storage is not open."""
        if self._log_keeper is None:
            raise BadState(f"the {self.kind} has no storage open", name=self.kind, state=self.state.value)
        return self._log_keeper

    @property
    def auth(self) -> AuthStore:
        """The cell's users, roles, rules and gates. Raises BadState while its storage is not open."""
        return self._require_accounts().store

    @property
    def passwords(self) -> Passwords:
        """The credentials of its users. Raises BadState while its storage is not open."""
        return self._require_accounts().passwords

    @property
    def keyvalues(self) -> KeyValues:
        """The cell's tree of key-values. Raises BadState while its storage is not open."""
        if self._keyvalues is None:
            raise BadState(f"the {self.kind} has no storage open", name=self.kind, state=self.state.value)
        return self._keyvalues

    @property
    def server(self) -> RpcServer:
        """The cell's server. Raises BadState while there is none."""
        if self._server is None:
            raise BadState(f"the {self.kind} does not serve", name=self.kind, state=self.state.value)
        return self._server

    @property
    def is_ready(self) -> bool:
        """Whether it serves calls, reads at least."""
        return self.state in (CellState.READY, CellState.READ_ONLY)

    @property
    def is_read_only(self) -> bool:
        """Whether it refuses writes for lack of room."""
        return self.state is CellState.READ_ONLY

    @property
    def failure(self) -> str:
        """The part that has failed, and why; empty while none has."""
        return self._health.failure if self._health else ""

    @property
    def cell_id(self) -> str:
        """32 hexadecimal digits, made when the folder was first used."""
        return self.folder.cell_id

    @property
    def name(self) -> str:
        """Its name in the mesh, such as "00.cortex.demo"; empty when it is not enrolled."""
        return self.identity.name if self.identity else ""

    @property
    def version(self) -> str:
        """The version of Cellmesh it runs."""
        return cellmesh_version()

    @property
    def storage_version(self) -> int:
        """The version of its storage layout; 0 when it has no storage."""
        return self.layout.version if self.layout else (1 if self.databases else 0)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it serves: TCP as host:port first, then "unix:PATH". Empty when it does not."""
        return self._server.addresses if self._server else ()

    @property
    def tcp_address(self) -> str:
        """Where it serves TCP, as host:port; empty when it does not."""
        if not listens_to_peers(self.config, self.folder.identity):
            return ""
        return next((address for address in self.addresses if not address.startswith("unix:")), "")

    @property
    def login_address(self) -> str:
        """Where callers without certificates log in, as host:port; empty when there is no such port."""
        if not self.config.login_listen:
            return ""
        place = 1 if listens_to_peers(self.config, self.folder.identity) else 0
        return self.addresses[place] if len(self.addresses) > place else ""

    @property
    def advertised_address(self) -> str:
        """The address others are told to use; empty when it serves no TCP."""
        return advertised(self.tcp_address, self.config.advertise)

    async def start(self) -> None:
        """Start everything. When something fails, what had started is stopped and the error raised.

        Raises:
            StorageLocked, BadConfValu, BadState: the folder cannot be used; see CellFolder.open.
            AddressInUse: another program has the port.
            CellError: what parts and storage raise.
        """
        if self.state is not CellState.UNSPECIFIED:
            raise BadState("a cell is started once", name=self.kind, state=self.state.value)
        self.state = CellState.STARTING
        self.start_time_ns = time.time_ns()
        try:
            self.folder.open()
            await self.prepare_identity()
            await self._recall_revocations()
            if self.databases:
                if self.has_mirrors:
                    # Cells outside of a mesh start without all that.
                    from cellmesh.common.cell.mirroring import open_mirror, seed_if_needed

                    await seed_if_needed(self)
                self._slab = await self.workers.run(self._open_slab)
                self._log_keeper = LogKeeper(self.slab, log_rules(self.config))
                if self.has_mirrors:
                    self.mirror = await open_mirror(self, self._slab)
                self._accounts = await self.workers.run(CellAccounts.open, self._slab, self.config)
                mirror = self.mirror
                if mirror is not None:
                    self._accounts.passwords.follows = lambda: mirror.is_follower
                self._keyvalues = KeyValues(self.slab)
                await self._apply_first_start()
            parts = self.parts()
            if self.mirror is not None:
                self.mirror.bind((*self._own_appliers(), *self.appliers()))
            for part in parts:
                await self._start_part(part)
            self.identity = self.folder.identity.cell_identity()
            await self._serve()
        except BaseException:
            await self.stop()
            raise
        self.state = CellState.READY
        _log.info("cell_ready", kind=self.kind, name=self.name, addresses=list(self.addresses))

    async def make_way(self) -> None:
        """See that another instance leads, if this one does and another one can: what a process does before it stops."""
        if self.mirror is not None and self.is_ready:
            from cellmesh.common.mirror.stopping import make_way

            await make_way(self.mirror, self.config.hand_over_timeout_s)

    async def stop(self) -> None:
        """Drain calls and stop everything that was started, in reverse. Errors are logged and do not stop it."""
        if self.state in (CellState.STOPPED, CellState.UNSPECIFIED):
            return
        served = self.state is not CellState.STARTING
        self.state = CellState.STOPPING
        while self._started:
            part = self._started.pop()
            try:
                await part.stop()
            except Exception as error:  # noqa: BLE001  the parts below it must be stopped whatever happens
                _log.error("part_stop_failed", exc_info=error, part=part.name)
        if not await self.workers.close():
            _log.warning("workers_still_busy")
        slab, self._slab, self._accounts, self._keyvalues = self._slab, None, None, None
        self._log_keeper = None
        if slab is not None:
            slab.close()
        stop_telemetry()
        self.folder.close()
        self.state = CellState.STOPPED
        if served:
            _log.info("cell_stopped", kind=self.kind, name=self.name)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start_part(self, part: Part) -> None:
        if isinstance(part, RolePart) and self.mirror is not None and self.mirror.is_follower:
            await part.role_changed(False)
        await part.start()
        self._started.append(part)

    async def role_changed(self, leads: bool) -> None:
        """Tell the parts that the cell leads now, or does not any more. For its mirror."""
        for part in tuple(self._started):
            if isinstance(part, RolePart):
                await part.role_changed(leads)

    def part_healths(self) -> list[tuple[str, PartHealth]]:
        """How its parts do, by name. From any thread."""
        return [(part.name, part.health()) for part in tuple(self._started)]

    def ask_for_restart(self, reason: str) -> None:
        """Have whoever runs the cell stop it and start it anew: its storage must be replaced."""
        _log.warning("restart_wanted", reason=reason)
        self.restart_wanted.set()

    def _own_appliers(self) -> Sequence[Applier]:
        """Those of what every cell has."""
        return (AuthApplier(self.auth), KeyValueApplier(self.keyvalues))

    def _require_accounts(self) -> CellAccounts:
        if self._accounts is None:
            raise BadState(f"the {self.kind} has no storage open", name=self.kind, state=self.state.value)
        return self._accounts

    def _open_slab(self) -> Slab:
        if self.config.compact_on_start:
            compact_slab(self.folder.slab_path, space_min_bytes=self.config.space_min_bytes)
        return Slab.open(
            self.folder.slab_path,
            self.all_databases(),
            map_size_bytes=self.config.map_size_bytes,
            layout=self.layout,
            space_min_bytes=self.config.space_min_bytes,
        )

    def all_databases(self) -> tuple[SubDb, ...]:
        """Its own databases, and those of what every cell has, whose changes are logged even if its own are not."""
        log = () if self.keeps_log else CHANGELOG_DATABASES
        return (*self.databases, *log, *AUTH_DATABASES, *KEYVALUE_DATABASES, *MIRROR_DATABASES)

    async def _apply_first_start(self) -> None:
        path = find_file(self.config.first_start, self.config.dir)
        follows = self.mirror is not None and self.mirror.is_follower
        if path is not None and not follows and is_new(self.slab, self.databases):
            settings = read_first_start(path)
            stores = self.slab, self.auth, self.passwords, self.keyvalues
            await self.workers.run(apply_first_start, settings, *stores)

    async def prepare_identity(self) -> None:
        """See that the cell has its name in the mesh, if it is to have one. Before its storage is open."""
        if not self.config.enroll or self.folder.identity.exists():
            return
        from cellmesh.common.tls.enrollment import enroll

        mesh = await self.workers.run(enroll, self.config.enroll, self.folder.identity)
        _log.info("cell_enrolled", name=mesh.name, network=mesh.network)

    async def _serve(self) -> None:
        endpoint = start_telemetry(self)
        if endpoint is not None:
            await self._start_part(endpoint)
            self.metrics_address = endpoint.address
        served = wire(self, tuple(self._started), self._accounts)
        for part in served.before:
            await self._start_part(part)
        self._server = served.server
        await self._start_part(served.server)
        await self.introduce()
        self._write_run()
        for part in served.after:
            await self._start_part(part)
        self._health = HealthWatch(served.watched, served.server.board, self._on_health)
        await self._start_part(self._health)
        if self.identity is not None and not self.keeps_revocations:
            network = self.identity.network
            from cellmesh.common.cell.revocations import RevocationFeed

            await self._start_part(RevocationFeed(self.folder.identity, network, self.revoked, self.workers))
        if self.identity is not None and self.registers() and self.advertised_address:
            from cellmesh.common.cell.registration import Registration

            await self._start_part(
                Registration(
                    self, self.folder.identity, lease_s=self.config.lease_s, also=self.told_folders()
                )
            )

    async def _recall_revocations(self) -> None:
        """What AHA has told before counts from the first call on, even while AHA is away."""
        if self.folder.identity.exists() and not self.keeps_revocations:
            self.revoked = await self.workers.run(RevocationList.load, self.folder.identity.path)

    def _write_run(self) -> None:
        self.folder.write_run(
            {
                "kind": self.kind,
                "name": self.name,
                "cell_id": self.cell_id,
                "version": self.version,
                "addresses": list(self.addresses),
                "start_time": datetime.fromtimestamp(self.start_time_ns / 1e9, UTC).isoformat(),
            }
        )

    def _on_health(self, state: PartState) -> None:
        if self.state in (CellState.READY, CellState.READ_ONLY):
            self.state = CellState.READ_ONLY if state is PartState.READ_ONLY else CellState.READY


__all__ = ["Cell", "CellState", "cellmesh_version"]
