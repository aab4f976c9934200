"""Calls sent on by a follower: two real servers, of which one takes the other for its leader."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.api.common.v1 import auth_pb2, pipeline_service_pb2
from cellmesh.common.auth import audit, credentials
from cellmesh.common.auth.context import LOCAL_ROOT, Caller, caller_of_identity, current_call
from cellmesh.common.auth.credentials import PasswordPolicy
from cellmesh.common.auth.denials import Denials
from cellmesh.common.auth.logins import Logins
from cellmesh.common.auth.passwords import Passwords
from cellmesh.common.auth.schema import DATABASES as AUTH_DATABASES
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.errors import (
    AuthDeny,
    BadArg,
    CellError,
    Internal,
    NotLeader,
    Retry,
    from_rpc_error,
)
from cellmesh.common.mirror import forward
from cellmesh.common.mirror.forward import ForwardInterceptor
from cellmesh.common.rpc import Level, Permission, RpcServer, Service, TcpListener, UnixListener, Workers
from cellmesh.common.rpc.interceptors.chain import check_order, default_chain
from cellmesh.common.rpc.offsets import CHANGE_OFFSET_KEY
from cellmesh.common.rpc.permissions import Changes
from cellmesh.common.storage import Slab
from cellmesh.common.tls.identity import CellIdentity, parse_identity
from cellmesh.testing.trial import Shape, trial_service
from google.protobuf.wrappers_pb2 import BytesValue

PACKAGE = "cellmesh.trial.forward.v1"
PATH = f"/{PACKAGE}.TrialService/"
PASSWORD = "correct horse battery"

# Name: streams up and down, whether it changes something.
METHODS = {
    "Read": (False, False, Changes.NO),
    "ReadDown": (False, True, Changes.NO),
    "Change": (False, False, Changes.YES),
    "Raw": (False, False, Changes.YES),
    "Ask": (False, False, Changes.ASK),
    "Down": (False, True, Changes.YES),
    "Last": (False, True, Changes.YES),
    "Up": (True, False, Changes.YES),
    "Both": (True, True, Changes.YES),
}
PERMISSIONS = {
    PATH + name: Permission(Level.MEMBER, f"trial.{name.lower()}", changes)
    for name, (_, _, changes) in METHODS.items()
}


def trial_descriptor() -> Any:
    return trial_service(
        f"{PACKAGE}.TrialService", {name: Shape(up, down) for name, (up, down, _) in METHODS.items()}
    )


def told(text: str) -> BytesValue:
    return BytesValue(value=text.encode())


class Servicer:
    """Answers with the name of its instance, and does what the request's text says."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.ended: list[str] = []
        self.deadline: float | None = None

    async def _act(self, text: str, context: Any = None) -> str:
        call = current_call()
        self.view.offset += 1
        match text:
            case "bad-arg":
                raise BadArg("this is wrong", name="what", valu=17, hint="try another")
            case "deny":
                raise AuthDeny("not you", username=call.caller.name)
            case "crash":
                raise ZeroDivisionError("the secret is hunter2")
            case "abort":
                trailing = (("x-told", "this"),)
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "by hand", trailing)
            case "who":
                caller = call.caller
                fields = (caller.name, caller.kind.value, caller.admin, bool(caller.user_id))
                return f"{fields} {call.request_id} {call.peer}"
            case "sleep":
                self.deadline = call.deadline
                try:
                    await asyncio.sleep(20)
                finally:
                    self.ended.append("sleep")
        return f"{self.view.name} {text}"

    async def Read(self, request: BytesValue, context: Any) -> BytesValue:
        return told(f"{self.view.name} {request.value.decode()}")

    async def ReadDown(self, request: BytesValue, context: Any) -> AsyncIterator[BytesValue]:
        yield told(self.view.name)

    async def Change(self, request: BytesValue, context: Any) -> BytesValue:
        return told(await self._act(request.value.decode(), context))

    async def Raw(self, request: bytes, context: Any) -> bytes:
        assert isinstance(request, bytes)
        return told(await self._act(BytesValue.FromString(request).value.decode())).SerializeToString()

    async def Ask(self, request: BytesValue, context: Any) -> BytesValue:
        return told(await self._act(request.value.decode()))

    async def Down(self, request: BytesValue, context: Any) -> AsyncIterator[BytesValue]:
        count, _, then = request.value.decode().partition(" ")
        try:
            for number in range(int(count)):
                yield told(f"{self.view.name} {number}")
            if then:
                await self._act(then)
        finally:
            self.ended.append("down")

    async def Last(self, request: BytesValue, context: Any) -> bytes:
        count = int(request.value)
        for number in range(count - 1):
            await context.write(told(f"{self.view.name} {number}").SerializeToString())
        return told(await self._act(f"{count - 1}")).SerializeToString()

    async def Up(self, requests: AsyncIterator[BytesValue], context: Any) -> BytesValue:
        texts = [request.value.decode() async for request in requests]
        if "bad-arg" in texts:
            await self._act("bad-arg")
        return told(await self._act("+".join(texts)))

    async def Both(self, requests: AsyncIterator[BytesValue], context: Any) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield told(await self._act(request.value.decode()))


