"""Feeds: many nodes at once, with the meaning of the single edits.

A batch is normalised first, without a transaction; a record that does not normalise is rejected by itself.
Then one op writes what is new in bulk, and whatever else there is to do (nodes that exist already, or come
twice; tag properties; data) through an Editor, record by record. A node that exists gets the properties of
the record, replacing those it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CellError, LimitExceeded
from cellmesh.common.storage import WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.bulk import BulkWriter, Fragments, PropFragment, TagFragment
from cellmesh.cortex.layers.schema import EDGES_OUT, NIDS
from cellmesh.cortex.model.registry import Form, Prop
from cellmesh.cortex.values.changes import NODE_ADD, TYPE_NAME, frame
from cellmesh.cortex.values.edits import Interval
from cellmesh.cortex.values.wire import encode_value, varint
from cellmesh.cortex.views.editor import CREATED, Draft, Editor, read_only
from cellmesh.cortex.views.hooks import NEW_NODE_PROPS
from cellmesh.cortex.views.plans import CACHED_ROOTS, NodePlan, PropPlan

if TYPE_CHECKING:
    from cellmesh.cortex.layers.names import Names
    from cellmesh.cortex.views.session import GraphSession

BATCH_COUNT_MAX: Final = 10_000
KEPT_COUNT_MAX: Final = 50_000


@dataclass(frozen=True, slots=True)
class FeedEdge:
    """A light edge to or from the record's node; the node at the other end is made if it is not there."""

    verb: str
    form: str
    value: object
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class FeedNode:
    """A record of a feed; values need not be normalised.

    Attributes:
        form, value: The node.
        props: Properties by relative name.
        tags: Tags by name with their intervals in any form, None for none.
        tag_props: Tag properties by tag and name.
        edges: Light edges.
        node_data: Data by name.
    """

    form: str
    value: object
    props: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, object] = field(default_factory=dict)
    tag_props: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    edges: Sequence[FeedEdge] = ()
    node_data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FeedReject:
    """A record that was left out: its place in the batch, from 0, and why."""

    index: int
    error: CellError


@dataclass(slots=True)
class FeedResult:
    """What became of a batch.

    Attributes:
        accepted_count: Records taken.
        edit_count: Node edits made; 0 when all was known.
        new_node_count: Nodes made, those that records only imply among them.
        new_edge_count: Light edges made.
        rejects: Records left out, in order.
    """

    accepted_count: int = 0
    edit_count: int = 0
    new_node_count: int = 0
    new_edge_count: int = 0
    rejects: list[FeedReject] = field(default_factory=list)


@dataclass(slots=True)
class _Row:
    """A record, normalised."""

    index: int
    plan: NodePlan
    props: list[PropPlan]
    tags: list[tuple[str, Interval]]
    tag_props: list[tuple[str, str, Any, Any]]
    edges: list[tuple[str, NodePlan, bool]]
    data: list[tuple[str, Any]]


class _Fresh:
    """A node that the batch makes."""

    __slots__ = ("edges", "form_number", "key", "plan", "props", "tags")

    def __init__(self, plan: NodePlan, key: bytes, form_number: int) -> None:
        self.plan = plan
        self.key = key
        self.form_number = form_number
        self.props: dict[str, PropFragment] = {}
        self.tags: dict[str, TagFragment] = {}
        self.edges: list[bytes] = []

    def get(self, name: str) -> Any:
        """Return a property, as drafts do."""
        found = self.props.get(name)
        return None if found is None else found.value


