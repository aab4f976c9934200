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
    POOL_SERVICE,
    REGISTRY_SERVICE,
)
from cellmesh.aha.api.pools import PoolServicer
from cellmesh.aha.api.registry import RegistryServicer
from cellmesh.aha.ca import Authority, Journal
from cellmesh.aha.ca.identities import make_identity, tell_registry
from cellmesh.aha.ca.revocations import RevocationBoard, RevocationStore
from cellmesh.aha.changes import change_writer
from cellmesh.aha.config import AhaConfig
from cellmesh.aha.directory import Leaders, LeaderTable, Registry
from cellmesh.aha.directory.names import Names
from cellmesh.aha.directory.pools import PoolStore
from cellmesh.aha.lists import StoredLists
from cellmesh.aha.parts import OWN_NUMBER, Introductions, Leases, OwnIdentities
from cellmesh.aha.provisioning import Enrollments
from cellmesh.aha.provisioning.subjects import REGISTRY_SERVICE as REGISTRY_NAME
from cellmesh.aha.provisioning.tokens import TokenChecker
from cellmesh.aha.replay import AhaApplier, remember
from cellmesh.aha.xds import DISCOVERY_SERVICE, XDS_PERMISSIONS, Catalog, DiscoveryServicer
from cellmesh.common.addresses import join_host_port, split_host_port
from cellmesh.common.auth.context import ROOT_USER
from cellmesh.common.auth.denials import Denials
from cellmesh.common.cell import Cell, Part
from cellmesh.common.changelog import Applier
from cellmesh.common.mirror.quorum import QuorumMesh
from cellmesh.common.rpc import RpcServer, ServerTls, Service, TcpListener
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.time.clock import SYSTEM_CLOCK, Clock
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity

_log = get_logger(__name__)

AUTHORITY_FOLDER: Final = "ca"
USERS_FOLDER: Final = "users"


