"""Changes of how views and layers stand to each other, and of what is known of them.

Each is one transaction whose op looks at what is stored. Where the layers of a view change, those of its forks do as well:
a fork has its own layer on top of its parent's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import BadArg, BadState, NoSuchLayer, NoSuchView
from cellmesh.common.storage import WriteTxn
from cellmesh.cortex.layers.layer import Layer, find_layer, free_number, load_layers
from cellmesh.cortex.values.ids import ViewId, new_layer_id, new_view_id
from cellmesh.cortex.views.stack_changes import Step, put_layer, put_view, set_layer_facts, set_view_facts
from cellmesh.cortex.views.stacks import remove_layer
from cellmesh.cortex.views.view import View, find_view, load_views

if TYPE_CHECKING:
    from cellmesh.cortex.views.graph import Graph

Facts = Mapping[str, Any]


def stored_view(txn: WriteTxn, view_id: str) -> View:
    """Return a view as it is stored; raises NoSuchView."""
    found = find_view(txn, view_id, load_layers(txn))
    if found is None:
        raise NoSuchView("the view was removed", iden=view_id)
    return found


def restacked(views: Mapping[ViewId, View], changed: View) -> list[Step]:
    """Return the steps that store a view with other layers, and its forks on top of them."""
    steps = [put_view(changed)]
    for view in views.values():
        if view.parent == changed.id and view.id != changed.id:
            steps += restacked(views, replace(view, layers=(view.layers[0], *changed.layers)))
    return steps


# Facts.


def change_view_facts(
    graph: Graph, view_id: str, change: Callable[[dict[str, Any]], Facts], *, user: str
) -> View:
    """Change what is known of a view; durable on return.

    Args:
        change: Gets the facts, a dict of its own, and returns what they shall be. May raise.

    Raises:
        NoSuchView: it was removed.
    """

    def op(txn: WriteTxn) -> Sequence[Step]:
        view = stored_view(txn, view_id)
        return (set_view_facts(view.id, change(dict(view.facts))),)

    graph.change_stacks(op, user)
    return graph.view(view_id)


def change_layer_facts(
    graph: Graph, layer_id: str, change: Callable[[dict[str, Any]], Facts], *, user: str
) -> Layer:
    """Change what is known of a layer; durable on return; see `change_view_facts`. Raises NoSuchLayer."""

    def op(txn: WriteTxn) -> Sequence[Step]:
        layer = find_layer(txn, layer_id)
        if layer is None:
            raise NoSuchLayer("the layer was removed", iden=layer_id)
        return (set_layer_facts(layer.id, change(dict(layer.facts))),)

    graph.change_stacks(op, user)
    return graph.layer(layer_id)


# Stacks.


def set_layers(graph: Graph, view: View, layers: Sequence[Layer], *, user: str) -> View:
    """Give a view other layers, the top one first; durable on return.

    Raises:
        BadArg: the view is a fork, whose layers are those of its parent.
        NoSuchLayer, NoSuchView: something was removed.
    """
    assert layers, "a view has at least one layer"

    def op(txn: WriteTxn) -> Sequence[Step]:
        stored = load_layers(txn)
        known = stored_view(txn, view.id)
        if known.parent is not None:
            raise BadArg("a fork has its parent's layers below its own", name="layers", iden=str(view.id))
        for layer in layers:
            if layer.id not in stored:
                raise NoSuchLayer("the layer was removed", iden=str(layer.id))
        return restacked(load_views(txn, stored), replace(known, layers=tuple(layers)))

    graph.change_stacks(op, user)
    return graph.view(view.id)


def set_parent(graph: Graph, view: View, parent: View, *, user: str) -> View:
    """Make a view of one layer a fork of another; durable on return.

    Raises:
        BadArg: the view is a fork already, has several layers, or the other view was forked from it.
    """

    def op(txn: WriteTxn) -> Sequence[Step]:
        views = load_views(txn, load_layers(txn))
        known, above = stored_view(txn, view.id), stored_view(txn, parent.id)
        if known.parent is not None or len(known.layers) != 1:
            raise BadArg("only a view of one layer that is no fork can get a parent", name="parent")
        at: View | None = above
        while at is not None:
            if at.id == known.id:
                raise BadArg("a view cannot be forked from itself", name="parent")
            at = None if at.parent is None else views.get(at.parent)
        made = replace(known, parent=above.id, layers=(*known.layers, *above.layers))
        return restacked(views, made)

    graph.change_stacks(op, user)
    return graph.view(view.id)


def detach(graph: Graph, view: View, *, user: str) -> View:
    """Make a fork a view of its own, with the layers that it has; durable on return.

    Raises:
        BadArg: the view is no fork.
    """

    def op(txn: WriteTxn) -> Sequence[Step]:
        known = stored_view(txn, view.id)
        if known.parent is None:
            raise BadArg("only a fork can be detached", iden=str(view.id))
        return (put_view(replace(known, parent=None)),)

    graph.change_stacks(op, user)
    return graph.view(view.id)


def swap_layer(graph: Graph, view: View, *, facts: Facts, user: str) -> View:
    """Put an empty layer in the place of a view's top layer, which goes if no other view has it; durable on return."""
    fresh = new_layer_id()
    old = view.layers[0]

    def op(txn: WriteTxn) -> Sequence[Step]:
        known = stored_view(txn, view.id)
        if known.layers[0].id != old.id:
            raise BadState("the view has another top layer by now", iden=str(view.id))
        layer = Layer(fresh, free_number(txn))
        views = load_views(txn, load_layers(txn))
        changed = replace(known, layers=(layer, *known.layers[1:]))
        return [put_layer(layer), set_layer_facts(fresh, facts), *restacked(views, changed)]

    graph.change_stacks(op, user)
    if not any(one.id == old.id for other in graph.views.values() for one in other.layers):
        remove_layer(graph, old, user=user)
    return graph.view(view.id)


