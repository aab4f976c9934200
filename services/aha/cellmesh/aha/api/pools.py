"""PoolService over the pools: kept by administrators, seen by all members."""

from __future__ import annotations

from typing import Any

from cellmesh.aha.directory import Registry
from cellmesh.aha.directory.pools import PoolStore
from cellmesh.api.aha.v1 import pool_pb2
from cellmesh.common.errors import NoSuchName
from cellmesh.common.rpc.workers import Workers

Context = Any


class PoolServicer:
    """Serves cellmesh.api.aha.v1.PoolService.

    Args:
        store: The durable pools.
        registry: What is told when they change.
        workers: Threads for blocking work.
    """

    def __init__(self, store: PoolStore, registry: Registry, workers: Workers) -> None:
        self._store = store
        self._registry = registry
        self._run = workers.run

    async def CreatePool(
        self, request: pool_pb2.CreatePoolRequest, context: Context
    ) -> pool_pb2.CreatePoolResponse:
        """See the proto."""
        # The names of now: the worker's thread does not look at what the event loop changes.
        taken = frozenset({request.name}.intersection(self._registry.services()))
        made = await self._run(self._store.create, request.name, tuple(request.members), taken)
        await self.refresh()
        return pool_pb2.CreatePoolResponse(pool=made)

    async def DeletePool(
        self, request: pool_pb2.DeletePoolRequest, context: Context
    ) -> pool_pb2.DeletePoolResponse:
        """See the proto."""
        await self._run(self._store.delete, request.name)
        await self.refresh()
        return pool_pb2.DeletePoolResponse()

    async def GetPool(self, request: pool_pb2.GetPoolRequest, context: Context) -> pool_pb2.GetPoolResponse:
        """See the proto."""
        found = self._registry.pools.get(request.name)
        if found is None:
            raise NoSuchName(f"there is no pool called {request.name[:128]}", name=request.name[:128])
        return pool_pb2.GetPoolResponse(pool=found)

    async def ListPools(
        self, request: pool_pb2.ListPoolsRequest, context: Context
    ) -> pool_pb2.ListPoolsResponse:
        """See the proto."""
        return pool_pb2.ListPoolsResponse(pools=self._registry.pools.all())

    async def AddPoolMember(
        self, request: pool_pb2.AddPoolMemberRequest, context: Context
    ) -> pool_pb2.AddPoolMemberResponse:
        """See the proto."""
        pool = await self._run(self._store.add_member, request.name, request.member)
        await self.refresh()
        return pool_pb2.AddPoolMemberResponse(pool=pool)

    async def RemovePoolMember(
        self, request: pool_pb2.RemovePoolMemberRequest, context: Context
    ) -> pool_pb2.RemovePoolMemberResponse:
        """See the proto."""
        pool = await self._run(self._store.remove_member, request.name, request.member)
        await self.refresh()
        return pool_pb2.RemovePoolMemberResponse(pool=pool)

    async def refresh(self) -> None:
        """Bring the memory in line with what is stored."""
        self._registry.set_pools(await self._run(self._store.load))
