"""Measure the storage: edits in a burst, durable writes, sharing of syncs, waits beside a busy writer.

    python benchmarks/storage_rates.py [--dir DIR]

Prints a Markdown table; docs/storage.md has one. DIR (default: a new folder under the current one, removed
at the end) should lie on the disk whose sync is to be measured.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import lmdb
from cellmesh.common.storage import ReadTxn, Slab, SubDb, WriteTxn

DB = SubDb("items", "number -> 20 bytes")
VALUE = b"v" * 20

rows: list[tuple[str, str]] = []


def report(name: str, figure: str) -> None:
    """Note a row, and show that things go on."""
    rows.append((name, figure))
    print(f"  {name}: {figure}", file=sys.stderr, flush=True)


def put(number: int, value: bytes = VALUE) -> Callable[[WriteTxn], bool]:
    """An op that writes one item."""
    item_key = key(number)
    return lambda txn: txn.put(DB, item_key, value)


def get(number: int) -> Callable[[ReadTxn], bytes | None]:
    """An op that reads one item."""
    item_key = key(number)
    return lambda txn: txn.get(DB, item_key)


def key(number: int) -> bytes:
    """8 bytes."""
    return number.to_bytes(8, "big")


def in_threads(count: int, run: Callable[[int], None]) -> float:
    """Run a function on so many threads; returns the seconds until the last has ended."""
    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    start_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start_s


def spread(waits_s: list[float]) -> str:
    """Median, 99th percentile and worst, in milliseconds."""
    waits_s.sort()
    picked = (statistics.median(waits_s), waits_s[int(len(waits_s) * 0.99)], waits_s[-1])
    return "median {:.3f} ms, p99 {:.3f} ms, worst {:.3f} ms".format(*(wait * 1000 for wait in picked))


class Busy:
    """Something that another thread does over and over inside a `with` block."""

    def __init__(self, step: Callable[[], object], finish: Callable[[], object] = int) -> None:
        self._step = step
        self._finish = finish
        self._stop = False
        self._thread = threading.Thread(target=self._run)
        self.count = 0

    def _run(self) -> None:
        while not self._stop:
            self._step()
            self.count += 1
        self._finish()

    def __enter__(self) -> Busy:
        self._thread.start()
        time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join()


def raw_lmdb(path: Path) -> None:
    """What py-lmdb does alone."""
    environment = lmdb.open(str(path), map_size=1 << 30, max_dbs=2)
    db = environment.open_db(b"items")
    start_s = time.perf_counter()
    with environment.begin(write=True) as txn:
        for number in range(20_000):
            txn.put(key(number), VALUE, db=db)
    report("py-lmdb, 20,000 puts in one transaction", f"{20_000 / (time.perf_counter() - start_s):,.0f} /s")

    def run(count: int) -> Callable[[int], None]:
        def writes(thread: int) -> None:
            for number in range(count):
                with environment.begin(write=True) as txn:
                    txn.put(key(thread << 32 | number), VALUE, db=db)

        return writes

    report("py-lmdb, a commit each write, 1 thread", f"{300 / in_threads(1, run(300)):,.0f} /s")
    report("py-lmdb, a commit each write, 32 threads", f"{640 / in_threads(32, run(20)):,.0f} /s")
    environment.close()


def bursts(slab: Slab) -> None:
    """Edits of one session, synced once."""
    with slab.session() as session:
        start_s = time.perf_counter()
        for number in range(20_000):
            session.write(put(number))
        session.sync()
        seconds = time.perf_counter() - start_s
    report("session, 20,000 writes and one sync", f"{20_000 / seconds:,.0f} /s")
    with slab.session() as session:
        start_s = time.perf_counter()
        for number in range(20_000):
            session.write(put(number, b"new" + VALUE))
            session.read(get(number))
        session.sync()
        seconds = time.perf_counter() - start_s
    report("session, 20,000 times write and read it back, one sync", f"{20_000 / seconds:,.0f} /s")


def durable(slab: Slab) -> None:
    """Each write synced before the next of its thread."""
    for count, each in ((1, 300), (4, 200), (32, 100)):

        def run(thread: int, each: int = each) -> None:
            for number in range(each):
                slab.write(put(thread << 32 | number))

        before = slab.stats().commits
        seconds = in_threads(count, run)
        commits = slab.stats().commits - before
        report(
            f"Slab.write (durable), {count} threads",
            f"{count * each / seconds:,.0f} /s, {count * each / commits:.1f} writes a sync",
        )


def fairness(slab: Slab) -> None:
    """Waits of a second writer and of a reader, beside a session that writes without end."""
    session = slab.session()
    counter = iter(range(1 << 62))

    def edit() -> None:
        session.write(put(next(counter) % 5000))
        session.breathe()

    def timed(step: Callable[[], object], count: int, gap_s: float) -> list[float]:
        waits_s = []
        for _ in range(count):
            start_s = time.perf_counter()
            step()
            waits_s.append(time.perf_counter() - start_s)
            time.sleep(gap_s)
        return waits_s

    def read() -> None:
        with slab.view() as txn:
            txn.get(DB, key(7))

    def run_edit() -> None:
        with slab.session() as other:
            start_s = time.perf_counter()
            other.write(put(9999))
            applied_s.append(time.perf_counter() - start_s)
            other.sync()

    applied_s: list[float] = []
    report("read, alone", spread(timed(read, 500, 0.0005)))
    # The busy session belongs to the busy thread: it is closed there.
    with Busy(edit, session.close) as busy:
        report("read, beside a busy writer", spread(timed(read, 500, 0.001)))
        waits_s = timed(run_edit, 100, 0.002)
        report("write applied, beside a busy writer", spread(applied_s))
        report("write durable, beside a busy writer", spread(waits_s))
    report("the busy writer meanwhile", f"{busy.count:,} writes")


def interpreter_lock(slab: Slab) -> None:
    """py-lmdb lets go of the interpreter's lock in each call; a thread that only computes takes it then."""
    normal_s = sys.getswitchinterval()

    def compute() -> None:
        sum(range(1000))

    for interval_s in (normal_s, 0.0005):
        sys.setswitchinterval(interval_s)
        with Busy(compute), slab.session() as session:
            start_s = time.perf_counter()
            for number in range(5000):
                session.write(put(number))
            session.sync()
            seconds = time.perf_counter() - start_s
        report(
            f"session, 5,000 writes beside a computing thread, switch interval {interval_s * 1000:g} ms",
            f"{5000 / seconds:,.0f} /s",
        )
        with Busy(compute), slab.view() as txn:
            start_s = time.perf_counter()
            for number in range(5000):
                txn.get(DB, key(number))
            seconds = time.perf_counter() - start_s
        report(
            f"5,000 gets beside a computing thread, switch interval {interval_s * 1000:g} ms",
            f"{5000 / seconds:,.0f} /s",
        )
    sys.setswitchinterval(normal_s)


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, default=Path())
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="storage-rates-", dir=options.dir))
    try:
        (folder / "raw").mkdir()
        raw_lmdb(folder / "raw")
        with Slab.open(folder / "slab", [DB]) as slab:
            for part in (bursts, durable, fairness, interpreter_lock):
                part(slab)
    finally:
        shutil.rmtree(folder)
    print("| what | figure |\n| --- | --- |")
    for row in rows:
        print("| {} | {} |".format(*row))


if __name__ == "__main__":
    main()
