"""Real calls through the server and its chain: four kinds of methods, errors, permissions, cancellation."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.common import limits
from cellmesh.common.auth.context import ANONYMOUS, LOCAL_ROOT, CallerKind, caller_of_identity, current_call
from cellmesh.common.errors import (
    AddressInUse,
    AuthDeny,
    BadArg,
    BadConfValu,
    BadState,
    DeadlineExceeded,
    Internal,
    NoSuchName,
    PermissionRowMissing,
    Unauthenticated,
    from_rpc_error,
)
from cellmesh.common.rpc import (
    Level,
    Listener,
    Permission,
    RpcServer,
    Service,
    TcpListener,
    UnixListener,
    Workers,
)
from cellmesh.common.rpc.interceptors.auth import AuthInterceptor, caller_of_peer
from cellmesh.common.rpc.interceptors.chain import CHAIN, check_order, default_chain
from cellmesh.common.rpc.interceptors.request_id import RequestIdInterceptor
from cellmesh.common.rpc.permissions import check_permission
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.tls.identity import CellIdentity, UserIdentity
from cellmesh.testing.trial import Shape, trial_service
from google.protobuf.wrappers_pb2 import BytesValue
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

PACKAGE = "cellmesh.trial.calls.v1"
METHODS = {
    "One": (False, False),
    "Down": (False, True),
    "Last": (False, True),
    "Up": (True, False),
    "Both": (True, True),
}
PATH = f"/{PACKAGE}.TrialService/"
PERMISSIONS = {PATH + name: Permission(Level.MEMBER, f"trial.{name.lower()}") for name in METHODS}


def trial_descriptor() -> Any:
    return trial_service(f"{PACKAGE}.TrialService", {name: Shape(*shape) for name, shape in METHODS.items()})


class TrialServicer:
    """Does what the request's text says."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.ended: list[str] = []
        self.made = 0

    async def One(self, request: BytesValue, context: Any) -> BytesValue:
        match request.value.decode():
            case "bad-arg":
                raise BadArg("this is wrong", name="what", valu=17, hint="try another")
            case "crash":
                raise ZeroDivisionError("the secret is hunter2")
            case "thread-error":
                await self.workers.run(self._fail)
            case "who":
                call = await self.workers.run(current_call)
                text = f"{call.caller.name} {call.caller.kind.value} {call.request_id} {call.method}"
                return BytesValue(value=text.encode())
            case "time":
                deadline = current_call().deadline
                return BytesValue(
                    value=b"" if deadline is None else str(deadline - time.monotonic()).encode()
                )
            case "sleep":
                try:
                    await asyncio.sleep(30)
                finally:
                    self.ended.append("one")
        return BytesValue(value=b"echo " + request.value)

    async def Down(self, request: BytesValue, context: Any) -> AsyncIterator[BytesValue | bytes]:
        text = request.value.decode()
        if text == "raw":
            yield BytesValue(value=b"stored").SerializeToString()
            return
        if text == "endless":
            async for message in self.workers.stream(
                self._endless, pack=lambda items: BytesValue(value=b"".join(items))
            ):
                yield message
            return
        count, _, then = text.partition(" ")
        for index in range(int(count)):
            yield BytesValue(value=str(index).encode())
        if then == "bad-arg":
            raise BadArg("half way", name="what")
        if then == "crash":
            raise ZeroDivisionError("the secret is hunter2")

    async def Last(self, request: BytesValue, context: Any) -> bytes:
        """Messages "0", "1", ... of which the last is returned, or fails, or sleeps."""
        count, _, then = request.value.decode().partition(" ")

        def items(token: CancelToken) -> Any:
            try:
                for index in range(int(count)):
                    yield str(index).encode()
                if then == "bad-arg":
                    raise BadArg("half way", name="what")
                if then == "sleep":
                    token.wait(30)
            finally:
                self.ended.append("last")

        def pack(batch: list[bytes]) -> bytes:
            return BytesValue(value=batch[0]).SerializeToString()

        return await self.workers.stream(items, pack=pack, count_max=1).write_to(context.write) or b""

    async def Up(self, requests: AsyncIterator[BytesValue], context: Any) -> BytesValue:
        size = 0
        async for request in requests:
            if request.value == b"bad-arg":
                raise BadArg("do not send this")
            size += len(request.value)
        return BytesValue(value=str(size).encode())

    async def Both(self, requests: AsyncIterator[BytesValue], context: Any) -> AsyncIterator[BytesValue]:
        async for request in requests:
            if request.value == b"bad-arg":
                raise BadArg("do not send this")
            yield BytesValue(value=request.value.upper())

    def _fail(self) -> None:
        raise NoSuchName("not here", name="x")

    def _endless(self, token: CancelToken) -> Any:
        try:
            while True:
                self.made += 1
                yield b"x" * 1000
        finally:
            self.ended.append("endless")


