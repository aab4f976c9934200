"""Changes of views and layers themselves: making, names, removal.

Each is one transaction, whose op looks at what is stored, so that what it checks holds when it is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, CantDelView, LayerInUse, NoSuchLayer, NoSuchView, SynErr
from cellmesh.common.storage import SubDb, WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.layer import (
    DETACHED,
    Layer,
    find_layer,
    free_number,
    has_layer,
    load_layers,
)
from cellmesh.cortex.values.ids import LayerId, ViewId, new_layer_id, new_view_id
from cellmesh.cortex.views.stack_changes import (
    OF_LAYERS,
    Step,
    clear_layer,
    delete_layer,
    delete_view,
    detach_layer,
    put_layer,
    put_view,
    set_default,
    set_layer_facts,
    set_view_facts,
)
from cellmesh.cortex.views.view import View, find_view, load_default, load_views

if TYPE_CHECKING:
    from cellmesh.cortex.views.graph import Graph

DELETE_COUNT: Final = 4096
"""Rows of a removed layer that one transaction deletes."""


# Making.


def make_default(graph: Graph) -> None:
    """Give an empty graph a view of one layer, the default one; durable on return."""
    layer = Layer(new_layer_id(), 1, "default")
    view = View(new_view_id(), (layer,), "default")

    def op(txn: WriteTxn) -> Sequence[Step]:
        return (put_layer(layer), put_view(view), set_default(view.id))

    graph.change_stacks(op, "")


def add_layer(
    graph: Graph, layer_id: str | None, name: str, *, user: str, facts: Mapping[str, Any] | None = None
) -> Layer:
    """Make an empty layer, durable on return."""
    chosen = LayerId(layer_id) if layer_id else new_layer_id()

    def op(txn: WriteTxn) -> Sequence[Step]:
        made = put_layer(Layer(chosen, free_number(txn), name))
        return (made, set_layer_facts(chosen, facts)) if facts else (made,)

    graph.change_stacks(op, user)
    return graph.layers[chosen]


def add_view(graph: Graph, view: View, *, user: str) -> View:
    """Make a view, durable on return; raises NoSuchLayer."""

    def op(txn: WriteTxn) -> Sequence[Step]:
        _check_layers(txn, view)
        return (put_view(view), set_view_facts(view.id, view.facts)) if view.facts else (put_view(view),)

    graph.change_stacks(op, user)
    return graph.views[view.id]


def fork(
    graph: Graph,
    view: View,
    *,
    view_id: str | None,
    layer_id: str | None,
    name: str,
    user: str,
    facts: Mapping[str, Any] | None = None,
) -> View:
    """Make a view with a fresh layer on top of another view's, durable on return; see `Graph.fork`."""
    fork_id = ViewId(view_id) if view_id else new_view_id()
    chosen = LayerId(layer_id) if layer_id else new_layer_id()

    def op(txn: WriteTxn) -> Sequence[Step]:
        if find_view(txn, view.id, load_layers(txn)) is None:
            raise NoSuchView("the view was removed", iden=str(view.id))
        _check_layers(txn, view)
        layer = Layer(chosen, free_number(txn))
        steps = [put_layer(layer), put_view(View(fork_id, (layer, *view.layers), name, view.id))]
        if facts:
            steps += [set_layer_facts(chosen, facts), set_view_facts(fork_id, facts)]
        return steps

    graph.change_stacks(op, user)
    return graph.view(fork_id)


def _check_layers(txn: WriteTxn, view: View) -> None:
    for layer in view.layers:
        if not has_layer(txn, layer.id):
            raise NoSuchLayer("the layer was removed", iden=layer.id)


# Names.


def rename_view(graph: Graph, view: View, name: str, *, user: str = "root") -> View:
    """Give a view another name; durable on return."""

    def op(txn: WriteTxn) -> Sequence[Step]:
        found = find_view(txn, view.id, load_layers(txn))
        if found is None:
            raise NoSuchView("the view was removed", iden=str(view.id))
        return (put_view(replace(found, name=name)),)

    graph.change_stacks(op, user)
    return graph.view(view.id)


def rename_layer(graph: Graph, layer: Layer, name: str, *, user: str = "root") -> Layer:
    """Give a layer another name; durable on return."""

    def op(txn: WriteTxn) -> Sequence[Step]:
        found = find_layer(txn, layer.id)
        if found is None:
            raise NoSuchLayer("the layer was removed", iden=str(layer.id))
        return (put_layer(replace(found, name=name)),)

    graph.change_stacks(op, user)
    return graph.layer(layer.id)


# Removal.


def remove_view(graph: Graph, view: View, *, user: str = "root") -> None:
    """Remove a view, and leave its layers; durable on return.

    Raises:
        BadArg: it is the default view.
        SynErr: views were forked from it.
        CantDelView: it is protected.
        NoSuchView: it was removed meanwhile.
    """

    def op(txn: WriteTxn) -> Sequence[Step]:
        if view.id == load_default(txn):
            raise BadArg("the default view cannot be removed", name="iden", valu=str(view.id))
        views = _stored_views(txn)
        if view.id not in views:
            raise NoSuchView("the view was removed", iden=str(view.id))
        if any(other.parent == view.id for other in views.values()):
            raise SynErr("the view has forks", iden=str(view.id))
        if views[view.id].facts.get("protected"):
            raise CantDelView("the view is protected", iden=str(view.id))
        return (delete_view(view.id),)

    graph.change_stacks(op, user)


def remove_layer(graph: Graph, layer: Layer, *, user: str = "root") -> None:
    """Remove a layer with all that is in it; durable on return.

    The layer goes first, for everybody; what is in it goes a part at a time, in transactions of its own.

    Raises:
        LayerInUse: a view has it.
        NoSuchLayer: it was removed meanwhile.
    """

    def op(txn: WriteTxn) -> Sequence[Step]:
        if not has_layer(txn, layer.id):
            raise NoSuchLayer("the layer was removed", iden=str(layer.id))
        if any(layer.id in {one.id for one in view.layers} for view in _stored_views(txn).values()):
            raise LayerInUse("a view has the layer", iden=str(layer.id))
        return (detach_layer(layer),)

    graph.change_stacks(op, user)
    clear_detached(graph, layer, user)


def finish_removals(graph: Graph) -> None:
    """Go on removing what is in layers whose removal had begun when the cell ended."""
    with graph.slab.view() as txn:
        detached = list(load_layers(txn, DETACHED).values())
    for layer in detached:
        clear_detached(graph, layer, "")


def clear_detached(graph: Graph, layer: Layer, user: str) -> None:
    """Delete what is in a detached layer, a part at a time, and forget it."""
    is_done = False

    def op(txn: WriteTxn) -> Sequence[Step]:
        nonlocal is_done
        steps: list[Step] = []
        left = DELETE_COUNT
        for db in OF_LAYERS:
            count = _count(txn, db, layer.key, left)
            if count:
                steps.append(clear_layer(layer, db, count))
            left -= count
            if left <= 0:
                return steps
        is_done = True
        return (*steps, delete_layer(layer))

    while not is_done:
        graph.change_stacks(op, user)


def _count(txn: WriteTxn, db: SubDb, low: bytes, count_max: int) -> int:
    """Count the rows of a layer in a database, so many at most."""
    return len(txn.scan_keys(db, low, keys.end_of(low), count_max=count_max).items)


def _stored_views(txn: WriteTxn) -> dict[ViewId, View]:
    return load_views(txn, load_layers(txn))