class View:
    """What the interceptor asks of a mirror, held by the test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_follower = False
        self.has_followers = False
        self.offset = 100
        self.applied_offset = 10**6
        self.waited: list[int] = []
        self.channel: grpc.aio.Channel | None = None

    def leader_channel(self) -> grpc.aio.Channel:
        if self.channel is None:
            raise self.not_leader()
        return self.channel

    def not_leader(self) -> NotLeader:
        return NotLeader(f"{self.name} follows", name=self.name, leader="127.0.0.1:1")

    async def applied(self, offset: int, timeout_s: float) -> None:
        self.waited.append(offset)
        until_s = time.monotonic() + timeout_s
        while self.applied_offset < offset:
            if time.monotonic() > until_s:
                raise Retry("not there yet", wait_s=1.0)
            await asyncio.sleep(0.01)

    def next_offset(self) -> int:
        return self.offset


class Instance:
    """A server of the service."""

    def __init__(self, number: str, path: Path, logins: Logins) -> None:
        self.identity = CellIdentity(number, "trial", "demo")
        self.view = View(self.identity.name)
        self.servicer = Servicer(self.view)
        service = Service(
            trial_descriptor(),
            self.servicer,
            PERMISSIONS,
            raw_requests=("Raw",),
            raw_responses=("Raw", "Last"),
            last_returned=("Last",),
            changes_asked={"Ask": lambda request: not request.value.startswith(b"only")},
        )
        chain = default_chain(self.caller_of, logins, forward=ForwardInterceptor(self.view))
        check_order(chain)
        self.server = RpcServer(
            number,
            (service,),
            (UnixListener(path / f"{number}.sock"), TcpListener("127.0.0.1:0")),
            chain=chain,
            stop_grace_s=1.0,
        )

    def caller_of(self, context: Any) -> Caller:
        """Who connects to the port is the other instance; on the socket it is who the test says, or root."""
        if context.peer().startswith("ipv4:"):
            return caller_of_identity(CellIdentity("01", "trial", "demo"), self.identity)
        names = [value for key, value in context.invocation_metadata() or () if key == "x-as"]
        return caller_of_identity(parse_identity(names[0]), self.identity) if names else LOCAL_ROOT


class Pair:
    """A leader, its follower, and a channel to the follower."""

    def __init__(self, leader: Instance, follower: Instance, channel: grpc.aio.Channel, slab: Slab) -> None:
        self.leader, self.follower, self.channel, self.slab = leader, follower, channel, slab

    def call(self, name: str, channel: grpc.aio.Channel | None = None) -> Any:
        up, down, _ = METHODS[name]
        kind = f"{'stream' if up else 'unary'}_{'stream' if down else 'unary'}"
        make = getattr(channel or self.channel, kind)
        return make(PATH + name, BytesValue.SerializeToString, BytesValue.FromString)

    async def one(self, name: str, text: str, **options: Any) -> str:
        response = await self.call(name)(told(text), **options)
        return str(response.value.decode())

    async def fails(self, awaitable: Awaitable[Any]) -> CellError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await awaitable
        return from_rpc_error(caught.value)


async def collect(stream: Any) -> list[str]:
    return [message.value.decode() async for message in stream]


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Callable[[Pair], Awaitable[None]]) -> None:
    """Run a test with a leader and its follower, which share the users as replicas would."""
    monkeypatch.setattr(credentials, "DEFAULT_COST", credentials.HashCost(memory_kib=8, iterations=1))

    async def main() -> None:
        workers = Workers()
        slab = Slab.open(tmp_path / "slab", (*AUTH_DATABASES, *LOG_DATABASES), sync=False)
        store = AuthStore(slab)
        passwords = Passwords(store, PasswordPolicy())
        store.add_user("alice", "alice@example.com")
        passwords.set_password("alice", PASSWORD)
        denials = Denials(store, workers)
        await denials.start()
        logins = Logins(store, passwords, denials, workers)
        leader, follower = (Instance(number, tmp_path, logins) for number in ("00", "01"))
        await leader.server.start()
        await follower.server.start()
        leader.view.has_followers = True
        follower.view.is_follower = True
        port = next(address for address in leader.server.addresses if not address.startswith("unix:"))
        follower.view.channel = grpc.aio.insecure_channel(port)
        try:
            async with grpc.aio.insecure_channel(f"unix:{tmp_path}/01.sock") as channel:
                await asyncio.wait_for(body(Pair(leader, follower, channel, slab)), 20)
        finally:
            await follower.view.channel.close(None)
            await follower.server.stop()
            await leader.server.stop()
            await denials.stop()
            assert await workers.close()
            slab.close()

    asyncio.run(main())


def offset_of(metadata: Any) -> list[str]:
    return [str(value) for key, value in metadata or () if key == CHANGE_OFFSET_KEY]


def test_changes_of_all_kinds_go_to_the_leader_and_reads_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pair: Pair) -> None:
        for name in ("Change", "Raw", "Ask"):
            assert await pair.one(name, "do") == "00.trial.demo do"
        assert await pair.one("Ask", "only look") == "01.trial.demo only look"
        assert await pair.one("Read", "it") == "01.trial.demo it"
        assert await collect(pair.call("ReadDown")(told(""))) == ["01.trial.demo"]
        for name in ("Down", "Last"):
            for count in (1, 3):
                found = await collect(pair.call(name)(told(str(count))))
                assert found == [f"00.trial.demo {number}" for number in range(count)]
        assert await collect(pair.call("Down")(told("0"))) == []
        up = await pair.call("Up")(iter([told("a"), told("b")]))
        assert up.value == b"00.trial.demo a+b"
        both = pair.call("Both")()
        for text in ("x", "y"):
            # An answer comes before the next request is sent.
            await both.write(told(text))
            assert (await both.read()).value == f"00.trial.demo {text}".encode()
        await both.done_writing()
        assert not isinstance(await both.read(), BytesValue)
        big = "x" * 3_000_000
        assert await pair.one("Change", big) == f"00.trial.demo {big}"

    run(tmp_path, monkeypatch, body)


def test_the_answer_comes_when_it_has_been_applied_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pair: Pair) -> None:
        view = pair.follower.view
        view.applied_offset = 100
        for name, request in (
            ("Change", told("do")),
            ("Up", iter([told("do")])),
            ("Down", told("1 do")),
            ("Last", told("2")),
            ("Change", told("bad-arg")),
            ("Down", told("1 bad-arg")),
        ):
            view.waited.clear()
            view.applied_offset = pair.leader.view.offset
            call = pair.call(name)(request)
            first = asyncio.ensure_future(collect(call) if METHODS[name][1] else call)
            await asyncio.sleep(0.1)
            assert not first.done(), name
            assert view.waited == [view.applied_offset + 1]
            view.applied_offset += 1
            if b"bad-arg" in getattr(request, "value", b""):
                assert isinstance(await pair.fails(first), BadArg)
            else:
                await first
            assert offset_of(await call.trailing_metadata()) == [str(pair.leader.view.offset)]

    run(tmp_path, monkeypatch, body)


def test_an_answer_does_not_wait_for_ever_and_tells_the_offset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is not told as a failure, or it would be done again."""

    async def body(pair: Pair) -> None:
        monkeypatch.setattr(forward, "APPLIED_WAIT_S", 0.1)
        pair.follower.view.applied_offset = 0
        call = pair.call("Change")(told("do"))
        assert (await call).value == b"00.trial.demo do"
        assert offset_of(await call.trailing_metadata()) == ["101"]
        monkeypatch.setattr(forward, "APPLIED_WAIT_S", 10.0)
        assert await pair.one("Change", "do", timeout=0.5) == "00.trial.demo do"

    run(tmp_path, monkeypatch, body)


