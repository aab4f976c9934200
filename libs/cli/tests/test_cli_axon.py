"""`cellmesh axon` against real Axons."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import random
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.axon import schema
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.cli import blobs
from cellmesh.cli.main import run
from cellmesh.common.cell import running
from cellmesh.common.config import load_config

MIB = 1024 * 1024


def start(folder: Path) -> Any:
    return running(AxonCell(load_config(AxonConfig, dir=folder, environ={})))


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[AxonCell]:
    with start(tmp_path / "axon") as made:
        yield made


def content_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def put(tmp_path: Path, *sizes: int) -> list[str]:
    for size in sizes:
        (tmp_path / f"file{size}").write_bytes(content_of(size))
    assert (
        run(["axon", "put", "--dir", f"{tmp_path}/axon", *(f"{tmp_path}/file{size}" for size in sizes)]) == 0
    )
    return [hashlib.sha256(content_of(size)).hexdigest() for size in sizes]


def test_blobs_are_put_told_and_removed(
    tmp_path: Path, cell: AxonCell, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--dir", f"{tmp_path}/axon"]
    names = put(tmp_path, 10, 3 * MIB, 0)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == names
    assert run(["axon", "stat", names[0], *where]) == 0
    told = capsys.readouterr().out
    assert hashlib.md5(content_of(10)).hexdigest() in told
    assert hashlib.sha512(content_of(10)).hexdigest() in told
    assert run(["axon", "rm", names[0], *where]) == 0
    assert run(["axon", "rm", names[0], *where]) == 1
    capsys.readouterr()
    assert run(["axon", "ls", *where]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == names[1:]
    assert run(["axon", "ls", "--all", *where]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"0  {names[0]}  10  deleted"
    assert run(["axon", "stat", *where]) == 0
    assert "blobs  2" in capsys.readouterr().out


def test_a_download_goes_on(tmp_path: Path, cell: AxonCell) -> None:
    (name,) = put(tmp_path, 3 * MIB)
    target = tmp_path / "part"
    target.write_bytes(content_of(3 * MIB)[:1_234_567])
    assert run(["axon", "get", name, "-o", str(target), "--continue", "--dir", f"{tmp_path}/axon"]) == 0
    assert target.read_bytes() == content_of(3 * MIB)


def test_damaged_blobs_are_named(tmp_path: Path, cell: AxonCell, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--dir", f"{tmp_path}/axon"]
    names = put(tmp_path, 100, 200)
    assert run(["axon", "verify", *where]) == 0
    with cell.slab.view() as txn:
        key = txn.scan_keys(schema.CHUNKS, count_max=10).items[1]
    cell.slab.write(lambda txn: txn.put(schema.CHUNKS, key, bytes(200)))
    capsys.readouterr()
    assert run(["axon", "verify", *where]) == 1
    assert capsys.readouterr().out.startswith(names[1])
    assert run(["axon", "verify", names[0], *where]) == 0


def test_an_axon_is_copied_and_only_what_is_missing_travels(
    tmp_path: Path, cell: AxonCell, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, 1, 100_000, 9 * MIB, 0)
    with start(tmp_path / "other") as other:
        command = ["axon", "copy", f"unix://{tmp_path}/other", "--dir", f"{tmp_path}/axon"]
        capsys.readouterr()
        assert run(command) == 0
        assert capsys.readouterr().out == "4 copied, 0 were there; next offset 4\n"
        put(tmp_path, 5)
        capsys.readouterr()
        assert run(command) == 0
        assert capsys.readouterr().out == "1 copied, 4 were there; next offset 5\n"
        assert other.store.metrics() == cell.store.metrics()
        assert [item.blob for item in other.store.arrivals()] == [item.blob for item in cell.store.arrivals()]
        assert all(other.store.verify(item.blob.sha256) is None for item in other.store.arrivals())


def test_an_axon_is_dumped_and_loaded(
    tmp_path: Path, cell: AxonCell, capsys: pytest.CaptureFixture[str]
) -> None:
    names = put(tmp_path, 1, 100_000, 3 * MIB, 0)
    archive = str(tmp_path / "dump.tar")
    assert run(["axon", "dump", "-o", archive, "--dir", f"{tmp_path}/axon"]) == 0
    with tarfile.open(archive) as tar:
        assert tar.getnames() == names
    with start(tmp_path / "other") as other:
        capsys.readouterr()
        for told in ("4 stored, 0 were there\n", "0 stored, 4 were there\n"):
            assert run(["axon", "load", archive, "--dir", f"{tmp_path}/other"]) == 0
            assert capsys.readouterr().out == told
        assert other.store.metrics() == cell.store.metrics()
        # A file that is not what its name says is refused.
        with tarfile.open(tmp_path / "bad.tar", "w") as tar:
            info = tarfile.TarInfo("0" * 64)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"bad"))
        assert run(["axon", "load", f"{tmp_path}/bad.tar", "--dir", f"{tmp_path}/other"]) == 1
        assert other.store.metrics() == cell.store.metrics()


def test_the_axon_gets_a_url(tmp_path: Path, cell: AxonCell, capsys: pytest.CaptureFixture[str]) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(self.headers["X-Mine"].encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/x"
    assert run(["axon", "wget", url, "-H", "X-Mine: yes", "--timeout", "9", "--dir", f"{tmp_path}/axon"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["code"], info["size"]) == (404, 3)
    assert info["hashes"]["sha256"] == hashlib.sha256(b"yes").hexdigest()
    server.shutdown()
    server.server_close()
    assert run(["axon", "wget", url, "--dir", f"{tmp_path}/axon"]) == 1
    assert json.loads(capsys.readouterr().out)["code"] == -1


def test_progress_is_shown_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(blobs, "SHOW_S", 0.0)
    with blobs.Progress("x", 10) as progress:
        progress.add(5)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with blobs.Progress("x", 10) as progress:
        progress.add(5)
    assert " 50%" in capsys.readouterr().err
