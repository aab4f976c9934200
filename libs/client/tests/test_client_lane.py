"""Calls on lanes: what a pipeline does with a window, what Storm queries of a client do on one stream, and who is hostile."""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from contextlib import AbstractContextManager

import client_trial
from cellmesh.api.common.v1 import pipeline_service_pb2 as pb
from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.client import CellClient, open_cell, open_cell_aio
from cellmesh.client import lane as lane_module
from cellmesh.client.lane import PIPELINE_PATH, WINDOW_SIZE
from cellmesh.common.errors import (
    BadArg,
    BadSyntax,
    CellUnreachable,
    DeadlineExceeded,
    LimitExceeded,
    from_rpc_error,
    from_status,
)
from cellmesh.common.rpc import RpcServer, Service, TcpListener
from cellmesh.common.rpc.pipeline import OPEN_COUNT_MAX, UNSENT_SIZE_MAX
from cellmesh.testing import trial
from client_trial import CountServicer, CountStub, CuttingProxy, calls_of
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import status_pb2

client_trial.descriptor()

WAIT_S = 30.0
WATCH = f"{client_trial.PATH}Watch"
READ = f"{client_trial.PATH}Read"


def value(text: str) -> StringValue:
    return StringValue(value=text)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for a condition."""
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.01)


def serving(servicer: Any) -> AbstractContextManager[str]:
    """A server of the trial's service in a thread of its own; gives its address."""
    service = Service(client_trial.descriptor(), servicer, client_trial.PERMISSIONS)
    return trial.serving(RpcServer("trial", [service], [TcpListener("127.0.0.1:0")], stop_grace_s=0.5))


class Endless:
    """Watch streams without end, Read answers at once. Counts what it made and how many streams run."""

    def __init__(self, size: int = 10_000) -> None:
        self.made = 0
        self.running = 0
        self.request_ids: list[str] = []
        self._message = value("x" * size)

    async def Read(self, request: StringValue, context: Any) -> StringValue:
        self.request_ids += [value for key, value in context.invocation_metadata() if key == "x-request-id"]
        return request

    Set = Add = Read

    async def Watch(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        self.running += 1
        try:
            while True:
                if request.value == "silent":
                    await asyncio.sleep(WAIT_S)
                self.made += 1
                yield self._message
                await asyncio.sleep(0)
        finally:
            self.running -= 1


class Talk:
    """A pipeline by a stock client that does as it likes."""

    def __init__(self, address: str) -> None:
        self.answers: list[pb.PipelineAnswer] = []
        self.error: Exception | None = None
        self._channel = grpc.insecure_channel(address)
        self._sent: queue.SimpleQueue[pb.PipelineRequest | None] = queue.SimpleQueue()
        self._call: Any = self._channel.stream_stream(
            PIPELINE_PATH, pb.PipelineRequest.SerializeToString, pb.PipelineResponse.FromString
        )(iter(self._sent.get, None))
        self._reader = threading.Thread(target=self._read, daemon=True)

    def read(self) -> None:
        """Begin to read answers."""
        self._reader.start()

    def send(self, *calls: pb.PipelineCall, **fields: Any) -> None:
        """Send a message."""
        self._sent.put(pb.PipelineRequest(calls=calls, **fields))

    def wait_for_error(self) -> None:
        """Wait until the stream has failed."""
        until(lambda: self.error is not None)

    def of(self, call_id: int) -> list[pb.PipelineAnswer]:
        """The answers of a call."""
        return [answer for answer in list(self.answers) if answer.call_id == call_id]

    def _read(self) -> None:
        try:
            for response in self._call:
                self.answers.extend(response.answers)
        except grpc.RpcError as error:
            self.error = from_rpc_error(error)

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *args: object) -> None:
        self._sent.put(None)
        self._call.cancel()
        self._channel.close()


def watch(call_id: int, window: int = WINDOW_SIZE, text: str = "") -> pb.PipelineCall:
    """A call of the stream."""
    request = value(text).SerializeToString()
    return pb.PipelineCall(call_id=call_id, method=WATCH, request=request, window=window)


def ask(call_id: int, text: str = "a", **fields: Any) -> pb.PipelineCall:
    """A call with one answer."""
    return pb.PipelineCall(call_id=call_id, method=READ, request=value(text).SerializeToString(), **fields)


