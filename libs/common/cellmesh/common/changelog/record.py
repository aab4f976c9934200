"""One entry of the change log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cellmesh.api.common.v1 import change_log_pb2
from cellmesh.common.errors import StorageCorrupt
from google.protobuf.message import DecodeError

_JOIN_SIZE_MIN: Final = 16 * 1024
_PAYLOAD_TAG: Final = b"\x2a"


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


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
        size = len(self.payload)
        if size < _JOIN_SIZE_MIN:
            return self.to_proto().SerializeToString()
        # The same bytes. Protobuf would copy a large payload several times on the way.
        head = change_log_pb2.ChangeRecord(
            offset=self.offset, time_us=self.time_us, actor=self.actor, type_name=self.type_name
        ).SerializeToString()
        return b"".join((head, _PAYLOAD_TAG, _varint(size), self.payload))

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
