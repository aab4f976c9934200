"""Tells AHA where the cell is, and keeps telling; renews the certificate when it is time.

The registration holds under a lease and is renewed at a third of it. When AHA has forgotten the cell, the
cell registers again; when AHA is away, the cell serves on and tries again with growing pauses, and says so
once when it goes and once when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

import grpc
from cellmesh.api.aha.v1 import (
    enrollment_pb2,
    enrollment_service_pb2_grpc,
    registry_pb2,
    registry_service_pb2_grpc,
)
from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.errors import CellError, CertRevoked, NoSuchName, from_rpc_error
from cellmesh.common.rpc.registry_link import RegistryLink
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.tls import rotate
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity

if TYPE_CHECKING:
    from cellmesh.common.cell.base import CellState

RENEWALS_PER_LEASE: Final = 3
BACK_OFF_MIN_S: Final = 0.2
BACK_OFF_MAX_S: Final = 1.0
"""So soon a cell whose registration has run out meanwhile is found again when the network is mended."""
BACK_OFF_FACTOR: Final = 2.0
CALL_DEADLINE_S: Final = 3.0
STOP_DEADLINE_S: Final = 1.0
FIRST_TRY_S: Final = 2.0
LEARN_INTERVAL_S: Final = 10.0
REGISTRY_COUNT_MAX: Final = 8
RENEWAL_RETRY_S: Final = 600.0
RENEWAL_RETRIES: Final = 10
"""At least so many attempts to renew fit into what is left of a certificate's life."""
REVOKED_CHECK_S: Final = 1.0
"""How often a cell whose certificate was revoked looks whether it has got another one."""

_log = get_logger(__name__)


