"""A full disk: writes are refused in words, reads go on, and writes resume without a restart. And compaction."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.common.cell import Cell, CellState, running
from cellmesh.common.cell.disk import DiskSpace
from cellmesh.common.cell.part import PartState
from cellmesh.common.changelog import DATABASES
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import LowSpace, StorageFull, StorageLocked
from cellmesh.common.failpoints import failing
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.storage import Slab, SubDb, compact

ITEMS = SubDb("items", "name -> value")
MIB = 1 << 20


class FillConfig(CellConfig):
    kind: ClassVar[str] = "fill"


class FillCell(Cell[FillConfig]):
    kind = "fill"
    databases = (ITEMS, *DATABASES)

    def put(self, number: int, value: bytes = b"x") -> None:
        self.slab.write(lambda txn: txn.put(ITEMS, b"%d" % number, value))

    def count(self) -> int:
        with self.slab.view() as txn:
            return txn.entries(ITEMS)


def fill(folder: Path, **flags: Any) -> FillCell:
    return FillCell(load_config(FillConfig, dir=folder, flags=flags, environ={}))


def told_state(cell: FillCell) -> int:
    with open_channel(f"unix:{cell.folder.socket_path}") as channel:
        stub = cell_service_pb2_grpc.CellServiceStub(channel)
        return stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest(), timeout=5).cell.state


def eventually(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "cellmesh-test", path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {done.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_disk_filled_by_others_makes_the_cell_read_only_until_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with running(fill(small_disk / "cell", space_min_bytes=4 * MIB)) as cell:
        cell.put(1)
        ballast.write_bytes(b"b" * (21 * MIB))
        eventually(lambda: cell.state is CellState.READ_ONLY)
        assert told_state(cell) == cell_service_pb2.CELL_STATE_READ_ONLY
        time.sleep(1.0)
        with pytest.raises(LowSpace) as caught:
            cell.put(2)
        assert caught.value.get("free") < 4 * MIB
        assert caught.value.get("need") == 4 * MIB
        assert f"writes need {4 * MIB}" in str(caught.value)
        assert cell.count() == 1
        ballast.unlink()
        eventually(lambda: cell.state is CellState.READY)
        cell.put(2)
        assert cell.count() == 2


def test_a_disk_that_is_really_full_loses_nothing_acknowledged(small_disk: Path) -> None:
    """No room is kept free, so the system itself refuses in the middle of a commit."""
    done = 0
    with running(fill(small_disk / "cell", space_min_bytes=0)) as cell:
        with pytest.raises(StorageFull) as caught:  # noqa: PT012  the loop is what fills the disk
            while True:
                cell.put(done, os.urandom(200_000))
                done += 1
        assert done > 50
        assert caught.value.get("free") < MIB
        assert "the cell keeps 0 free" in str(caught.value)
        assert cell.count() == done
        eventually(lambda: cell.state is CellState.READ_ONLY)
        subprocess.run(["mount", "-o", "remount,size=48m", small_disk], check=True)
        eventually(lambda: cell.state is CellState.READY)
        cell.put(done, os.urandom(200_000))
    with running(fill(small_disk / "cell")) as again:
        assert again.count() == done + 1


LIMITED = """
import os, resource, sys, time
from pathlib import Path
from cellmesh.common.cell import CellState, running
from cellmesh.common.errors import StorageFull
from test_cell_disk import fill
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
def until(state):
    end = time.monotonic() + 10
    while cell.state is not state:
        assert time.monotonic() < end, cell.state
        time.sleep(0.02)
with running(fill(Path(sys.argv[1]))) as cell:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    done = 0
    try:
        while True:
            cell.put(done, os.urandom(50_000)); done += 1
    except StorageFull: pass
    assert done == cell.count() > 5
    until(CellState.READ_ONLY)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    until(CellState.READY)
    while cell.slab.trouble: time.sleep(0.02)
    cell.put(done, os.urandom(50_000))
    assert cell.count() == done + 1
print("well")
"""


def test_a_write_that_the_system_refuses_is_noted_and_tried_until_it_works(tmp_path: Path) -> None:
    """A limit on the size of files, where nothing can be mounted."""
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    assert done.stdout.strip() == "well", done.stderr


def test_trouble_shows_in_health_until_a_write_is_committed(tmp_path: Path) -> None:
    with Slab.open(tmp_path, [ITEMS]) as slab:
        part = DiskSpace(tmp_path, space_min_bytes=1, slab=slab)
        assert part.health().state is PartState.WELL
        with failing("slab_before_commit", "no-space"), pytest.raises(StorageFull):
            slab.write(lambda txn: txn.put(ITEMS, b"k", b"v"))
        assert part.health().state is PartState.READ_ONLY
        assert "full" in part.health().reason
        slab.probe()
        assert part.health().state is PartState.WELL


def deleted_data(folder: Path) -> None:
    with Slab.open(folder, [ITEMS]) as slab:
        for number in range(50):
            slab.write(lambda txn, number=number: txn.put(ITEMS, b"%03d" % number, os.urandom(200_000)))
        for number in range(40):
            slab.write(lambda txn, number=number: txn.delete(ITEMS, b"%03d" % number))


def test_compaction_gives_the_disk_back_and_keeps_every_item(tmp_path: Path) -> None:
    deleted_data(tmp_path)
    with Slab.open(tmp_path, [ITEMS]) as slab:
        with slab.view() as txn:
            before = txn.scan(ITEMS, count_max=100).items
        with pytest.raises(StorageLocked):
            compact(tmp_path)
    done = compact(tmp_path)
    assert done is not None
    assert done.before_bytes > 10_000_000
    assert done.after_bytes == (tmp_path / "data.mdb").stat().st_size < 3_000_000
    with Slab.open(tmp_path, [ITEMS]) as slab, slab.view() as txn:
        assert txn.scan(ITEMS, count_max=100).items == before
    with pytest.raises(LowSpace):
        compact(tmp_path, space_min_bytes=1 << 60)


def test_compact_on_start(tmp_path: Path) -> None:
    with running(fill(tmp_path)) as cell:
        for number in range(50):
            cell.put(number, os.urandom(200_000))
        for number in range(40):
            cell.slab.write(lambda txn, number=number: txn.delete(ITEMS, b"%d" % number))
    before = (tmp_path / "slab/data.mdb").stat().st_size
    with running(fill(tmp_path, compact_on_start=True)) as cell:
        assert cell.count() == 10
        cell.put(99)
    assert (tmp_path / "slab/data.mdb").stat().st_size < before / 3


def test_a_kill_before_the_swap_leaves_the_old_file(tmp_path: Path) -> None:
    deleted_data(tmp_path)
    before = (tmp_path / "data.mdb").read_bytes()
    code = (
        "import sys; from pathlib import Path; from cellmesh.common.storage import compact; "
        "from cellmesh.common.failpoints import load_environment; load_environment(); compact(Path(sys.argv[1]))"
    )
    environ = {**os.environ, "CELLMESH_FAILPOINTS": "slab_before_compact_swap=kill"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "data.mdb").read_bytes() == before
    assert compact(tmp_path) is not None
    assert not (tmp_path / "data.mdb.compact").exists()
