"""Single nodes, and the way from nodes to others: by value, and by light edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.common.storage import ReadTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.schema import BY_ARRAY, BY_PROP, BY_VERB
from cellmesh.cortex.model.registry import Form, Prop
from cellmesh.cortex.model.scans import Exact
from cellmesh.cortex.views.lifts import live_nodes
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.session_lifts import LiftingSession

PIVOT_BATCH_COUNT: Final = 256


class PivotingSession(LiftingSession):
    """A session that pivots."""

    def node_by_iden(self, iden: str) -> Node | None:
        """Return a node by its iden, or None.

        Raises:
            BadArg: this is no iden.
        """
        try:
            buid = bytes.fromhex(iden)
        except ValueError:
            buid = b""
        if len(buid) != 32:
            raise BadArg("an iden has 64 hexadecimal digits", name="iden", valu=iden[:80])
        return self.node_by_buid(buid)

    def node_by_buid(self, buid: bytes) -> Node | None:
        """Return a node by its buid, or None."""

        def read(txn: ReadTxn) -> tuple[bytes, bytes | None] | None:
            nid = self.graph.nids.find(txn, buid)
            if nid is None:
                return None
            key = keys.pack_nid(nid)
            return key, self.stack.node(txn, key)

        found = self.read(read)
        if found is None or found[1] is None:
            return None
        return Node(self, found[0], found[1], self.generation)

    def nodes_by_nid(self, nids: Sequence[int]) -> list[Node]:
        """Return the nodes of some nids, in their order; those that the view has not are left out."""
        packed = [keys.pack_nid(nid) for nid in nids]
        records = self.read(lambda txn: self.stack.nodes(txn, packed))
        return [
            Node(self, key, record, self.generation)
            for key, record in zip(packed, records)
            if record is not None
        ]

    # By value.

    def nodes_with_value(self, prop: Prop, values: Sequence[object]) -> Iterator[tuple[int, Node]]:
        """Yield the nodes that hold stored values of a property's type, with the index of the value.

        An array property is looked at by element.
        """
        if prop.form is not None and prop.form.is_runtime:
            yield from self._made_with_value(prop.form, prop, values)
            return
        element = prop.type.element
        type_, db = (prop.type, BY_PROP) if element is None else (element, BY_ARRAY)
        for start in range(0, len(values), PIVOT_BATCH_COUNT):
            batch = values[start : start + PIVOT_BATCH_COUNT]
            encoded = [type_.encode(value) for value in batch]
            if self.stack.is_single:
                yield from self._batch_with_keys(prop, db, encoded, start)
            else:
                for index, key in enumerate(encoded, start):
                    for node in self._lift(prop, db, (Exact(key),), False):
                        yield index, node

    def _made_with_value(
        self, form: Form, prop: Prop, values: Sequence[object]
    ) -> Iterator[tuple[int, Node]]:
        """As `nodes_with_value`, of nodes that no layer holds."""
        for index, value in enumerate(values):
            if prop.type.element is None:
                for node in self.lift_runtime(form, prop, "=", value):
                    yield index, node
                continue
            for node in self.lift_runtime(form, prop):
                if value in (node.get(prop.name) or ()):
                    yield index, node

    def nodes_with_value_as_whole(self, prop: Prop, value: object) -> Iterator[tuple[int, Node]]:
        """As `nodes_with_value` of one value, an array being looked at as a whole."""
        for node in self._lift(prop, BY_PROP, (Exact(prop.type.encode(value)),), False):
            yield 0, node

    def _batch_with_keys(
        self, prop: Prop, db: Any, encoded: Sequence[bytes], start: int
    ) -> Iterator[tuple[int, Node]]:
        def read(txn: ReadTxn) -> tuple[list[int], list[bytes], list[bytes | None], list[int]]:
            lift = self._lifts(txn, prop, db, (Exact(b""),))
            if not lift:
                return [], [], [], []
            prefix, form_key = lift[0].ranges[0].low, lift[0].form_key
            indexes: list[int] = []
            nids: list[bytes] = []
            many: list[int] = []
            with txn.raw.cursor(txn.handle(db)) as cursor:
                for index, key in enumerate(encoded):
                    if not cursor.set_key(prefix + key):
                        continue
                    if cursor.count() > 4 * PIVOT_BATCH_COUNT:
                        many.append(index)
                        continue
                    found = [
                        nid for nid in cursor.iternext_dup() if form_key is None or nid.endswith(form_key)
                    ]
                    nids.extend(found)
                    indexes.extend([index] * len(found))
            return indexes, nids, self.stack.nodes(txn, nids), many

        indexes, nids, records, many = self.read(read)
        generation = self.generation
        place = 0
        for index, nid, record in zip(indexes, nids, records):
            while place < len(many) and many[place] < index:
                yield from self._with_many(prop, db, encoded, start, many[place])
                place += 1
            if self.generation != generation:
                record = self.read_node(nid)
            if record is not None:
                yield start + index, Node(self, nid, record, self.generation)
        for index in many[place:]:
            yield from self._with_many(prop, db, encoded, start, index)

    def _with_many(
        self, prop: Prop, db: Any, encoded: Sequence[bytes], start: int, index: int
    ) -> Iterator[tuple[int, Node]]:
        for node in self._lift(prop, db, (Exact(encoded[index]),), False):
            yield start + index, node

    # By light edge.

    def edges_out(
        self, nodes: Sequence[Node], verbs: Sequence[str] | None = None
    ) -> Iterator[tuple[int, str, Node]]:
        """Yield the light edges from nodes: the index of the node, the verb and the node at the other end."""
        return self._edges(nodes, verbs, inward=False)

    def edges_in(
        self, nodes: Sequence[Node], verbs: Sequence[str] | None = None
    ) -> Iterator[tuple[int, str, Node]]:
        """Yield the light edges to nodes: the index of the node, the verb and the node at the other end."""
        return self._edges(nodes, verbs, inward=True)

    def _edges(
        self, nodes: Sequence[Node], verbs: Sequence[str] | None, *, inward: bool
    ) -> Iterator[tuple[int, str, Node]]:
        for start in range(0, len(nodes), PIVOT_BATCH_COUNT):
            batch = nodes[start : start + PIVOT_BATCH_COUNT]

            def read(
                txn: ReadTxn, batch: Sequence[Node] = batch
            ) -> tuple[list[tuple[int, str, bytes]], list[bytes | None]]:
                rows = self._edge_rows(txn, batch, verbs, inward)
                return rows, self.stack.nodes(txn, [row[2] for row in rows])

            rows, records = self.read(read)
            generation = self.generation
            for (index, verb, key), record in zip(rows, records):
                if self.generation != generation:
                    record = self.read_node(key)
                if record is not None:
                    yield start + index, verb, Node(self, key, record, self.generation)

    def _edge_rows(
        self, txn: ReadTxn, nodes: Sequence[Node], verbs: Sequence[str] | None, inward: bool
    ) -> list[tuple[int, str, bytes]]:
        names = self.graph.names.verbs
        wanted: set[int] | None = None
        if verbs is not None:
            wanted = {number for verb in verbs if (number := names.find(txn, verb)) is not None}
            if not wanted:
                return []
        get = self.stack.edges_in if inward else self.stack.edges
        rows: list[tuple[int, str, bytes]] = []
        for index, node in enumerate(nodes):
            for edge in get(txn, node.key):
                number = keys.unpack_number(edge)
                if wanted is None or number in wanted:
                    verb = names.name_of(txn, number)
                    assert verb is not None, "an edge's verb has no name"
                    rows.append((index, verb, edge[keys.NUMBER_SIZE :]))
        return rows

    def edge_refs(
        self, node: Node, verbs: Sequence[str] | None = None, *, inward: bool = False
    ) -> list[tuple[str, str]]:
        """Return the light edges of a node as (verb, iden of the node at the other end)."""
        return [
            (verb, other.iden)
            for _, verb, other in (self.edges_in if inward else self.edges_out)((node,), verbs)
        ]

    def edge_verbs(self) -> list[str]:
        """Return the verbs that light edges of the view have."""

        def read(txn: ReadTxn) -> list[str]:
            found: set[str] = set()
            for layer in self.stack.layers:
                with txn.raw.cursor(txn.handle(BY_VERB)) as cursor:
                    here = cursor.set_range(layer)
                    while here and cursor.key().startswith(layer):
                        verb = self.graph.names.verbs.name_of(
                            txn, keys.unpack_number(cursor.key(), len(layer))
                        )
                        assert verb is not None, "an edge's verb has no name"
                        found.add(verb)
                        here = cursor.next_nodup()
            return sorted(found)

        return self.read(read)

    def lift_verb(self, verb: str, *, inward: bool = False) -> Iterator[Node]:
        """Yield the nodes that have a light edge of a verb, each once: those it comes from, or those it leads to."""
        number = self.read(lambda txn: self.graph.names.verbs.find(txn, verb))
        if number is None:
            return
        seen: set[bytes] = set()
        for layer in self.stack.layers:
            low = layer + keys.pack_number(number)
            position = None
            while True:

                def read(
                    txn: ReadTxn, low: bytes = low, after: Any = position
                ) -> tuple[list[bytes], list[bytes | None], Any]:
                    chunk = txn.scan_values(BY_VERB, low, low + b"\x00", count_max=1024, after=after)
                    pairs = chunk.items
                    if not self.stack.is_single:
                        edge = keys.pack_number(number)
                        pairs = [p for p in pairs if self.stack.has_edge(txn, p[:8], edge + p[8:])]
                    ends = dict.fromkeys(pair[8:] if inward else pair[:8] for pair in pairs)
                    fresh = [nid for nid in ends if nid not in seen]
                    return fresh, self.stack.nodes(txn, fresh), chunk.resume

                nids, records, position = self.read(read)
                seen.update(nids)
                yield from live_nodes(self, nids, records)
                if position is None:
                    break
