"""KeyValues: the values of one cell, durable. Each change is one transaction with its entry in the change log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from cellmesh.api.common.v1 import key_value_change_pb2 as change_pb
from cellmesh.api.common.v1 import value_pb2
from cellmesh.common.changelog import AppendChange, ChangeLog, ChangeRecord, ChangeWriter, ContentSource
from cellmesh.common.changelog.writer import system_now_us
from cellmesh.common.errors import BadHivePath, BadState, BadTypeValu, LimitExceeded, StorageCorrupt
from cellmesh.common.keyvalues.moves import moving
from cellmesh.common.keyvalues.schema import (
    CHANGE_COUNT_MAX,
    KEYVALUES,
    TYPE_NAME,
    VALUE_SIZE_MAX,
    Path,
    behind_tree,
    check_path,
    key_of,
    path_of,
    text_of,
)
from cellmesh.common.keyvalues.watches import Event, Watches
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.common.storage.codecs import TERMINATED_TEXT
from cellmesh.common.values import from_value, to_value
from google.protobuf.message import DecodeError

T = TypeVar("T")

CHUNK_COUNT: Final = 64
CHUNK_SIZE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and where it is.

    Attributes:
        path: Its path.
        stored: What is stored; None for a child that has none and stands for what is below.
        has_children: Whether there are values below; told of children only.
    """

    path: Path
    stored: change_pb.StoredKeyValue | None
    has_children: bool = False

    @property
    def value(self) -> Any:
        """The value in Python; None if there is none, too."""
        return from_value(self.stored.value) if self.stored is not None else None


@dataclass(frozen=True, slots=True)
class Listing:
    """A part of a list, of one state.

    Attributes:
        entries: In order of paths.
        after: Where to go on; None at the end.
        next_offset: The offset that the next change record got after this state.
        end: The keys below this one were looked at; None: all.
    """

    entries: list[Entry]
    after: Path | None
    next_offset: int
    end: bytes | None