class Registrant(Protocol):
    """What registration needs to know of a cell."""

    kind: ClassVar[str]
    identity: CellIdentity | None
    state: CellState

    @property
    def cell_id(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def advertised_address(self) -> str: ...
    @property
    def leads(self) -> bool: ...


class Registration:
    """A Part: registers on start, renews until stopped, then unregisters.

    Args:
        cell: Who registers.
        folder: Its identity; tells where the registry is.
        lease_s: For how long a registration holds unless renewed.
        also: Identity folders beside the cell's own that are kept told where the registry is.
    """

    def __init__(
        self, cell: Registrant, folder: IdentityFolder, *, lease_s: float, also: Sequence[IdentityFolder] = ()
    ) -> None:
        assert cell.identity is not None
        self._cell = cell
        self._identity = cell.identity
        self._folder = folder
        self._lease_s = lease_s
        self._link = RegistryLink(folder, self._identity.network)
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._away = False
        self._renew_after = 0.0
        self._told_leads = True
        self._told_folders = (folder, *also)
        self._learn_after_s = 0.0
        self.registered = False

    @property
    def name(self) -> str:
        """For logs."""
        return "registration"

    async def start(self) -> None:
        """Begin to register. Waits for the first try only, and only so long."""
        if not self._link.find():
            _log.warning(
                "registry_unknown", hint="the identity folder names no registry; this cell is not registered"
            )
            return
        self._task = asyncio.create_task(self._run(), name="registration")
        try:
            await asyncio.wait_for(self._tried.wait(), FIRST_TRY_S)
        except TimeoutError:
            # The task goes on and says what is wrong.
            return

    async def stop(self) -> None:
        """Leave the registry, if it can be reached quickly."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self.registered and self._link.is_open:
            request = registry_pb2.UnregisterInstanceRequest(name=self._identity.name)
            try:
                await self._registry().UnregisterInstance(request, timeout=STOP_DEADLINE_S)
            except grpc.aio.AioRpcError as error:
                _log.debug("unregister_failed", error=str(error.details()))
        self.registered = False
        await self._link.close()

    def health(self) -> PartHealth:
        """A cell without its registry serves on."""
        return WELL

    async def _run(self) -> None:
        back_off_s = BACK_OFF_MIN_S
        while True:
            try:
                await self._tell()
                pause_s = self._lease_s / RENEWALS_PER_LEASE
                back_off_s = BACK_OFF_MIN_S
                self._note_back()
                await self._learn_registries()
                await self._renew_certificate_if_due()
            except NoSuchName:
                # AHA has forgotten us, after a restart or a long pause.
                self.registered = False
                pause_s = 0.0 if back_off_s == BACK_OFF_MIN_S else back_off_s
                back_off_s = min(back_off_s * BACK_OFF_FACTOR, BACK_OFF_MAX_S)
            except CertRevoked as error:
                self.registered = False
                self._tried.set()
                await self._wait_for_another_certificate(error)
                pause_s = 0.0
            except CellError as error:
                self._note_away(error)
                # Even where there is one address: a channel that failed waits before it connects again.
                await self._link.close()
                await self._link.next_address()
                pause_s = back_off_s
                back_off_s = min(back_off_s * BACK_OFF_FACTOR, BACK_OFF_MAX_S)
            self._tried.set()
            await asyncio.sleep(pause_s)

    async def _tell(self) -> None:
        """Register, or renew the registration there is. Raises CellError; NoSuchName when it is forgotten."""
        ready = self._is_ready()
        registry = self._registry()
        if self._told_leads is not self._cell.leads:
            # A renewal does not tell it.
            self.registered = False
        try:
            if self.registered:
                await registry.RenewInstance(
                    registry_pb2.RenewInstanceRequest(name=self._identity.name, ready=ready),
                    timeout=CALL_DEADLINE_S,
                )
            else:
                await registry.RegisterInstance(self._register_request(ready), timeout=CALL_DEADLINE_S)
                self.registered = True
                self._told_leads = self._cell.leads
                _log.info("cell_registered", name=self._identity.name, address=self._cell.advertised_address)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, cell=self._link.name, address=self._link.address) from None

    def _register_request(self, ready: bool) -> registry_pb2.RegisterInstanceRequest:
        identity = self._identity
        request = registry_pb2.RegisterInstanceRequest(
            instance=registry_pb2.Instance(
                name=identity.name,
                service=identity.service,
                network=identity.network,
                kind=self._cell.kind,
                cell_id=self._cell.cell_id,
                address=self._cell.advertised_address,
                version=self._cell.version,
                ready=ready,
                leader=self._cell.leads,
            )
        )
        request.lease.FromNanoseconds(int(self._lease_s * 1e9))
        return request

    async def _learn_registries(self) -> None:
        """Keep noted where all instances of AHA are, for the time when the one in use is gone."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._learn_after_s:
            return
        self._learn_after_s = loop.time() + LEARN_INTERVAL_S
        request = registry_pb2.GetServiceRequest(name=self._link.name)
        try:
            response = await self._registry().GetService(request, timeout=CALL_DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            _log.debug("registries_unknown", error=str(error.details()))
            return
        found = [instance.address for instance in response.instances]
        if not found:
            return
        # The one in use stays first; an instance that is away for now is kept behind those that are there.
        known = self._link.addresses
        self._link.learn(_merged(self._link.address, found, known))
        for folder in self._told_folders:
            mesh = folder.mesh()
            if mesh is not None and set(mesh.registry_addresses) != set(self._link.addresses):
                folder.store_mesh(replace(mesh, registry_addresses=self._link.addresses))
                _log.info("registries_noted", addresses=list(self._link.addresses))

    def _is_ready(self) -> bool:
        # While the cell starts this part is its last: the services are up when it tells AHA of them.
        return self._cell.state.value in ("starting", "ready", "read-only")

    async def _renew_certificate_if_due(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._renew_after or not rotate.is_due(self._folder):
            return
        try:
            await rotate.renew(self._folder, self._ask_for_certificate)
        except CellError as error:
            left_s = (self._folder.certificate().not_valid_after_utc - datetime.now(UTC)).total_seconds()
            self._renew_after = loop.time() + min(RENEWAL_RETRY_S, max(left_s / RENEWAL_RETRIES, 0.0))
            _log.warning("certificate_renewal_failed", error=str(error))
            return
        _log.info("certificate_renewed", name=self._identity.name)
        # The channel still speaks with the old certificate.
        await self._link.close()

    async def _wait_for_another_certificate(self, error: CellError) -> None:
        """A cell whose certificate was revoked has no place in the registry until somebody enrols it anew."""
        revoked = self._folder.certificate().serial_number
        _log.error(
            "certificate_revoked",
            name=self._identity.name,
            error=str(error),
            hint="stop the cell, remove its folder certs, and enrol it anew, if it is to be trusted again",
        )
        await self._link.close()
        while True:
            await asyncio.sleep(REVOKED_CHECK_S)
            try:
                if self._folder.certificate().serial_number != revoked:
                    return
            except CellError as problem:
                _log.debug("certificate_not_readable", error=str(problem))

    async def _ask_for_certificate(self, csr_pem: bytes) -> tuple[bytes, bytes]:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(self._link.open())
        request = enrollment_pb2.RenewCertificateRequest(csr_pem=csr_pem.decode("ascii"))
        try:
            response = await stub.RenewCertificate(request, timeout=CALL_DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, cell=self._link.name, address=self._link.address) from None
        return response.certificate_pem.encode(), response.ca_pem.encode()

    def _registry(self) -> registry_service_pb2_grpc.RegistryServiceAsyncStub:
        return registry_service_pb2_grpc.RegistryServiceStub(self._link.open())

    def _note_away(self, error: CellError) -> None:
        if not self._away:
            self._away = True
            _log.warning("registry_away", error=str(error), registry=self._link.address)

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            _log.info("registry_back", registry=self._link.address)


def _merged(first: str, found: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The address in use, those that are registered now, those that were known, without repetition."""
    return tuple(dict.fromkeys((first, *sorted(found), *known)))[:REGISTRY_COUNT_MAX]
