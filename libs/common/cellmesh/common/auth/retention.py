"""What the audit log of a cell keeps. The rest is cut, the oldest first, which the chain itself tells."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cellmesh.common.auth import audit
from cellmesh.common.errors import CellError
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.telemetry.logs import get_logger

if TYPE_CHECKING:
    from cellmesh.common.auth.store import AuthStore
    from cellmesh.common.rpc.workers import Workers

PERIOD_S: Final = 3600.0
STEP_COUNT: Final = 1000
"""Records that one transaction cuts, so that no write waits long."""

DAY_US: Final = 86_400_000_000

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AuditRules:
    """What is kept.

    Attributes:
        count_max: At most so many of the newest records; 0 for no bound.
        keep_days: None that is older than so many days; 0 for no bound.
    """

    count_max: int = 0
    keep_days: float = 0.0

    @property
    def cuts(self) -> bool:
        """Whether anything is ever cut."""
        return bool(self.count_max or self.keep_days)


def cut_by_rules(slab: Slab, rules: AuditRules, now_us: int) -> int:
    """Cut what the rules let go; returns how many records. Blocks for some commits."""
    if not rules.cuts:
        return 0
    with slab.view() as txn:
        # Seen once, as each cut adds a record.
        end = audit.head(txn)[0] - rules.count_max if rules.count_max else 0
    before_us = now_us - int(rules.keep_days * DAY_US) if rules.keep_days else 0

    def op(txn: WriteTxn) -> int:
        return audit.cut(txn, end=end, before_us=before_us, count_max=STEP_COUNT, time_us=now_us)

    count = 0
    while True:
        removed = slab.write(op, privileged=True)
        count += removed
        if removed < STEP_COUNT:
            return count


class AuditRetention:
    """Cuts now and then. Used in the event loop, by the part that writes the log.

    Args:
        store: Whose log, by whose rules.
        workers: Threads for what blocks.
    """

    def __init__(self, store: AuthStore, workers: Workers) -> None:
        self._store = store
        self._workers = workers
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, with a cut at once."""
        if self._store.audit_rules.cuts:
            self._task = asyncio.create_task(self._run(), name="audit-retention")

    async def stop(self) -> None:
        """End."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        store = self._store
        while True:
            try:
                count = await self._workers.run(cut_by_rules, store.slab, store.audit_rules, store.now_us)
                if count:
                    _log.info("audit_log_cut", count=count)
            except CellError as error:
                _log.warning("audit_log_not_cut", error=str(error))
            await asyncio.sleep(PERIOD_S)


__all__ = ["AuditRetention", "AuditRules", "cut_by_rules"]