class Trial:
    """A started server, its servicer and a channel to it."""

    def __init__(self, servicer: TrialServicer, server: RpcServer, channel: grpc.aio.Channel) -> None:
        self.servicer = servicer
        self.server = server
        self.channel = channel

    def call(self, name: str) -> Any:
        up, down = METHODS[name]
        kind = f"{'stream' if up else 'unary'}_{'stream' if down else 'unary'}"
        return getattr(self.channel, kind)(PATH + name, BytesValue.SerializeToString, BytesValue.FromString)

    async def one(self, text: str, **options: Any) -> str:
        response = await self.call("One")(BytesValue(value=text.encode()), **options)
        return str(response.value.decode())


def serve(
    tmp_path: Path,
    body: Callable[[Trial], Awaitable[None]],
    *,
    listeners: tuple[Listener, ...] = (),
    chain: Any = None,
    stop_grace_s: float = 1.0,
) -> None:
    """Run a test body against a real server on a unix socket."""

    async def main() -> None:
        workers = Workers()
        servicer = TrialServicer(workers)
        service = Service(
            trial_descriptor(), servicer, PERMISSIONS, raw_responses=("Down", "Last"), last_returned=("Last",)
        )
        server = RpcServer(
            "trial",
            (service,),
            (UnixListener(tmp_path / "s.sock"), *listeners),
            chain=chain,
            stop_grace_s=stop_grace_s,
        )
        await server.start()
        try:
            async with grpc.aio.insecure_channel(server.addresses[0]) as channel:
                await asyncio.wait_for(body(Trial(servicer, server, channel)), 15)
        finally:
            await server.stop()
            assert await workers.close()

    asyncio.run(main())


