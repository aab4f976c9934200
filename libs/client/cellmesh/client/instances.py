"""The instances of a service as AHA tells them, and which of them a call goes to."""

from __future__ import annotations

import enum
import itertools
import random
import threading
import time
from collections.abc import Collection, Iterable
from typing import Final

from cellmesh.api.aha.v1 import registry_pb2
from cellmesh.client.watching import Following
from cellmesh.common.errors import CellUnreachable

TURN_FIRST_MAX: Final = 1 << 16

SHUNNED_S: Final = 3.0
"""For how long an instance that failed is passed over, if there is another."""


class Prefer(enum.Enum):
    """Where calls of a pool go."""

    LEADER = "leader"
    """All to the leader."""
    ANY = "any"
    """Those that change nothing to any instance in turn, the others to the leader."""


class InstanceTable:
    """What AHA told of one service or instance. Threads may share it.

    Attributes:
        stale: Whether AHA is to be asked again before the next call: at first, and after a failure.
        service: The service the instances belong to, without its network; empty until AHA has answered.
    """

    def __init__(self, name: str) -> None:
        self.stale = True
        self.service = ""
        self._name = name
        self._lock = threading.Lock()
        self._instances: dict[str, registry_pb2.Instance] = {}
        self._failed: dict[str, float] = {}
        # Not from the first one on: many clients make one call only.
        self._turn = itertools.count(random.randrange(TURN_FIRST_MAX))
        self._current = ""
        self._pool = ""

    @property
    def is_pool(self) -> bool:
        """Whether the name is that of a pool: then each call goes to the next of its members."""
        return bool(self._pool)

    def following(self) -> Following:
        """What follows these instances at AHA."""
        return Following(self.service, self._pool)

    def replace(self, instances: Iterable[registry_pb2.Instance], pool_members: Collection[str] = ()) -> None:
        """Take in AHA's answer to a look-up."""
        with self._lock:
            self._pool = self._name.partition(".")[0] if pool_members else ""
            self._instances = {instance.name: instance for instance in instances}
            for instance in self._instances.values():
                self.service = instance.service
            self.stale = not self._instances

    def watched(self, changes: Iterable[registry_pb2.InstanceChange], *, whole: bool) -> None:
        """Take in a message of AHA's watch; `whole` says that it has everything there is, as the first one does."""
        with self._lock:
            if whole:
                self._instances = {}
            for change in changes:
                instance = change.instance
                if not self._is_wanted(instance):
                    continue
                if change.kind == registry_pb2.InstanceChange.KIND_REMOVED:
                    self._instances.pop(instance.name, None)
                else:
                    self._instances[instance.name] = instance
            if not self._instances:
                self.stale = True

    def failed(self, address: str) -> None:
        """An instance did not answer: pass it over for a while, and ask AHA where it is now."""
        with self._lock:
            self._failed[address] = time.monotonic() + SHUNNED_S
            self.stale = True

    def led_by(self, leader: str) -> registry_pb2.Instance | None:
        """Take in that another instance says who leads: by name or address. Returns the instance, if AHA knows it."""
        with self._lock:
            found = self._find(leader)
            if found is None:
                self.stale = True
                return None
            for name, instance in list(self._instances.items()):
                if instance.service != found.service:
                    continue
                changed = registry_pb2.Instance()
                changed.CopyFrom(instance)
                changed.leader = name == found.name
                self._instances[name] = changed
            return self._instances[found.name]

    def addresses(self) -> frozenset[str]:
        """Where all instances are."""
        with self._lock:
            return frozenset(instance.address for instance in self._instances.values())

    def all(self) -> list[registry_pb2.Instance]:
        """All instances, by name."""
        with self._lock:
            return [self._instances[name] for name in sorted(self._instances)]

    def pick(self, prefer: Prefer, *, reads: bool, avoid: Collection[str] = ()) -> registry_pb2.Instance:
        """Choose where a call goes.

        Args:
            prefer: What the caller wants.
            reads: Whether the call changes nothing.
            avoid: Addresses that this call has failed at, taken only if there is no other.

        Raises:
            CellUnreachable: no instance is ready.
        """
        with self._lock:
            ready = [instance for instance in self._instances.values() if instance.ready]
            if not ready:
                raise self._none_ready()
            if self._pool:
                return self._pick_member(ready, prefer, reads, avoid)
            spread = reads and prefer is Prefer.ANY
            fit = ready if spread else [instance for instance in ready if instance.leader] or ready
            if reads:
                # A leader that is away leaves its reads to the others.
                fit = self._sound(fit, avoid) or self._sound(ready, avoid) or fit
            else:
                fit = self._sound(fit, avoid) or fit
            fit.sort(key=lambda instance: instance.name)
            if spread:
                return fit[next(self._turn) % len(fit)]
            # Stay where the last call went: two leaders are two cells, whose data may differ.
            chosen = next((instance for instance in fit if instance.name == self._current), fit[0])
            self._current = chosen.name
            return chosen

    def _pick_member(
        self,
        ready: list[registry_pb2.Instance],
        prefer: Prefer,
        reads: bool,
        avoid: Collection[str],
    ) -> registry_pb2.Instance:
        """The next member of a pool: of each service its leader, or any instance where that will do."""
        if not (reads and prefer is Prefer.ANY):
            led = {instance.service for instance in ready if instance.leader}
            ready = [item for item in ready if item.leader or item.service not in led]
        fit = self._sound(ready, avoid) or ready
        fit.sort(key=lambda instance: instance.name)
        return fit[next(self._turn) % len(fit)]

    def _sound(
        self, instances: list[registry_pb2.Instance], avoid: Collection[str]
    ) -> list[registry_pb2.Instance]:
        now = time.monotonic()
        return [
            instance
            for instance in instances
            if instance.address not in avoid and self._failed.get(instance.address, 0.0) <= now
        ]

    def _is_wanted(self, instance: registry_pb2.Instance) -> bool:
        """Whether the name asked for means this instance: the watch tells of the whole service, in every network."""
        if self._pool:
            return True
        service = f"{instance.service}.{instance.network}"
        return self._name in (
            instance.service,
            service,
            instance.name,
            instance.name.removesuffix(f".{instance.network}"),
        )

    def _find(self, leader: str) -> registry_pb2.Instance | None:
        for instance in self._instances.values():
            if leader and leader in (instance.name, instance.address):
                return instance
        return None

    def _none_ready(self) -> CellUnreachable:
        told = ", ".join(instance.address for instance in self._instances.values())
        return CellUnreachable(
            f"cell {self._name} is registered and not ready",
            name=self._name,
            address=told,
            hint="it starts or stops just now, or its storage fails: look at its log, then try again",
        )
