"""A caller's unit of work on a slab."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from cellmesh.common.errors import NotLeader
from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage.writer import Batch, BatchState

if TYPE_CHECKING:
    from cellmesh.common.storage.slab import Slab
    from cellmesh.common.storage.transactions import ReadTxn, WriteTxn
    from cellmesh.common.storage.writer import Writer

T = TypeVar("T")


def _look(txn: WriteTxn) -> None:
    """An op that writes nothing."""


class Session:
    """One unit of work: a query, an RPC, a loader. Used from one thread, and closed at its end.

    It sees its own writes at once; others see them when they are committed. While it has uncommitted writes
    it may hold the slab's one write transaction, so it calls `breathe` in long loops and `pause` before it
    waits for anything outside the storage.

    Attributes:
        batch: The transaction its last write went into, or saw what others had written before it was committed.
            None if there is none since `sync`.
        has_looked: Whether a write since `sync` found nothing to do in a state that was committed already.
        has_written: Whether it has written anything since it was made.
        is_privileged: Whether it passes the slab's gate.
        is_exclusive: Whether nobody else's ops go into its transaction.
        token: Stands for the session as holder, so that the writer doesn't keep a forgotten session alive.
    """

    __slots__ = (
        "_slab",
        "_writer",
        "batch",
        "has_looked",
        "has_written",
        "is_exclusive",
        "is_privileged",
        "token",
    )

    def __init__(
        self, slab: Slab, writer: Writer, *, is_privileged: bool = False, is_exclusive: bool = False
    ) -> None:
        self._slab = slab
        self._writer = writer
        self.batch: Batch | None = None
        self.has_looked = False
        self.has_written = False
        self.is_privileged = is_privileged
        self.is_exclusive = is_exclusive
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
            CellError: what the slab's gate raises. Nothing is written then.
        """
        writer = self._writer
        if writer.holder is not self.token:
            return self._enter(op)
        result = writer.run(self, op)
        if writer.attention or monotonic() >= writer.burst_end_s:
            writer.serve()
        return result

    def _enter(self, op: Callable[[WriteTxn], T]) -> T:
        try:
            result = self._writer.enter(self, op)
        except NotLeader as error:
            if self.has_written:
                # The whole of the work is neither done nor undone: it must not be sent again elsewhere unasked.
                error.set("outcome", "unknown")
            raise
        self.has_written = self.has_written or self.batch is not None
        return result

    def breathe(self) -> None:
        """Let those who wait have their turn. Costs next to nothing when nobody does."""
        writer = self._writer
        if writer.attention and writer.holder is self.token:
            writer.serve()

    def keep_together(self, finish: Callable[[], None]) -> None:
        """Keep the writes from here to `part` in one transaction, with nobody else's in between.

        Other threads wait meanwhile. If the session has to let go before `part` (it pauses, or something on its
        thread commits), `finish` is called first, and what follows goes into another transaction.

        Args:
            finish: Writes what is missing to the ops since; runs ops of this session.
        """
        writer = self._writer
        if writer.holder is not self.token and not writer.is_own_thread():
            was_exclusive, self.is_exclusive = self.is_exclusive, True
            try:
                self._enter(_look)
            finally:
                self.is_exclusive = was_exclusive
                if not was_exclusive:
                    writer.open_to_all(self.token)
        writer.finishers.append(finish)

    def part(self, finish: Callable[[], None]) -> None:
        """End what `keep_together` began; the last ops, those of `finish`, have been run."""
        writer = self._writer
        if finish in writer.finishers:
            writer.finishers.remove(finish)
        self.breathe()

    def pause(self) -> None:
        """Let go of the write transaction, before waiting for anything outside the storage."""
        if self._writer.holder is self.token:
            self._writer.commit()

    def sync(self) -> None:
        """Return when all writes of this session are committed and synced to disk, and may be acknowledged.

        What a write only found to be there already counts as its own: who is told so may rely on it.

        Raises:
            StorageAborted, StorageFull: they are not, and never will be.
            CellError: what the slab's gate raises. They are committed, and may not be acknowledged (yet: `sync`
                asks again).
        """
        self.pause()
        batch = self.batch
        if batch is not None:
            if batch.state is BatchState.OPEN:
                self._writer.wait_for(batch)
            batch.check()
            failpoint("slab_before_acknowledge")
        elif not self.has_looked:
            return
        gate = self._writer.gate
        if gate is not None and not self.is_privileged:
            # Read after the commit: the state has at least what this session wrote.
            gate.acknowledge(self._writer.durable_txn_id)
        self.batch = None
        self.has_looked = False

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
