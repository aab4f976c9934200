"""ChangeLogService: a cell's change log, read and followed over gRPC."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from cellmesh.api.common.v1 import change_log_service_pb2, change_log_service_pb2_grpc
from cellmesh.common.cell import Cell, running
from cellmesh.common.changelog import DATABASES, ChangeWriter
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import BadArg, LogTrimmed, ShuttingDown, from_rpc_error
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.storage import WriteTxn


class LogConfig(CellConfig):
    kind: ClassVar[str] = "log"


class LogCell(Cell[LogConfig]):
    kind = "log"
    databases = DATABASES

    def add(self, *payloads: bytes) -> None:
        append = ChangeWriter(self.changes, "test.Change", lambda: 7).begin()

        def op(txn: WriteTxn) -> None:
            for payload in payloads:
                append(txn, payload)

        self.slab.write(op)


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[LogCell]:
    with running(LogCell(load_config(LogConfig, dir=tmp_path, environ={}))) as made:
        yield made


def read(cell: LogCell, **request: Any) -> Iterator[tuple[int, bytes]]:
    with open_channel(f"unix:{cell.folder.socket_path}") as channel:
        stub = change_log_service_pb2_grpc.ChangeLogServiceStub(channel)
        try:
            for message in stub.ReadChanges(change_log_service_pb2.ReadChangesRequest(**request)):
                for record in message.records:
                    assert (record.time_us, record.type_name, record.actor) == (7, "test.Change", "")
                    yield record.offset, record.payload
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None


def test_records_come_in_order_from_an_offset_on(cell: LogCell) -> None:
    cell.add(*(b"%d" % number for number in range(3000)))
    everything = [(number, b"%d" % number) for number in range(3000)]
    assert list(read(cell)) == everything
    assert list(read(cell, offset=2990)) == everything[2990:]
    assert list(read(cell, offset=3000)) == []
    for count in (1, 7, 1000, 1001, 2500, 9999):
        assert list(read(cell, offset=5, count_max=count)) == everything[5 : 5 + count]


def test_what_is_not_there_is_refused_in_words(cell: LogCell) -> None:
    cell.add(*(b"x" for _ in range(10)))
    with pytest.raises(BadArg, match="11 is not there yet"):
        list(read(cell, offset=11))
    cell.slab.write(lambda txn: cell.changes.trim(txn, 4))
    with pytest.raises(LogTrimmed) as caught:
        list(read(cell, offset=3))
    assert caught.value.get("first") == 4
    assert next(read(cell)) == (4, b"x")


def test_a_follower_gets_what_comes(cell: LogCell) -> None:
    cell.add(b"0")
    seen: list[int] = []
    ended: list[Exception] = []

    def follow() -> None:
        try:
            seen.extend(offset for offset, _ in read(cell, follow=True, count_max=500))
        except Exception as error:  # noqa: BLE001  looked at below
            ended.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    for number in range(1, 500):
        cell.add(b"%d" % number)
    thread.join(timeout=10)
    assert ended == []
    assert seen == list(range(500))


def test_a_change_reaches_a_follower_at_once(cell: LogCell) -> None:
    stream = read(cell, follow=True)
    cell.add(b"first")
    next(stream)
    waits = []
    for number in range(20):
        begun = time.monotonic()
        cell.add(b"%d" % number)
        next(stream)
        waits.append(time.monotonic() - begun)
    stream.close()
    assert sorted(waits)[10] < 0.1


def test_a_follower_does_not_hold_up_the_stop_and_is_told(tmp_path: Path) -> None:
    cell = LogCell(load_config(LogConfig, dir=tmp_path, environ={}))
    ended: list[Exception] = []
    with running(cell):
        cell.add(b"first")
        stream = read(cell, follow=True)
        next(stream)

        def wait() -> None:
            try:
                next(stream)
            except Exception as error:  # noqa: BLE001  looked at below
                ended.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        begun = time.monotonic()
    assert time.monotonic() - begun < 3
    thread.join(timeout=5)
    assert [type(error) for error in ended] == [ShuttingDown]
