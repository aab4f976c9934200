"""One entry of the change log."""

from __future__ import annotations

from dataclasses import dataclass

from cellmesh.api.common.v1 import change_log_pb2
from cellmesh.common.errors import StorageCorrupt
from google.protobuf.message import DecodeError


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """One change, as it was accepted.

    Attributes:
        offset: Its place in the log, from 0.
        time_us: When it was accepted, in microseconds since 1970.
        actor: Who made it, or empty for the cell itself.
        type_name: The full name of the payload's message.
        payload: The message in binary form.
    """

    offset: int
    time_us: int
    actor: str
    type_name: str
    payload: bytes

    def to_proto(self) -> change_log_pb2.ChangeRecord:
        """The record as it goes over the wire."""
        return change_log_pb2.ChangeRecord(
            offset=self.offset,
            time_us=self.time_us,
            actor=self.actor,
            type_name=self.type_name,
            payload=self.payload,
        )

    @classmethod
    def from_proto(cls, message: change_log_pb2.ChangeRecord) -> ChangeRecord:
        """The record of a message."""
        return cls(message.offset, message.time_us, message.actor, message.type_name, message.payload)

    def to_bytes(self) -> bytes:
        """The record as it is stored."""
        return self.to_proto().SerializeToString()

    @classmethod
    def from_bytes(cls, data: bytes) -> ChangeRecord:
        """The record that was stored so.

        Raises:
            StorageCorrupt: the bytes are no record.
        """
        try:
            return cls.from_proto(change_log_pb2.ChangeRecord.FromString(data))
        except DecodeError as error:
            raise StorageCorrupt("a record of the change log does not read back") from error
