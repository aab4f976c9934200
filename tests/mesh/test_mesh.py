"""A real mesh: processes started by `Mesh.up`, mutual TLS, look-ups through AHA."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.api.common.v1 import (
    auth_pb2,
    auth_service_pb2,
    auth_service_pb2_grpc,
    cell_service_pb2,
    cell_service_pb2_grpc,
)
from cellmesh.cli.mesh import KINDS, Mesh, processes
from cellmesh.client import open_cell
from cellmesh.common.errors import AuthDeny, CellUnreachable, NoSuchDir, SpawnExit, StorageLocked
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.folder import IdentityFolder

BUF = Path(sys.executable).with_name("buf")
CELLS = KINDS


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    made = Mesh(tmp_path_factory.mktemp("m"), cells=CELLS, network="demo")
    try:
        made.up()
        yield made
    finally:
        made.down()


def address_of(mesh: Mesh, kind: str) -> str:
    running = processes.find_running(mesh.folder(kind))
    assert running is not None
    return running.addresses[0]


def pid_of(mesh: Mesh, kind: str) -> int:
    running = processes.find_running(mesh.folder(kind))
    assert running is not None
    return running.pid


def kill(mesh: Mesh, kind: str) -> int:
    pid = pid_of(mesh, kind)
    os.kill(pid, signal.SIGKILL)
    assert processes._wait_gone(pid, mesh._children.get(kind), 10.0)
    return pid


def put(mesh: Mesh, contents: list[bytes]) -> list[bytes]:
    with open_cell(mesh.url("axon"), identity=mesh.identity) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        return [blob.sha256 for blob in stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=contents)).blobs]


def get(mesh: Mesh, sha256: bytes) -> bytes:
    with open_cell(mesh.url("axon"), identity=mesh.identity) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        return b"".join(message.data for message in stub.GetBlob(blob_pb2.GetBlobRequest(sha256=sha256)))


def test_every_cell_is_its_own_process_and_found_through_aha(mesh: Mesh) -> None:
    cells = mesh.status()
    assert [cell.kind for cell in cells] == list(CELLS)
    assert {cell.state for cell in cells} == {"ready"}
    assert len({cell.pid for cell in cells}) == len(CELLS)
    for kind in CELLS:
        with open_cell(mesh.url(kind), identity=mesh.identity) as client:
            stub = client.stub(cell_service_pb2_grpc.CellServiceStub)
            cell = stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest()).cell
        assert (cell.kind, cell.name) == (kind, f"00.{kind}.demo")


def test_the_registry_lists_the_mesh(mesh: Mesh) -> None:
    with open_cell(mesh.url("aha"), identity=mesh.identity) as client:
        stub = client.stub(registry_service_pb2_grpc.RegistryServiceStub)
        found = stub.ListInstances(registry_pb2.ListInstancesRequest()).instances
    assert {(item.name, item.address, item.ready) for item in found} == {
        (f"00.{kind}.demo", address_of(mesh, kind), True) for kind in CELLS
    }


STOCK_CLIENT = """
import sys
import grpc
from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc

registry, folder = sys.argv[1:]
read = lambda name: open(f"{folder}/{name}", "rb").read()
credentials = grpc.ssl_channel_credentials(read("ca.crt"), read("cell.key"), read("cell.crt"))
with grpc.secure_channel(registry, credentials) as channel:
    stub = registry_service_pb2_grpc.RegistryServiceStub(channel)
    address = stub.GetService(registry_pb2.GetServiceRequest(name="axon")).instances[0].address
with grpc.secure_channel(address, credentials) as channel:
    stub = blob_service_pb2_grpc.BlobServiceStub(channel)
    sha256 = stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=[b"from a stock client"])).blobs[0].sha256
    print(b"".join(message.data for message in stub.GetBlob(blob_pb2.GetBlobRequest(sha256=sha256))).decode())
