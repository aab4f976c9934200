"""What is in one layer: records, index ranges read a chunk at a time, edges, data, counts.

Functions take an open transaction and the layer's key and finish their chunk; nothing of the transaction is
kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cellmesh.common.storage import ReadTxn, SubDb
from cellmesh.common.storage.transactions import Position
from cellmesh.common.storage.walking import WALK_COUNT, walk
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.names import Names
from cellmesh.cortex.layers.schema import EDGE_MASKS, EDGES_IN, EDGES_OUT, NODE_DATA, NODES
from cellmesh.cortex.model.scans import Exact, Filtered, IndexScan, Predicate, Prefix, Range


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A range of an index whose values are nids.

    Attributes:
        low: First key.
        high: First key behind it; None for the end of the database.
        is_exact: Whether it is the one key `low`.
        predicate: What the stored value must pass besides, if keys do not decide.
    """

    db: SubDb
    low: bytes
    high: bytes | None
    is_exact: bool = False
    predicate: Predicate | None = None


def key_range(db: SubDb, prefix: bytes, scan: IndexScan) -> KeyRange:
    """Return the range of an index that a type's scan stands for.

    Args:
        db: The index.
        prefix: What the keys of the property in the layer begin with.
        scan: What to find among the encoded values.
    """
    match scan:
        case Exact(key):
            low = prefix + key
            return KeyRange(db, low, low + b"\x00", is_exact=True)
        case Prefix(key):
            return KeyRange(db, prefix + key, keys.end_of(prefix + key))
        case Range(low, high):
            return KeyRange(db, prefix + low, keys.end_of(prefix) if high is None else prefix + high)
        case Filtered(Range(low, high), predicate):
            high_key = keys.end_of(prefix) if high is None else prefix + high
            return KeyRange(db, prefix + low, high_key, predicate=predicate)


def records(txn: ReadTxn, layer: bytes, nids: Sequence[bytes]) -> list[bytes | None]:
    """Return the record of each nid in a layer, or None."""
    get = txn.raw.get
    handle = txn.handle(NODES)
    return [get(layer + nid, None, handle) for nid in nids]


def count_range(txn: ReadTxn, found: KeyRange) -> int:
    """Count the entries of a range, by its keys alone."""
    if found.is_exact:
        return txn.count(found.db, found.low)
    total = 0
    with txn.raw.cursor(txn.handle(found.db)) as cursor:
        here = cursor.set_range(found.low)
        while here:
            key = cursor.key()
            if found.high is not None and key >= found.high:
                break
            total += cursor.count()
            here = cursor.next_nodup()
    return total


def count_keys(txn: ReadTxn, found: KeyRange, form_numbers: frozenset[int] | None = None) -> int:
    """Count the entries of a range whose nids are of some forms."""
    if form_numbers is None:
        return count_range(txn, found)
    total, position = 0, None
    while True:
        chunk = txn.scan_values(found.db, found.low, found.high, count_max=4096, after=position)
        total += sum(keys.unpack_form(nid, 6) in form_numbers for nid in chunk.items)
        if chunk.resume is None:
            return total
        position = chunk.resume


def node_data(
    names: Names, txn: ReadTxn, nid_key: bytes, *, count: int = WALK_COUNT
) -> Iterator[tuple[str, bytes]]:
    """Yield the data that a layer has of a node: names with the encoded values, empty where it hides what is below.

    Args:
        names: Those of data.
        txn: Stays open until the last was taken.
        nid_key: The layer's key and the nid.
        count: Values that are fetched at once.
    """
    for key, value in walk(txn, NODE_DATA, nid_key, keys.end_of(nid_key), count=count):
        name = names.name_of(txn, keys.unpack_number(key, len(nid_key)))
        assert name is not None, "data has no name"
        yield name, value


def edges(txn: ReadTxn, layer: bytes, nid: bytes, *, inward: bool = False) -> list[bytes]:
    """Return the edges of a node in a layer, each as verb(4) nid(8)."""
    return txn.values(EDGES_IN if inward else EDGES_OUT, layer + nid)


def edge_masks(txn: ReadTxn, layer: bytes, nid: bytes) -> list[bytes]:
    """Return the outward edges of a node that a layer hides, each as verb(4) nid(8)."""
    return txn.values(EDGE_MASKS, layer + nid)


def data_names(
    txn: ReadTxn, layer: bytes, nid: bytes, *, count_max: int, after: Position | None = None
) -> tuple[list[tuple[int, bool]], Position | None]:
    """Return numbers of names of a node's data in a layer, and whether it is there (or hidden)."""
    prefix = layer + nid
    chunk = txn.scan(NODE_DATA, prefix, keys.end_of(prefix), count_max=count_max, after=after)
    return [(keys.unpack_number(key, len(prefix)), bool(value)) for key, value in chunk.items], chunk.resume
