"""CertificateService: enrolments made, certificates renewed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from cellmesh.aha.ca import Authority
from cellmesh.aha.ca.journal import expiry_ms
from cellmesh.aha.ca.revocations import RevocationBoard, serial_key
from cellmesh.aha.directory import Registry
from cellmesh.aha.directory.instances import timestamp
from cellmesh.aha.directory.pools import require_no_pool
from cellmesh.aha.provisioning import Enrollments
from cellmesh.aha.provisioning.enrollments import enrollment_id
from cellmesh.aha.provisioning.subjects import cell_subject, subject_of, user_subject
from cellmesh.api.aha.v1 import enrollment_pb2, revocation_pb2
from cellmesh.common.addresses import split_host_port
from cellmesh.common.auth.context import current_caller
from cellmesh.common.errors import AuthDeny, BadArg, BadName, DupName
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.storage import ReadTxn
from cellmesh.common.tls import certs
from cellmesh.common.tls.enrollment_url import EnrollmentUrl
from cellmesh.common.tls.identity import CellIdentity, Identity, parse_identity

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 1000

Context = Any


class CertificateServicer:
    """Serves cellmesh.api.aha.v1.CertificateService.

    Args:
        enrollments: Makes enrolments and certificates.
        authority: The network's authority.
        workers: Threads for blocking work.
        enroll_address: Tells where the enrolment port is reached, as host:port.
        board: What is revoked.
        registry: Who is registered: a cell that is revoked leaves.
        revoked_hook: Called after a revocation, as AHA itself may need another certificate.
    """

    def __init__(
        self,
        enrollments: Enrollments,
        authority: Authority,
        workers: Workers,
        enroll_address: Callable[[], str],
        board: RevocationBoard,
        registry: Registry,
        revoked_hook: Callable[[], Awaitable[object]],
    ) -> None:
        self._enrollments = enrollments
        self._authority = authority
        self._workers = workers
        self._enroll_address = enroll_address
        self._board = board
        self._registry = registry
        self._revoked_hook = revoked_hook

    async def CreateEnrollment(
        self, request: enrollment_pb2.CreateEnrollmentRequest, context: Context
    ) -> enrollment_pb2.CreateEnrollmentResponse:
        """See the proto."""
        subject = self._subject(request)
        lifetime_s = request.lifetime.ToNanoseconds() / 1e9
        token, expire_ms, made = await self._workers.run(self._enrollments.create, subject, lifetime_s)
        host, port = split_host_port(self._enroll_address())
        url = EnrollmentUrl(host=host, port=port, token=token, ca_der=self._authority.der).format()
        return enrollment_pb2.CreateEnrollmentResponse(
            url=url,
            expire_time=timestamp(expire_ms),
            name=made.name,
            enrollment_id=enrollment_id(token),
        )

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

    async def ListEnrollments(
        self, request: enrollment_pb2.ListEnrollmentsRequest, context: Context
    ) -> enrollment_pb2.ListEnrollmentsResponse:
        """See the proto."""
        found = await self._workers.run(lambda: self._enrollments.list(open_only=request.open_only))
        return enrollment_pb2.ListEnrollmentsResponse(
            enrollments=[
                enrollment_pb2.Enrollment(
                    enrollment_id=one,
                    name=parse_identity(item.subject).name,
                    expire_time=timestamp(item.expire_ms),
                    use_time=timestamp(item.use_ms),
                )
                for one, item in found
            ]
        )

    async def DeleteEnrollments(
        self, request: enrollment_pb2.DeleteEnrollmentsRequest, context: Context
    ) -> enrollment_pb2.DeleteEnrollmentsResponse:
        """See the proto."""
        ids = tuple(request.enrollment_ids)
        count = await self._workers.run(lambda: self._enrollments.delete(ids, every=request.all))
        return enrollment_pb2.DeleteEnrollmentsResponse(count=count)

    async def GetAuthority(
        self, request: revocation_pb2.GetAuthorityRequest, context: Context
    ) -> revocation_pb2.GetAuthorityResponse:
        """See the proto."""
        return revocation_pb2.GetAuthorityResponse(
            network=self._authority.network,
            ca_pem=self._authority.pem.decode(),
            expire_time=timestamp(expiry_ms(self._authority.certificate)),
        )

    async def ListCertificates(
        self, request: revocation_pb2.ListCertificatesRequest, context: Context
    ) -> revocation_pb2.ListCertificatesResponse:
        """See the proto."""
        if request.page_size < 0:
            raise BadArg("a page has at least one certificate", name="page_size", valu=request.page_size)
        subject = subject_of(request.name, self._authority.network).uri if request.name else ""
        after = serial_key(request.page_token) if request.page_token else b""
        count = min(request.page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        found = await self._workers.run(self._list, subject, request.valid_only, after, count + 1)
        more = len(found) > count
        return revocation_pb2.ListCertificatesResponse(
            certificates=found[:count], next_page_token=found[count - 1].serial if more else ""
        )

    def _list(
        self, subject: str, valid_only: bool, after: bytes, count: int
    ) -> list[revocation_pb2.Certificate]:
        revoked, now_ms = self._board.revoked, self._enrollments.now_ms()
        found = []
        for item in self._enrollments.issued(after, subject):
            revocation = revoked.get(item.serial)
            if valid_only and (revocation is not None or item.expire_ms <= now_ms):
                continue
            found.append(
                revocation_pb2.Certificate(
                    serial=item.serial,
                    name=parse_identity(item.subject).name,
                    expire_time=timestamp(item.expire_ms),
                    revoke_time=None if revocation is None else timestamp(revocation.revoke_ms),
                )
            )
            if len(found) == count:
                break
        return found

    async def RevokeCertificates(
        self, request: revocation_pb2.RevokeCertificatesRequest, context: Context
    ) -> revocation_pb2.RevokeCertificatesResponse:
        """See the proto."""
        store = self._board.store
        match request.WhichOneof("target"):
            case "serial":
                done = await self._workers.run(store.revoke_serial, request.serial, request.reason)
            case "name":
                identity = subject_of(request.name, self._authority.network)
                done = await self._workers.run(store.revoke_name, identity, request.reason)
            case _:
                raise BadArg("a serial number or a name is revoked", name="target")
        self._board.told(done)
        for subject in sorted({message.subject for _, message in done}):
            identity = parse_identity(subject)
            if isinstance(identity, CellIdentity) and not await self._workers.run(store.has_valid, subject):
                await self._registry.unregister(identity.name)
        await self._revoked_hook()
        return revocation_pb2.RevokeCertificatesResponse(revocations=[message for _, message in done])

    async def WatchRevocations(
        self, request: revocation_pb2.WatchRevocationsRequest, context: Context
    ) -> AsyncIterator[revocation_pb2.WatchRevocationsResponse]:
        """See the proto."""
        async for message in self._board.watch(request.revision):
            yield message

    def _subject(
        self, request: enrollment_pb2.CreateEnrollmentRequest
    ) -> Identity | Callable[[ReadTxn], Identity]:
        network, registry = self._authority.network, self._registry
        match request.WhichOneof("subject"):
            case "instance":
                named = request.instance.removesuffix(f".{network}")
                if "." not in named:
                    require_no_pool(registry.pools, named)
                    taken = {instance.name for instance in registry.all(named)}
                    return self._enrollments.next_instance(named, taken)
                identity = cell_subject(request.instance, network)
                require_no_pool(registry.pools, identity.service)
                if not request.again and registry.is_live(identity.name):
                    raise DupName(
                        f"{identity.name} is registered now, and a name is of one cell",
                        name=identity.name,
                        hint="stop that cell, or ask again with `again` (--again) if it is to be replaced",
                    )
                return identity
            case "user":
                return user_subject(request.user, network)
            case _:
                raise BadName("an enrolment is for an instance or for a user", name="")
