"""CryotankApplier: the Cryotank's change records, applied by a mirror or by the replay of a log.

All that is in the storage comes out of the log, so every database of a replica is equal at equal offsets: a
tank's number is given by the order in which tanks were made, and even the removal of the records of a deleted tank
is done in steps that are logged.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cellmesh.api.cryotank.v1 import change_pb2
from cellmesh.common.changelog import ChangeRecord, ContentSource
from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cryotank import schema
from cellmesh.cryotank.tanks import steps
from cellmesh.cryotank.tanks.changes import TYPE_NAME, unpack_records
from cellmesh.cryotank.tanks.values import Tank
from google.protobuf.message import DecodeError


class CryotankApplier:
    """Applies CryotankChange records; an Applier of the change log. Nothing of tanks is kept in memory."""

    @property
    def type_names(self) -> Collection[str]:
        """See Applier."""
        return (TYPE_NAME,)

    def prepare(self, records: Sequence[ChangeRecord], source: ContentSource | None) -> None:
        """Nothing: the records are whole."""

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """See Applier. Raises StorageCorrupt."""
        try:
            change = change_pb2.CryotankChange.FromString(record.payload)
        except DecodeError as error:
            raise StorageCorrupt("a change of tanks does not read back", offset=record.offset) from error
        match change.WhichOneof("change"):
            case "tank_created":
                _create(txn, change.tank_created, record)
            case "records_appended":
                _append(txn, change.records_appended, record)
            case "tank_deleted":
                deleted = change.tank_deleted
                steps.drop(txn, deleted.name, _row(txn, deleted.name, deleted.tank_id, record))
            case "records_removed":
                _remove(txn, change.records_removed, record)
            case _:
                raise StorageCorrupt(
                    f"record {record.offset} of the change log tells of a change of tanks that this version does "
                    "not know",
                    offset=record.offset,
                    hint="a follower must not run an older version than its leader",
                )

    def committed(self) -> None:
        """See Applier."""

    def rolled_back(self) -> None:
        """See Applier."""


def _create(txn: WriteTxn, created: change_pb2.TankCreated, record: ChangeRecord) -> None:
    tank = created.tank
    if txn.has(schema.TANKS, tank.name.encode()):
        raise _unfit(f"makes the tank {tank.name!r}, which is there already", record)
    steps.create(txn, Tank(tank.name, tank.tank_id, tank.create_time.ToMicroseconds()))


def _append(txn: WriteTxn, appended: change_pb2.RecordsAppended, record: ChangeRecord) -> None:
    records = unpack_records(appended)
    row = _row(txn, appended.name, appended.tank_id, record)
    if row.next_offset != appended.offset:
        raise _unfit(
            f"adds to {appended.name!r} at {appended.offset}, which ends at {row.next_offset}", record
        )
    steps.append(txn, appended.name, row, records, appended.size_bytes)


def _remove(txn: WriteTxn, removed: change_pb2.RecordsRemoved, record: ChangeRecord) -> None:
    if not txn.has(schema.DROPPED, schema.number_key(removed.tank_number)):
        raise _unfit(f"removes records of tank number {removed.tank_number}, which is no deleted one", record)
    steps.remove_records(txn, removed.tank_number, removed.count)


def _row(txn: ReadTxn, name: str, tank_id: str, record: ChangeRecord) -> schema.TankRow:
    found = txn.get(schema.TANKS, name.encode()) if name else None
    row = None if found is None else schema.TankRow.decode(found)
    if row is None or row.tank_id.hex() != tank_id:
        raise _unfit(f"is of the tank {name!r} ({tank_id}), which is not there", record)
    return row


def _unfit(what: str, record: ChangeRecord) -> StorageCorrupt:
    return StorageCorrupt(f"record {record.offset} of the change log {what}", offset=record.offset)


__all__ = ["CryotankApplier"]
