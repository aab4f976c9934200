"""Opening, locking, growing, copying, migrating, and surviving kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cellmesh.common.errors import BadStorageVersion, StorageCorrupt, StorageFull, StorageLocked
from cellmesh.common.storage import Layout, Migration, Slab, SubDb, WriteTxn

DB = SubDb("items", "for tests")

HOLD = """
import sys, time
from pathlib import Path
from cellmesh.common.storage import Slab
slab = Slab.open(Path(sys.argv[1]), [])
print("open", flush=True)
time.sleep(60)
"""

WRITE_AND_TELL = """
import os, sys, threading
from pathlib import Path
from cellmesh.common.storage import Slab, SubDb
DB = SubDb("items", "for tests")
slab = Slab.open(Path(sys.argv[1]), [DB])
name = sys.argv[2].encode()
def run(thread):
    number = 0
    while True:
        with slab.session() as session:
            first = number
            for _ in range(1 + thread * 5):
                key = b"%s/%d/%d" % (name, thread, number)
                session.write(lambda txn: (txn.put(DB, key, b"v"), txn.put(DB, b"pair " + key, b"v")))
                number += 1
            session.sync()
        # Only now are they acknowledged.
        os.write(1, b"%s/%d %d %d\\n" % (name, thread, first, number))
for thread in range(4):
    threading.Thread(target=run, args=(thread,)).start()
"""


def test_second_process_is_refused_and_told_whose_it_is(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(StorageLocked, match=f"in use by process {process.pid}"):
            Slab.open(tmp_path, [])
        process.kill()
    Slab.open(tmp_path, []).close()


def test_same_process_is_refused_too(tmp_path: Path) -> None:
    with Slab.open(tmp_path, []), pytest.raises(StorageLocked, match="this same process"):
        Slab.open(tmp_path, [])
    Slab.open(tmp_path, []).close()


def test_full_disk_loses_nothing_and_writes_go_on_with_room(tmp_path: Path) -> None:
    """A limit on the size of files makes the system refuse LMDB's writes in earnest."""
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom cellmesh.common.storage import Slab, SubDb\n"
        "from cellmesh.common.errors import StorageFull\nDB = SubDb('items', '')\n"
        "slab = Slab.open(Path(sys.argv[1]), [DB])\nhard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "def write(number): slab.write(lambda txn: txn.put(DB, b'%d' % number, b'x' * 10000))\n"
        "def stored():\n    with slab.view() as txn: return txn.entries(DB)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))\ndone = 0\n"
        "try:\n    while True: write(done); done += 1\nexcept StorageFull: pass\n"
        "assert 10 < done == stored(), (done, stored())\n"
        "try: write(done)\nexcept StorageFull: pass\nelse: sys.exit('it was written')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\nwrite(done)\n"
        "assert stored() == done + 1\nprint('well', done)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, check=False)
    assert done.stdout.startswith(b"well"), done.stderr.decode()
    with Slab.open(tmp_path, [DB]) as slab:
        assert slab.stats().entries["items"] == int(done.stdout.split()[1]) + 1


def test_kill_loses_nothing_acknowledged_and_tears_nothing(tmp_path: Path) -> None:
    """Four threads write in bursts and tell what is acknowledged, until they are killed, ten times over."""
    acknowledged: set[bytes] = set()
    for name in (f"run{number}" for number in range(10)):
        command = [sys.executable, "-c", WRITE_AND_TELL, str(tmp_path), name]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(20)]
            time.sleep(0.02)
            os.kill(process.pid, signal.SIGKILL)
            lines += process.stdout.read().splitlines(keepends=True)
        for line in lines:
            if line.endswith(b"\n"):
                writer, first, end = line.split()
                acknowledged.update(b"%s/%d" % (writer, number) for number in range(int(first), int(end)))
    with Slab.open(tmp_path, [DB]) as slab, slab.view() as txn:
        stored = set(txn.scan_keys(DB, count_max=10**7).items)
    assert len(acknowledged) > 200
    assert not acknowledged - stored
    singles = {key for key in stored if not key.startswith(b"pair ")}
    assert stored - singles == {b"pair " + key for key in singles}


@pytest.mark.parametrize("point", ["slab_before_commit", "slab_after_commit"])
def test_kill_around_the_commit(tmp_path: Path, point: str) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom cellmesh.common.storage import Slab, SubDb\n"
        "from cellmesh.common.failpoints import set_failpoint\n"
        "DB = SubDb('items', '')\nslab = Slab.open(Path(sys.argv[1]), [DB])\n"
        f"slab.write(lambda txn: txn.put(DB, b'one', b'v'))\nset_failpoint({point!r}, 'kill')\n"
        "slab.write(lambda txn: txn.put(DB, b'two', b'v'))\nprint('acknowledged')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")
    expected = [b"one"] if point == "slab_before_commit" else [b"one", b"two"]
    with Slab.open(tmp_path, [DB]) as slab, slab.view() as txn:
        assert txn.scan_keys(DB, count_max=9).items == expected


