"""TankService over the store: messages in, blocking work in threads, messages out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cryotank.v1 import tank_pb2
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.rpc.workers import Workers
from cellmesh.cryotank.tanks import TankStore, wire
from cellmesh.cryotank.tanks.changes import tank_to_proto

PIECE_COUNT: Final = 64
"""Records put together before they are handed to the stream: each hand-over has its price."""

Context = Any


class TankServicer:
    """Serves cellmesh.api.cryotank.v1.TankService.

    Args:
        store: The tanks.
        workers: Threads for blocking work.
    """

    def __init__(self, store: TankStore, workers: Workers) -> None:
        self._store = store
        self._workers = workers

    async def CreateTank(
        self, request: tank_pb2.CreateTankRequest, context: Context
    ) -> tank_pb2.CreateTankResponse:
        """See the proto."""
        tank, created = await self._workers.run(self._store.create, request.name)
        return tank_pb2.CreateTankResponse(tank=tank_to_proto(tank), created=created)

    async def ListTanks(
        self, request: tank_pb2.ListTanksRequest, context: Context
    ) -> tank_pb2.ListTanksResponse:
        """See the proto."""
        tanks, token = await self._workers.run(self._store.list_tanks, request.page_size, request.page_token)
        return tank_pb2.ListTanksResponse(tanks=map(tank_to_proto, tanks), next_page_token=token)

    async def DeleteTank(
        self, request: tank_pb2.DeleteTankRequest, context: Context
    ) -> tank_pb2.DeleteTankResponse:
        """See the proto."""
        await self._workers.run(self._store.delete, request.name)
        return tank_pb2.DeleteTankResponse()

    async def AppendRecords(
        self, request: tank_pb2.AppendRecordsRequest, context: Context
    ) -> tank_pb2.AppendRecordsResponse:
        """See the proto."""

        def append() -> tank_pb2.AppendRecordsResponse:
            records = [value.SerializeToString() for value in request.values]
            appended = self._store.append(request.name, records)
            return tank_pb2.AppendRecordsResponse(offset=appended.offset, count=appended.count)

        return await self._workers.run(append)

    async def ReadRecords(
        self, request: tank_pb2.ReadRecordsRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """See the proto. Answers with serialized messages, made of stored bytes."""
        count = request.count if request.HasField("count") else None

        def produce(token: CancelToken) -> Iterator[bytes]:
            encode = wire.encode_record
            for chunk in self._store.read(request.name, request.offset, count):
                token.check()
                for start in range(0, len(chunk), PIECE_COUNT):
                    yield b"".join(map(encode, chunk[start : start + PIECE_COUNT]))

        async for message in self._workers.stream(produce, pack=_join, size_of=len):
            yield message

    async def GetLastRecord(
        self, request: tank_pb2.GetLastRecordRequest, context: Context
    ) -> tank_pb2.GetLastRecordResponse:
        """See the proto."""
        found = await self._workers.run(self._store.last, request.name)
        if found is None:
            return tank_pb2.GetLastRecordResponse()
        value = value_pb2.Value.FromString(found.data)
        return tank_pb2.GetLastRecordResponse(record=tank_pb2.Record(offset=found.offset, value=value))

    async def GetTankMetrics(
        self, request: tank_pb2.GetTankMetricsRequest, context: Context
    ) -> tank_pb2.GetTankMetricsResponse:
        """See the proto."""
        metrics = await self._workers.run(self._store.metrics, request.name)
        return tank_pb2.GetTankMetricsResponse(
            record_count=metrics.record_count, size_bytes=metrics.size, next_offset=metrics.next_offset
        )


def _join(pieces: list[bytes]) -> bytes:
    return b"".join(pieces)