async def fails(awaitable: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """Await a call that must fail, and return how."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value


async def collect(stream: Any) -> list[bytes]:
    return [message.value async for message in stream]


def messages(*values: bytes) -> list[BytesValue]:
    return [BytesValue(value=value) for value in values]


def test_all_four_kinds_of_methods_answer(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        assert await trial.one("hello") == "echo hello"
        assert await collect(trial.call("Down")(BytesValue(value=b"3"))) == [b"0", b"1", b"2"]
        assert (await trial.call("Up")(iter(messages(b"ab", b"cde")))).value == b"5"
        assert await collect(trial.call("Both")(iter(messages(b"ab", b"cde")))) == [b"AB", b"CDE"]

    serve(tmp_path, body)


def test_stored_bytes_pass_as_messages(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        assert await collect(trial.call("Down")(BytesValue(value=b"raw"))) == [b"stored"]

    serve(tmp_path, body)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_stream_may_return_its_last_message(tmp_path: Path, count: int) -> None:
    async def body(trial: Trial) -> None:
        got = await collect(trial.call("Last")(BytesValue(value=str(count).encode())))
        # Where the end became known late, an empty message brings it.
        assert [value for value in got if value] == [str(index).encode() for index in range(count)]

    serve(tmp_path, body)


def test_a_stream_that_returns_its_last_message_fails_after_what_it_wrote(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        call = trial.call("Last")(BytesValue(value=b"3 bad-arg"))
        got = [(await call.read()).value for _ in range(3)]
        assert got == [b"0", b"1", b"2"]
        error = await fails(call.read())
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert isinstance(from_rpc_error(error), BadArg)

    serve(tmp_path, body)


def test_a_client_that_leaves_ends_a_stream_that_would_return_its_last_message(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        call = trial.call("Last")(BytesValue(value=b"1 sleep"))
        assert (await call.read()).value == b"0"
        call.cancel()
        await ended(trial, "last")

    serve(tmp_path, body)


def test_our_errors_come_back_whole(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        error = await fails(trial.one("bad-arg"))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        again = from_rpc_error(error)
        assert isinstance(again, BadArg)
        assert (again.message, again.get("valu"), again.hint) == ("this is wrong", 17, "try another")

    serve(tmp_path, body)


def test_a_stock_client_finds_error_info(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        error = await fails(trial.one("bad-arg"))
        raw = dict(error.trailing_metadata())["grpc-status-details-bin"]
        status = status_pb2.Status.FromString(raw)
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (info.reason, info.domain) == ("ERROR_REASON_BAD_ARG", "cellmesh")

    serve(tmp_path, body)


def test_an_error_from_a_worker_thread_comes_back_as_itself(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        assert isinstance(from_rpc_error(await fails(trial.one("thread-error"))), NoSuchName)

    serve(tmp_path, body)


def test_errors_in_streams_come_after_what_was_sent(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        seen = []

        async def read() -> None:
            async for message in trial.call("Down")(BytesValue(value=b"3 bad-arg")):
                seen.append(message.value)

        assert isinstance(from_rpc_error(await fails(read())), BadArg)
        assert seen == [b"0", b"1", b"2"]
        up = await fails(trial.call("Up")(iter(messages(b"a", b"bad-arg"))))
        assert isinstance(from_rpc_error(up), BadArg)
        both = await fails(collect(trial.call("Both")(iter(messages(b"a", b"bad-arg")))))
        assert isinstance(from_rpc_error(both), BadArg)

    serve(tmp_path, body)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_unknown_error_is_internal_and_logged_whole_and_told_of_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, streamed: bool
) -> None:
    async def body(trial: Trial) -> None:
        call = collect(trial.call("Down")(BytesValue(value=b"1 crash"))) if streamed else trial.one("crash")
        error = await fails(call)
        assert error.code() is grpc.StatusCode.INTERNAL
        assert isinstance(from_rpc_error(error), Internal)
        assert "hunter2" not in repr(error)
        assert "Traceback" not in repr(error)

    serve(tmp_path, body)
    record = next(record for record in caplog.records if record.getMessage() == "call_failed")
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])


def test_the_caller_on_the_unix_socket_is_root_and_seen_in_threads(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        name, kind, _, method = (await trial.one("who")).split(" ")
        assert (name, kind, method) == ("root", "local", PATH + "One")

    serve(tmp_path, body)


def test_a_sound_request_id_is_kept_and_another_replaced(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        assert (await trial.one("who", metadata=(("x-request-id", "abc-1"),))).split()[2] == "abc-1"
        made = (await trial.one("who", metadata=(("x-request-id", "no good\\x"),))).split()[2]
        again = (await trial.one("who")).split()[2]
        assert "no" not in made
        assert made != again

    serve(tmp_path, body)


def test_handlers_know_their_deadline(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        assert 4.0 < float((await trial.one("time", timeout=5)).removeprefix("echo ")) <= 5.1
        assert await trial.one("time") == ""

    serve(tmp_path, body)


def test_a_passed_deadline_ends_the_handler(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        error = await fails(trial.one("sleep", timeout=0.1))
        assert isinstance(from_rpc_error(error), DeadlineExceeded)
        await ended(trial, "one")

    serve(tmp_path, body)


def test_a_client_that_goes_away_ends_the_work(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        stream = trial.call("Down")(BytesValue(value=b"endless"))
        await anext(stream.__aiter__())
        stream.cancel()
        await ended(trial, "endless")

    serve(tmp_path, body)


def test_a_client_that_does_not_read_stops_the_work_and_memory_stays(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        stream = trial.call("Down")(BytesValue(value=b"endless"))
        await anext(stream.__aiter__())
        held = -1
        while held != trial.servicer.made:
            held = trial.servicer.made
            await asyncio.sleep(0.2)
        # What is on its way: messages made, gRPC's windows on both sides.
        assert held * 1000 < 32 * 1024 * 1024
        stream.cancel()
        await ended(trial, "endless")

    serve(tmp_path, body)


def test_garbage_and_oversize_messages_harm_nobody(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        for garbage in (
            b"\x00" * 1000,
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500,
        ):
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "s.sock"))
            writer.write(garbage)
            await writer.drain()
            writer.close()
        big = BytesValue(value=b"x" * (limits.MESSAGE_SIZE_MAX + 1))
        async with grpc.aio.insecure_channel(
            trial.server.addresses[0], options=[("grpc.max_send_message_length", -1)]
        ) as channel:
            error = await fails(Trial(trial.servicer, trial.server, channel).call("One")(big))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        raw = trial.channel.unary_unary(PATH + "One")
        error = await fails(raw(b"\xff\xff\xff"))
        assert error.code() in (
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.UNKNOWN,
        )
        assert await trial.one("hello") == "echo hello"

    serve(tmp_path, body)


def test_a_method_that_is_not_there_is_unimplemented(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        error = await fails(trial.channel.unary_unary(PATH + "Nothing")(b""))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED

    serve(tmp_path, body)


async def ended(trial: Trial, what: str) -> None:
    end = time.monotonic() + 5
    while what not in trial.servicer.ended:
        assert time.monotonic() < end, "the work went on"
        await asyncio.sleep(0.005)


def test_a_method_without_a_row_keeps_the_server_from_starting() -> None:
    rows = {path: row for path, row in PERMISSIONS.items() if not path.endswith("Up")}

    async def main() -> None:
        with pytest.raises(PermissionRowMissing, match=PATH + "Up"):
            RpcServer("trial", (Service(trial_descriptor(), TrialServicer(Workers()), rows),), ())

    asyncio.run(main())


def test_a_servicer_that_lacks_a_method_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(BadState, match="has no One"):
            RpcServer("trial", (Service(trial_descriptor(), object(), PERMISSIONS),), ())

    asyncio.run(main())


def test_raw_methods_must_exist() -> None:
    service = Service(trial_descriptor(), TrialServicer(Workers()), PERMISSIONS, raw_responses=("Donw",))

    async def main() -> None:
        with pytest.raises(BadState, match="no method Donw"):
            RpcServer("trial", (service,), ())

    asyncio.run(main())


def test_methods_that_return_their_last_message_must_be_raw() -> None:
    service = Service(trial_descriptor(), TrialServicer(Workers()), PERMISSIONS, last_returned=("Last",))

    async def main() -> None:
        with pytest.raises(BadState, match="Last must be in raw_responses"):
            RpcServer("trial", (service,), ())

    asyncio.run(main())


def test_the_written_order_is_sound_and_complete() -> None:
    chain = default_chain(caller_of_peer(insecure=False))
    check_order(chain)
    assert tuple(type(interceptor) for interceptor in chain) == CHAIN


def test_an_unsound_order_is_refused() -> None:
    chain = list(default_chain(caller_of_peer(insecure=False)))
    with pytest.raises(BadState, match="must stand inside"):
        check_order(chain[::-1])
    with pytest.raises(BadState, match="auth is missing"):
        check_order([one for one in chain if not isinstance(one, AuthInterceptor)])
    with pytest.raises(BadState, match="stands twice"):
        check_order([*chain, RequestIdInterceptor()])


def test_permission_rows_open_methods_to_whom_they_say() -> None:
    own = CellIdentity("01", "axon", "demo")
    cell = caller_of_identity(CellIdentity("00", "cortex", "demo"), own)
    elsewhere = caller_of_identity(CellIdentity("00", "axon", "other"), own)
    peer = caller_of_identity(CellIdentity("00", "axon", "demo"), own)
    alice = caller_of_identity(UserIdentity("alice", "demo"))
    root = caller_of_identity(UserIdentity("root", "demo"))
    allowed: dict[Level, tuple[bool, ...]] = {}
    for level in Level:
        answers = []
        for caller in (ANONYMOUS, cell, elsewhere, peer, alice, root, LOCAL_ROOT):
            try:
                check_permission(Permission(level, "trial.do"), caller, "/t.T/Do")
                answers.append(True)
            except AuthDeny:
                answers.append(False)
        allowed[level] = tuple(answers)
    assert allowed == {
        Level.ANYONE: (True, True, True, True, True, True, True),
        Level.MEMBER: (False, True, True, True, True, True, True),
        # Whether a rule allows it to users, is asked before.
        Level.RULE: (False, True, True, True, True, True, True),
        Level.PEER: (False, False, False, True, False, True, True),
        Level.ADMIN: (False, False, False, False, False, True, True),
    }


def test_an_unknown_caller_gets_health_and_reflection_and_nothing_else(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        stub = health_pb2_grpc.HealthStub(trial.channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert isinstance(from_rpc_error(await fails(trial.one("hello"))), Unauthenticated)
        down = collect(trial.call("Down")(BytesValue(value=b"3")))
        assert isinstance(from_rpc_error(await fails(down)), Unauthenticated)

    serve(tmp_path, body, chain=default_chain(lambda context: ANONYMOUS))


def test_health_names_each_service_and_tells_of_changes(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        stub = health_pb2_grpc.HealthStub(trial.channel)
        name = f"{PACKAGE}.TrialService"
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=name)).__aiter__()
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVING
        trial.server.board.set(name, False)
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        error = await fails(stub.Check(health_pb2.HealthCheckRequest(service="nothing")))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        listed = (await stub.List(health_pb2.HealthListRequest())).statuses
        assert {"", name, "grpc.health.v1.Health"} <= set(listed)

    serve(tmp_path, body)


def test_a_watch_of_an_unknown_service_says_so_and_goes_on(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        stub = health_pb2_grpc.HealthStub(trial.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="later")).__aiter__()
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        trial.server.board.set("later", True)
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVING

    serve(tmp_path, body)


def test_reflection_lists_and_describes_the_services(tmp_path: Path) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    async def body(trial: Trial) -> None:
        stub = reflection_pb2_grpc.ServerReflectionStub(trial.channel)
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"{PACKAGE}.TrialService"),
        ]
        answers = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
        names = {service.name for service in answers[0].list_services_response.service}
        assert {f"{PACKAGE}.TrialService", "grpc.health.v1.Health"} <= names
        assert answers[1].file_descriptor_response.file_descriptor_proto

    serve(tmp_path, body)


def test_stopping_lets_running_calls_end_and_says_not_serving_first(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        stub = health_pb2_grpc.HealthStub(trial.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest()).__aiter__()
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVING
        stream = trial.call("Both")()
        await stream.write(BytesValue(value=b"a"))
        assert (await stream.read()).value == b"A"
        stopping = asyncio.ensure_future(trial.server.stop())
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await stream.write(BytesValue(value=b"b"))
        assert (await stream.read()).value == b"B"
        assert not stopping.done()
        await stream.done_writing()
        began = time.monotonic()
        await stopping
        assert time.monotonic() - began < 4

    serve(tmp_path, body, stop_grace_s=5)


def test_stopping_cancels_what_outlasts_the_grace(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        call = asyncio.ensure_future(trial.one("sleep"))
        await asyncio.sleep(0.1)
        await trial.server.stop()
        await fails(call)
        await ended(trial, "one")

    serve(tmp_path, body, stop_grace_s=0.1)


def test_the_socket_is_for_its_owner_and_goes_with_the_server(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        path = tmp_path / "s.sock"
        assert path.stat().st_mode & 0o777 == 0o600
        await trial.server.stop()
        assert not path.exists()

    serve(tmp_path, body)


def test_an_insecure_port_serves_root(tmp_path: Path) -> None:
    async def body(trial: Trial) -> None:
        host, port = trial.server.addresses[1].rsplit(":", 1)
        assert host == "127.0.0.1"
        assert int(port) > 0
        async with grpc.aio.insecure_channel(trial.server.addresses[1]) as channel:
            text = await Trial(trial.servicer, trial.server, channel).one("who")
            assert text.startswith(f"root {CallerKind.LOCAL.value} ")

    serve(tmp_path, body, listeners=(TcpListener("127.0.0.1:0"),))


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        async def main() -> None:
            server = RpcServer("trial", (), (TcpListener(address),))
            with pytest.raises(AddressInUse, match=f"{address}: another program") as caught:
                await server.start()
            assert caught.value.get("address") == address

        asyncio.run(main())


def test_a_start_that_fails_leaves_no_socket(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "s.sock"
        server = RpcServer("trial", (), (UnixListener(path), TcpListener("192.0.2.1:0")))
        with pytest.raises(BadConfValu):
            await server.start()
        assert not path.exists()
        assert server.addresses == ()

    asyncio.run(main())


def test_a_second_server_cannot_share_a_port(tmp_path: Path) -> None:
    async def main() -> None:
        first = RpcServer("first", (), (TcpListener("127.0.0.1:0"),))
        await first.start()
        second = RpcServer("second", (), (TcpListener(first.addresses[0]),))
        with pytest.raises(AddressInUse):
            await second.start()
        await first.stop()

    asyncio.run(main())


def test_an_address_that_is_not_ours_is_refused_in_words() -> None:
    async def main() -> None:
        server = RpcServer("trial", (), (TcpListener("192.0.2.1:0"),))
        with pytest.raises(BadConfValu, match=r"cannot listen at 192\.0\.2\.1:0"):
            await server.start()

    asyncio.run(main())


def test_a_path_too_long_for_a_socket_is_refused_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        server = RpcServer("trial", (), (UnixListener(tmp_path / ("x" * 120)),))
        with pytest.raises(BadConfValu, match="too long for a unix socket"):
            await server.start()

    asyncio.run(main())
