"""AuthApplier: changes of auth from a change log, applied by a mirror or by the replay of a log.

A cell's audit log is not in its change log, so what another instance did gets a record here too: who did it is known,
from where is not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cellmesh.api.common.v1 import auth_change_pb2, auth_pb2
from cellmesh.common.auth import audit
from cellmesh.common.auth.keeper import TYPE_NAME, PolicyKeeper
from cellmesh.common.auth.policy import Policy
from cellmesh.common.auth.stored import write_difference
from cellmesh.common.changelog import ChangeRecord, ContentSource
from cellmesh.common.errors import BadArg, StorageCorrupt
from cellmesh.common.storage import WriteTxn
from google.protobuf.message import DecodeError


class AuthApplier:
    """Applies AuthChange records to a store; an Applier of the change log."""

    def __init__(self, store: PolicyKeeper) -> None:
        self._store = store
        self._after: Policy | None = None
        self._changes: list[auth_change_pb2.AuthChange] = []

    @property
    def type_names(self) -> Collection[str]:
        """See Applier."""
        return (TYPE_NAME,)

    def prepare(self, records: Sequence[ChangeRecord], source: ContentSource | None) -> None:
        """Nothing: the records tell all."""

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """Write what the record tells, and what it was to the audit log. Raises StorageCorrupt."""
        before = self._after or self._store.stored
        try:
            change = auth_change_pb2.AuthChange.FromString(record.payload)
            after = before.after(change)
        except (DecodeError, BadArg, KeyError) as error:
            raise StorageCorrupt(
                f"record {record.offset} of the change log is no change of users that can be made",
                offset=record.offset,
            ) from error
        write_difference(txn, before, after)
        entry = audit.AuditEntry(
            auth_pb2.AUDIT_KIND_CHANGE,
            record.actor,
            str(change.WhichOneof("change")),
            _target(change, before, after),
            f"applied from record {record.offset} of the change log",
        )
        audit.append(txn, entry, record.time_us)
        self._after = after
        self._changes.append(change)

    def committed(self) -> None:
        """Have it count."""
        after, changes = self._after, self._changes
        self.rolled_back()
        if after is not None:
            with self._store.changing():
                self._store.publish(after, changes)

    def rolled_back(self) -> None:
        """Forget it."""
        self._after, self._changes = None, []


def _target(change: auth_change_pb2.AuthChange, before: Policy, after: Policy) -> str:
    """What a change is about, as a resource name."""
    match change.WhichOneof("change"):
        case "user_put":
            return f"users/{change.user_put.name}"
        case "role_put":
            return f"roles/{change.role_put.name}"
        case "gate_put":
            return f"gates/{change.gate_put.gate_id}"
        case "gate_deleted":
            return f"gates/{change.gate_deleted}"
        case "role_deleted":
            role = before.roles.get(change.role_deleted)
            return f"roles/{role.name if role else change.role_deleted}"
        case "user_deleted":
            user_id = change.user_deleted
        case "credentials_put":
            user_id = change.credentials_put.user_id
        case "api_key_put":
            user_id = change.api_key_put.user_id
        case _:
            key = before.api_keys.get(change.api_key_deleted)
            user_id = key.user_id if key else ""
    user = before.users.get(user_id) or after.users.get(user_id)
    return f"users/{user.name if user else user_id}"


__all__ = ["AuthApplier"]
