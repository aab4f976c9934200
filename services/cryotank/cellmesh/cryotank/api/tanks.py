"""TankService over the store: messages in, blocking work in threads, messages out."""

from __future__ import annotations

from typing import Any

from cellmesh.api.cryotank.v1 import tank_pb2
from cellmesh.common.auth.context import current_caller
from cellmesh.common.errors import BadArg
from cellmesh.common.rpc.workers import Workers
from cellmesh.cryotank.api.records import RecordServicer
from cellmesh.cryotank.tanks import ConsumerStore, Tank, TankGates, TankLimits, TankMetrics, TankStore
from cellmesh.cryotank.tanks.arrivals import Arrivals
from cellmesh.cryotank.tanks.changes import consumer_to_proto, limits_from_proto, tank_to_proto

Context = Any

LIMIT_MAX = 2**63 - 1


class TankServicer(RecordServicer):
    """Serves cellmesh.api.cryotank.v1.TankService.

    Args:
        store: The tanks.
        consumers: Their readers.
        gates: Who may do what with them.
        arrivals: Who waits for records.
        workers: Threads for blocking work.
    """

    def __init__(
        self,
        store: TankStore,
        consumers: ConsumerStore,
        gates: TankGates,
        arrivals: Arrivals,
        workers: Workers,
    ) -> None:
        super().__init__(store, consumers, gates, arrivals, workers)
        self._run = workers.run

    async def CreateTank(
        self, request: tank_pb2.CreateTankRequest, context: Context
    ) -> tank_pb2.CreateTankResponse:
        """See the proto."""
        tank, created = await self._run(self._store.create, request.name, _limits(request.config))
        return tank_pb2.CreateTankResponse(tank=tank_to_proto(tank), created=created)

    async def ListTanks(
        self, request: tank_pb2.ListTanksRequest, context: Context
    ) -> tank_pb2.ListTanksResponse:
        """See the proto."""
        caller, gates = current_caller(), self._gates
        found, token = await self._run(
            self._store.list_tanks,
            request.page_size,
            request.page_token,
            lambda tank_id: gates.allows(caller, "list", tank_id),
        )
        if not found and not request.page_token:
            # Who may list none at all is told so.
            gates.may(caller, "list")("")
        return tank_pb2.ListTanksResponse(
            tanks=[tank_to_proto(tank) for tank, _ in found],
            next_page_token=token,
            infos=[_info(tank, metrics) for tank, metrics in found],
        )

    async def GetTank(self, request: tank_pb2.GetTankRequest, context: Context) -> tank_pb2.GetTankResponse:
        """See the proto."""
        tank, metrics = await self._run(self._store.info, request.name, self._may("list"))
        return tank_pb2.GetTankResponse(info=_info(tank, metrics))

    async def UpdateTank(
        self, request: tank_pb2.UpdateTankRequest, context: Context
    ) -> tank_pb2.UpdateTankResponse:
        """See the proto."""
        limits = _limits(request.config)
        tank = await self._run(self._store.update, request.name, limits, self._may("update"))
        return tank_pb2.UpdateTankResponse(tank=tank_to_proto(tank))

    async def DeleteTank(
        self, request: tank_pb2.DeleteTankRequest, context: Context
    ) -> tank_pb2.DeleteTankResponse:
        """See the proto."""
        await self._run(self._store.delete, request.name, self._may("delete"))
        return tank_pb2.DeleteTankResponse()

    async def TrimTank(
        self, request: tank_pb2.TrimTankRequest, context: Context
    ) -> tank_pb2.TrimTankResponse:
        """See the proto."""
        count, first = await self._run(self._store.trim, request.name, request.offset, self._may("trim"))
        return tank_pb2.TrimTankResponse(removed_count=count, first_offset=first)

    async def GetTankMetrics(
        self, request: tank_pb2.GetTankMetricsRequest, context: Context
    ) -> tank_pb2.GetTankMetricsResponse:
        """See the proto."""
        metrics = await self._run(self._store.metrics, request.name, self._may("list"))
        return tank_pb2.GetTankMetricsResponse(
            record_count=metrics.record_count,
            size_bytes=metrics.size,
            next_offset=metrics.next_offset,
            first_offset=metrics.first_offset,
        )

    async def SetConsumer(
        self, request: tank_pb2.SetConsumerRequest, context: Context
    ) -> tank_pb2.SetConsumerResponse:
        """See the proto."""
        consumer = await self._run(
            self._consumers.set,
            request.name,
            request.consumer,
            request.offset,
            forward_only=request.forward_only,
            may=self._may("read"),
        )
        return tank_pb2.SetConsumerResponse(consumer=consumer_to_proto(consumer))

    async def ListConsumers(
        self, request: tank_pb2.ListConsumersRequest, context: Context
    ) -> tank_pb2.ListConsumersResponse:
        """See the proto."""
        found = await self._run(self._consumers.list, request.name, self._may("read"))
        return tank_pb2.ListConsumersResponse(consumers=map(consumer_to_proto, found))

    async def DeleteConsumer(
        self, request: tank_pb2.DeleteConsumerRequest, context: Context
    ) -> tank_pb2.DeleteConsumerResponse:
        """See the proto."""
        deleted = await self._run(self._consumers.delete, request.name, request.consumer, self._may("read"))
        return tank_pb2.DeleteConsumerResponse(deleted=deleted)


def _info(tank: Tank, metrics: TankMetrics) -> tank_pb2.TankInfo:
    return tank_pb2.TankInfo(
        tank=tank_to_proto(tank),
        record_count=metrics.record_count,
        size_bytes=metrics.size,
        first_offset=metrics.first_offset,
        next_offset=metrics.next_offset,
    )


def _limits(config: tank_pb2.TankConfig) -> TankLimits:
    limits = limits_from_proto(config)
    for name, value in (
        ("count_max", limits.count_max),
        ("size_bytes_max", limits.size_max),
        ("age_max", limits.age_max_us),
    ):
        if not 0 <= value <= LIMIT_MAX:
            raise BadArg(f"{name} is no limit", name=name, valu=value)
    return limits
