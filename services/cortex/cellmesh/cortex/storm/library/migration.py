"""`$lib.model.migration`: moving what nodes have to others, for changes of how something is modelled.

The functions edit as the query's user, one edit a fact, so a migration that was cut short can be run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.messages import Error, Print, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import tobool, tostr
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

NDEF: Final = "ndef"


def require_node(value: Any, name: str, form: str | None = None) -> Node:
    """Return a node given as an argument.

    Raises:
        BadArg: it is no node, or one of another form.
    """
    if not isinstance(value, Node):
        raise BadArg(f"{name} is a node", name=name)
    if form is not None and value.form.name != form:
        raise BadArg(f"{name} is a node of {form}, not of {value.form.name}", name=name, form=value.form.name)
    return value


def copy_data(context: RunContext, source: Node, target: Node, *, overwrites: bool = False) -> None:
    """Copy the data attached to a node."""
    for name, value in list(context.session.list_data(source)):
        context.tick()
        if overwrites or not context.session.has_data(target, name):
            context.session.set_data(target, name, value)


def copy_edges(context: RunContext, source: Node, target: Node) -> None:
    """Copy the light edges of a node, both ways."""
    session = context.session
    for _, verb, other in list(session.edges_out([source])):
        context.tick()
        session.add_edge(target, verb, other)
    for _, verb, other in list(session.edges_in([source])):
        context.tick()
        session.add_edge(other, verb, target)


def copy_tags(context: RunContext, source: Node, target: Node, *, overwrites: bool = False) -> None:
    """Copy tags, whose intervals widen those that are there, and what properties the tags have."""
    for name, interval in dict(source.tags).items():
        context.tick()
        context.session.add_tag(target, name, interval)
    for tag, props in dict(source.tag_props).items():
        for name, value in props.items():
            if overwrites or target.tag_prop(tag, name) is None:
                context.session.set_tag_prop(target, tag, name, value)


def copy_extended(context: RunContext, source: Node, target: Node, *, overwrites: bool = True) -> None:
    """Copy properties added to the model, those that the other form has as well."""
    for name, value in dict(source.props).items():
        prop = target.form.props.get(name)
        if prop is not None and name.startswith("_") and (overwrites or not target.has(name)):
            context.session.set_prop(target, name, value)


def set_if_unset(context: RunContext, target: Node, name: str, value: Any) -> None:
    """Set a property that has no value yet; null sets nothing."""
    if value is not None and not target.has(name):
        context.session.set_prop(target, name, value)


def carry_over(context: RunContext, source: Node, target: Node, *, with_data: bool = True) -> None:
    """Copy what nodes of any form may have: when they were seen, tags, edges and data."""
    set_seen(context, source, target)
    copy_tags(context, source, target)
    copy_edges(context, source, target)
    if with_data:
        copy_data(context, source, target)


def set_seen(context: RunContext, source: Node, target: Node) -> None:
    """Widen when a node was seen by when another one was."""
    seen = source.get(".seen")
    if seen is not None:
        context.session.set_prop(target, ".seen", seen)


# Two nodes become one.


def _references(context: RunContext, node: Node) -> Iterator[tuple[Node, str, Any]]:
    """Yield the nodes with properties that refer to a node: with the property's name and what it would hold."""
    model = context.model
    for kind, value in ((node.form.name, node.value), (NDEF, node.ndef)):
        for use in model.uses_of_type(kind):
            prop = use.prop
            # What a node is named by, and what follows from it, cannot change.
            if prop.form is None or prop.is_form or prop.read_only or prop.form.is_runtime:
                continue
            for _, holder in context.session.nodes_with_value(prop, [value]):
                yield holder, prop.name, (use.is_array, value)


def _fuse(context: RunContext, source: Any, target: Any) -> None:
    gone, kept = require_node(source, "src"), require_node(target, "dst")
    if gone.form is not kept.form:
        raise BadArg(
            f"only nodes of one form become one, not {gone.form.name} and {kept.form.name}", name="dst"
        )
    if gone == kept:
        context.warn("src and dst are the same node: nothing is done")
        return
    session = context.session
    for name, value in dict(gone.props).items():
        prop = gone.form.props.get(name)
        if name != ".seen" and prop is not None and not prop.read_only:
            set_if_unset(context, kept, name, value)
    carry_over(context, gone, kept)
    for holder, name, (is_array, held) in list(_references(context, gone)):
        context.tick()
        new = kept.ndef if held == gone.ndef else kept.value
        if is_array:
            values = [new if item == held else item for item in holder.get(name) or ()]
            session.set_prop(holder, name, values)
        else:
            session.set_prop(holder, name, new)
    for _, verb, other in list(session.edges_in([gone])):
        session.del_edge(other, verb, gone)
    session.delete_node(gone, force=True)


