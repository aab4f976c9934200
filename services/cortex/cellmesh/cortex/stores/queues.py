"""Queues: items in order, each with an offset that is never given twice.

What was read stays until someone culls it. An item is culled by offset, so a consumer that asks for offset N says that
it is done with all before N.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any, Final

from cellmesh.common.errors import DupName, NoSuchName
from cellmesh.common.storage import ReadTxn
from cellmesh.common.storage.codecs import UINT64
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.stores.named import NAME_SIZE_MAX, NamedValues
from cellmesh.cortex.stores.schema import QUEUE_ITEMS, QUEUE_NUMBERS, QUEUES
from cellmesh.cortex.values.wire import decode_value, encode_value

_NEXT: Final = b"next"
CULL_COUNT_MAX: Final = 1000
READ_COUNT_MAX: Final = 1000

Item = tuple[int, Any]


class Queues:
    """The queues of a cell."""

    def __init__(self, changes: Changes) -> None:
        self._names = NamedValues(QUEUES, changes, "queue")
        self._changes = changes
        # What was read or written last, with its bytes: most calls are about one queue many times.
        self._last: tuple[bytes, Mapping[str, Any]] | None = None

    # Queues.

    def add(self, access: Access, name: str, user: str) -> None:
        """Make a queue; raises DupName. `user` is the iden of who does so."""
        key, now_ms = self._names.key(name), time_ns() // 1_000_000

        def op(rows: Rows) -> None:
            if rows.txn.has(QUEUES, key):
                raise DupName(f"there is a queue named {name} already", name=name)
            found = rows.txn.get(QUEUE_NUMBERS, _NEXT)
            number = 1 if found is None else UINT64.decode(found)
            rows.put(QUEUE_NUMBERS, _NEXT, UINT64.encode(number + 1))
            rows.put(
                QUEUES, key, encode_value({"number": number, "time": now_ms, "creator": user, "next": 0})
            )

        self._changes.run(access, op)

    def has(self, access: Access, name: str) -> bool:
        """Whether there is such a queue."""
        return self._names.get(access, name) is not None

    def describe(self, access: Access) -> list[dict[str, Any]]:
        """Return what is known of each queue, with its size and next offset."""

        def read(txn: ReadTxn) -> list[dict[str, Any]]:
            return [
                {
                    "name": name,
                    "meta": {"time": known["time"], "creator": known["creator"]},
                    "size": _size(txn, known["number"]),
                    "offs": known["next"],
                }
                for name, known in self._names.load(txn)
            ]

        return access.read(read)

    def remove(self, access: Access, name: str) -> None:
        """Remove a queue and its items; raises NoSuchName.

        Items of a long queue go in several steps, the queue itself in the last.
        """
        while not self._cull(access, name, None):
            pass
        key = self._names.key(name)
        self._changes.run(access, lambda rows: rows.delete(QUEUES, key))

    # Items.

    def put(self, access: Access, name: str, items: Sequence[Any]) -> int:
        """Add items; returns the offset of the first. Raises NoSuchName."""
        encoded = [encode_value(item) for item in items]

        def op(rows: Rows) -> int:
            known = self._known(rows.txn, name)
            first: int = known["next"]
            head = UINT64.encode(known["number"])
            for place, data in enumerate(encoded):
                rows.put(QUEUE_ITEMS, head + UINT64.encode(first + place), data)
            if encoded:
                changed = {**known, "next": first + len(encoded)}
                data = encode_value(changed)
                rows.put(QUEUES, self._names.key(name), data)
                self._last = (data, changed)
            return first

        return self._changes.run(access, op)

    def read(self, access: Access, name: str, offset: int, count_max: int = READ_COUNT_MAX) -> list[Item]:
        """Return items from an offset on, at most so many; raises NoSuchName."""

        def read(txn: ReadTxn) -> list[Item]:
            number = self._known(txn, name)["number"]
            head = UINT64.encode(number)
            low = head + UINT64.encode(max(0, offset))
            chunk = txn.scan(QUEUE_ITEMS, low, UINT64.encode(number + 1), count_max=count_max)
            return [(UINT64.decode(key[8:]), decode_value(value)) for key, value in chunk.items]

        return access.read(read)

    def pop(self, access: Access, name: str, offset: int | None = None) -> Item | None:
        """Remove one item, the first or the one of an offset, and return it with its offset; None if it is not there.

        Raises:
            NoSuchName: there is no such queue.
        """

        def op(rows: Rows) -> Item | None:
            number = self._known(rows.txn, name)["number"]
            head = UINT64.encode(number)
            if offset is None:
                first = rows.txn.first(QUEUE_ITEMS, head, UINT64.encode(number + 1))
                if first is None:
                    return None
                key, data = first
            else:
                if offset < 0:
                    return None
                key = head + UINT64.encode(offset)
                found = rows.txn.get(QUEUE_ITEMS, key)
                if found is None:
                    return None
                data = found
            item = (UINT64.decode(key[8:]), decode_value(data))
            rows.delete(QUEUE_ITEMS, key)
            return item

        return self._changes.run(access, op)

    def cull(self, access: Access, name: str, offset: int) -> None:
        """Remove all items up to and with an offset; raises NoSuchName."""
        if offset < 0:
            access.read(lambda txn: self._known(txn, name))
            return
        while not self._cull(access, name, offset):
            pass

    def size(self, access: Access, name: str) -> int:
        """Return how many items a queue has; one that was removed has none."""

        def read(txn: ReadTxn) -> int:
            try:
                known = self._known(txn, name)
            except NoSuchName:
                return 0
            return _size(txn, known["number"])

        return access.read(read)

    def _cull(self, access: Access, name: str, offset: int | None) -> bool:
        """Remove items up to an offset, or all; returns whether none is left."""

        def op(rows: Rows) -> bool:
            number = self._known(rows.txn, name)["number"]
            head = UINT64.encode(number)
            high = UINT64.encode(number + 1) if offset is None else head + UINT64.encode(offset + 1)
            first = rows.txn.scan_keys(QUEUE_ITEMS, head, high, count_max=1).items
            if not first:
                return True
            if offset is not None and first[0] == head + UINT64.encode(offset):
                # One at the front, as those do who cull behind each item: a scan would read on.
                rows.delete(QUEUE_ITEMS, first[0])
                return True
            chunk = rows.txn.scan_keys(QUEUE_ITEMS, head, high, count_max=CULL_COUNT_MAX)
            for key in chunk.items:
                rows.delete(QUEUE_ITEMS, key)
            return chunk.resume is None

        return self._changes.run(access, op)

    def _known(self, txn: ReadTxn, name: str) -> Mapping[str, Any]:
        key = name.encode()
        found = txn.get(QUEUES, key) if 0 < len(key) <= NAME_SIZE_MAX else None
        if found is None:
            raise NoSuchName(f"no queue named {name}", name=name)
        last = self._last
        if last is not None and last[0] == found:
            return last[1]
        known: dict[str, Any] = decode_value(found)
        self._last = (found, known)
        return known


def _size(txn: ReadTxn, number: int) -> int:
    """Count the items of a queue: those in a row by their offsets, if none in between was popped."""
    low, high = UINT64.encode(number), UINT64.encode(number + 1)
    count, position = 0, None
    while True:
        chunk = txn.scan_keys(QUEUE_ITEMS, low, high, count_max=READ_COUNT_MAX, after=position)
        count += len(chunk.items)
        if chunk.resume is None:
            return count
        position = chunk.resume
