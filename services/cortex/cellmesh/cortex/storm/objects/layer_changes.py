"""Methods of layers: changes of what one layer holds, in detail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import NoSuchProp
from cellmesh.cortex.storm.objects.layer_contents import (
    DATA_NAME,
    EDGE,
    NODE,
    has_edge,
    nid_of,
    node_data,
    parse_buid,
    record_of,
)
from cellmesh.cortex.storm.objects.stacks import LayerObject
from cellmesh.cortex.storm.objects.view_methods import known_node
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import toprim, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.values.edits import NodeDataDelete, NodeDataSet, PropDelete, PropSet
from cellmesh.cortex.values.shared import SharedEdge, SharedEdit, SharedNode
from cellmesh.cortex.values.wire import decode_value
from cellmesh.cortex.views.sharing import Sharing
from cellmesh.cortex.views.taking import take_edits
from cellmesh.cortex.views.wipe import empty_node

if TYPE_CHECKING:
    from cellmesh.common.storage import ReadTxn
    from cellmesh.cortex.model.registry import Prop
    from cellmesh.cortex.storm.runtime.context import RunContext


def _take(context: RunContext, self: LayerObject, node: Any, *edits: SharedEdit) -> bool:
    """Apply edits of a node that is known; whether they changed anything."""
    buid = parse_buid(node)
    context.session.sync()
    context.session.pause()
    graph = context.session.graph
    found = known_node(graph, buid)
    if found is None:
        return False
    shared = SharedNode(found[0], found[1], edits)
    count, _ = take_edits(graph, self.layer, [shared], user=context.user)
    context.session.generation += 1
    return count > 0


def _prop(context: RunContext, name: Any) -> Prop:
    prop = context.model.prop(tostr(name))
    if prop is None:
        raise NoSuchProp("no property of this name", name=tostr(name))
    return prop


def _set_prop(context: RunContext, self: LayerObject, node: Any, name: Any, value: Any) -> bool:
    prop = _prop(context, name)
    return _take(context, self, node, PropSet(prop.name, prop.type.norm(plain_value(value))))


def _del_prop(context: RunContext, self: LayerObject, node: Any, name: Any) -> bool:
    prop, record = _prop(context, name), record_of(context, self, parse_buid(node))
    if record is None or prop.name not in record.props:
        return False
    return _take(context, self, node, PropDelete(prop.name, decode_value(record.props[prop.name])))


def _del_node(context: RunContext, self: LayerObject, node: Any) -> bool:
    buid, graph = parse_buid(node), context.session.graph
    context.session.sync()

    def read(txn: ReadTxn) -> Any:
        nid = nid_of(context, txn, buid)
        return None if nid is None else empty_node(graph, txn, self.layer.key, nid)

    found = context.session.read(read)
    if found is None:
        return False
    (shared,) = Sharing(graph).nodes([found])
    return _take(context, self, node, *shared.edits)


def _set_data(context: RunContext, self: LayerObject, node: Any, name: Any, value: Any) -> bool:
    return _take(context, self, node, NodeDataSet(tostr(name), toprim(value)))


def _del_data(context: RunContext, self: LayerObject, node: Any, name: Any) -> bool:
    held = [found for found, _ in node_data(context, self, node)]
    gone = held if name is None else [found for found in held if found == tostr(name)]
    return bool(gone) and _take(context, self, node, *(NodeDataDelete(found) for found in gone))


def _del_edge(context: RunContext, self: LayerObject, node: Any, verb: Any, other: Any) -> bool:
    if not has_edge(context, self, node, verb, other):
        return False
    return _take(context, self, node, SharedEdge(tostr(verb), parse_buid(other), is_add=False))


METHODS: Final = (
    FunctionSpec("delEdge", "Remove an edge from it.", _del_edge, EDGE, "bool", changes_state=True),
    FunctionSpec(
        "delNodeData",
        "Remove data of a node from it.",
        _del_data,
        (NODE, ParameterSpec("name", None, "str", "The name of the data; all when left out.")),
        "bool",
        changes_state=True,
    ),
    FunctionSpec(
        "delStorNode", "Remove all that it says of a node.", _del_node, (NODE,), "bool", changes_state=True
    ),
    FunctionSpec(
        "delStorNodeProp",
        "Remove a property of a node from it.",
        _del_prop,
        (NODE, ParameterSpec("prop", type="str", doc="The property by its full name.")),
        "bool",
        changes_state=True,
    ),
    FunctionSpec(
        "setNodeDataValu",
        "Set data of a node in it.",
        _set_data,
        (NODE, DATA_NAME, ParameterSpec("valu", type="any", doc="The data.")),
        "bool",
        changes_state=True,
    ),
    FunctionSpec(
        "setStorNodeProp",
        "Set a property of a node in it.",
        _set_prop,
        (
            NODE,
            ParameterSpec("prop", type="str", doc="The property by its full name."),
            ParameterSpec("valu", type="any", doc="The value."),
        ),
        "bool",
        changes_state=True,
    ),
)