def test_map_grows_from_a_tiny_size_while_readers_run(tmp_path: Path) -> None:
    stop = threading.Event()
    failures: list[object] = []
    read_count = [0] * 4
    with Slab.open(tmp_path, [DB], map_size_bytes=1 << 20, sync=False) as slab:

        def read(reader: int) -> None:
            while not stop.is_set():
                with slab.view() as txn:
                    items = txn.scan(DB, count_max=300).items
                    last = txn.last(DB)
                if any(value != key * 100 for key, value in items) or (items and last is None):
                    failures.append(items)
                read_count[reader] += 1

        readers = [threading.Thread(target=read, args=(number,)) for number in range(4)]
        for reader in readers:
            reader.start()
        try:
            with slab.session() as session:
                for number in range(0, 20000, 100):
                    keys = [b"%08d" % key for key in range(number, number + 100)]
                    session.write(lambda txn, keys=keys: txn.put_many(DB, [(key, key * 100) for key in keys]))
                    if number % 200 == 0:
                        session.pause()
                session.sync()
        finally:
            stop.set()
            for reader in readers:
                reader.join()
        stats = slab.stats()
        assert not failures
        assert all(read_count)
        assert stats.growths >= 4
        assert stats.entries["items"] == 20000
        assert stats.map_size_bytes >= 16 << 20
        assert stats.readers == 0


def test_write_larger_than_the_map_is_refused_whole_and_works_after_growth(tmp_path: Path) -> None:
    def fill(txn: WriteTxn) -> int:
        return txn.put_many(DB, [(b"%08d" % number, b"x" * 1000) for number in range(2000)])

    with Slab.open(tmp_path, [DB], map_size_bytes=1 << 20) as slab:
        slab.write(lambda txn: txn.put(DB, b"first", b"v"))
        for _ in range(8):
            try:
                slab.write(fill)
                break
            except StorageFull:
                assert slab.stats().entries["items"] == 1
        assert slab.stats().entries["items"] == 2001
        assert slab.stats().growths >= 1


def test_reopened_slab_has_all_and_a_map_for_it(tmp_path: Path) -> None:
    with Slab.open(tmp_path, [DB], map_size_bytes=1 << 20) as slab:
        for number in range(100):
            slab.write(lambda txn, number=number: txn.put(DB, b"%d" % number, b"x" * 30000))
    with Slab.open(tmp_path, [DB], map_size_bytes=1 << 20) as slab:
        assert slab.stats().entries["items"] == 100
        slab.write(lambda txn: txn.put(DB, b"more", b"x" * 30000))


def test_backup_is_a_slab_of_the_moment(tmp_path: Path) -> None:
    with Slab.open(tmp_path / "one", [DB]) as slab:
        slab.write(lambda txn: txn.put(DB, b"k", b"v"))
        with slab.session() as session:
            session.write(lambda txn: txn.put(DB, b"uncommitted", b"v"))
            slab.backup(tmp_path / "copy")
    with Slab.open(tmp_path / "copy", [DB]) as slab, slab.view() as txn:
        assert txn.scan_keys(DB, count_max=9).items == [b"k"]


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"nonsense" * 4096)
    with pytest.raises(StorageCorrupt):
        Slab.open(tmp_path, [DB])
    (tmp_path / "data.mdb").unlink()
    Slab.open(tmp_path, [DB]).close()


def rename_first(txn: WriteTxn) -> None:
    txn.put(DB, b"two", b"2")


def test_older_layout_is_migrated_step_by_step(tmp_path: Path) -> None:
    with Slab.open(tmp_path, [DB], layout=Layout("axon", 1)) as slab:
        slab.write(lambda txn: txn.put(DB, b"one", b"1"))
    seen: list[list[bytes]] = []
    steps = (
        Migration(2, "adds two", lambda txn: seen.append([]) or rename_first(txn)),  # type: ignore[func-returns-value]
        Migration(3, "looks", lambda txn: seen.append(txn.scan_keys(DB, count_max=9).items)),
    )
    for _ in range(2):
        with Slab.open(tmp_path, [DB], layout=Layout("axon", 3, steps)) as slab, slab.view() as txn:
            assert txn.get(DB, b"two") == b"2"
    assert seen == [[], [b"one", b"two"]]


def test_failed_migration_leaves_the_version_before_it(tmp_path: Path) -> None:
    def fail(txn: WriteTxn) -> None:
        txn.put(DB, b"half", b"done")
        raise LookupError("failed")

    Slab.open(tmp_path, [DB], layout=Layout("axon", 1)).close()
    with pytest.raises(LookupError):
        Slab.open(tmp_path, [DB], layout=Layout("axon", 2, (Migration(2, "fails", fail),)))
    with Slab.open(tmp_path, [DB], layout=Layout("axon", 1)) as slab:
        assert slab.stats().entries["items"] == 0


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (Layout("axon", 4), "has storage layout 5; this program knows layouts up to 4"),
        (
            Layout("axon", 7, (Migration(7, "", rename_first),)),
            "has storage layout 5; this program migrates from layout 6",
        ),
        (Layout("cortex", 5), "holds the data of 'axon', not of 'cortex'"),
    ],
    ids=["newer", "too old", "foreign"],
)
def test_unknown_layout_is_refused_untouched(tmp_path: Path, layout: Layout, words: str) -> None:
    Slab.open(tmp_path, [DB], layout=Layout("axon", 5)).close()
    before = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(BadStorageVersion, match=words):
        Slab.open(tmp_path, [DB, SubDb("new", "")], layout=layout)
    assert (tmp_path / "data.mdb").read_bytes() == before
    Slab.open(tmp_path, [DB], layout=Layout("axon", 5)).close()
