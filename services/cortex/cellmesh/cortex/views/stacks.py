"""Changes of views and layers themselves: names, and removal."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cellmesh.common.errors import BadArg, CantDelView, LayerInUse
from cellmesh.common.storage import WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.layer import Layer, remove_layer_row, store_layer
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
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.view import View, remove_view_row, store_view

DELETE_COUNT: Final = 4096
"""Rows of a removed layer that one transaction deletes."""

_OF_LAYERS: Final = (
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


def rename_view(graph: Graph, view: View, name: str) -> View:
    """Give a view another name; durable on return."""
    made = replace(view, name=name)
    graph.slab.write(lambda txn: store_view(txn, made))
    graph.views[made.id] = made
    return made


def rename_layer(graph: Graph, layer: Layer, name: str) -> Layer:
    """Give a layer another name; durable on return."""
    made = replace(layer, name=name)
    graph.slab.write(lambda txn: store_layer(txn, made))
    graph.layers[made.id] = made
    for view in list(graph.views.values()):
        if layer in view.layers:
            stack = tuple(made if one.id == made.id else one for one in view.layers)
            graph.views[view.id] = replace(view, layers=stack)
    return made


def remove_view(graph: Graph, view: View) -> None:
    """Remove a view, and leave its layers; durable on return.

    Raises:
        BadArg: it is the default view.
        CantDelView: views were forked from it.
    """
    if view.id == graph.default_view.id:
        raise BadArg("the default view cannot be removed", name="iden", valu=str(view.id))
    if any(other.parent == view.id for other in graph.views.values()):
        raise CantDelView("the view has forks", iden=str(view.id))
    graph.slab.write(lambda txn: remove_view_row(txn, view.id))
    graph.views.pop(view.id, None)


def remove_layer(graph: Graph, layer: Layer) -> None:
    """Remove a layer with all that is in it; durable on return.

    What is in it goes a part at a time, in transactions of its own; the layer's row goes last.

    Raises:
        LayerInUse: a view has it.
    """
    if any(layer.id in {one.id for one in view.layers} for view in graph.views.values()):
        raise LayerInUse("a view has the layer", iden=str(layer.id))
    low, high = layer.key, keys.end_of(layer.key)
    for db in _OF_LAYERS:

        def clear(txn: WriteTxn, db: object = db) -> int:
            return txn.delete_range(db, low, high, count_max=DELETE_COUNT)  # type: ignore[arg-type]

        while graph.slab.write(clear) >= DELETE_COUNT:
            pass
    graph.slab.write(lambda txn: remove_layer_row(txn, layer.id))
    graph.layers.pop(layer.id, None)
