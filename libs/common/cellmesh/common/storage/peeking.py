"""A look into a database file that no process has open, without writing anything beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lmdb
from cellmesh.common.storage.faults import translate
from cellmesh.common.storage.layout import META, VERSION_KEY
from cellmesh.common.storage.subdb import SubDb
from cellmesh.common.storage.transactions import ReadTxn


@contextmanager
def peek(file: Path, databases: Sequence[SubDb] = ()) -> Iterator[ReadTxn | None]:
    """A transaction on a file's `meta` and the databases named; None when the file lacks one of them.

    Raises:
        StorageCorrupt: it is no LMDB file, or damaged.
    """
    wanted = (META, *databases)
    try:
        environment = lmdb.open(str(file), subdir=False, readonly=True, lock=False, max_dbs=len(wanted) + 8)
    except lmdb.Error as error:
        fault = translate(error)
        raise fault from error
    try:
        handles = {}
        for db in wanted:
            try:
                handles[db.name] = environment.open_db(db.name.encode(), create=False)
            except lmdb.NotFoundError:
                yield None
                return
        txn = ReadTxn(handles)
        with environment.begin() as raw:
            txn.bind(raw)
            yield txn
    finally:
        environment.close()


def layout_version(txn: ReadTxn) -> int:
    """The version of the layout in a file; 0 when it has none."""
    return int(txn.get(META, VERSION_KEY) or b"0")
