"""AhaApplier: AHA's change records, applied by a follower or by the replay of a log.

Records hold all that AHA stores. What is in no record: the key of the authority, which is in AHA's folder and
reaches a follower by the backup that seeds it; tokens of enrolments, of which only hashes are stored; and leases,
which the AHA that leads holds in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from cellmesh.aha import schema
from cellmesh.aha.ca.journal import put_issued
from cellmesh.aha.ca.revocations import put_revoked
from cellmesh.aha.changes import TYPE_NAME
from cellmesh.aha.directory.instances import from_proto
from cellmesh.aha.directory.leadership import Leaders, leader_from_proto
from cellmesh.aha.directory.pools import put_pool
from cellmesh.aha.directory.registry import Registry
from cellmesh.aha.provisioning.records import put_created, put_deleted, put_used
from cellmesh.api.aha.v1 import change_pb2
from cellmesh.common.changelog import ChangeRecord, ContentSource
from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.storage import WriteTxn
from google.protobuf.message import DecodeError

LISTED: Final = frozenset({"certificate_revoked", "pool_stored", "pool_deleted"})
"""Changes of what is in memory as whole lists."""

OnApplied = Callable[[Sequence[change_pb2.AhaChange]], object]
"""Told what was applied, in order, once it is durable. Called in the thread that applies."""


class AhaApplier:
    """Applies AhaChange records; an Applier of the change log.

    Args:
        on_applied: Brings memory in line.
    """

    def __init__(self, on_applied: OnApplied = lambda changes: None) -> None:
        self._on_applied = on_applied
        self._changes: list[change_pb2.AhaChange] = []

    @property
    def type_names(self) -> Collection[str]:
        """See Applier."""
        return (TYPE_NAME,)

    def prepare(self, records: Sequence[ChangeRecord], source: ContentSource | None) -> None:
        """Nothing: the records are whole."""

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """See Applier. Raises StorageCorrupt."""
        try:
            change = change_pb2.AhaChange.FromString(record.payload)
        except DecodeError as error:
            raise StorageCorrupt(
                "a change of the registry does not read back", offset=record.offset
            ) from error
        if not _write(txn, change, record.offset):
            raise StorageCorrupt(
                f"record {record.offset} of the change log ({change.WhichOneof('change')}) is of something that is "
                "not there, or unknown to this version",
                offset=record.offset,
            )
        self._changes.append(change)

    def committed(self) -> None:
        """See Applier."""
        changes, self._changes = self._changes, []
        self._on_applied(changes)

    def rolled_back(self) -> None:
        """See Applier."""
        self._changes = []


def _write(txn: WriteTxn, change: change_pb2.AhaChange, offset: int) -> bool:
    """Write what a change tells; whether it fits what is stored."""
    match change.WhichOneof("change"):
        case "instance_registered":
            instance = change.instance_registered.instance
            value = instance.SerializeToString(deterministic=True)
            txn.put(schema.INSTANCES, instance.name.encode(), value)
            return True
        case "instance_unregistered":
            return txn.delete(schema.INSTANCES, change.instance_unregistered.name.encode())
        case "enrollment_created":
            put_created(txn, change.enrollment_created)
            return True
        case "enrollment_used":
            return put_used(txn, change.enrollment_used)
        case "certificate_issued":
            put_issued(txn, change.certificate_issued)
            return True
        case "leadership_changed":
            leadership = change.leadership_changed.leadership
            value = leadership.SerializeToString(deterministic=True)
            txn.put(schema.LEADERS, leadership.service.encode(), value)
            return True
        case "certificate_revoked":
            put_revoked(txn, change.certificate_revoked, offset)
            return True
        case "enrollment_deleted":
            return put_deleted(txn, change.enrollment_deleted.token_sha256)
        case "pool_stored":
            put_pool(txn, change.pool_stored)
            return True
        case "pool_deleted":
            return txn.delete(schema.POOLS, change.pool_deleted.name.encode())
    return False


def remember(
    changes: Sequence[change_pb2.AhaChange],
    registry: Registry,
    leaders: Leaders,
    refresh: Callable[[], object] = lambda: None,
) -> None:
    """Bring the memory of a follower in line with what was applied. In the event loop.

    Args:
        changes: What was applied.
        registry: The instances.
        leaders: Who leads.
        refresh: Has what is revoked, and the pools, read anew.
    """
    if any(change.WhichOneof("change") in LISTED for change in changes):
        refresh()
    for change in changes:
        match change.WhichOneof("change"):
            case "instance_registered":
                registry.registered(from_proto(change.instance_registered.instance))
            case "instance_unregistered":
                registry.unregistered(change.instance_unregistered.name)
            case "leadership_changed":
                leaders.stored(leader_from_proto(change.leadership_changed.leadership))


__all__ = ["AhaApplier", "remember"]
