"""The demo's own path, from the packages to the answers, on a small cut of the same files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.cli.demo.command import load, open_of, run
from cellmesh.cli.demo.load import Report
from cellmesh.cli.demo.questions import QUESTIONS, ask
from cellmesh.cli.demo.records import SourceFile
from cellmesh.cli.demo.sources import Manifest, fetch
from cellmesh.cli.mesh import Mesh
from cellmesh.common.cell.folder import read_run
from cellmesh.common.errors import CellError, HashMismatch
from cellmesh.common.values import from_value
from rich.console import Console

DOWNLOADS = Path(__file__).resolve().parents[2] / "build" / "downloads"
CLUSTERS = (
    "threat-actor.json", "mitre-intrusion-set.json", "mitre-attack-pattern.json", "mitre-course-of-action.json",
    "mitre-malware.json", "sector.json", "country.json", "sigma-rules.json", "firearms.json", "rsit.json",
)  # fmt: skip
KEPT = 120
RELATIONSHIPS_KEPT = 6000


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return Manifest.shipped()


@pytest.fixture(scope="module")
def files(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> list[SourceFile]:
    """The head of some files of the pack, taken from the real packages."""
    folder = tmp_path_factory.mktemp("cut")
    whole = fetch(manifest, DOWNLOADS, lambda text: None)
    assert len(whole) == 114
    return [cut(file, folder) for file in whole if file.name in CLUSTERS or "lookup" in file.name]


def cut(file: SourceFile, folder: Path) -> SourceFile:
    content = json.loads(file.path.read_bytes())
    for name, rows in content.items():
        if isinstance(rows, list):
            content[name] = rows[: RELATIONSHIPS_KEPT if name == "relationships" else KEPT]
    path = folder / file.name
    path.write_text(json.dumps(content), encoding="utf-8")
    return SourceFile(file.name, path, file.package, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    mesh = Mesh(tmp_path / "mesh")
    mesh.up()
    yield mesh
    mesh.down()


def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def call(mesh: Mesh, text: str) -> Any:
    with open_of(mesh, "cortex") as cortex:
        response = cortex.stub(StormServiceStub).CallStorm(storm_pb2.CallStormRequest(text=text))
        return from_value(response.value)


def graph_of(mesh: Mesh) -> tuple[list[bytes], list[Any]]:
    """Every node and every edge, in an order of its own, without the times of creation."""
    nodes = []
    edges = []
    with open_of(mesh, "cortex") as cortex:
        stub = cortex.stub(StormServiceStub)
        for form in sorted(call(mesh, "return($lib.view.get().getFormCounts())")):
            for response in stub.Storm(storm_pb2.StormRequest(text=form)):
                for message in response.messages:
                    if message.HasField("node"):
                        message.node.props.pop(".created", None)
                        nodes.append(message.node.SerializeToString(deterministic=True))
        edges = sorted(
            map(
                tuple, call(mesh, "$l=([]) for $e in $lib.view.get().getEdges() { $l.append($e) } return($l)")
            )
        )
    return sorted(nodes), edges


def load_into(mesh: Mesh, manifest: Manifest, files: list[SourceFile], folder: Path) -> Report:
    with open_of(mesh, "axon") as axon, open_of(mesh, "cryotank") as tanks, open_of(mesh, "cortex") as cortex:
        return load(axon, tanks, cortex, manifest, files, folder, console())


def test_the_pack_loads_answers_and_loading_it_again_changes_nothing(
    mesh: Mesh, manifest: Manifest, files: list[SourceFile], tmp_path: Path
) -> None:
    out = console()
    report = run(mesh, manifest, files, tmp_path, out)
    assert report is not None
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert report.nodes_made > 3000
    assert report.edges_made > 3000
    for number, question in enumerate(QUESTIONS, 1):
        assert f"{number}. {question.title.split(',')[0]}" in text
    with open_of(mesh, "cortex") as cortex:
        assert all(ask(cortex, question)[0] for question in QUESTIONS[1:])
    rejects = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert len(rejects) == len(report.rejects) > 0
    assert all(reject["reason"] for reject in rejects)

    again = load_into(mesh, manifest, files, tmp_path)
    assert (again.records_new, again.nodes_made, again.edges_made, again.edits) == (0, 0, 0, 0)


def test_a_cortex_killed_during_the_load_ends_with_the_same_graph(
    mesh: Mesh, manifest: Manifest, files: list[SourceFile], tmp_path: Path
) -> None:
    failures: list[BaseException] = []

    def loading() -> None:
        try:
            load_into(mesh, manifest, files, tmp_path)
        except CellError as error:
            failures.append(error)

    thread = threading.Thread(target=loading)
    thread.start()
    while thread.is_alive() and call(mesh, "return($lib.len($lib.view.get().getFormCounts()))") < 20:
        thread.join(0.02)
    found = read_run(mesh.folder("cortex"))
    assert found is not None
    os.kill(found["pid"], signal.SIGKILL)
    thread.join()
    assert failures, "the load was over before the kill"
    assert "cortex" in str(failures[0])
    mesh.up()
    load_into(mesh, manifest, files, tmp_path)
    killed = graph_of(mesh)

    clean = Mesh(tmp_path / "clean")
    clean.up()
    try:
        load_into(clean, manifest, files, tmp_path)
        assert graph_of(clean) == killed
    finally:
        clean.down()


def test_a_package_that_is_not_the_promised_one_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / manifest.packages[0].wheel).write_bytes(b"something else")
    with pytest.raises(HashMismatch, match=manifest.packages[0].wheel):
        fetch(manifest, tmp_path, lambda text: None)
