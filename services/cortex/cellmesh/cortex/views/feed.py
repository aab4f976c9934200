"""Feeds: many nodes at once, with the meaning of the single edits.

A batch is normalised and its nodes are made ready first, outside of the write transaction; a record that does
not normalise is rejected by itself. Then one op writes what is new in bulk, and whatever else there is to do
(nodes that exist already, or come twice; tag properties; data) through an Editor, record by record. A node that
exists gets the properties of the record, replacing those it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.changelog import ChangeRecord
from cellmesh.common.changelog.log import RECORDS
from cellmesh.common.errors import CellError, LimitExceeded, Retry
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.common.storage.codecs import UINT64
from cellmesh.cortex.layers.schema import NIDS
from cellmesh.cortex.model.registry import Form
from cellmesh.cortex.values.changes import decode_record
from cellmesh.cortex.values.edits import Interval, NodeEdits
from cellmesh.cortex.values.wire import encode_value
from cellmesh.cortex.views.editor import read_only
from cellmesh.cortex.views.feed_batch import Batch, Row
from cellmesh.cortex.views.feed_prepare import FeedCache, Prepared, Preparer, Unnumbered, finder
from cellmesh.cortex.views.feed_values import (
    BATCH_COUNT_MAX,
    BadRecord,
    FeedEdge,
    FeedNode,
    FeedReject,
    FeedResult,
)
from cellmesh.cortex.views.feed_wire import FeedRecord, WireRecord, read_entry
from cellmesh.cortex.views.plans import NodePlan, PropPlan

if TYPE_CHECKING:
    from cellmesh.cortex.layers.names import Names
    from cellmesh.cortex.views.session import GraphSession


RECORD_COUNT_MAX: Final = 1_000_000
"""More change records than any batch writes."""


MODEL_CHANGE_COUNT_MAX: Final = 10
"""So often a batch is made ready anew because the model has changed meanwhile."""


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Have errors tell in which field of a record they are."""
    try:
        yield
    except CellError as error:
        error.setdefault("field", field)
        raise


class ModelChanged(Exception):
    """The model has changed since a batch was made ready."""


