"""What several records say of the same node, made one: so that the order of a load does not show in its result.

MISP and ATT&CK, and several MISP clusters, describe the same actors and tools. Of each property the first record
that has it gives the value; lists (other names) are joined over all records. Loading twice then changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from cellmesh.cli.demo.items import Item, Ndef
from cellmesh.cli.demo.records import RawRecord

Describe = Callable[[RawRecord], Iterable[Item]]


class Merge:
    """Which record gives which property of which node.

    Made by one pass over all records; `items` then gives each record's items with just what is its to give.
    """

    def __init__(self, records: Iterable[RawRecord], describe: Describe) -> None:
        self._describe = describe
        self._owners: dict[tuple[Ndef, str], int] = {}
        self._joined: dict[tuple[Ndef, str], list[Any]] = {}
        for record in records:
            for item in describe(record):
                self._take(id(record), item)

    def _take(self, owner: int, item: Item) -> None:
        for name, value in item.props.items():
            key = (item.ndef, name)
            self._owners.setdefault(key, owner)
            if isinstance(value, list):
                joined = self._joined.setdefault(key, [])
                joined.extend(entry for entry in value if entry not in joined)

    def items(self, record: RawRecord) -> list[Item]:
        """Return the items of a record that was among those merged."""
        return [replace(item, props=self._own(id(record), item)) for item in self._describe(record)]

    def _own(self, owner: int, item: Item) -> dict[str, Any]:
        own = {}
        for name, value in item.props.items():
            key = (item.ndef, name)
            if self._owners[key] == owner:
                own[name] = self._joined.get(key, value)
        return own
