"""The TypeScript example against a real mesh: compiled strictly, by AHA and over mutual TLS, and by the socket."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.cli.mesh import Mesh

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "typescript"
BIG = 2**60 + 1


@pytest.fixture(scope="module")
def program() -> Path:
    if shutil.which("npm") is None:
        pytest.skip("there is no Node.js here")
    if not (EXAMPLE / "node_modules").is_dir():
        pytest.skip("its packages are not installed: make typescript")
    done = subprocess.run(
        ["npm", "run", "--silent", "build"],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return EXAMPLE / "dist" / "main.js"


@pytest.fixture(scope="module")
def mesh(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    made = Mesh(tmp_path_factory.mktemp("m"), cells=("aha", "cortex"), network="demo")
    try:
        made.up()
        yield made
    finally:
        made.down()


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", str(program), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_nodes_come_by_the_socket_and_through_aha(program: Path, mesh: Mesh) -> None:
    text = f"[ inet:fqdn=ts.example +#my.tag inet:dns:a=(ts.example, 1.2.3.4) it:dev:int={BIG} ]"
    done = run(program, "--socket", str(mesh.folder("cortex") / "cell.sock"), text)
    assert done.returncode == 0, done.stderr
    fqdn, dns, number = map(json.loads, done.stdout.splitlines())
    assert (fqdn["form"], fqdn["value"], fqdn["props"]["zone"]) == ("inet:fqdn", "ts.example", "ts.example")
    assert fqdn["tags"] == ["my", "my.tag"]
    assert dns["value"] == ["ts.example", 0x01020304]
    assert number["value"] == str(BIG)
    done = run(program, "--identity", str(mesh.identity), "inet:fqdn=$name", "name=ts.example")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["value"] == "ts.example"


def test_a_failing_query_and_a_socket_that_is_not_there_fail(program: Path, mesh: Mesh) -> None:
    done = run(program, "--identity", str(mesh.identity), "inet:fqdn=+(")
    assert done.returncode == 1
    assert done.stderr.startswith("BadSyntax: ")
    done = run(program, "--socket", str(mesh.dir / "nowhere.sock"), "inet:fqdn")
    assert (done.returncode, done.stdout) == (1, "")
