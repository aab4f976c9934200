"""The commands of docs/aha.md do what the page says; a pool of several Axons, each a process."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.cli.main import run
from cellmesh.cli.mesh import Mesh
from cellmesh.client import CellClient, open_cell

PAGE = Path(__file__).resolve().parents[2] / "docs" / "aha.md"
BIN = Path(sys.executable).parent
AXONS = ("one", "two", "three")


def commands() -> list[str]:
    """The lines of the page's shell blocks, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    made = Mesh(tmp_path_factory.mktemp("aha-page") / "mesh", cells=("axon", "cryotank"))
    made.up()
    yield made
    made.down()


def test_the_commands_of_the_page_work(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mesh.dir.parent)
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    told: dict[str, str] = {}
    first, *others = commands()
    assert first == "cellmesh up --dir mesh"
    for command in others:
        if "$(" in command:
            subprocess.run(command, shell=True, check=True, capture_output=True)
            continue
        code = run(shlex.split(command)[1:])
        shown = capsys.readouterr()
        assert code == 0, f"{command}: {shown.err}"
        told[command] = shown.out
    assert "02.axon.mesh" in told["cellmesh aha enrollments list --open --dir mesh"]
    assert told["cellmesh aha enrollments delete --all --dir mesh"] == "3 deleted\n"
    assert "blobs  axon cryotank 01.axon" in told["cellmesh aha pool list --dir mesh"]
    assert (
        "spiffe://mesh/user/alice" in told["cellmesh aha revoke alice@mesh --reason 'lost laptop' --dir mesh"]
    )
    assert "revoked" in told["cellmesh cert list --ca lab-ca"]


@pytest.fixture
def axons(mesh: Mesh, tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Three Axons, each of a service of its own."""
    processes = {}
    for name in AXONS:
        command = [str(BIN / "cellmesh"), "axon", "serve", "--dir", str(tmp_path / name)]
        command += ["--enroll", mesh.provision(instance=f"00.{name}"), "--log-level", "error"]
        processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    yield processes
    for process in processes.values():
        process.terminate()
    for process in processes.values():
        process.wait(20)


def until(check: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def answering(client: CellClient, count: int = 9) -> set[str]:
    """Which cells answer calls, one after another."""
    stub = client.stub(cell_service_pb2_grpc.CellServiceStub)
    request = cell_service_pb2.GetCellInfoRequest()
    return {stub.GetCellInfo(request).cell.name.split(".")[1] for _ in range(count)}


def test_calls_are_spread_over_axons_and_follow_them(
    mesh: Mesh, axons: dict[str, subprocess.Popen[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ("--dir", str(mesh.dir))
    with open_cell(mesh.url("aha"), identity=mesh.identity) as aha:
        from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc

        registry = aha.stub(registry_service_pb2_grpc.RegistryServiceStub)

        def registered() -> set[str]:
            found = registry.ListInstances(registry_pb2.ListInstancesRequest(ready=True)).instances
            return {item.service for item in found}

        until(lambda: set(AXONS) <= registered())
    assert run(["aha", "pool", "create", "trio", "one", "two", *folder]) == 0
    with open_cell("aha://trio", identity=mesh.identity) as client:
        assert answering(client) == {"one", "two"}
        assert run(["aha", "pool", "add", "trio", "three", *folder]) == 0
        until(lambda: answering(client) == set(AXONS))
        blobs = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        for number in range(9):
            blobs.PutBlobs(blob_pb2.PutBlobsRequest(contents=[b"%d" % number]))
        axons["two"].send_signal(signal.SIGKILL)
        axons["two"].wait(10)
        # No call fails of it.
        assert answering(client) == {"one", "three"}
        assert run(["aha", "down", "00.three", *folder]) == 0
        until(lambda: answering(client) == {"one"})
        assert run(["aha", "up", "00.three", *folder]) == 0
        until(lambda: answering(client) == {"one", "three"})