class Feeder:
    """Feeds batches into one session.

    Args:
        session: The session.
        cache: What is kept between batches.
    """

    def __init__(self, session: GraphSession, cache: FeedCache) -> None:
        self.session = session
        self.cache = cache

    def feed(self, batch: Sequence[FeedRecord]) -> FeedResult:
        """Make or enrich the nodes of a batch.

        Raises:
            LimitExceeded: the batch has too many records.
        """
        return self.feed_together((batch,))[0]

    def feed_together(self, batches: Sequence[Sequence[FeedRecord]]) -> list[FeedResult]:
        """Make or enrich the nodes of several batches in one op; returns what became of each.

        Raises:
            LimitExceeded: there are too many records.
        """
        if sum(map(len, batches)) > BATCH_COUNT_MAX:
            raise LimitExceeded("too many records in a batch", name="batch", limit=BATCH_COUNT_MAX)
        for _ in range(MODEL_CHANGE_COUNT_MAX):
            version = self.session.model.version
            self.cache.renew(self.session.model)
            rows: list[Row] = []
            results = [self._normalise(batch, rows) for batch in batches]
            try:
                if rows:
                    self._write(rows, version)
                break
            except ModelChanged:
                continue
        else:
            raise Retry("the model changes faster than a batch is made ready")
        for batch, result in zip(batches, results, strict=True):
            result.rejects.sort(key=lambda reject: reject.index)
            result.accepted_count = len(batch) - len(result.rejects)
        return results

    # Normalising, outside of any transaction.

    def _normalise(self, batch: Sequence[FeedRecord], rows: list[Row]) -> FeedResult:
        """Add the rows of a batch; returns the result that they will tell of what becomes of them."""
        result = FeedResult()
        for index, record in enumerate(batch):
            try:
                if isinstance(record, WireRecord):
                    row = self._wire_row(index, record)
                elif isinstance(record, BadRecord):
                    raise record.error
                else:
                    row = self._row(index, record)
            except CellError as error:
                result.rejects.append(FeedReject(index, error))
            else:
                row.result = result
                rows.append(row)
        return result

    def _row(self, index: int, record: FeedNode) -> Row:
        session = self.session
        planner = session.planner
        form = planner.form(record.form)
        locks = session.graph.rules.locks
        if locks is not None and locks.rules.locked():
            locks.rules.check(form)
            for name in record.props:
                if (prop := form.props.get(name)) is not None:
                    locks.rules.check(prop)
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
            with _naming(f"tags.{tag}"):
                name = session.tag_name(tag)
                if session.graph.rules.tags is not None:
                    session.graph.rules.tags.check(name)
                tags.append((name, None if interval is None else session.interval(interval)))
        edges: list[tuple[str, NodePlan, bool]] = []
        for place, edge in enumerate(record.edges):
            with _naming(f"edges[{place}]"):
                session.graph.names.verbs.check(edge.verb)
                edges.append((edge.verb, planner.node(planner.form(edge.form), edge.value), edge.reverse))
        data: list[tuple[str, Any]] = []
        for name, value in record.node_data.items():
            with _naming(f"node_data.{name}"):
                session.graph.names.data.check(name)
                encode_value(value)
            data.append((name, value))
        return Row(index, plan, props, tags, self._tag_props(record), edges, data)

    def _wire_row(self, index: int, record: WireRecord) -> Row:
        """As `_row`, of a record as it came; what a property or tag means is kept by its bytes."""
        session = self.session
        kept = self.cache
        form = kept.wire_forms.get(record.form)
        rules = session.graph.rules
        if (
            form is None
            or type(record.value) is dict
            or (rules.locks is not None and rules.locks.rules.locked())
        ):
            row = self._row(index, record.plain())
            kept.wire_forms[record.form] = row.plan.form
            return row
        plan = session.planner.node(form, record.value)
        props: list[PropPlan] = []
        for data in record.props:
            prop_plan = kept.wire_props.get((form, data))
            if prop_plan is None:
                entry = read_entry(data)
                if entry is None:
                    return self._row(index, record.plain())
                prop_plan = self._prop_plan(form, *entry)
                if prop_plan.is_kept:
                    kept.wire_props[form, data] = prop_plan
            if prop_plan.prop.read_only:
                own = plan.props.get(prop_plan.prop.name)
                if own is not None and own != prop_plan.value:
                    raise read_only(form.name, prop_plan)
            props.append(prop_plan)
        tags: list[tuple[str, Interval]] = []
        for data in record.tags:
            tag = kept.wire_tags.get(data)
            if tag is None:
                entry = read_entry(data)
                if entry is None or entry[1] is not None:
                    return self._row(index, record.plain())
                tag = kept.wire_tags[data] = (session.tag_name(entry[0]), None)
            if rules.tags is not None:
                rules.tags.check(tag[0])
            tags.append(tag)
        return Row(index, plan, props, tags)

    def _tag_props(self, record: FeedNode) -> list[tuple[str, str, Any, Any]]:
        session = self.session
        found: list[tuple[str, str, Any, Any]] = []
        for tag, props in record.tag_props.items():
            for name, value in props.items():
                with _naming(f"tag_props.{tag}.{name}"):
                    tag_prop = session.model.require_tagprop(name)
                    stored = tag_prop.type.norm(value)
                    tag_prop.type.encode(stored)
                    found.append((session.tag_name(tag), name, stored, tag_prop.type.merge))
        return found

    def _prop_plan(self, form: Form, name: str, value: Any) -> PropPlan:
        prop = form.props.get(name)
        try:
            if prop is None or type(value) is dict:
                return self.session.plan_prop(form, name, value)
            return self.session.planner.set_known_prop(prop, value)
        except CellError as error:
            error.setdefault("field", f"props.{name}")
            raise

    # Making ready, in a read transaction.

    def _prepare(self, txn: ReadTxn, rows: Sequence[Row], preparer: Preparer) -> dict[bytes, Prepared]:
        """Make nodes ready that will probably be new; returns those that rows imply, by buid."""
        number_of = finder(txn)
        tag_plan = cache(self.session.tag_plan)
        seen: set[bytes] = set()
        implied: list[NodePlan] = []
        for row in rows:
            plan = row.plan
            try:
                tags = [tag_plan(tag) for tag, _ in row.tags] if row.tags else ()
                row.prepared = preparer.prepare(number_of, plan, plan.props, row.props, row.tags, tags)
            except Unnumbered:
                continue
            implied += row.prepared.implied
        todo: dict[bytes, NodePlan] = {}
        while implied:
            plan = implied.pop()
            if plan.buid not in seen:
                seen.add(plan.buid)
                implied += plan.implied
                todo[plan.buid] = plan
        made: dict[bytes, Prepared] = {}
        buids = sorted(todo)
        for buid, nid in zip(buids, txn.get_many(NIDS, buids), strict=True):
            if nid is None:
                plan = todo[buid]
                try:
                    made[buid] = preparer.prepare(number_of, plan, plan.props)
                except Unnumbered:
                    continue
        return made

    # Writing, in one op.

    def _write(self, rows: list[Row], version: int) -> None:
        session = self.session
        preparer = Preparer(self.cache, session.graph.now_ms())
        implied = session.read(lambda txn: self._prepare(txn, rows, preparer))

        is_watched = session.view.id in session.graph.edit_watchers
        changed: list[NodeEdits] = []

        def run(txn: WriteTxn) -> tuple[int, list[tuple[Names, str]]]:
            if session.model.version != version:
                # Keys were made ready by the model before.
                raise ModelChanged
            start = session.graph.log.next_offset(txn)
            Batch(session, txn, preparer, implied).run(rows)
            if is_watched:
                # What was written in bulk was never made of single edits, but its log is.
                for _, data in txn.scan(RECORDS, UINT64.encode(start), count_max=RECORD_COUNT_MAX).items:
                    record = ChangeRecord.from_bytes(data)
                    changed.extend(decode_record(record.type_name, record.payload).nodes)
            count = sum(result.edit_count for result in {id(row.result): row.result for row in rows}.values())
            return count, session.graph.names.take_stored()

        count, stored = session.write_op(run)
        session.note_edits(count, stored)
        if changed:
            session.tell(changed)


__all__ = ["BATCH_COUNT_MAX", "FeedEdge", "FeedNode", "FeedReject", "FeedResult", "Feeder"]
