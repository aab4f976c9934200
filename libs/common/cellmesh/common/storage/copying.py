"""A consistent copy of a slab as a stream of bytes, while reads and writes go on.

A read transaction is held as long as the copy lasts, a `Snapshot`. LMDB never writes to a page
that an open reader may use, so the file itself is read, page after page, and what newer commits put into
other pages meanwhile does no harm: the copy begins with the meta page of its own state, twice, and in that
state those pages are free. The file grows by what is written meanwhile.

This is done here and not by `Environment.copy`, during which py-lmdb keeps a lock that rolling back a
transaction waits for: one failed write would keep all others out until the copy is done.

Growing the map ends all transactions. Writes go first: they stop the copy when they cannot do without.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from cellmesh.common.errors import CellError, StorageCorrupt
from cellmesh.common.storage.snapshot import Snapshot

CHUNK_SIZE: Final = 256 * 1024
"""Most bytes of one chunk of a copy."""

# LMDB's data format 1: a page header of 16 bytes with the page's number in front, then the meta: magic,
# version, address, map size, two databases of 48 bytes (the first begins with the page size), last page,
# transaction id.
META_MAGIC: Final = 0xBEEFC0DE
META_VERSION: Final = 1
_META: Final = struct.Struct("=Q8xII8x8xI44x48xQQ")
_PAGE_NUMBER: Final = struct.Struct("=Q")
_TXN_ID: Final = struct.Struct("=Q")


@dataclass(frozen=True, slots=True)
class Meta:
    """LMDB's description of one committed state.

    Attributes:
        page: The page that holds it.
        txn_id: The transaction that made the state.
        page_count: Pages that the state has, free ones among them.
    """

    page: bytes
    txn_id: int
    page_count: int

    @property
    def size_bytes(self) -> int:
        """Size of a file with this state."""
        return self.page_count * len(self.page)


def read_meta(handle: int, txn_id: int, page_size: int, where: str) -> Meta:
    """The meta page of a state. No commit may run: it would overwrite it after the next one.

    Raises:
        StorageCorrupt: the file does not have it.
    """
    page = os.pread(handle, page_size, (txn_id & 1) * page_size)
    if len(page) == page_size:
        _, magic, version, stored_page_size, last_page, stored_id = _META.unpack_from(page)
        if (magic, version, stored_page_size, stored_id) == (META_MAGIC, META_VERSION, page_size, txn_id):
            return Meta(page, txn_id, last_page + 1)
    raise StorageCorrupt(f"the meta page of transaction {txn_id} in {where} is not as expected")


def set_txn_id(handle: int, txn_id: int, page_size: int) -> None:
    """Give the newest state of a file that nobody has open another transaction id; nothing else changes.

    Raises:
        StorageCorrupt: the file has no meta page.
    """
    metas = []
    for place in (0, 1):
        page = os.pread(handle, page_size, place * page_size)
        _, magic, version, stored_page_size, _, stored_id = _META.unpack_from(page)
        if (magic, version, stored_page_size) == (META_MAGIC, META_VERSION, page_size):
            metas.append((stored_id, page))
    if not metas:
        raise StorageCorrupt("the file has no meta page as expected")
    _, newest = max(metas)
    # LMDB writes a state's meta page to the place of its number's parity; the other one is the state before.
    for state_id in (txn_id - 1, txn_id):
        changed = bytearray(newest)
        _PAGE_NUMBER.pack_into(changed, 0, state_id & 1)
        _TXN_ID.pack_into(changed, _META.size - _TXN_ID.size, state_id)
        os.pwrite(handle, changed, (state_id & 1) * page_size)


class SlabCopy:
    """One running copy, in a `with` block. Made by `Slab.copy`; read from one thread.

    Args:
        snapshot: The state to copy; the copy ends it.
        meta: Of the state.
        handle: An open descriptor of the file; the copy closes it.

    Attributes:
        size_bytes: The copy's size.
    """

    def __init__(self, snapshot: Snapshot, meta: Meta, handle: int) -> None:
        self.size_bytes = meta.size_bytes
        self._snapshot = snapshot
        self._meta = meta
        self._handle = handle

    @property
    def is_running(self) -> bool:
        """Whether its transaction is open still."""
        return self._snapshot.is_open

    def chunks(self) -> Iterator[bytes]:
        """The file's bytes, in order, all chunks but the last of the same size.

        Raises:
            Retry: writes needed the map to grow; a new copy has room.
            TimeOut: nothing was taken for too long.
        """
        position = 0
        while position < self.size_bytes:
            chunk = self._read(position, min(CHUNK_SIZE, self.size_bytes - position))
            # After reading: up to here the transaction has kept the pages as they were.
            self._snapshot.touch()
            yield chunk
            position += len(chunk)

    def stop(self, reason: CellError | None = None) -> None:
        """End the copy; its transaction is closed then. Whoever reads on gets the reason."""
        self._snapshot.stop(reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        os.close(self._handle)

    def _read(self, position: int, size: int) -> bytes:
        chunk = os.pread(self._handle, size, position)
        # Pages at the end that were given out and never written are not in the file.
        chunk += bytes(size - len(chunk))
        if position == 0:
            page_size = len(self._meta.page)
            head = b"".join(
                _PAGE_NUMBER.pack(number) + self._meta.page[_PAGE_NUMBER.size :] for number in (0, 1)
            )
            chunk = head + chunk[2 * page_size :]
        return chunk
