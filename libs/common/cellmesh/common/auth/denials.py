"""Denials on their way to the audit log: those alike are summed up, and a flood cannot fill the disk.

Noting one costs a look into a dictionary. About once a second what has come is written, within a budget; what is over
the budget is counted and told in one record. The part also has the log cut to what its rules keep.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cellmesh.api.common.v1 import auth_pb2
from cellmesh.common.auth import audit
from cellmesh.common.auth.retention import AuditRetention
from cellmesh.common.errors import CellError
from cellmesh.common.telemetry.logs import get_logger

if TYPE_CHECKING:
    from cellmesh.common.auth.store import AuthStore
    from cellmesh.common.cell.part import PartHealth
    from cellmesh.common.rpc.workers import Workers

FLUSH_S: Final = 1.0
PENDING_COUNT_MAX: Final = 1000
BURST_COUNT: Final = 1000.0
"""Records that may be written at once after a quiet time."""
RATE_S: Final = 1.0
"""Records a second in the long run: some 20 MB a day at the very worst."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Key:
    actor: str
    method: str
    reason: str
    peer: str


class Denials:
    """Collects denials and writes them to the audit log, which it keeps to its rules. A Part; used in the event loop."""

    name: Final = "audit"

    def __init__(self, store: AuthStore, workers: Workers) -> None:
        self._store = store
        self._workers = workers
        self._pending: dict[_Key, audit.AuditEntry] = {}
        self._overflow = 0
        self._budget = BURST_COUNT
        self._filled_s = store.clock.monotonic()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._retention = AuditRetention(store, workers)

    def note(self, *, actor: str, method: str, reason: str, peer: str, request_id: str) -> None:
        """Note that a call was refused."""
        # The port of a caller is another for each connection.
        host = peer.rpartition(":")[0] if peer.startswith("ipv") else peer
        key = _Key(actor, method, reason, host)
        found = self._pending.get(key)
        if found is not None:
            self._pending[key] = replace(found, count=found.count + 1)
        elif len(self._pending) >= PENDING_COUNT_MAX:
            self._overflow += 1
        else:
            self._pending[key] = audit.AuditEntry(
                auth_pb2.AUDIT_KIND_DENIAL, actor, method, "", reason, host, request_id
            )
        self._woken.set()

    async def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="audit-denials")
        await self._retention.start()

    async def stop(self) -> None:
        """Write what is left."""
        await self._retention.stop()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.flush()

    def health(self) -> PartHealth:
        """Well: where nothing can be written, the disk says so itself."""
        from cellmesh.common.cell.part import WELL

        return WELL

    async def flush(self) -> None:
        """Write what has come, within the budget."""
        pending, self._pending = self._pending, {}
        now_s = self._store.clock.monotonic()
        self._budget = min(self._budget + (now_s - self._filled_s) * RATE_S, BURST_COUNT)
        self._filled_s = now_s
        entries: list[audit.AuditEntry] = []
        for entry in pending.values():
            if self._budget - len(entries) >= 1:
                entries.append(entry)
            else:
                self._overflow += entry.count
        overflow = self._overflow
        if overflow and self._budget - len(entries) >= 1:
            entries.append(
                audit.AuditEntry(
                    auth_pb2.AUDIT_KIND_DENIAL_OVERFLOW,
                    "",
                    "",
                    "",
                    "more than is recorded one by one",
                    count=overflow,
                )
            )
        if not entries:
            return
        try:
            await self._workers.run(audit.append_all, self._store.slab, entries, self._store.now_us)
        except CellError as error:
            self._overflow += sum(e.count for e in entries if e.kind == auth_pb2.AUDIT_KIND_DENIAL)
            _log.error("denials_not_stored", count=len(entries), error=str(error))
            return
        self._budget -= len(entries)
        if entries[-1].kind == auth_pb2.AUDIT_KIND_DENIAL_OVERFLOW:
            # More may have come while this was written.
            self._overflow -= overflow

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            await asyncio.sleep(FLUSH_S)
            self._woken.clear()
            await self.flush()