def error_of(answer: pb.PipelineAnswer) -> Exception:
    """The error of an answer."""
    return from_status(status_pb2.Status.FromString(answer.error.status))


# The wire.


def test_a_stream_comes_message_by_message_and_its_end_is_told(tmp_path: Path) -> None:
    with serving(CountServicer(tmp_path)) as address, Talk(address) as talk:
        talk.read()
        talk.send(watch(7, text="a"), ask(8), watch(9, text="refuse"))
        until(lambda: len(talk.answers) == 6)
        assert [(answer.more, answer.WhichOneof("outcome")) for answer in talk.of(7)] == [
            (True, "response"),
            (True, "response"),
            (True, "response"),
            (False, None),
        ]
        assert [StringValue.FromString(answer.response).value for answer in talk.of(7)[:3]] == ["a"] * 3
        assert StringValue.FromString(talk.of(8)[0].response).value == "a"
        assert isinstance(error_of(talk.of(9)[0]), BadArg)


def test_what_is_not_granted_is_not_made_and_holds_up_nobody() -> None:
    """Three streams whose client grants nothing, read or not."""
    endless = Endless()
    with serving(endless) as address, Talk(address) as talk:
        talk.read()
        talk.send(*(watch(number, 100_000) for number in (1, 2, 3)))
        until(lambda: all(sum(len(a.response) for a in talk.of(n)) > 99_000 for n in (1, 2, 3)))
        made = endless.made
        talk.send(ask(4, request_id="mine"))
        until(lambda: bool(talk.of(4)))
        assert endless.request_ids == ["mine"]
        # Each has made the message for which there is no room, and no other.
        assert made <= endless.made <= 3 * (100_000 // 10_000 + 2)
        before = len(talk.of(2))
        talk.send(grants=[pb.PipelineGrant(call_id=2, size=50_000), pb.PipelineGrant(call_id=99, size=5)])
        until(lambda: len(talk.of(2)) > before)
        assert endless.running == 3


def test_absurd_grants_and_a_client_that_reads_nothing_fill_no_memory() -> None:
    endless = Endless(100_000)
    with serving(endless) as address, Talk(address) as talk:
        talk.send(*(watch(number, 2**63) for number in range(1, 9)))
        for _ in range(20):
            talk.send(grants=[pb.PipelineGrant(call_id=number, size=2**64 - 1) for number in range(1, 9)])
        until(lambda: endless.running == 8)
        # What the stream holds, what gRPC and two sockets hold of it, and one of each call: far from endless.
        seen = -1
        while seen != endless.made:
            seen = endless.made
            time.sleep(0.5)
        assert endless.made * 100_000 < 8 * UNSENT_SIZE_MAX
        talk.read()
        until(lambda: endless.made > 2 * seen)


def test_a_cancelled_call_ends_and_is_not_answered() -> None:
    endless = Endless()
    with serving(endless) as address, Talk(address) as talk:
        talk.read()
        talk.send(watch(1), watch(2, text="silent"))
        until(lambda: endless.running == 2 and bool(talk.of(1)))
        talk.send(cancelled_call_ids=[1, 2, 77])
        until(lambda: endless.running == 0)
        talk.send(ask(3))
        until(lambda: bool(talk.of(3)))
        assert talk.of(2) == []
        assert all(answer.more for answer in talk.of(1))


def test_the_deadline_of_a_stream_ends_it_alone() -> None:
    endless = Endless()
    with serving(endless) as address, Talk(address) as talk:
        talk.read()
        late = watch(1, text="silent")
        late.timeout.FromMilliseconds(100)
        talk.send(late, watch(2, text="silent"))
        until(lambda: bool(talk.of(1)))
        assert isinstance(error_of(talk.of(1)[0]), DeadlineExceeded)
        assert endless.running == 1


def test_thousands_of_open_calls_are_refused_and_those_that_run_go_with_their_stream() -> None:
    endless = Endless()
    with serving(endless) as address, Talk(address) as talk:
        talk.read()
        for first in (1, 1001):
            talk.send(*(watch(first + number, text="silent") for number in range(1000)))
        until(lambda: len(talk.answers) == 2000 - OPEN_COUNT_MAX)
        assert isinstance(error_of(talk.answers[-1]), LimitExceeded)
        assert endless.running == OPEN_COUNT_MAX
        talk.send(ask(5000))
        until(lambda: bool(talk.of(5000)))
    until(lambda: endless.running == 0)


def test_a_number_in_use_ends_the_stream() -> None:
    endless = Endless()
    with serving(endless) as address, Talk(address) as talk:
        talk.read()
        talk.send(watch(1, text="silent"), watch(1, text="silent"))
        until(lambda: talk.error is not None)
        assert isinstance(talk.error, BadArg)
        until(lambda: endless.running == 0)


def test_a_message_with_very_many_grants_or_ids_is_refused() -> None:
    with serving(Endless()) as address:
        for fields in (
            {"grants": [pb.PipelineGrant(call_id=1, size=1)] * 1001},
            {"cancelled_call_ids": [5] * 1001},
        ):
            with Talk(address) as talk:
                talk.read()
                talk.send(**fields)
                talk.wait_for_error()
                assert isinstance(talk.error, LimitExceeded)


# The client.


@pytest.fixture
def trial_on_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial's methods travel on lanes."""
    paths = frozenset(client_trial.PATH + name for name in client_trial.METHODS)
    monkeypatch.setattr("cellmesh.client.aio.LANE_PATHS", paths)
    monkeypatch.setattr("cellmesh.client.blocking.LANE_PATHS", paths)


@pytest.mark.usefixtures("trial_on_lanes")
def test_a_cut_lane_repeats_what_is_safe_and_says_of_the_rest_that_nobody_knows(tmp_path: Path) -> None:
    with serving(CountServicer(tmp_path)) as address:
        proxy = CuttingProxy(address)
        with open_cell(f"grpc://{proxy.address}") as client, futures.ThreadPoolExecutor(10) as pool:
            stub = client.stub(CountStub)
            stub.Read(value("first"))
            reads = [pool.submit(stub.Read, value(f"slow read {i}")) for i in range(4)]
            adds = [pool.submit(stub.Add, value(f"slow add {i}")) for i in range(4)]
            until(lambda: len(calls_of(tmp_path)) == 9)
            assert proxy.cut() == 1
            assert [read.result(WAIT_S).value for read in reads] == [f"slow read {i}" for i in range(4)]
            for add in adds:
                error = add.exception(WAIT_S)
                assert isinstance(error, CellUnreachable)
                assert "may have been carried out" in error.hint
        proxy.close()
    for i in range(4):
        assert calls_of(tmp_path).count(f"Add slow add {i}") == 1
        assert calls_of(tmp_path).count(f"Read slow read {i}") == 2


@pytest.mark.usefixtures("trial_on_lanes")
def test_an_instance_that_leads_no_more_sends_the_calls_of_a_lane_on(tmp_path: Path) -> None:
    """Also one in the midst of others on the same stream, which go on where they are."""
    (tmp_path / "new").mkdir()
    (tmp_path / "old").mkdir()
    old = CountServicer(tmp_path / "old", "old")
    with (
        serving(CountServicer(tmp_path / "new", "new")) as new_address,
        serving(old) as address,
        open_cell(f"grpc://{address}") as client,
        futures.ThreadPoolExecutor(4) as pool,
    ):
        stub = client.stub(CountStub)
        assert stub.Add(value("a")).value == "old"
        running = [pool.submit(stub.Read, value("slow")) for _ in range(3)]
        until(lambda: len(calls_of(tmp_path / "old")) == 4)
        old.leader = new_address
        assert stub.Add(value("b")).value == "new"
        assert [read.result(WAIT_S).value for read in running] == ["old"] * 3
    assert calls_of(tmp_path / "new") == ["Add b"]


@pytest.mark.usefixtures("trial_on_lanes")
def test_a_window_is_granted_anew_as_it_is_read_in_both_faces() -> None:
    endless = Endless(50_000)

    async def main(address: str) -> None:
        async with open_cell_aio(f"grpc://{address}") as client:
            stub = client.stub(CountStub)
            stream = stub.Watch(value(""))
            for _ in range(5 * WINDOW_SIZE // 50_000):
                await anext(stream)
            assert (await stub.Read(value("between"))).value == "between"
            stream.cancel()
            await asyncio.to_thread(until, lambda: endless.running == 0)

    with serving(endless) as address:
        with open_cell(f"grpc://{address}") as client:
            stub = client.stub(CountStub)
            stream = stub.Watch(value(""))
            for _ in range(5 * WINDOW_SIZE // 50_000):
                next(stream)
            assert stub.Read(value("between")).value == "between"
            del stream
            gc.collect()
            until(lambda: endless.running == 0)
        asyncio.run(main(address))


@pytest.mark.usefixtures("trial_on_lanes")
def test_a_client_that_is_dropped_leaves_no_thread_behind(tmp_path: Path) -> None:
    def lanes() -> int:
        return sum(thread.name == "cell-lane" for thread in threading.enumerate())

    with serving(CountServicer(tmp_path)) as address:
        before = lanes()
        client = open_cell(f"grpc://{address}")
        client.stub(CountStub).Read(value("a"))
        assert lanes() == before + 1
        del client
        gc.collect()
        until(lambda: lanes() <= before)


@pytest.mark.parametrize("has_pipeline", [True, False], ids=["without windows", "without a pipeline"])
def test_an_older_cell_gets_its_calls_one_by_one(has_pipeline: bool) -> None:
    opened = []

    def storm(request: storm_pb2.StormRequest, context: Any) -> Iterator[storm_pb2.StormResponse]:
        fini = storm_pb2.StormFini(node_count=3)
        yield storm_pb2.StormResponse(messages=[storm_pb2.StormMessage(fini=fini)])

    def pipeline(requests: Iterator[pb.PipelineRequest], context: Any) -> Iterator[pb.PipelineResponse]:
        opened.append(1)
        for request in requests:
            unknown = pb.PipelineError(code=12, message="Method not found!")
            yield pb.PipelineResponse(
                answers=[pb.PipelineAnswer(call_id=call.call_id, error=unknown) for call in request.calls]
            )

    server = grpc.server(futures.ThreadPoolExecutor(4))
    storm_handler = grpc.unary_stream_rpc_method_handler(
        storm, storm_pb2.StormRequest.FromString, storm_pb2.StormResponse.SerializeToString
    )
    handlers = {"cellmesh.api.cortex.v1.StormService": {"Storm": storm_handler}}
    if has_pipeline:
        pipeline_handler = grpc.stream_stream_rpc_method_handler(
            pipeline, pb.PipelineRequest.FromString, pb.PipelineResponse.SerializeToString
        )
        handlers["cellmesh.api.common.v1.CallService"] = {"Pipeline": pipeline_handler}
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers.items())
    )
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()

    async def main() -> None:
        async with open_cell_aio(f"grpc://{address}") as client:
            for _ in range(3):
                assert [m.fini.node_count async for m in client.storm("a").messages()] == [3]

    with open_cell(f"grpc://{address}") as client:
        for _ in range(3):
            assert [message.fini.node_count for message in client.storm("a").messages()] == [3]
    asyncio.run(main())
    assert len(opened) == (2 if has_pipeline else 0)
    server.stop(None)


# Storm.


class CortexProcess:
    """A Cortex in a process of its own, on a unix socket."""

    def __init__(self, folder: Path) -> None:
        self.url = f"unix://{folder}/cell.sock"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        (self._folder / "run.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "cellmesh.cli.main", "cortex", "serve", "--dir", str(self._folder)]
        self._process = subprocess.Popen([*command, "--log-level", "error"], stdin=subprocess.DEVNULL)
        until(lambda: (self._folder / "run.json").exists())

    def stop(self, by: signal.Signals) -> None:
        """End it."""
        assert self._process is not None
        self._process.send_signal(by)
        self._process.wait(WAIT_S)


@pytest.fixture(scope="module")
def cortex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CortexProcess]:
    made = CortexProcess(tmp_path_factory.mktemp("cortex"))
    with open_cell(made.url) as client:
        client.storm("for $i in $lib.range(4000) { [ it:dev:str=`text {$i}` ] } | spin").run()
    yield made
    made.stop(signal.SIGTERM)


def running_queries(client: CellClient, text: str) -> int:
    """How many queries of a text run at the Cortex."""
    tasks = client.storm("return($lib.ps.list())").value()
    return sum(text in str(task.get("info", task)) for task in tasks)


HEAVY = "it:dev:str it:dev:str it:dev:str it:dev:str"


def test_point_queries_pass_a_large_one_that_nobody_reads(cortex: CortexProcess) -> None:
    with open_cell(cortex.url) as client:
        heavy = iter(client.storm(HEAVY))
        next(heavy)
        for number in range(50):
            assert len(client.storm(f"it:dev:str='text {number}'").run()) == 1
        assert sum(1 for _ in heavy) == 4 * 4000 - 1

    async def main() -> None:
        async with open_cell_aio(cortex.url) as client:
            heavy = aiter(client.storm(HEAVY))
            await anext(heavy)

            async def points() -> None:
                for number in range(50):
                    assert len(await client.storm(f"it:dev:str='text {number}'").run()) == 1

            await points()
            counted, _ = await asyncio.gather(_count(heavy), points())
            assert counted == 4 * 4000 - 1

    asyncio.run(main())


async def _count(nodes: AsyncIterator[Any]) -> int:
    return sum([1 async for _ in nodes])


def test_errors_are_those_of_a_call_by_itself(cortex: CortexProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> dict[str, Any]:
        with open_cell(cortex.url) as client, pytest.raises(BadSyntax) as caught:
            client.storm("inet:fqdn=a |\n  +{").value()
        return {**caught.value.errinfo, "message": caught.value.message}

    on_lane = told()
    assert on_lane["line"] == 2
    monkeypatch.setattr("cellmesh.client.blocking.LANE_PATHS", frozenset())
    assert told() == on_lane


def test_many_threads_share_a_lane(cortex: CortexProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where more calls wait than one message holds."""
    monkeypatch.setattr(lane_module, "CALLS_IN_MESSAGE_MAX", 1)

    def work(first: int) -> int:
        return sum(len(client.storm(f"it:dev:str='text {first + n}'").run()) for n in range(20))

    with open_cell(cortex.url) as client, futures.ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(work, range(0, 320, 20))) == 320
        assert client.storm("it:dev:str").count() == 4000


def test_a_deadline_ends_the_query_at_the_cortex_too(cortex: CortexProcess) -> None:
    text = "$lib.time.sleep(20) // deadline"
    with open_cell(cortex.url) as other, open_cell(cortex.url, stream_timeout_s=0.5) as client:
        with pytest.raises(DeadlineExceeded):
            client.storm(text).run()
        with pytest.raises(DeadlineExceeded):
            client.storm(text).value()
        until(lambda: running_queries(other, "// deadline") == 0)


def test_an_interrupt_ends_the_query_at_the_cortex_too(cortex: CortexProcess) -> None:
    with open_cell(cortex.url) as client, open_cell(cortex.url) as other:

        def interrupt() -> None:
            until(lambda: running_queries(other, "// interrupted") == 1)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            client.storm("$lib.time.sleep(25) // interrupted").run()
        thread.join()
        until(lambda: running_queries(other, "// interrupted") == 0)
        assert client.storm("it:dev:str").count() == 4000


def test_a_task_that_is_cancelled_ends_its_query_alone(cortex: CortexProcess) -> None:
    async def main() -> None:
        async with open_cell_aio(cortex.url) as client:
            with open_cell(cortex.url) as other:
                task = asyncio.ensure_future(client.storm("$lib.time.sleep(25) // cancelled").run())
                await asyncio.to_thread(until, lambda: running_queries(other, "// cancelled") == 1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await asyncio.to_thread(until, lambda: running_queries(other, "// cancelled") == 0)
            assert await client.storm("it:dev:str").count() == 4000

    asyncio.run(main())


def test_calls_above_the_bounds_of_a_lane_are_made_by_themselves(
    cortex: CortexProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "REQUEST_SIZE_MAX", 100)
    monkeypatch.setattr(lane_module, "CALLS_MAX", 2)

    async def main() -> None:
        async with open_cell_aio(cortex.url) as client:
            asked = [client.storm(f"it:dev:str='text {n}'{' ' * n * 10}").run() for n in range(20)]
            assert [len(rows) for rows in await asyncio.gather(*asked)] == [1] * 20

    asyncio.run(main())


def test_a_lane_opens_again_when_the_cortex_has_restarted(cortex: CortexProcess) -> None:
    with open_cell(cortex.url) as client:
        client.storm("[ it:dev:int=1 ]").run()
        cut = iter(client.storm(HEAVY))
        next(cut)
        cortex.stop(signal.SIGKILL)
        with pytest.raises(CellUnreachable):
            list(cut)
        cortex.start()
        assert client.storm("it:dev:int", readonly=True).count() == 1