class Feeder:
    """Feeds batches into one session, keeping what repeats between them."""

    def __init__(self, session: GraphSession) -> None:
        self.session = session
        self.fragments = Fragments(session.stack.top, session.graph.catalog, session.graph.names)
        self.prop_plans: dict[tuple[Prop, type, Any], PropPlan] = {}
        self.prop_fragments: dict[tuple[str, str, Any], PropFragment] = {}
        self.tag_names: dict[str, str] = {}
        self.tag_fragments: dict[tuple[int, str, Interval], tuple[TagFragment, ...]] = {}
        self.redirects: dict[str, str] = {}

    def feed(self, batch: Sequence[FeedNode]) -> FeedResult:
        """Make or enrich the nodes of a batch.

        Raises:
            LimitExceeded: the batch has too many records.
        """
        if len(batch) > BATCH_COUNT_MAX:
            raise LimitExceeded("too many records in a batch", name="batch", limit=BATCH_COUNT_MAX)
        for kept in (self.prop_plans, self.prop_fragments, self.tag_names, self.tag_fragments):
            if len(kept) > KEPT_COUNT_MAX:
                kept.clear()
        result = FeedResult()
        rows: list[_Row] = []
        for index, record in enumerate(batch):
            try:
                rows.append(self._row(index, record))
            except CellError as error:
                result.rejects.append(FeedReject(index, error))
        if rows:
            self._write(rows, result)
        result.rejects.sort(key=lambda reject: reject.index)
        result.accepted_count = len(batch) - len(result.rejects)
        return result

    # Normalising, outside of any transaction.

    def _row(self, index: int, record: FeedNode) -> _Row:
        session = self.session
        planner = session.planner
        form = planner.form(record.form)
        if type(record.value) is dict:
            plan = planner.stored_node(form, session.add_by_props(form, record.value).value)
        else:
            plan = planner.node(form, record.value)
        props = (
            [self._prop_plan(form, name, value) for name, value in record.props.items()]
            if record.props
            else []
        )
        for given in props:
            own = plan.props.get(given.prop.name)
            if own is not None and given.prop.read_only and own != given.value:
                raise read_only(form.name, given)
        tags: list[tuple[str, Interval]] = []
        for tag, interval in record.tags.items():
            name = self.tag_names.get(tag)
            if name is None:
                name = self.tag_names[tag] = session.tag_name(tag)
            tags.append((name, None if interval is None else session.interval(interval)))
        row = _Row(index, plan, props, tags, [], [], [])
        if record.tag_props:
            self._add_tag_props(row, record)
        for edge in record.edges:
            session.graph.names.verbs.check(edge.verb)
            row.edges.append((edge.verb, planner.node(planner.form(edge.form), edge.value), edge.reverse))
        for name, value in record.node_data.items():
            session.graph.names.data.check(name)
            encode_value(value)
            row.data.append((name, value))
        return row

    def _add_tag_props(self, row: _Row, record: FeedNode) -> None:
        session = self.session
        for tag, props in record.tag_props.items():
            for name, value in props.items():
                tag_prop = session.model.require_tagprop(name)
                stored = tag_prop.type.norm(value)
                tag_prop.type.encode(stored)
                row.tag_props.append((session.tag_name(tag), name, stored, tag_prop.type.merge))

    def _prop_plan(self, form: Form, name: str, value: Any) -> PropPlan:
        prop = form.props.get(name)
        if prop is None or prop.type.chain[-1] not in CACHED_ROOTS or type(value) not in (int, str):
            return self.session.plan_prop(form, name, value)
        key = (prop, type(value), value)
        plan = self.prop_plans.get(key)
        if plan is None:
            plan = self.prop_plans[key] = self.session.planner.set_known_prop(prop, value)
        return plan

    # Writing, in one op.

    def _write(self, rows: list[_Row], result: FeedResult) -> None:
        session = self.session

        def run(txn: WriteTxn) -> tuple[_Batch, list[tuple[Names, str]]]:
            made = _Batch(self, txn, result)
            made.run(rows)
            return made, session.graph.names.take_stored()

        batch, stored = session.write_op(run)
        session.note_edits(batch.edit_count, stored)
        result.edit_count += batch.edit_count


