"""Methods of layers: what one layer holds of nodes, edges and data, without the layers below it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadCast
from cellmesh.cortex.layers import keys, reader
from cellmesh.cortex.layers.records import Record, node_buid, parse_record
from cellmesh.cortex.layers.schema import EDGES_IN, EDGES_OUT, NODE_DATA, NODES
from cellmesh.cortex.storm.objects.stacks import LayerObject, reading
from cellmesh.cortex.storm.objects.storage_form import stored_node
from cellmesh.cortex.storm.runtime.interface import UNDEF, FunctionSpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.values.wire import decode_value
from cellmesh.cortex.views.merge import changed_nids
from cellmesh.cortex.views.sharing import Sharing, name_of
from cellmesh.cortex.views.verify import check_layer

if TYPE_CHECKING:
    from cellmesh.common.storage import ReadTxn
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

BUID_DIGITS: Final = 64

DATA_COUNT_MAX: Final = 100_000
"""Data of one node that are told."""


def parse_buid(given: Any) -> bytes:
    """Return the buid that a query names by its digits.

    Raises:
        BadCast: it is no text of 64 hexadecimal digits.
    """
    text = tostr(given)
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(text) != BUID_DIGITS or len(found) * 2 != BUID_DIGITS:
        raise BadCast("the iden of a node has 64 hexadecimal digits", valu=text[:200])
    return found


def nid_of(context: RunContext, txn: ReadTxn, buid: bytes) -> bytes | None:
    """Return the key of a node, or None where the Cortex has never seen it."""
    found = context.session.graph.nids.find(txn, buid)
    return None if found is None else keys.pack_nid(found)


def record_of(context: RunContext, self: LayerObject, buid: bytes) -> Record | None:
    """Return what the layer alone says of a node, or None if it says nothing."""

    def read(txn: ReadTxn) -> Record | None:
        nid = nid_of(context, txn, buid)
        stored = None if nid is None else txn.get(NODES, self.layer.key + nid)
        return None if stored is None else parse_record(stored)

    return context.session.read(read)


def _stored_node(context: RunContext, self: LayerObject, node: Any) -> Any:
    record = record_of(context, self, parse_buid(node))
    return {} if record is None else stored_node(context.model, record)


def _stored_nodes(context: RunContext, self: LayerObject) -> Iterator[Any]:
    layer, after = self.layer.key, b""
    while True:

        def read(txn: ReadTxn, after: bytes = after) -> tuple[list[bytes], list[bytes | None]]:
            nids = changed_nids(txn, layer, after)
            return nids, [txn.get(NODES, layer + nid) for nid in nids]

        nids, found = context.session.read(read)
        if not nids:
            return
        for stored in found:
            context.tick()
            if stored is not None:
                record = parse_record(stored)
                yield (node_buid(record.head), stored_node(context.model, record))
        after = nids[-1]


def _stored_by_form(context: RunContext, self: LayerObject, form: Any) -> Iterator[Any]:
    name = context.model.require_form(tostr(form)).name
    for buid, shown in _stored_nodes(context, self):
        if shown["form"] == name:
            yield (buid, shown)


def _lift(context: RunContext, self: LayerObject, name: Any, value: Any, comparator: Any) -> Iterator[Node]:
    prop = context.model.require_prop(tostr(name))
    with reading(context, self) as session:
        if value is None or value is UNDEF:
            nodes = session.lift_prop(prop)
        else:
            nodes = session.lift_value(prop, tostr(comparator), plain_value(value))
        for node in nodes:
            context.tick()
            yield node


def _stored_by_prop(
    context: RunContext, self: LayerObject, name: Any, value: Any, comparator: Any
) -> Iterator[Any]:
    for node in _lift(context, self, name, value, comparator):
        buid = bytes.fromhex(node.iden)
        record = record_of(context, self, buid)
        if record is not None:
            yield (node.iden, stored_node(context.model, record))


def _in_query(context: RunContext, nodes: Iterator[Node]) -> Iterator[Node]:
    """Yield nodes as the view of the query shows them, those that it has."""
    for node in nodes:
        found = context.session.node_by_buid(bytes.fromhex(node.iden))
        if found is not None:
            yield found


def _lift_by_prop(
    context: RunContext, self: LayerObject, name: Any, value: Any, comparator: Any
) -> Iterator[Node]:
    return _in_query(context, _lift(context, self, name, value, comparator))


def _lift_by_tag(context: RunContext, self: LayerObject, tag: Any, form: Any) -> Iterator[Node]:
    found = None if form is None else context.model.require_form(tostr(form))
    with reading(context, self) as session:
        yield from _in_query(context, session.lift_tag(tostr(tag), form=found))


def _lift_by_data(context: RunContext, self: LayerObject, name: Any) -> Iterator[Node]:
    graph, wanted = context.session.graph, tostr(name)
    layer, after = self.layer.key, b""
    while True:

        def read(txn: ReadTxn, after: bytes = after) -> tuple[list[bytes], list[bytes]]:
            number = graph.names.data.find(txn, wanted)
            nids = changed_nids(txn, layer, after)
            if number is None:
                return [], []
            end = keys.pack_number(number)
            return nids, [nid for nid in nids if txn.get(NODE_DATA, layer + nid + end)]

        nids, found = context.session.read(read)
        if not nids:
            return
        for node in context.session.nodes_by_nid([keys.unpack_nid(nid) for nid in found]):
            context.tick()
            yield node
        after = nids[-1]


def _edges(
    context: RunContext, self: LayerObject, node: Any, verb: Any, *, inward: bool
) -> Iterator[tuple[str, str]]:
    buid, graph = parse_buid(node), context.session.graph
    wanted = None if verb is None else tostr(verb)
    sharing = Sharing(graph)

    def read(txn: ReadTxn) -> list[tuple[str, int]]:
        nid = nid_of(context, txn, buid)
        if nid is None:
            return []
        found = [
            keys.split_edge(edge)
            for edge in txn.values(EDGES_IN if inward else EDGES_OUT, self.layer.key + nid)
        ]
        return [(name_of(graph.names.verbs, txn, number), to) for number, to in found]

    edges = [edge for edge in context.session.read(read) if wanted is None or edge[0] == wanted]
    idens = sharing.buids({to for _, to in edges}, context.session.read)
    for name, to in edges:
        context.tick()
        if to in idens:
            yield (name, idens[to].hex())


def _edges_by_n1(context: RunContext, self: LayerObject, node: Any, verb: Any) -> Iterator[Any]:
    return _edges(context, self, node, verb, inward=False)


def _edges_by_n2(context: RunContext, self: LayerObject, node: Any, verb: Any) -> Iterator[Any]:
    return _edges(context, self, node, verb, inward=True)


def has_edge(context: RunContext, self: LayerObject, node: Any, verb: Any, other: Any) -> bool:
    """Whether the layer alone has an edge between two nodes, named by their idens."""
    start, end, name = parse_buid(node), parse_buid(other), tostr(verb)

    def read(txn: ReadTxn) -> bool:
        n1, n2 = nid_of(context, txn, start), nid_of(context, txn, end)
        number = context.session.graph.names.verbs.find(txn, name)
        if n1 is None or n2 is None or number is None:
            return False
        return txn.has(EDGES_OUT, self.layer.key + n1, keys.edge(number, keys.unpack_nid(n2)))

    return context.session.read(read)


def node_data(context: RunContext, self: LayerObject, node: Any) -> Iterator[tuple[str, Any]]:
    """Yield names and values of the data that the layer alone has of a node."""
    buid, graph = parse_buid(node), context.session.graph

    def read(txn: ReadTxn) -> list[tuple[str, bytes]]:
        nid = nid_of(context, txn, buid)
        if nid is None:
            return []
        found = islice(reader.node_data(graph.names.data, txn, self.layer.key + nid), DATA_COUNT_MAX)
        return [(name, value) for name, value in found if value]

    for name, value in context.session.read(read):
        yield (name, decode_value(value))


def _data_value(context: RunContext, self: LayerObject, node: Any, name: Any) -> Any:
    wanted = tostr(name)
    return next((value for found, value in node_data(context, self, node) if found == wanted), None)


def _verify(context: RunContext, self: LayerObject, config: Any) -> Iterator[tuple[str, Any]]:
    context.session.sync()
    for fault in check_layer(context.session.graph, self.layer, context.tick):
        yield (fault.kind, fault.fields())


NODE: Final = ParameterSpec("nodeid", type="str", doc="The node's iden.")

DATA_NAME: Final = ParameterSpec("name", type="str", doc="The name of the data.")

_VERB: Final = ParameterSpec("verb", None, "str", "Only edges with this verb.")

EDGE: Final = (
    ParameterSpec("nodeid1", type="str", doc="The iden of the node it starts at."),
    ParameterSpec("verb", type="str", doc="What it says."),
    ParameterSpec("nodeid2", type="str", doc="The iden of the node it points to."),
)

_BY_PROP: Final = (
    ParameterSpec("propname", type="str", doc="The property by its full name."),
    ParameterSpec("propvalu", None, "any", "Only nodes that have this value."),
    ParameterSpec("propcmpr", "=", "str", "How to compare."),
)

METHODS: Final = (
    FunctionSpec(
        "getEdgesByN1",
        "Edges it has from a node: verb, iden.",
        _edges_by_n1,
        (NODE, _VERB),
        "list",
        is_generator=True,
    ),
    FunctionSpec(
        "getEdgesByN2",
        "Edges it has to a node: verb, iden.",
        _edges_by_n2,
        (NODE, _VERB),
        "list",
        is_generator=True,
    ),
    FunctionSpec(
        "getNodeData", "Data it has of a node: name, value.", node_data, (NODE,), "list", is_generator=True
    ),
    FunctionSpec(
        "getNodeDataValu", "Data of a name it has of a node.", _data_value, (NODE, DATA_NAME), "any"
    ),
    FunctionSpec("getStorNode", "All that it says of a node.", _stored_node, (NODE,), "dict"),
    FunctionSpec("getStorNodes", "All that it says of nodes.", _stored_nodes, (), "list", is_generator=True),
    FunctionSpec(
        "getStorNodesByForm",
        "All that it says of nodes of a form.",
        _stored_by_form,
        (ParameterSpec("form", type="str", doc="The form."),),
        "list",
        is_generator=True,
    ),
    FunctionSpec(
        "getStorNodesByProp",
        "All that it says of nodes that have a property in it.",
        _stored_by_prop,
        _BY_PROP,
        "list",
        is_generator=True,
    ),
    FunctionSpec("hasEdge", "Whether it has an edge.", has_edge, EDGE, "bool"),
    FunctionSpec(
        "liftByNodeData",
        "Nodes of which it has data of a name.",
        _lift_by_data,
        (DATA_NAME,),
        "node",
        is_generator=True,
    ),
    FunctionSpec(
        "liftByProp", "Nodes that have a property in it.", _lift_by_prop, _BY_PROP, "node", is_generator=True
    ),
    FunctionSpec(
        "liftByTag",
        "Nodes that have a tag in it.",
        _lift_by_tag,
        (
            ParameterSpec("tagname", type="str", doc="The tag."),
            ParameterSpec("formname", None, "str", "Only nodes of this form."),
        ),
        "node",
        is_generator=True,
    ),
    FunctionSpec(
        "verify",
        "Compare its records with its indexes and counts; yields what does not agree.",
        _verify,
        (ParameterSpec("config", None, "dict", "Without effect: everything is compared."),),
        "list",
        is_generator=True,
    ),
)
