"""What a leader or a follower does all the time: it renews its lease, or follows; and what it does when that ends."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Final

from cellmesh.common.errors import CellError, LogTrimmed, MirrorDiverged, NotLeader
from cellmesh.common.mirror import promotion
from cellmesh.common.mirror.instance import Place
from cellmesh.common.telemetry.logs import get_logger

if TYPE_CHECKING:
    from cellmesh.common.mirror.arbiter import Leadership
    from cellmesh.common.mirror.role import Mirror

ANNOUNCE_CHECK_S: Final = 0.02
RENEWALS_PER_LEASE: Final = 5
BACK_OFF_MIN_S: Final = 0.1
BACK_OFF_MAX_S: Final = 0.5
QUIET_CHECK_S: Final = 30.0
"""How often a leader that needs no lease asks AHA whether it still leads."""

_log = get_logger(__name__)


class Duties:
    """The task of one instance, for as long as it has its role.

    Args:
        mirror: The instance.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._task: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._away = False
        self._reopen = False

    def start(self) -> None:
        """Begin to do what the role asks for."""
        # In a context of its own: it outlives the call that may have brought about the change.
        self._task = asyncio.create_task(
            self._keep_role(), name=f"mirror-{self._mirror.role.value}", context=contextvars.Context()
        )

    async def stop(self) -> None:
        """End it; not the one that calls."""
        announcing, self._announcing = self._announcing, None
        if announcing is not None:
            announcing.cancel()
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait((task,))

    async def _keep_role(self) -> None:
        """Lead or follow, whatever happens: an instance that does neither would never come back by itself."""
        work = self._keep_leading if self._mirror.is_leader else self._keep_following
        while True:
            try:
                await work()
                return
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # A call that was ended on our side, not this task.
                _log.warning("mirror_call_ended", role=self._mirror.role.value)
            except Exception as error:  # noqa: BLE001  see above
                _log.error("mirror_failed", exc_info=error, role=self._mirror.role.value)
            await asyncio.sleep(BACK_OFF_MAX_S)

    async def _keep_leading(self) -> None:
        lease_s = self._mirror.settings.lease_s
        self._announcing = asyncio.create_task(self._announce(), name="mirror-announce")
        while self._mirror.is_leader:
            needed = bool(self._mirror.facts.followers or self._mirror.facts.removed)
            self._wake.clear()
            try:
                if self._mirror.confirmed:
                    leadership = await self._mirror.mesh.renew(self._mirror.term, lease_s=lease_s)
                else:
                    leadership = await self._mirror.mesh.claim(self._mirror.term, lease_s=lease_s)
                    await self._confirm(leadership)
                self._note_back()
                if needed:
                    self._mirror.gate.lease_of_arbiter(leadership.valid_until_s)
                if self._reopen:
                    self._reopen = False
                    self._mirror.gate.open()
                    await self._mirror.tell_role(True)
            except NotLeader:
                await self._deposed()
                return
            except CellError as error:
                self._note_away(error)
            pause_s = lease_s / RENEWALS_PER_LEASE if needed or not self._mirror.confirmed else QUIET_CHECK_S
            try:
                await asyncio.wait_for(self._wake.wait(), pause_s)
            except TimeoutError:
                continue

    async def _confirm(self, leadership: Leadership) -> None:
        if leadership.term != self._mirror.term:
            async with self._mirror.lock:
                await self._mirror.lead(leadership.term, leadership)
        self._mirror.confirmed = True

    async def _deposed(self) -> None:
        """AHA says that another one leads."""
        self._mirror.gate.close(self._mirror.not_leader)
        try:
            leadership = await self._mirror.mesh.get(self._mirror.instance.service)
            leader, term = leadership.leader, leadership.term
        except CellError:
            leader, term = "", self._mirror.term
        async with self._mirror.lock:
            if self._mirror.is_leader:
                _log.error("deposed", leader=leader, term=term, own_term=self._mirror.term)
                await self._mirror.become_follower(leader, term)

    async def _keep_following(self) -> None:
        back_off_s = BACK_OFF_MIN_S
        while self._mirror.is_follower:
            started_s = time.monotonic()
            try:
                place = await self._find_leader()
                if place is None:
                    return
                await self._mirror.follow(place)
            except (LogTrimmed, MirrorDiverged) as error:
                self._mirror.trouble = str(error)
                _log.warning("seed_needed", reason=str(error))
                self._mirror.events.on_reseed(str(error))
                return
            except CellError as error:
                self._note_trouble(error)
            if time.monotonic() - started_s > BACK_OFF_MAX_S:
                back_off_s = BACK_OFF_MIN_S
            await asyncio.sleep(back_off_s)
            back_off_s = min(back_off_s * 2, BACK_OFF_MAX_S)

    async def _find_leader(self) -> Place | None:
        """Who leads and where, of AHA; as it was known last when AHA does not answer. None: it leads itself."""
        try:
            leadership = await self._mirror.mesh.get(self._mirror.instance.service)
            if leadership.leader == self._mirror.instance.name:
                return await self._lead_as_told(leadership)
            self._mirror.term = max(self._mirror.term, leadership.term)
            addresses = await self._mirror.addresses()
            address = addresses.get(leadership.leader, "")
            if leadership.leader != self._mirror.leader.name or address:
                self._mirror.leader = Place(leadership.leader, address)
            self._note_back()
        except CellError as error:
            self._note_away(error)
        if not self._mirror.leader.address:
            raise NotLeader(
                f"the leader {self._mirror.leader.name or 'of the service'} is not registered now",
                name=self._mirror.instance.name,
            )
        return self._mirror.leader

    async def _lead_as_told(self, leadership: Leadership) -> Place | None:
        """AHA has it as leader: the leadership was passed on to it, and the end of that was not heard."""
        async with self._mirror.lock:
            if not self._mirror.is_follower:
                return None
            given = await self._mirror.mesh.claim(leadership.term, lease_s=self._mirror.settings.lease_s)
            if self._mirror.facts.promoting:
                await promotion.catch_up(self._mirror, accept_loss=False)
                given = await self._mirror.mesh.claim(leadership.term, lease_s=self._mirror.settings.lease_s)
            await self._mirror.become_leader(given)
        return None

    async def _announce(self) -> None:
        """Tell the parts that it leads, once what they write then can be acknowledged. Without the lock: a follower
        that they wait for is counted under it."""
        while not self._mirror.gate.has_lease:
            await asyncio.sleep(ANNOUNCE_CHECK_S)
        if self._mirror.is_leader:
            await self._mirror.tell_role(True)

    def reopen_when_renewed(self) -> None:
        """Take writes again once AHA has said that it still leads."""
        self._reopen = True
        self._wake.set()

    def look_at_once(self) -> None:
        """Ask AHA now, not only when it is time."""
        self._wake.set()

    def _note_trouble(self, error: CellError) -> None:
        if self._mirror.trouble != str(error):
            self._mirror.trouble = str(error)
            _log.warning("not_following", leader=self._mirror.leader.name, error=str(error))

    def _note_away(self, error: CellError) -> None:
        if not self._away:
            self._away = True
            _log.warning("arbiter_away", error=str(error))

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            _log.info("arbiter_back")


__all__ = ["Duties"]
