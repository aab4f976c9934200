"""Live instances in memory, under leases. Used in the event loop only; nothing here waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
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
        self._leaders: dict[str, str] = {}
        self._watches: set[Watch] = set()
        self._closed = False

    def get(self, name: str) -> Instance | None:
        """A live instance by name."""
        lease = self._leases.get(name)
        return lease.instance if lease else None

    def find(self, wanted: Wanted) -> list[Instance]:
        """The live instances that a look-up asks for: the leader first, then by name."""
        found = [lease.instance for lease in self._leases.values() if wanted.matches(lease.instance)]
        return sorted(found, key=lambda instance: (not instance.leader, instance.name))

    def all(self, service: str = "") -> list[Instance]:
        """The live instances of a service, or of all, by name."""
        found = (lease.instance for lease in self._leases.values())
        return sorted((item for item in found if not service or item.service == service), key=_name)

    def set_leader(self, service: str, name: str) -> None:
        """From now on an instance of this service is its leader if it has this name, whatever it registers."""
        self._leaders[service] = name
        for lease in self._leases.values():
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
        self._leases[instance.name] = _Lease(stored, renewal_s or lease_s or 0.0, self._end_s(lease_s))
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
        lease.ends_s = self._end_s(length_s)
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
        self._tell(ChangeKind.REMOVED, lease.instance)
        return lease.instance

    def keep(self, names: set[str]) -> None:
        """End the leases of all others."""
        for name in self._leases.keys() - names:
            self.remove(name)

    def expired(self) -> list[str]:
        """The names whose leases have run out by now. They stay until they are removed."""
        now_s = self._clock.monotonic()
        return [
            name for name, lease in self._leases.items() if lease.ends_s is not None and lease.ends_s <= now_s
        ]

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
        return [instance for instance in self.all() if watch.wants(instance)]

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


def _name(instance: Instance) -> str:
    return instance.name
