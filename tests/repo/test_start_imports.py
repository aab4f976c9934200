"""What a start leaves out: nearly all the time that a process takes to answer is imports, so those are watched by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# Telemetry, certificates, mirrors and what only callers, tools and tests need.
NEVER = {
    "aiohttp",
    "cellmesh.cli.mesh",
    "cellmesh.client",
    "cellmesh.common.telemetry.endpoint",
    "cellmesh.testing",
    "httpx",
    "opentelemetry",
    "prometheus_client",
    "pydantic_settings",
    "pytest",
}
OUTSIDE_OF_A_MESH = NEVER | {
    "cellmesh.common.cell.registration",
    "cellmesh.common.mirror.role",
    "cellmesh.common.mirror.seed",
    "cellmesh.common.tls.certs",
    "cryptography",
}
OF_A_CALLER = (NEVER - {"cellmesh.client", "cellmesh.cli.mesh"}) | {
    "cellmesh.common.cell.base",
    "cellmesh.common.config",
    "cellmesh.common.rpc.server",
    "cellmesh.common.storage.slab",
    "cryptography",
    "lmdb",
    "pydantic",
}
OF_NO_CALL = OF_A_CALLER | {"cellmesh.client", "google.protobuf", "grpc"}

IMPORTED = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", re.M)


def command(*arguments: str) -> list[str]:
    """The command line, which tells on standard error what it imports."""
    return [sys.executable, "-X", "importtime", "-m", "cellmesh.cli.main", *arguments]


def imported_of(told: str, unwanted: set[str]) -> list[str]:
    """Which of the unwanted modules and packages were imported."""
    found = set(IMPORTED.findall(told))
    assert "click" in found, told[-2000:]
    return sorted(found & unwanted)


def told_at_start(*arguments: str) -> str:
    """What a cell tells on standard error until it serves."""
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(
            command(*arguments, "--log-level", "error"),
            stdout=subprocess.PIPE,
            stderr=told,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            assert process.stdout is not None
            assert b"serving at" in process.stdout.readline()
        finally:
            process.terminate()
            process.wait(30.0)
        told.seek(0)
        return told.read()


@pytest.mark.parametrize("kind", ["axon", "cortex", "cryotank"])
def test_a_cell_outside_of_a_mesh_starts_with_what_it_needs(kind: str, tmp_path: Path) -> None:
    told = told_at_start(kind, "serve", "--dir", str(tmp_path / kind), "--insecure")
    assert imported_of(told, OUTSIDE_OF_A_MESH) == []


def test_the_registry_starts_without_telemetry_and_clients(tmp_path: Path) -> None:
    told = told_at_start("aha", "serve", "--dir", str(tmp_path / "aha"))
    assert imported_of(told, NEVER) == []


def test_a_command_that_calls_a_cell_needs_no_server_and_no_storage(tmp_path: Path) -> None:
    (tmp_path / "cell.json").write_text('{"cell_id": "00", "kind": "axon"}')
    done = subprocess.run(
        command("kv", "get", "--dir", str(tmp_path), "app/colour"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert imported_of(done.stderr, OF_A_CALLER) == []


def test_the_version_is_told_without_grpc() -> None:
    done = subprocess.run(command("version"), capture_output=True, text=True, check=True)
    assert re.fullmatch(r"cellmesh \S+, Python \S+, grpcio \S+\n", done.stdout)
    assert imported_of(done.stderr, OF_NO_CALL) == []
