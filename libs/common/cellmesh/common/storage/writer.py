"""The one write transaction, and who may use it: flat combining with group commit.

At most one write transaction is open. The session that opened it is its *holder* and works in it on its own
thread. Everyone else leaves ops in a queue; the holder runs them in its transaction between its own ops
(`serve`), so that many callers share one commit, and gives the transaction up when its burst is over. When
it is given up, the first of those who still wait becomes the next holder. What is in the transaction of one
holder, whoever wrote it, is a *batch*: all of it is committed, or none.

Invariants:
    - `holder`, `batch`, `txn` and `started_s` change only while their changer holds the turn: it is the
      holder, or has taken the turn under the mutex while `_turn_taken` was False, or was handed it.
    - `_queue`, `Batch.waiters`, `_turn_taken`, and the end of a batch change only under the mutex.
    - `attention` is True whenever the queue has an op or somebody waits for the end of the open batch. It is
      read without the mutex: a stale False delays the holder's help to its next op.
    - An op waits for nothing, so the mutex and the transaction are never held across a wait.
    - While there is a gate, the ops of a batch are all of privileged sessions, or all of plain ones.
    - While there are `finishers`, the holder neither serves others nor commits of its own accord. Whatever ends
      the batch, or lets another session of the holder's thread in, calls them first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import lmdb
from cellmesh.common.errors import StorageAborted, StorageFull
from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage.faults import translate
from cellmesh.common.storage.gate import AckGate
from cellmesh.common.storage.transactions import WriteTxn

if TYPE_CHECKING:
    from cellmesh.common.storage.session import Session

T = TypeVar("T")

BURST_SHARED_S = 0.010
"""How long a holder may keep the transaction once somebody waits."""

BURST_ALONE_S = 0.200
"""How long a holder may keep the transaction while nobody waits."""

HOLDER_CHECK_S = 5.0
"""How often a waiting thread looks whether the holder's thread still lives."""


class Environment(Protocol):
    """What the writer needs of the slab."""

    def begin_write(self) -> lmdb.Transaction[bytes]:
        """Open the write transaction; raises LowSpace instead if the disk is nearly full."""

    def commit(self, raw: lmdb.Transaction[bytes]) -> None:
        """Commit the write transaction; returns when it is on disk."""

    def after_commit(self) -> int:
        """Called between two write transactions, with none open: may grow the map.

        Returns:
            LMDB's id of the last transaction.
        """

    def after_abort(self, cause: BaseException) -> None:
        """The same, after a transaction that failed."""


