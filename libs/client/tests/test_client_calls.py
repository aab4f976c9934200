"""The client against real cells and a real AHA: every URL, both faces, cells that are away, that move, that fail."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.api.aha.v1 import (
    enrollment_pb2,
    enrollment_service_pb2_grpc,
    registry_pb2,
    registry_service_pb2_grpc,
)
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.client import CellClient, CellUrl, open_cell, open_cell_aio
from cellmesh.common.cell import Cell, running
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import (
    AuthDeny,
    BadUrl,
    Cancelled,
    CellUnreachable,
    DeadlineExceeded,
    IsFini,
    LinkBadCert,
    NoSuchCert,
    NoSuchName,
)
from cellmesh.common.tls import certs
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import UserIdentity

INFO = cell_service_pb2.GetCellInfoRequest()


class TrialConfig(CellConfig):
    kind: ClassVar[str] = "trial"


class TrialCell(Cell[TrialConfig]):
    kind = "trial"


def make_cell(folder: Path, **flags: Any) -> TrialCell:
    return TrialCell(load_config(TrialConfig, dir=folder, flags=flags, environ={}))


def ask_id(client: CellClient, **options: Any) -> str:
    return str(client.stub(cell_service_pb2_grpc.CellServiceStub).GetCellInfo(INFO, **options).cell.cell_id)


async def ask_id_aio(url: str, **options: Any) -> str:
    async with open_cell_aio(url, **options) as client:
        response = await client.stub(cell_service_pb2_grpc.CellServiceStub).GetCellInfo(INFO)
        return str(response.cell.cell_id)


class Mesh:
    """A running AHA, and what is needed to enrol with it."""

    def __init__(self, aha: AhaCell, folder: Path) -> None:
        self.aha = aha
        self.folder = folder
        self.root = aha.root_folder.path

    def enrollment_url(self, **subject: str) -> str:
        with open_cell("aha://aha", identity=self.root) as client:
            stub = client.stub(enrollment_service_pb2_grpc.CertificateServiceStub)
            return str(stub.CreateEnrollment(enrollment_pb2.CreateEnrollmentRequest(**subject)).url)

    def add_user(self, name: str) -> Path:
        path = self.folder / "users" / name
        enroll(self.enrollment_url(user=name), IdentityFolder(path))
        return path

    def make_cell(self, instance: str, folder: str = "", **flags: Any) -> TrialCell:
        path = self.folder / (folder or instance)
        if not IdentityFolder(path / "certs").exists():
            flags["enroll"] = self.enrollment_url(instance=instance)
        return make_cell(path, **flags)


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    flags = {"network": "demo", "stop_grace_s": 0.5}
    with running(AhaCell(load_config(AhaConfig, dir=tmp_path / "aha", flags=flags, environ={}))) as aha:
        yield Mesh(aha, tmp_path)


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("grpc://127.0.0.1:4000", "grpc://127.0.0.1:4000"),
        ("grpc://[::1]:4000/", "grpc://[::1]:4000"),
        ("GRPCS://axon.example:1", "grpcs://axon.example:1"),
        ("grpcs://00.axon.demo@127.0.0.1:4000", "grpcs://00.axon.demo@127.0.0.1:4000"),
        ("unix:///run/a.sock", "unix:///run/a.sock"),
        ("aha://cortex.demo", "aha://cortex.demo"),
    ],
)
def test_urls_read_back(text: str, again: str) -> None:
    assert str(CellUrl.parse(text)) == again


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:4000",
        "http://a:1",
        "grpc://a",
        "grpc://a:0",
        "grpc://a:x",
        "grpc://me@a:1",
        "grpcs://@a:1",
        "unix://",
        "aha://",
        "aha://a:1",
        "aha://a/b",
    ],
)
def test_other_urls_are_refused_at_once(text: str) -> None:
    with pytest.raises(BadUrl) as caught:
        open_cell(text)
    assert caught.value.get("url") == text


def test_socket_folder_and_port_lead_to_the_same_cell(tmp_path: Path) -> None:
    with running(make_cell(tmp_path, insecure=True)) as cell:
        for url in (f"unix://{tmp_path}/cell.sock", f"unix://{tmp_path}", f"grpc://{cell.tcp_address}"):
            with open_cell(url) as client:
                assert ask_id(client) == cell.cell_id
            assert asyncio.run(ask_id_aio(url)) == cell.cell_id


def test_an_unreachable_cell_is_named_with_its_address_and_what_to_do(tmp_path: Path) -> None:
    with open_cell("grpc://127.0.0.1:9") as client, pytest.raises(CellUnreachable) as caught:
        ask_id(client)
    assert caught.value.get("address") == "127.0.0.1:9"
    assert str(caught.value).startswith("the cell cannot be reached at 127.0.0.1:9")
    assert "run.json" in caught.value.hint
    with pytest.raises(CellUnreachable) as caught:
        asyncio.run(ask_id_aio(f"unix://{tmp_path}/cell.sock"))
    assert caught.value.hint.endswith(f"start it with `cellmesh KIND serve --dir {tmp_path}`")


def test_a_client_finds_a_cell_that_starts_later(tmp_path: Path) -> None:
    with open_cell(f"unix://{tmp_path}/cell.sock") as client:
        with pytest.raises(CellUnreachable):
            ask_id(client)
        for _ in range(2):
            with running(make_cell(tmp_path, stop_grace_s=0)) as cell:
                assert ask_id(client) == cell.cell_id


def test_grpcs_speaks_with_the_identity_and_checks_the_name(mesh: Mesh) -> None:
    alice = mesh.add_user("alice")
    with running(mesh.make_cell("00.axon")) as cell:
        address = cell.tcp_address
        for url in (f"grpcs://{address}", f"grpcs://00.axon.demo@{address}", f"grpcs://axon.demo@{address}"):
            with open_cell(url, identity=alice) as client:
                assert ask_id(client) == cell.cell_id
            assert asyncio.run(ask_id_aio(url, identity=alice)) == cell.cell_id
        with open_cell(f"grpcs://00.cortex.demo@{address}", identity=alice) as client:
            with pytest.raises(LinkBadCert) as caught:
                ask_id(client)
            assert caught.value.get("name") == "00.cortex.demo"
        with pytest.raises(LinkBadCert):
            asyncio.run(ask_id_aio(f"grpcs://00.cortex.demo@{address}", identity=alice))


def test_a_refused_identity_and_a_wrong_scheme_are_told_apart_from_silence(
    mesh: Mesh, tmp_path: Path
) -> None:
    alice = mesh.add_user("alice")
    other = make_identity_of_another_authority(tmp_path / "other", trusting=IdentityFolder(alice))
    with running(mesh.make_cell("00.axon")) as cell:
        address = cell.tcp_address
        with (
            open_cell(f"grpcs://{address}", identity=other) as client,
            pytest.raises(CellUnreachable) as caught,
        ):
            ask_id(client)
        assert "does not accept this identity" in caught.value.hint
        with open_cell(f"grpc://{address}") as client, pytest.raises(CellUnreachable) as caught:
            ask_id(client)
        assert "try grpcs://" in caught.value.hint


def make_identity_of_another_authority(path: Path, *, trusting: IdentityFolder) -> Path:
    authority, authority_key = certs.make_authority("demo")
    key = certs.make_key()
    certificate = certs.issue(authority, authority_key, key.public_key(), UserIdentity("root", "demo"))
    mesh = trusting.mesh()
    assert mesh is not None
    IdentityFolder(path).store(
        certs.to_pem(certificate), certs.key_to_pem(key), trusting.load().authority_pem, mesh
    )
    return path


def test_tls_without_an_identity_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("grpcs://127.0.0.1:1", "aha://cortex"):
        with pytest.raises(NoSuchCert, match="cellmesh enroll") as caught:
            open_cell(url, identity=tmp_path)
        assert caught.value.get("name") == str(tmp_path)
    monkeypatch.setenv("CELLMESH_IDENTITY", str(tmp_path / "mine"))
    with pytest.raises(NoSuchCert) as caught:
        open_cell("aha://cortex")
    assert caught.value.get("name") == str(tmp_path / "mine")


def test_a_name_leads_through_aha_to_the_cell(mesh: Mesh) -> None:
    alice = mesh.add_user("alice")
    with running(mesh.make_cell("00.axon")) as cell:
        for name in ("axon", "axon.demo", "00.axon.demo"):
            with open_cell(f"aha://{name}", identity=alice) as client:
                assert ask_id(client) == cell.cell_id
                assert client.address == cell.tcp_address
            assert asyncio.run(ask_id_aio(f"aha://{name}", identity=alice)) == cell.cell_id


def test_an_unknown_name_is_told_by_aha(mesh: Mesh) -> None:
    with open_cell("aha://nobody", identity=mesh.root) as client, pytest.raises(NoSuchName):
        ask_id(client)
    with pytest.raises(NoSuchName):
        asyncio.run(ask_id_aio("aha://nobody", identity=mesh.root))


def test_a_cell_that_moved_is_found_again_by_the_same_client(mesh: Mesh) -> None:
    async def ask_twice() -> None:
        async with open_cell_aio("aha://axon", identity=mesh.root) as client:
            stub = client.stub(cell_service_pb2_grpc.CellServiceStub)
            with running(mesh.make_cell("00.axon")) as cell:
                assert (await stub.GetCellInfo(INFO)).cell.cell_id == cell.cell_id
            with running(mesh.make_cell("00.axon")) as cell:
                assert (await stub.GetCellInfo(INFO)).cell.cell_id == cell.cell_id

    addresses = []
    with open_cell("aha://axon", identity=mesh.root) as client:
        for _ in range(3):
            with running(mesh.make_cell("00.axon")) as cell:
                assert ask_id(client) == cell.cell_id
                assert client.address == cell.tcp_address
                addresses.append(cell.tcp_address)
    assert len(set(addresses)) > 1
    asyncio.run(ask_twice())


def test_a_dead_address_in_the_registry_is_passed_over_for_a_live_one(mesh: Mesh) -> None:
    """Two cells of one service; one vanishes without a word, so that AHA still knows it."""
    with running(mesh.make_cell("00.axon")) as first, running(mesh.make_cell("01.axon")) as second:
        ids = {first.cell_id, second.cell_id}
        with open_cell("aha://axon", identity=mesh.root) as client:
            seen = ask_id(client)
            gone, left = (first, second) if seen == first.cell_id else (second, first)
            server = gone.server
            loop = server._server._loop  # type: ignore[union-attr]
            asyncio.run_coroutine_threadsafe(server.stop_now(), loop).result(5)
            assert ask_id(client) == left.cell_id
        assert {gone.cell_id, left.cell_id} == ids


def test_without_aha_a_name_says_that_aha_is_away(mesh: Mesh) -> None:
    alice = mesh.add_user("alice")
    address = mesh.aha.tcp_address
    loop = mesh.aha.server._server._loop  # type: ignore[union-attr]
    asyncio.run_coroutine_threadsafe(mesh.aha.stop(), loop).result(10)
    with open_cell("aha://axon", identity=alice) as client, pytest.raises(CellUnreachable) as caught:
        ask_id(client)
    assert caught.value.get("name") == "aha.demo"
    assert caught.value.get("address") == address
    assert "found through AHA" in caught.value.hint


def test_refusals_come_back_as_their_class(mesh: Mesh) -> None:
    alice = mesh.add_user("alice")
    request = enrollment_pb2.CreateEnrollmentRequest(user="mallory")
    with open_cell("aha://aha", identity=alice) as client, pytest.raises(AuthDeny):
        client.stub(enrollment_service_pb2_grpc.CertificateServiceStub).CreateEnrollment(request)


def test_streams_flow_and_end_when_cancelled(mesh: Mesh) -> None:
    request = registry_pb2.WatchInstancesRequest()
    with open_cell("aha://aha", identity=mesh.root) as client:
        watch = client.stub(registry_service_pb2_grpc.RegistryServiceStub).WatchInstances(request)
        assert any(change.instance.name == "00.aha.demo" for change in next(watch).changes)
        with running(mesh.make_cell("00.axon")):
            assert any(change.instance.name == "00.axon.demo" for change in next(watch).changes)
        watch.cancel()
        with pytest.raises(Cancelled):
            list(watch)

    async def watch_aio() -> None:
        async with open_cell_aio("aha://aha", identity=mesh.root) as client:
            stub = client.stub(registry_service_pb2_grpc.RegistryServiceStub)
            async for message in stub.WatchInstances(request):
                assert message.changes
                break

    asyncio.run(watch_aio())


def test_a_deadline_is_kept(tmp_path: Path) -> None:
    class SlowCell(TrialCell):
        def change_offset(self) -> int:
            time.sleep(0.4)
            return 0

    with (
        running(SlowCell(load_config(TrialConfig, dir=tmp_path, environ={}))),
        open_cell(f"unix://{tmp_path}", timeout_s=0.1) as client,
    ):
        with pytest.raises(DeadlineExceeded):
            ask_id(client)
        assert ask_id(client, timeout=5)


def test_a_closed_client_says_so(tmp_path: Path) -> None:
    with running(make_cell(tmp_path)):
        client = open_cell(f"unix://{tmp_path}")
        ask_id(client)
        client.close()
        with pytest.raises(IsFini):
            ask_id(client)


def test_threads_share_a_client(tmp_path: Path) -> None:
    with running(make_cell(tmp_path)) as cell, open_cell(f"unix://{tmp_path}") as client:
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda: found.extend(ask_id(client) for _ in range(20))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [cell.cell_id] * 160


def test_calls_made_at_once_each_hear_that_the_cell_is_away(tmp_path: Path) -> None:
    """One that finds out first must not end the others as cancelled."""
    url = f"unix://{tmp_path}/cell.sock"

    async def many() -> list[BaseException | str]:
        async with open_cell_aio(url) as client:
            stub = client.stub(cell_service_pb2_grpc.CellServiceStub)
            calls = (stub.GetCellInfo(INFO) for _ in range(30))
            return await asyncio.gather(*calls, return_exceptions=True)

    assert {type(outcome) for outcome in asyncio.run(many())} == {CellUnreachable}
    outcomes: list[type] = []

    def call(client: CellClient) -> None:
        for _ in range(10):
            try:
                ask_id(client)
            except Exception as error:  # noqa: BLE001
                outcomes.append(type(error))

    with open_cell(url) as client:
        threads = [threading.Thread(target=call, args=(client,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outcomes == [CellUnreachable] * 60


def test_calls_made_at_once_all_find_the_cell_that_moved(mesh: Mesh) -> None:
    async def many() -> None:
        async with open_cell_aio("aha://axon", identity=mesh.root) as client:
            stub = client.stub(cell_service_pb2_grpc.CellServiceStub)
            for _ in range(2):
                with running(mesh.make_cell("00.axon", stop_grace_s=0)) as cell:
                    answers = await asyncio.gather(*(stub.GetCellInfo(INFO) for _ in range(30)))
                    assert {answer.cell.cell_id for answer in answers} == {cell.cell_id}

    asyncio.run(many())


def test_the_client_needs_no_storage() -> None:
    import subprocess
    import sys

    code = "import sys, cellmesh.client\nassert 'lmdb' not in sys.modules\nassert 'pydantic' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", code], check=True)