def test_errors_come_back_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(pair: Pair) -> None:
        requests = iter([told("a"), told("bad-arg")])
        for failing in (
            pair.one("Change", "bad-arg"),
            pair.one("Raw", "bad-arg"),
            pair.call("Up")(requests),
            collect(pair.call("Down")(told("0 bad-arg"))),
        ):
            error = await pair.fails(failing)
            assert isinstance(error, BadArg)
            assert (error.message, error.get("valu"), error.hint) == ("this is wrong", 17, "try another")
        stream = pair.call("Down")(told("2 bad-arg"))
        assert [(await stream.read()).value for _ in range(2)] == [b"00.trial.demo 0", b"00.trial.demo 1"]
        assert isinstance(await pair.fails(stream.read()), BadArg)
        crash = await pair.fails(pair.one("Change", "crash"))
        assert isinstance(crash, Internal)
        assert "hunter2" not in str(crash)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pair.one("Change", "abort")
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.OUT_OF_RANGE, "by hand")
        told_besides: Any = caught.value.trailing_metadata()
        assert ("x-told", "this") in list(map(tuple, told_besides))

    run(tmp_path, monkeypatch, body)


def test_the_leader_knows_who_called_and_by_whom_it_was_sent_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pair: Pair) -> None:
        token = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
        for metadata, caller in (
            ((), ("root", "local", True, True)),
            ((("x-as", "spiffe://demo/user/alice"),), ("alice@demo", "user", False, True)),
            ((("authorization", f"Basic {token}"),), ("alice", "user", False, True)),
            ((("x-as", "spiffe://demo/cell/00.axon"),), ("00.axon.demo", "cell", False, False)),
        ):
            found = await pair.one("Change", "who", metadata=(*metadata, ("x-request-id", "seen-before")))
            assert found == f"{caller} seen-before via 01.trial.demo"
        as_alice = (("x-as", "spiffe://demo/user/alice"),)
        assert isinstance(await pair.fails(pair.one("Change", "deny", metadata=as_alice)), AuthDeny)
        await asyncio.sleep(1.3)
        records = audit.read(pair.slab, 0, 100)[0]
        denials = [record for record in records if record.kind == auth_pb2.AUDIT_KIND_DENIAL]
        assert [(record.actor, record.action, record.peer) for record in denials] == [
            ("alice@demo", PATH + "Change", "via 01.trial.demo")
        ]

    run(tmp_path, monkeypatch, body)