# All views.


def _loop(context: RunContext, on_view: Any, on_layer: Any, is_readonly: Any, is_reverse: Any) -> None:
    context.confirm_admin("$lib.model.migration.loop()")
    graph = context.session.graph
    # What a view was forked from comes before it: it has fewer layers.
    views = sorted(graph.views.values(), key=lambda view: len(view.layers), reverse=tobool(is_reverse))
    readonly = tobool(is_readonly) or context.run.is_readonly
    for view in views:
        _run_in(context, on_view, str(view.id), readonly)
    if on_layer is not None:
        # A layer is edited in a view that has it on top.
        on_top = {str(view.layers[0].id): str(view.id) for view in views}
        for view_id in on_top.values():
            _run_in(context, on_layer, view_id, readonly)
    context.session.generation += 1


def _run_in(context: RunContext, query: Any, view: str, readonly: bool) -> None:
    is_query = isinstance(query, StormQuery)
    options = QueryOptions(
        vars=dict(query.vars) if is_query else {},
        view=view,
        user=context.user,
        readonly=readonly,
        has_all_rights=context.options.has_all_rights,
    )
    context.session.pause()
    start = context.engine.storm  # type: ignore[attr-defined]
    for message in start(query.text if is_query else tostr(query), options):
        context.tick()
        match message:
            case Print():
                context.print(message.text)
            case Warn():
                context.warn(message.text, **message.fields)
            case Error():
                raise message.error


# Calls.


def _copy_data(context: RunContext, source: Any, target: Any, overwrites: Any) -> None:
    copy_data(
        context, require_node(source, "src"), require_node(target, "dst"), overwrites=tobool(overwrites)
    )


def _copy_tags(context: RunContext, source: Any, target: Any, overwrites: Any) -> None:
    copy_tags(
        context, require_node(source, "src"), require_node(target, "dst"), overwrites=tobool(overwrites)
    )


def _pairwise(
    copy: Callable[[RunContext, Node, Node], None],
) -> Callable[[RunContext, Any, Any], None]:
    def run(context: RunContext, source: Any, target: Any) -> None:
        copy(context, require_node(source, "src"), require_node(target, "dst"))

    return run


_SOURCE: Final = ParameterSpec("src", type="node", doc="The node to copy from.")
_TARGET: Final = ParameterSpec("dst", type="node", doc="The node to copy to.")
_OVERWRITE: Final = ParameterSpec("overwrite", False, "bool", "Replace what is there under the same name.")

LIBRARIES: Final = (
    LibrarySpec(
        ("model", "migration"),
        "Moving what nodes have to other nodes.",
        (
            FunctionSpec(
                "copyData",
                "Copy the data attached to a node.",
                _copy_data,
                (_SOURCE, _TARGET, _OVERWRITE),
                changes_state=True,
            ),
            FunctionSpec(
                "copyEdges",
                "Copy the light edges of a node, both ways.",
                _pairwise(copy_edges),
                (_SOURCE, _TARGET),
                changes_state=True,
            ),
            FunctionSpec(
                "copyExtProps",
                "Copy the properties whose names begin with _, those that the other form has too.",
                _pairwise(copy_extended),
                (_SOURCE, _TARGET),
                changes_state=True,
            ),
            FunctionSpec(
                "copyTags",
                "Copy the tags of a node, whose intervals widen those that are there, and the tags' properties.",
                _copy_tags,
                (_SOURCE, _TARGET, _OVERWRITE),
                changes_state=True,
            ),
            FunctionSpec(
                "fuse",
                "Make two nodes of one form one: what the first has goes to the second, and so does what refers to it.",
                _fuse,
                (
                    ParameterSpec("src", type="node", doc="The node that goes."),
                    ParameterSpec("dst", type="node", doc="The node that stays."),
                ),
                changes_state=True,
            ),
            FunctionSpec(
                "loop",
                "Run a query in each view, and another one for each layer that is on top of a view.",
                _loop,
                (
                    ParameterSpec("onview", type="storm:query", doc="Run in each view."),
                    ParameterSpec("onlayer", None, "storm:query", "Run for each layer."),
                    ParameterSpec("readonly", False, "bool", "Refuse edits."),
                    ParameterSpec("reverse", False, "bool", "Forks before what they were made from."),
                ),
                may_change=True,
            ),
        ),
    ),
)
