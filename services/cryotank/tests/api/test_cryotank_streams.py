"""Streams of records over real gRPC: appends, readers that wait, tanks that change under readers, bits that stay."""

from __future__ import annotations

import asyncio
import math
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
from cellmesh.common import msgpack
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadArg, NoSuchTank, ShuttingDown, from_rpc_error
from cellmesh.common.values import from_value, to_value
from cellmesh.cryotank.cell import CryotankCell
from cellmesh.cryotank.config import CryotankConfig
from cellmesh.cryotank.tanks import Batch
from cellmesh.cryotank.tanks.batches import APPEND_SIZE_MAX, MSGPACK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

READER_COUNT = 2000
CONNECTION_COUNT = 3


def config_of(folder: Path) -> CryotankConfig:
    flags = {"insecure": True, "listen": "127.0.0.1:0"}
    return load_config(CryotankConfig, dir=folder, flags=flags, environ={})


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[CryotankCell]:
    with running(CryotankCell(config_of(tmp_path / "cryotank"))) as made:
        yield made


@pytest.fixture
def stub(cell: CryotankCell) -> Iterator[Any]:
    with grpc.insecure_channel(cell.tcp_address) as channel:
        yield tank_service_pb2_grpc.TankServiceStub(channel)


def create(stub: Any, name: str = "t") -> None:
    stub.CreateTank(tank_pb2.CreateTankRequest(name=name))


def rows(stub: Any, **request: Any) -> list[tuple[int, int, bytes]]:
    return [
        (offset, run.form, item)
        for message in stub.ReadRows(tank_pb2.ReadRowsRequest(name="t", **request))
        for run in message.runs
        for offset, item in enumerate(run.items, run.offset)
    ]


def failure_of(call: Any) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return from_rpc_error(caught.value)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**62, 2**70)
    | st.floats()
    | st.decimals(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4, alphabet="abé") | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
PACKABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


def same(one: Any, two: Any) -> bool:
    """Equal to the bit, types and order included."""
    if type(one) is not type(two):
        return False
    match one:
        case float():
            return struct.pack(">d", one) == struct.pack(">d", two) or (math.isnan(one) and math.isnan(two))
        case Decimal():
            return str(one) == str(two)
        case list():
            return len(one) == len(two) and all(map(same, one, two))
        case dict():
            return same(list(one), list(two)) and same(list(one.values()), list(two.values()))
    return bool(one == two)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(values=st.lists(VALUES, max_size=8), packable=st.lists(PACKABLE, max_size=8))
def test_any_value_comes_back_to_the_bit(
    cell: CryotankCell, stub: Any, values: list[Any], packable: list[Any]
) -> None:
    create(stub)
    sent = [to_value(value).SerializeToString() for value in values]
    packed = [msgpack.encode(value) for value in packable]
    stub.AppendRecords(
        tank_pb2.AppendRecordsRequest(name="t", values=[value_pb2.Value.FromString(item) for item in sent])
    )
    stub.AppendRecords(tank_pb2.AppendRecordsRequest(name="t", packed=packed))
    stub.AppendRecords(tank_pb2.AppendRecordsRequest(name="t", packed_items=b"".join(packed)))
    found = rows(stub)
    assert [(form, item) for _, form, item in found] == [(0, item) for item in sent] + [
        (MSGPACK, item) for item in packed * 2
    ]
    read = [
        from_value(record.value)
        for message in stub.ReadRecords(tank_pb2.ReadRecordsRequest(name="t", count=len(values)))
        for record in message.records
    ]
    assert same(read, values)
    unpacked = [msgpack.decode(item, use_list=True) for _, form, item in found if form == MSGPACK]
    assert same(unpacked, [_listed(value) for value in packable * 2])
    stub.DeleteTank(tank_pb2.DeleteTankRequest(name="t"))


def _listed(value: Any) -> Any:
    return msgpack.decode(msgpack.encode(value), use_list=True)


def test_unusual_encodings_are_kept_as_they_came(cell: CryotankCell) -> None:
    with grpc.insecure_channel(cell.tcp_address) as channel:
        check_unusual_encodings(channel)


def check_unusual_encodings(channel: grpc.Channel) -> None:
    stub = tank_service_pb2_grpc.TankServiceStub(channel)
    create(stub)
    # A number in nine bytes, a map with its keys out of order, a Value with a field that nobody knows.
    packed = [b"\xd3" + bytes(8), b"\x82\xa1b\x01\xa1a\x02", b"\xdb" + (1).to_bytes(4, "big") + b"x"]
    stub.AppendRecords(tank_pb2.AppendRecordsRequest(name="t", packed=packed[:2]))
    stub.AppendRecords(tank_pb2.AppendRecordsRequest(name="t", packed_items=packed[2]))
    strange = b"\x18\x02\xc0\x3e\x07"
    request = b"\x0a\x01t\x12" + bytes([len(strange)]) + strange
    channel_call = channel.unary_unary("/cellmesh.api.cryotank.v1.TankService/AppendRecords")
    channel_call(request)
    assert [item for _, _, item in rows(stub)] == [*packed, strange]
    assert from_value(value_pb2.Value.FromString(strange)) == 1
    broken = b"\x0a\x01t\x12\x02\x18\xff"
    assert type(failure_of(lambda: channel_call(broken))) is BadArg