def test_only_instances_of_the_same_service_speak_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pair: Pair) -> None:
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/00.sock") as channel:
            change = pair.call("Change", channel)
            for name in ("spiffe://demo/cell/00.axon", "spiffe://demo/user/alice", ""):
                metadata = (*((("x-as", name),) if name else ()), ("cellmesh-on-behalf-of", "root"))
                assert isinstance(await pair.fails(change(told("who"), metadata=metadata)), AuthDeny)
            peer = ("x-as", "spiffe://demo/cell/07.trial")
            answer = await change(told("who"), metadata=(peer, ("cellmesh-on-behalf-of", "root")))
            assert answer.value.startswith(b"('root', 'local'")
            assert answer.value.endswith(b"via 07.trial.demo")
            for name in ("alice", "user:", "user:" + "0" * 32, "spiffe://demo"):
                metadata = (peer, ("cellmesh-on-behalf-of", name))
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await change(told("who"), metadata=metadata)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED, name

    run(tmp_path, monkeypatch, body)


def test_two_who_take_each_other_for_the_leader_end_with_not_leader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pair: Pair) -> None:
        port = next(one for one in pair.follower.server.addresses if not one.startswith("unix:"))
        async with grpc.aio.insecure_channel(port) as back:
            view = pair.leader.view
            view.is_follower, view.has_followers, view.channel = True, False, back
            for failing in (pair.one("Change", "do"), collect(pair.call("Down")(told("1")))):
                error = await pair.fails(failing)
                assert isinstance(error, NotLeader)
                assert error.get("name") == "00.trial.demo"
            assert pair.leader.view.offset == pair.follower.view.offset == 100
        pair.follower.view.channel, kept = None, pair.follower.view.channel
        assert isinstance(await pair.fails(pair.one("Change", "do")), NotLeader)
        pair.follower.view.channel = kept

    run(tmp_path, monkeypatch, body)


