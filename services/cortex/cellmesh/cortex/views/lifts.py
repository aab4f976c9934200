"""Index scans into nodes: a chunk of keys at a time, the node records of the chunk in the same transaction.

The first chunk is one key and later ones grow, so that a lift whose first node suffices reads little and a
long one spends its time in LMDB. Between chunks no transaction is open; a scan goes on behind the last key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from cellmesh.common.storage import ReadTxn
from cellmesh.common.storage.transactions import Position
from cellmesh.cortex.layers.reader import KeyRange
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.overlay import Held

if TYPE_CHECKING:
    from cellmesh.cortex.views.session_base import SessionBase

CHUNK_COUNTS: Final = (1, 16, 256)
CHUNK_COUNT_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Lift:
    """One range of an index in every layer of a view.

    Attributes:
        ranges: The range in each layer, the top one first; None where the layer's names rule it out.
        prefix_size: How many bytes of the keys differ between layers: the layer's number.
        held: What an entry says of its node.
        form_key: Last bytes of the nids wanted, if the index holds other forms too.
        accepts: A test of the node's value, if keys do not decide.
        accepts_entry: A test of the node and the entry's key, the layer's number left out, likewise.
    """

    ranges: tuple[KeyRange, ...]
    held: Held
    form_key: bytes | None = None
    accepts: Callable[[Node], bool] | None = None
    accepts_entry: Callable[[Node, bytes], bool] | None = None


class LiftedNodes(Iterator[Node]):
    """The nodes of some ranges, one range after the other; or their records, by those who need no more."""

    __slots__ = ("_lifts", "_nodes", "_reverse", "_session")

    def __init__(self, session: SessionBase, lifts: Sequence[Lift], reverse: bool) -> None:
        self._session = session
        self._lifts = lifts[::-1] if reverse else lifts
        self._reverse = reverse
        self._nodes = _nodes(session, self._lifts, reverse)

    def __iter__(self) -> Iterator[Node]:
        # Not itself: a loop then goes through the generator without a call of ours for each node.
        return self._nodes

    def __next__(self) -> Node:
        return next(self._nodes)

    def records(self) -> Iterator[list[bytes]] | None:
        """Give the nodes as they are stored, in place of the nodes: blocks of some, up to a thousand.

        None where they can't be had so, since layers are merged or values looked at. To be used by a query that edits
        nothing: what its session edits meanwhile is not seen.
        """
        if not self._session.stack.is_single:
            return None
        if any(lift.accepts is not None or lift.accepts_entry is not None for lift in self._lifts):
            return None
        return self._blocks()

    def _blocks(self) -> Iterator[list[bytes]]:
        for lift in self._lifts:
            for _, records in _chunks(self._session, lift, self._reverse):
                yield [record for record in records if record is not None]


def _nodes(session: SessionBase, lifts: Sequence[Lift], reverse: bool) -> Iterator[Node]:
    for lift in lifts:
        # Where keys are looked at one by one, one way to scan serves any number of layers.
        is_simple = session.stack.is_single and lift.accepts_entry is None
        scan = _single if is_simple else _merged
        nodes = scan(session, lift, reverse)
        if lift.accepts is None:
            yield from nodes
        else:
            accepts = lift.accepts
            for node in nodes:
                if accepts(node):
                    yield node


def _chunk_counts() -> Iterator[int]:
    yield from CHUNK_COUNTS
    while True:
        yield CHUNK_COUNT_MAX


def _single(session: SessionBase, lift: Lift, reverse: bool) -> Iterator[Node]:
    for nids, records in _chunks(session, lift, reverse):
        yield from live_nodes(session, nids, records)


def _chunks(
    session: SessionBase, lift: Lift, reverse: bool
) -> Iterator[tuple[list[bytes], list[bytes | None]]]:
    """Yield the nids of a range in the one layer, with their records, which are None where no node is."""
    found = lift.ranges[0]
    form_key = lift.form_key
    stack = session.stack
    position: Position | None = None
    for count_max in _chunk_counts():

        def read(
            txn: ReadTxn, count_max: int = count_max, after: Position | None = position
        ) -> tuple[list[bytes], list[bytes | None], Position | None]:
            chunk = txn.scan_values(
                found.db, found.low, found.high, count_max=count_max, reverse=reverse, after=after
            )
            nids = chunk.items
            if form_key is not None:
                nids = [nid for nid in nids if nid.endswith(form_key)]
            return nids, stack.nodes(txn, nids), chunk.resume

        nids, records, position = session.read(read)
        yield nids, records
        if position is None:
            return


def live_nodes(
    session: SessionBase, nids: Sequence[bytes], records: Sequence[bytes | None]
) -> Iterator[Node]:
    """Yield nodes of records just read, those that the session edits meanwhile as they are by then."""
    generation = session.generation
    for nid, record in zip(nids, records):
        if session.generation != generation:
            record = session.read_node(nid)
        if record is not None:
            yield Node(session, nid, record, session.generation)


def _merged(session: SessionBase, lift: Lift, reverse: bool) -> Iterator[Node]:
    """Merge the scans of several layers by key and nid; what a layer above hides is left out."""
    streams = [
        _Stream(session, found, depth, reverse, lift.form_key) for depth, found in enumerate(lift.ranges)
    ]
    choose = max if reverse else min
    while True:
        heads = [
            (head, -stream.depth if reverse else stream.depth, stream)
            for stream in streams
            if (head := stream.head()) is not None
        ]
        if not heads:
            return
        (key, nid), _, stream = choose(heads, key=lambda item: item[:2])
        stream.advance()
        record = session.read(partial(_seen, session, nid, lift.held, stream.depth))
        if record is not None:
            node = Node(session, nid, record, session.generation)
            if lift.accepts_entry is None or lift.accepts_entry(node, key):
                yield node


def _seen(session: SessionBase, nid: bytes, held: Held, depth: int, txn: ReadTxn) -> bytes | None:
    stack = session.stack
    return stack.node(txn, nid) if stack.is_seen(txn, nid, held, depth) else None


class _Stream:
    """The entries of one layer, read ahead a chunk at a time."""

    def __init__(
        self, session: SessionBase, found: KeyRange, depth: int, reverse: bool, form_key: bytes | None
    ) -> None:
        self.session = session
        self.found = found
        self.depth = depth
        self.reverse = reverse
        self.form_key = form_key
        self.items: list[tuple[bytes, bytes]] = []
        self.at = 0
        self.position: Position | None = None
        self.is_done = False
        self.counts = _chunk_counts()

    def head(self) -> tuple[bytes, bytes] | None:
        """The entry next in turn, its key without the layer's number; None at the end."""
        while self.at >= len(self.items):
            if self.is_done:
                return None
            self._read()
        key, nid = self.items[self.at]
        return key[4:], nid

    def advance(self) -> None:
        """Go on to the next entry."""
        self.at += 1

    def _read(self) -> None:
        found, count_max = self.found, next(self.counts)
        chunk = self.session.read(
            lambda txn: txn.scan(
                found.db,
                found.low,
                found.high,
                count_max=count_max,
                reverse=self.reverse,
                after=self.position,
            )
        )
        form_key = self.form_key
        self.items = [item for item in chunk.items if form_key is None or item[1].endswith(form_key)]
        self.at = 0
        self.position = chunk.resume
        self.is_done = chunk.resume is None
