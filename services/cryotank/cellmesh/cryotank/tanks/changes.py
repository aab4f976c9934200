"""The change records of the Cryotank: what a follower needs to end with the same tanks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cellmesh.api.cryotank.v1 import change_pb2, tank_pb2
from cellmesh.common.auth.context import find_current_call
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.storage import WriteTxn
from cellmesh.cryotank.tanks.values import Tank
from google.protobuf.timestamp_pb2 import Timestamp

TYPE_NAME: Final = change_pb2.CryotankChange.DESCRIPTOR.full_name


AppendChange = Callable[[WriteTxn, bytes], object]
"""Adds an entry with this payload to the change log, in the transaction given."""


class ChangeWriter:
    """Adds entries to the change log. Time and caller are settled before the transaction, as the op may
    run on another caller's thread.

    Args:
        log: The cell's change log.
        now_us: The time, in microseconds since 1970.
    """

    def __init__(self, log: ChangeLog, now_us: Callable[[], int]) -> None:
        self._log = log
        self._now_us = now_us

    def begin(self) -> AppendChange:
        """What one op appends with: everything under the present time and caller."""
        call = find_current_call()
        actor = call.caller.name if call else ""
        time_us = self._now_us()

        def append(txn: WriteTxn, payload: bytes) -> None:
            self._log.append(txn, time_us=time_us, actor=actor, type_name=TYPE_NAME, payload=payload)

        return append


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
