"""Methods of views: how they stand to each other, and what is put into them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CantMergeView
from cellmesh.cortex.storm.objects.stacks import ViewObject, made_facts
from cellmesh.cortex.storm.objects.storage_form import read_edits
from cellmesh.cortex.storm.rights.gates import claim
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec
from cellmesh.cortex.storm.runtime.libraries import Library
from cellmesh.cortex.storm.runtime.members import get_member
from cellmesh.cortex.storm.runtime.values import toprim, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.views import restack
from cellmesh.cortex.views.merge import ALL, Choice, merge_view
from cellmesh.cortex.views.quorum import check_free_merge
from cellmesh.cortex.views.taking import take_edits
from cellmesh.cortex.views.wipe import any_value, wipe_layer

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.view import View


def current(context: RunContext, self: ViewObject) -> View:
    """Return a view as it is now, and have the value know it."""
    self.view = context.session.graph.view(str(self.view.id))
    return self.view


def _add_node(context: RunContext, self: ViewObject, form: Any, value: Any, props: Any) -> Any:
    """Make a node in the view; in another view than the query's it is made at once, outside the query's edits."""
    found = context.model.require_form(tostr(form))
    given = {tostr(name): plain_value(item) for name, item in (props or {}).items()}
    if self.view.id == context.view.id:
        return context.session.add_node(found, plain_value(value), given)
    context.session.pause()
    with context.session.graph.begin(self.view, user=context.user) as session:
        session.guard = context.run.rights
        session.add_node(found, plain_value(value), given)
        session.sync()
    return None


def _fork(context: RunContext, self: ViewObject, name: Any) -> ViewObject:
    context.session.pause()
    made = context.session.graph.fork(
        self.view, name="" if name is None else tostr(name), user=context.user, facts=made_facts(context)
    )
    claim(context, str(made.id), "view")
    claim(context, str(made.layers[0].id), "layer")
    return ViewObject(made)


def merge_fork(context: RunContext, view: View, choice: Choice = ALL) -> None:
    """Merge all of a fork into what it was forked from.

    Raises:
        SynErr: the view below has a quorum, whose votes decide.
        CantMergeView: the fork has forks, or is not to be merged.
    """
    graph = context.session.graph
    check_free_merge(graph, view)
    if any(other.parent == view.id for other in graph.views.values()):
        raise CantMergeView("a view that has forks cannot be merged", view=str(view.id))
    context.session.pause()
    merge_view(graph, view, choice, context.user)
    # Nodes of this query are to be read anew.
    context.session.generation += 1


def _merge(context: RunContext, self: ViewObject, force: Any) -> None:
    merge_fork(context, self.view)


def view_triggers(context: RunContext, self: ViewObject) -> list[Any]:
    """Return the triggers of a view that the user may see."""
    library = context.run.library.members.get("trigger")
    if not isinstance(library, Library):
        return []
    triggers = context.call(library.get(context, "list"), True)
    return [found for found in triggers if get_member(context, found, "view") == str(self.view.id)]


def _children(context: RunContext, self: ViewObject) -> Iterator[ViewObject]:
    for view in list(context.session.graph.views.values()):
        if view.parent == self.view.id:
            yield ViewObject(view)


def _wipe(context: RunContext, self: ViewObject) -> None:
    context.session.pause()
    wipe_layer(context.session.graph, self.view.layers[0], context.user, context.tick)
    context.session.generation += 1


def _swap(context: RunContext, self: ViewObject) -> None:
    graph = context.session.graph
    context.session.pause()
    self.view = restack.swap_layer(
        graph, current(context, self), facts=made_facts(context), user=context.user
    )
    claim(context, str(self.view.layers[0].id), "layer")
    context.session.generation += 1


def _detach(context: RunContext, self: ViewObject) -> None:
    context.session.pause()
    self.view = restack.detach(context.session.graph, self.view, user=context.user)


def _insert_parent(context: RunContext, self: ViewObject, name: Any) -> ViewObject:
    return _inserted(context, self, name, restack.insert_parent)


def _insert_child(context: RunContext, self: ViewObject, name: Any) -> ViewObject:
    return _inserted(context, self, name, restack.insert_child)


def _inserted(context: RunContext, self: ViewObject, name: Any, insert: Any) -> ViewObject:
    context.session.pause()
    text = "" if name is None else tostr(name)
    made = insert(context.session.graph, self.view, text, facts=made_facts(context), user=context.user)
    current(context, self)
    claim(context, str(made.id), "view")
    claim(context, str(made.layers[0].id), "layer")
    return ViewObject(made)


def known_node(graph: Graph, buid: bytes) -> tuple[str, Any] | None:
    """Return form and value of a node that some layer knows, by its buid."""
    with graph.slab.view() as txn:
        nid = graph.nids.find(txn, buid)
        if nid is None:
            return None
        key = nid.to_bytes(8, "big")
        found = any_value(graph, txn, key)
        if found is None:
            return None
        return graph.form_of_key(lambda read: read(txn), key[6:]).name, found[0]


def _add_edits(context: RunContext, self: ViewObject, edits: Any) -> None:
    context.session.sync()
    context.session.pause()
    graph = context.session.graph
    nodes = read_edits(context.model, toprim(edits), lambda buid: known_node(graph, buid))
    take_edits(graph, self.view.layers[0], nodes, user=context.user, view=self.view)
    context.session.generation += 1


_NAME: Final = (ParameterSpec("name", None, "str", "What to call it."),)

METHODS: Final = (
    FunctionSpec(
        "addNode",
        "Make a node; gives it back if it is in the view of the query.",
        _add_node,
        (
            ParameterSpec("form", type="str", doc="Its form."),
            ParameterSpec("valu", type="any", doc="Its value."),
            ParameterSpec("props", None, "dict", "Properties to set."),
        ),
        "node",
        changes_state=True,
    ),
    FunctionSpec("children", "The views forked from it.", _children, (), "view", is_generator=True),
    FunctionSpec(
        "fork",
        "Make a view with a layer of its own on top of this one's.",
        _fork,
        _NAME,
        "view",
        changes_state=True,
    ),
    FunctionSpec(
        "merge",
        "Merge all that its top layer holds into what it was forked from.",
        _merge,
        (ParameterSpec("force", False, "bool", "Without effect."),),
        changes_state=True,
    ),
    FunctionSpec(
        "addNodeEdits",
        "Apply edits, in the form that `$layer.edits()` gives them, to its top layer.",
        _add_edits,
        (ParameterSpec("edits", type="list", doc="The edits."),),
        changes_state=True,
    ),
    FunctionSpec(
        "detach", "Make the fork a view of its own, with the layers it has.", _detach, changes_state=True
    ),
    FunctionSpec(
        "insertChildFork",
        "Put a view between it and its forks.",
        _insert_child,
        _NAME,
        "view",
        changes_state=True,
    ),
    FunctionSpec(
        "insertParentFork",
        "Put a view between the fork and what it was forked from.",
        _insert_parent,
        _NAME,
        "view",
        changes_state=True,
    ),
    FunctionSpec("swapLayer", "Put an empty layer in the place of its top layer.", _swap, changes_state=True),
    FunctionSpec("wipeLayer", "Remove all that its top layer holds.", _wipe, changes_state=True),
)
