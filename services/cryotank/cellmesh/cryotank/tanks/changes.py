"""The change records of the Cryotank: what a follower needs to end with the same tanks.

The records of an append are in its change record. A follower could read them from its leader's tank
instead, but then a tank that is deleted meanwhile would leave it behind, and a log could not be replayed by
itself. They are put there as they lie in the tank, or compressed if the cell is so set: that takes less of the disk until the
log is trimmed, and most of the time of an append.
"""

from __future__ import annotations

import zlib
from typing import Final, cast

from cellmesh.api.cryotank.v1 import change_pb2, tank_pb2
from cellmesh.common.errors import StorageCorrupt
from cellmesh.cryotank.tanks.batches import Batch
from cellmesh.cryotank.tanks.values import Consumer, Tank, TankLimits
from cellmesh.cryotank.tanks.wire import encode_varint
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

TYPE_NAME: Final = change_pb2.CryotankChange.DESCRIPTOR.full_name

COMPRESS_SIZE_MIN: Final = 1024
COMPRESS_LEVEL: Final = 1
"""The quickest: the log is written while a caller waits."""

_APPENDED_TAG: Final = b"\x12"
_BATCH_TAG: Final = b"\x32"

RECORD_HEAD_SIZE_MAX: Final = 6
"""Tag and length of a record in a batch, in bytes."""


def tank_created(tank: Tank) -> bytes:
    """The payload that tells that a tank was made."""
    created = change_pb2.TankCreated(tank=tank_to_proto(tank))
    return change_pb2.CryotankChange(tank_created=created).SerializeToString()


def pack_batch(batch: Batch, *, compress: bool) -> tuple[bytes, bool]:
    """Records as their change record has them, and whether that is compressed. Done outside of transactions."""
    if not compress or len(batch.data) < COMPRESS_SIZE_MIN:
        return batch.data, False
    return zlib.compress(batch.data, COMPRESS_LEVEL), True


def unpack_batch(message: change_pb2.RecordsAppended) -> Batch:
    """Undo `pack_batch`.

    Raises:
        StorageCorrupt: these are not the records that the message tells of.
    """
    batch = message.batch
    try:
        if message.compressed:
            inflater = zlib.decompressobj()
            batch = inflater.decompress(batch, message.size_bytes + message.count * RECORD_HEAD_SIZE_MAX + 1)
            if not inflater.eof:
                raise StorageCorrupt("the records of a change record end early, or are more than it tells")
        records = list(change_pb2.RecordBatch.FromString(batch).records)
    except (zlib.error, DecodeError) as error:
        raise StorageCorrupt("the records of a change record do not read back") from error
    if len(records) != message.count or sum(map(len, records)) != message.size_bytes:
        raise StorageCorrupt(
            "a change record does not hold the records that it tells of",
            count=message.count,
            found=len(records),
            hint="a log that an older version began cannot be replayed; seed the mirror anew",
        )
    return Batch(int(message.form), message.count, message.size_bytes, batch)


def records_appended(
    tank: Tank, offset: int, batch: Batch, packed: tuple[bytes, bool], time_us: int
) -> bytes:
    """The payload that tells that records were added, with what `pack_batch` made of them."""
    data, compressed = packed
    before = change_pb2.RecordsAppended(
        tank_id=tank.tank_id, name=tank.name, offset=offset, count=batch.count, size_bytes=batch.size
    ).SerializeToString()
    after = change_pb2.RecordsAppended(
        compressed=compressed, form=cast("tank_pb2.RecordForm.ValueType", batch.form), time_us=time_us
    ).SerializeToString()
    # What protobuf would write, which copies the records several times on the way. By number, `batch` is between.
    head = _BATCH_TAG + encode_varint(len(data))
    size = len(before) + len(head) + len(data) + len(after)
    return b"".join((_APPENDED_TAG, encode_varint(size), before, head, data, after))


def tank_updated(tank: Tank) -> bytes:
    """The payload that tells that a tank has these limits now."""
    updated = change_pb2.TankUpdated(
        tank_id=tank.tank_id, name=tank.name, config=limits_to_proto(tank.limits)
    )
    return change_pb2.CryotankChange(tank_updated=updated).SerializeToString()


def tank_trimmed(tank: Tank, offset: int) -> bytes:
    """The payload that tells that the records before an offset are gone."""
    trimmed = change_pb2.TankTrimmed(tank_id=tank.tank_id, name=tank.name, offset=offset)
    return change_pb2.CryotankChange(tank_trimmed=trimmed).SerializeToString()


def consumer_set(tank: Tank, consumer: Consumer) -> bytes:
    """The payload that tells how far a reader is."""
    told = change_pb2.ConsumerSet(tank_id=tank.tank_id, name=tank.name, consumer=consumer_to_proto(consumer))
    return change_pb2.CryotankChange(consumer_set=told).SerializeToString()


def consumer_deleted(tank: Tank, name: str) -> bytes:
    """The payload that tells that a reader was forgotten."""
    told = change_pb2.ConsumerDeleted(tank_id=tank.tank_id, name=tank.name, consumer=name)
    return change_pb2.CryotankChange(consumer_deleted=told).SerializeToString()


def tank_deleted(tank: Tank) -> bytes:
    """The payload that tells that a tank was removed."""
    deleted = change_pb2.TankDeleted(tank_id=tank.tank_id, name=tank.name)
    return change_pb2.CryotankChange(tank_deleted=deleted).SerializeToString()


def records_removed(number: int, count: int) -> bytes:
    """The payload that tells that so many blocks of a deleted tank, or all that were left, are gone."""
    removed = change_pb2.RecordsRemoved(tank_number=number, count=count)
    return change_pb2.CryotankChange(records_removed=removed).SerializeToString()


def tank_to_proto(tank: Tank) -> tank_pb2.Tank:
    """A tank as it travels."""
    made = tank_pb2.Tank(name=tank.name, tank_id=tank.tank_id, create_time=time_to_proto(tank.create_time_us))
    if tank.limits != TankLimits():
        made.config.CopyFrom(limits_to_proto(tank.limits))
    return made


def limits_to_proto(limits: TankLimits) -> tank_pb2.TankConfig:
    """Limits as they travel."""
    made = tank_pb2.TankConfig(count_max=limits.count_max, size_bytes_max=limits.size_max)
    if limits.age_max_us:
        age_max = Duration()
        age_max.FromMicroseconds(limits.age_max_us)
        made.age_max.CopyFrom(age_max)
    return made


def limits_from_proto(config: tank_pb2.TankConfig) -> TankLimits:
    """Undo `limits_to_proto`."""
    return TankLimits(config.count_max, config.size_bytes_max, config.age_max.ToMicroseconds())


def consumer_to_proto(consumer: Consumer) -> tank_pb2.Consumer:
    """A consumer as it travels."""
    time = time_to_proto(consumer.time_us)
    return tank_pb2.Consumer(consumer=consumer.name, offset=consumer.offset, update_time=time)


def time_to_proto(time_us: int) -> Timestamp:
    """Microseconds since 1970 as they travel."""
    time = Timestamp()
    time.FromMicroseconds(time_us)
    return time