def test_deadline_and_cancellation_reach_the_leader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(pair: Pair) -> None:
        ended = pair.leader.servicer.ended

        async def wait_for(count: int) -> None:
            while len(ended) < count:
                await asyncio.sleep(0.01)

        begun = time.monotonic()
        await pair.fails(pair.one("Change", "sleep", timeout=0.4))
        deadline = pair.leader.servicer.deadline
        assert deadline is not None
        assert 0.1 < deadline - begun < 0.6
        await wait_for(1)
        call = pair.call("Change")(told("sleep"))
        asleep = asyncio.ensure_future(call)
        await asyncio.sleep(0.2)
        assert pair.leader.servicer.deadline is None
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asleep
        await wait_for(2)
        stream = pair.call("Down")(told("1 sleep"))
        await stream.read()
        stream.cancel()
        await wait_for(4)
        endless = pair.call("Down")(told("100000000"))
        await endless.read()
        endless.cancel()
        await wait_for(5)

    run(tmp_path, monkeypatch, body)


def test_a_read_waits_for_what_its_caller_has_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(pair: Pair) -> None:
        view = pair.follower.view
        view.applied_offset = 50
        metadata = (("cellmesh-min-offset", "60"),)
        for name, text in (("Read", "it"), ("Ask", "only look"), ("ReadDown", "")):
            call = pair.call(name)(told(text), metadata=metadata)
            waiting = asyncio.ensure_future(collect(call) if METHODS[name][1] else call)
            await asyncio.sleep(0.05)
            assert not waiting.done()
            view.applied_offset = 60
            await waiting
            view.applied_offset = 50
        assert view.waited == [60, 60, 60]
        await pair.one("Read", "it", metadata=(("cellmesh-min-offset", "50"),))
        late = await pair.fails(pair.one("Read", "it", metadata=metadata, timeout=0.3))
        assert type(late) is Retry
        assert late.get("wait_s") == 1.0
        for wrong in ("x", "-1", "1.5", str(2**64), ""):
            if wrong:
                failing = pair.one("Read", "it", metadata=(("cellmesh-min-offset", wrong),))
                assert isinstance(await pair.fails(failing), BadArg)
        # Whoever leads has it all.
        view.is_follower = False
        await pair.one("Read", "it", metadata=metadata)

    run(tmp_path, monkeypatch, body)


def test_a_leader_tells_the_offset_only_when_it_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pair: Pair) -> None:
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/00.sock") as channel:
            for followed, name, text, expected in (
                (True, "Change", "do", ["101"]),
                (True, "Ask", "only look", ["102"]),
                (True, "Read", "it", []),
                (False, "Change", "do", []),
            ):
                pair.leader.view.has_followers = followed
                call = pair.call(name, channel)(told(text))
                await call
                assert offset_of(await call.trailing_metadata()) == expected
            # A follower may send calls on before it is counted as one.
            call = pair.call("Change")(told("do"))
            await call
            assert offset_of(await call.trailing_metadata()) == ["104"]

    run(tmp_path, monkeypatch, body)


def test_a_leader_that_is_gone_leaves_the_outcome_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pair: Pair) -> None:
        asleep = asyncio.ensure_future(pair.one("Change", "sleep"))
        await asyncio.sleep(0.2)
        await pair.leader.server.stop_now()
        assert isinstance(await pair.fails(asleep), CellError)
        for failing in (pair.one("Change", "do"), collect(pair.call("Down")(told("1")))):
            # What comes later is not sent at all, and may be made again.
            error = await pair.fails(failing)
            assert isinstance(error, NotLeader)
            assert not error.get("outcome")
            assert not error.get("leader")
        assert await pair.one("Read", "it") == "01.trial.demo it"

    run(tmp_path, monkeypatch, body)


def test_calls_of_a_pipeline_are_sent_on_each_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pair: Pair) -> None:
        calls = [
            pipeline_service_pb2.PipelineCall(
                call_id=number, method=PATH + name, request=told(text).SerializeToString()
            )
            for number, (name, text) in enumerate((("Change", "do"), ("Read", "it"), ("Change", "bad-arg")))
        ]
        stream = pair.channel.stream_stream(
            "/cellmesh.api.common.v1.CallService/Pipeline",
            pipeline_service_pb2.PipelineRequest.SerializeToString,
            pipeline_service_pb2.PipelineResponse.FromString,
        )(iter([pipeline_service_pb2.PipelineRequest(calls=calls, in_order=True)]))
        answers = {answer.call_id: answer async for message in stream for answer in message.answers}
        assert BytesValue.FromString(answers[0].response).value == b"00.trial.demo do"
        assert BytesValue.FromString(answers[1].response).value == b"01.trial.demo it"
        assert answers[2].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert [answers[number].change_offset for number in range(3)] == [101, 0, 102]

    run(tmp_path, monkeypatch, body)
