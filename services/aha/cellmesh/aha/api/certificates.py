"""CertificateService: enrolments made, certificates renewed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cellmesh.aha.ca import Authority
from cellmesh.aha.ca.journal import expiry_ms
from cellmesh.aha.directory.instances import timestamp
from cellmesh.aha.provisioning import Enrollments
from cellmesh.aha.provisioning.subjects import cell_subject, user_subject
from cellmesh.api.aha.v1 import enrollment_pb2
from cellmesh.common.addresses import split_host_port
from cellmesh.common.auth.context import current_caller
from cellmesh.common.errors import AuthDeny, BadName
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.tls import certs
from cellmesh.common.tls.enrollment_url import EnrollmentUrl
from cellmesh.common.tls.identity import Identity

Context = Any


class CertificateServicer:
    """Serves cellmesh.api.aha.v1.CertificateService.

    Args:
        enrollments: Makes enrolments and certificates.
        authority: The network's authority.
        workers: Threads for blocking work.
        enroll_address: Tells where the enrolment port is reached, as host:port.
    """

    def __init__(
        self,
        enrollments: Enrollments,
        authority: Authority,
        workers: Workers,
        enroll_address: Callable[[], str],
    ) -> None:
        self._enrollments = enrollments
        self._authority = authority
        self._workers = workers
        self._enroll_address = enroll_address

    async def CreateEnrollment(
        self, request: enrollment_pb2.CreateEnrollmentRequest, context: Context
    ) -> enrollment_pb2.CreateEnrollmentResponse:
        """See the proto."""
        subject = self._subject(request)
        lifetime_s = request.lifetime.ToNanoseconds() / 1e9
        token, expire_ms = await self._workers.run(self._enrollments.create, subject, lifetime_s)
        host, port = split_host_port(self._enroll_address())
        url = EnrollmentUrl(host=host, port=port, token=token, ca_der=self._authority.der).format()
        return enrollment_pb2.CreateEnrollmentResponse(url=url, expire_time=timestamp(expire_ms))

    async def RenewCertificate(
        self, request: enrollment_pb2.RenewCertificateRequest, context: Context
    ) -> enrollment_pb2.RenewCertificateResponse:
        """See the proto."""
        identity = current_caller().identity
        if identity is None:
            raise AuthDeny(
                "only who called with a certificate can have it renewed",
                hint="call over TLS, or enroll anew",
            )
        certificate = await self._workers.run(self._enrollments.renew, identity, request.csr_pem)
        return enrollment_pb2.RenewCertificateResponse(
            certificate_pem=certs.to_pem(certificate).decode(),
            ca_pem=self._authority.pem.decode(),
            expire_time=timestamp(expiry_ms(certificate)),
        )

    def _subject(self, request: enrollment_pb2.CreateEnrollmentRequest) -> Identity:
        network = self._authority.network
        match request.WhichOneof("subject"):
            case "instance":
                return cell_subject(request.instance, network)
            case "user":
                return user_subject(request.user, network)
            case _:
                raise BadName("an enrolment is for an instance or for a user", name="")
