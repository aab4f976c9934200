"""Hashes of the state at checkpoints of the log, by which replicas are compared."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from cellmesh.api.common.v1 import mirror_pb2
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.errors import BadState, CellError, NoSuchIden, Retry
from cellmesh.common.mirror.records import CHECKPOINT_TYPE
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.storage import Slab, Snapshot, StateHash, SubDb, WriteTxn, hash_state
from cellmesh.common.telemetry.logs import get_logger

KEPT_COUNT: Final = 16
"""So many of the newest hashes are remembered, until the process ends."""

PURPOSE: Final = "checkpoint"

_log = get_logger(__name__)


class Checkpoints:
    """The hashes of one replica.

    Args:
        slab: Its storage.
        databases: What is hashed; those that are local to a cell are left out.
    """

    def __init__(self, slab: Slab, databases: Sequence[SubDb]) -> None:
        self._slab = slab
        self._log = ChangeLog(slab)
        self._databases = tuple(databases)
        self._known: OrderedDict[int, StateHash | CellError | None] = OrderedDict()
        self._changed = threading.Condition()

    def create(self, actor: str) -> int:
        """Log a checkpoint, on the leader, and begin to hash the state there; returns its offset. Blocks.

        Raises:
            BadState: the hash of the checkpoint before is still being taken.
            NotLeader: it does not lead.
        """
        with self._changed:
            if None in self._known.values():
                raise BadState("the hash of another checkpoint is still being taken", name=PURPOSE)
        time_us = time.time_ns() // 1000
        payload = mirror_pb2.CheckpointMade(id=time_us).SerializeToString()

        def op(txn: WriteTxn) -> int:
            return self._log.append(
                txn, time_us=time_us, actor=actor, type_name=CHECKPOINT_TYPE, payload=payload
            )

        begun: list[Snapshot | CellError] = []

        def then() -> None:
            try:
                begun.append(self._slab.snapshot(PURPOSE))
            except CellError as error:
                begun.append(error)

        offset = self._slab.write_then(op, then)
        self._take(offset, begun[0])
        return offset

    def reached(self, offset: int) -> None:
        """A follower has applied the checkpoint at the offset, and nothing after it."""
        try:
            begun: Snapshot | CellError = self._slab.snapshot(PURPOSE)
        except CellError as error:
            begun = error
        self._take(offset, begun)

    def wait(self, offset: int, token: CancelToken) -> StateHash:
        """The hash at a checkpoint, once it has been reached and taken. Blocks.

        Raises:
            NoSuchIden: there is no checkpoint at the offset, or it is too long ago.
            Retry: the hash could not be taken; a new checkpoint can.
        """
        while not token.cancelled:
            with self._changed:
                if offset in self._known:
                    found = self._known[offset]
                    if isinstance(found, CellError):
                        raise Retry(
                            f"the hash at offset {offset} could not be taken: {found.message}"
                        ) from found
                    if found is not None:
                        return found
                elif self._is_past(offset):
                    raise NoSuchIden(
                        f"there is no checkpoint at offset {offset}, or none since this process started",
                        iden=str(offset),
                    )
                self._changed.wait(0.25)
        raise Retry("the caller does not wait any more")

    def _is_past(self, offset: int) -> bool:
        with self._slab.view() as txn:
            return self._log.next_offset(txn) > offset + 1

    def _take(self, offset: int, begun: Snapshot | CellError) -> None:
        self._settle(offset, begun if isinstance(begun, CellError) else None)
        if not isinstance(begun, CellError):
            threading.Thread(target=self._hash, args=(offset, begun), name="state-hash", daemon=True).start()

    def _hash(self, offset: int, snapshot: Snapshot) -> None:
        started_s = time.monotonic()
        try:
            with snapshot:
                found: StateHash | CellError = hash_state(snapshot, self._databases)
        except CellError as error:
            found = error
        self._settle(offset, found)
        _log.info(
            "state_hashed",
            offset=offset,
            sha256=found.sha256.hex() if isinstance(found, StateHash) else str(found),
            seconds=round(time.monotonic() - started_s, 3),
        )

    def _settle(self, offset: int, found: StateHash | CellError | None) -> None:
        with self._changed:
            self._known[offset] = found
            while len(self._known) > KEPT_COUNT:
                self._known.popitem(last=False)
            self._changed.notify_all()