class KeyValues:
    """The key-values of one cell. Its methods block, and belong into worker threads.

    Changes are made one after the other, so that watchers hear of them in order.

    Args:
        slab: Opened with `schema.DATABASES` and those of the change log.
        now_us: The time, in microseconds since 1970.

    Attributes:
        watches: Who waits for changes.
    """

    def __init__(self, slab: Slab, now_us: Callable[[], int] = system_now_us) -> None:
        self.watches = Watches()
        self._slab = slab
        self._log = ChangeLog(slab)
        self._now_us = now_us
        self._changes = ChangeWriter(self._log, TYPE_NAME, now_us)
        self._lock = threading.Lock()

    # Reads.

    def get(self, path: Sequence[str]) -> Entry | None:
        """The value at a path, None if there is none. Raises BadHivePath."""
        checked = check_path(path)
        with self._slab.view() as txn:
            stored = _find(txn, key_of(checked))
        return None if stored is None else Entry(checked, stored)

    def tree(self, path: Sequence[str] = (), *, after: Sequence[str] = (), with_top: bool = False) -> Listing:
        """Some of the values below a path, in order.

        Args:
            path: Below which; empty for all.
            after: Go on behind this path, the `after` of the listing before.
            with_top: Whether the value at the path itself comes first.

        Raises:
            BadHivePath: a path cannot be one, or `after` is not below the other.
        """
        top = key_of(check_path(path, may_be_root=True))
        low = _behind(top, after) if after else (top if with_top else top + b"\x00")
        with self._slab.view() as txn:
            chunk = txn.scan(KEYVALUES, low, behind_tree(top), count_max=CHUNK_COUNT)
            next_offset = self._log.next_offset(txn)
        entries: list[Entry] = []
        size = 0
        for key, data in chunk.items:
            entries.append(Entry(path_of(key), _parsed(data)))
            size += len(data)
            if size >= CHUNK_SIZE:
                break
        if len(entries) == len(chunk.items) and chunk.resume is None:
            return Listing(entries, None, next_offset, behind_tree(top))
        last = entries[-1].path
        return Listing(entries, last, next_offset, key_of(last) + b"\x00")

    def children(self, path: Sequence[str] = (), *, after: Sequence[str] = ()) -> Listing:
        """Some of the children of a path, in order. Raises BadHivePath, as `tree` does."""
        top = key_of(check_path(path, may_be_root=True))
        high = behind_tree(top)
        low: bytes | None = top + b"\x00"
        if after:
            _key_below(top, after)
            low = behind_tree(key_of(tuple(after)[: len(path) + 1]))
        assert low is not None
        entries: list[Entry] = []
        size = 0
        with self._slab.view() as txn:
            next_offset = self._log.next_offset(txn)
            while len(entries) < CHUNK_COUNT and size < CHUNK_SIZE:
                found = txn.first(KEYVALUES, low, high)
                if found is None:
                    return Listing(entries, None, next_offset, high)
                child = found[0][: TERMINATED_TEXT.decode_from(found[0], len(top))[1]]
                behind = behind_tree(child)
                assert behind is not None
                stored = _parsed(found[1]) if found[0] == child else None
                below = stored is None or txn.first(KEYVALUES, child + b"\x00", behind) is not None
                entries.append(Entry(path_of(child), stored, below))
                size += len(found[1])
                low = behind
        return Listing(entries, entries[-1].path, next_offset, low)

    # Changes.

    def set(
        self, path: Sequence[str], value: value_pb2.Value, *, expected_revision: int | None = None
    ) -> tuple[Entry, Entry | None]:
        """Set a value, durably; returns it and the one before.

        Args:
            path: Where.
            value: The value.
            expected_revision: Set it only if the one there has this revision, or there is none for 0.

        Raises:
            BadHivePath, LimitExceeded: the path cannot be one, the value is too large.
            BadState: it has another revision.
        """
        checked = check_path(path)
        change = self._put(checked, value)
        key = key_of(checked)

        def op(txn: WriteTxn, append: AppendChange, events: list[Event]) -> tuple[Entry, Entry | None]:
            old = _find(txn, key)
            revision = old.revision if old is not None else 0
            if expected_revision not in (None, revision):
                raise BadState(
                    f"the value at {text_of(checked)} has revision {revision}, not {expected_revision}",
                    name=text_of(checked),
                    revision=revision,
                )
            apply_change(txn, change, append(txn, change) + 1, events)
            new = _parsed(events[-1].data)
            return Entry(checked, new), None if old is None else Entry(checked, old)

        return self._write(op)

    def add(self, path: Sequence[str], amount: int) -> Entry:
        """Add to an integer, which counts as 0 while there is none; durable.

        Raises:
            BadHivePath: the path cannot be one.
            BadTypeValu: what is there is no integer.
        """
        checked = check_path(path)
        key = key_of(checked)

        def op(txn: WriteTxn, append: AppendChange, events: list[Event]) -> Entry:
            old = _find(txn, key)
            before = 0 if old is None else from_value(old.value)
            if not isinstance(before, int) or isinstance(before, bool):
                raise BadTypeValu(
                    f"the value at {text_of(checked)} is no integer to add to", name=text_of(checked)
                )
            change = self._put(checked, to_value(before + amount))
            apply_change(txn, change, append(txn, change) + 1, events)
            return Entry(checked, _parsed(events[-1].data))

        return self._write(op)

    def pop(
        self,
        path: Sequence[str],
        *,
        tree: bool = False,
        may: Callable[[Path], None] = lambda path: None,
    ) -> tuple[Entry | None, int]:
        """Delete a value, or all at a path and below; durable.

        Args:
            path: Where.
            tree: Whether all below goes as well.
            may: Called with the path of each value of a tree before any is deleted; raises to refuse.

        Returns:
            The value that was at the path, and how many were deleted.

        Raises:
            BadHivePath: the path cannot be one.
            LimitExceeded: more than CHANGE_COUNT_MAX values are there.
        """
        checked = check_path(path)
        key = key_of(checked)
        where = change_pb.KeyValuePath(path=checked)
        change = (
            change_pb.KeyValueChange(tree_deleted=where) if tree else change_pb.KeyValueChange(deleted=where)
        )

        def op(txn: WriteTxn, append: AppendChange, events: list[Event]) -> tuple[Entry | None, int]:
            old = _find(txn, key)
            keys = _keys_at(txn, key) if tree else [key] * (old is not None)
            if tree:
                for found in keys:
                    may(path_of(found))
            if not keys:
                return None, 0
            apply_change(txn, change, append(txn, change) + 1, events)
            return None if old is None else Entry(checked, old), len(keys)

        return self._write(op)

    def move(
        self,
        path: Sequence[str],
        new_path: Sequence[str],
        *,
        may: Callable[[Path, Path], None] = lambda old, new: None,
    ) -> int:
        """Give a place, with all below it, another path; durable. Times stay, revisions are new ones.

        Args:
            path: The place.
            new_path: Where it goes; nothing may be there.
            may: Called with the old and new path of each value before any is moved; raises to refuse.

        Returns:
            How many values were moved.

        Raises:
            BadHivePath: a path cannot be one, or one is below the other.
            NoSuchName: nothing is there.
            DupName: something is at the new place.
            LimitExceeded: more than CHANGE_COUNT_MAX values are there.
        """
        op = moving(check_path(path), check_path(new_path), may, _keys_at, apply_change)
        return self._write(op)

    def load(
        self,
        items: Iterable[tuple[Sequence[str], value_pb2.Value]],
        *,
        trim: Sequence[str] | None = None,
        may_delete: Callable[[Path], None] = lambda path: None,
    ) -> tuple[int, int]:
        """Set many values in one transaction.

        Args:
            items: Paths and values. Of two with the same path the last one counts.
            trim: Delete what is at and below this path and not among them; None deletes nothing.
            may_delete: Called with each path that would be deleted, before anything is written; raises to refuse.

        Returns:
            How many were set, and how many deleted.

        Raises:
            BadHivePath, LimitExceeded: a path cannot be one, a value is too large, or there are too many.
        """
        write = self.loading(items, trim=trim, may_delete=may_delete)
        return self._write(write)

    def loading(
        self,
        items: Iterable[tuple[Sequence[str], value_pb2.Value]],
        *,
        trim: Sequence[str] | None = None,
        may_delete: Callable[[Path], None] = lambda path: None,
    ) -> Callable[[WriteTxn, AppendChange, list[Event]], tuple[int, int]]:
        """What `load` does inside of its transaction, for those who have one of their own. Raises as `load` does."""
        puts: dict[bytes, change_pb.KeyValueChange] = {}
        for path, value in items:
            checked = check_path(path)
            puts[key_of(checked)] = self._put(checked, value)
            if len(puts) > CHANGE_COUNT_MAX:
                raise _too_many("values are set")
        top = key_of(check_path(trim, may_be_root=True)) if trim is not None else None

        def op(txn: WriteTxn, append: AppendChange, events: list[Event]) -> tuple[int, int]:
            gone = [] if top is None else [key for key in _keys_at(txn, top) if key not in puts]
            for key in gone:
                may_delete(path_of(key))
            for key in gone:
                where = change_pb.KeyValuePath(path=path_of(key))
                change = change_pb.KeyValueChange(deleted=where)
                apply_change(txn, change, append(txn, change) + 1, events)
            for change in puts.values():
                apply_change(txn, change, append(txn, change) + 1, events)
            return len(puts), len(gone)

        return op

    def check(self, path: Sequence[str], value: value_pb2.Value) -> None:
        """Raise BadHivePath or LimitExceeded if the value could not be set there."""
        self._put(check_path(path), value)

    def begin(self) -> AppendChange:
        """What changes are appended with by who has a transaction of its own; see `loading`."""
        return self._changes.begin()

    def _write(self, op: Callable[[WriteTxn, AppendChange, list[Event]], T]) -> T:
        append = self._changes.begin()
        events: list[Event] = []

        def run(txn: WriteTxn) -> T:
            # It runs again if the transaction that it shared failed.
            events.clear()
            return op(txn, append, events)

        with self._lock:
            # Watchers hear of what is on disk, even where a gate refuses the acknowledgement.
            return self._slab.write_then(run, lambda: self.watches.publish(events))

    def _put(self, path: Path, value: value_pb2.Value) -> change_pb.KeyValueChange:
        size = value.ByteSize()
        if size > VALUE_SIZE_MAX:
            raise LimitExceeded(
                f"the value for {text_of(path)} takes {size} bytes, a value takes {VALUE_SIZE_MAX} at most",
                name="VALUE_SIZE_MAX",
                limit=VALUE_SIZE_MAX,
                size=size,
            )
        put = change_pb.KeyValuePut(path=path, value=value, update_time_us=self._now_us())
        return change_pb.KeyValueChange(put=put)


