"""docs/client.md holds: its blocks are run from top to bottom, beside an AHA, an Axon and a Cortex over TLS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.api.aha.v1 import enrollment_pb2, enrollment_service_pb2_grpc
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.client import open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

PAGE = Path(__file__).resolve().parents[3] / "docs" / "client.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    flags: dict[str, Any] = {"network": "demo", "stop_grace_s": 0.5}
    with running(AhaCell(load_config(AhaConfig, dir=tmp_path / "aha", flags=flags, environ={}))) as aha:
        with open_cell("aha://aha", identity=aha.root_folder.path) as client:
            stub = client.stub(enrollment_service_pb2_grpc.CertificateServiceStub)
            urls = [
                stub.CreateEnrollment(enrollment_pb2.CreateEnrollmentRequest(instance=name)).url
                for name in ("00.axon", "00.cortex")
            ]
        axon_flags: dict[str, Any] = {"enroll": urls[0], "stop_grace_s": 0.5}
        cortex_flags: dict[str, Any] = {"enroll": urls[1], "stop_grace_s": 0.5}
        with (
            running(AxonCell(load_config(AxonConfig, dir=tmp_path / "axon", flags=axon_flags, environ={}))),
            running(
                CortexCell(load_config(CortexConfig, dir=tmp_path / "cortex", flags=cortex_flags, environ={}))
            ),
        ):
            (tmp_path / "work").mkdir()
            monkeypatch.chdir(tmp_path / "work")
            monkeypatch.setenv("CELLMESH_IDENTITY", str(aha.root_folder.path))
            monkeypatch.setenv("CELLMESH_ALIASES", str(tmp_path / "aliases.toml"))
            monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
            yield tmp_path


def test_every_block_of_the_page_runs(mesh: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    kinds: list[str] = []
    for found in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        kind, text = found.groups()
        kinds.append(kind)
        # Blank lines put each block at its line of the page, so that a traceback names it.
        above = "\n" * PAGE.read_text(encoding="utf-8")[: found.start()].count("\n")
        match kind:
            case "python":
                exec(compile(f"{above}\n{text}", str(PAGE), "exec"), names)
            case "sh":
                done = subprocess.run(
                    ["bash", "-e", "-o", "pipefail", "-c", text], capture_output=True, text=True, timeout=60
                )
                assert done.returncode == 0, f"{text}\n{done.stderr}"
            case "toml":
                assert tomllib.loads(text)
            case _:
                pytest.fail(f"a block of kind {kind} is not run")
    assert kinds.count("python") >= 8
    assert kinds.count("sh") >= 2


def test_the_page_names_every_scheme_and_every_option_of_open() -> None:
    import inspect

    from cellmesh.client import Scheme

    text = PAGE.read_text(encoding="utf-8")
    for scheme in Scheme:
        assert f"`{scheme.value}://" in text
    for name in inspect.signature(open_cell).parameters:
        assert name == "url" or f"{name}=" in text, name
