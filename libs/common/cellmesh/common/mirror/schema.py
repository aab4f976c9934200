"""The databases of mirrors, and what they hold.

`mirror_terms` comes out of the log and is equal on all replicas; `mirror_facts` is each instance's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.storage import ReadTxn, SubDb, WriteTxn
from cellmesh.common.storage.codecs import UINT64

TERMS: Final = SubDb("mirror_terms", "term (8 bytes) -> offset of its first record (8 bytes)")
FACTS: Final = SubDb("mirror_facts", '"facts" -> JSON: what the instance knows of its service', local=True)

DATABASES: Final = (TERMS, FACTS)

FACTS_KEY: Final = b"facts"
FIRST_TERM: Final = 1
"""The term of records that stand before the first one that begins a term."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an instance must not forget.

    Attributes:
        term: The highest term it knows of; 0 before it knew any.
        leader: Who leads in it, as far as it knows.
        followers: Of a leader: whom it counts as followers, by name. Of a follower: what the leader told.
        removed: Of a leader: followers that it was told to forget, and which do not know it.
        synchronous_count: What the leader told last: so many followers have a change before it is acknowledged.
        promoting: Whether it is being promoted by force: before it leads it takes in what others have.
    """

    term: int = 0
    leader: str = ""
    followers: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    synchronous_count: int = 0
    promoting: bool = False

    def with_follower(self, name: str) -> Facts:
        """The same with one more follower."""
        return replace(
            self,
            followers=tuple(sorted({*self.followers, name})),
            removed=tuple(found for found in self.removed if found != name),
        )

    def without_follower(self, name: str) -> Facts:
        """The same after a follower was forgotten."""
        return replace(
            self,
            followers=tuple(found for found in self.followers if found != name),
            removed=tuple(sorted({*self.removed, name})),
        )


def read_facts(txn: ReadTxn) -> Facts:
    """What is stored; nothing known when there is nothing. Raises StorageCorrupt."""
    data = txn.get(FACTS, FACTS_KEY)
    if data is None:
        return Facts()
    try:
        told = json.loads(data)
        return Facts(
            term=int(told["term"]),
            leader=str(told["leader"]),
            followers=tuple(map(str, told["followers"])),
            removed=tuple(map(str, told["removed"])),
            synchronous_count=int(told["synchronous_count"]),
            promoting=bool(told["promoting"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StorageCorrupt("what is stored of the mirrors does not read back") from error


def write_facts(txn: WriteTxn, facts: Facts) -> None:
    """Store them."""
    told = {
        "term": facts.term,
        "leader": facts.leader,
        "followers": list(facts.followers),
        "removed": list(facts.removed),
        "synchronous_count": facts.synchronous_count,
        "promoting": facts.promoting,
    }
    txn.put(FACTS, FACTS_KEY, json.dumps(told).encode())


def term_at(txn: ReadTxn, next_offset: int) -> int:
    """The term of the record before an offset; 0 when there is no record before it."""
    if next_offset == 0:
        return 0
    for term, start in terms_backwards(txn):
        if start < next_offset:
            return term
    return FIRST_TERM


def terms_backwards(txn: ReadTxn, count_max: int = 1000) -> Sequence[tuple[int, int]]:
    """The newest terms and the offsets they begin at, the newest first."""
    items = txn.scan(TERMS, count_max=count_max, reverse=True).items
    return [(UINT64.decode(key), UINT64.decode(value)) for key, value in items]


def put_term(txn: WriteTxn, term: int, offset: int) -> None:
    """Note where a term begins."""
    txn.put(TERMS, UINT64.encode(term), UINT64.encode(offset))
