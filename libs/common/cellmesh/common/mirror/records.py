"""The records that mirrors themselves write into the log, and how they are applied."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from cellmesh.api.common.v1 import mirror_pb2
from cellmesh.common.changelog import ChangeRecord, ContentSource
from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.mirror.schema import put_term
from cellmesh.common.storage import WriteTxn
from google.protobuf.message import DecodeError

LEADERSHIP_TYPE: Final = mirror_pb2.LeadershipChanged.DESCRIPTOR.full_name
CHECKPOINT_TYPE: Final = mirror_pb2.CheckpointMade.DESCRIPTOR.full_name


class MirrorRecords:
    """Applies LeadershipChanged; a CheckpointMade changes nothing.

    Args:
        on_term: Called with term and leader once a change of leadership is committed.
    """

    def __init__(self, on_term: Callable[[int, str], None]) -> None:
        self._on_term = on_term
        self._seen: mirror_pb2.LeadershipChanged | None = None

    @property
    def type_names(self) -> Collection[str]:
        """See Applier."""
        return (LEADERSHIP_TYPE, CHECKPOINT_TYPE)

    def prepare(self, records: Sequence[ChangeRecord], source: ContentSource | None) -> None:
        """Nothing: the records are whole."""

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """Note the beginning of a term. Raises StorageCorrupt."""
        if record.type_name == CHECKPOINT_TYPE:
            return
        try:
            self._seen = mirror_pb2.LeadershipChanged.FromString(record.payload)
        except DecodeError as error:
            raise StorageCorrupt("a change of leadership does not read back", offset=record.offset) from error
        put_term(txn, self._seen.term, record.offset)

    def committed(self) -> None:
        """Tell of the new leader."""
        seen, self._seen = self._seen, None
        if seen is not None:
            self._on_term(seen.term, seen.leader)

    def rolled_back(self) -> None:
        """Forget it."""
        self._seen = None
