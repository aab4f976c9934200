"""What stays in a change log, and the removal of the rest.

The oldest records go when nothing needs them any more. What is kept:

- whatever a *hold* asks for: a name and the offset of the first record it needs. Followers have one each, a
  running backup has one, and anyone who reads the log may set one. Nothing is ever trimmed past a hold;
- the newest records, as many as `LogRules.keep_count` says;
- those younger than `LogRules.keep_s`, unless the log is larger than its share of the storage.

A hold is durable: its offset is written before `hold` returns, so a restart keeps to it. `advance` is kept in
memory and written by the next trim, before anything is removed: a crash only makes a hold older, never younger.

Records are removed in small transactions, so that no write waits long, and each replica trims its own log.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cellmesh.common.changelog.log import FACTS, RECORDS, ChangeLog
from cellmesh.common.changelog.record import ChangeRecord
from cellmesh.common.errors import BadName, LogTrimmed, NoSuchName
from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.common.storage.codecs import UINT64

HOLD_PREFIX: Final = b"hold/"
HOLD_NAME_SIZE_MAX: Final = 200
HOLD_COUNT_MAX: Final = 1000

STEP_S: Final = 0.004
"""About so long one transaction of a trim keeps the writer."""

STEP_COUNT: Final = 64
"""Records between two looks at the clock."""

US: Final = 1_000_000
PER_CENT: Final = 100


@dataclass(frozen=True, slots=True)
class LogRules:
    """What is kept whether anyone needs it or not.

    Attributes:
        keep_count: At least so many of the newest records.
        keep_s: Records younger than so many seconds, as far as the share allows.
        share_max: Most of the storage that the log takes, in per cent; 100 is no bound. Holds and `keep_count`
            come first.
    """

    keep_count: int = 100_000
    keep_s: float = 7 * 86400.0
    share_max: int = 50


@dataclass(frozen=True, slots=True)
class Hold:
    """A claim on the log.

    Attributes:
        name: Who needs it, such as "follower/01.cortex.demo".
        offset: The first record needed.
        expire_us: When the claim ends by itself, in microseconds since 1970; 0: never.
        durable: Whether a restart keeps it.
    """

    name: str
    offset: int
    expire_us: int = 0
    durable: bool = True


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a trim did.

    Attributes:
        count: Records removed.
        first_offset: The oldest record there is now.
        held_by: The name of the hold that kept it from going as far as it should; empty if none did.
    """

    count: int
    first_offset: int
    held_by: str


@dataclass(frozen=True, slots=True)
class LogStatus:
    """How a log stands.

    Attributes:
        first_offset: The oldest record.
        next_offset: The offset after the newest.
        size_bytes: What its records take in the storage.
        storage_bytes: What all data take.
        holds: Who needs what, lowest offset first.
    """

    first_offset: int
    next_offset: int
    size_bytes: int
    storage_bytes: int
    holds: tuple[Hold, ...]


