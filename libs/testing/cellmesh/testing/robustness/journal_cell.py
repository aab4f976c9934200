"""The smallest cell with storage, change log and backups: what the platform gives every cell, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from cellmesh.common.cell import Cell
from cellmesh.common.changelog import DATABASES, ChangeWriter
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.storage import SubDb, WriteTxn

ITEMS = SubDb("items", "number (8 bytes) -> content")


class KeeperConfig(CellConfig):
    """The settings every cell has."""

    kind: ClassVar[str] = "keeper"


class Keeper(Cell[KeeperConfig]):
    """Keeps numbered items, each with its change record."""

    kind = "keeper"
    databases = (ITEMS, *DATABASES)

    def put(self, number: int, content: bytes) -> None:
        """Keep an item; durable on return."""
        append = ChangeWriter(self.changes, "test.Item").begin()
        key = number.to_bytes(8, "big")

        def op(txn: WriteTxn) -> None:
            txn.put(ITEMS, key, content)
            append(txn, key)

        self.slab.write(op)

    def numbers(self) -> list[int]:
        """The numbers of all items; they must be those that the change log tells of."""
        with self.slab.view() as txn:
            kept = [int.from_bytes(key, "big") for key in txn.scan_keys(ITEMS, count_max=1 << 20).items]
            first = self.changes.first_offset(txn)
        records = self.changes.read(first, count_max=1 << 20, size_max_bytes=1 << 30).records
        logged = {int.from_bytes(item.payload, "big") for item in records if item.type_name == "test.Item"}
        assert logged <= set(kept), f"items {kept}, but the log tells of {sorted(logged)}"
        assert first or sorted(logged) == kept, f"items {kept}, but the whole log tells of {sorted(logged)}"
        return kept


def keeper(folder: Path, **flags: Any) -> Keeper:
    """A cell on a folder, ready to be started."""
    return Keeper(load_config(KeeperConfig, dir=folder, flags=flags, environ={}))
