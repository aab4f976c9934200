"""Pipelines against real servers: what they answer, refuse, repeat and bound, in both faces."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import client_trial
from cellmesh.api.common.v1 import auth_service_pb2, auth_service_pb2_grpc
from cellmesh.api.common.v1 import pipeline_service_pb2 as pb
from cellmesh.client import CellClient, open_cell, open_cell_aio
from cellmesh.client.lane import PIPELINE_PATH
from cellmesh.client.pipelining import OPEN_CALLS_MAX
from cellmesh.common.errors import (
    AuthDeny,
    BadArg,
    Cancelled,
    CellUnreachable,
    DeadlineExceeded,
    FeatureNotSupported,
    IsFini,
    LimitExceeded,
    NoSuchUser,
    ShuttingDown,
    from_rpc_error,
    from_status,
)
from cellmesh.common.rpc import Permission, TcpListener
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.server import RpcServer
from cellmesh.common.rpc.service import Service
from cellmesh.testing.trial import serving
from client_trial import CountServicer, CountStub, CuttingProxy, calls_of
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import status_pb2
from login_kit import LoginCell, login_cell

client_trial.descriptor()

PASSWORD = "correct horse 4 battery"


def value(text: str) -> StringValue:
    return StringValue(value=text)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[CellClient]:
    server = client_trial.make_server(CountServicer(tmp_path), TcpListener("127.0.0.1:0"))
    with serving(server) as address, open_cell(f"grpc://{address}") as made:
        yield made


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[LoginCell]:
    with login_cell(tmp_path, PASSWORD) as made:
        yield made


def test_each_call_has_its_answer_or_its_error(client: CellClient, tmp_path: Path) -> None:
    stub = client.stub(CountStub)
    with client.pipeline() as pipeline:
        futures = [pipeline.call(stub.Read, value(f"{i}")) for i in range(2500)]
        refused = pipeline.call(stub.Add, value("refuse"))
    assert [future.result().value for future in futures] == [f"{i}" for i in range(2500)]
    with pytest.raises(BadArg, match="refused") as caught:
        refused.result()
    assert caught.value.get("name") == "refuse"
    assert len(calls_of(tmp_path)) == 2501


def test_calls_run_side_by_side_unless_order_is_asked_for(client: CellClient, tmp_path: Path) -> None:
    stub = client.stub(CountStub)
    began = time.monotonic()
    with client.pipeline(concurrency=10) as pipeline:
        for i in range(10):
            pipeline.call(stub.Read, value(f"slow {i}"))
        quick = pipeline.call(stub.Read, value("quick"))
    assert time.monotonic() - began < 4 * client_trial.SLOW_S
    (tmp_path / "calls").unlink()
    done: list[str] = []
    with client.pipeline(in_order=True) as pipeline:
        for text in ("slow 1", "2", "3", "4"):
            future = pipeline.call(stub.Read, value(text))
            future.add_done_callback(lambda future: done.append(future.result().value))
    assert done == ["slow 1", "2", "3", "4"]
    assert calls_of(tmp_path) == ["Read slow 1", "Read 2", "Read 3", "Read 4"]
    assert quick.result().value == "quick"


def test_the_asyncio_face_does_the_same(tmp_path: Path) -> None:
    async def main(address: str) -> None:
        async with open_cell_aio(f"grpc://{address}") as client:
            stub = client.stub(CountStub)
            async with client.pipeline() as pipeline:
                futures = [pipeline.call(stub.Read, value(f"{i}")) for i in range(1500)]
                assert (await futures[0]).value == "0"
                refused = pipeline.call(stub.Add, value("refuse"))
                late = pipeline.call(stub.Read, value("slow"), timeout=0.1)
            assert [future.result().value for future in futures] == [f"{i}" for i in range(1500)]
            assert isinstance(refused.exception(), BadArg)
            assert isinstance(late.exception(), DeadlineExceeded)
            with pytest.raises(IsFini):
                pipeline.call(stub.Read, value("a"))
            with pytest.raises(BadArg):
                client.pipeline().call(stub.Watch, value("a"))
            async with client.pipeline() as pipeline:
                for _ in range(OPEN_CALLS_MAX):
                    pipeline.call(stub.Read, value("many"))
                with pytest.raises(LimitExceeded):
                    pipeline.call(stub.Read, value("one more"))
                await pipeline.room()
                assert (await pipeline.call(stub.Read, value("last"))).value == "last"

    with serving(client_trial.make_server(CountServicer(tmp_path), TcpListener("127.0.0.1:0"))) as address:
        asyncio.run(main(address))


def test_a_block_left_by_an_error_ends_at_once(client: CellClient) -> None:
    stub = client.stub(CountStub)
    began = time.monotonic()
    futures = []

    def leave() -> None:
        with client.pipeline() as pipeline:
            futures.append(pipeline.call(stub.Read, value("slow")))
            raise KeyError("mine")

    with pytest.raises(KeyError):
        leave()
    assert time.monotonic() - began < client_trial.SLOW_S
    assert futures[0].exception() is not None
    assert stub.Read(value("a")).value == "a"


def test_a_call_that_is_cancelled_by_itself_leaves_the_others_alone(client: CellClient) -> None:
    stub = client.stub(CountStub)
    with client.pipeline(in_order=True) as pipeline:
        futures = [pipeline.call(stub.Add, value(text)) for text in ("a", "cancel", "b", "cancel", "c")]
    outcomes = [type(future.exception()) for future in futures]
    assert outcomes == [type(None), Cancelled, type(None), Cancelled, type(None)]


def test_deadlines_hold_for_each_call(client: CellClient) -> None:
    stub = client.stub(CountStub)
    with client.pipeline() as pipeline:
        late = pipeline.call(stub.Read, value("slow"), timeout=0.1)
        fine = pipeline.call(stub.Read, value("slow"), timeout=5)
    assert isinstance(late.exception(), DeadlineExceeded)
    assert fine.result().value == "slow"


def test_only_unary_methods_of_a_stub_are_taken(client: CellClient) -> None:
    stub = client.stub(CountStub)
    with client.pipeline() as pipeline:
        for method in (stub.Watch, print, None):
            with pytest.raises(BadArg):
                pipeline.call(method, value("a"))
    with pytest.raises(IsFini):
        pipeline.call(stub.Read, value("a"))


def talk(address: str, *messages: pb.PipelineRequest) -> list[pb.PipelineAnswer]:
    """A pipeline by a stock client."""
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(
            PIPELINE_PATH, pb.PipelineRequest.SerializeToString, pb.PipelineResponse.FromString
        )
        try:
            return [answer for response in call(iter(messages), timeout=10) for answer in response.answers]
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None


def test_what_a_stock_client_sends_wrong_is_told(client: CellClient) -> None:
    address = client.address
    read = f"{client_trial.PATH}Read"
    calls = [
        pb.PipelineCall(call_id=1, method=read, request=value("a").SerializeToString()),
        pb.PipelineCall(call_id=2, request=value("b").SerializeToString()),
        pb.PipelineCall(call_id=3, request=b"\xff\xff"),
        pb.PipelineCall(call_id=4, method=f"{client_trial.PATH}Watch"),
        pb.PipelineCall(call_id=5, method="/nowhere/Nothing"),
        pb.PipelineCall(call_id=6, method=PIPELINE_PATH),
    ]
    answers = {answer.call_id: answer for answer in talk(address, pb.PipelineRequest(calls=calls))}
    assert StringValue.FromString(answers[2].response).value == "b"
    errors = {
        call_id: type(from_status(status_pb2.Status.FromString(answer.error.status)))
        for call_id, answer in answers.items()
        if answer.HasField("error")
    }
    assert errors == {3: BadArg, 4: FeatureNotSupported, 5: FeatureNotSupported, 6: FeatureNotSupported}
    with pytest.raises(BadArg, match="must name its method"):
        talk(address, pb.PipelineRequest(calls=[pb.PipelineCall(call_id=1)]))
    many = pb.PipelineRequest(calls=[pb.PipelineCall(call_id=1, method=read)] * 1001)
    with pytest.raises(LimitExceeded):
        talk(address, many)
    assert talk(address) == []


def test_each_call_is_admitted_by_its_own_row_and_rules(cell: LoginCell) -> None:
    """Over TLS, as a user with a password: refused in a pipeline is what is refused outside, and noted likewise."""
    url = f"grpcs://{cell.login_address}"
    trust = cell.config.dir / "certs"
    with open_cell(url, identity=trust, user="alice", password=PASSWORD) as client:
        stub = client.stub(auth_service_pb2_grpc.AuthServiceStub)
        with client.pipeline() as pipeline:
            own = pipeline.call(stub.GetCurrentUser, auth_service_pb2.GetCurrentUserRequest())
            others = pipeline.call(stub.ListUsers, auth_service_pb2.ListUsersRequest())
            create = pipeline.call(stub.CreateUser, auth_service_pb2.CreateUserRequest(name="mallory"))
        assert own.result().user.name == "alice"
        assert isinstance(others.exception(), AuthDeny)
        assert isinstance(create.exception(), AuthDeny)
        with pytest.raises(AuthDeny):
            stub.ListUsers(auth_service_pb2.ListUsersRequest())
    with open_cell(f"unix://{cell.config.dir}") as client:
        stub = client.stub(auth_service_pb2_grpc.AuthServiceStub)
        with client.pipeline() as pipeline:
            made = pipeline.call(stub.CreateUser, auth_service_pb2.CreateUserRequest(name="bob"))
            none = pipeline.call(stub.GetUser, auth_service_pb2.GetUserRequest(user="mallory"))
        assert made.result().user.name == "bob"
        assert isinstance(none.exception(), NoSuchUser)


def test_a_user_who_is_locked_meanwhile_is_refused_on_the_open_stream(cell: LoginCell) -> None:
    url = f"grpcs://{cell.login_address}"
    trust = cell.config.dir / "certs"
    with open_cell(url, identity=trust, user="alice", password=PASSWORD) as client:
        stub = client.stub(auth_service_pb2_grpc.AuthServiceStub)
        with client.pipeline() as pipeline:
            ask = auth_service_pb2.GetCurrentUserRequest()
            assert pipeline.call(stub.GetCurrentUser, ask).result(10).user.name == "alice"
            with open_cell(f"unix://{cell.config.dir}") as root:
                root.stub(auth_service_pb2_grpc.AuthServiceStub).UpdateUser(
                    auth_service_pb2.UpdateUserRequest(user="alice", locked=True)
                )
            assert pipeline.call(stub.GetCurrentUser, ask).exception(10) is not None


def test_a_cut_pipeline_repeats_what_is_safe_and_fails_the_rest(tmp_path: Path) -> None:
    with serving(client_trial.make_server(CountServicer(tmp_path), TcpListener("127.0.0.1:0"))) as address:
        proxy = CuttingProxy(address)
        with open_cell(f"grpc://{proxy.address}") as client:
            stub = client.stub(CountStub)
            with client.pipeline(concurrency=20) as pipeline:
                assert pipeline.call(stub.Read, value("first")).result(10).value == "first"
                reads = [pipeline.call(stub.Read, value(f"slow read {i}")) for i in range(5)]
                adds = [pipeline.call(stub.Add, value(f"slow add {i}")) for i in range(5)]
                time.sleep(0.2)
                assert proxy.cut()
            assert [future.result().value for future in reads] == [f"slow read {i}" for i in range(5)]
            for future in adds:
                error = future.exception()
                assert isinstance(error, CellUnreachable)
                assert "may have been carried out" in error.hint
        proxy.close()
    for i in range(5):
        assert calls_of(tmp_path).count(f"Add slow add {i}") == 1
        assert calls_of(tmp_path).count(f"Read slow read {i}") == 2


def test_an_unreachable_cell_fails_every_call(tmp_path: Path) -> None:
    with open_cell("grpc://127.0.0.1:9") as client:
        stub = client.stub(CountStub)
        with client.pipeline() as pipeline:
            futures = [pipeline.call(stub.Add, value("a")) for _ in range(3)]
        assert [type(future.exception()) for future in futures] == [CellUnreachable] * 3

    async def main() -> None:
        async with open_cell_aio("grpc://127.0.0.1:9") as client:
            stub = client.stub(CountStub)
            async with client.pipeline() as pipeline:
                futures = [pipeline.call(stub.Add, value("a")) for _ in range(3)]
            assert [type(future.exception()) for future in futures] == [CellUnreachable] * 3

    asyncio.run(main())


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """A server that ends each pipeline at once; gives its address."""
    loop = asyncio.new_event_loop()

    async def refuse(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no pipelines here")

    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server()
        service, _, method = PIPELINE_PATH[1:].rpartition("/")
        handlers = {method: grpc.stream_stream_rpc_method_handler(refuse)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_a_stream_that_ends_while_it_is_written_to_has_no_error_of_its_own() -> None:
    """grpc.aio makes an internal error of a write that fails; the call has not begun, and is told what the cell says."""

    async def ask(address: str) -> type[BaseException | None]:
        async with open_cell_aio(f"grpc://{address}") as client:
            async with client.pipeline() as pipeline:
                # More than is sent before the other side reads.
                future = pipeline.call(client.stub(CountStub).Read, value("x" * 2_000_000))
            return type(future.exception())

    with refusing() as address:
        assert {asyncio.run(ask(address)) for _ in range(20)} == {AuthDeny}


def test_a_server_that_stops_answers_what_runs_and_refuses_what_waits(tmp_path: Path) -> None:
    """An idle pipeline does not hold it up."""
    server = client_trial.make_server(CountServicer(tmp_path), TcpListener("127.0.0.1:0"))
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(serving(server))
        with open_cell(f"grpc://{address}") as client:
            stub = client.stub(CountStub)
            with client.pipeline(concurrency=2) as pipeline:
                futures = [pipeline.call(stub.Add, value(f"slow {i}")) for i in range(6)]
                time.sleep(0.2)
                began = time.monotonic()
                stack.close()
                assert time.monotonic() - began < 1.5
            outcomes = [future.exception() for future in futures]
    assert outcomes[:2] == [None, None]
    assert {type(outcome) for outcome in outcomes[2:]} <= {ShuttingDown, CellUnreachable}
    assert sorted(calls_of(tmp_path)) == ["Add slow 0", "Add slow 1"]


def test_a_client_that_does_not_read_stops_the_work_and_memory_stays(tmp_path: Path) -> None:
    """Large answers that nobody takes: the cell begins no more calls than it can hold answers of."""
    count = 0

    class Large:
        async def Read(self, request: StringValue, context: Any) -> StringValue:
            nonlocal count
            count += 1
            return StringValue(value="x" * 500_000)

        Set = Add = Read

        async def Watch(self, request: StringValue, context: Any) -> Any:
            yield request

    service = Service(client_trial.descriptor(), Large(), client_trial.PERMISSIONS)
    server = RpcServer("trial", [service], [TcpListener("127.0.0.1:0")], stop_grace_s=0.2)
    with serving(server) as address, grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(
            PIPELINE_PATH, pb.PipelineRequest.SerializeToString, pb.PipelineResponse.FromString
        )
        calls = [pb.PipelineCall(call_id=i, method=f"{client_trial.PATH}Read") for i in range(1000)]
        answers = call(iter([pb.PipelineRequest(calls=calls)]))
        next(answers)
        time.sleep(0.5)
        assert count < 200
        seen = count
        time.sleep(0.2)
        assert count == seen
        answers.cancel()


def test_the_stream_itself_has_a_row_and_is_told_by_reflection(cell: LoginCell) -> None:
    assert isinstance(COMMON_PERMISSIONS[PIPELINE_PATH], Permission)
    with open_cell(f"unix://{cell.config.dir}") as client:
        from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = client.stub(reflection_pb2_grpc.ServerReflectionStub)
        told = next(stub.ServerReflectionInfo(iter([ask]))).list_services_response.service
    assert "cellmesh.api.common.v1.CallService" in {service.name for service in told}
