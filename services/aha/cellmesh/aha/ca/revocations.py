"""Certificates that are not to be trusted any more: stored, logged, and told to whoever watches.

A revocation has a revision, one more than the offset of its change record: it is the same at every instance of AHA, so
that a cell goes on from where it was when it asks another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

from cellmesh.aha import schema
from cellmesh.aha.ca.journal import SERIAL_SIZE, Issued, find_issued, issued_to
from cellmesh.api.aha.v1 import change_pb2, revocation_pb2
from cellmesh.common.changelog import ChangeWriter, actor_name
from cellmesh.common.errors import BadArg, NoSuchCert
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.common.storage.codecs import UINT64
from cellmesh.common.storage.walking import walk
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.time.clock import Clock
from cellmesh.common.tls.identity import Identity
from cellmesh.common.tls.revocation import Revocation, RevocationList

REASON_SIZE_MAX: Final = 512

_log = get_logger(__name__)


class RevocationStore:
    """The durable list. Blocking: called from worker threads.

    Args:
        slab: Open, with the databases of `schema`.
        changes: Writes the change log.
        clock: Where the time comes from.
    """

    def __init__(self, slab: Slab, changes: ChangeWriter, clock: Clock) -> None:
        self._slab = slab
        self._changes = changes
        self._clock = clock

    def revoke_serial(self, serial: str, reason: str) -> list[tuple[int, revocation_pb2.Revocation]]:
        """Revoke one certificate; durable when this returns. What was revoked before is left out of the answer.

        Raises:
            BadArg: this is no serial number.
            NoSuchCert: none of this number was issued.
        """
        key = serial_key(serial)
        with self._slab.view() as txn:
            found = find_issued(txn, key)
        if found is None:
            raise NoSuchCert(f"no certificate with the serial number {serial} was issued here", name=serial)
        return self._revoke([found], reason)

    def revoke_name(self, identity: Identity, reason: str) -> list[tuple[int, revocation_pb2.Revocation]]:
        """Revoke whatever was issued to a cell or user and has not ended by itself.

        Raises:
            NoSuchCert: nothing was.
        """
        now_ms = self._clock.now()
        with self._slab.view() as txn:
            found = list(issued_to(txn, identity.uri))
        if not found:
            raise NoSuchCert(f"no certificate was issued to {identity.name}", name=identity.name)
        return self._revoke([item for item in found if item.expire_ms > now_ms], reason)

    def has_valid(self, subject: str) -> bool:
        """Whether somebody has a certificate that is neither over nor revoked."""
        now_ms = self._clock.now()
        with self._slab.view() as txn:
            return any(
                not txn.has(schema.REVOCATIONS, serial_key(item.serial))
                for item in issued_to(txn, subject, now_ms)
            )

    def load(self) -> list[tuple[int, revocation_pb2.Revocation]]:
        """Everything, by revision."""
        with self._slab.view() as txn:
            return sorted(_stored(txn), key=lambda item: item[0])

    def _revoke(self, found: list[Issued], reason: str) -> list[tuple[int, revocation_pb2.Revocation]]:
        append_change = self._changes.begin()
        now_ms, revoker = self._clock.now(), actor_name()
        done: list[tuple[int, revocation_pb2.Revocation]] = []

        def op(txn: WriteTxn) -> None:
            # An op may run again.
            done.clear()
            for item in found:
                if txn.has(schema.REVOCATIONS, serial_key(item.serial)):
                    continue
                message = revocation_pb2.Revocation(
                    serial=item.serial,
                    subject=item.subject,
                    reason=reason[:REASON_SIZE_MAX],
                    revoker=revoker,
                )
                message.revoke_time.FromMilliseconds(now_ms)
                message.expire_time.FromMilliseconds(item.expire_ms)
                change = change_pb2.CertificateRevoked(revocation=message)
                offset = append_change(txn, change_pb2.AhaChange(certificate_revoked=change))
                done.append((put_revoked(txn, change, offset), message))

        self._slab.write(op)
        for _, message in done:
            _log.warning(
                "certificate_revoked",
                subject=message.subject,
                serial=message.serial,
                revoker=revoker,
                reason=message.reason,
            )
        return list(done)


class RevocationBoard:
    """What is revoked, in memory, and who watches it. Used in the event loop.

    Args:
        store: What is durable.
        revoked: The list that AHA itself goes by.
    """

    def __init__(self, store: RevocationStore, revoked: RevocationList) -> None:
        self.store = store
        self.revoked = revoked
        self._items: list[tuple[int, revocation_pb2.Revocation]] = []
        self._told = asyncio.Event()
        self._closed = False

    def fill(self, items: list[tuple[int, revocation_pb2.Revocation]]) -> None:
        """Begin with what is stored."""
        self._items = []
        self.told(items)

    def told(self, items: list[tuple[int, revocation_pb2.Revocation]]) -> None:
        """Take in what was revoked just now, here or by the AHA that leads."""
        known = {revision for revision, _ in self._items}
        self._items = sorted(
            [*self._items, *(item for item in items if item[0] not in known)], key=lambda item: item[0]
        )
        self.revoked.add(
            Revocation(
                serial=message.serial,
                subject=message.subject,
                revoke_ms=message.revoke_time.ToMilliseconds(),
                expire_ms=message.expire_time.ToMilliseconds(),
                reason=message.reason,
            )
            for _, message in items
        )
        told, self._told = self._told, asyncio.Event()
        told.set()

    def close(self) -> None:
        """End all watches."""
        self._closed = True
        self._told.set()

    async def watch(self, revision: int) -> AsyncIterator[revocation_pb2.WatchRevocationsResponse]:
        """What came after a revision, at once, and then what comes."""
        if revision > self._revision():
            # From before this AHA was restored: it has not seen that.
            revision = 0
        begun = False
        while not self._closed:
            told = self._told
            new = [(at, message) for at, message in self._items if at > revision]
            if new or not begun:
                begun, revision = True, max([revision, *(at for at, _ in new)])
                yield revocation_pb2.WatchRevocationsResponse(
                    revocations=[message for _, message in new], revision=revision
                )
            else:
                await told.wait()

    def _revision(self) -> int:
        return self._items[-1][0] if self._items else 0


def put_revoked(txn: WriteTxn, change: change_pb2.CertificateRevoked, offset: int) -> int:
    """Store what a change record at an offset tells; returns the revision."""
    revision = offset + 1
    value = UINT64.encode(revision) + change.revocation.SerializeToString(deterministic=True)
    txn.put(schema.REVOCATIONS, serial_key(change.revocation.serial), value)
    return revision


def serial_key(serial: str) -> bytes:
    """The key of a serial number. Raises BadArg."""
    try:
        return int(serial.replace(":", ""), 16).to_bytes(SERIAL_SIZE, "big")
    except (ValueError, OverflowError):
        raise BadArg(
            f"{serial[:64]!r} is no serial number: hexadecimal digits", name="serial", valu=serial[:64]
        ) from None


def _stored(txn: ReadTxn) -> Iterator[tuple[int, revocation_pb2.Revocation]]:
    for _, value in walk(txn, schema.REVOCATIONS):
        yield UINT64.decode(value[:8]), revocation_pb2.Revocation.FromString(value[8:])
