"""The running calls of a real cell: listed, cancelled, ended with their user; and the level of its log."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc, task_service_pb2_grpc
from cellmesh.api.common.v1 import task_service_pb2 as pb
from cellmesh.common.auth.context import current_call
from cellmesh.common.cell import Cell, running
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import (
    AuthDeny,
    BadArg,
    Cancelled,
    CellError,
    NoSuchIden,
    from_rpc_error,
)
from cellmesh.common.rpc import Level, Permission, Service
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.storage import SubDb
from cellmesh.testing.trial import Shape, trial_service
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BytesValue
from grpc_health.v1 import health_pb2, health_pb2_grpc

FACTS = SubDb("facts", "name -> what it is")
PACKAGE = "cellmesh.trial.tasks.v1"
PATH = f"/{PACKAGE}.WorkService/"
METHODS = {"Sleep": False, "Think": False, "Tick": True, "Flood": True}
PERMISSIONS = {PATH + name: Permission(Level.MEMBER, f"work.{name.lower()}") for name in METHODS}


def work_descriptor() -> Any:
    return trial_service(f"{PACKAGE}.WorkService", {name: Shape(down=down) for name, down in METHODS.items()})


class WorkServicer:
    """Work of each kind that does not end by itself."""

    def __init__(self, cell: WorkCell) -> None:
        self._cell = cell
        self.ended: list[str] = []

    async def Sleep(self, request: BytesValue, context: Any) -> BytesValue:
        current_call().text = request.value.decode()
        if request.value != b"short":
            await asyncio.sleep(60)
        return request

    async def Think(self, request: BytesValue, context: Any) -> BytesValue:
        """Blocking work in a thread."""

        def think(token: CancelToken) -> None:
            token.wait(60)
            self.ended.append("think")

        await self._cell.workers.run_long(think)
        return request

    async def Tick(self, request: BytesValue, context: Any) -> AsyncIterator[BytesValue]:
        yield request
        try:
            await asyncio.sleep(60)
        finally:
            self.ended.append("tick")

    async def Flood(self, request: BytesValue, context: Any) -> AsyncIterator[BytesValue]:
        """More than any client takes."""

        def produce(token: CancelToken) -> Iterator[bytes]:
            try:
                while True:
                    yield b"x" * 100_000
            finally:
                self.ended.append("flood")

        async for message in self._cell.workers.stream(
            produce, pack=lambda items: BytesValue(value=b"".join(items))
        ):
            yield message


class WorkConfig(CellConfig):
    kind: ClassVar[str] = "work"


class WorkCell(Cell[WorkConfig]):
    kind = "work"
    databases = (FACTS,)

    def services(self) -> tuple[Service, ...]:
        self.servicer = WorkServicer(self)
        return (Service(work_descriptor(), self.servicer, PERMISSIONS),)


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[WorkCell]:
    config = load_config(WorkConfig, dir=tmp_path / "cell", flags={"stop_grace_s": 1.0}, environ={})
    with running(WorkCell(config)) as made:
        for name in ("alice", "bob"):
            made.auth.add_user(name)
        yield made


class Person:
    """Somebody who calls, root without a name."""

    def __init__(self, cell: WorkCell, name: str = "") -> None:
        self.channel = open_channel(f"unix:{cell.folder.socket_path}")
        self.tasks = task_service_pb2_grpc.TaskServiceStub(self.channel)
        self.cell = cell_service_pb2_grpc.CellServiceStub(self.channel)
        self.metadata: tuple[tuple[str, str], ...] = ()
        if name:
            self.metadata = (("authorization", f"Bearer {cell.passwords.make_key(name, 'trial')[1]}"),)

    def list(self, **fields: Any) -> list[pb.Task]:
        return list(
            self.tasks.ListTasks(pb.ListTasksRequest(**fields), metadata=self.metadata, timeout=10).tasks
        )

    def cancel(self, task_id: str) -> pb.Task:
        return ours(
            lambda: (
                self.tasks.CancelTask(
                    pb.CancelTaskRequest(task_id=task_id), metadata=self.metadata, timeout=10
                ).task
            )
        )

    def work(self, name: str, text: str = "", metadata: tuple[tuple[str, str], ...] = ()) -> Any:
        """A call: of one answer as a future, else the stream."""
        kind = self.channel.unary_stream if METHODS[name] else self.channel.unary_unary
        method = kind(PATH + name, BytesValue.SerializeToString, BytesValue.FromString)
        request = BytesValue(value=text.encode())
        start = method if METHODS[name] else method.future
        return start(request, metadata=(*self.metadata, *metadata), timeout=30)


def ours(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None


@pytest.fixture
def people(cell: WorkCell) -> Iterator[dict[str, Person]]:
    found = {name: Person(cell, "" if name == "root" else name) for name in ("root", "alice", "bob")}
    yield found
    for person in found.values():
        person.channel.close()


def wait_for(what: Callable[[], Any]) -> Any:
    """What it gives as soon as that is true."""
    end = time.monotonic() + 10
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


def end_of(call: Any, *, streams: bool = False) -> CellError:
    """The error that a call ends with; what comes before it is taken."""
    with pytest.raises(CellError) as told:
        ours(lambda: [*call] if streams else call.result())
    return told.value


def test_running_calls_are_listed_to_administrators_and_to_their_own(people: dict[str, Person]) -> None:
    call = people["alice"].work("Sleep", "deep" * 500, (("x-request-id", "trip-7"),))
    (task,) = wait_for(lambda: people["root"].list(caller="alice"))
    assert (task.method, task.caller, task.request_id) == (PATH + "Sleep", "alice", "trip-7")
    assert task.text == ("deep" * 500)[:1000]
    assert (bool(task.user_id), task.peer[:5], task.parent_cell) == (True, "unix:", "")
    assert abs(task.start_time.ToSeconds() - time.time()) < 10
    time.sleep(0.02)
    assert people["root"].list(request_id="trip-7")[0].duration.ToNanoseconds() >= 20_000_000
    assert people["root"].list(request_id="trip-8") == []
    assert [found.task_id for found in people["alice"].list()] == [task.task_id]
    assert people["bob"].list() == []
    with pytest.raises(NoSuchIden):
        people["bob"].cancel(task.task_id)
    assert people["alice"].cancel(task.task_id).task_id == task.task_id
    error = end_of(call)
    assert isinstance(error, Cancelled)
    assert "cancelled by alice" in error.message
    assert people["root"].list() == []
    with pytest.raises(NoSuchIden):
        people["root"].cancel(task.task_id)


@pytest.mark.parametrize("name", list(METHODS))
def test_a_call_of_any_kind_is_cancelled_whatever_it_waits_for(
    cell: WorkCell, people: dict[str, Person], name: str
) -> None:
    call = people["alice"].work(name, "x")
    if METHODS[name]:
        next(call)
    if name == "Flood":
        # Until it waits for its client.
        time.sleep(0.2)
    (task,) = wait_for(lambda: people["root"].list(caller="alice"))
    people["root"].cancel(task.task_id)
    error = end_of(call, streams=METHODS[name])
    assert isinstance(error, Cancelled)
    assert "cancelled by root" in error.message
    if name != "Sleep":
        wait_for(lambda: cell.servicer.ended == [name.lower()])
    assert people["root"].list() == []
    # And nobody else is harmed.
    assert people["alice"].work("Sleep", "short").result().value == b"short"


@pytest.mark.parametrize("end", ["lock", "archive", "delete"])
def test_the_calls_of_a_user_who_may_do_nothing_more_end_at_once(
    cell: WorkCell, people: dict[str, Person], end: str
) -> None:
    calls = {name: people["alice"].work(name, "x") for name in METHODS}
    other = people["bob"].work("Tick", "x")
    next(other)
    wait_for(lambda: len(people["root"].list(caller="alice")) == len(METHODS))
    match end:
        case "lock":
            cell.auth.update_user("alice", locked=True)
        case "archive":
            cell.auth.update_user("alice", archived=True)
        case "delete":
            cell.auth.delete_user("alice")
    begin = time.monotonic()
    for name, call in calls.items():
        error = end_of(call, streams=METHODS[name])
        assert isinstance(error, AuthDeny)
        assert "its calls are ended" in error.message
    assert time.monotonic() - begin < 5
    assert [task.caller for task in people["root"].list()] == ["bob"]
    other.cancel()


def test_clients_that_go_away_leave_nothing_behind(cell: WorkCell, people: dict[str, Person]) -> None:
    calls = [people["alice"].work(name, "x") for name in METHODS for _ in range(5)]
    wait_for(lambda: len(people["root"].list()) == len(calls))
    for call in calls:
        call.cancel()
    wait_for(lambda: people["root"].list() == [])
    assert not cell.tasks.running or wait_for(lambda: not cell.tasks.running)


def test_many_calls_at_once_are_numbered_apart(people: dict[str, Person]) -> None:
    calls: list[Future[Any]] = [people["alice"].work("Sleep", "x") for _ in range(100)]
    tasks = wait_for(lambda: len(found := people["root"].list()) == 100 and found)
    assert len({task.task_id for task in tasks}) == 100
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda task: people["alice"].cancel(task.task_id), tasks))
    assert all(isinstance(end_of(call), Cancelled) for call in calls)


def test_health_is_told_for_the_cell_and_each_service(people: dict[str, Person]) -> None:
    health = health_pb2_grpc.HealthStub(people["root"].channel)
    statuses = health.List(health_pb2.HealthListRequest(), timeout=10).statuses
    common = "cellmesh.api.common.v1."
    services = {f"{common}{name}Service" for name in ("Auth", "Backup", "Cell", "KeyValue", "Task")}
    assert {"", f"{PACKAGE}.WorkService", *services} <= set(statuses)
    assert {found.status for found in statuses.values()} == {health_pb2.HealthCheckResponse.SERVING}


def set_level(person: Person, logger: str, level: str, seconds: float = 0) -> dict[str, str]:
    request = cell_service_pb2.SetLogLevelRequest(
        logger=logger, level=cell_service_pb2.LogLevel.Value(f"LOG_LEVEL_{level}")
    )
    if seconds:
        request.duration.CopyFrom(Duration(nanos=int(seconds * 1e9) % 10**9, seconds=int(seconds)))
    answer = ours(lambda: person.cell.SetLogLevel(request, metadata=person.metadata, timeout=10))
    return named(answer.levels)


def get_levels(person: Person) -> dict[str, str]:
    request = cell_service_pb2.GetLogLevelRequest()
    return named(ours(lambda: person.cell.GetLogLevel(request, metadata=person.metadata, timeout=10)).levels)


def named(levels: Any) -> dict[str, str]:
    return {found.logger: cell_service_pb2.LogLevel.Name(found.level)[10:] for found in levels}


def test_the_log_level_is_set_for_a_time_or_for_good(people: dict[str, Person]) -> None:
    root = people["root"]
    before = get_levels(root)
    assert list(before) == ["cellmesh"]
    logger = logging.getLogger("cellmesh.common.trial")
    assert not logger.isEnabledFor(logging.DEBUG)
    assert set_level(root, "cellmesh.common", "DEBUG", 0.3) == {**before, "cellmesh.common": "DEBUG"}
    assert logger.isEnabledFor(logging.DEBUG)
    wait_for(lambda: not logger.isEnabledFor(logging.DEBUG))
    assert get_levels(root) == before
    assert set_level(root, "", "ERROR") == {"cellmesh": "ERROR"}
    assert not logger.isEnabledFor(logging.WARNING)
    assert set_level(root, "", "UNSPECIFIED") == before
    with pytest.raises(BadArg):
        set_level(root, "no such name", "DEBUG")
    with pytest.raises(BadArg):
        set_level(root, "cellmesh", "DEBUG", 100_000)
    with pytest.raises(AuthDeny):
        set_level(people["alice"], "cellmesh", "DEBUG")
    with pytest.raises(AuthDeny):
        get_levels(people["alice"])


def test_levels_go_back_when_the_cell_stops(tmp_path: Path) -> None:
    config = load_config(WorkConfig, dir=tmp_path / "cell", environ={})
    logger = logging.getLogger("cellmesh.common")
    before = logger.level
    with running(WorkCell(config)) as cell:
        set_level(Person(cell), "cellmesh.common", "DEBUG")
        assert logger.level == logging.DEBUG
    assert logger.level == before


def test_a_thread_may_change_users_while_calls_come_and_go(cell: WorkCell, people: dict[str, Person]) -> None:
    """A call is either refused or ended, never left running for a user who is locked."""
    stop = threading.Event()

    def turn() -> None:
        while not stop.is_set():
            cell.auth.update_user("alice", locked=True)
            cell.auth.update_user("alice", locked=False)
        cell.auth.update_user("alice", locked=True)

    thread = threading.Thread(target=turn)
    thread.start()
    calls = [people["alice"].work("Sleep", "x") for _ in range(60)]
    time.sleep(0.2)
    stop.set()
    thread.join()
    for call in calls:
        assert isinstance(end_of(call), AuthDeny)