class AhaCell(Cell[AhaConfig]):
    """The registry and certificate authority of a mesh as a process of its own."""

    kind = "aha"
    databases = schema.DATABASES
    layout = schema.LAYOUT
    # It has vouched for them itself, and they ask it where the other cells are.
    admits_unknown_users = True
    keeps_revocations = True
    backup_paths = (*Cell.backup_paths, AUTHORITY_FOLDER, USERS_FOLDER)
    # A mirror signs certificates when it has come to lead.
    seed_paths = (AUTHORITY_FOLDER,)

    def __init__(self, config: AhaConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(config)
        self.clock = clock
        self._enrollment: RpcServer | None = None
        self._refreshing: set[asyncio.Task[None]] = set()

    def parts(self) -> Sequence[Part]:
        """The authority with AHA's own certificate, then the registry."""
        config = self.config
        writer = change_writer(self.changes, self.clock)
        self.authority = self._open_authority()
        journal = Journal(self.slab, writer)
        self.enrollments = Enrollments(self.slab, writer, self.authority, journal, self.clock)
        self.registry = Registry(
            config.network,
            Names(self.slab, writer),
            self.workers,
            self.clock,
            restart_grace_s=config.restart_grace_s,
            peers_silence_s=lambda: self.mirror.peers_silence_s() if self.mirror is not None else None,
        )
        self.leaders = Leaders(LeaderTable(self.slab, writer), self.workers, self.registry.set_leader)
        self.board = RevocationBoard(RevocationStore(self.slab, writer, self.clock), self.revoked)
        self.pools = PoolServicer(
            PoolStore(self.slab, writer, self.clock, config.network), self.registry, self.workers
        )
        self._lists = StoredLists(self.board, self.pools, self.workers)
        self._denials = Denials(self.auth, self.workers)
        self._identities = OwnIdentities(self, journal)
        self.catalog = Catalog(self.registry)
        leases = Leases(self.registry, self.leaders)
        return self._denials, self._lists, self._identities, leases, self.catalog, Introductions(self)

    def appliers(self) -> Sequence[Applier]:
        """What applies the changes of the registry, and brings what is in memory in line in the event loop."""
        loop = asyncio.get_running_loop()
        registry, leaders = self.registry, self.leaders
        return (
            AhaApplier(
                lambda changes: loop.call_soon_threadsafe(remember, changes, registry, leaders, self.refresh)
            ),
        )

    def services(self) -> Sequence[Service]:
        """RegistryService, CertificateService and LeadershipService; EnrollmentService has its own port."""
        certificates = CertificateServicer(
            self.enrollments,
            self.authority,
            self.workers,
            lambda: self.enroll_address,
            self.board,
            self.registry,
            self._identities.look,
        )
        return (
            Service(REGISTRY_SERVICE, RegistryServicer(self.registry), PERMISSIONS),
            Service(CERTIFICATE_SERVICE, certificates, PERMISSIONS),
            Service(LEADERSHIP_SERVICE, LeadershipServicer(self.leaders, self.config.network), PERMISSIONS),
            Service(DISCOVERY_SERVICE, DiscoveryServicer(self.catalog), XDS_PERMISSIONS),
            Service(POOL_SERVICE, self.pools, PERMISSIONS),
        )

    async def prepare_identity(self) -> None:
        """Enrol with the AHA there is, or be the first one."""
        await super().prepare_identity()
        if not self.folder.identity.exists():
            await self.workers.run(self._make_first_identity)

    def _make_first_identity(self) -> None:
        # Noted in the journal by `OwnIdentities`, as soon as there is one.
        make_identity(
            self.folder.identity,
            CellIdentity(OWN_NUMBER, REGISTRY_NAME, self.config.network),
            self._open_authority(),
        )

    def _open_authority(self) -> Authority:
        config = self.config
        return Authority.open(
            config.dir / AUTHORITY_FOLDER,
            config.network,
            self.clock,
            lifetime=datetime.timedelta(days=config.certificate_lifetime_days),
            authority_lifetime=datetime.timedelta(days=config.authority_lifetime_days),
            hosts=config.certificate_hosts(),
        )

    def make_mesh(self, identity: CellIdentity) -> QuorumMesh:
        """Nobody stands above AHA: its instances ask each other."""
        return QuorumMesh(
            identity, self.folder.identity, lambda: self.advertised_address, self._other_instances
        )

    def _other_instances(self) -> dict[str, str]:
        """The instances of AHA that its registry knows, by name."""
        if not hasattr(self, "registry"):
            return {}
        found = self.registry.all(REGISTRY_NAME)
        return {instance.name: instance.address for instance in found if instance.name != self.name}

    def told_folders(self) -> Sequence[IdentityFolder]:
        """Root's."""
        return (self.root_folder,) if self.root_folder.exists() else ()

    async def role_changed(self, leads: bool) -> None:
        """Whoever leads has the enrolment port open."""
        await super().role_changed(leads)
        if leads and self._enrollment is None:
            await self._open_enrollment()
        elif not leads:
            await self._close_enrollment()

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

    async def stop(self) -> None:
        """Close the enrolment port and end the watches, which would hold up the rest, then stop."""
        await self._close_enrollment()
        if hasattr(self, "registry"):
            self.registry.close_watches()
            self.board.close()
        await super().stop()

    def refresh(self) -> None:
        """As a follower: what is revoked, and the pools, are read anew. In the event loop."""
        task = asyncio.create_task(self._lists.refresh(), name="stored-lists")
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)

    def _token_checker(self) -> TokenChecker | None:
        settings = self.config.token_settings()
        return None if settings is None else TokenChecker(settings, lambda: self.clock.now() / 1000)

    async def _open_enrollment(self) -> None:
        if not self.config.enroll_listen:
            return
        servicer = EnrollmentServicer(
            self.enrollments,
            self.authority,
            self.workers,
            self.registry_addresses,
            self._denials,
            self._token_checker(),
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

    async def _close_enrollment(self) -> None:
        enrollment, self._enrollment = self._enrollment, None
        if enrollment is not None:
            await enrollment.stop()

    def registry_addresses(self) -> tuple[str, ...]:
        """Where the instances of AHA are: this one first, then those that it knew or knows."""
        mesh = self.folder.identity.mesh()
        known = mesh.registry_addresses if mesh is not None else ()
        found = (self.advertised_address, *self._other_instances().values(), *known)
        return tuple(dict.fromkeys(address for address in found if address))

    async def introduce(self) -> None:
        """Tell itself and root where the registry is, and open the enrolment port, if it leads."""
        self.tell_addresses()
        if self.leads:
            await self._open_enrollment()

    def tell_addresses(self) -> None:
        """Note in its own identity and root's where the instances of AHA are."""
        for folder in (self.folder.identity, *self.told_folders()):
            tell_registry(folder, self.registry_addresses())
