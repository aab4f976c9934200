"""EnrollmentService: from a one-time token to a certificate. Served where nobody has a certificate yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cellmesh.aha.ca import Authority
from cellmesh.aha.ca.journal import expiry_ms
from cellmesh.aha.directory.instances import timestamp
from cellmesh.aha.provisioning import Enrollments
from cellmesh.api.aha.v1 import enrollment_pb2
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.tls import certs

Context = Any


class EnrollmentServicer:
    """Serves cellmesh.api.aha.v1.EnrollmentService.

    Args:
        enrollments: Uses up tokens.
        authority: The network's authority.
        workers: Threads for blocking work.
        registry_addresses: Tells where the registry is reached.
    """

    def __init__(
        self,
        enrollments: Enrollments,
        authority: Authority,
        workers: Workers,
        registry_addresses: Callable[[], tuple[str, ...]],
    ) -> None:
        self._enrollments = enrollments
        self._authority = authority
        self._workers = workers
        self._registry_addresses = registry_addresses

    async def Enroll(
        self, request: enrollment_pb2.EnrollRequest, context: Context
    ) -> enrollment_pb2.EnrollResponse:
        """See the proto."""
        enrolled = await self._workers.run(self._enrollments.use, request.token, request.csr_pem)
        return enrollment_pb2.EnrollResponse(
            certificate_pem=certs.to_pem(enrolled.certificate).decode(),
            ca_pem=self._authority.pem.decode(),
            name=enrolled.identity.name,
            network=self._authority.network,
            registry_addresses=self._registry_addresses(),
            expire_time=timestamp(expiry_ms(enrolled.certificate)),
        )
