"""A caller's unit of work on a slab."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from cellmesh.common.storage.writer import Batch, BatchState

if TYPE_CHECKING:
    from cellmesh.common.storage.slab import Slab
    from cellmesh.common.storage.transactions import ReadTxn, WriteTxn
    from cellmesh.common.storage.writer import Writer

T = TypeVar("T")


class Session:
    """One unit of work: a query, an RPC, a loader. Used from one thread, and closed at its end.

    It sees its own writes at once; others see them when they are committed. While it has uncommitted writes
    it may hold the slab's one write transaction, so it calls `breathe` in long loops and `pause` before it
    waits for anything outside the storage.

    Attributes:
        batch: The transaction its last write went into. None if it has written nothing since `sync`.
        token: Stands for the session as holder, so that the writer doesn't keep a forgotten session alive.
    """

    __slots__ = ("_slab", "_writer", "batch", "token")

    def __init__(self, slab: Slab, writer: Writer) -> None:
        self._slab = slab
        self._writer = writer
        self.batch: Batch | None = None
        self.token = object()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, op: Callable[[ReadTxn], T]) -> T:
        """Run a chunk of reading, in a state that has all writes of this session.

        Args:
            op: Finishes its chunk and keeps nothing of the transaction.

        Raises:
            StorageAborted: writes of this session were rolled back.
        """
        writer = self._writer
        if writer.holder is self.token:
            result = op(writer.txn)
            if writer.attention:
                writer.serve()
            return result
        batch = self.batch
        if batch is not None:
            if batch.state is BatchState.OPEN:
                done = writer.enter_read(self, op)
                if done is not None:
                    return done[0]
            batch.check()
        with self._slab.view() as txn:
            return op(txn)

    def write(self, op: Callable[[WriteTxn], T]) -> T:
        """Run one op in the open write transaction, on this thread or on that of its holder.

        Args:
            op: Makes all its checks before its first put: an exception before any put just comes back here,
                one after a put rolls the whole transaction back. It waits for nothing: no RPC, no queue,
                no lock, no other op.

        Raises:
            StorageAborted: earlier writes of this session were rolled back; so is every later call's answer.
            StorageFull, LowSpace: there is no room.
        """
        writer = self._writer
        if writer.holder is not self.token:
            return writer.enter(self, op)
        result = writer.run(self, op)
        if writer.attention or monotonic() >= writer.burst_end_s:
            writer.serve()
        return result

    def breathe(self) -> None:
        """Let those who wait have their turn. Costs next to nothing when nobody does."""
        writer = self._writer
        if writer.attention and writer.holder is self.token:
            writer.serve()

    def pause(self) -> None:
        """Let go of the write transaction, before waiting for anything outside the storage."""
        if self._writer.holder is self.token:
            self._writer.commit()

    def sync(self) -> None:
        """Return when all writes of this session are committed and synced to disk.

        Raises:
            StorageAborted, StorageFull: they are not, and never will be.
        """
        self.pause()
        batch = self.batch
        if batch is None:
            return
        if batch.state is BatchState.OPEN:
            self._writer.wait_for(batch)
        batch.check()
        self.batch = None

    def check(self) -> None:
        """Raise StorageAborted if writes of this session were rolled back."""
        if self.batch is not None:
            self.batch.check()

    def close(self) -> None:
        """Let go of the write transaction; what is written will be committed, unless it fails for all."""
        self.pause()

    def __del__(self) -> None:
        # A session that was forgotten must not keep the others out.
        self._writer.forget(self.token)
