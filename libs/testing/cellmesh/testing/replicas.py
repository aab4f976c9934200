"""Two slabs compared item by item, and a log replayed into an empty one with interruptions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from cellmesh.common.changelog import Applier, ChangeLog, ChangeRecord, ContentSource, Replay
from cellmesh.common.storage import ReadTxn, Slab, SubDb, WriteTxn
from cellmesh.common.storage.walking import walk

SCAN_COUNT: Final = 4096
SHOWN_COUNT: Final = 5
"""Differences told of each database."""

SHOWN_SIZE: Final = 80


class Interrupted(Exception):
    """Raised inside a transaction to have it rolled back."""


class Interrupting:
    """An Applier that gives up after some records, when it is told to.

    Args:
        applier: Does the work.
        countdown: Records until it gives up; shared by the appliers of one replay. None: it does not.
    """

    def __init__(self, applier: Applier, countdown: list[int | None]) -> None:
        self._applier = applier
        self._countdown = countdown
        self.type_names = applier.type_names
        self.prepare = applier.prepare
        self.committed = applier.committed
        self.rolled_back = applier.rolled_back

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """Apply it, or give up."""
        self._applier.apply(txn, record)
        left = self._countdown[0]
        if left is not None:
            self._countdown[0] = left - 1
            if left <= 0:
                raise Interrupted


class Replica:
    """An empty cell's storage that a log is replayed into.

    Args:
        path: The slab's folder.
        databases: All of the cell.
        make_appliers: Called with the slab, each time it is opened.
        seed: Of batch sizes and interruptions.
    """

    def __init__(
        self,
        path: Path,
        databases: Sequence[SubDb],
        make_appliers: Callable[[Slab], Iterable[Applier]],
        seed: int = 0,
    ) -> None:
        self._path = path
        self._databases = tuple(databases)
        self._make_appliers = make_appliers
        self._random = random.Random(seed)
        self._countdown: list[int | None] = [None]
        self._open()

    def _open(self) -> None:
        self.slab = Slab.open(self._path, self._databases, sync=False)
        appliers = [Interrupting(applier, self._countdown) for applier in self._make_appliers(self.slab)]
        self._replay = Replay(self.slab, appliers)

    def reopen(self) -> None:
        """Forget everything that is not on disk."""
        self.slab.close()
        self._open()

    def close(self) -> None:
        """Close the slab."""
        self.slab.close()

    @property
    def next_offset(self) -> int:
        """How far it is."""
        with self.slab.view() as txn:
            return ChangeLog(self.slab).next_offset(txn)

    def apply(self, records: Sequence[ChangeRecord], source: ContentSource | None = None) -> None:
        """Apply records in one run."""
        self._replay.apply(records, source)

    def follow(
        self,
        log: ChangeLog,
        source: ContentSource | None = None,
        *,
        batch_max: int = 20,
        interrupt: bool = True,
    ) -> None:
        """Apply all of a log in batches of random size, some interrupted, reopening now and then."""
        while True:
            chunk = log.read(self.next_offset, count_max=self._random.randint(1, batch_max))
            if not chunk.records:
                return
            if interrupt and self._random.random() < 0.25:
                before = self.next_offset
                self._countdown[0] = self._random.randrange(len(chunk.records))
                try:
                    self._replay.apply(chunk.records, source)
                except Interrupted:
                    assert self.next_offset == before
                else:
                    raise AssertionError("the run was to be interrupted")
                finally:
                    self._countdown[0] = None
                if self._random.random() < 0.5:
                    self.reopen()
                continue
            self._replay.apply(chunk.records, source)


def differences(first: Slab, second: Slab, databases: Iterable[SubDb]) -> list[str]:
    """What the databases that replicas share have different, a line each; empty when they are equal."""
    found: list[str] = []
    with first.view() as one, second.view() as two:
        for db in databases:
            if not db.local:
                found += _differences(db, _items(one, db), _items(two, db))
    return found


def _differences(db: SubDb, one: list[tuple[bytes, bytes]], two: list[tuple[bytes, bytes]]) -> list[str]:
    if one == two:
        return []
    missing, added = sorted(set(one) - set(two)), sorted(set(two) - set(one))
    lines = [f"{db.name}: {len(one)} items in the first, {len(two)} in the second"]
    lines += [f"  only in the first:  {_shown(item)}" for item in missing[:SHOWN_COUNT]]
    lines += [f"  only in the second: {_shown(item)}" for item in added[:SHOWN_COUNT]]
    return lines


def _shown(item: tuple[bytes, bytes]) -> str:
    key, value = item
    return f"{key[:SHOWN_SIZE]!r} -> {value[:SHOWN_SIZE]!r} ({len(value)} bytes)"


def _items(txn: ReadTxn, db: SubDb) -> list[tuple[bytes, bytes]]:
    return list(walk(txn, db, count=SCAN_COUNT))


__all__ = ["Interrupted", "Replica", "differences"]
