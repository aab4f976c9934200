"""All items of a database file written into a new one, in order, so that its pages are full and none is free.

LMDB can copy a file without its free pages by itself, but that crashes the process (LMDB 0.9.36) where a database of
values of one size has a key with more of them than fit a page. So the items are read and written here.

For a file in use this runs as a process of its own, run by its path with SOURCE and TARGET, as it would take the interpreter
from the cell. It opens the file without LMDB's table of readers, so whoever starts it keeps a read transaction open
that is not newer. It says `ready`, waits for a line, begins its transaction, says `begun`, copies, and ends with 0.
It ends early when its parent is gone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Final

import lmdb

STEP_SIZE: Final = 8 << 20
"""Bytes of items in one transaction of the copy. Each is written to disk before the next, so that a commit of the
cell never waits for a long queue of pages."""

FETCH_SIZE: Final = 512 * 1024
FETCH_COUNT_MAX: Final = 8192

DATABASE_COUNT_MAX: Final = 256


def open_source(file: Path) -> lmdb.Environment:
    """A database file, to be read without leaving anything beside it."""
    return lmdb.open(
        str(file), subdir=False, readonly=True, lock=False, max_dbs=DATABASE_COUNT_MAX, readahead=False
    )


def copy_items(
    source: lmdb.Environment,
    txn: lmdb.Transaction[bytes],
    target: Path,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write all items of a state into a new file, synced.

    Args:
        source: Has the named databases.
        txn: The state.
        target: The new file; there must be none.
        check: Called now and then; what it raises ends the work.
    """
    map_size = source.info()["map_size"]
    environment = lmdb.open(
        str(target),
        subdir=False,
        lock=False,
        sync=False,
        map_size=map_size,
        max_dbs=DATABASE_COUNT_MAX,
        mode=0o600,
    )
    try:
        for name in source.dbs(txn):
            db = source.open_db(name, txn=txn, create=False)
            flags = db.flags()
            copied = environment.open_db(
                name,
                reverse_key=flags["reverse_key"],
                dupsort=flags["dupsort"],
                integerkey=flags["integerkey"],
                integerdup=flags["integerdup"],
                dupfixed=flags["dupfixed"],
            )
            _copy_database(txn, db, environment, copied, check)
        environment.sync(True)
    finally:
        environment.close()


def _copy_database(
    txn: lmdb.Transaction[bytes],
    db: lmdb._Database,
    target: lmdb.Environment,
    target_db: lmdb._Database,
    check: Callable[[], None],
) -> None:
    with txn.cursor(db) as cursor:
        if not cursor.first():
            return
        items = cursor.iternext(True, True)
        count, is_end = 64, False
        while not is_end:
            check()
            size = 0
            with target.begin(write=True) as out, out.cursor(target_db) as writing:
                while size < STEP_SIZE and not is_end:
                    group = list(islice(items, count))
                    is_end = len(group) < count
                    if group:
                        consumed, _ = writing.putmulti(group, append=True)
                        assert consumed == len(group), "items come in order"
                        group_size = sum(map(len, [value for _, value in group])) + len(group) * 16
                        size += group_size
                        count = max(1, min(FETCH_COUNT_MAX, FETCH_SIZE * len(group) // group_size))
            target.sync(True)


def main(source: str, target: str) -> int:
    """The process; returns its exit code."""
    parent = os.getppid()

    def check() -> None:
        if os.getppid() != parent:
            os._exit(1)

    environment = open_source(Path(source))
    _say("ready")
    if not sys.stdin.readline():
        return 1
    with environment.begin() as txn:
        _say("begun")
        copy_items(environment, txn, Path(target), check)
    return 0


def _say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
