"""Follows AHA's list of revoked certificates, so that a revocation counts in every cell within a second or so.

The list is kept in the cell's identity folder. While AHA is away, what is known stays in force.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import grpc
from cellmesh.api.aha.v1 import enrollment_service_pb2_grpc, revocation_pb2
from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.errors import CellError, FeatureNotSupported, NoSuchCert, from_rpc_error
from cellmesh.common.rpc.registry_link import RegistryLink
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.tls.revocation import Revocation, RevocationList

if TYPE_CHECKING:
    from cellmesh.common.rpc.workers import Workers
    from cellmesh.common.tls.folder import IdentityFolder

PAUSE_MIN_S: Final = 0.2
PAUSE_MAX_S: Final = 5.0
PAUSE_UNKNOWN_S: Final = 60.0
"""Before an AHA that is too old to tell is asked again."""

_log = get_logger(__name__)


class RevocationFeed:
    """A Part: follows AHA's list until stopped.

    Args:
        folder: The cell's identity; tells where AHA is.
        network: The cell's network.
        revoked: The list that is kept up to date.
        workers: Threads for writing it down.
    """

    name: Final = "revocations"

    def __init__(
        self, folder: IdentityFolder, network: str, revoked: RevocationList, workers: Workers
    ) -> None:
        self._revoked = revoked
        self._workers = workers
        self._link = RegistryLink(folder, network)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow; waits for nothing."""
        if self._link.find():
            self._task = asyncio.create_task(self._run(), name="revocations")

    async def stop(self) -> None:
        """Stop following."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._link.close()

    def health(self) -> PartHealth:
        """A cell goes on with what it knows."""
        return WELL

    async def _run(self) -> None:
        pause_s = PAUSE_MIN_S
        while True:
            try:
                await self._follow()
                pause_s = PAUSE_MIN_S
            except grpc.aio.AioRpcError as error:
                made = from_rpc_error(error, cell=self._link.name, address=self._link.address)
                _log.debug("revocations_not_followed", error=str(made))
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
                if isinstance(made, FeatureNotSupported):
                    pause_s = PAUSE_UNKNOWN_S
            except NoSuchCert as error:
                _log.warning("revocations_not_followed", error=str(error))
                pause_s = PAUSE_MAX_S
            # The next channel shows the certificate that is in the folder then.
            await self._link.close()
            self._revoked.revision = 0
            await self._link.next_address()
            await asyncio.sleep(pause_s)

    async def _follow(self) -> None:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(self._link.open())
        request = revocation_pb2.WatchRevocationsRequest(revision=self._revoked.revision)
        async for message in stub.WatchRevocations(request):
            if self._revoked.add(from_proto(item) for item in message.revocations):
                _log.info("certificates_revoked", count=len(message.revocations))
                await self._save()
            self._revoked.revision = message.revision

    async def _save(self) -> None:
        try:
            await self._workers.run(self._revoked.save)
        except (CellError, OSError) as error:
            # In force all the same; told again after the next start.
            _log.error("revocations_not_stored", error=str(error))


def from_proto(message: revocation_pb2.Revocation) -> Revocation:
    """Read a revocation."""
    return Revocation(
        serial=message.serial,
        subject=message.subject,
        revoke_ms=message.revoke_time.ToMilliseconds(),
        expire_ms=message.expire_time.ToMilliseconds(),
        reason=message.reason,
    )
