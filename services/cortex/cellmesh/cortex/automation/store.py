"""Definitions of automation on disk: each change one transaction, with its change record."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cellmesh.common.errors import NoSuchIden, SchemaViolation, StormRuntimeError
from cellmesh.common.storage import SubDb, WriteTxn

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.graph import Graph

CHANGE_TYPE: Final = "cellmesh.cortex.AutomationChange+json"
"""What change records of definitions are called: JSON with the database, the iden, and the row or null."""

SCAN_COUNT: Final = 1000
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
        rows: list[Definition] = []
        position = None
        while True:
            with self._graph.slab.view() as txn:
                chunk = txn.scan(self._db, count_max=SCAN_COUNT, after=position)
            rows.extend(json.loads(value) for _, value in chunk.items)
            position = chunk.resume
            if position is None:
                return sorted(rows, key=lambda row: (row["created"], row["number"]))

    def put(self, write: Write, row: Definition, user: str) -> None:
        """Store a new or changed row."""
        data = json.dumps(row)
        self._change(write, row["iden"], row, user, lambda txn, key: txn.put(self._db, key, data.encode()))

    def delete(self, write: Write, iden: str, user: str) -> None:
        """Remove a row."""
        self._change(write, iden, None, user, lambda txn, key: txn.delete(self._db, key))

    def write_alone(self, op: Callable[[WriteTxn], None]) -> None:
        """Write outside of any query, on a thread that has none open."""
        self._graph.slab.write(op)

    def _change(
        self,
        write: Write,
        iden: str,
        row: Definition | None,
        user: str,
        apply: Callable[[WriteTxn, bytes], object],
    ) -> None:
        time_us = self._graph.now_ms() * 1000
        payload = json.dumps({"database": self._db.name, "iden": iden, "row": row}).encode()

        def op(txn: WriteTxn) -> None:
            apply(txn, iden.encode())
            self._graph.log.append(txn, time_us=time_us, actor=user, type_name=CHANGE_TYPE, payload=payload)

        write(op)


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
