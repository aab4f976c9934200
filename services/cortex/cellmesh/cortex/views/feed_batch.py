"""One batch of a feed inside its op: fresh nodes in bulk, all else through editors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from cellmesh.common.errors import CellError
from cellmesh.common.storage import WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.bulk import BulkWriter
from cellmesh.cortex.layers.records import find_prop, prop_marker
from cellmesh.cortex.layers.schema import EDGES_OUT, NIDS
from cellmesh.cortex.values.changes import frame
from cellmesh.cortex.values.edits import Interval
from cellmesh.cortex.values.wire import decode_value, varint
from cellmesh.cortex.views.editor import Editor
from cellmesh.cortex.views.feed_prepare import Prepared, Preparer, TagGroup, ensurer
from cellmesh.cortex.views.feed_values import FeedReject, FeedResult
from cellmesh.cortex.views.hooks import NEW_NODE_PROPS
from cellmesh.cortex.views.plans import NodePlan, PropPlan

if TYPE_CHECKING:
    from cellmesh.cortex.views.session_base import SessionBase


@dataclass(slots=True)
class Row:
    """A record, normalised.

    Attributes:
        index: Its place in the batch.
        plan: Its node.
        props, tags, tag_props, edges, data: What it says of it.
        prepared: The node as it is written if it is new; None to be made in the op.
        result: Is told what becomes of it.
    """

    index: int
    plan: NodePlan
    props: Sequence[PropPlan]
    tags: Sequence[tuple[str, Interval]] = ()
    tag_props: Sequence[tuple[str, str, Any, Any]] = ()
    edges: Sequence[tuple[str, NodePlan, bool]] = ()
    data: Sequence[tuple[str, Any]] = ()
    prepared: Prepared | None = None
    result: FeedResult = field(default_factory=FeedResult)


class Fresh:
    """A node that the batch makes."""

    __slots__ = ("edges", "key", "prepared", "result")

    prepared: Prepared

    def __init__(self, key: bytes, result: FeedResult) -> None:
        self.key = key
        self.result = result
        self.edges: list[bytes] = []

    def get(self, name: str) -> Any:
        """Return a property, for hooks."""
        found = self.prepared.props.get(name)
        return None if found is None else found.value


class _Stored:
    """A node as the view has it."""

    __slots__ = ("data", "seen")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.seen: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """Return a property, for hooks."""
        if name in self.seen:
            return self.seen[name]
        encoded = find_prop(self.data, prop_marker(name))
        found = self.seen[name] = None if encoded is None else decode_value(encoded)
        return found


class _Readable(Protocol):
    def get(self, name: str) -> Any: ...


class Batch:
    """One batch inside its op.

    Args:
        session: Whose feed it is.
        txn: The write transaction.
        preparer: Makes ready what could not be made before.
        implied: Implied nodes made ready, by buid.
    """

    def __init__(
        self,
        session: SessionBase,
        txn: WriteTxn,
        preparer: Preparer,
        implied: Mapping[bytes, Prepared],
    ) -> None:
        self.session = session
        self.txn = txn
        self.preparer = preparer
        self.prepared = implied
        # That of the record at work.
        self.result = FeedResult()
        self.graph = session.graph
        self.names = session.graph.names
        self.stack = session.stack
        self.editor = Editor(session, txn)
        self.bulk = BulkWriter(session.stack.top, self.names)
        self.number_of = ensurer(txn)
        # Buid -> nid in 8 bytes of nodes known to exist, and nodes being made.
        self.known: dict[bytes, bytes] = {}
        self.fresh: dict[bytes, Fresh] = {}
        self.read: dict[bytes, _Stored | None] = {}
        self.has_redirects = session.has_redirects(txn)

    def run(self, rows: Sequence[Row]) -> None:
        """Make the batch's nodes, then enrich those that are there already."""
        self.graph.check_layer(self.txn, self.session.view.layers[0])
        self._find(rows)
        rest: list[Row] = []
        known, fresh = self.known, self.fresh
        for row in rows:
            buid = row.plan.buid
            if buid in known or buid in fresh:
                rest.append(row)
                continue
            self.result = row.result
            self._make(row.plan, row)
            if row.tag_props or row.data:
                rest.append(row)
        for row in rows:
            if row.edges:
                self.result = row.result
                self._edges(row)
        self._finish()
        for row in rest:
            self._enrich(row)

    def _find(self, rows: Sequence[Row]) -> None:
        """Look up the batch's nodes, and those they imply, at once and in the order of their keys."""
        wanted: set[bytes] = set()
        todo: list[NodePlan] = []
        for row in rows:
            wanted.add(row.plan.buid)
            todo += row.plan.implied
            for given in row.props:
                todo += given.implied
        while todo:
            plan = todo.pop()
            if plan.buid not in wanted:
                wanted.add(plan.buid)
                todo += plan.implied
        buids = sorted(wanted)
        found = self.txn.get_many(NIDS, buids)
        there = [(buid, nid) for buid, nid in zip(buids, found) if nid is not None]
        if there:
            records = self.stack.nodes(self.txn, [nid for _, nid in there])
            self.known.update(pair for pair, record in zip(there, records) if record is not None)
        self.absent = {buid for buid, nid in zip(buids, found) if nid is None}

    def _ensure(self, plan: NodePlan) -> bytes:
        """Return the nid of a node, making it if the view has it not."""
        known = self.known.get(plan.buid)
        if known is not None:
            return known
        fresh = self.fresh.get(plan.buid)
        if fresh is not None:
            return fresh.key
        found = None if plan.buid in self.absent else self.txn.get(NIDS, plan.buid)
        if found is None or self.stack.node(self.txn, found) is None:
            return self._make(plan).key
        self.known[plan.buid] = found
        return found

    def _make(self, plan: NodePlan, row: Row | None = None) -> Fresh:
        buid = plan.buid
        stored = None if buid in self.absent else self.txn.get(NIDS, buid)
        if stored is not None:
            key = stored
            self.bulk.is_ascending = False
        else:
            form = self.preparer.cache.fragments.form(self.number_of, plan.form)
            key = keys.pack_nid(self.graph.nids.fresh(form.number))
            self.bulk.nids.append((buid, key))
        fresh = self.fresh[buid] = Fresh(key, self.result)
        prepared = self.prepared.get(buid) if row is None else row.prepared
        if prepared is None or (self.has_redirects and prepared.tags.fragments):
            prepared = self._prepare(plan, plan.props, row)
        # Seen by nodes that imply this one in turn.
        fresh.prepared = prepared
        for implied in prepared.implied:
            if implied.buid not in self.known and implied.buid not in self.fresh:
                self._ensure(implied)
        fix = NEW_NODE_PROPS.get(plan.form.name)
        if fix is not None:
            props = fix(self, plan.props, plan.value)
            if props is not plan.props:
                fresh.prepared = self._prepare(plan, props, row)
        self.result.new_node_count += 1
        return fresh

    def _prepare(self, plan: NodePlan, props: Mapping[str, Any], row: Row | None) -> Prepared:
        if row is None:
            return self.preparer.prepare(self.number_of, plan, props)
        tags = row.tags
        if self.has_redirects:
            tags = [(self.editor.redirected(tag), interval) for tag, interval in tags]
        implied = [self.session.tag_plan(tag) for tag, _ in tags]
        return self.preparer.prepare(self.number_of, plan, props, row.props, tags, implied)

    def existing(self, form: str, value: Any) -> _Readable | None:
        """Return a node by form and stored value, for hooks."""
        plan = self.session.planner.stored_node(self.graph.model.require_form(form), value)
        fresh = self.fresh.get(plan.buid)
        if fresh is not None:
            return fresh
        if plan.buid not in self.read:
            nid = self.txn.get(NIDS, plan.buid)
            data = None if nid is None else self.stack.node(self.txn, nid)
            self.read[plan.buid] = None if data is None else _Stored(data)
        return self.read[plan.buid]

    def _edges(self, row: Row) -> None:
        own = self._ensure(row.plan)
        for verb, plan, reverse in row.edges:
            other = self._ensure(plan)
            n2 = own if reverse else other
            source = self.fresh.get(plan.buid if reverse else row.plan.buid)
            if source is None:
                self._edge_of_known(plan if reverse else row.plan, verb, n2)
                continue
            number = self.names.verbs.ensure(self.txn, verb)
            edge = keys.pack_number(number) + n2
            if edge not in source.edges:
                source.edges.append(edge)
                self.result.new_edge_count += 1

    def _edge_of_known(self, plan: NodePlan, verb: str, to: bytes) -> None:
        draft = self.editor.find(plan)
        assert draft is not None, "a node known to exist is not there"
        number = self.names.verbs.find(self.txn, verb)
        if number is not None and self.txn.has(
            EDGES_OUT, self.stack.top + draft.key, keys.pack_number(number) + to
        ):
            return
        if any(
            getattr(edit, "verb", None) == verb and getattr(edit, "to_nid", 0) == keys.unpack_nid(to)
            for edit in draft.edits
        ):
            return
        if self.editor.add_edge(draft, verb, to):
            self.result.new_edge_count += 1

    def _finish(self) -> None:
        """Put log and index entries of the fresh nodes together and write them."""
        logged: list[bytes] = []
        bulk, layer = self.bulk, self.stack.top
        props = bulk.props
        tagged: defaultdict[TagGroup, list[bytes]] = defaultdict(list)
        high_varints: dict[int, bytes] = {}
        for fresh in self.fresh.values():
            prepared, key = fresh.prepared, fresh.key
            form = prepared.form
            bulk.forms[form] += 1
            bulk.own.append((prepared.own_key, key))
            if form.encode_element is not None:
                bulk.own_elements += [(name, key) for name in form.element_keys(prepared.plan.value)]
            bulk.nodes.append((layer + key, prepared.record))
            for fragment in prepared.fragments:
                props[fragment].append(key)
            tags = prepared.tags
            if tags.fragments:
                tagged[tags].append(key)
            edits = _nid_field(key, high_varints) + prepared.edits
            if fresh.edges:
                edits += b"".join([self._edge_edit(key, edge) for edge in fresh.edges])
            logged.append(edits)
            fresh.result.edit_count += prepared.edit_count + len(fresh.edges)
        for group, nids in tagged.items():
            for tag in group.fragments:
                bulk.tags[tag] += nids
        if logged:
            session = self.session
            now_ms = self.preparer.now_ms
            payload = frame(session.view.layers[0].id, logged, session.user, now_ms)
            bulk.write(self.txn)
            if bulk.nids:
                self.graph.nids.advance(self.txn, max(keys.unpack_nid(nid) for _, nid in bulk.nids))
            self.graph.log_edits(self.txn, payload, user=session.user, now_ms=now_ms)
        # Edges of nodes that were there. What is fed together with others has none, so it is known whose they are.
        self.result.edit_count += self.editor.commit()

    def _edge_edit(self, key: bytes, edge: bytes) -> bytes:
        number, _ = keys.split_edge(edge)
        verb = self.names.verbs.name_of(self.txn, number)
        assert verb is not None, "an edge's verb has no name"
        return self.bulk.add_edge(number, verb, key, edge[keys.NUMBER_SIZE :])

    def _enrich(self, row: Row) -> None:
        """Do what is left of a record: through an editor of its own, so that it fails alone."""
        editor = Editor(self.session, self.txn)
        try:
            draft = editor.node(row.plan)
            for plan in row.props:
                editor.apply_prop(draft, plan)
            for tag, interval in row.tags:
                editor.add_tag(draft, tag, interval)
            for tag, name, value, merge in row.tag_props:
                editor.set_tag_prop(draft, tag, name, value, merge)
            for name, value in row.data:
                if not editor.has_data(draft, name, value):
                    editor.set_data(draft, name, value)
        except CellError as error:
            row.result.rejects.append(FeedReject(row.index, error))
            return
        row.result.new_node_count += len(editor.fresh)
        row.result.edit_count += editor.commit()


def _nid_field(nid: bytes, high_varints: dict[int, bytes]) -> bytes:
    """Return NodeEdits.nid."""
    number = int.from_bytes(nid, "big")
    # The upper bits of a varint are the same for many nids in a row.
    high = high_varints.get(number >> 21)
    if high is None:
        high = high_varints[number >> 21] = varint(number >> 21)
    return bytes((0x08, number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14 & 0x7F | 0x80)) + high
