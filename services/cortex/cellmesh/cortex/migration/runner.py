"""Runs the steps that stored data have not been through.

Each batch of nodes is one transaction with its edits, their change record, and how far the step has come. So a step goes on
where a killed process left it, and followers get the edits by the log and run no steps themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from cellmesh.common.errors import BadStorageVersion, CellError
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.layer import Layer
from cellmesh.cortex.layers.records import Record, node_value, parse_record
from cellmesh.cortex.layers.schema import NODES
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.migration.steps import STEPS, Change, ModelStep, RenameProp, RetypeProp
from cellmesh.cortex.stores.changes import Changes, Rows
from cellmesh.cortex.stores.schema import MODEL_STEPS
from cellmesh.cortex.values.edits import LayerEdits, NodeEdit, NodeEdits, PropDelete, PropSet, Unmask
from cellmesh.cortex.values.wire import decode_value, encode_value
from cellmesh.cortex.views.graph import Graph
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
    """

    def __init__(self, graph: Graph, changes: Changes, steps: Sequence[ModelStep] = STEPS) -> None:
        assert [step.number for step in steps] == list(range(1, len(steps) + 1)), "steps have a gap"
        self._graph = graph
        self._changes = changes
        self._steps = tuple(steps)
        for step in steps:
            for change in step.changes:
                name = change.old_name if isinstance(change, RenameProp) else change.name
                graph.catalog.add_former(change.form, name, change.old_type)

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
        first, first_layer, after = 0, "", b""
        if place is not None:
            number, index, layer_id, nid = decode_value(place)
            if number == step.number:
                first, first_layer, after = index, layer_id, bytes.fromhex(nid)
        count = 0
        for index, change in enumerate(step.changes[first:], first):
            for layer_id in sorted(self._graph.layers):
                if layer_id < first_layer:
                    continue
                if layer_id != first_layer:
                    after = b""
                layer = self._graph.layers[layer_id]
                while True:
                    if is_stopping():
                        return None
                    changed, last = self._batch(session, step, index, change, layer, after)
                    count += changed
                    if last is None:
                        break
                    after = last
            first_layer, after = "", b""
        return count

    def _batch(
        self, session: GraphSession, step: ModelStep, index: int, change: Change, layer: Layer, after: bytes
    ) -> tuple[int, bytes | None]:
        """Change the next nodes; returns how many, and the last one looked at, or None at the end."""
        graph = self._graph
        form_number = session.read(lambda txn: graph.names.forms.find(txn, change.form))
        if form_number is None:
            return 0, None
        form_key = keys.pack_form(form_number)

        def op(rows: Rows) -> tuple[int, bytes | None]:
            txn = rows.txn
            low = layer.key + after + b"\0" if after else layer.key
            chunk = txn.scan(NODES, low, keys.end_of(layer.key), count_max=SCAN_COUNT)
            if not chunk.items:
                return 0, None
            nodes: list[NodeEdits] = []
            for key, stored in chunk.items:
                nid = key[len(layer.key) :]
                if nid.endswith(form_key):
                    record = parse_record(stored)
                    edits = self._edits(record, change)
                    if edits:
                        value = node_value(record.head)
                        nodes.append(NodeEdits(keys.unpack_nid(nid), change.form, value, tuple(edits)))
            last = chunk.items[-1][0][len(layer.key) :]
            if nodes:
                self._write(txn, layer, tuple(nodes))
            place = (step.number, index, str(layer.id), last.hex())
            rows.put(MODEL_STEPS, PLACE_KEY, encode_value(place))
            return len(nodes), last

        result = self._changes.run(session, op)
        # On disk from here on; followers need not have it, and may not be able to before this cell answers calls.
        session.pause()
        return result

    def _write(self, txn: WriteTxn, layer: Layer, nodes: tuple[NodeEdits, ...]) -> None:
        graph = self._graph
        LayerWriter(txn, layer.key, graph.catalog, graph.names, graph.nids).apply(nodes)
        graph.log_layer_edits(txn, LayerEdits(layer.id, nodes, "root", graph.now_ms()))

    def _edits(self, record: Record, change: Change) -> list[NodeEdit]:
        match change:
            case RenameProp(_, old_name, new_name, _):
                return self._renamed(record, old_name, new_name)
            case RetypeProp():
                return self._retyped(record, change)

    @staticmethod
    def _renamed(record: Record, old_name: str, new_name: str) -> list[NodeEdit]:
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

    def _retyped(self, record: Record, change: RetypeProp) -> list[NodeEdit]:
        found = record.props.get(change.name)
        if found is None:
            return []
        old = decode_value(found)
        fresh = change.convert(old)
        if fresh is not None:
            prop = self._graph.model.require_prop(f"{change.form}:{change.name}")
            try:
                stored: Any = prop.type.norm(fresh)
                prop.type.encode(stored)
            except CellError as error:
                LOGGER.warning(
                    "%s:%s=%r of %r is dropped: %s",
                    change.form,
                    change.name,
                    old,
                    node_value(record.head),
                    error,
                )
                fresh = None
        if fresh is None:
            return [PropDelete(change.name, old)]
        if stored == old and type(stored) is type(old):
            return []
        return [PropSet(change.name, stored, old)]
