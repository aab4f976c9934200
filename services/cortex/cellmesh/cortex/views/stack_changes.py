"""The change record of layers and views, cellmesh.api.cortex.v1.StackChange: made where they change, applied elsewhere.

Both go through `apply_steps`, so that a leader stores what its record says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from cellmesh.api.cortex.v1 import change_pb2
from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.storage import SubDb, WriteTxn
from cellmesh.cortex.layers.keys import end_of
from cellmesh.cortex.layers.layer import (
    DETACHED,
    LAYER,
    Layer,
    find_layer,
    remove_layer_row,
    store_layer,
)
from cellmesh.cortex.layers.offsets import Taken, drop_taken, store_taken
from cellmesh.cortex.layers.schema import (
    BY_ARRAY,
    BY_PROP,
    BY_TAG,
    BY_TAG_PROP,
    BY_VERB,
    COUNTS,
    EDGE_MASKS,
    EDGES_IN,
    EDGES_OUT,
    NODE_DATA,
    NODES,
)
from cellmesh.cortex.values.ids import LayerId
from cellmesh.cortex.views.view import (
    DEFAULT_KEY,
    VIEW,
    View,
    find_view_row,
    remove_view_row,
    store_default,
    store_view,
    stored_facts,
)
from google.protobuf.message import DecodeError

TYPE_NAME: Final = "cellmesh.api.cortex.v1.StackChange"

OF_LAYERS: Final = (
    NODES,
    BY_PROP,
    BY_ARRAY,
    BY_TAG,
    BY_TAG_PROP,
    EDGES_OUT,
    EDGES_IN,
    BY_VERB,
    EDGE_MASKS,
    NODE_DATA,
    COUNTS,
)
"""The databases whose keys begin with a layer's number."""

_OF_LAYERS_BY_NAME: Final = {db.name: db for db in OF_LAYERS}

Step = change_pb2.StackStep


def put_layer(layer: Layer) -> Step:
    """Make the step that stores a layer."""
    return Step(layer_put=change_pb2.LayerPut(layer_id=layer.id, number=layer.number, name=layer.name))


def stage_layer(layer: Layer) -> Step:
    """Make the step that stores a layer which nobody sees yet, as a detached one."""
    stage = change_pb2.LayerStage(
        layer_id=layer.id, number=layer.number, name=layer.name, facts=_pack(layer.facts)
    )
    return Step(layer_stage=stage)


def attach_layer(layer_id: str) -> Step:
    """Make the step that has everybody see a detached layer."""
    return Step(layer_attach=change_pb2.LayerAttach(layer_id=layer_id))


def detach_layer(layer: Layer) -> Step:
    """Make the step that takes a layer away from everybody."""
    return Step(layer_detach=change_pb2.LayerDetach(layer_id=layer.id))


def clear_layer(layer: Layer, db: SubDb, count_max: int) -> Step:
    """Make the step that deletes some of what was in a detached layer."""
    return Step(layer_clear=change_pb2.LayerClear(layer_id=layer.id, database=db.name, count_max=count_max))


def delete_layer(layer: Layer) -> Step:
    """Make the step that forgets a detached layer."""
    return Step(layer_delete=change_pb2.LayerDelete(layer_id=layer.id))


def put_view(view: View) -> Step:
    """Make the step that stores a view."""
    put = change_pb2.ViewPut(
        view_id=view.id, layer_ids=[layer.id for layer in view.layers], name=view.name, parent_id=view.parent
    )
    return Step(view_put=put)


def delete_view(view_id: str) -> Step:
    """Make the step that removes a view."""
    return Step(view_delete=change_pb2.ViewDelete(view_id=view_id))


def set_default(view_id: str) -> Step:
    """Make the step that makes a view the default one."""
    return Step(default_view_set=change_pb2.DefaultViewSet(view_id=view_id))


def set_layer_facts(layer_id: str, facts: Mapping[str, Any]) -> Step:
    """Make the step that says what else is known of a layer."""
    return Step(layer_facts_set=change_pb2.LayerFactsSet(layer_id=layer_id, facts=_pack(facts)))


def set_view_facts(view_id: str, facts: Mapping[str, Any]) -> Step:
    """Make the step that says what else is known of a view."""
    return Step(view_facts_set=change_pb2.ViewFactsSet(view_id=view_id, facts=_pack(facts)))


def set_layer_offset(layer_id: str, source: str, offset: int | None, after: bytes = b"") -> Step:
    """Make the step that says up to where a layer has taken the edits of another."""
    return Step(
        layer_offset_set=change_pb2.LayerOffsetSet(
            layer_id=layer_id, source=source, offset=offset, after=after
        )
    )


