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
from cellmesh.cryotank.schema import Block
from cellmesh.cryotank.tanks import steps
from cellmesh.cryotank.tanks.arrivals import Arrivals
from cellmesh.cryotank.tanks.batches import Batch
from cellmesh.cryotank.tanks.changes import TYPE_NAME, limits_from_proto, unpack_batch
from cellmesh.cryotank.tanks.values import Consumer, Tank
from google.protobuf.message import DecodeError


class CryotankApplier:
    """Applies CryotankChange records; an Applier of the change log. Nothing of tanks is kept in memory.

    Args:
        arrivals: Who waits for records, and is told once they are there.
    """

    def __init__(self, arrivals: Arrivals | None = None) -> None:
        self._arrivals = arrivals
        self._touched: set[int] = set()

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
                self._touched.add(_append(txn, change.records_appended, record))
            case "tank_deleted":
                deleted = change.tank_deleted
                row = _row(txn, deleted.name, deleted.tank_id, record)
                steps.drop(txn, deleted.name, row)
                self._touched.add(row.number)
            case "records_removed":
                _remove(txn, change.records_removed)
            case "tank_updated":
                updated = change.tank_updated
                row = _row(txn, updated.name, updated.tank_id, record)
                steps.set_limits(txn, updated.name, row, limits_from_proto(updated.config))
            case "tank_trimmed":
                _trim(txn, change.tank_trimmed, record)
            case "consumer_set":
                told = change.consumer_set
                row = _row(txn, told.name, told.tank_id, record)
                time_us = told.consumer.update_time.ToMicroseconds()
                consumer = Consumer(told.consumer.consumer, told.consumer.offset, time_us)
                steps.set_consumer(txn, row.number, consumer)
            case "consumer_deleted":
                gone = change.consumer_deleted
                row = _row(txn, gone.name, gone.tank_id, record)
                steps.delete_consumer(txn, row.number, gone.consumer)
            case _:
                raise StorageCorrupt(
                    f"record {record.offset} of the change log tells of a change of tanks that this version does "
                    "not know",
                    offset=record.offset,
                    hint="a follower must not run an older version than its leader",
                )

    def committed(self) -> None:
        """See Applier."""
        touched, self._touched = self._touched, set()
        if self._arrivals is not None:
            for number in touched:
                self._arrivals.tell(number)

    def rolled_back(self) -> None:
        """See Applier."""
        self._touched = set()


def _create(txn: WriteTxn, created: change_pb2.TankCreated, record: ChangeRecord) -> None:
    tank = created.tank
    if txn.has(schema.TANKS, tank.name.encode()):
        raise _unfit(f"makes the tank {tank.name!r}, which is there already", record)
    limits = limits_from_proto(tank.config)
    steps.create(txn, Tank(tank.name, tank.tank_id, tank.create_time.ToMicroseconds(), limits))


def _append(txn: WriteTxn, appended: change_pb2.RecordsAppended, record: ChangeRecord) -> int:
    batch = unpack_batch(appended)
    row = _row(txn, appended.name, appended.tank_id, record)
    if row.next_offset != appended.offset:
        raise _unfit(
            f"adds to {appended.name!r} at {appended.offset}, which ends at {row.next_offset}", record
        )
    blocks = batch.blocks(appended.time_us) if appended.time_us else _single(batch, row.create_time_us)
    steps.append(txn, appended.name, row, blocks)
    return row.number


def _single(batch: Batch, time_us: int) -> list[Block]:
    """A block for each record, as the migration makes of what was stored when such changes were written."""
    whole = Block(batch.form, batch.count, batch.size, time_us, batch.data)
    return [whole.part(index, index + 1) for index in range(batch.count)]


def _trim(txn: WriteTxn, trimmed: change_pb2.TankTrimmed, record: ChangeRecord) -> None:
    row = _row(txn, trimmed.name, trimmed.tank_id, record)
    if not row.first_offset < trimmed.offset <= row.next_offset:
        raise _unfit(
            f"trims {trimmed.name!r} to {trimmed.offset}, which has {row.first_offset} to {row.next_offset}",
            record,
        )
    steps.trim(txn, trimmed.name, row, trimmed.offset)


def _remove(txn: WriteTxn, removed: change_pb2.RecordsRemoved) -> None:
    # The migration to blocks ends all deletions: of what an older version logged, nothing is left to do.
    if txn.has(schema.DROPPED, schema.number_key(removed.tank_number)):
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
