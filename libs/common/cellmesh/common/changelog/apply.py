"""Applying change records: what mirrors and the replay of a log do.

A record's effect and the record itself are written in one transaction, so a log that is applied again after a
crash goes on where it stopped, and nothing is applied twice.

    replay = Replay(slab, appliers)
    replay.apply(records)          # durable on return, memory in line
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from cellmesh.common.changelog.log import ChangeLog
from cellmesh.common.changelog.record import ChangeRecord
from cellmesh.common.errors import BadState, StorageCorrupt
from cellmesh.common.storage import Slab, WriteTxn

if TYPE_CHECKING:
    import grpc


class ContentSource(Protocol):
    """Where content is fetched that records only name: the cell whose log it is, called over gRPC."""

    @property
    def url(self) -> str:
        """Where it is, for messages."""
        ...

    @property
    def channel(self) -> grpc.Channel:
        """A blocking channel to it, as an instance of its service. Safe to use from many threads."""
        ...


class Applier(Protocol):
    """Applies the records of some types: the one place that knows what they mean for a store.

    For one run of records the calls are `prepare`, then in one transaction `apply` for each of its own in order,
    then `committed`, or `rolled_back` when the transaction failed. All on one thread, one run at a time.
    """

    @property
    def type_names(self) -> Collection[str]:
        """The types of payload it applies, as records name them."""
        ...

    def prepare(self, records: Sequence[ChangeRecord], source: ContentSource | None) -> None:
        """Fetch what the records only name. Outside of any transaction; may wait and may write what is not yet
        visible, and is called again for the same records after a crash.

        Args:
            records: Its own of the run, in order.
            source: None where only the log is at hand.
        """
        ...

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """Write what the record tells. The record itself is written by the caller.

        Raises:
            StorageCorrupt: it does not read, or does not fit what is stored.
        """
        ...

    def committed(self) -> None:
        """What was applied is durable: bring memory in line with it."""
        ...

    def rolled_back(self) -> None:
        """What was applied is gone: forget it."""
        ...


class Replay:
    """Applies records to one slab.

    Args:
        slab: Opened with the change log's databases.
        appliers: Each type of record has one.
    """

    def __init__(self, slab: Slab, appliers: Iterable[Applier]) -> None:
        self._slab = slab
        self._log = ChangeLog(slab)
        self._appliers: dict[str, Applier] = {}
        for applier in appliers:
            for name in applier.type_names:
                if name in self._appliers:
                    raise BadState(f"two appliers apply records of type {name}", name=name)
                self._appliers[name] = applier

    def apply(self, records: Sequence[ChangeRecord], source: ContentSource | None = None) -> int:
        """Apply some records that follow the last one applied; durable on return.

        Returns:
            The offset of the next record.

        Raises:
            BadArg: the first is not the next one.
            StorageCorrupt: a record cannot be applied, or is of a type that nobody applies. Nothing was written.
        """
        runs: dict[int, tuple[Applier, list[ChangeRecord]]] = {}
        for record in records:
            applier = self._applier(record)
            runs.setdefault(id(applier), (applier, []))[1].append(record)
        for applier, own in runs.values():
            applier.prepare(own, source)

        def op(txn: WriteTxn) -> int:
            for record in records:
                self._log.append_record(txn, record)
                self._applier(record).apply(txn, record)
            return self._log.next_offset(txn)

        try:
            # A follower is its own only writer: its gate is closed to all others.
            offset = self._slab.write(op, privileged=True)
        except BaseException:
            for applier, _ in runs.values():
                applier.rolled_back()
            raise
        for applier, _ in runs.values():
            applier.committed()
        return offset

    def _applier(self, record: ChangeRecord) -> Applier:
        found = self._appliers.get(record.type_name)
        if found is None:
            raise StorageCorrupt(
                f"record {record.offset} of the change log is of type {record.type_name}, which this version does "
                "not know",
                type=record.type_name,
                offset=record.offset,
                hint="a follower must not run an older version than its leader",
            )
        return found


__all__ = ["Applier", "ContentSource", "Replay"]
