"""All resources, kept in line with the registry. Each is made once, when somebody first asks for it, and shared by all who do.

A resource is made anew when its service changes. Followers are told only when it has become another one.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from cellmesh.aha.directory import Registry
from cellmesh.aha.xds.hosts import Hosts
from cellmesh.aha.xds.names import Kind, names_of, parse
from cellmesh.aha.xds.resources import build
from cellmesh.aha.xds.security import Flavor
from cellmesh.aha.xds.services import Callee, PoolState, ServiceState
from cellmesh.common.addresses import split_host_port
from cellmesh.common.cell import PartHealth
from cellmesh.common.errors import LimitExceeded
from cellmesh.common.telemetry.logs import get_logger
from google.protobuf.any_pb2 import Any

_log = get_logger(__name__)

NO_SERVICE: Final = ""

Key = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as it is sent.

    Attributes:
        packed: The message.
        revision: Grows with each resource that is made.
    """

    packed: Any
    revision: int


class Follower(Protocol):
    """Somebody who has to know of changes."""

    def mark(self, kind: Kind) -> None:
        """Something of a type has changed that it may want."""
        ...

    def close(self) -> None:
        """There will be no more changes."""
        ...


class Catalog:
    """A Part. Used in the event loop; nothing but `start` and `stop` waits.

    Args:
        registry: What it tells about.
    """

    name = "control plane"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._services: dict[str, ServiceState] = {}
        self._pools: set[str] = set()
        self._made: defaultdict[str, dict[tuple[Kind, str, Flavor], Resource | None]] = defaultdict(dict)
        self._followers: defaultdict[Key, set[Follower]] = defaultdict(set)
        self._all: defaultdict[Kind, set[Follower]] = defaultdict(set)
        self._hosts = Hosts(self._address_found)
        self._began = f"{int(time.time()):x}"
        self._revision = 0
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def version(self) -> str:
        """Of what there is now. Other servers and other starts count anew."""
        return f"{self._began}.{self._revision}"

    async def start(self) -> None:
        """Take over what is registered, then follow."""
        present, watch = self._registry.watch()
        self._pools |= {pool.name for pool in self._registry.pools.all()}
        self._load(item.service for item in present)
        self._registry.follow_pools(self._pools_changed)

        async def follow() -> None:
            nonlocal watch
            try:
                while True:
                    try:
                        changes = await watch.take()
                    except LimitExceeded:
                        self._registry.unwatch(watch)
                        present, watch = self._registry.watch()
                        self._load((*self._services, *(item.service for item in present)))
                        continue
                    if changes is None:
                        return
                    self._load(change.instance.service for change in changes)
            finally:
                self._registry.unwatch(watch)
                self._close()

        self._task = asyncio.create_task(follow(), name="control-plane")

    async def stop(self) -> None:
        """Follow no longer; streams end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        await self._hosts.stop()

    def health(self) -> PartHealth:
        """Always well: what it does cannot fail for long."""
        return PartHealth()

    def find(self, kind: Kind, name: str, flavor: Flavor) -> Resource | None:
        """A resource, or None when there is none of this name now."""
        target = parse(kind, name, self._registry.network)
        service = target.service if target else NO_SERVICE
        made = self._made[service]
        key = (kind, name, flavor)
        if key not in made:
            made[key] = self._build(kind, name, flavor)
        return made[key]

    def names(self, kind: Kind, flavor: Flavor) -> list[str]:
        """What who asks for everything gets.

        Envoy gets no listeners: its own come from its bootstrap, and those for other clients are none to it.
        """
        if kind is Kind.LISTENER and flavor is Flavor.ENVOY:
            return []
        network = self._registry.network
        numbers = {name: sorted(service.numbers) for name, service in self._services.items()}
        numbers |= {name: [] for name in self._pools - numbers.keys()}
        return [
            name for callee in sorted(numbers) for name in names_of(kind, callee, network, numbers[callee])
        ]

    def follow(self, follower: Follower, kind: Kind, names: Iterable[str]) -> None:
        """Tell a follower when one of these has changed, come or gone. It must have looked for them with `find`."""
        for name in names:
            self._followers[kind, name].add(follower)

    def leave(self, follower: Follower, kind: Kind, names: Iterable[str]) -> None:
        """Tell it no longer. What nobody follows is forgotten."""
        for name in names:
            followers = self._followers.get((kind, name))
            if followers is None:
                continue
            followers.discard(follower)
            if not followers:
                del self._followers[kind, name]
                if not self._all[kind]:
                    self._forget(kind, name)

    def follow_all(self, follower: Follower, kind: Kind) -> None:
        """Tell a follower of everything of a type."""
        self._all[kind].add(follower)

    def leave_all(self, follower: Follower, kind: Kind) -> None:
        """Tell it no longer."""
        self._all[kind].discard(follower)

    @property
    def closed(self) -> bool:
        """Whether there will be no more changes."""
        return self._closed

    def _load(self, services: Iterable[str]) -> None:
        for name in sorted(set(services)):
            state = self._services.get(name)
            if state is None:
                state = self._services[name] = ServiceState(name, self._registry.network)
            state.replace_all(self._registry.all(name))
            self._renew(name)
            for pool in sorted(self._registry.pools.of_service(name)):
                self._renew(pool)
        self._hosts.keep(set(self._host_names()))

    def _pools_changed(self, pools: Iterable[str]) -> None:
        for name in sorted(pools):
            self._pools.add(name)
            self._renew(name)

    def _callee(self, name: str) -> Callee | None:
        """What a name stands for now. A service takes the place of a pool that was deleted."""
        is_pool = self._registry.pools.get(name) is not None
        if is_pool or (name in self._pools and name not in self._services):
            members = self._registry.pools.members(name)
            return PoolState(name, self._registry.network, members, self._services)
        return self._services.get(name)

    def _renew(self, service: str) -> None:
        """Make what was made of a service or pool anew, and tell who follows what has changed."""
        made = self._made[service]
        changed: set[Key] = set()
        for (kind, name, flavor), before in list(made.items()):
            after = self._build(kind, name, flavor, before)
            if after is not before:
                made[kind, name, flavor] = after
                changed.add((kind, name))
        for key in changed:
            for follower in self._followers.get(key, ()):
                follower.mark(key[0])
        for kind, followers in self._all.items():
            for follower in followers:
                follower.mark(kind)

    def _build(
        self, kind: Kind, name: str, flavor: Flavor, before: Resource | None = None
    ) -> Resource | None:
        target = parse(kind, name, self._registry.network)
        service = self._callee(target.service) if target else None
        if target is None or service is None:
            return None
        packed = build(kind, name, target, service, flavor, self._hosts.ip_of)
        if packed is None:
            return None
        if before is not None and before.packed.value == packed.value:
            return before
        self._revision += 1
        return Resource(packed, self._revision)

    def _forget(self, kind: Kind, name: str) -> None:
        target = parse(kind, name, self._registry.network)
        service = target.service if target else NO_SERVICE
        made = self._made.get(service)
        if made is None:
            return
        for flavor in Flavor:
            made.pop((kind, name, flavor), None)
        if not made:
            del self._made[service]

    def _address_found(self) -> None:
        for name in (*self._services, *self._pools):
            self._renew(name)

    def _host_names(self) -> Iterable[str]:
        for service in self._services.values():
            for instance in service.instances.values():
                if not instance.address.startswith("unix:"):
                    yield split_host_port(instance.address)[0]

    def _close(self) -> None:
        self._closed = True
        everyone = set().union(*self._followers.values(), *self._all.values())
        for follower in everyone:
            follower.close()