@pytest.mark.parametrize(
    "packed", [[b""], [b"\x92\x01"], [b"\x92", b"\x01\x02"], [b"\x01\x02"], [b"\xc1"], [b"\x01", b"\xa5ab"]]
)
def test_what_is_not_one_item_of_msgpack_is_refused(stub: Any, packed: list[bytes]) -> None:
    create(stub)
    error = failure_of(lambda: stub.AppendRecords(tank_pb2.AppendRecordsRequest(name="t", packed=packed)))
    assert type(error) is BadArg
    assert rows(stub) == []


@pytest.mark.parametrize(
    ("items", "index"),
    [(b"\x92\x01", 0), (b"\x01\x02\xc1", 2), (b"\x01\xa5ab", 1), (b"\x91" * 5000 + b"\x01", 0)],
)
def test_items_one_after_the_other_are_refused_from_the_first_that_is_none(
    stub: Any, items: bytes, index: int
) -> None:
    create(stub)
    error = failure_of(
        lambda: stub.AppendRecords(tank_pb2.AppendRecordsRequest(name="t", packed_items=items))
    )
    assert (type(error), error.get("index")) == (BadArg, index)
    too_much = b"\xc6" + (APPEND_SIZE_MAX).to_bytes(4, "big") + bytes(APPEND_SIZE_MAX)
    error = failure_of(
        lambda: stub.AppendRecords(tank_pb2.AppendRecordsRequest(name="t", packed_items=too_much))
    )
    assert type(error) is BadArg
    assert rows(stub) == []


def test_an_append_of_two_forms_is_refused(stub: Any) -> None:
    create(stub)
    forms = {"packed": [b"\x01"], "values": [to_value(1)], "packed_items": b"\x01"}
    for left_out in forms:
        two = {name: value for name, value in forms.items() if name != left_out}
        request = tank_pb2.AppendRecordsRequest(name="t", **two)
        assert type(failure_of(lambda request=request: stub.AppendRecords(request))) is BadArg


def test_a_stream_of_appends_is_acknowledged_in_order(cell: CryotankCell, stub: Any) -> None:
    create(stub)
    requests = (
        tank_pb2.AppendStreamRequest(name="" if number else "t", packed=[msgpack.encode(number)] * 100)
        for number in range(200)
    )
    commits = cell.slab.commit_count
    answers = list(stub.AppendStream(requests))
    assert sum(answer.request_count for answer in answers) == 200
    assert [answer.offset for answer in answers] == [
        100 * sum(answer.request_count for answer in answers[:index]) for index in range(len(answers))
    ]
    assert [msgpack.decode(item) for _, _, item in rows(stub)] == [
        number for number in range(200) for _ in range(100)
    ]
    assert cell.slab.commit_count - commits == len(answers)


def test_a_stream_of_appends_is_taken_as_fast_as_the_disk_takes_it(cell: CryotankCell, stub: Any) -> None:
    """What is sent and not yet stored is bounded, however fast the client is."""
    create(stub)
    sent = 0
    may_write = threading.Event()
    original = cell.store.append_all

    def slow(*args: Any) -> Any:
        may_write.wait(20)
        return original(*args)

    cell.store.append_all = slow  # type: ignore[method-assign]

    def requests() -> Iterator[tank_pb2.AppendStreamRequest]:
        nonlocal sent
        for _ in range(400):
            sent += 1
            yield tank_pb2.AppendStreamRequest(name="t", packed=[msgpack.encode(bytes(250_000))])

    answers = stub.AppendStream(requests())
    before = -1
    while sent != before:
        before = sent
        time.sleep(0.3)
    assert 1 < sent < 200
    may_write.set()
    assert sum(answer.count for answer in answers) == 400


def test_an_error_ends_a_stream_of_appends_and_keeps_what_was_before(stub: Any) -> None:
    create(stub)

    def requests() -> Iterator[tank_pb2.AppendStreamRequest]:
        yield tank_pb2.AppendStreamRequest(name="t", packed=[b"\x01"])
        time.sleep(0.3)
        yield tank_pb2.AppendStreamRequest(name="other", packed=[b"\x02"])

    answers = stub.AppendStream(requests())
    assert next(answers).count == 1
    assert type(failure_of(lambda: list(answers))) is BadArg
    assert [item for _, _, item in rows(stub)] == [b"\x01"]
    none = iter([tank_pb2.AppendStreamRequest(name="none", packed=[b"\x01"])])
    assert type(failure_of(lambda: list(stub.AppendStream(none)))) is NoSuchTank