def apply_change(txn: WriteTxn, change: change_pb.KeyValueChange, revision: int, events: list[Event]) -> None:
    """Write what a change means, and note what watchers are to hear.

    Args:
        txn: Where.
        change: The change.
        revision: The offset behind its record, which no value that is there has: those are more than 0.
        events: Gets what watchers are to hear.

    Raises:
        StorageCorrupt: it means nothing that this version knows.
    """
    match change.WhichOneof("change"):
        case "put":
            put = change.put
            stored = change_pb.StoredKeyValue(
                value=put.value, update_time_us=put.update_time_us, revision=revision
            )
            path = tuple(put.path)
            key, data = key_of(path), stored.SerializeToString(deterministic=True)
            txn.put(KEYVALUES, key, data)
            events.append(Event(key, path, data, revision))
        case "deleted":
            path = tuple(change.deleted.path)
            key = key_of(path)
            if txn.delete(KEYVALUES, key):
                events.append(Event(key, path, None, revision))
        case "tree_deleted":
            top = key_of(tuple(change.tree_deleted.path))
            for key in _keys_at(txn, top):
                txn.delete(KEYVALUES, key)
                events.append(Event(key, path_of(key), None, revision))
        case kind:
            raise StorageCorrupt(f"key-values have no change {kind or 'of this kind'}")


