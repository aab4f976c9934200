"""Endpoints of the extended HTTP API: for each a pattern of paths, and Storm by method."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import time_ns
from typing import Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import BadArg, DupIden, NoSuchIden, SchemaViolation
from cellmesh.common.storage import ReadTxn
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.stores.named import NamedValues
from cellmesh.cortex.stores.schema import HTTP_APIS
from cellmesh.cortex.values.wire import decode_value, encode_value

METHODS: Final = ("delete", "get", "head", "options", "patch", "post", "put")
RUNAS: Final = ("owner", "user")
PATH_SIZE_MAX: Final = 2000
"""Characters in a pattern."""
REQUEST_PATH_SIZE_MAX: Final = 8000
"""Characters in a path that patterns are tried on."""

PLACE: Final = "place"
"""The key of an endpoint's place in the order; no query sees it."""

_IDEN: Final = re.compile("[0-9a-f]{32}")

Definition = dict[str, Any]


def shown(row: Definition) -> Definition:
    """Return what queries see of an endpoint."""
    return {name: value for name, value in row.items() if name != PLACE}


class HttpApis(NamedValues):
    """The endpoints of a cell, by iden. The first one whose pattern is all of a path answers for it."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(HTTP_APIS, changes, "endpoint")

    def in_order(self, access: Access) -> list[Definition]:
        """Return all endpoints in their order."""
        return access.read(self._ordered)

    def _ordered(self, txn: ReadTxn) -> list[Definition]:
        return sorted((row for _, row in self.load(txn)), key=lambda row: int(row[PLACE]))

    def require(self, access: Access, iden: str) -> Definition:
        """Return an endpoint; raises NoSuchIden."""
        found: Definition | None = self.get(access, iden)
        if found is None:
            raise _missing(iden)
        return found

    def match(self, access: Access, path: str) -> tuple[Definition, list[str]] | None:
        """Return the endpoint for a path, with what the groups of its pattern took; None if there is none."""
        if len(path) > REQUEST_PATH_SIZE_MAX:
            return None
        for row in self.in_order(access):
            found = re.fullmatch(row["path"], path)
            if found is not None:
                return row, [part if part is not None else "" for part in found.groups()]
        return None

    def add(self, access: Access, iden: str | None, facts: Definition) -> Definition:
        """Make an endpoint, the last in the order.

        Args:
            access: What to write through.
            iden: Its iden, 32 hexadecimal digits; None for any.
            facts: path, view, runas, creator, authenticated, name, desc, readonly.

        Raises:
            BadArg: the path is no pattern. SchemaViolation: the iden or runas cannot be used. DupIden: it is taken.
        """
        check_path(facts["path"])
        check_runas(facts["runas"])
        if iden is not None and _IDEN.fullmatch(iden) is None:
            raise SchemaViolation(
                "the iden of an endpoint has 32 hexadecimal digits", name="iden", valu=iden[:80]
            )
        now_ms = time_ns() // 1_000_000
        row: Definition = {
            "iden": iden or hashing.guid(),
            "path": facts["path"],
            "view": facts["view"],
            "runas": facts["runas"],
            "creator": facts["creator"],
            "owner": facts["creator"],
            "methods": {},
            "authenticated": facts["authenticated"],
            "name": facts["name"],
            "desc": facts["desc"],
            "readonly": facts["readonly"],
            "created": now_ms,
            "updated": now_ms,
            "pool": False,
            "perms": [],
            "vars": {},
        }
        key = self.key(row["iden"])

        def op(rows: Rows) -> Definition:
            if rows.txn.get(self.db, key) is not None:
                raise DupIden("there is an endpoint of this iden", iden=row["iden"])
            row[PLACE] = len(self._ordered(rows.txn))
            rows.put(self.db, key, encode_value(row))
            return row

        return self.changes.run(access, op)

    def change(self, access: Access, iden: str, change: Callable[[Definition], None]) -> None:
        """Change an endpoint in place; raises NoSuchIden, and whatever the change does."""
        key = self.key(iden)

        def op(rows: Rows) -> None:
            found = rows.txn.get(self.db, key)
            if found is None:
                raise _missing(iden)
            row = decode_value(found)
            change(row)
            row["updated"] = time_ns() // 1_000_000
            rows.put(self.db, key, encode_value(row))

        self.changes.run(access, op)

    def move(self, access: Access, iden: str, place: int) -> int:
        """Put an endpoint elsewhere in the order; returns where it is then, at most the last place.

        Raises:
            BadArg: the place is negative. NoSuchIden: there is no such endpoint.
        """
        if place < 0:
            raise BadArg(f"the place of an endpoint is 0 or more, not {place}", name="index")

        def op(rows: Rows) -> int:
            ordered = self._ordered(rows.txn)
            moved = next((row for row in ordered if row["iden"] == iden), None)
            if moved is None:
                raise _missing(iden)
            ordered.remove(moved)
            ordered.insert(place, moved)
            self._number(rows, ordered)
            return int(moved[PLACE])

        return self.changes.run(access, op)

    def remove(self, access: Access, iden: str) -> None:
        """Remove an endpoint; does nothing where there is none."""

        def op(rows: Rows) -> None:
            ordered = self._ordered(rows.txn)
            left = [row for row in ordered if row["iden"] != iden]
            if len(left) < len(ordered):
                rows.delete(self.db, self.key(iden))
                self._number(rows, left)

        self.changes.run(access, op)

    def _number(self, rows: Rows, ordered: list[Definition]) -> None:
        for place, row in enumerate(ordered):
            if row[PLACE] != place:
                row[PLACE] = place
                rows.put(self.db, self.key(row["iden"]), encode_value(row))


def check_path(path: str) -> None:
    """Check the pattern of an endpoint; raises BadArg."""
    if len(path) > PATH_SIZE_MAX:
        raise BadArg(f"the path of an endpoint has at most {PATH_SIZE_MAX} characters", name="path")
    try:
        re.compile(path)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadArg(f"the path of an endpoint is a regular expression: {error}", name="path") from error


def check_runas(runas: str) -> None:
    """Check whom an endpoint runs as; raises SchemaViolation."""
    if runas not in RUNAS:
        raise SchemaViolation(f"an endpoint runs as {' or '.join(RUNAS)}", name="runas", valu=runas[:80])


def _missing(iden: str) -> NoSuchIden:
    return NoSuchIden(f"there is no endpoint {iden[:80]}", iden=iden[:200])


__all__ = ["METHODS", "HttpApis", "check_path", "check_runas", "shown"]
