"""Pools: names under which callers reach several services. Stored and logged; looked at in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from cellmesh.aha import schema
from cellmesh.aha.directory.instances import Instance
from cellmesh.api.aha.v1 import change_pb2, pool_pb2
from cellmesh.common.changelog import ChangeWriter, actor_name
from cellmesh.common.errors import BadName, DupName, LimitExceeded, NoSuchName
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.time.clock import Clock
from cellmesh.common.tls.identity import CellIdentity, check_label

POOL_COUNT_MAX: Final = 1000
MEMBER_COUNT_MAX: Final = 1000
LOAD_COUNT: Final = 1024

_log = get_logger(__name__)


class PoolStore:
    """The durable pools. Blocking: called from worker threads.

    Args:
        slab: Open, with the databases of `schema`.
        changes: Writes the change log.
        clock: Where the time comes from.
        network: The network of this registry.
    """

    def __init__(self, slab: Slab, changes: ChangeWriter, clock: Clock, network: str) -> None:
        self._slab = slab
        self._changes = changes
        self._clock = clock
        self._network = network

    def create(self, name: str, members: Collection[str], services: Collection[str]) -> pool_pb2.Pool:
        """Make a pool; durable when this returns.

        Args:
            name: Its name.
            members: Its first members.
            services: The names that pools may not have.

        Raises:
            BadName: a name is malformed.
            DupName: a pool or service of this name is there.
            LimitExceeded: there are too many pools, or members.
        """
        check_label(name, "pool")
        if name in services:
            raise DupName(f"there is a service called {name}, and a pool has a name of its own", name=name)
        pool = pool_pb2.Pool(name=name, creator=actor_name())
        pool.create_time.FromMilliseconds(self._clock.now())
        for member in members:
            self._add(pool, member)
        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> None:
            if txn.has(schema.POOLS, name.encode()):
                raise DupName(f"there is a pool called {name}", name=name)
            found = txn.scan(schema.POOLS, b"", None, count_max=POOL_COUNT_MAX).items
            if len(found) >= POOL_COUNT_MAX:
                raise LimitExceeded("there are too many pools", name="pools", limit=POOL_COUNT_MAX)
            _store(txn, append_change, pool)

        self._slab.write(op)
        _log.info("pool_created", name=name, members=[item.name for item in pool.members])
        return pool

    def delete(self, name: str) -> None:
        """Delete a pool; durable when this returns. Unknown names change nothing."""
        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> bool:
            if not txn.delete(schema.POOLS, name.encode()):
                return False
            append_change(txn, change_pb2.AhaChange(pool_deleted=change_pb2.PoolDeleted(name=name)))
            return True

        if self._slab.write(op):
            _log.info("pool_deleted", name=name)

    def add_member(self, name: str, member: str) -> pool_pb2.Pool:
        """Add a member; durable when this returns. Raises NoSuchName, BadName, LimitExceeded."""
        return self._change(name, lambda pool: self._add(pool, member))

    def remove_member(self, name: str, member: str) -> pool_pb2.Pool:
        """Take a member out; durable when this returns. Raises NoSuchName."""
        member = member.removesuffix(f".{self._network}")

        def change(pool: pool_pb2.Pool) -> bool:
            kept = [item for item in pool.members if item.name != member]
            changed = len(kept) < len(pool.members)
            del pool.members[:]
            pool.members.extend(kept)
            return changed

        return self._change(name, change)

    def load(self) -> list[pool_pb2.Pool]:
        """Every pool, by name."""
        with self._slab.view() as txn:
            found = txn.scan(schema.POOLS, b"", None, count_max=LOAD_COUNT).items
        return [pool_pb2.Pool.FromString(value) for _, value in found]

    def _change(self, name: str, change: Callable[[pool_pb2.Pool], bool]) -> pool_pb2.Pool:
        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> pool_pb2.Pool:
            found = txn.get(schema.POOLS, name.encode())
            if found is None:
                raise NoSuchName(f"there is no pool called {name[:128]}", name=name[:128])
            pool = pool_pb2.Pool.FromString(found)
            if change(pool):
                _store(txn, append_change, pool)
            return pool

        return self._slab.write(op)

    def _add(self, pool: pool_pb2.Pool, member: str) -> bool:
        member = member.removesuffix(f".{self._network}")
        check_member(member, self._network)
        if any(item.name == member for item in pool.members):
            return False
        if len(pool.members) >= MEMBER_COUNT_MAX:
            raise LimitExceeded("the pool has too many members", name=pool.name, limit=MEMBER_COUNT_MAX)
        added = pool.members.add(name=member, adder=actor_name())
        added.add_time.FromMilliseconds(self._clock.now())
        return True


def put_pool(txn: WriteTxn, stored: change_pb2.PoolStored) -> None:
    """Store what a change record tells of a pool."""
    pool = stored.pool
    txn.put(schema.POOLS, pool.name.encode(), pool.SerializeToString(deterministic=True))


def _store(txn: WriteTxn, append_change: Callable[..., int], pool: pool_pb2.Pool) -> None:
    stored = change_pb2.PoolStored(pool=pool)
    put_pool(txn, stored)
    append_change(txn, change_pb2.AhaChange(pool_stored=stored))


def check_member(member: str, network: str) -> None:
    """Raise BadName unless this can be a service ("axon") or an instance ("01.cortex")."""
    number, dot, service = member.rpartition(".")
    if dot:
        CellIdentity(number, service, network)
    else:
        check_label(member, "service")


class Pools:
    """The pools in memory. Used in the event loop."""

    def __init__(self) -> None:
        self._pools: dict[str, pool_pb2.Pool] = {}
        self._members: dict[str, frozenset[str]] = {}
        self._of_service: dict[str, set[str]] = {}

    def fill(self, pools: list[pool_pb2.Pool]) -> set[str]:
        """Take in all pools; returns the names of those whose members are others than before."""
        before = self._members
        self._pools = {pool.name: pool for pool in pools}
        self._members = {pool.name: frozenset(member.name for member in pool.members) for pool in pools}
        self._of_service = {}
        for name, members in self._members.items():
            for member in members:
                self._of_service.setdefault(member.rpartition(".")[2], set()).add(name)
        return {
            name
            for name in before.keys() | self._members.keys()
            if before.get(name) != self._members.get(name)
        }

    def get(self, name: str) -> pool_pb2.Pool | None:
        """A pool by name."""
        return self._pools.get(name)

    def all(self) -> list[pool_pb2.Pool]:
        """Every pool, by name."""
        return [self._pools[name] for name in sorted(self._pools)]

    def members(self, name: str) -> frozenset[str]:
        """The members of a pool, such as "axon" or "01.cortex"; none of a pool that is not there."""
        return self._members.get(name, frozenset())

    def of_service(self, service: str) -> Collection[str]:
        """The pools that a service, or one of its instances, is a member of."""
        return self._of_service.get(service, ())

    def has(self, name: str, instance: Instance) -> bool:
        """Whether an instance is in a pool, by itself or with its service."""
        members = self._members.get(name, frozenset())
        return instance.service in members or instance.name.removesuffix(f".{instance.network}") in members


def require_no_pool(pools: Pools, name: str) -> None:
    """Refuse a service that would have the name of a pool. Raises BadName."""
    if pools.get(name) is not None:
        raise BadName(f"there is a pool called {name}: no cell can be one of its name", name=name)