ours = [name for name in sys.modules if name.startswith("cellmesh.") and not name.startswith("cellmesh.api")]
assert not ours, ours
"""


def test_a_stock_client_with_certificates_needs_no_code_of_ours(mesh: Mesh) -> None:
    """grpcio and generated stubs only; the script checks that nothing else of ours was imported."""
    command = [sys.executable, "-c", STOCK_CLIENT, address_of(mesh, "aha"), str(mesh.identity)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "from a stock client\n"), done.stderr


def buf_curl(mesh: Mesh, kind: str, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    folder = mesh.identity
    files = ("--cacert", f"{folder}/ca.crt", "--cert", f"{folder}/cell.crt", "--key", f"{folder}/cell.key")
    url = f"https://{address_of(mesh, kind)}{path}"
    command = [str(BUF), "curl", "--protocol", "grpc", *files, *arguments, url]
    # In an empty folder, so that buf learns the services by reflection alone.
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=mesh.dir)


def test_buf_curl_lists_services_by_reflection_and_calls_them(mesh: Mesh) -> None:
    expected = {
        "aha": "cellmesh.api.aha.v1.RegistryService",
        "axon": "cellmesh.api.axon.v1.BlobService",
        "cryotank": "cellmesh.api.cryotank.v1.TankService",
        "cortex": "cellmesh.api.cortex.v1.StormService",
    }
    for kind in CELLS:
        listed = buf_curl(mesh, kind, "--list-services")
        assert expected[kind] in listed.stdout.split(), listed.stderr
        assert "grpc.health.v1.Health" in listed.stdout.split()
        told = buf_curl(mesh, kind, path="/cellmesh.api.common.v1.CellService/GetCellInfo")
        assert json.loads(told.stdout)["cell"]["kind"] == kind
        health = buf_curl(mesh, kind, path="/grpc.health.v1.Health/Check")
        assert json.loads(health.stdout)["status"] == "SERVING"


def refusal(channel: grpc.Channel) -> grpc.StatusCode:
    with channel, pytest.raises(grpc.RpcError) as caught:
        cell_service_pb2_grpc.CellServiceStub(channel).GetCellInfo(
            cell_service_pb2.GetCellInfoRequest(), timeout=10
        )
    return caught.value.code()


def test_without_a_certificate_nobody_is_heard(mesh: Mesh) -> None:
    authority = grpc.ssl_channel_credentials((mesh.identity / "ca.crt").read_bytes())
    for kind in CELLS:
        address = address_of(mesh, kind)
        assert refusal(grpc.secure_channel(address, authority)) is grpc.StatusCode.UNAVAILABLE
        assert refusal(grpc.insecure_channel(address)) is grpc.StatusCode.UNAVAILABLE


def test_an_enrolled_user_is_a_member_of_the_cells_that_know_it(mesh: Mesh, tmp_path: Path) -> None:
    identity = IdentityFolder(tmp_path / "alice")
    assert enroll(mesh.provision(user="alice"), identity).name == "alice@demo"
    with open_cell(mesh.url("axon"), identity=identity.path) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        with pytest.raises(AuthDeny, match="cellmesh auth user add alice"):
            stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest())
        with open_cell(mesh.url("axon"), identity=mesh.identity) as root:
            users = root.stub(auth_service_pb2_grpc.AuthServiceStub)
            users.CreateUser(auth_service_pb2.CreateUserRequest(name="alice"))
            with pytest.raises(AuthDeny, match="no rule of user alice"):
                stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest())
            rule = auth_pb2.Rule(allow=True, path=["axon"])
            users.AddRule(auth_service_pb2.AddRuleRequest(user="alice", rule=rule))
        assert stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest()).blob_count >= 0


def test_a_second_process_on_the_same_folder_is_told_so(mesh: Mesh) -> None:
    command = [sys.executable, "-m", "cellmesh.cli.main", "axon", "serve", "--dir", str(mesh.folder("axon"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"in use by process {pid_of(mesh, 'axon')}" in done.stderr
    assert "--dir" in done.stderr


def test_up_on_a_running_mesh_says_so_and_touches_nothing(mesh: Mesh) -> None:
    before = [cell.pid for cell in mesh.status()]
    told: list[str] = []
    cells = Mesh(mesh.dir, cells=CELLS).up(progress=told.append)
    assert [cell.pid for cell in cells] == before
    assert told == [f"the mesh under {mesh.dir} runs already"]


def test_a_killed_axon_comes_back_with_its_blobs(mesh: Mesh) -> None:
    contents = [os.urandom(size) for size in (0, 1, 70_000, 1_000_000)]
    names = put(mesh, contents)
    assert names == [hashlib.sha256(content).digest() for content in contents]
    others = {kind: pid_of(mesh, kind) for kind in CELLS if kind != "axon"}
    old = kill(mesh, "axon")
    assert {cell.kind: cell.state for cell in mesh.status()}["axon"] == "stopped"
    told: list[str] = []
    mesh.up(progress=told.append)
    assert len([text for text in told if "serves at" in text]) == 1
    assert pid_of(mesh, "axon") != old
    assert {kind: pid_of(mesh, kind) for kind in CELLS if kind != "axon"} == others
    assert [get(mesh, name) for name in names] == contents


def test_a_killed_aha_comes_back_and_still_knows_the_others(mesh: Mesh) -> None:
    address = address_of(mesh, "aha")
    others = {kind: pid_of(mesh, kind) for kind in CELLS if kind != "aha"}
    kill(mesh, "aha")
    with pytest.raises(CellUnreachable, match="aha"):
        put(mesh, [b"x"])
    unreachable = {cell.kind: cell for cell in mesh.status()}
    assert unreachable["axon"].state == "unreachable"
    assert "aha" in unreachable["axon"].problem
    mesh.up()
    assert address_of(mesh, "aha") == address
    assert {kind: pid_of(mesh, kind) for kind in CELLS if kind != "aha"} == others
    assert put(mesh, [b"x"]) == [hashlib.sha256(b"x").digest()]


def test_a_mesh_stops_cleanly_and_starts_again(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path / "m", cells=("axon",))
    mesh.up()
    (name,) = put(mesh, [b"kept"])
    told: list[str] = []
    stopped = mesh.down(progress=told.append)
    assert [(cell.kind, cell.killed) for cell in stopped] == [("axon", False), ("aha", False)]
    assert all("stopped in" in text for text in told)
    assert [cell.state for cell in mesh.status()] == ["stopped", "stopped"]
    assert [cell.pid for cell in mesh.down()] == [None, None]
    assert not (mesh.folder("axon") / "run.json").exists()
    # Another program may take AHA's port while the mesh is down: AHA moves, and the others are told.
    port = int((mesh.folder("aha") / "cell.toml").read_text().rpartition(":")[2].split('"')[0])
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        try:
            mesh.up()
            assert get(mesh, name) == b"kept"
            assert not address_of(mesh, "aha").endswith(f":{port}")
        finally:
            mesh.down()


def test_a_cell_that_cannot_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path / "m", cells=("axon",))
    mesh.folder("axon").mkdir(parents=True)
    (mesh.folder("axon") / "cell.toml").write_text("chunk_size_bytes = 1\n")
    try:
        with pytest.raises(SpawnExit, match="the axon did not start: the setting chunk_size_bytes cannot be"):
            mesh.up()
    finally:
        mesh.down()


def test_an_interrupted_up_leaves_nothing_that_the_next_one_stumbles_over(tmp_path: Path) -> None:
    """The signal comes when the process of AHA has been started, and most likely does not serve yet."""
    made = Mesh(tmp_path / "m", cells=("aha",))
    code = "import sys; from cellmesh.cli.mesh import Mesh; Mesh(sys.argv[1], cells=('aha',)).up()"
    command = [sys.executable, "-c", code, str(made.dir)]
    starting = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 30
    while not made.log("aha").exists() and time.monotonic() < until:
        time.sleep(0.01)
    starting.send_signal(signal.SIGINT)
    starting.wait(timeout=60)
    try:
        (aha,) = made.up()
        assert aha.is_ready
    finally:
        made.down()


def test_a_folder_without_a_mesh_is_told_so(tmp_path: Path) -> None:
    for call in (Mesh(tmp_path / "none").down, Mesh(tmp_path / "none").status):
        with pytest.raises(NoSuchDir, match="cellmesh up"):
            call()
    assert not (tmp_path / "none").exists()


def test_two_at_a_time_do_not_work_on_one_mesh(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path / "m", cells=("axon",))
    begin = time.monotonic()
    with mesh._working(), pytest.raises(StorageLocked, match="works on"):
        Mesh(tmp_path / "m").up()
    assert time.monotonic() - begin < 5


def test_nodes_made_through_the_command_survive_a_killed_cortex(mesh: Mesh) -> None:
    """`cellmesh storm` on the real Cortex: what it said was done is there after SIGKILL."""
    made = storm(mesh, "[inet:fqdn=vertex.link inet:fqdn=example.org +#seen]")
    assert made.returncode == 0, made.stderr
    kill(mesh, "cortex")
    refused = storm(mesh, "inet:fqdn")
    assert refused.returncode == 1
    assert "cortex" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    mesh.up()
    found = storm(mesh, "#seen", "--jsonl")
    nodes = [json.loads(line) for line in found.stdout.splitlines()]
    assert [node["value"] for node in nodes if node["type"] == "node"] == ["vertex.link", "example.org"]


def test_a_wrong_query_shows_the_place_with_a_caret(mesh: Mesh) -> None:
    cases = (("inet:fqdn | limit 1 {", "{"), ("inet:fqdn | limit 1 | [ +#a inet:ipv4=foo ]", "inet:ipv4=foo"))
    for query, place in cases:
        wrong = storm(mesh, query)
        assert wrong.returncode == 1
        lines = wrong.stderr.splitlines()
        shown = next(index for index, line in enumerate(lines) if line.strip() == query)
        assert lines[shown + 1].index("^") == lines[shown].index(place)


def storm(mesh: Mesh, query: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cellmesh.cli.main", "storm", "--dir", str(mesh.dir), *options, query]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
