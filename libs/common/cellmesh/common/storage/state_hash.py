"""A hash of what databases hold at one moment, by which replicas are compared.

Two slabs with equal items have equal hashes, whatever their files look like. A database's hash is SHA-256 over
its items in order, taken in groups: the count of the group as 4 bytes, the lengths of its keys and then of its
values as 4 bytes each, the keys, the values. How many items a group has depends only on those before it, so all
replicas form the same groups. The hash of the whole is SHA-256 over name, items and hash of each database, by
name. All numbers are little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage.subdb import SubDb
from cellmesh.common.storage.transactions import Position, ReadTxn

T = TypeVar("T")

GROUP_COUNT_MAX: Final = 4096
GROUP_SIZE_BYTES: Final = 512 * 1024
"""About so many bytes of items make a group."""


@dataclass(frozen=True, slots=True)
class StateHash:
    """The hash of one state.

    Attributes:
        sha256: Of the whole, 32 bytes.
        databases: Of each database by its name, to find where replicas differ.
        item_count: Items hashed.
        size_bytes: Bytes of keys and values hashed.
    """

    sha256: bytes
    databases: dict[str, bytes]
    item_count: int
    size_bytes: int


class Reader(Protocol):
    """Where one state is read, a chunk at a time: a `Snapshot`."""

    def read(self, op: Callable[[ReadTxn], T]) -> T:
        """Run one chunk of reading."""
        ...


class _Open:
    """A transaction as a Reader."""

    def __init__(self, txn: ReadTxn) -> None:
        self._txn = txn

    def read(self, op: Callable[[ReadTxn], T]) -> T:
        return op(self._txn)


def hash_state(
    source: Reader | ReadTxn, databases: Iterable[SubDb], check: Callable[[], None] = lambda: None
) -> StateHash:
    """Hash the databases named, those that are local to a cell left out.

    Args:
        source: The state: a snapshot, or a transaction that may stay open for so long.
        databases: Which; in any order.
        check: Called between chunks; what it raises ends the work.
    """
    reader = _Open(source) if isinstance(source, ReadTxn) else source
    whole = hashlib.sha256()
    found: dict[str, bytes] = {}
    item_count = size_bytes = 0
    for db in sorted((db for db in databases if not db.local), key=lambda db: db.name):
        digest, count, size = _hash_database(reader, db, check)
        name = db.name.encode()
        whole.update(struct.pack("<I", len(name)) + name + struct.pack("<Q", count) + digest)
        found[db.name] = digest
        item_count += count
        size_bytes += size
    return StateHash(whole.digest(), found, item_count, size_bytes)


def _hash_database(reader: Reader, db: SubDb, check: Callable[[], None]) -> tuple[bytes, int, int]:
    digest = hashlib.sha256()
    count = size = 0
    group_count = 64
    after: Position | None = None
    while True:
        check()
        failpoint("state_hash_chunk")
        wanted, start = group_count, after
        chunk = reader.read(lambda txn: txn.scan(db, count_max=wanted, after=start))  # noqa: B023  runs at once
        if chunk.items:
            group_size = _add(digest, chunk.items)
            count += len(chunk.items)
            size += group_size
            group_count = max(
                1, min(GROUP_COUNT_MAX, GROUP_SIZE_BYTES * len(chunk.items) // max(1, group_size))
            )
        if chunk.resume is None:
            return digest.digest(), count, size
        after = chunk.resume


def _add(digest: hashlib._Hash, items: Sequence[tuple[bytes, bytes]]) -> int:
    keys, values = zip(*items, strict=True)
    count = len(items)
    digest.update(struct.pack(f"<{2 * count + 1}I", count, *map(len, keys), *map(len, values)))
    key_bytes, value_bytes = b"".join(keys), b"".join(values)
    digest.update(key_bytes)
    digest.update(value_bytes)
    return len(key_bytes) + len(value_bytes)


__all__ = ["StateHash", "hash_state"]
