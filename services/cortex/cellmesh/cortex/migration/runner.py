"""Runs the steps that stored data have not been through.

Each batch of nodes is one transaction with its edits, their change record, and how far the step has come. So a step goes on
where a killed process left it, and followers get the edits by the log and run no steps themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from cellmesh.common.errors import BadStorageVersion, CellError
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.catalog import WRONG_KIND
from cellmesh.cortex.layers.layer import Layer
from cellmesh.cortex.layers.records import Record, node_form, node_value, parse_record
from cellmesh.cortex.layers.schema import NODES
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.migration.forms import FormRename, Round
from cellmesh.cortex.migration.names import StepNames
from cellmesh.cortex.migration.steps import (
    STEPS,
    Change,
    ModelStep,
    RenameForm,
    RenameProp,
    RenameTagProp,
    RetypeProp,
)
from cellmesh.cortex.model.types.base import BaseType
from cellmesh.cortex.stores.changes import Changes, Rows
from cellmesh.cortex.stores.schema import MODEL_STEPS
from cellmesh.cortex.values.edits import (
    LayerEdits,
    NodeEdit,
    NodeEdits,
    PropDelete,
    PropSet,
    TagPropDelete,
    TagPropSet,
    Unmask,
)
from cellmesh.cortex.values.wire import decode_value, encode_value
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.merge import changed_nids
from cellmesh.cortex.views.session import GraphSession

LOGGER: Final = logging.getLogger("cellmesh.cortex.migration")

SCAN_COUNT: Final = 512
"""Nodes looked at in one transaction."""

DONE_KEY: Final = b"done"
PLACE_KEY: Final = b"place"


class ModelSteps:
    """The steps of a Cortex.

    Made by leader and followers alike: from here on indexes know what properties were like before.

    Args:
        graph: The graph.
        changes: How stores write.
        steps: All there are.

    Raises:
        BadFormDef: the model does not have a form that the steps rename, or still has it under its old name.
    """

    def __init__(self, graph: Graph, changes: Changes, steps: Sequence[ModelStep] = STEPS) -> None:
        assert [step.number for step in steps] == list(range(1, len(steps) + 1)), "steps have a gap"
        self._graph = graph
        self._changes = changes
        self._steps = tuple(steps)
        self._names = StepNames(steps)
        self._names.tell(graph.catalog)
        self._names.check(graph.catalog)

    def done_number(self, txn: ReadTxn) -> int | None:
        """Return the number of the last step done; None for a Cortex that has noted none."""
        found = txn.get(MODEL_STEPS, DONE_KEY)
        return None if found is None else int(decode_value(found))

    def run(self, is_stopping: Callable[[], bool] = lambda: False) -> int:
        """Do what has not been done; returns how many nodes were changed, on this cell's disk on return.

        Args:
            is_stopping: Asked between batches; when it says yes, the rest is left for the next time.

        Raises:
            BadStorageVersion: the data have been through steps that this program does not know.
        """
        with self._graph.slab.view() as txn:
            done = self.done_number(txn)
            is_empty = txn.entries(NODES) == 0
        newest = len(self._steps)
        if done is not None and done > newest:
            raise BadStorageVersion(
                f"the data follow step {done} of the model, this program knows {newest}",
                hint="run the version of the program that wrote them, or a newer one",
            )
        if (done or 0) == newest == 0 or done == newest:
            return 0
        count = 0
        with self._graph.begin(user="root") as session:
            if done is None and is_empty:
                self._note_done(session, newest)
                return 0
            for step in self._steps[done or 0 :]:
                LOGGER.info("model step %d: %s", step.number, step.doc)
                done_here = self._run_step(session, step, is_stopping)
                if done_here is None:
                    return count
                count += done_here
                self._note_done(session, step.number)
                LOGGER.info("model step %d is done: %d nodes changed", step.number, done_here)
        return count

    def _note_done(self, session: GraphSession, number: int) -> None:
        def op(rows: Rows) -> None:
            rows.put(MODEL_STEPS, DONE_KEY, encode_value(number))
            if rows.txn.get(MODEL_STEPS, PLACE_KEY) is not None:
                rows.delete(MODEL_STEPS, PLACE_KEY)

        self._changes.run(session, op)
        session.pause()

    def _run_step(
        self, session: GraphSession, step: ModelStep, is_stopping: Callable[[], bool]
    ) -> int | None:
        """Do a step from where it is; None if it was stopped before its end."""
        place = session.read(lambda txn: txn.get(MODEL_STEPS, PLACE_KEY))
        first, first_round, first_layer, after = 0, 0, "", b""
        if place is not None:
            number, index, layer_id, nid, round_index = decode_value(place)
            if number == step.number:
                first, first_round, first_layer, after = index, round_index, layer_id, bytes.fromhex(nid)
        count = 0
        for index, change in enumerate(step.changes[first:], first):
            rounds = self._rounds(change, step.number, index)
            for round_index, work in enumerate(rounds[first_round:], first_round):
                for layer_id in sorted(self._graph.layers):
                    if layer_id < first_layer:
                        continue
                    if layer_id != first_layer:
                        after = b""
                    layer = self._graph.layers[layer_id]
                    while True:
                        if is_stopping():
                            return None
                        at = (step.number, index, str(layer.id))
                        changed, last = self._batch(session, work, layer, after, at, round_index)
                        count += changed
                        if last is None:
                            break
                        after = last
                first_layer, after = "", b""
            first_round = 0
        return count

    def _rounds(self, change: Change, number: int, index: int) -> tuple[Round, ...]:
        """Return what a change does, as ways through all layers."""
        match change:
            case RenameForm(old, new):
                return FormRename(self._graph, old, new).rounds()
            case RenameTagProp(old, new):
                found = self._graph.model.tagprop(self._names.tag_prop(new, number, index))
                make = partial(_renamed_tag_prop, old, new, None if found is None else found.type)
                return (Round((NODES,), partial(self._records, None, make)),)
            case RenameProp(form, old, new):
                return (Round((NODES,), partial(self._records, form, partial(_renamed, old, new))),)
            case RetypeProp(form, name):
                prop = self._graph.model.require_form_prop(*self._names.prop(form, name, number, index))
                return (Round((NODES,), partial(self._records, form, partial(_retyped, change, prop.type))),)

    def _batch(
        self,
        session: GraphSession,
        work: Round,
        layer: Layer,
        after: bytes,
        at: tuple[int, int, str],
        round_index: int,
    ) -> tuple[int, bytes | None]:
        """Change the next nodes; returns how many, and the last one looked at, or None at the end."""

        def op(rows: Rows) -> tuple[int, bytes | None]:
            txn = rows.txn
            nids = changed_nids(txn, layer.key, after, work.dbs, SCAN_COUNT)
            if not nids:
                return 0, None
            nodes = tuple(work.edits(txn, layer.key, nids))
            if nodes:
                self._write(txn, layer, nodes)
            rows.put(MODEL_STEPS, PLACE_KEY, encode_value((*at, nids[-1].hex(), round_index)))
            return (len(nodes) if work.is_counted else 0), nids[-1]

        result = self._changes.run(session, op)
        # On disk from here on; followers need not have it, and may not be able to before this cell answers calls.
        session.pause()
        return result

    def _write(self, txn: WriteTxn, layer: Layer, nodes: tuple[NodeEdits, ...]) -> None:
        graph = self._graph
        LayerWriter(txn, layer.key, graph.catalog, graph.names, graph.nids).apply(nodes)
        names = tuple(graph.names.take_fresh())
        graph.log_layer_edits(txn, LayerEdits(layer.id, nodes, "root", graph.now_ms(), names))

    def _records(
        self,
        form: str | None,
        make: Callable[[Record], list[NodeEdit]],
        txn: ReadTxn,
        layer: bytes,
        nids: Sequence[bytes],
    ) -> list[NodeEdits]:
        """Return the edits that a change makes of single records, of one form or of all."""
        form_number = None if form is None else self._graph.names.forms.find(txn, form)
        if form is not None and form_number is None:
            return []
        form_key = b"" if form_number is None else keys.pack_form(form_number)
        made: list[NodeEdits] = []
        for nid in nids:
            stored = txn.get(NODES, layer + nid) if nid.endswith(form_key) else None
            if stored is None:
                continue
            record = parse_record(stored)
            edits = make(record)
            if edits:
                name, value = node_form(record.head), node_value(record.head)
                made.append(NodeEdits(keys.unpack_nid(nid), name, value, tuple(edits)))
        return made


def _renamed(old_name: str, new_name: str, record: Record) -> list[NodeEdit]:
    edits: list[NodeEdit] = []
    if old_name in record.prop_masks:
        edits.append(Unmask(prop=old_name))
        if new_name not in record.props and new_name not in record.prop_masks:
            edits.append(PropDelete(new_name))
    found = record.props.get(old_name)
    if found is not None:
        value = decode_value(found)
        edits.append(PropDelete(old_name, value))
        if new_name not in record.props:
            edits.append(PropSet(new_name, value))
    return edits


def _renamed_tag_prop(old_name: str, new_name: str, type_: BaseType | None, record: Record) -> list[NodeEdit]:
    edits: list[NodeEdit] = []
    for tag, masked in sorted(record.tag_prop_masks):
        if masked != old_name:
            continue
        edits.append(Unmask(old_name, tag))
        is_said = new_name in record.tag_props.get(tag, ()) or (tag, new_name) in record.tag_prop_masks
        if not is_said:
            edits.append(TagPropDelete(tag, new_name))
    for tag, props in record.tag_props.items():
        found = props.get(old_name)
        if found is not None:
            value = decode_value(found)
            edits.append(TagPropDelete(tag, old_name, value))
            if new_name in props:
                continue
            # One that users had made by the new name as well may be of another type.
            if type_ is None or _is_encodable(type_, value):
                edits.append(TagPropSet(tag, new_name, value))
            else:
                LOGGER.warning("#%s:%s=%r of %r is dropped", tag, old_name, value, node_value(record.head))
    return edits


def _is_encodable(type_: BaseType, value: Any) -> bool:
    try:
        type_.encode(value)
    except WRONG_KIND:
        return False
    return True


def _normal(type_: BaseType, value: Any, place: str, record: Record) -> Any:
    """Return what a type stores of a value; None, with a line in the log, if it does not take it."""
    try:
        stored = type_.norm(value)
        type_.encode(stored)
    except CellError as error:
        LOGGER.warning("%s=%r of %r is dropped: %s", place, value, node_value(record.head), error)
        return None
    return stored


def _retyped(change: RetypeProp, type_: BaseType, record: Record) -> list[NodeEdit]:
    found = record.props.get(change.name)
    if found is None:
        return []
    old = decode_value(found)
    fresh = change.convert(old)
    stored = None if fresh is None else _normal(type_, fresh, f"{change.form}:{change.name}", record)
    if stored is None:
        return [PropDelete(change.name, old)]
    if stored == old and type(stored) is type(old):
        return []
    return [PropSet(change.name, stored, old)]
