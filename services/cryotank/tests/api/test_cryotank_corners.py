"""Streams of appends that are cut, many who append and read at once, and what tanks cost that do nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
from cellmesh.common import msgpack
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cryotank.cell import CryotankCell
from cellmesh.cryotank.config import CryotankConfig
from cellmesh.testing.robustness.cells import CellProcess

BATCH = 50


def config_of(folder: Path) -> CryotankConfig:
    flags = {"insecure": True, "listen": "127.0.0.1:0"}
    return load_config(CryotankConfig, dir=folder, flags=flags, environ={})


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[CryotankCell]:
    with running(CryotankCell(config_of(tmp_path / "cryotank"))) as made:
        made.store.create("t")
        yield made


@pytest.fixture
def stub(cell: CryotankCell) -> Iterator[Any]:
    with grpc.insecure_channel(cell.tcp_address) as channel:
        yield tank_service_pb2_grpc.TankServiceStub(channel)


def items(stub: Any, **request: Any) -> list[bytes]:
    return [
        item
        for message in stub.ReadRows(tank_pb2.ReadRowsRequest(name="t", **request))
        for run in message.runs
        for item in run.items
    ]


def batch_of(number: int) -> bytes:
    return b"".join(msgpack.encode([number, index]) for index in range(BATCH))


def check_whole(stub: Any, at_least: int) -> None:
    """Each request is there whole or not at all, in order, and no later one without those before."""
    found = [msgpack.decode(item) for item in items(stub)]
    count = len(found) // BATCH
    assert found == [(number, index) for number in range(count) for index in range(BATCH)]
    assert count >= at_least


def wait_until_still(cell: CryotankCell) -> None:
    before = -1
    while (now := cell.store.metrics("t").next_offset) != before:
        before = now
        time.sleep(0.5)


def test_a_stream_of_appends_that_is_cut_leaves_whole_requests(cell: CryotankCell, stub: Any) -> None:
    acknowledged = 0
    stop = threading.Event()

    def requests() -> Iterator[tank_pb2.AppendStreamRequest]:
        number = 0
        while not stop.is_set():
            yield tank_pb2.AppendStreamRequest(name="t", packed_items=batch_of(number))
            number += 1

    call = stub.AppendStream(requests())
    for answer in call:
        acknowledged += answer.request_count
        if acknowledged >= 20:
            call.cancel()
            break
    stop.set()
    wait_until_still(cell)
    check_whole(stub, acknowledged)


KILLED_CLIENT = """
import os, sys, grpc
from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
from cellmesh.common import msgpack

def requests():
    for number in range(int(sys.argv[2])):
        yield tank_pb2.AppendStreamRequest(
            name="t", packed_items=b"".join(msgpack.encode([number, index]) for index in range(50)))
    os.kill(os.getpid(), 9)

for _ in tank_service_pb2_grpc.TankServiceStub(grpc.insecure_channel(sys.argv[1])).AppendStream(requests()):
    pass
"""


def test_who_appends_and_is_killed_leaves_whole_requests(cell: CryotankCell, stub: Any) -> None:
    command = [sys.executable, "-c", KILLED_CLIENT, cell.tcp_address, "300"]
    assert subprocess.run(command, check=False).returncode == -9
    wait_until_still(cell)
    check_whole(stub, 0)


def test_many_append_the_same_to_one_tank_while_others_wait(cell: CryotankCell, stub: Any) -> None:
    writers, rounds = 6, 20
    total = writers * rounds * BATCH

    def write(number: int) -> list[int]:
        request = tank_pb2.AppendRecordsRequest(name="t", packed_items=batch_of(7))
        return [stub.AppendRecords(request).offset for _ in range(rounds)]

    def read(_: int) -> list[bytes]:
        return items(stub, wait=True, count=total)

    with ThreadPoolExecutor(writers + 3) as threads:
        readers = [threads.submit(read, number) for number in range(3)]
        offsets = [offset for some in threads.map(write, range(writers)) for offset in some]
        found = [reader.result(60) for reader in readers]
    assert sorted(offsets) == list(range(0, total, BATCH))
    assert found == [[msgpack.encode([7, index]) for index in range(BATCH)] * (writers * rounds)] * 3


def test_slices_past_the_end_and_of_nothing_are_empty(stub: Any) -> None:
    assert items(stub) == items(stub, offset=2**63) == items(stub, count=0) == []
    stub.AppendRecords(tank_pb2.AppendRecordsRequest(name="t"))
    stub.AppendRecords(tank_pb2.AppendRecordsRequest(name="t", packed_items=b"\x01"))
    assert items(stub, offset=1) == items(stub, offset=2**64 - 1, count=2**64 - 1) == []
    assert items(stub, offset=0, count=2**64 - 1) == [b"\x01"]
    assert items(stub, offset=9, wait=True, timeout={"nanos": 1000}) == []


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Cryotanks with one tank and with a thousand."""
    made = {}
    for count in (1, 1000):
        made[count] = tmp_path_factory.mktemp("tanks") / "cell"
        with running(CryotankCell(config_of(made[count]))) as cell:
            for number in range(count):
                cell.store.create(f"t{number}")
    return made


def test_a_thousand_tanks_cost_no_more_at_the_start_than_one(folders: dict[int, Path]) -> None:
    took: dict[int, list[float]] = {1: [], 1000: []}
    # In turns, so that what else the machine does falls on both; by what the processor worked, and the best of some.
    for _ in range(4):
        for count, folder in folders.items():
            begin = time.process_time()
            with running(CryotankCell(config_of(folder))) as cell:
                took[count].append(time.process_time() - begin)
                assert len(cell.auth.policy.gates) == count
    assert min(took[1000]) < 3 * min(took[1]) + 0.1, took


def test_a_thousand_idle_tanks_take_hardly_any_memory(folders: dict[int, Path]) -> None:
    resident = {}
    for count, folder in folders.items():
        process = CellProcess("cryotank", folder)
        process.start()
        try:
            with process.client() as client:
                stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
                stub.ListTanks(tank_pb2.ListTanksRequest(page_size=1))
            resident[count] = process.resident_bytes()
        finally:
            process.stop()
    assert resident[1000] - resident[1] < 4 << 20, resident
