"""TankService over real gRPC, called with the generated stub and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadArg, BadName, NoSuchTank, from_rpc_error
from cellmesh.common.values import from_value, to_value
from cellmesh.cryotank.cell import CryotankCell
from cellmesh.cryotank.config import CryotankConfig


class Cryotank:
    """A running Cryotank's stub, in Python values."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = tank_service_pb2_grpc.TankServiceStub(channel)

    def create(self, name: str) -> tank_pb2.CreateTankResponse:
        return self.stub.CreateTank(tank_pb2.CreateTankRequest(name=name))

    def append(self, name: str, *values: Any) -> tank_pb2.AppendRecordsResponse:
        return self.stub.AppendRecords(tank_pb2.AppendRecordsRequest(name=name, values=map(to_value, values)))

    def read(self, name: str, offset: int = 0, count: int | None = None) -> list[tuple[int, Any]]:
        request = tank_pb2.ReadRecordsRequest(name=name, offset=offset, count=count)
        return [
            (record.offset, from_value(record.value))
            for message in self.stub.ReadRecords(request)
            for record in message.records
        ]


def config_of(folder: Path) -> CryotankConfig:
    flags = {"insecure": True, "listen": "127.0.0.1:0"}
    return load_config(CryotankConfig, dir=folder, flags=flags, environ={})


@pytest.fixture
def cryotank(tmp_path: Path) -> Iterator[Cryotank]:
    with (
        running(CryotankCell(config_of(tmp_path / "cryotank"))) as cell,
        grpc.insecure_channel(cell.tcp_address) as channel,
    ):
        yield Cryotank(channel)


VALUES = (None, True, 0, -(2**63), 2**100, 1.5, "é", b"\x00", [1, [2]], {"b": 1, "a": {"c": []}})


def test_records_of_every_kind_come_back(cryotank: Cryotank) -> None:
    assert cryotank.create("a").created
    appended = cryotank.append("a", *VALUES)
    assert (appended.offset, appended.count) == (0, len(VALUES))
    assert cryotank.read("a") == list(enumerate(VALUES))


def test_a_long_slice_comes_in_batches(cryotank: Cryotank) -> None:
    cryotank.create("a")
    for start in range(0, 20_000, 5000):
        assert cryotank.append("a", *range(start, start + 5000)).offset == start
    assert cryotank.read("a", 7, 19_000) == [(number, number) for number in range(7, 19_007)]
    messages = list(cryotank.stub.ReadRecords(tank_pb2.ReadRecordsRequest(name="a")))
    assert len(messages) < 200


def test_last_and_metrics(cryotank: Cryotank) -> None:
    cryotank.create("a")
    assert not cryotank.stub.GetLastRecord(tank_pb2.GetLastRecordRequest(name="a")).HasField("record")
    cryotank.append("a", *VALUES)
    last = cryotank.stub.GetLastRecord(tank_pb2.GetLastRecordRequest(name="a")).record
    assert (last.offset, from_value(last.value)) == (len(VALUES) - 1, VALUES[-1])
    metrics = cryotank.stub.GetTankMetrics(tank_pb2.GetTankMetricsRequest(name="a"))
    assert (metrics.record_count, metrics.next_offset) == (len(VALUES), len(VALUES))
    assert metrics.size_bytes == sum(len(to_value(value).SerializeToString()) for value in VALUES)


def test_tanks_are_listed_and_deleted(cryotank: Cryotank) -> None:
    for name in ("b", "a", "c"):
        tank = cryotank.create(name).tank
        assert tank.create_time.seconds > 1_700_000_000
    assert not cryotank.create("a").created
    first = cryotank.stub.ListTanks(tank_pb2.ListTanksRequest(page_size=2))
    assert [tank.name for tank in first.tanks] == ["a", "b"]
    second = cryotank.stub.ListTanks(tank_pb2.ListTanksRequest(page_token=first.next_page_token))
    assert [tank.name for tank in second.tanks] == ["c"]
    assert second.next_page_token == ""
    cryotank.stub.DeleteTank(tank_pb2.DeleteTankRequest(name="a"))
    left = cryotank.stub.ListTanks(tank_pb2.ListTanksRequest()).tanks
    assert [tank.name for tank in left] == ["b", "c"]


def test_errors_arrive_as_what_they_are(cryotank: Cryotank) -> None:
    cryotank.create("a")
    cases = (
        (lambda: cryotank.create("no good"), BadName),
        (lambda: cryotank.append("none", 1), NoSuchTank),
        (lambda: cryotank.read("none"), NoSuchTank),
        (lambda: cryotank.append("a", bytes(4 * 1024 * 1024)), BadArg),
        (lambda: cryotank.stub.DeleteTank(tank_pb2.DeleteTankRequest(name="none")), NoSuchTank),
        (lambda: cryotank.stub.ListTanks(tank_pb2.ListTanksRequest(page_token="!")), BadArg),
    )
    for call, expected in cases:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert type(from_rpc_error(caught.value)) is expected


def test_records_are_there_after_a_restart(tmp_path: Path) -> None:
    for expected in ([], [(0, "first")]):
        with (
            running(CryotankCell(config_of(tmp_path / "c"))) as cell,
            grpc.insecure_channel(cell.tcp_address) as channel,
        ):
            cryotank = Cryotank(channel)
            cryotank.create("a")
            assert cryotank.read("a") == expected
            if not expected:
                cryotank.append("a", "first")
