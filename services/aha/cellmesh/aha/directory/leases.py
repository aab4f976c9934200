"""Live instances in memory, under leases. Used in the event loop only; nothing here waits.

What a look-up costs does not grow with the mesh: instances are kept by name and by service, and in the order in which
their leases end.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final

from cellmesh.aha.directory.instances import Instance, Wanted
from cellmesh.aha.directory.watch import Change, ChangeKind, Watch
from cellmesh.common.errors import NoSuchCell
from cellmesh.common.time.clock import Clock

RECENT_COUNT: Final = 4096
"""Changes that are remembered for those who go on with a watch."""


@dataclass(slots=True)
class _Lease:
    instance: Instance
    length_s: float
    ends_s: float | None  # on the monotonic clock; None never ends


class Directory:
    """The live instances, and who watches them.

    Args:
        clock: Where the time comes from.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Revisions begin with the time, so that one of another AHA, or of before a restart, is none of this one.
        self.revision = clock.now() * 1000
        self._first_revision = self.revision
        self._recent: deque[tuple[int, Change]] = deque(maxlen=RECENT_COUNT)
        self._leases: dict[str, _Lease] = {}
        self._names: list[str] = []
        self._services: dict[str, dict[str, _Lease]] = {}
        # When each lease ends, or ended before it was renewed. The number tells leases apart that end at once.
        self._ends: list[tuple[float, int, str, _Lease]] = []
        self._end_count = 0
        self._leaders: dict[str, str] = {}
        self._watches: set[Watch] = set()
        self._closed = False

    def get(self, name: str) -> Instance | None:
        """A live instance by name."""
        lease = self._leases.get(name)
        return lease.instance if lease else None

    def find(self, wanted: Wanted) -> list[Instance]:
        """The live instances that a look-up asks for: the leader first, then by name."""
        leases = self._services.get(wanted.service, {})
        if wanted.number:
            one = leases.get(f"{wanted.number}.{wanted.service}.{wanted.network}")
            return [one.instance] if one else []
        found = [lease.instance for lease in leases.values() if lease.instance.network == wanted.network]
        return sorted(found, key=lambda instance: (not instance.leader, instance.name))

    def all(self, service: str = "") -> list[Instance]:
        """The live instances of a service, or of all, by name."""
        return list(self.after("", service))

    def after(self, name: str, service: str = "") -> Iterator[Instance]:
        """The live instances whose names come after a name, by name. Nothing may change while it is read."""
        names = sorted(self._services.get(service, ())) if service else self._names
        for position in range(bisect_right(names, name), len(names)):
            yield self._leases[names[position]].instance

    def services(self) -> Collection[str]:
        """The services that have live instances."""
        return self._services.keys()

    def set_leader(self, service: str, name: str) -> None:
        """From now on an instance of this service is its leader if it has this name, whatever it registers."""
        self._leaders[service] = name
        for _, lease in sorted(self._services.get(service, {}).items()):
            marked = self.marked(lease.instance)
            if marked != lease.instance:
                lease.instance = marked
                self._tell(ChangeKind.UPDATED, marked)

    def marked(self, instance: Instance) -> Instance:
        """The instance as leader or not; as it says itself while nobody has claimed to lead its service."""
        leader = self._leaders.get(instance.service)
        return instance if leader is None else replace(instance, leader=instance.name == leader)

    def holds(self, name: str, cell_id: str) -> bool:
        """Whether another cell than this one holds a name now."""
        lease = self._leases.get(name)
        if lease is None or (lease.ends_s is not None and lease.ends_s <= self._clock.monotonic()):
            return False
        other = lease.instance.cell_id
        return bool(other and cell_id) and other != cell_id

    def put(self, instance: Instance, lease_s: float | None, *, renewal_s: float | None = None) -> Instance:
        """Add an instance or replace the one of its name, and tell those who watch.

        Args:
            instance: The instance; its times are set here.
            lease_s: For how long, in seconds; None for ever.
            renewal_s: For how long once it renews, if that differs.
        """
        now_ms = self._clock.now()
        stored = replace(
            self.marked(instance), register_ms=now_ms, expire_ms=self._expiry_ms(now_ms, lease_s)
        )
        before = self._leases.get(instance.name)
        self._add(_Lease(stored, renewal_s or lease_s or 0.0, self._end_s(lease_s)))
        if before is None:
            self._tell(ChangeKind.ADDED, stored)
        elif not before.instance.is_same_but_for_times(stored):
            self._tell(ChangeKind.UPDATED, stored)
        return stored

    def renew(self, name: str, *, ready: bool) -> Instance:
        """Begin the lease of an instance anew.

        Raises:
            NoSuchCell: there is no lease of this name.
        """
        lease = self._leases.get(name)
        if lease is None:
            raise NoSuchCell(
                f"{name} is not registered, or its lease ran out", name=name, hint="register again"
            )
        length_s = lease.length_s if lease.ends_s is not None else None
        was_ready = lease.instance.ready
        expire_ms = self._expiry_ms(self._clock.now(), length_s)
        ready = ready and not lease.instance.down
        lease.instance = replace(lease.instance, ready=ready, expire_ms=expire_ms)
        before_s, lease.ends_s = lease.ends_s, self._end_s(length_s)
        if before_s is not None and lease.ends_s is not None and lease.ends_s < before_s:
            # The first lease after a restart is longer than the usual ones.
            self._note_end(lease)
        if ready != was_ready:
            self._tell(ChangeKind.UPDATED, lease.instance)
        return lease.instance

    def set_down(self, name: str, *, down: bool) -> Instance | None:
        """Mark an instance down, or up again, and tell those who watch; it as it is then."""
        lease = self._leases.get(name)
        if lease is None:
            return None
        before = lease.instance
        lease.instance = replace(before, down=down, ready=before.ready and not down)
        if lease.instance != before:
            self._tell(ChangeKind.UPDATED, lease.instance)
        return lease.instance

    def remove(self, name: str) -> Instance | None:
        """End a lease at once; the instance that had it."""
        lease = self._leases.pop(name, None)
        if lease is None:
            return None
        del self._names[bisect_left(self._names, name)]
        others = self._services[lease.instance.service]
        del others[name]
        if not others:
            del self._services[lease.instance.service]
        self._tell(ChangeKind.REMOVED, lease.instance)
        return lease.instance

    def keep(self, names: set[str]) -> None:
        """End the leases of all others."""
        for name in self._leases.keys() - names:
            self.remove(name)

    def expired(self) -> list[str]:
        """The names whose leases have run out by now. They stay until they are removed."""
        now_s = self._clock.monotonic()
        found: dict[str, _Lease] = {}
        while self._ends and self._ends[0][0] <= now_s:
            _, _, name, lease = heapq.heappop(self._ends)
            if self._leases.get(name) is not lease or lease.ends_s is None:
                continue
            if lease.ends_s <= now_s:
                found[name] = lease
            else:
                # It was renewed since this end was noted.
                self._note_end(lease)
        for lease in found.values():
            self._note_end(lease)
        return list(found)

    def length_s(self, name: str) -> float:
        """How long the lease of an instance is from one renewal on, in seconds; 0 for none."""
        lease = self._leases.get(name)
        return lease.length_s if lease is not None else 0.0

    def renew_all(self) -> int:
        """Begin all leases anew, those too that have run out; how many that are."""
        now_ms, count = self._clock.now(), 0
        for lease in self._leases.values():
            if lease.ends_s is not None:
                lease.ends_s = max(lease.ends_s, self._clock.monotonic() + lease.length_s)
                lease.instance = replace(lease.instance, expire_ms=self._expiry_ms(now_ms, lease.length_s))
                count += 1
        return count

    def watch(self, service: str) -> tuple[list[Instance], Watch]:
        """What there is, and everything that changes from here on. End it with `unwatch`."""
        watch = self.add_watch(Watch(service))
        return self.wanted(watch), watch

    def add_watch(self, watch: Watch) -> Watch:
        """Have a watch told of everything that changes from here on. End it with `unwatch`."""
        watch.revision = self.revision
        if self._closed:
            watch.close()
        self._watches.add(watch)
        return watch

    def wanted(self, watch: Watch) -> list[Instance]:
        """What there is of what a watch wants, by name."""
        return [instance for instance in self.all(watch.scope.service) if watch.wants(instance)]

    def since(self, revision: int) -> list[Change] | None:
        """What changed after a revision; None when that is not remembered, or of another AHA."""
        oldest = self._recent[0][0] - 1 if len(self._recent) == RECENT_COUNT else self._first_revision
        if not oldest <= revision <= self.revision:
            return None
        return [change for at, change in self._recent if at > revision]

    def renew_watches(self, pools: Collection[str]) -> None:
        """The members of some pools have changed."""
        for watch in self._watches:
            if watch.scope.pool in pools:
                watch.renew()

    def unwatch(self, watch: Watch) -> None:
        """Drop a watch."""
        self._watches.discard(watch)

    def close_watches(self) -> None:
        """End all watches; those that come later end after their first message."""
        self._closed = True
        for watch in self._watches:
            watch.close()

    def _add(self, lease: _Lease) -> None:
        name, service = lease.instance.name, lease.instance.service
        if name not in self._leases:
            insort(self._names, name)
        self._leases[name] = lease
        self._services.setdefault(service, {})[name] = lease
        self._note_end(lease)

    def _note_end(self, lease: _Lease) -> None:
        if lease.ends_s is not None:
            self._end_count += 1
            heapq.heappush(self._ends, (lease.ends_s, self._end_count, lease.instance.name, lease))

    def _tell(self, kind: ChangeKind, instance: Instance) -> None:
        change = Change(kind, instance)
        self.revision += 1
        self._recent.append((self.revision, change))
        for watch in self._watches:
            watch.offer(change, self.revision)

    def _end_s(self, lease_s: float | None) -> float | None:
        return None if lease_s is None else self._clock.monotonic() + lease_s

    @staticmethod
    def _expiry_ms(now_ms: int, lease_s: float | None) -> int:
        return 0 if lease_s is None else now_ms + int(lease_s * 1000)