class BatchState(Enum):
    """Where a batch stands."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


class Batch:
    """All ops that share one write transaction."""

    __slots__ = ("cause", "commit_failed", "dirty", "state", "then", "waiters")

    def __init__(self) -> None:
        self.state = BatchState.OPEN
        self.dirty = False
        self.commit_failed = False
        self.cause: BaseException | None = None
        self.waiters: list[threading.Lock] = []
        self.then: Callable[[], None] | None = None

    def check(self) -> None:
        """Raise StorageAborted if the batch was rolled back, StorageFull if its commit found no room."""
        if self.state is BatchState.ABORTED:
            if self.commit_failed and isinstance(self.cause, StorageFull):
                free, need = self.cause.get("free"), self.cause.get("need")
                raise StorageFull(
                    f"nothing of the write was kept: {self.cause.message}; the disk has {free} bytes left, the "
                    f"cell keeps {need} free"
                    if free is not None
                    else "there was no room to commit, and nothing of the write was kept",
                    free=free,
                    need=need,
                    hint="make room on the disk: writes go on by themselves then",
                ) from self.cause
            raise StorageAborted(
                "a write that shared its transaction with others failed, and all of them were rolled back",
                hint="run the operation again",
            ) from self.cause


class _Outcome(Enum):
    WAITING = "waiting"
    RAN = "ran"
    TURN = "turn"


class _Request:
    """An op in the queue, with the place where its caller waits."""

    __slots__ = ("durable", "error", "op", "outcome", "result", "session", "thread", "wake")

    def __init__(self, session: Session, op: Callable[[WriteTxn], Any], durable: bool) -> None:
        self.session = session
        self.op = op
        self.durable = durable
        self.thread = threading.current_thread()
        self.outcome = _Outcome.WAITING
        self.result: Any = None
        self.error: BaseException | None = None
        self.wake = threading.Lock()
        self.wake.acquire()


class Writer:
    """Hands the write transaction round."""

    def __init__(
        self,
        environment: Environment,
        txn: WriteTxn,
        durable_txn_id: int,
        burst_shared_s: float,
        burst_alone_s: float,
    ) -> None:
        self.txn = txn
        self.holder: object | None = None
        self.batch = Batch()
        self.attention = False
        self.burst_end_s = 0.0
        self.commit_count = 0
        self.abort_count = 0
        self.shared_op_count = 0
        self.durable_txn_id = durable_txn_id
        self.gate: AckGate | None = None
        self.next_txn: WriteTxn | None = None
        self.finishers: list[Callable[[], None]] = []
        self._is_finishing = False
        self._is_privileged = False
        self._is_exclusive = False
        self._environment = environment
        self._burst_shared_s = burst_shared_s
        self._burst_alone_s = burst_alone_s
        self._started_s = 0.0
        self._mutex = threading.Lock()
        self._queue: deque[_Request] = deque()
        self._turn_taken = False
        self._thread: threading.Thread | None = None
        self._op_running = False
        self._watchers: list[threading.Lock] = []
        self._closed = False

    # Entering: the session is not the holder.

    def enter(self, session: Session, op: Callable[[WriteTxn], T], *, durable: bool = False) -> T:
        """Run an op of a session that doesn't hold the transaction: take the turn, or have the op run.

        Args:
            session: Whose op it is; the holder afterwards if the turn was free or came round to it.
            op: Runs in the write transaction, on this thread or on the holder's.
            durable: Return only when the op is committed and synced.
        """
        if self.gate is not None and not session.is_privileged:
            self.gate.check_write()
        if self._thread is threading.current_thread():
            if not self._keeps_out(session):
                self._finish()
                return self._run_beside(session, op)
            self.commit()
        with self._mutex:
            if self._closed:
                raise StorageAborted("the storage is closed")
            if not self._turn_taken:
                self._turn_taken = True
                request = None
            else:
                request = _Request(session, op, durable)
                self._queue.append(request)
                self.attention = True
        if request is not None:
            self._wait_in_queue(request)
            if request.outcome is _Outcome.RAN:
                if request.error is not None:
                    raise request.error
                if durable:
                    session.check()
                result: T = request.result
                return result
        return self._run_first(session, op)

    def enter_read(self, session: Session, op: Callable[[WriteTxn], T]) -> tuple[T] | None:
        """Run a read of a session whose writes are in the open batch of another thread.

        Returns:
            Its result, or None if the batch has ended and the session can read by itself.
        """
        if self._thread is threading.current_thread():
            return (self.run(session, op),) if self.holder is not None else None
        batch = session.batch
        assert batch is not None
        with self._mutex:
            if batch.state is not BatchState.OPEN:
                return None
            # The turn is taken, as long as the batch is open.
            request = _Request(session, op, durable=False)
            self._queue.append(request)
            self.attention = True
        self._wait_in_queue(request)
        if request.outcome is _Outcome.TURN:
            self._pass_on()
            return None
        if request.error is not None:
            raise request.error
        return (request.result,)

    def _run_first(self, session: Session, op: Callable[[WriteTxn], T]) -> T:
        """Open the transaction on this thread, which has the turn, and run the op in it."""
        self._thread = threading.current_thread()
        try:
            session.check()
            if self.gate is not None and not session.is_privileged:
                # Again: it may have waited for its turn while the gate was closed.
                self.gate.check_write()
            failpoint("slab_before_begin")
            if self.next_txn is not None:
                self.txn, self.next_txn = self.next_txn, None
            self.txn.bind(self._environment.begin_write())
        except BaseException as error:
            self._pass_on()
            fault = translate(error)
            if fault is error:
                raise
            raise fault from error
        self.batch = Batch()
        self._is_privileged = session.is_privileged
        self._is_exclusive = session.is_exclusive
        self._started_s = monotonic()
        self.burst_end_s = self._started_s + self._burst_alone_s
        self.holder = session.token
        return self.run(session, op)

    def _run_beside(self, session: Session, op: Callable[[WriteTxn], T]) -> T:
        """Run an op of another session of the holder's own thread, which would wait for itself."""
        session.check()
        return self.run(session, op)

    # Running: on the holder's thread.

    def run(self, session: Session, op: Callable[[WriteTxn], T]) -> T:
        """Run one op in the open transaction, on the holder's thread."""
        txn = self.txn
        assert not self._op_running, "an op of a write transaction runs another one"
        txn.touched = False
        self._op_running = True
        try:
            result = op(txn)
        except BaseException as error:
            self._op_running = False
            fault = self._op_failed(error)
            if fault is error:
                raise
            raise fault from error
        self._op_running = False
        if txn.touched:
            self.batch.dirty = True
            session.batch = self.batch
        elif self.batch.dirty:
            # What it found may be a write of another session, and is on disk only with this batch.
            session.batch = self.batch
        else:
            session.has_looked = True
        return result

    def serve(self) -> None:
        """Help those who wait; give the transaction up if the burst is over. Called by the holder."""
        if self.finishers:
            # A session is in the middle of what belongs together.
            return
        if self.attention:
            self._run_queue()
            if self.holder is not None and monotonic() - self._started_s >= self._burst_shared_s:
                self.commit()
        elif monotonic() >= self.burst_end_s:
            self.commit()

    def _run_queue(self) -> None:
        """Run the ops that wait now; not those that come meanwhile, so that the holder gets on too."""
        for _ in range(len(self._queue)):
            with self._mutex:
                if not self._queue:
                    break
                if self._keeps_out(self._queue[0].session):
                    # It gets the turn when this batch ends, and those behind it wait too.
                    return
                request = self._queue.popleft()
            self._run_request(request)
            if self.holder is None:
                return
        with self._mutex:
            self.attention = bool(self._queue or self.batch.waiters)

    def _run_request(self, request: _Request) -> None:
        request.outcome = _Outcome.RAN
        try:
            request.session.check()
            request.result = self.run(request.session, request.op)
            self.shared_op_count += 1
        except BaseException as error:
            request.error = error
            request.wake.release()
            if not isinstance(error, Exception):
                # Not the op's own doing: the holder's thread is being stopped.
                request.error = StorageAborted("the thread that ran the operation was stopped")
                raise
            return
        if request.durable and request.session.batch is self.batch:
            with self._mutex:
                self.batch.waiters.append(request.wake)
        else:
            request.wake.release()

    def _op_failed(self, error: BaseException) -> BaseException:
        """Decide what a failed op means for the batch; returns what its caller gets."""
        fault = translate(error)
        harmless = isinstance(error, lmdb.BadValsizeError) or not isinstance(error, lmdb.Error)
        if self.txn.touched or not harmless:
            self._abort(fault)
        elif not self.batch.dirty:
            # Nothing was written at all: the turn is not kept for a failure.
            self._abort(fault)
        return fault

    def _keeps_out(self, session: Session) -> bool:
        """Whether a session may not share the open transaction: one wants it alone, or one passes the gate."""
        if self.holder is None or self.holder is session.token:
            return False
        if self._is_exclusive or session.is_exclusive:
            return True
        return self.gate is not None and session.is_privileged != self._is_privileged

    # Giving up the transaction: on the holder's thread.

    def commit(self) -> None:
        """End the batch: committed and synced, or rolled back. Called by the holder.

        Whoever has written in the batch learns the end from the batch itself.
        """
        assert self._thread is threading.current_thread(), "a session changed its thread without pause()"
        self._finish()
        self._run_queue()
        if self.holder is None:
            return
        raw = self.txn.raw
        self.holder = None
        try:
            failpoint("slab_before_commit")
            self._environment.commit(raw)
        except BaseException as error:
            raw.abort()
            self.batch.commit_failed = True
            self._ended(BatchState.ABORTED, translate(error))
            if not isinstance(error, Exception):
                raise
            return
        try:
            failpoint("slab_after_commit")
        finally:
            self._ended(BatchState.COMMITTED, None)

    def _finish(self) -> None:
        """Let sessions that keep the transaction together write what is still missing of their part."""
        if not self.finishers or self._is_finishing:
            return
        self._is_finishing = True
        try:
            for finish in reversed(list(self.finishers)):
                # Still in the list while it works, so that its own ops end nothing.
                finish()
        finally:
            self._is_finishing = False
            self.finishers.clear()

    def is_own_thread(self) -> bool:
        """Whether the holder's thread asks."""
        return self._thread is threading.current_thread()

    def open_to_all(self, token: object) -> None:
        """Let the ops of others in again, after a session has taken the turn for itself alone."""
        if self.holder is token:
            self._is_exclusive = False

    def forget(self, token: object) -> None:
        """Commit for a session that is gone, unless it goes on another thread, which LMDB doesn't allow."""
        if self.holder is token and self._thread is threading.current_thread() and not self._op_running:
            self.commit()

    def _abort(self, cause: BaseException) -> None:
        self.holder = None
        self.finishers.clear()
        self.txn.raw.abort()
        self._ended(BatchState.ABORTED, cause)

    def _ended(self, state: BatchState, cause: BaseException | None) -> None:
        batch = self.batch
        try:
            if state is BatchState.COMMITTED:
                self.commit_count += 1
                self.durable_txn_id = self._environment.after_commit()
                if batch.then is not None:
                    batch.then()
            else:
                assert cause is not None
                self.abort_count += 1
                self._environment.after_abort(cause)
        finally:
            with self._mutex:
                batch.cause = cause
                batch.state = state
                waiters, batch.waiters = batch.waiters + self._watchers, []
                self._watchers = []
            self._pass_on()
            for wake in waiters:
                wake.release()

    def _pass_on(self) -> None:
        """Hand the turn to the first who waits, or leave it free."""
        with self._mutex:
            self._thread = None
            request = self._queue.popleft() if self._queue else None
            self._turn_taken = request is not None
            self.attention = bool(self._queue)
            if request is not None:
                self._thread = request.thread
                request.outcome = _Outcome.TURN
        if request is not None:
            request.wake.release()

    # Waiting.

    def wait_for(self, batch: Batch) -> None:
        """Return when the batch has ended, one way or the other."""
        if self._thread is threading.current_thread() and self.holder is not None and self.batch is batch:
            self.commit()
            return
        wake = threading.Lock()
        wake.acquire()
        with self._mutex:
            if batch.state is not BatchState.OPEN:
                return
            batch.waiters.append(wake)
            self.attention = True
        self._wait(wake)

    def wait_for_end(self, timeout_s: float, is_done: Callable[[], bool]) -> None:
        """Return when any batch has ended, `is_done()` is true already, or the time is over."""
        wake = threading.Lock()
        wake.acquire()
        with self._mutex:
            self._watchers.append(wake)
        if is_done() or not wake.acquire(timeout=max(0.0, min(timeout_s, threading.TIMEOUT_MAX))):
            with self._mutex:
                if wake in self._watchers:
                    self._watchers.remove(wake)

    def _wait_in_queue(self, request: _Request) -> None:
        try:
            self._wait(request.wake)
        except BaseException:
            # Interrupted: a turn that nobody takes would keep all others out.
            with self._mutex:
                if request in self._queue:
                    self._queue.remove(request)
                has_turn = request.outcome is _Outcome.TURN
            if has_turn:
                self._pass_on()
            raise

    def _wait(self, wake: threading.Lock) -> None:
        while not wake.acquire(timeout=HOLDER_CHECK_S):
            thread = self._thread
            if thread is not None and not thread.is_alive() and not wake.acquire(blocking=False):
                # LMDB's lock is bound to the dead thread: only a restart lets it go.
                raise StorageAborted(
                    "a thread ended inside a write transaction; the storage takes no more writes",
                    hint="restart the cell: nothing acknowledged is lost",
                )

    def close(self) -> None:
        """Take no more ops. Whoever holds the transaction has let go of it before."""
        with self._mutex:
            assert not self._turn_taken, "the storage is closed while a session still writes"
            self._closed = True
            watchers, self._watchers = self._watchers, []
        for wake in watchers:
            wake.release()