def _pack(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True)


def encode(steps: Iterable[Step]) -> bytes:
    """Serialize the steps of one transaction."""
    return change_pb2.StackChange(steps=steps).SerializeToString(deterministic=True)


def decode(payload: bytes) -> Sequence[Step]:
    """Read the steps of a change record; raises StorageCorrupt."""
    try:
        return change_pb2.StackChange.FromString(payload).steps
    except DecodeError as error:
        raise StorageCorrupt("a change record of layers and views does not read back") from error


def apply_steps(txn: WriteTxn, steps: Iterable[Step]) -> set[bytes]:
    """Store what steps say.

    Returns:
        The keys of `graph` whose rows they changed.

    Raises:
        StorageCorrupt: a step is of an unknown kind, or does not fit what is stored.
    """
    changed: set[bytes] = set()
    for step in steps:
        changed |= _apply(txn, step)
    return changed


def _apply(txn: WriteTxn, step: Step) -> set[bytes]:
    match step.WhichOneof("step"):
        case "layer_put":
            put = step.layer_put
            known = find_layer(txn, put.layer_id)
            facts = {} if known is None else known.facts
            store_layer(txn, Layer(LayerId(put.layer_id), put.number, put.name, facts))
            return {LAYER + put.layer_id.encode()}
        case "layer_detach":
            layer = _require(txn, step.layer_detach.layer_id, LAYER)
            remove_layer_row(txn, layer.id)
            store_layer(txn, layer, DETACHED)
            return {LAYER + layer.id.encode()}
        case "layer_stage":
            stage = step.layer_stage
            made = Layer(LayerId(stage.layer_id), stage.number, stage.name, json.loads(stage.facts))
            store_layer(txn, made, DETACHED)
            return set()
        case "layer_attach":
            layer = _require(txn, step.layer_attach.layer_id, DETACHED)
            remove_layer_row(txn, layer.id, DETACHED)
            store_layer(txn, layer)
            return {LAYER + layer.id.encode()}
        case "layer_clear":
            clear = step.layer_clear
            db = _OF_LAYERS_BY_NAME.get(clear.database)
            if db is None:
                raise StorageCorrupt("a change record clears an unknown database", name=clear.database)
            key = _require(txn, clear.layer_id, DETACHED).key
            txn.delete_range(db, key, end_of(key), count_max=clear.count_max)
            return set()
        case "layer_delete":
            gone = _require(txn, step.layer_delete.layer_id, DETACHED).id
            drop_taken(txn, gone)
            remove_layer_row(txn, gone, DETACHED)
            return set()
        case "view_put":
            view = step.view_put
            parent = view.parent_id if view.HasField("parent_id") else None
            kept = stored_facts(txn, view.view_id)
            store_view(txn, view.view_id, view.layer_ids, view.name, parent, kept)
            return {VIEW + view.view_id.encode()}
        case "view_delete":
            if not remove_view_row(txn, step.view_delete.view_id):
                raise StorageCorrupt("a change record removes a view that is not there")
            return {VIEW + step.view_delete.view_id.encode()}
        case "default_view_set":
            store_default(txn, step.default_view_set.view_id)
            return {DEFAULT_KEY}
        case "layer_facts_set":
            known = _require(txn, step.layer_facts_set.layer_id, LAYER)
            store_layer(txn, replace(known, facts=json.loads(step.layer_facts_set.facts)))
            return {LAYER + known.id.encode()}
        case "view_facts_set":
            view_id = step.view_facts_set.view_id
            row = find_view_row(txn, view_id)
            if row is None:
                raise StorageCorrupt("a change record is about a view that is not there", iden=view_id)
            store_view(
                txn, view_id, row["layers"], row["name"], row["parent"], json.loads(step.view_facts_set.facts)
            )
            return {VIEW + view_id.encode()}
        case "layer_offset_set":
            said = step.layer_offset_set
            taken = Taken(said.offset, said.after) if said.HasField("offset") else None
            store_taken(txn, said.layer_id, said.source, taken)
            return set()
        case _:
            raise StorageCorrupt(
                "a change record changes layers or views in a way that this version does not know",
                hint="a follower must not run an older version than its leader",
            )


def _require(txn: WriteTxn, layer_id: str, kind: bytes) -> Layer:
    found = find_layer(txn, layer_id, kind)
    if found is None:
        raise StorageCorrupt("a change record is about a layer that is not there", iden=layer_id)
    return found
