"""One-time enrolments: a token, told once and stored as its hash, becomes a certificate once."""

from __future__ import annotations

import hashlib
import secrets
import struct
from dataclasses import dataclass, replace
from typing import Final

from cellmesh.aha import schema
from cellmesh.aha.ca.authority import Authority
from cellmesh.aha.ca.journal import Journal, note_issued
from cellmesh.api.aha.v1 import change_pb2
from cellmesh.common.changelog import ChangeWriter, actor_name
from cellmesh.common.errors import AuthDeny, BadArg
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.time.clock import Clock
from cellmesh.common.tls import certs
from cellmesh.common.tls.identity import Identity, parse_identity

_log = get_logger(__name__)

LIFETIME_S_DEFAULT: Final = 3600.0
LIFETIME_S_MAX: Final = 7 * 86400.0
TOKEN_SIZE: Final = 32
CSR_SIZE_MAX: Final = 16 * 1024

_TIMES = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class Enrollment:
    """What is stored about one enrolment.

    Attributes:
        subject: Who may enrol, as a URI.
        expire_ms: Until when, in milliseconds since 1970.
        use_ms: When it was used up, or 0.
    """

    subject: str
    expire_ms: int
    use_ms: int = 0

    def encode(self) -> bytes:
        """As stored."""
        return _TIMES.pack(self.expire_ms, self.use_ms) + self.subject.encode()

    @classmethod
    def decode(cls, data: bytes) -> Enrollment:
        """From what is stored."""
        expire_ms, use_ms = _TIMES.unpack_from(data)
        return cls(data[_TIMES.size :].decode(), expire_ms, use_ms)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Who enrolled, with the certificate."""

    identity: Identity
    certificate: certs.Certificate


class Enrollments:
    """Makes enrolments and uses them up. Blocking: called from worker threads.

    Args:
        slab: Open, with the databases of `schema`.
        changes: Writes the change log.
        authority: Issues the certificates.
        journal: Notes them.
        clock: Where the time comes from.
    """

    def __init__(
        self, slab: Slab, changes: ChangeWriter, authority: Authority, journal: Journal, clock: Clock
    ) -> None:
        self._slab = slab
        self._changes = changes
        self._authority = authority
        self._journal = journal
        self._clock = clock

    def create(self, identity: Identity, lifetime_s: float = 0.0) -> tuple[str, int]:
        """Make an enrolment; durable when this returns.

        Args:
            identity: Who may enrol.
            lifetime_s: For how long; 0 means LIFETIME_S_DEFAULT.

        Returns:
            The token, which is stored nowhere, and when it ends, in milliseconds since 1970.

        Raises:
            BadArg: the lifetime is negative or longer than LIFETIME_S_MAX.
        """
        if not 0 <= lifetime_s <= LIFETIME_S_MAX:
            raise BadArg(
                "an enrolment lasts up to 7 days", name="lifetime", valu=lifetime_s, limit=LIFETIME_S_MAX
            )
        token = secrets.token_urlsafe(TOKEN_SIZE)
        expire_ms = self._clock.now() + int((lifetime_s or LIFETIME_S_DEFAULT) * 1000)
        key = _key(token)
        created = change_pb2.EnrollmentCreated(token_sha256=key, subject=identity.uri, creator=actor_name())
        created.expire_time.FromMilliseconds(expire_ms)
        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> None:
            put_created(txn, created)
            append_change(txn, change_pb2.AhaChange(enrollment_created=created))

        self._slab.write(op)
        _log.info("enrollment_created", subject=identity.uri, creator=actor_name())
        return token, expire_ms

    def use(self, token: str, csr_pem: str) -> Enrolled:
        """Use up a token for a certificate; durable when this returns.

        A request that cannot be read does not use up the token.

        Raises:
            AuthDeny: the token is unknown, used up or over.
            BadCertBytes: the request cannot be read.
        """
        public_key = read_csr(csr_pem)
        key = _key(token)
        now_ms = self._clock.now()
        with self._slab.view() as txn:
            enrollment = _check(txn.get(schema.ENROLLMENTS, key), now_ms)
        identity = parse_identity(enrollment.subject)
        certificate = self._authority.issue(public_key, identity)
        used = change_pb2.EnrollmentUsed(token_sha256=key)
        used.use_time.FromMilliseconds(now_ms)
        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> None:
            # Looked at again, as another call may have been quicker.
            _check(txn.get(schema.ENROLLMENTS, key), now_ms)
            put_used(txn, used)
            append_change(txn, change_pb2.AhaChange(enrollment_used=used))
            note_issued(txn, append_change, certificate, identity)

        self._slab.write(op)
        _log.info("enrolled", subject=identity.uri)
        return Enrolled(identity, certificate)

    def renew(self, identity: Identity, csr_pem: str) -> certs.Certificate:
        """Issue a fresh certificate to someone who has one.

        Raises:
            BadCertBytes: the request cannot be read.
            AuthDeny: the present certificate is of another network.
        """
        if identity.network != self._authority.network:
            raise AuthDeny(
                f"{identity.name} is not of the network {self._authority.network}", user=identity.name
            )
        certificate = self._authority.issue(read_csr(csr_pem), identity)
        self._journal.note(certificate, identity)
        _log.info("certificate_renewed", subject=identity.uri)
        return certificate


def put_created(txn: WriteTxn, created: change_pb2.EnrollmentCreated) -> None:
    """Store what a change record tells of a new enrolment."""
    enrollment = Enrollment(created.subject, created.expire_time.ToMilliseconds())
    txn.put(schema.ENROLLMENTS, created.token_sha256, enrollment.encode())


def put_used(txn: WriteTxn, used: change_pb2.EnrollmentUsed) -> bool:
    """Store what a change record tells of an enrolment that was used up; False when there is none."""
    found = txn.get(schema.ENROLLMENTS, used.token_sha256)
    if found is None:
        return False
    enrollment = replace(Enrollment.decode(found), use_ms=used.use_time.ToMilliseconds())
    txn.put(schema.ENROLLMENTS, used.token_sha256, enrollment.encode())
    return True


def read_csr(csr_pem: str) -> certs.PublicKey:
    """The public key of a signing request.

    Raises:
        BadCertBytes: it cannot be read, or its sender does not hold the key.
        BadArg: it is far too large.
    """
    if len(csr_pem) > CSR_SIZE_MAX:
        raise BadArg("the signing request is too large", name="csr_pem", size_max=CSR_SIZE_MAX)
    return certs.csr_public_key(csr_pem.encode())


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _check(stored: bytes | None, now_ms: int) -> Enrollment:
    hint = "ask for a new one: cellmesh aha provision"
    if stored is None:
        raise AuthDeny("this enrolment URL is not known here", hint=hint)
    enrollment = Enrollment.decode(stored)
    if enrollment.use_ms:
        raise AuthDeny("this enrolment URL was used already; each is good once", hint=hint)
    if enrollment.expire_ms <= now_ms:
        raise AuthDeny("this enrolment URL has run out", hint=hint)
    return enrollment