class KeyValueApplier:
    """Applies change records of key-values; an Applier of the change log.

    Args:
        store: Whose watchers hear of it.
    """

    type_names: Final = (TYPE_NAME,)

    def __init__(self, store: KeyValues) -> None:
        self._store = store
        self._events: list[Event] = []

    def prepare(self, records: Sequence[ChangeRecord], source: ContentSource | None) -> None:
        """Nothing: the records have all."""

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """Write what the record tells. Raises StorageCorrupt."""
        try:
            change = change_pb.KeyValueChange.FromString(record.payload)
        except DecodeError as error:
            raise StorageCorrupt(
                f"record {record.offset} of the change log does not read back", offset=record.offset
            ) from error
        apply_change(txn, change, record.offset + 1, self._events)

    def committed(self) -> None:
        """Tell the watchers."""
        events, self._events = self._events, []
        if events:
            self._store.watches.publish(events)

    def rolled_back(self) -> None:
        """Forget what was applied."""
        self._events = []


def walk(read: Callable[[Sequence[str]], Listing], after: Sequence[str] = ()) -> Iterator[Entry]:
    """All entries of a list, a part at a time.

    Args:
        read: Gives the part behind a path: `tree` or `children` with its `after`.
        after: Where to begin.
    """
    while True:
        listing = read(after)
        yield from listing.entries
        if listing.after is None:
            return
        after = listing.after


def _find(txn: ReadTxn, key: bytes) -> change_pb.StoredKeyValue | None:
    data = txn.get(KEYVALUES, key)
    return None if data is None else _parsed(data)


def _parsed(data: bytes | None) -> change_pb.StoredKeyValue:
    try:
        return change_pb.StoredKeyValue.FromString(data or b"")
    except DecodeError as error:
        raise StorageCorrupt("a key-value does not read back") from error


def _keys_at(txn: ReadTxn, top: bytes) -> list[bytes]:
    """The keys at and below a place. Raises LimitExceeded when they are too many."""
    chunk = txn.scan_keys(KEYVALUES, top, behind_tree(top), count_max=CHANGE_COUNT_MAX)
    if chunk.resume is not None:
        raise _too_many("values are there")
    return chunk.items


def _too_many(what: str) -> LimitExceeded:
    return LimitExceeded(
        f"more than {CHANGE_COUNT_MAX} {what}: one transaction changes no more",
        name="CHANGE_COUNT_MAX",
        limit=CHANGE_COUNT_MAX,
    )


def _key_below(top: bytes, after: Sequence[str]) -> bytes:
    key = key_of(check_path(after))
    if not key.startswith(top):
        raise BadHivePath(
            f"{text_of(after)} is not below the path that is listed", path=[name[:64] for name in after]
        )
    return key


def _behind(top: bytes, after: Sequence[str]) -> bytes:
    return _key_below(top, after) + b"\x00"