def test_thousands_of_readers_wait_without_a_thread_each(cell: CryotankCell) -> None:
    async def run() -> None:
        async with AsyncExitStack() as channels:
            stubs: list[Any] = []
            for _ in range(CONNECTION_COUNT):
                options = [("grpc.use_local_subchannel_pool", 1)]
                channel = grpc.aio.insecure_channel(cell.tcp_address, options=options)
                stubs.append(
                    tank_service_pb2_grpc.TankServiceStub(await channels.enter_async_context(channel))
                )
            await stubs[0].CreateTank(tank_pb2.CreateTankRequest(name="t"))

            async def read(stub: Any) -> list[bytes]:
                found: list[bytes] = []
                async for message in stub.ReadRows(tank_pb2.ReadRowsRequest(name="t", wait=True, count=3)):
                    found += [item for run in message.runs for item in run.items]
                return found

            threads = threading.active_count()
            # All at once, as they come after a restart.
            readers = [
                asyncio.create_task(read(stubs[number % CONNECTION_COUNT])) for number in range(READER_COUNT)
            ]
            while cell.arrivals.count < READER_COUNT:
                await asyncio.sleep(0.02)
                ended = [reader for reader in readers if reader.done()]
                assert not ended, ended[0].exception()
            assert threading.active_count() - threads <= 16
            for number in range(3):
                await stubs[0].AppendRecords(
                    tank_pb2.AppendRecordsRequest(name="t", packed=[msgpack.encode(number)])
                )
            assert await asyncio.gather(*readers) == [[b"\x00", b"\x01", b"\x02"]] * READER_COUNT
        while cell.arrivals.count:
            await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(run(), 120))


def test_readers_miss_nothing_of_what_is_put_while_they_wait(cell: CryotankCell, stub: Any) -> None:
    create(stub)
    found: list[list[int]] = [[] for _ in range(8)]

    def read(into: list[int]) -> None:
        into += [offset for offset, _, _ in rows(stub, wait=True, count=3000)]

    readers = [threading.Thread(target=read, args=(into,)) for into in found]
    for reader in readers:
        reader.start()
    for _ in range(300):
        cell.store.append("t", Batch.of([b"\x01"] * 10, MSGPACK))
    for reader in readers:
        reader.join(20)
    assert found == [list(range(3000))] * 8


def test_a_wait_ends_with_its_time_and_with_its_reader(cell: CryotankCell, stub: Any) -> None:
    create(stub)
    cell.store.append("t", Batch.of([b"\x01"], MSGPACK))
    begin = time.monotonic()
    assert len(rows(stub, wait=True, timeout={"nanos": 200_000_000})) == 1
    assert 0.2 <= time.monotonic() - begin < 5
    assert type(failure_of(lambda: rows(stub, wait=True, timeout={"seconds": -1}))) is BadArg
    reading = stub.ReadRecords(tank_pb2.ReadRecordsRequest(name="t", wait=True))
    next(reading)
    assert cell.arrivals.count == 1
    reading.cancel()
    end_s = time.monotonic() + 5
    while cell.arrivals.count and time.monotonic() < end_s:
        time.sleep(0.01)
    assert cell.arrivals.count == 0


def test_a_reader_that_waits_learns_that_its_tank_is_gone(cell: CryotankCell, stub: Any) -> None:
    create(stub)
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.append(failure_of(lambda: rows(stub, wait=True))))
    reader.start()
    while not cell.arrivals.count:
        time.sleep(0.01)
    stub.DeleteTank(tank_pb2.DeleteTankRequest(name="t"))
    create(stub)
    reader.join(10)
    assert type(found[0]) is NoSuchTank


def test_readers_that_wait_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    found: list[Any] = []
    with (
        running(CryotankCell(config_of(tmp_path / "c"))) as cell,
        grpc.insecure_channel(cell.tcp_address) as channel,
    ):
        stub = tank_service_pb2_grpc.TankServiceStub(channel)
        create(stub)
        reader = threading.Thread(target=lambda: found.append(failure_of(lambda: rows(stub, wait=True))))
        reader.start()
        while not cell.arrivals.count:
            time.sleep(0.01)
        begin = time.monotonic()
        # As the cell's own stop does first.
        asyncio.run_coroutine_threadsafe(_close(cell), _loop_of(cell)).result(5)
        reader.join(10)
    assert time.monotonic() - begin < 5
    assert type(found[0]) is ShuttingDown


def _loop_of(cell: CryotankCell) -> asyncio.AbstractEventLoop:
    assert cell.arrivals.loop is not None
    return cell.arrivals.loop


