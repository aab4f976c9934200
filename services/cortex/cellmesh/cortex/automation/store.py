"""Definitions of automation on disk: each change one transaction, with its change record."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cellmesh.common.errors import NoSuchIden, SchemaViolation, StormRuntimeError
from cellmesh.common.storage import SubDb, WriteTxn
from cellmesh.common.storage.walking import walk_apart
from cellmesh.cortex.automation.changes import (
    AutomationChange,
    delete_definition,
    log_change,
    put_definition,
)

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.graph import Graph

IDEN_SIZE: Final = 32

Definition: TypeAlias = dict[str, Any]
Write: TypeAlias = Callable[[Callable[[WriteTxn], None]], None]
"""Runs an op and returns when it is durable."""


def writing_in(context: RunContext) -> Write:
    """Write in the transaction of a running query, whose edits become durable with it.

    A write of its own would wait for the query, which holds the transaction.
    """
    context.check_writable()

    def write(op: Callable[[WriteTxn], None]) -> None:
        context.session.write_op(op)
        context.session.sync()

    return write


class DefinitionStore:
    """The rows of one kind of definition."""

    def __init__(self, graph: Graph, db: SubDb) -> None:
        self._graph = graph
        self._db = db

    def load(self) -> list[Definition]:
        """Return every row, in the order they were made."""
        rows = [json.loads(value) for _, value in walk_apart(self._graph.slab, self._db)]
        return sorted(rows, key=lambda row: (row["created"], row["number"]))

    def find(self, iden: str) -> Definition | None:
        """Return a row as it is committed, or None."""
        with self._graph.slab.view() as txn:
            found = txn.get(self._db, iden.encode())
        return None if found is None else _loads(found)

    def put(self, write: Write, row: Definition, user: str) -> None:
        """Store a new row."""
        iden, data = row["iden"], json.dumps(row)
        self._change(write, user, lambda txn: put_definition(self._db, iden, data))

    def update(self, write: Write, iden: str, changes: Mapping[str, Any], user: str) -> bool:
        """Change fields of a row as it is stored; whether there is one."""
        is_there = False

        def op(txn: WriteTxn) -> AutomationChange | None:
            nonlocal is_there
            found = txn.get(self._db, iden.encode())
            is_there = found is not None
            if found is None:
                return None
            return put_definition(self._db, iden, json.dumps({**_loads(found), **changes}))

        self._change(write, user, op)
        return is_there

    def delete(self, write: Write, iden: str, user: str) -> None:
        """Remove a row, if it is there."""

        def op(txn: WriteTxn) -> AutomationChange | None:
            return delete_definition(self._db, iden) if txn.has(self._db, iden.encode()) else None

        self._change(write, user, op)

    def write_alone(self, op: Callable[[WriteTxn], None]) -> None:
        """Write outside of any query, on a thread that has none open."""
        self._graph.slab.write(op)

    def _change(self, write: Write, user: str, make: Callable[[WriteTxn], AutomationChange | None]) -> None:
        time_us = self._graph.now_ms() * 1000

        def op(txn: WriteTxn) -> None:
            change = make(txn)
            if change is not None:
                log_change(self._graph, txn, change, user, time_us)

        write(op)


def _loads(data: bytes) -> Definition:
    row: Definition = json.loads(data)
    return row


def new_iden() -> str:
    """Return an iden that nothing has."""
    return secrets.token_hex(IDEN_SIZE // 2)


def is_iden(value: object) -> bool:
    """Whether this is an iden: 32 hexadecimal digits in lower case."""
    return isinstance(value, str) and len(value) == IDEN_SIZE and set(value) <= set("0123456789abcdef")


def check_iden(value: object) -> str:
    """Return a given iden.

    Raises:
        SchemaViolation: it is none.
    """
    if not is_iden(value):
        raise SchemaViolation("an iden has 32 hexadecimal digits", name="data.iden", valu=value)
    assert isinstance(value, str)
    return value


def by_prefix(rows: dict[str, Any], prefix: str, kind: str) -> str:
    """Return the one iden that begins so.

    Raises:
        StormRuntimeError: none does, or several do.
    """
    found = [iden for iden in rows if iden.startswith(prefix)]
    if len(found) != 1:
        how_many = "no" if not found else "more than one"
        raise StormRuntimeError(f"there is {how_many} {kind} whose iden begins so", iden=prefix)
    return found[0]


def missing(kind: str, iden: str) -> NoSuchIden:
    """Make the error for an iden that nothing has."""
    return NoSuchIden(f"there is no {kind} of this iden", iden=iden)