def insert_parent(graph: Graph, view: View, name: str, *, facts: Facts, user: str) -> View:
    """Put a view with an empty layer between a fork and what it was forked from; returns it, durable.

    Raises:
        BadState: the view is no fork.
    """
    fresh, made_id = new_layer_id(), new_view_id()

    def op(txn: WriteTxn) -> Sequence[Step]:
        known = stored_view(txn, view.id)
        if known.parent is None:
            raise BadState("only a fork has a parent to be set apart from", iden=str(view.id))
        if known.facts.get("merge") is not None:
            raise BadState("the view is about to be merged", iden=str(view.id))
        layer = Layer(fresh, free_number(txn))
        made = View(made_id, (layer, *known.layers[1:]), name, known.parent)
        views = load_views(txn, load_layers(txn))
        below = replace(known, parent=made_id, layers=(known.layers[0], *made.layers))
        return [
            put_layer(layer),
            set_layer_facts(fresh, facts),
            put_view(made),
            set_view_facts(made_id, facts),
            *restacked(views, below),
        ]

    graph.change_stacks(op, user)
    return graph.view(made_id)


def insert_child(graph: Graph, view: View, name: str, *, facts: Facts, user: str) -> View:
    """Put a view with an empty layer between a view and all its forks; returns it, durable."""
    fresh, made_id = new_layer_id(), new_view_id()

    def op(txn: WriteTxn) -> Sequence[Step]:
        known = stored_view(txn, view.id)
        layer = Layer(fresh, free_number(txn))
        made = View(made_id, (layer, *known.layers), name, known.id)
        views = load_views(txn, load_layers(txn))
        moved = {
            other.id: replace(other, parent=made_id) if other.parent == known.id else other
            for other in views.values()
        }
        return [
            put_layer(layer),
            set_layer_facts(fresh, facts),
            *restacked(moved, made),
            set_view_facts(made_id, facts),
        ]

    graph.change_stacks(op, user)
    return graph.view(made_id)