class LogKeeper:
    """Holds on one log, and its trimming. Safe to use from many threads; methods block.

    Args:
        slab: With the change log's databases.
        rules: What is kept without a hold.
        now_us: The time, in microseconds since 1970.
    """

    def __init__(
        self,
        slab: Slab,
        rules: LogRules = LogRules(),
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.rules = rules
        self._slab = slab
        self._log = ChangeLog(slab)
        self._now_us = now_us
        # Guards the holds. Also taken inside trimming ops, so it is never held across a write.
        self._lock = threading.Lock()
        self._trimming = threading.Lock()
        with slab.view() as txn:
            self._holds = {hold.name: hold for hold in _stored(txn)}
        self._stored = dict(self._holds)

    # Holds.

    def hold(self, name: str, offset: int, *, lifetime_s: float | None = None, durable: bool = True) -> Hold:
        """Keep the records from an offset on; sets it anew if there is one of this name.

        Args:
            name: Who needs them, such as "follower/01.cortex.demo".
            offset: The first one needed.
            lifetime_s: How long, in seconds; None: until it is released.
            durable: Whether a restart keeps it; else it is for as long as the process lives.

        Raises:
            LogTrimmed: it was removed already. Nothing is held then, or what was held before.
            BadName: the name is empty or too long, or there are too many holds.
        """
        if not name or len(name.encode()) > HOLD_NAME_SIZE_MAX:
            raise BadName(f"the name of a hold has 1 to {HOLD_NAME_SIZE_MAX} bytes", name=name)
        expire_us = 0 if lifetime_s is None else self._now_us() + int(lifetime_s * US)
        hold = Hold(name, offset, expire_us, durable)

        replaced: list[Hold | None] = []

        def op(txn: WriteTxn) -> None:
            # In the write transaction, where no trim can come between the look and the hold.
            self._check_there(txn, offset)
            with self._lock:
                before = self._holds.get(name)
                if before is None and len(self._holds) >= HOLD_COUNT_MAX:
                    raise BadName(f"there are {HOLD_COUNT_MAX} holds already", name=name)
                if before is None or offset < before.offset or self._is_over(before):
                    # At once, for the trim that may be the next op. One that lets go waits for the commit.
                    replaced.append(before)
                    self._holds[name] = hold
            if durable:
                _store(txn, hold)

        try:
            self._slab.write(op, privileged=True)
        except BaseException:
            with self._lock:
                for before in replaced:
                    if before is None:
                        self._holds.pop(name, None)
                    else:
                        self._holds[name] = before
            raise
        with self._lock:
            self._holds[name] = hold
            if durable:
                self._stored[name] = hold
        return hold

    def advance(self, name: str, offset: int) -> None:
        """Move a hold up: what is before the offset is needed no more. In memory; costs next to nothing.

        Moving down, or a name that holds nothing, does nothing.
        """
        with self._lock:
            found = self._holds.get(name)
            if found is not None and offset > found.offset:
                self._holds[name] = Hold(name, offset, found.expire_us, found.durable)

    def release(self, name: str) -> None:
        """Let go of a hold.

        Raises:
            NoSuchName: there is none of this name.
        """
        with self._lock:
            found = self._holds.pop(name, None)
            stored = self._stored.pop(name, None)
        if stored is not None:
            self._slab.write(lambda txn: txn.delete(FACTS, _key(name)), privileged=True)
        if found is None:
            raise NoSuchName(f"there is no hold {name} on the change log", name=name)

    def find(self, name: str) -> Hold | None:
        """The hold of a name, None if there is none, or its time is over."""
        with self._lock:
            found = self._holds.get(name)
        return found if found is not None and not self._is_over(found) else None

    def holds(self) -> list[Hold]:
        """All that are in force, lowest offset first."""
        with self._lock:
            found = [hold for hold in self._holds.values() if not self._is_over(hold)]
        return sorted(found, key=lambda hold: (hold.offset, hold.name))

    def status(self) -> LogStatus:
        """How the log stands."""
        with self._slab.view() as txn:
            first, end = self._log.first_offset(txn), self._log.next_offset(txn)
            size_bytes = txn.size_bytes(RECORDS)
            storage_bytes = self._slab.data_bytes(txn)
        return LogStatus(first, end, size_bytes, storage_bytes, tuple(self.holds()))

    # Trimming.

    def trim(
        self, offset: int | None = None, *, check: Callable[[], None] = lambda: None, rest_s: float = 0.0
    ) -> Trimmed:
        """Remove the oldest records: what the rules let go, or those before an offset. Never past a hold.

        Args:
            offset: Where to stop; None: as the rules say.
            check: Called between transactions; what it raises ends the trim.
            rest_s: How long to leave the writer to others between two transactions.
        """
        with self._trimming:
            self._write_holds()
            with self._slab.view() as txn:
                wanted = self._let_go(txn) if offset is None else min(offset, self._log.next_offset(txn))
            count, is_done = 0, False
            while not is_done:
                check()
                removed, is_done = self._slab.write(lambda txn: self._trim_step(txn, wanted), privileged=True)
                count += removed
                if not is_done and rest_s:
                    time.sleep(rest_s)
            with self._slab.view() as txn:
                first = self._log.first_offset(txn)
        lowest = next(iter(self.holds()), None)
        held_by = lowest.name if lowest is not None and first < wanted and lowest.offset <= first else ""
        return Trimmed(count, first, held_by)

    def _trim_step(self, txn: WriteTxn, wanted: int) -> tuple[int, bool]:
        """Remove some records; returns how many, and whether that was all."""
        end_s = time.monotonic() + STEP_S
        holds = self.holds()
        limit = min([wanted, *(hold.offset for hold in holds)])
        count = 0
        while True:
            removed = self._log.trim(txn, limit, count_max=STEP_COUNT)
            count += removed
            if removed < STEP_COUNT or time.monotonic() >= end_s:
                break
        if count:
            failpoint("changelog_trim")
        return count, removed < STEP_COUNT

    def _let_go(self, txn: ReadTxn) -> int:
        """The offset of the first record that the rules keep."""
        first, end = self._log.first_offset(txn), self._log.next_offset(txn)
        last = end - self.rules.keep_count
        if last <= first:
            return first
        by_age = self._first_since(txn, first, last, self._now_us() - int(self.rules.keep_s * US))
        return max(by_age, min(last, first + self._too_many(txn, end - first)))

    def _first_since(self, txn: ReadTxn, low: int, high: int, time_us: int) -> int:
        """The first offset of low..high whose record is younger than a time; by halves, as times grow with offsets."""
        while low < high:
            middle = (low + high) // 2
            data = txn.get(RECORDS, UINT64.encode(middle))
            if data is not None and ChangeRecord.from_bytes(data).time_us <= time_us:
                low = middle + 1
            else:
                high = middle
        return low

    def _too_many(self, txn: ReadTxn, count: int) -> int:
        """How many of the oldest records go so that the log has its share, by their mean size."""
        share = self.rules.share_max
        if share >= PER_CENT or not count:
            return 0
        size_bytes = txn.size_bytes(RECORDS)
        rest_bytes = self._slab.data_bytes(txn) - size_bytes
        size_max = rest_bytes * share // (PER_CENT - share)
        return max(0, size_bytes - size_max) * count // max(1, size_bytes)

    def _write_holds(self) -> None:
        """Make durable what `advance` moved, and forget what is over."""
        with self._lock:
            over = [name for name, hold in self._holds.items() if self._is_over(hold)]
            gone = [name for name in over if name in self._stored]
            for name in over:
                del self._holds[name]
                self._stored.pop(name, None)
            moved = [
                hold for name, hold in self._holds.items() if hold.durable and self._stored.get(name) != hold
            ]
        if not gone and not moved:
            return

        def op(txn: WriteTxn) -> None:
            for name in gone:
                txn.delete(FACTS, _key(name))
            for hold in moved:
                _store(txn, hold)

        self._slab.write(op, privileged=True)
        with self._lock:
            self._stored.update((hold.name, hold) for hold in moved if hold.name in self._holds)

    def _check_there(self, txn: ReadTxn, offset: int) -> None:
        first = self._log.first_offset(txn)
        if offset < first:
            raise LogTrimmed(
                f"the log begins at offset {first}, {offset} was trimmed", offset=offset, first=first
            )

    def _is_over(self, hold: Hold) -> bool:
        return bool(hold.expire_us) and hold.expire_us <= self._now_us()


def _key(name: str) -> bytes:
    return HOLD_PREFIX + name.encode()


def _store(txn: WriteTxn, hold: Hold) -> None:
    txn.put(FACTS, _key(hold.name), UINT64.encode(hold.offset) + UINT64.encode(hold.expire_us))


def _stored(txn: ReadTxn) -> list[Hold]:
    end = HOLD_PREFIX[:-1] + bytes([HOLD_PREFIX[-1] + 1])
    return [
        Hold(key[len(HOLD_PREFIX) :].decode(), UINT64.decode(value[:8]), UINT64.decode(value[8:16]))
        for key, value in txn.scan(FACTS, HOLD_PREFIX, end, count_max=HOLD_COUNT_MAX).items
    ]


__all__ = ["Hold", "LogKeeper", "LogRules", "LogStatus", "Trimmed"]