class _Batch:
    """One batch inside its op."""

    def __init__(self, feeder: Feeder, txn: WriteTxn, result: FeedResult) -> None:
        session = feeder.session
        self.feeder = feeder
        self.session = session
        self.txn = txn
        self.result = result
        self.graph = session.graph
        self.names = session.graph.names
        self.stack = session.stack
        self.editor = Editor(session, txn)
        self.bulk = BulkWriter(session.stack.top)
        self.now_ms = self.editor.now_ms
        self.edit_count = 0
        # Buid -> nid in 8 bytes of nodes known to exist, and nodes being made.
        self.known: dict[bytes, bytes] = {}
        self.fresh: dict[bytes, _Fresh] = {}
        self.ensured: set[str] = set()
        self.has_redirects = session.has_redirects(txn)

    def run(self, rows: list[_Row]) -> None:
        self._find(rows)
        rest: list[_Row] = []
        for row in rows:
            buid = row.plan.buid
            if buid in self.known or buid in self.fresh:
                rest.append(row)
                continue
            self._make_row(row)
            if row.tag_props or row.data:
                rest.append(row)
        for row in rows:
            if row.edges:
                self._edges(row)
        self._finish()
        for row in rest:
            self._enrich(row)

    def _find(self, rows: list[_Row]) -> None:
        """Look up the batch's nodes, and those they imply, at once and in the order of their keys."""
        wanted: set[bytes] = set()
        todo = [row.plan for row in rows]
        for row in rows:
            for given in row.props:
                todo.extend(given.implied)
        while todo:
            plan = todo.pop()
            if plan.buid not in wanted:
                wanted.add(plan.buid)
                todo.extend(plan.implied)
        buids = sorted(wanted)
        found = self.txn.get_many(NIDS, buids)
        there = [(buid, nid) for buid, nid in zip(buids, found) if nid is not None]
        if there:
            records = self.stack.nodes(self.txn, [nid for _, nid in there])
            self.known.update(pair for pair, record in zip(there, records) if record is not None)
        self.absent = {buid for buid, nid in zip(buids, found) if nid is None}

    def _make_row(self, row: _Row) -> None:
        fresh = self._make(row.plan)
        for plan in row.props:
            held = fresh.props.get(plan.prop.name)
            if held is not None and held.value == plan.value:
                continue
            for implied in plan.implied:
                if implied.buid not in self.known and implied.buid not in self.fresh:
                    self._ensure(implied)
            self._set(fresh, plan.prop.name, plan.value)
            for sub, value in plan.subs:
                self._set(fresh, sub.name, value)
        for tag, interval in row.tags:
            self._tag(fresh, tag, interval)

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

    def _make(self, plan: NodePlan) -> _Fresh:
        form = plan.form.name
        stored = None if plan.buid in self.absent else self.txn.get(NIDS, plan.buid)
        if stored is not None:
            key = stored
            number = keys.unpack_form(key, 6)
            self.bulk.is_ascending = False
        else:
            number = self._form_number(form)
            key = keys.pack_nid(self.graph.nids.fresh(number))
            self.bulk.nids.append((plan.buid, key))
        fresh = self.fresh[plan.buid] = _Fresh(plan, key, number)
        for implied in plan.implied:
            self._ensure(implied)
        fix = NEW_NODE_PROPS.get(form)
        props = plan.props if fix is None else fix(self, plan.props, plan.value)
        self._set(fresh, CREATED, self.now_ms)
        for name, value in props.items():
            self._set(fresh, name, value)
        self.result.new_node_count += 1
        return fresh

    def existing(self, form: str, value: Any) -> _Fresh | Draft | None:
        """Return a node by form and stored value, for hooks."""
        plan = self.session.planner.stored_node(self.graph.model.require_form(form), value)
        fresh = self.fresh.get(plan.buid)
        return fresh if fresh is not None else self.editor.existing(form, value)

    def _form_number(self, form: str) -> int:
        return self.names.forms.ensure(self.txn, form)

    def _set(self, fresh: _Fresh, name: str, value: Any) -> None:
        form = fresh.plan.form.name
        kept = self.feeder.prop_fragments
        key = (form, name, value)
        try:
            fragment = kept.get(key)
        except TypeError:
            fragment = self.feeder.fragments.prop(self.txn, form, fresh.form_number, name, value)
        else:
            if fragment is None or type(fragment.value) is not type(value):
                fragment = kept[key] = self.feeder.fragments.prop(
                    self.txn, form, fresh.form_number, name, value
                )
            if fragment.index_name not in self.ensured and fragment.index_name:
                self.ensured.add(fragment.index_name)
                self.names.props.ensure(self.txn, fragment.index_name)
        fresh.props[name] = fragment

    def _tag(self, fresh: _Fresh, tag: str, interval: Interval) -> None:
        if self.has_redirects:
            tag = self.editor.redirected(tag)
        self._ensure(self.session.planner.stored_node(self.session.tag_form, tag))
        key = (fresh.form_number, tag, interval)
        kept = self.feeder.tag_fragments
        fragments = kept.get(key)
        if fragments is None:
            words = tag.split(".")
            above = [".".join(words[:depth]) for depth in range(1, len(words))]
            make = self.feeder.fragments.tag
            fragments = kept[key] = (
                *(make(self.txn, fresh.form_number, name, None) for name in above),
                make(self.txn, fresh.form_number, tag, interval),
            )
        elif tag not in self.ensured:
            for fragment in fragments:
                self.names.tags.ensure(self.txn, fragment.name)
        self.ensured.add(tag)
        tags = fresh.tags
        for fragment in fragments[:-1]:
            if fragment.name not in tags:
                tags[fragment.name] = fragment
        if interval is not None or tag not in tags:
            tags[tag] = fragments[-1]

    def _edges(self, row: _Row) -> None:
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
        """Put records, log and index entries of the fresh nodes together and write them."""
        logged: list[bytes] = []
        bulk, layer = self.bulk, self.stack.top
        fragments = self.feeder.fragments
        high_varints: dict[int, bytes] = {}
        for fresh in self.fresh.values():
            plan, key = fresh.plan, fresh.key
            props, tags = fresh.props, fresh.tags
            own_keys = fragments.own(self.txn, plan.form, fresh.form_number, plan.value)
            bulk.add_own(key, *own_keys)
            parts = [plan.head]
            edits = [_log_head(plan, key, high_varints), NODE_ADD]
            for name in sorted(props):
                fragment = props[name]
                parts.append(fragment.entry)
                edits.append(fragment.edit)
                bulk.add_prop(key, fragment)
            for name in sorted(tags):
                tag = tags[name]
                parts.append(tag.entry)
                edits.append(tag.edit)
                bulk.tags[tag.key].append(key)
            for edge in fresh.edges:
                number, _ = keys.split_edge(edge)
                verb = self.names.verbs.name_of(self.txn, number)
                assert verb is not None, "an edge's verb has no name"
                edits.append(bulk.add_edge(number, verb, key, edge[keys.NUMBER_SIZE :]))
            bulk.nodes.append((layer + key, b"".join(parts)))
            logged.append(b"".join(edits))
            self.edit_count += len(edits) - 1
        if not logged:
            self.edit_count += self.editor.commit()
            return
        view_layer = self.session.view.layers[0]
        payload = frame(view_layer.id, logged, self.session.user, self.now_ms)
        bulk.write(self.txn)
        self.graph.nids.store_sequence(self.txn)
        self.graph.log.append(
            self.txn,
            time_us=self.now_ms * 1000,
            actor=self.session.user,
            type_name=TYPE_NAME,
            payload=payload,
        )
        self.edit_count += self.editor.commit()

    def _enrich(self, row: _Row) -> None:
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
            self.result.rejects.append(FeedReject(row.index, error))
            return
        self.result.new_node_count += len(editor.fresh)
        self.edit_count += editor.commit()


def _log_head(plan: NodePlan, nid: bytes, high_varints: dict[int, bytes]) -> bytes:
    """Return NodeEdits.nid, form and value. The latter two are fields 2 and 3 there, 1 and 2 in a record's head."""
    number = int.from_bytes(nid, "big")
    # The upper bits of a varint are the same for many nids in a row.
    high = high_varints.get(number >> 21)
    if high is None:
        high = high_varints[number >> 21] = varint(number >> 21)
    low = bytes((0x08, number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14 & 0x7F | 0x80))
    head = plan.head
    end = 2 + head[1]
    return b"".join((low, high, b"\x12", head[1:end], b"\x1a", head[end + 1 : -34]))


__all__ = ["BATCH_COUNT_MAX", "FeedEdge", "FeedNode", "FeedReject", "FeedResult", "Feeder"]
