"""One-time enrolments: a token, told once and stored as its hash, becomes a certificate once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from cellmesh.aha import schema
from cellmesh.aha.ca.journal import Issued, Journal, issued_to, note_issued, scan_issued
from cellmesh.aha.ca.revocations import serial_key
from cellmesh.aha.provisioning.records import (
    ID_SIZE,
    Enrollment,
    find_by_id,
    invited,
    is_open,
    put_created,
    put_deleted,
    put_used,
    scan_enrollments,
    scan_open,
)
from cellmesh.aha.provisioning.subjects import REGISTRY_SERVICE
from cellmesh.api.aha.v1 import change_pb2
from cellmesh.api.common.v1 import auth_pb2
from cellmesh.common.auth import audit
from cellmesh.common.auth.context import find_current_call
from cellmesh.common.changelog import ChangeWriter, actor_name
from cellmesh.common.errors import AuthDeny, BadArg, LimitExceeded, Retry
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.time.clock import Clock
from cellmesh.common.tls import certs
from cellmesh.common.tls.authority import Authority
from cellmesh.common.tls.identity import CellIdentity, Identity, parse_identity

_log = get_logger(__name__)

ANSWER_AGAIN_MS: Final = 10 * 60_000
"""For how long who used a token up may ask for the same answer again, with the same key."""
LIST_COUNT_MAX: Final = 1000
NUMBER_MAX: Final = 10_000
LIFETIME_S_DEFAULT: Final = 3600.0
LIFETIME_S_MAX: Final = 7 * 86400.0
TOKEN_SIZE: Final = 32
CSR_SIZE_MAX: Final = 16 * 1024


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

    def create(
        self, identity: Identity | Callable[[ReadTxn], Identity], lifetime_s: float = 0.0
    ) -> tuple[str, int, Identity]:
        """Make an enrolment; durable when this returns.

        Args:
            identity: Who may enrol, or what finds it in the very transaction that notes it.
            lifetime_s: For how long; 0 means LIFETIME_S_DEFAULT.

        Returns:
            The token, which is stored nowhere, when it ends, in milliseconds since 1970, and who may enrol.

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
        created = change_pb2.EnrollmentCreated(token_sha256=key, creator=actor_name())
        created.expire_time.FromMilliseconds(expire_ms)
        append_change, note = self._changes.begin(), self._audit("enrollment_created")

        def op(txn: WriteTxn) -> Identity:
            found = identity(txn) if callable(identity) else identity
            created.subject = found.uri
            put_created(txn, created)
            append_change(txn, change_pb2.AhaChange(enrollment_created=created))
            note(txn, found.name, f"enrolment {key[:ID_SIZE].hex()}")
            return found

        subject = self._slab.write(op)
        _log.info("enrollment_created", subject=subject.uri, creator=actor_name())
        return token, expire_ms, subject

    def use(self, token: str, csr_pem: str) -> Enrolled:
        """Use up a token for a certificate; durable when this returns.

        A request that cannot be read does not use up the token. Who asks again with the same key, because the answer
        was lost, gets the same certificate.

        Raises:
            AuthDeny: the token is unknown, used up or over.
            BadCertBytes: the request cannot be read.
        """
        public_key = read_csr(csr_pem)
        key, key_hash = _key(token), certs.public_key_hash(public_key)
        now_ms = self._clock.now()
        with self._slab.view() as txn:
            enrollment = _check(txn.get(schema.ENROLLMENTS, key), now_ms, key_hash)
        identity = parse_identity(enrollment.subject)
        if enrollment.use_ms:
            _log.info("enrollment_answered_again", subject=identity.uri)
            return Enrolled(identity, certs.from_der(enrollment.certificate_der))
        certificate = self._authority.issue(public_key, identity)
        used = change_pb2.EnrollmentUsed(
            token_sha256=key, key_sha256=key_hash, certificate_der=certs.to_der(certificate)
        )
        used.use_time.FromMilliseconds(now_ms)
        append_change, note = self._changes.begin(), self._audit("enrollment_used")

        def op(txn: WriteTxn) -> None:
            # Looked at again, as another call may have been quicker.
            if _check(txn.get(schema.ENROLLMENTS, key), now_ms, key_hash).use_ms:
                raise Retry("the same request is being answered")
            put_used(txn, used)
            append_change(txn, change_pb2.AhaChange(enrollment_used=used))
            note_issued(txn, append_change, certificate, identity)
            serial = certs.serial_text(certificate)
            note(txn, identity.name, f"enrolment {key[:ID_SIZE].hex()}, certificate {serial}")

        self._slab.write(op)
        _log.info("enrolled", subject=identity.uri)
        return Enrolled(identity, certificate)

    def use_account(self, account: str, identity: CellIdentity, csr_pem: str) -> Enrolled:
        """Issue a certificate to who has proved to be a service account that may be this cell.

        Raises:
            BadCertBytes: the request cannot be read.
        """
        certificate = self._authority.issue(read_csr(csr_pem), identity)
        append_change, note = self._changes.begin(), self._audit("account_enrolled")

        def op(txn: WriteTxn) -> None:
            note_issued(txn, append_change, certificate, identity)
            note(txn, identity.name, f"{account}, certificate {certs.serial_text(certificate)}")

        self._slab.write(op)
        _log.info("account_enrolled", subject=identity.uri, account=account)
        return Enrolled(identity, certificate)

    def list(self, *, open_only: bool) -> list[tuple[str, Enrollment]]:
        """The enrolments that were made, with their ids; those that end last come first."""
        now_ms = self._clock.now()
        with self._slab.view() as txn:
            stored = scan_open(txn, now_ms) if open_only else scan_enrollments(txn)
            found = [(key[:ID_SIZE].hex(), item) for key, item in stored]
        return sorted(found, key=lambda item: -item[1].expire_ms)[:LIST_COUNT_MAX]

    def delete(self, enrollment_ids: Collection[str], *, every: bool) -> int:
        """Make tokens worthless that can still be used; returns how many.

        Raises:
            NoSuchIden: no enrolment has one of the ids.
        """
        now_ms = self._clock.now()
        append_change, note = self._changes.begin(), self._audit("enrollment_deleted")

        def op(txn: WriteTxn) -> int:
            wanted = dict(find_by_id(txn, one) for one in enrollment_ids)
            gone = [(key, item) for key, item in wanted.items() if is_open(item, now_ms)]
            if every:
                gone = list(scan_open(txn, now_ms))
            for key, item in gone:
                put_deleted(txn, key)
                deleted = change_pb2.EnrollmentDeleted(token_sha256=key)
                append_change(txn, change_pb2.AhaChange(enrollment_deleted=deleted))
                note(txn, parse_identity(item.subject).name, f"enrolment {key[:ID_SIZE].hex()}")
            return len(gone)

        return self._slab.write(op)

    def next_instance(self, service: str, registered: Collection[str]) -> Callable[[ReadTxn], CellIdentity]:
        """What finds the first number of a service that nobody has: by certificate, open enrolment or registration.

        Raises:
            BadName: the service is malformed.
        """
        now_ms, network = self._clock.now(), self._authority.network
        first = 1 if service == REGISTRY_SERVICE else 0
        CellIdentity("00", service, network)

        def is_taken(txn: ReadTxn, subject: str) -> bool:
            if next(invited(txn, subject, now_ms), None) is not None:
                return True
            valid = issued_to(txn, subject, now_ms)
            return any(not txn.has(schema.REVOCATIONS, serial_key(item.serial)) for item in valid)

        def find(txn: ReadTxn) -> CellIdentity:
            for number in range(first, NUMBER_MAX):
                identity = CellIdentity(f"{number:02}", service, network)
                if identity.name not in registered and not is_taken(txn, identity.uri):
                    return identity
            raise LimitExceeded(f"{service} has no free number", name="number", limit=NUMBER_MAX)

        return find

    def issued(self, after: bytes = b"", subject: str = "") -> Iterator[Issued]:
        """Everything that was issued, or was to a subject, by serial number, behind one (20 bytes)."""
        with self._slab.view() as txn:
            if not subject:
                yield from scan_issued(txn, after)
                return
            found = sorted((serial_key(item.serial), item) for item in issued_to(txn, subject))
            yield from (item for key, item in found if key > after)

    def now_ms(self) -> int:
        """The time, in milliseconds since 1970."""
        return self._clock.now()

    def _audit(self, action: str) -> Callable[[WriteTxn, str, str], None]:
        """What notes in the audit log, in a transaction, that something was done by the caller of now."""
        call, actor = find_current_call(), actor_name()
        time_us = self._clock.now() * 1000

        def note(txn: WriteTxn, target: str, detail: str) -> None:
            entry = audit.AuditEntry(
                auth_pb2.AUDIT_KIND_CHANGE,
                actor,
                action,
                target,
                detail,
                call.peer if call else "",
                call.request_id if call else "",
            )
            audit.append(txn, entry, time_us)

        return note

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


def enrollment_id(token: str) -> str:
    """What names the enrolment of a token in lists."""
    return _key(token)[:ID_SIZE].hex()


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


def _check(stored: bytes | None, now_ms: int, key_hash: bytes) -> Enrollment:
    hint = "ask for a new one: cellmesh aha provision"
    if stored is None:
        raise AuthDeny("this enrolment URL is not known here", hint=hint)
    enrollment = Enrollment.decode(stored)
    if (
        enrollment.certificate_der
        and enrollment.key_sha256 == key_hash
        and now_ms < enrollment.use_ms + ANSWER_AGAIN_MS
    ):
        return enrollment
    if enrollment.use_ms:
        raise AuthDeny("this enrolment URL was used already; each is good once", hint=hint)
    if enrollment.expire_ms <= now_ms:
        raise AuthDeny("this enrolment URL has run out", hint=hint)
    return enrollment