async def _close(cell: CryotankCell) -> None:
    cell.arrivals.close()


def test_a_tank_deleted_and_trimmed_while_it_is_read(cell: CryotankCell, stub: Any) -> None:
    create(stub)
    for _ in range(40):
        cell.store.append("t", Batch.of([msgpack.encode(bytes(100_000))] * 10, MSGPACK))
    reading = stub.ReadRows(tank_pb2.ReadRowsRequest(name="t"))
    seen = sum(len(run.items) for run in next(reading).runs)
    assert stub.TrimTank(tank_pb2.TrimTankRequest(name="t", offset=350)).removed_count == 350
    rest = [(run.offset, len(run.items)) for message in reading for run in message.runs]
    # What was read ahead, then what is left: in order, and without a record twice.
    offsets = [offset for start, count in rest for offset in range(start, start + count)]
    assert offsets == sorted(set(offsets))
    assert offsets[0] >= seen
    assert set(range(350, 400)) <= set(offsets)
    reading = stub.ReadRows(tank_pb2.ReadRowsRequest(name="t", wait=True))
    next(reading)
    stub.DeleteTank(tank_pb2.DeleteTankRequest(name="t"))
    assert type(failure_of(lambda: list(reading))) is NoSuchTank


def test_appends_are_told_with_their_times(cell: CryotankCell, stub: Any) -> None:
    create(stub)
    begin = time.time()
    cell.store.append("t", Batch.of([b"\x01"] * 3, MSGPACK))
    cell.store.append("t", Batch.of([to_value("x").SerializeToString()]))
    cell.store.append("t", Batch.of([msgpack.encode(bytes(100_000))] * 9, MSGPACK))
    request = tank_pb2.ListAppendsRequest(name="t", offset=1)
    found = [item for message in stub.ListAppends(request) for item in message.appends]
    assert [(item.offset, item.count, item.form) for item in found] == [
        (0, 3, 1), (3, 1, 0), (4, 3, 1), (7, 3, 1), (10, 3, 1),
    ]  # fmt: skip
    assert sum(item.size_bytes for item in found) == cell.store.metrics("t").size
    assert all(begin - 1 <= item.append_time.ToMicroseconds() / 1e6 <= time.time() for item in found)
    one = tank_pb2.ListAppendsRequest(name="t", offset=3, count=1)
    assert [item.offset for message in stub.ListAppends(one) for item in message.appends] == [3]


def test_limits_are_kept_in_the_background(cell: CryotankCell, stub: Any) -> None:
    stub.CreateTank(tank_pb2.CreateTankRequest(name="t", config=tank_pb2.TankConfig(count_max=25)))
    for _ in range(10):
        stub.AppendRecords(tank_pb2.AppendRecordsRequest(name="t", packed=[b"\x01"] * 10))
    end_s = time.monotonic() + 10
    while cell.store.metrics("t").record_count > 25 and time.monotonic() < end_s:
        time.sleep(0.05)
    info = stub.GetTank(tank_pb2.GetTankRequest(name="t")).info
    assert (info.record_count, info.first_offset, info.next_offset) == (25, 75, 100)
    assert info.tank.config.count_max == 25
    assert [offset for offset, _, _ in rows(stub, count=3)] == [75, 76, 77]
    bad = tank_pb2.UpdateTankRequest(name="t", config=tank_pb2.TankConfig(age_max={"seconds": -5}))
    assert type(failure_of(lambda: stub.UpdateTank(bad))) is BadArg


def test_a_consumer_is_read_from_where_it_is(stub: Any) -> None:
    create(stub)
    stub.AppendRecords(tank_pb2.AppendRecordsRequest(name="t", packed=[b"\x01"] * 10))
    assert len(rows(stub, consumer="c")) == 10
    request = tank_pb2.SetConsumerRequest(name="t", consumer="c", offset=7)
    assert stub.SetConsumer(request).consumer.offset == 7
    assert [offset for offset, _, _ in rows(stub, consumer="c")] == [7, 8, 9]
    back = tank_pb2.SetConsumerRequest(name="t", consumer="c", offset=2, forward_only=True)
    assert stub.SetConsumer(back).consumer.offset == 7
    far = tank_pb2.SetConsumerRequest(name="t", consumer="c", offset=11)
    assert type(failure_of(lambda: stub.SetConsumer(far))) is BadArg
    assert [
        item.consumer for item in stub.ListConsumers(tank_pb2.ListConsumersRequest(name="t")).consumers
    ] == ["c"]
    assert stub.DeleteConsumer(tank_pb2.DeleteConsumerRequest(name="t", consumer="c")).deleted
    assert not stub.DeleteConsumer(tank_pb2.DeleteConsumerRequest(name="t", consumer="c")).deleted
