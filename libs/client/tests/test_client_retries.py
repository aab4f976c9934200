"""What is made again and what is not: servers that are killed, connections that are cut, over TLS where it matters."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import cellmesh.client
import client_trial
from cellmesh.client import NO_RETRY, CellClient, RetryPolicy, open_cell, open_cell_aio
from cellmesh.client.methods import Effect, effect_of
from cellmesh.client.retry import BUDGET_MAX, RetryBudget
from cellmesh.common.errors import BadArg, CellUnreachable, DeadlineExceeded, NotLeader, Retry
from cellmesh.common.rpc import ServerTls, TcpListener
from cellmesh.common.tls import certs
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import CellIdentity, UserIdentity
from cellmesh.testing.trial import serving
from client_trial import CountServicer, CountStub, CuttingProxy, calls_of
from google.protobuf import descriptor_pool
from google.protobuf.wrappers_pb2 import StringValue

client_trial.descriptor()


def start_process(folder: Path, address: str) -> subprocess.Popen[str]:
    command = [sys.executable, client_trial.__file__, str(folder), address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    return process


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def value(text: str) -> StringValue:
    return StringValue(value=text)


def make_identities(path: Path) -> tuple[IdentityFolder, Path]:
    """The identities of a server, 00.trial.demo, and of a caller."""
    authority, authority_key = certs.make_authority("demo")
    folders = []
    for identity in (CellIdentity("00", "trial", "demo"), UserIdentity("alice", "demo")):
        key = certs.make_key()
        certificate = certs.issue(authority, authority_key, key.public_key(), identity)
        pems = certs.to_pem(certificate), certs.key_to_pem(key), certs.to_pem(authority)
        folders.append(IdentityFolder(path / identity.name))
        folders[-1].store(*pems, MeshInfo(identity.name, "demo"))
    return folders[0], folders[1].path


@pytest.fixture
def proxy_and_client(tmp_path: Path) -> Iterator[tuple[CuttingProxy, CellClient]]:
    """A client that reaches a server over TLS through a proxy."""
    server_folder, caller = make_identities(tmp_path / "certs")
    listener = TcpListener("127.0.0.1:0", ServerTls(server_folder))
    with serving(client_trial.make_server(CountServicer(tmp_path), listener)) as address:
        proxy = CuttingProxy(address)
        with open_cell(f"grpcs://00.trial.demo@{proxy.address}", identity=caller) as client:
            yield proxy, client
        proxy.close()


def test_effects_are_those_that_the_protos_declare() -> None:
    from cellmesh.api.axon.v1 import blob_service_pb2
    from cellmesh.api.cryotank.v1 import tank_service_pb2

    assert blob_service_pb2
    assert tank_service_pb2
    assert effect_of("/cellmesh.api.axon.v1.BlobService/HasBlobs") is Effect.NONE
    assert effect_of("/cellmesh.api.axon.v1.BlobService/PutBlobs") is Effect.REPEATABLE
    assert effect_of("/cellmesh.api.cryotank.v1.TankService/AppendRecords") is Effect.ONCE
    assert effect_of("/cellmesh.api.nowhere.v1.Nothing/Nothing") is Effect.ONCE


def test_every_rpc_that_says_by_its_name_that_it_reads_declares_it() -> None:
    """And no RPC that says by its name that it writes declares that it changes nothing."""
    import importlib

    import cellmesh.api

    reads = ("Get", "List", "Has", "Check", "Read", "Watch")
    writes = (
        "Create",
        "Add",
        "Set",
        "Delete",
        "Remove",
        "Update",
        "Put",
        "Append",
        "Register",
        "Pop",
        "Cancel",
    )
    wrong = []
    for root in map(Path, cellmesh.api.__path__):
        for path in root.rglob("*_service_pb2.py"):
            module = importlib.import_module(
                "cellmesh.api." + ".".join(path.relative_to(root).with_suffix("").parts)
            )
            for service in module.DESCRIPTOR.services_by_name.values():
                for method in service.methods:
                    name = f"/{service.full_name}/{method.name}"
                    is_read = effect_of(name) is Effect.NONE
                    if (method.name.startswith(reads) and not is_read) or (
                        method.name.startswith(writes) and is_read
                    ):
                        wrong.append(name)
    assert not wrong


@pytest.mark.parametrize("method", ["Read", "Set"])
def test_a_safe_call_that_is_cut_off_is_made_again(
    method: str, proxy_and_client: tuple[CuttingProxy, CellClient], tmp_path: Path
) -> None:
    proxy, client = proxy_and_client
    call = getattr(client.stub(CountStub), method)
    assert call(value("first")).value == "first"
    threading.Timer(0.2, proxy.cut).start()
    assert call(value("slow")).value == "slow"
    assert calls_of(tmp_path) == [f"{method} first", f"{method} slow", f"{method} slow"]


def test_a_call_that_may_have_been_carried_out_is_not_made_again(
    proxy_and_client: tuple[CuttingProxy, CellClient], tmp_path: Path
) -> None:
    proxy, client = proxy_and_client
    stub = client.stub(CountStub)
    assert stub.Add(value("first")).value == "first"
    threading.Timer(0.2, proxy.cut).start()
    with pytest.raises(CellUnreachable) as caught:
        stub.Add(value("slow"))
    assert "may have been carried out or not" in caught.value.hint
    assert caught.value.get("method") == "Add"
    assert stub.Add(value("next")).value == "next"
    assert calls_of(tmp_path) == ["Add first", "Add slow", "Add next"]


def test_a_stream_begins_anew_only_before_its_first_answer(
    proxy_and_client: tuple[CuttingProxy, CellClient], tmp_path: Path
) -> None:
    proxy, client = proxy_and_client
    stub = client.stub(CountStub)
    assert [message.value for message in stub.Watch(value("a"))] == ["a"] * 3
    threading.Timer(0.2, proxy.cut).start()
    assert [message.value for message in stub.Watch(value("slow"))] == ["slow"] * 3
    answers = stub.Watch(value("slow"))
    assert next(answers).value == "slow"
    proxy.cut()
    with pytest.raises(CellUnreachable):
        list(answers)


def test_nothing_is_made_again_when_the_caller_says_so(tmp_path: Path) -> None:
    with serving(client_trial.make_server(CountServicer(tmp_path), TcpListener("127.0.0.1:0"))) as address:
        proxy = CuttingProxy(address)
        with open_cell(f"grpc://{proxy.address}", retry=NO_RETRY) as client:
            stub = client.stub(CountStub)
            stub.Read(value("a"))
            threading.Timer(0.2, proxy.cut).start()
            with pytest.raises(CellUnreachable):
                stub.Read(value("slow"))
        proxy.close()


def test_a_killed_server_is_waited_for_and_called_again(tmp_path: Path) -> None:
    """By SIGKILL: nobody says goodbye. While it is away nothing is sent, so that any call may wait for it."""
    address = f"127.0.0.1:{free_port()}"
    process = start_process(tmp_path, address)
    with open_cell(f"grpc://{address}") as client:
        stub = client.stub(CountStub)
        stub.Add(value("one"))
        process.kill()
        process.wait()
        # Until the connection is seen to be gone, a call would be sent, and might have been carried out.
        time.sleep(0.5)
        starting: list[subprocess.Popen[str]] = []
        thread = threading.Thread(target=lambda: starting.append(start_process(tmp_path, address)))
        thread.start()
        assert stub.Add(value("two")).value == "two"
        thread.join()
        starting[0].kill()
        starting[0].wait()
        # Now it is gone for good: this is told in a few seconds.
        began = time.monotonic()
        with pytest.raises(CellUnreachable):
            stub.Read(value("three"))
        assert time.monotonic() - began < 12
    assert calls_of(tmp_path) == ["Add one", "Add two"]


def test_a_server_killed_by_the_call_itself_gets_it_once(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    process = start_process(tmp_path, address)
    with open_cell(f"grpc://{address}") as client:
        stub = client.stub(CountStub)
        with pytest.raises(CellUnreachable, match="may have been carried out"):
            stub.Add(value("die"))
    assert process.wait(5) == 9
    assert calls_of(tmp_path) == ["Add die"]


def test_the_asyncio_face_does_the_same(tmp_path: Path) -> None:
    async def main(proxy: CuttingProxy) -> None:
        async with open_cell_aio(f"grpc://{proxy.address}") as client:
            stub = client.stub(CountStub)
            assert (await stub.Read(value("first"))).value == "first"
            asyncio.get_running_loop().call_later(0.2, proxy.cut)
            outcomes = await asyncio.gather(
                stub.Read(value("slow read")), stub.Add(value("slow add")), return_exceptions=True
            )
            assert outcomes[0] == value("slow read")
            assert isinstance(outcomes[1], CellUnreachable)
            assert "may have been carried out" in outcomes[1].hint
            assert [message.value async for message in stub.Watch(value("w"))] == ["w"] * 3

    with serving(client_trial.make_server(CountServicer(tmp_path), TcpListener("127.0.0.1:0"))) as address:
        proxy = CuttingProxy(address)
        asyncio.run(main(proxy))
        proxy.close()
    assert calls_of(tmp_path).count("Add slow add") == 1
    assert calls_of(tmp_path).count("Read slow read") == 2


def test_deadlines_bound_all_attempts_together(tmp_path: Path) -> None:
    with serving(client_trial.make_server(CountServicer(tmp_path), TcpListener("127.0.0.1:0"))) as address:
        proxy = CuttingProxy(address)
        with open_cell(f"grpc://{proxy.address}", timeout_s=0.3) as client:
            stub = client.stub(CountStub)
            stub.Read(value("a"))
            began = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                stub.Read(value("slow"))
            threading.Timer(0.2, proxy.cut).start()
            with pytest.raises((DeadlineExceeded, CellUnreachable)):
                stub.Read(value("slow"))
            assert time.monotonic() - began < 1.5
            assert stub.Read(value("slow"), timeout=5).value == "slow"
        with open_cell(f"grpc://{proxy.address}", stream_timeout_s=0.3) as client:
            with pytest.raises(DeadlineExceeded):
                list(client.stub(CountStub).Watch(value("slow")))
            assert client.stub(CountStub).Read(value("slow")).value == "slow"
        proxy.close()


def test_an_error_of_the_cell_is_no_reason_to_call_again(tmp_path: Path) -> None:
    with (
        serving(client_trial.make_server(CountServicer(tmp_path), TcpListener("127.0.0.1:0"))) as address,
        cellmesh.client.open(f"grpc://{address}") as client,
        pytest.raises(BadArg),
    ):
        client.stub(CountStub).Read(value("refuse"))
    assert calls_of(tmp_path) == ["Read refuse"]


def test_a_cell_that_asks_to_try_again_is_asked_again_where_that_is_safe(tmp_path: Path) -> None:
    servicer = CountServicer(tmp_path)
    with (
        serving(client_trial.make_server(servicer, TcpListener("127.0.0.1:0"))) as address,
        open_cell(f"grpc://{address}") as client,
    ):
        stub = client.stub(CountStub)
        servicer.busy = 2
        assert stub.Read(value("a")).value == "a"
        servicer.busy = 2
        with client.pipeline() as pipeline:
            assert pipeline.call(stub.Set, value("b")).result(10).value == "b"
        servicer.busy = 1
        with pytest.raises(Retry):
            stub.Add(value("c"))
        servicer.busy = 1
        with client.pipeline() as pipeline:
            assert isinstance(pipeline.call(stub.Add, value("d")).exception(10), Retry)


def test_a_call_follows_the_cell_that_says_who_leads(tmp_path: Path) -> None:
    leader = CountServicer(tmp_path, name="leader")
    with serving(client_trial.make_server(leader, TcpListener("127.0.0.1:0"))) as to:
        follower = CountServicer(tmp_path, name="follower", leader=to)
        with serving(client_trial.make_server(follower, TcpListener("127.0.0.1:0"))) as address:
            with open_cell(f"grpc://{address}") as client:
                stub = client.stub(CountStub)
                assert stub.Add(value("a")).value == "leader"
                assert stub.Read(value("b")).value == "follower"
                with client.pipeline() as pipeline:
                    futures = [pipeline.call(stub.Add, value(f"p{i}")) for i in range(5)]
                assert [future.result().value for future in futures] == ["leader"] * 5
                # It may have been carried out there: then nobody repeats it.
                follower.outcome = "unknown"
                with pytest.raises(NotLeader):
                    stub.Add(value("c"))
                assert stub.Set(value("d")).value == "leader"

            async def main() -> str:
                async with open_cell_aio(f"grpc://{address}") as client:
                    return str((await client.stub(CountStub).Set(value("e"))).value)

            assert asyncio.run(main()) == "leader"
    assert calls_of(tmp_path).count("Add a") == 1
    assert "Add c" not in calls_of(tmp_path)


def test_two_cells_that_name_each_other_as_leader_end_in_an_error(tmp_path: Path) -> None:
    one = CountServicer(tmp_path)
    with serving(client_trial.make_server(one, TcpListener("127.0.0.1:0"))) as address:
        one.leader = address
        with open_cell(f"grpc://{address}") as client, pytest.raises(NotLeader):
            client.stub(CountStub).Add(value("a"))
    assert calls_of(tmp_path) == []


def test_a_budget_ends_repeated_attempts_and_successes_fill_it() -> None:
    budget = RetryBudget()
    assert [budget.spend() for _ in range(int(BUDGET_MAX) + 1)] == [True] * int(BUDGET_MAX) + [False]
    for _ in range(11):
        budget.earn()
    assert budget.spend()
    assert not budget.spend()


def test_pauses_grow_to_a_bound() -> None:
    policy = RetryPolicy(pause_first_s=0.1, pause_max_s=1.0)
    for attempt, (low, high) in enumerate([(0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 0.8), (0.5, 1.0)], 1):
        assert all(low <= policy.pause_s(attempt) <= high for _ in range(20))
    assert policy.pause_s(10_000) <= 1.0


def test_a_lost_cell_is_told_with_what_became_of_it(tmp_path: Path) -> None:
    """By its folder: which kind of cell it was, and which process had it."""
    (tmp_path / "cell.json").write_text('{"kind": "axon", "cell_id": "00"}')
    (tmp_path / "run.json").write_text('{"pid": 999999999}')
    ask: Callable[[CellClient], Any] = lambda client: client.stub(CountStub).Read(value("a"))  # noqa: E731
    with open_cell(f"unix://{tmp_path}") as client, pytest.raises(CellUnreachable) as caught:
        ask(client)
    assert "process 999999999" in caught.value.hint
    assert caught.value.hint.endswith(f"cellmesh axon serve --dir {tmp_path}`")
    assert descriptor_pool.Default().FindServiceByName(client_trial.NAME)
