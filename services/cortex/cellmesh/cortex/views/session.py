"""GraphSession: one unit of work on a view."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from cellmesh.common.errors import BadArg, BadTypeValu, IsReadOnly, NoSuchProp, NoSuchTagProp
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers import keys, reader
from cellmesh.cortex.layers.catalog import index_name
from cellmesh.cortex.layers.names import Names
from cellmesh.cortex.layers.reader import KeyRange, key_range
from cellmesh.cortex.layers.schema import BY_ARRAY, BY_PROP, BY_TAG, BY_TAG_PROP, BY_VERB
from cellmesh.cortex.layers.stats import read_count, sum_counts
from cellmesh.cortex.model.registry import Form, Prop
from cellmesh.cortex.model.scans import EVERYTHING, Exact, Filtered, IndexScan
from cellmesh.cortex.values.edits import Interval
from cellmesh.cortex.values.ids import buid_of
from cellmesh.cortex.values.wire import decode_plain, encode_value
from cellmesh.cortex.views.constructors import add_by_props, find_by_props
from cellmesh.cortex.views.editor import Draft, Editor
from cellmesh.cortex.views.feed import Feeder, FeedNode, FeedResult
from cellmesh.cortex.views.kept import Kept
from cellmesh.cortex.views.lifts import Lift, lift_nodes, live_nodes
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.overlay import FORM, Held, Stack
from cellmesh.cortex.views.plans import NodePlan, PropPlan, no_such_prop
from cellmesh.cortex.views.runtime import lift_runtime

if TYPE_CHECKING:
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.view import View

T = TypeVar("T")

PIVOT_BATCH_COUNT: Final = 256
INTERVAL_COMPARISON: Final = "@="


class GraphSession:
    """One query's, feed's or call's work on a view: sees its own edits at once. Used from one thread, then closed.

    Attributes:
        graph: The graph.
        view: The view.
        model: The model.
        user: Whose edits they are.
        readonly: Whether edits are refused.
        edit_count: Node edits made so far.
        generation: Grows with each op that edited; tells Nodes when to look again.
    """

    def __init__(self, graph: Graph, view: View, *, user: str, readonly: bool) -> None:
        self.graph = graph
        self.view = view
        self.model = graph.model
        self.user = user
        self.readonly = readonly
        self.edit_count = 0
        self.generation = 0
        self.stack = Stack(view.layers)
        self._kept = graph.kept.take(graph.model)
        self.planner = self._kept.planner
        self.storage = graph.slab.session()
        self._unconfirmed: set[tuple[Names, str]] = set()
        self._tag_form: Form | None = None
        self._feeder: Feeder | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Transactions.

    def read(self, op: Callable[[ReadTxn], T]) -> T:
        """Run a chunk of reading in a state that has this session's edits."""
        return self.storage.read(op)

    def read_node(self, key: bytes) -> bytes | None:
        """Return a node as serialized, as it is now."""
        return self.storage.read(lambda txn: self.stack.node(txn, key))

    def form_of_key(self, key: bytes) -> Form:
        """Return the form of a nid given in 8 bytes."""
        return self.graph.form_of_key(self.storage.read, key[6:])

    @property
    def tag_form(self) -> Form:
        """The form syn:tag."""
        if self._tag_form is None:
            self._tag_form = self.model.require_form("syn:tag")
        return self._tag_form

    def has_redirects(self, txn: ReadTxn) -> bool:
        """Whether any tag may redirect to another."""
        number = self.graph.names.props.find(txn, "syn:tag:isnow")
        if number is None:
            return False
        form_number = self.graph.names.forms.find(txn, "syn:tag") or 0
        return any(read_count(txn, keys.count_key(layer, number, form_number)) for layer in self.stack.layers)

    def edit(self, op: Callable[[Editor], T], node: Node | None = None) -> T:
        """Run one op that edits: its decisions, then its writes, in one transaction with its change record.

        Args:
            op: Works on the editor's drafts.
            node: A node that the op is about, renewed at the end.

        Raises:
            IsReadOnly: the session may not edit.
        """

        def run(txn: WriteTxn) -> tuple[T, int, list[tuple[Names, str]], bytes | None]:
            editor = Editor(self, txn)
            result = op(editor)
            count = editor.commit()
            data = editor.node_bytes(node.key) if node is not None and count else None
            return result, count, self.graph.names.take_stored(), data

        result, count, stored, data = self.write_op(run)
        self.note_edits(count, stored)
        if count and node is not None:
            node.renew(data, self.generation)
        return result

    def write_op(self, op: Callable[[WriteTxn], T]) -> T:
        """Run one op in the open write transaction.

        Raises:
            IsReadOnly: the session may not edit.
        """
        if self.readonly:
            raise IsReadOnly("this query may not edit")

        def run(txn: WriteTxn) -> T:
            result = op(txn)
            # Even an op that changed nothing has relied on what others wrote in this transaction. So the
            # session takes part in it: its reads see the same, and its sync waits for it.
            txn.touched = True
            return result

        return self.storage.write(run)

    def note_edits(self, count: int, stored: Sequence[tuple[Names, str]]) -> None:
        """Take note of what an op did: edits, and names stored for the first time."""
        if stored:
            self._unconfirmed.update(stored)
        if count:
            self.edit_count += count
            self.generation += 1

    def feed(self, batch: Sequence[FeedNode]) -> FeedResult:
        """Make or enrich many nodes; a record that cannot be used is rejected by itself. See `feed`."""
        if self._feeder is None:
            self._feeder = Feeder(self, self._kept.feed_cache(self.graph, self.stack.top))
        return self._feeder.feed(batch)

    # Lifts.

    def lift_form(self, form: Form, *, reverse: bool = False) -> Iterator[Node]:
        """Yield every node of a form, by value."""
        return self.lift_prop(form.value_prop, reverse=reverse)

    def lift_prop(self, prop: Prop, *, reverse: bool = False) -> Iterator[Node]:
        """Yield every node that has a property, by its value; a universal one over all forms."""
        return self._lift(prop, BY_PROP, (EVERYTHING,), reverse)

    def lift_value(
        self, prop: Prop, comparator: str, value: object, *, reverse: bool = False
    ) -> Iterator[Node]:
        """Yield the nodes whose property, or own value, compares so.

        Raises:
            NoSuchCmpr: the type cannot be lifted by the comparison.
            BadTypeValu: the value does not normalise.
        """
        return self._lift(prop, BY_PROP, self._scans(prop, prop.type.lift, comparator, value), reverse)

    def lift_array(
        self, prop: Prop, comparator: str, value: object, *, reverse: bool = False
    ) -> Iterator[Node]:
        """Yield the nodes with an array element that compares so, once for each such element.

        Raises:
            BadTypeValu: the property is no array, or the value does not normalise.
        """
        element = prop.type.element
        if element is None:
            raise BadTypeValu(f"{prop.full_name} is no array", name=prop.full_name)
        return self._lift(prop, BY_ARRAY, self._scans(prop, element.lift, comparator, value), reverse)

    def _scans(
        self, prop: Prop, lift: Callable[[str, object], tuple[IndexScan, ...]], comparator: str, value: object
    ) -> tuple[IndexScan, ...]:
        try:
            return lift(comparator, value)
        except BadTypeValu as error:
            error.setdefault("prop", prop.full_name)
            raise

    def _lift(self, prop: Prop, db: Any, scans: Sequence[IndexScan], reverse: bool) -> Iterator[Node]:
        lifts = self.read(lambda txn: self._lifts(txn, prop, db, scans))
        return lift_nodes(self, lifts, reverse=reverse)

    def _lifts(self, txn: ReadTxn, prop: Prop, db: Any, scans: Sequence[IndexScan]) -> list[Lift]:
        number = self.graph.names.props.find(txn, index_name(prop))
        if number is None:
            return []
        form_key = None
        if prop.is_universal and prop.form is not None:
            form_number = self.graph.names.forms.find(txn, prop.form.name)
            if form_number is None:
                return []
            form_key = keys.pack_form(form_number)
        held = FORM if prop.is_form else Held("prop", prop.name)
        return [
            Lift(
                tuple(key_range(db, keys.prop_prefix(layer, number), scan) for layer in self.stack.layers),
                held,
                form_key,
                None if db is BY_ARRAY else self._acceptor(prop, scan),
                self._element_acceptor(prop, scan) if db is BY_ARRAY else None,
            )
            for scan in scans
        ]

    def _acceptor(self, prop: Prop, scan: IndexScan) -> Callable[[Node], bool] | None:
        if not isinstance(scan, Filtered):
            return None
        predicate, name = scan.predicate, prop.name
        if prop.is_form:
            return lambda node: predicate(node.value)

        def one_value(node: Node) -> bool:
            found = node.get(name)
            return found is not None and predicate(found)

        return one_value

    def _element_acceptor(self, prop: Prop, scan: IndexScan) -> Callable[[Node, bytes], bool] | None:
        element = prop.type.element
        if not isinstance(scan, Filtered) or element is None:
            return None
        predicate, encode, name = scan.predicate, element.encode, prop.name

        def accepts(node: Node, key: bytes) -> bool:
            encoded = key[keys.NUMBER_SIZE :]
            found = node.value if prop.is_form else node.get(name)
            return any(encode(item) == encoded and predicate(item) for item in found or ())

        return accepts

    def lift_tag(
        self,
        tag: str,
        *,
        form: Form | None = None,
        comparator: str | None = None,
        value: object = None,
        reverse: bool = False,
    ) -> Iterator[Node]:
        """Yield the nodes that have a tag, of one form or of all; those whose interval compares so.

        Raises:
            NoSuchCmpr, BadTypeValu: the comparison or its value does not fit an interval.
        """
        accepts = None
        if comparator is not None:
            test = self.model.type("ival").comparator(comparator, value)

            def accepts(node: Node) -> bool:
                interval = node.tag(tag)
                return interval is not None and test(interval)

        def prepare(txn: ReadTxn) -> list[Lift]:
            number = self.graph.names.tags.find(txn, tag)
            if number is None:
                return []
            suffix = b""
            if form is not None:
                form_number = self.graph.names.forms.find(txn, form.name)
                if form_number is None:
                    return []
                suffix = keys.pack_form(form_number)
            prefixes = [keys.tag_prefix(layer, number) + suffix for layer in self.stack.layers]
            ranges = tuple(KeyRange(BY_TAG, prefix, keys.end_of(prefix)) for prefix in prefixes)
            return [Lift(ranges, Held("tag", tag), None, accepts)]

        return lift_nodes(self, self.read(prepare), reverse=reverse)

    def lift_tag_prop(
        self,
        tag: str,
        name: str,
        *,
        form: Form | None = None,
        comparator: str | None = None,
        value: object = None,
        reverse: bool = False,
    ) -> Iterator[Node]:
        """Yield the nodes whose tag has a property, or one that compares so, by its value.

        Raises:
            NoSuchTagProp: the model has no such tag property.
        """
        tag_prop = self.model.require_tagprop(name)
        scans: tuple[IndexScan, ...] = (EVERYTHING,)
        if comparator is not None:
            scans = tag_prop.type.lift(comparator, value)

        def acceptor(scan: IndexScan) -> Callable[[Node], bool] | None:
            if not isinstance(scan, Filtered):
                return None
            predicate = scan.predicate

            def accepts(node: Node) -> bool:
                found = node.tag_prop(tag, name)
                return found is not None and predicate(found)

            return accepts

        def prepare(txn: ReadTxn) -> list[Lift]:
            names = self.graph.names
            tag_number, number = names.tags.find(txn, tag), names.tag_props.find(txn, name)
            if tag_number is None or number is None:
                return []
            form_key = None
            if form is not None:
                form_number = names.forms.find(txn, form.name)
                if form_number is None:
                    return []
                form_key = keys.pack_form(form_number)
            prefixes = [keys.tag_prop_prefix(layer, tag_number, number) for layer in self.stack.layers]
            return [
                Lift(
                    tuple(key_range(BY_TAG_PROP, prefix, scan) for prefix in prefixes),
                    Held("tagprop", tag, name),
                    form_key,
                    acceptor(scan),
                )
                for scan in scans
            ]

        return lift_nodes(self, self.read(prepare), reverse=reverse)

    def lift_runtime(
        self,
        form: Form,
        prop: Prop | None = None,
        comparator: str | None = None,
        value: object = None,
        *,
        reverse: bool = False,
    ) -> Iterator[Node]:
        """Yield the nodes of a runtime form, which exist in no layer."""
        found = lift_runtime(self, form, prop, comparator, value)
        return iter(reversed(list(found))) if reverse else found

    # Single nodes.

    def node(self, form: Form, value: object, *, normalise: bool = True) -> Node | None:
        """Return a node by form and value, or None.

        Raises:
            BadTypeValu: the value does not normalise.
        """
        if normalise:
            if type(value) is dict:
                return self.find_by_props(form, value)
            value = form.type.normalize(value).value
        return self.node_by_buid(buid_of(form.name, value))

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

    # Pivots.

    def nodes_with_value(self, prop: Prop, values: Sequence[object]) -> Iterator[tuple[int, Node]]:
        """Yield the nodes that hold stored values of a property's type, with the index of the value.

        An array property is looked at by element.
        """
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

    # Counts.

    def count_form(self, form: Form) -> int:
        """Return how many nodes a form has."""
        return self.count_prop(form.value_prop)

    def count_prop(self, prop: Prop) -> int:
        """Return how many nodes have a property."""
        if not self.stack.is_single:
            return sum(1 for _ in self.lift_prop(prop))

        def read(txn: ReadTxn) -> int:
            names = self.graph.names
            number = names.props.find(txn, index_name(prop))
            if number is None:
                return 0
            if prop.form is None:
                return sum_counts(txn, keys.prop_prefix(self.stack.top, number))
            form_number = names.forms.find(txn, prop.form.name)
            return (
                0
                if form_number is None
                else read_count(txn, keys.count_key(self.stack.top, number, form_number))
            )

        return self.read(read)

    def count_value(self, prop: Prop, comparator: str, value: object) -> int | None:
        """Return how many nodes compare so, or None if the index alone cannot tell.

        Raises:
            NoSuchCmpr, BadTypeValu: as `lift_value`.
        """
        scans = self._scans(prop, prop.type.lift, comparator, value)
        if any(isinstance(scan, Filtered) for scan in scans):
            return None
        if not self.stack.is_single:
            return sum(1 for _ in self._lift(prop, BY_PROP, scans, False))

        def read(txn: ReadTxn) -> int:
            total = 0
            for lift in self._lifts(txn, prop, BY_PROP, scans):
                numbers = None if lift.form_key is None else frozenset((keys.unpack_form(lift.form_key),))
                total += reader.count_keys(txn, lift.ranges[0], numbers)
            return total

        return self.read(read)

    def count_tag(self, tag: str, form: Form | None = None) -> int:
        """Return how many nodes have a tag, of one form or of all."""
        if not self.stack.is_single:
            return sum(1 for _ in self.lift_tag(tag, form=form))

        def read(txn: ReadTxn) -> int:
            number = self.graph.names.tags.find(txn, tag)
            if number is None:
                return 0
            prefix = keys.tag_prefix(self.stack.top, number)
            if form is not None:
                form_number = self.graph.names.forms.find(txn, form.name)
                if form_number is None:
                    return 0
                prefix += keys.pack_form(form_number)
            return reader.count_range(txn, KeyRange(BY_TAG, prefix, keys.end_of(prefix)))

        return self.read(read)

    # Edits.

    def add_node(self, form: Form, value: object, props: Mapping[str, object] | None = None) -> Node:
        """Make a node, with those it implies, and set properties. Of one that exists only unset ones are set.

        Raises:
            BadTypeValu: a value does not normalise; the error names form and property.
            NoSuchProp, IsRuntForm: the model does not allow it.
        """
        if type(value) is dict:
            return self._add_by_dict(form, value, props)
        plan = self.planner.node(form, value)
        prop_plans = [self.plan_prop(form, name, part) for name, part in (props or {}).items()]

        def op(editor: Editor) -> bytes:
            draft = editor.node(plan)
            only_new = plan.buid not in editor.fresh
            for prop_plan in prop_plans:
                editor.apply_prop(draft, prop_plan, only_new=only_new)
            return draft.key

        key = self.edit(op)
        data = self.read_node(key)
        assert data is not None, "a node just made is not there"
        return Node(self, key, data, self.generation)

    def _add_by_dict(
        self, form: Form, value: Mapping[str, object], props: Mapping[str, object] | None
    ) -> Node:
        made = self.add_by_props(form, value)
        return self.add_node(form, made.value, props) if props else made

    def add_by_props(self, form: Form, props: Mapping[str, object], try_: bool = False) -> Node:
        """Return the node of a guid form that has some properties, made if there is none; see `constructors`."""
        return add_by_props(self, form, props, try_=try_)

    def find_by_props(self, form: Form, props: Mapping[str, object]) -> Node | None:
        """Return a node of a guid form that has some properties, or None."""
        return find_by_props(self, form, props)

    def plan_prop(self, form: Form, name: str, value: object) -> PropPlan:
        """Plan the setting of a property; a mapping given for a guid stands for the node with such properties."""
        if type(value) is dict:
            prop = form.props.get(name)
            if prop is not None and "guid" in prop.type.chain and self.model.is_form(prop.type_name):
                target = self.model.require_form(prop.type_name)
                value = self.add_by_props(target, value).value
        return self.planner.set_prop(form, name, value)

    def _draft(self, editor: Editor, node: Node) -> Draft | None:
        # Not node.form: that may read through the session, which an op must not.
        form = self.graph.form_of_key(lambda op: op(editor.txn), node.key[6:])
        return editor.draft(node.nid, form, node.value)

    def set_prop(self, node: Node, name: str, value: object) -> bool:
        """Set a property; returns whether it changed. Intervals, minima and maxima merge.

        Raises:
            NoSuchProp: the form has no such property.
            BadTypeValu: the value does not normalise.
            ReadOnlyProp: it is set, and may not change.
        """
        plan = self.plan_prop(self.planner.editable(node.form), name, value)

        def op(editor: Editor) -> bool:
            draft = self._draft(editor, node)
            return draft is not None and editor.apply_prop(draft, plan)

        return self.edit(op, node)

    def pop_prop(self, node: Node, name: str) -> bool:
        """Remove a property; returns whether it was set.

        Raises:
            NoSuchProp: the form has no such property.
            ReadOnlyProp: it may not be removed.
        """
        prop = node.form.props.get(name)
        if prop is None:
            raise no_such_prop(self.model, node.form, name)

        def op(editor: Editor) -> bool:
            draft = self._draft(editor, node)
            return draft is not None and editor.pop_prop(draft, prop)

        return self.edit(op, node)

    def add_tag(self, node: Node, tag: object, interval: object = None) -> None:
        """Put a tag on, with those above it; an interval widens the one it has.

        Raises:
            BadTypeValu: the tag or the interval does not normalise.
        """
        name = self.tag_name(tag)
        span: Interval = None
        if interval is not None:
            span = self.interval(interval)

        def op(editor: Editor) -> None:
            draft = self._draft(editor, node)
            if draft is not None:
                editor.add_tag(draft, name, span)

        self.edit(op, node)

    def del_tag(self, node: Node, tag: object) -> None:
        """Take a tag and those below it off."""
        name = self.tag_name(tag)

        def op(editor: Editor) -> None:
            draft = self._draft(editor, node)
            if draft is not None:
                editor.del_tag(draft, name)

        self.edit(op, node)

    def tag_name(self, tag: object) -> str:
        """Return the normalised name of a tag, checked to be storable."""
        plan = self.planner.node(self.tag_form, tag)
        name: str = plan.value
        self.graph.names.tags.check(name)
        return name

    def tag_plan(self, tag: str) -> NodePlan:
        """Return the plan of a normalised tag's node."""
        return self.planner.stored_node(self.tag_form, tag)

    def interval(self, interval: object) -> tuple[int, int]:
        """Return a normalised interval."""
        low, high = self.model.type("ival").norm(interval)
        return low, high

    def set_tag_prop(self, node: Node, tag: object, name: str, value: object) -> None:
        """Set a property of a tag, putting the tag on first.

        Raises:
            NoSuchTagProp: the model has no such tag property.
            BadTypeValu: the value does not normalise.
        """
        tag_prop = self.model.require_tagprop(name)
        tag_name = self.tag_name(tag)
        try:
            stored = tag_prop.type.norm(value)
        except BadTypeValu as error:
            error.setdefault("prop", f"#{tag_name}:{name}")
            raise
        tag_prop.type.encode(stored)

        def op(editor: Editor) -> None:
            draft = self._draft(editor, node)
            if draft is not None:
                editor.set_tag_prop(draft, tag_name, name, stored, tag_prop.type.merge)

        self.edit(op, node)

    def del_tag_prop(self, node: Node, tag: object, name: str) -> bool:
        """Remove a property of a tag; returns whether it was set."""
        self.model.require_tagprop(name)
        tag_name = self.tag_name(tag)

        def op(editor: Editor) -> bool:
            draft = self._draft(editor, node)
            return draft is not None and editor.del_tag_prop(draft, tag_name, name)

        return self.edit(op, node)

    def add_edge(self, node: Node, verb: str, to: Node) -> bool:
        """Make a light edge; returns whether it is new."""
        self.graph.names.verbs.check(verb)

        def op(editor: Editor) -> bool:
            draft = self._draft(editor, node)
            if draft is None or self.stack.node(editor.txn, to.key) is None:
                return False
            return editor.add_edge(draft, verb, to.key)

        return self.edit(op)

    def del_edge(self, node: Node, verb: str, to: Node) -> bool:
        """Remove a light edge; returns whether it was there."""

        def op(editor: Editor) -> bool:
            draft = self._draft(editor, node)
            return draft is not None and editor.del_edge(draft, verb, to.key)

        return self.edit(op)

    def delete_node(self, node: Node, *, force: bool = False) -> None:
        """Remove a node with its properties, tags, data and outward edges.

        Raises:
            CantDelNode: other nodes refer to it and `force` is not set.
        """

        def op(editor: Editor) -> None:
            draft = self._draft(editor, node)
            if draft is not None:
                editor.delete(draft, force=force)

        self.edit(op, node)

    # Data.

    def set_data(self, node: Node, name: str, value: object) -> None:
        """Attach data to a node: anything a Value holds."""
        self.graph.names.data.check(name)
        encode_value(value)

        def op(editor: Editor) -> None:
            draft = self._draft(editor, node)
            if draft is not None:
                editor.set_data(draft, name, value)

        self.edit(op)

    def get_data(self, node: Node, name: str) -> Any:
        """Return a piece of a node's data, or None."""

        def read(txn: ReadTxn) -> bytes | None:
            number = self.graph.names.data.find(txn, name)
            return None if number is None else self.stack.data(txn, node.key, number)

        found = self.read(read)
        return None if found is None else decode_plain(found)

    def has_data(self, node: Node, name: str) -> bool:
        """Whether a node has data of a name."""

        def read(txn: ReadTxn) -> bool:
            number = self.graph.names.data.find(txn, name)
            return number is not None and self.stack.data(txn, node.key, number) is not None

        return self.read(read)

    def pop_data(self, node: Node, name: str) -> Any:
        """Remove a piece of a node's data and return it, or None."""

        def op(editor: Editor) -> bytes | None:
            draft = self._draft(editor, node)
            return None if draft is None else editor.pop_data(draft, name)

        found = self.edit(op)
        return None if found is None else decode_plain(found)

    def list_data(self, node: Node) -> Iterator[tuple[str, Any]]:
        """Yield a node's data by name, as (name, value)."""

        def read(txn: ReadTxn) -> list[str]:
            names = self.graph.names.data
            return sorted(
                name
                for number in self.stack.data_names(txn, node.key)
                if (name := names.name_of(txn, number)) is not None
            )

        for name in self.read(read):
            if self.has_data(node, name):
                yield name, self.get_data(node, name)

    # Life.

    def breathe(self) -> None:
        """Let those who wait have their turn; cheap, to be called in loops."""
        self.storage.breathe()

    def pause(self) -> None:
        """Let go of the write transaction, before waiting for a client."""
        self.storage.pause()

    def sync(self) -> None:
        """Return when all edits of this session are durable."""
        self.storage.sync()
        for names, name in self._unconfirmed:
            names.confirm(name)
        self._unconfirmed.clear()

    def close(self) -> None:
        """End the work. Edits not synced will be durable soon, unless that fails for all."""
        if not self._is_closed:
            self._is_closed = True
            # Another session uses them from now on.
            kept, self._kept = self._kept, Kept(self.model)
            self.planner, self._feeder = self._kept.planner, None
            self.graph.kept.give(kept)
        self.storage.close()


__all__ = ["GraphSession", "NoSuchProp", "NoSuchTagProp"]
