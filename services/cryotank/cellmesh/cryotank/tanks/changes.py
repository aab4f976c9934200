"""The change records of the Cryotank: what a follower needs to end with the same tanks."""

from __future__ import annotations

from typing import Final

from cellmesh.api.cryotank.v1 import change_pb2, tank_pb2
from cellmesh.cryotank.tanks.values import Tank
from google.protobuf.timestamp_pb2 import Timestamp

TYPE_NAME: Final = change_pb2.CryotankChange.DESCRIPTOR.full_name


def tank_created(tank: Tank) -> bytes:
    """The payload that tells that a tank was made."""
    created = change_pb2.TankCreated(tank=tank_to_proto(tank))
    return change_pb2.CryotankChange(tank_created=created).SerializeToString()


def records_appended(tank_id: str, offset: int, count: int, size: int) -> bytes:
    """The payload that tells that records were added; they themselves are read from the tank."""
    appended = change_pb2.RecordsAppended(tank_id=tank_id, offset=offset, count=count, size_bytes=size)
    return change_pb2.CryotankChange(records_appended=appended).SerializeToString()


def tank_deleted(tank_id: str) -> bytes:
    """The payload that tells that a tank was removed."""
    deleted = change_pb2.TankDeleted(tank_id=tank_id)
    return change_pb2.CryotankChange(tank_deleted=deleted).SerializeToString()


def tank_to_proto(tank: Tank) -> tank_pb2.Tank:
    """A tank as it travels."""
    create_time = Timestamp()
    create_time.FromMicroseconds(tank.create_time_us)
    return tank_pb2.Tank(name=tank.name, tank_id=tank.tank_id, create_time=create_time)
