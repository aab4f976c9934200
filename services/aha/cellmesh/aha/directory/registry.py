"""The registry: the directory in memory, its durable names, and the end of leases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Final

from cellmesh.aha.directory.instances import Instance, Wanted, parse_wanted
from cellmesh.aha.directory.leases import Directory
from cellmesh.aha.directory.names import Names
from cellmesh.aha.directory.pools import Pools, require_no_pool
from cellmesh.aha.directory.watch import Change, Scope, Watch
from cellmesh.aha.provisioning.subjects import REGISTRY_SERVICE
from cellmesh.api.aha.v1 import pool_pb2
from cellmesh.common.errors import BadName, CellError, DupName, NoSuchCell, NoSuchName
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.time.clock import Clock

_log = get_logger(__name__)

LEASE_S_DEFAULT: Final = 15.0
LEASE_S_MAX: Final = 300.0
DEAF_S: Final = LEASE_S_DEFAULT / 2
DEAF_PART: Final = 2 / 3
"""An AHA that has heard of nobody for so long, in seconds or as a part of a lease that runs out, has been cut off. Each who
is registered renews at a third of its lease."""

EXPIRY_STEP_S: Final = 0.25
"""How often leases are looked at: one that ran out is noticed this much later at most."""


class Registry:
    """Who is in the mesh and where. Its methods run in the event loop.

    Args:
        network: The network it is for.
        names: What is durable.
        workers: Threads for blocking work.
        clock: Where the time comes from.
        restart_grace_s: The lease of those who registered before a restart.
        peers_silence_s: For how long none of the other instances of AHA has been heard, in seconds; infinity for a
            leader that has lost its lease, None where there are no others: then nobody tells whether those who are
            registered have gone, or this instance is cut off from them.

    Attributes:
        pools: The pools, as they are stored.
    """

    def __init__(
        self,
        network: str,
        names: Names,
        workers: Workers,
        clock: Clock,
        *,
        restart_grace_s: float,
        peers_silence_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.network = network
        self._names = names
        self._workers = workers
        self._clock = clock
        self._directory = Directory(clock)
        self._peers_silence_s = peers_silence_s
        # When a cell was heard last, on the monotonic clock.
        self._heard_s = clock.monotonic()
        self._was_deaf = False
        self._restart_grace_s = restart_grace_s
        self._leads = True
        self.pools = Pools()
        self._pool_followers: list[Callable[[Collection[str]], object]] = []
        self._own_names: set[str] = set()
        # The order of changes on disk is that in memory.
        self._lock = asyncio.Lock()

    async def recover(self) -> int:
        """Begin with everyone who was registered before the restart; how many that are."""
        return await self.role_changed(self._leads)

    async def role_changed(self, leads: bool) -> int:
        """Begin with what is on disk, as the AHA that leads or one that follows; how many are registered.

        Leases are the leader's alone: who follows holds everyone until it hears that they have gone. Who leads anew
        waits for all to renew, as after a restart.
        """
        async with self._lock:
            self._leads, self._was_deaf = leads, False
            found = await self._workers.run(self._names.load)
            lease_s = self._restart_grace_s if leads else None
            for instance in found:
                self._directory.put(instance, lease_s, renewal_s=LEASE_S_DEFAULT)
            self._directory.keep({instance.name for instance in found} | self._own_names)
            return len(found)

    def registered(self, instance: Instance) -> None:
        """The leader has stored an instance, and this follower too."""
        self._directory.put(instance, None)

    def unregistered(self, name: str) -> None:
        """The leader has forgotten an instance, and this follower too."""
        if name not in self._own_names:
            self._directory.remove(name)

    async def register(self, instance: Instance, lease_s: float) -> Instance:
        """Add an instance under a lease, replacing what was registered under its name.

        Args:
            instance: The instance.
            lease_s: 0 means LEASE_S_DEFAULT, more than LEASE_S_MAX counts as that.

        Raises:
            BadName: it is of another network, or its service has the name of a pool.
            DupName: another cell has this name and lives.
        """
        self._note_heard(instance.service)
        require_no_pool(self.pools, instance.service)
        if instance.network != self.network:
            raise BadName(
                f"{instance.name} is not of the network {self.network}",
                name=instance.name,
                network=self.network,
            )
        async with self._lock:
            if self._directory.holds(instance.name, instance.cell_id):
                raise DupName(
                    f"another cell is registered as {instance.name}",
                    name=instance.name,
                    hint="two cells run with one name: stop one; the name is free when its lease has run out",
                )
            instance = self._directory.marked(instance)
            before = self._directory.get(instance.name)
            # Whoever marked it down puts it back.
            down = before is not None and before.down
            instance = replace(instance, down=down, ready=instance.ready and not down)
            if before is None or not before.is_same_but_for_times(instance):
                await self._workers.run(self._names.put, instance)
                _log.info("instance_registered", name=instance.name, address=instance.address)
            return self._directory.put(instance, min(lease_s or LEASE_S_DEFAULT, LEASE_S_MAX))

    def register_self(self, instance: Instance) -> Instance:
        """Add AHA itself, which needs no lease: who can ask sees that it lives."""
        self._own_names.add(instance.name)
        return self._directory.put(instance, None)

    async def renew(self, name: str, *, ready: bool) -> Instance:
        """Begin a lease anew. Readiness that has changed is stored, so that followers tell it too.

        Raises:
            NoSuchCell: there is no lease of this name.
        """
        found = self._directory.get(name)
        if found is not None:
            self._note_heard(found.service)
        if found is None or found.ready == (ready and not found.down) or name in self._own_names:
            return self._directory.renew(name, ready=ready)
        async with self._lock:
            found = self._directory.get(name)
            if found is not None and found.ready != ready:
                changed = replace(found, ready=ready and not found.down, register_ms=0, expire_ms=0)
                await self._workers.run(self._names.put, changed)
            return self._directory.renew(name, ready=ready)

    async def set_down(self, name: str, *, down: bool) -> Instance:
        """Take an instance out of use, or put it back; stored, so that followers and a restarted AHA know.

        Raises:
            NoSuchCell: it is not registered.
        """
        async with self._lock:
            found = self._directory.get(name)
            if found is not None and found.down != down:
                ready = found.ready and not down
                changed = replace(found, down=down, ready=ready, register_ms=0, expire_ms=0)
                await self._workers.run(self._names.put, changed)
                _log.info("instance_marked", name=name, down=down)
            marked = self._directory.set_down(name, down=down)
        if marked is None:
            raise NoSuchCell(f"{name} is not registered", name=name)
        return marked

    async def unregister(self, name: str) -> None:
        """End a registration at once. Unknown names change nothing."""
        async with self._lock:
            await self._workers.run(self._names.remove, name, expired=False)
            if self._directory.remove(name):
                _log.info("instance_unregistered", name=name)

    async def expire(self) -> None:
        """Remove those whose leases have run out. Only who leads does, and nobody while it is cut off from all."""
        if not self._leads:
            return
        expired = self._directory.expired()
        if self._is_deaf(expired):
            if not self._was_deaf:
                self._was_deaf = True
                _log.warning("cut_off", reason="nobody is heard of: no lease runs out meanwhile")
            return
        if self._was_deaf:
            # They renewed meanwhile, or tried to.
            self._was_deaf = False
            _log.warning("heard_again", leases=self._directory.renew_all())
            return
        if not expired:
            return
        async with self._lock:
            for name in self._directory.expired():
                self._directory.remove(name)
                _log.warning("lease_expired", name=name)
                await self._workers.run(self._names.remove, name, expired=True)

    def _note_heard(self, service: str) -> None:
        # Instances of AHA are registered as well, this one by itself.
        if service != REGISTRY_SERVICE:
            self._heard_s = self._clock.monotonic()

    def _is_deaf(self, expired: Collection[str]) -> bool:
        """Whether it is cut off from all, so that those whose leases run out may well live."""
        silence_s = self._peers_silence_s()
        if silence_s is None:
            return False
        if silence_s == float("inf"):
            # It cannot store anything now; for a moment that is so, too, when its first follower comes.
            return bool(expired) or self._was_deaf
        silence_s = min(silence_s, self._clock.monotonic() - self._heard_s)
        shortest_s = min((self._directory.length_s(name) for name in expired), default=float("inf"))
        return silence_s > min(DEAF_S, shortest_s * DEAF_PART)

    async def expire_forever(self) -> None:
        """Look at the leases until cancelled."""
        while True:
            await asyncio.sleep(EXPIRY_STEP_S)
            try:
                await self.expire()
            except CellError as error:
                # What is left on disk is recovered and runs out again after the next start.
                _log.warning("expiry_not_stored", error=str(error))

    def set_leader(self, service: str, name: str) -> None:
        """Note who leads a service; instances are told as leaders by this alone."""
        self._directory.set_leader(service, name)

    def find(self, name: str) -> list[Instance]:
        """The live instances of a service or pool, or one instance: the leader first, then by name.

        Raises:
            BadName: the name can be neither.
            NoSuchCell: nothing live has this name.
        """
        wanted: Wanted = parse_wanted(name, self.network)
        if self.pools.get(wanted.service) is not None and not wanted.number:
            found = self.pool_instances(wanted.service)
        else:
            found = self._directory.find(wanted)
        if not found:
            raise NoSuchCell(
                f"no cell called {name} is registered with AHA now",
                name=name,
                network=self.network,
                hint="start it, or wait until it has registered",
            )
        return found

    def all(self, service: str = "") -> list[Instance]:
        """The live instances of a service, or of all, by name."""
        return self._directory.all(service)

    def after(self, name: str, service: str = "") -> Iterator[Instance]:
        """The live instances whose names come after a name, by name. Read it before anything changes."""
        return self._directory.after(name, service)

    def services(self) -> Collection[str]:
        """The services that have live instances."""
        return self._directory.services()

    def pool_instances(self, pool: str) -> list[Instance]:
        """The live instances of a pool's members, by name."""
        found: dict[str, Instance] = {}
        for member in self.pools.members(pool):
            number, _, service = member.rpartition(".")
            for instance in self._directory.find(Wanted(service, self.network, number)):
                found[instance.name] = instance
        return [found[name] for name in sorted(found)]

    def watch(self, service: str = "") -> tuple[list[Instance], Watch]:
        """What there is, and what changes from here on. End it with `unwatch`."""
        return self._directory.watch(service)

    def follow(self, scope: Scope) -> Watch:
        """Begin to watch what is in a scope; `present` and `changed_since` tell where it begins.

        Raises:
            NoSuchName: there is no pool of this name.
        """
        if not scope.pool:
            return self._directory.add_watch(Watch(scope))
        if self.pools.get(scope.pool) is None:
            raise NoSuchName(f"there is no pool called {scope.pool[:128]}", name=scope.pool[:128])
        is_wanted = lambda instance: (  # noqa: E731
            self.pools.has(scope.pool, instance) and (not scope.kind or instance.kind == scope.kind)
        )
        return self._directory.add_watch(Watch(scope, is_wanted=is_wanted))

    def present(self, watch: Watch) -> list[Instance]:
        """What there is now of what a watch wants, by name."""
        if watch.scope.pool:
            return [item for item in self.pool_instances(watch.scope.pool) if watch.wants(item)]
        return self._directory.wanted(watch)

    def changed_since(self, revision: int, watch: Watch) -> list[Change] | None:
        """What changed of what a watch wants since a revision; None when that is not remembered."""
        if not revision or watch.scope.pool:
            # What was in the pool at that time is not remembered.
            return None
        found = self._directory.since(revision)
        return None if found is None else [change for change in found if watch.wants(change.instance)]

    def is_live(self, name: str) -> bool:
        """Whether a cell of this name is registered now."""
        return self._directory.get(name) is not None

    @property
    def revision(self) -> int:
        """Where the registry stands; grows with each change."""
        return self._directory.revision

    def set_pools(self, pools: list[pool_pb2.Pool]) -> None:
        """Take in the pools as they are stored, and tell those who watch one that has changed."""
        changed = self.pools.fill(pools)
        self._directory.renew_watches(changed)
        for told in self._pool_followers:
            told(changed)

    def follow_pools(self, told: Callable[[Collection[str]], object]) -> None:
        """Have somebody told of the names of the pools that have come, gone or changed, from here on."""
        self._pool_followers.append(told)

    def unwatch(self, watch: Watch) -> None:
        """Drop a watch."""
        self._directory.unwatch(watch)

    def close_watches(self) -> None:
        """End all watches, and those that come later at once, as the cell stops."""
        self._directory.close_watches()
