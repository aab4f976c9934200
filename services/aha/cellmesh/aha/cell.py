"""Builds AHA's parts and services, and opens the enrolment port once the registry serves."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Sequence
from typing import Final

from cellmesh.aha import schema
from cellmesh.aha.api.certificates import CertificateServicer
from cellmesh.aha.api.enrollment import EnrollmentServicer
from cellmesh.aha.api.leadership import LeadershipServicer
from cellmesh.aha.api.permissions import (
    CERTIFICATE_SERVICE,
    ENROLLMENT_SERVICE,
    LEADERSHIP_SERVICE,
    PERMISSIONS,
    REGISTRY_SERVICE,
)
from cellmesh.aha.api.registry import RegistryServicer
from cellmesh.aha.ca import Authority, Journal
from cellmesh.aha.ca.identities import ensure_identity, tell_registry
from cellmesh.aha.changes import change_writer
from cellmesh.aha.config import AhaConfig
from cellmesh.aha.directory import Instance, Leaders, LeaderTable, Registry
from cellmesh.aha.directory.names import Names
from cellmesh.aha.provisioning import Enrollments
from cellmesh.aha.provisioning.subjects import REGISTRY_SERVICE as REGISTRY_NAME
from cellmesh.aha.replay import AhaApplier, remember
from cellmesh.common.addresses import join_host_port, split_host_port
from cellmesh.common.cell import Cell, Part, PartHealth
from cellmesh.common.changelog import Applier
from cellmesh.common.errors import CellError
from cellmesh.common.rpc import RpcServer, ServerTls, Service, TcpListener
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.time.clock import SYSTEM_CLOCK, Clock
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity, UserIdentity

_log = get_logger(__name__)

AUTHORITY_FOLDER: Final = "ca"
USERS_FOLDER: Final = "users"
ROOT_USER: Final = "root"
OWN_NUMBER: Final = "00"
IDENTITY_CHECK_S: Final = 3600.0


class AhaCell(Cell[AhaConfig]):
    """The registry and certificate authority of a mesh as a process of its own."""

    kind = "aha"
    databases = schema.DATABASES
    # It has vouched for them itself, and they ask it where the other cells are.
    admits_unknown_users = True
    backup_paths = (*Cell.backup_paths, AUTHORITY_FOLDER, USERS_FOLDER)

    def __init__(self, config: AhaConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(config)
        self.clock = clock
        self._enrollment: RpcServer | None = None

    def parts(self) -> Sequence[Part]:
        """The authority with AHA's own certificate, then the registry."""
        config = self.config
        writer = change_writer(self.changes, self.clock)
        self.authority = Authority.open(
            config.dir / AUTHORITY_FOLDER,
            config.network,
            self.clock,
            lifetime=datetime.timedelta(days=config.certificate_lifetime_days),
            authority_lifetime=datetime.timedelta(days=config.authority_lifetime_days),
        )
        journal = Journal(self.slab, writer)
        self.enrollments = Enrollments(self.slab, writer, self.authority, journal, self.clock)
        self.registry = Registry(
            config.network,
            Names(self.slab, writer),
            self.workers,
            self.clock,
            restart_grace_s=config.restart_grace_s,
        )
        self.leaders = Leaders(LeaderTable(self.slab, writer), self.workers, self.registry.set_leader)
        return OwnIdentities(self, journal), Leases(self.registry, self.leaders)

    def appliers(self) -> Sequence[Applier]:
        """What applies the changes of the registry, and brings what is in memory in line in the event loop."""
        loop = asyncio.get_running_loop()
        registry, leaders = self.registry, self.leaders
        return (AhaApplier(lambda changes: loop.call_soon_threadsafe(remember, changes, registry, leaders)),)

    def services(self) -> Sequence[Service]:
        """RegistryService, CertificateService and LeadershipService; EnrollmentService has its own port."""
        certificates = CertificateServicer(
            self.enrollments, self.authority, self.workers, lambda: self.enroll_address
        )
        return (
            Service(REGISTRY_SERVICE, RegistryServicer(self.registry), PERMISSIONS),
            Service(CERTIFICATE_SERVICE, certificates, PERMISSIONS),
            Service(LEADERSHIP_SERVICE, LeadershipServicer(self.leaders, self.config.network), PERMISSIONS),
        )

    def registers(self) -> bool:
        """It is the registry."""
        return False

    @property
    def root_folder(self) -> IdentityFolder:
        """The identity of the root user."""
        return IdentityFolder(self.config.dir / USERS_FOLDER / ROOT_USER)

    @property
    def enroll_address(self) -> str:
        """Where the enrolment port is reached, as host:port; empty while it is closed."""
        if self._enrollment is None:
            return ""
        host, port = split_host_port(self._enrollment.addresses[0])
        if self.config.advertise and self.advertised_address:
            host = split_host_port(self.advertised_address)[0]
        return join_host_port(host, port)

    async def start(self) -> None:
        """Start everything; the enrolment port last, as who enrols is told where the registry is."""
        await super().start()
        try:
            await self._open_enrollment()
            self._introduce()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the enrolment port and end the watches, which would hold up the rest, then stop."""
        enrollment, self._enrollment = self._enrollment, None
        if enrollment is not None:
            await enrollment.stop()
        if hasattr(self, "registry"):
            self.registry.close_watches()
        await super().stop()

    async def _open_enrollment(self) -> None:
        if not self.config.enroll_listen:
            return
        servicer = EnrollmentServicer(
            self.enrollments, self.authority, self.workers, self._registry_addresses
        )
        server = RpcServer(
            "the enrolment port of AHA",
            (Service(ENROLLMENT_SERVICE, servicer, PERMISSIONS),),
            (TcpListener(self.config.enroll_listen, ServerTls(self.folder.identity, require_client=False)),),
            stop_grace_s=self.config.stop_grace_s,
        )
        await server.start()
        self._enrollment = server
        _log.info("enrollment_open", address=server.addresses[0])

    def _registry_addresses(self) -> tuple[str, ...]:
        address = self.advertised_address
        return (address,) if address else ()

    def _introduce(self) -> None:
        """Tell root where the registry is, and the registry that it is there."""
        for folder in (self.folder.identity, self.root_folder):
            tell_registry(folder, self._registry_addresses())
        self.registry.register_self(
            Instance(
                name=self.name,
                service=REGISTRY_NAME,
                network=self.config.network,
                kind=self.kind,
                cell_id=self.cell_id,
                address=self.advertised_address or self.addresses[0],
                version=self.version,
                ready=True,
                leader=self.leads,
            )
        )


class OwnIdentities:
    """A Part: AHA's own certificate and that of root, made at the start and kept from running out.

    Only where AHA leads, as what is issued is logged.
    """

    name = "own identities"

    def __init__(self, cell: AhaCell, journal: Journal) -> None:
        network = cell.config.network
        self._cell = cell
        self._journal = journal
        own = cell.folder.identity.cell_identity()
        if own is None or (own.service, own.network) != (REGISTRY_NAME, network):
            own = CellIdentity(OWN_NUMBER, REGISTRY_NAME, network)
        self._wanted = (
            (cell.folder.identity, own),
            (cell.root_folder, UserIdentity(ROOT_USER, network)),
        )
        self._leads = True
        self._task: asyncio.Task[None] | None = None

    async def role_changed(self, leads: bool) -> None:
        """See RolePart: who leads anew looks at once."""
        self._leads = leads
        if self._task is not None:
            await self._try()

    async def start(self) -> None:
        """Make what is missing or old."""
        await self._cell.workers.run(self._ensure)
        self._task = asyncio.create_task(self._keep(), name="own-identities")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def health(self) -> PartHealth:
        """Always well: a certificate is renewed long before it ends."""
        return PartHealth()

    def _ensure(self) -> None:
        if not self._leads:
            return
        now = datetime.datetime.fromtimestamp(self._cell.clock.now() / 1000, datetime.UTC)
        for folder, identity in self._wanted:
            if ensure_identity(folder, identity, self._cell.authority, self._journal, now):
                _log.info("identity_issued", name=identity.name)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(IDENTITY_CHECK_S)
            await self._try()

    async def _try(self) -> None:
        try:
            await self._cell.workers.run(self._ensure)
        except CellError as error:
            _log.error("own_identity_not_renewed", exc_info=error)


class Leases:
    """A Part: the registry and who leads as they were before a restart, and the end of leases."""

    name = "leases"

    def __init__(self, registry: Registry, leaders: Leaders) -> None:
        self._registry = registry
        self._leaders = leaders
        self._task: asyncio.Task[None] | None = None

    async def role_changed(self, leads: bool) -> None:
        """See RolePart: who follows holds no leases, who leads anew gives all a fresh one."""
        await self._leaders.recover()
        await self._registry.role_changed(leads)

    async def start(self) -> None:
        """Recover, then look at the leases."""
        await self._leaders.recover()
        count = await self._registry.recover()
        if count:
            _log.info("registry_recovered", count=count)
        self._task = asyncio.create_task(self._registry.expire_forever(), name="leases")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def health(self) -> PartHealth:
        """Always well: what it does cannot fail for long."""
        return PartHealth()
