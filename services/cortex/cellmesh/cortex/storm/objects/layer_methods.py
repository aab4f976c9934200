"""Methods of layers: what one layer holds, its edits, changes of it in detail, pushes and pulls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import BadCast, BadUrl, NoSuchProp
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.records import Record, node_buid, parse_record
from cellmesh.cortex.layers.schema import EDGES_IN, EDGES_OUT, NODE_DATA, NODES
from cellmesh.cortex.storm.objects.stacks import IDEN_SIZE, LayerObject, own_iden, reading
from cellmesh.cortex.storm.objects.storage_form import shown_edits, stored_node
from cellmesh.cortex.storm.objects.view_methods import known_node
from cellmesh.cortex.storm.runtime.interface import UNDEF, FunctionSpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.values.edits import NodeDataDelete, NodeDataSet, PropDelete, PropSet
from cellmesh.cortex.values.shared import SharedEdge, SharedEdit, SharedNode
from cellmesh.cortex.values.wire import decode_value
from cellmesh.cortex.views import restack
from cellmesh.cortex.views.merge import changed_nids
from cellmesh.cortex.views.sharing import Sharing, name_of
from cellmesh.cortex.views.taking import take_edits
from cellmesh.cortex.views.verify import check_layer
from cellmesh.cortex.views.wipe import empty_node

if TYPE_CHECKING:
    from cellmesh.common.storage import ReadTxn
    from cellmesh.cortex.model.registry import Prop
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

WAIT_S: Final = 0.5
"""How often a query that waits for edits looks whether it was cancelled, in seconds."""

BUID_DIGITS: Final = 64
URL_SCHEMES: Final = ("grpc", "grpcs", "unix", "aha", "cell")


def _buid(given: Any) -> bytes:
    text = tostr(given)
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(text) != BUID_DIGITS or len(found) * 2 != BUID_DIGITS:
        raise BadCast("the iden of a node has 64 hexadecimal digits", valu=text[:200])
    return found


def _nid(context: RunContext, txn: ReadTxn, buid: bytes) -> bytes | None:
    found = context.session.graph.nids.find(txn, buid)
    return None if found is None else keys.pack_nid(found)


# What the layer holds.


def _record(context: RunContext, self: LayerObject, buid: bytes) -> Record | None:
    def read(txn: ReadTxn) -> Record | None:
        nid = _nid(context, txn, buid)
        stored = None if nid is None else txn.get(NODES, self.layer.key + nid)
        return None if stored is None else parse_record(stored)

    return context.session.read(read)


def _stored_node(context: RunContext, self: LayerObject, node: Any) -> Any:
    record = _record(context, self, _buid(node))
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
        record = _record(context, self, buid)
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
    buid, graph = _buid(node), context.session.graph
    wanted = None if verb is None else tostr(verb)
    sharing = Sharing(graph)

    def read(txn: ReadTxn) -> list[tuple[str, int]]:
        nid = _nid(context, txn, buid)
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


def _has_edge(context: RunContext, self: LayerObject, node: Any, verb: Any, other: Any) -> bool:
    start, end, name = _buid(node), _buid(other), tostr(verb)

    def read(txn: ReadTxn) -> bool:
        n1, n2 = _nid(context, txn, start), _nid(context, txn, end)
        number = context.session.graph.names.verbs.find(txn, name)
        if n1 is None or n2 is None or number is None:
            return False
        return txn.has(EDGES_OUT, self.layer.key + n1, keys.edge(number, keys.unpack_nid(n2)))

    return context.session.read(read)


def _data(context: RunContext, self: LayerObject, node: Any) -> Iterator[tuple[str, Any]]:
    buid, graph = _buid(node), context.session.graph

    def read(txn: ReadTxn) -> list[tuple[str, bytes]]:
        nid = _nid(context, txn, buid)
        if nid is None:
            return []
        prefix = self.layer.key + nid
        chunk = txn.scan(NODE_DATA, prefix, keys.end_of(prefix), count_max=DATA_COUNT_MAX)
        return [
            (name_of(graph.names.data, txn, keys.unpack_number(key, len(prefix))), value)
            for key, value in chunk.items
            if value
        ]

    for name, value in context.session.read(read):
        yield (name, decode_value(value))


def _data_value(context: RunContext, self: LayerObject, node: Any, name: Any) -> Any:
    wanted = tostr(name)
    return next((value for found, value in _data(context, self, node) if found == wanted), None)


DATA_COUNT_MAX: Final = 100_000
"""Data of one node that are told."""


# Changes in detail.


def _take(context: RunContext, self: LayerObject, node: Any, *edits: SharedEdit) -> bool:
    """Apply edits of a node that is known; whether they changed anything."""
    buid = _buid(node)
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
    prop, record = _prop(context, name), _record(context, self, _buid(node))
    if record is None or prop.name not in record.props:
        return False
    return _take(context, self, node, PropDelete(prop.name, decode_value(record.props[prop.name])))


def _del_node(context: RunContext, self: LayerObject, node: Any) -> bool:
    buid, graph = _buid(node), context.session.graph
    context.session.sync()

    def read(txn: ReadTxn) -> Any:
        nid = _nid(context, txn, buid)
        return None if nid is None else empty_node(graph, txn, self.layer.key, nid)

    found = context.session.read(read)
    if found is None:
        return False
    (shared,) = Sharing(graph).nodes([found])
    return _take(context, self, node, *shared.edits)


def _set_data(context: RunContext, self: LayerObject, node: Any, name: Any, value: Any) -> bool:
    return _take(context, self, node, NodeDataSet(tostr(name), toprim(value)))


def _del_data(context: RunContext, self: LayerObject, node: Any, name: Any) -> bool:
    held = [found for found, _ in _data(context, self, node)]
    gone = held if name is None else [found for found in held if found == tostr(name)]
    return bool(gone) and _take(context, self, node, *(NodeDataDelete(found) for found in gone))


def _del_edge(context: RunContext, self: LayerObject, node: Any, verb: Any, other: Any) -> bool:
    if not _has_edge(context, self, node, verb, other):
        return False
    return _take(context, self, node, SharedEdge(tostr(verb), _buid(other), is_add=False))


# Edits.


def _edits(
    context: RunContext, self: LayerObject, offset: Any, wait: Any, size: Any, reverse: Any
) -> Iterator[tuple[int, Any]]:
    context.session.sync()
    context.session.pause()
    graph, layer = context.session.graph, frozenset((str(self.layer.id),))
    left = None if size is None else toint(size)
    sharing = Sharing(graph)
    with graph.slab.view() as txn:
        first, end = graph.log.first_offset(txn), graph.log.next_offset(txn)
    at = toint(offset)
    if tobool(reverse):
        records = _backwards(context, end - 1 if at <= 0 else min(at, end - 1), first)
    else:
        records = _forwards(context, at if at > 0 else first, wait=tobool(wait))
    for record in records:
        shared = sharing.record(record, layer)
        if shared is None or not shared.nodes:
            continue
        if left is not None:
            if left <= 0:
                return
            left -= 1
        yield (shared.offset, shown_edits(context.model, shared.nodes))
        if left == 0:
            return


def _forwards(context: RunContext, offset: int, *, wait: bool) -> Iterator[Any]:
    log = context.session.graph.log
    with context.session.graph.slab.view() as txn:
        end = log.next_offset(txn)
    if not wait and offset >= end:
        return
    while True:
        while wait and not log.wait(offset, WAIT_S):
            context.tick()
        chunk = log.read(offset)
        for record in chunk.records:
            context.tick()
            yield record
        offset = chunk.next_offset
        if not wait and not chunk.records:
            return


def _backwards(context: RunContext, offset: int, first: int) -> Iterator[Any]:
    log = context.session.graph.log
    while offset >= first:
        low = max(first, offset - 99)
        chunk = log.read(low, count_max=offset - low + 1)
        if chunk.next_offset <= offset:
            # The chunk was cut off by its size: its end is what comes first.
            chunk = log.read(offset, count_max=1)
            low = offset
        for record in reversed(chunk.records):
            context.tick()
            yield record
        offset = low - 1


def _edited(context: RunContext, self: LayerObject) -> int | None:
    context.session.sync()
    found = context.session.graph.activities.of_layer(str(self.layer.id))
    return None if found is None else found.time_ms


def _verify(context: RunContext, self: LayerObject, config: Any) -> Iterator[tuple[str, Any]]:
    context.session.sync()
    for fault in check_layer(context.session.graph, self.layer, context.tick):
        yield (fault.kind, fault.fields())


# Pushes and pulls.


def check_url(url: str) -> None:
    """Make certain that text is the URL of a layer of a Cortex: CELL-URL/layer/IDEN.

    Raises:
        BadUrl: it is not.
    """
    cell, _, layer = url.rpartition("/layer/")
    scheme = url.partition("://")[0]
    if scheme not in URL_SCHEMES or not cell or len(layer) != IDEN_SIZE:
        raise BadUrl(
            f"the URL of a layer is that of its Cortex, /layer/, and its iden: {url[:200]}", url=url[:200]
        )


def _add_sync(
    context: RunContext, self: LayerObject, kind: str, url: Any, offset: Any, queue: Any, chunk: Any
) -> dict[str, Any]:
    text = tostr(url)
    check_url(text)
    definition = {
        "url": text,
        "offs": max(0, toint(offset)),
        "user": own_iden(context),
        "time": context.session.graph.now_ms(),
        "iden": hashing.guid(),
        "queue:size": toint(queue),
        "chunk:size": max(1, min(toint(chunk), 10_000)),
    }
    context.session.pause()

    def change(facts: dict[str, Any]) -> dict[str, Any]:
        return {**facts, kind: {**facts.get(kind, {}), definition["iden"]: definition}}

    graph = context.session.graph
    self.layer = restack.change_layer_facts(graph, str(self.layer.id), change, user=context.user)
    _wake(context)
    return definition


def _del_sync(context: RunContext, self: LayerObject, kind: str, iden: Any) -> None:
    wanted = tostr(iden)
    context.session.pause()

    def change(facts: dict[str, Any]) -> dict[str, Any]:
        left = {key: value for key, value in facts.get(kind, {}).items() if key != wanted}
        facts.pop(kind, None)
        return {**facts, kind: left} if left else facts

    graph = context.session.graph
    self.layer = restack.change_layer_facts(graph, str(self.layer.id), change, user=context.user)
    _wake(context)


def _wake(context: RunContext) -> None:
    syncing: Any = context.engine.capabilities.get("syncing")
    if syncing is not None:
        syncing.wake()


def _add_push(context: RunContext, self: LayerObject, url: Any, offset: Any, queue: Any, chunk: Any) -> Any:
    return _add_sync(context, self, "pushs", url, offset, queue, chunk)


def _add_pull(context: RunContext, self: LayerObject, url: Any, offset: Any, queue: Any, chunk: Any) -> Any:
    return _add_sync(context, self, "pulls", url, offset, queue, chunk)


_NODE: Final = ParameterSpec("nodeid", type="str", doc="The node's iden.")
_DATA_NAME: Final = ParameterSpec("name", type="str", doc="The name of the data.")
_VERB: Final = ParameterSpec("verb", None, "str", "Only edges with this verb.")
_EDGE: Final = (
    ParameterSpec("nodeid1", type="str", doc="The iden of the node it starts at."),
    ParameterSpec("verb", type="str", doc="What it says."),
    ParameterSpec("nodeid2", type="str", doc="The iden of the node it points to."),
)
_BY_PROP: Final = (
    ParameterSpec("propname", type="str", doc="The property by its full name."),
    ParameterSpec("propvalu", None, "any", "Only nodes that have this value."),
    ParameterSpec("propcmpr", "=", "str", "How to compare."),
)
_SYNC: Final = (
    ParameterSpec("url", type="str", doc="The other layer: the URL of its Cortex, /layer/, its iden."),
    ParameterSpec(
        "offs", 0, "int", "The offset to begin at; 0 for all the layer holds, and its edits from then on."
    ),
    ParameterSpec("queue_size", 10_000, "int", "Without effect: nothing waits in memory."),
    ParameterSpec("chunk_size", 1_000, "int", "Most nodes in one message."),
)
_IDEN: Final = (ParameterSpec("iden", type="str", doc="Its iden."),)

METHODS: Final = (
    FunctionSpec(
        "addPull",
        "Have it take the edits of a layer of another Cortex.",
        _add_pull,
        _SYNC,
        "dict",
        changes_state=True,
    ),
    FunctionSpec(
        "addPush",
        "Have it send its edits to a layer of another Cortex.",
        _add_push,
        _SYNC,
        "dict",
        changes_state=True,
    ),
    FunctionSpec("delEdge", "Remove an edge from it.", _del_edge, _EDGE, "bool", changes_state=True),
    FunctionSpec(
        "delNodeData",
        "Remove data of a node from it.",
        _del_data,
        (_NODE, ParameterSpec("name", None, "str", "The name of the data; all when left out.")),
        "bool",
        changes_state=True,
    ),
    FunctionSpec(
        "delPull",
        "Take no more edits of another layer.",
        lambda c, s, i: _del_sync(c, s, "pulls", i),
        _IDEN,
        changes_state=True,
    ),
    FunctionSpec(
        "delPush",
        "Send no more edits to another layer.",
        lambda c, s, i: _del_sync(c, s, "pushs", i),
        _IDEN,
        changes_state=True,
    ),
    FunctionSpec(
        "delStorNode", "Remove all that it says of a node.", _del_node, (_NODE,), "bool", changes_state=True
    ),
    FunctionSpec(
        "delStorNodeProp",
        "Remove a property of a node from it.",
        _del_prop,
        (_NODE, ParameterSpec("prop", type="str", doc="The property by its full name.")),
        "bool",
        changes_state=True,
    ),
    FunctionSpec("edited", "When it was edited last, as far as the change log tells.", _edited, (), "time"),
    FunctionSpec(
        "edits",
        "Its edits with their offsets.",
        _edits,
        (
            ParameterSpec("offs", 0, "int", "The first offset."),
            ParameterSpec("wait", True, "bool", "Wait for more at the end."),
            ParameterSpec("size", None, "int", "At most so many."),
            ParameterSpec("reverse", False, "bool", "The last one first."),
        ),
        "list",
        is_generator=True,
    ),
    FunctionSpec(
        "getEdgesByN1",
        "Edges it has from a node: verb, iden.",
        _edges_by_n1,
        (_NODE, _VERB),
        "list",
        is_generator=True,
    ),
    FunctionSpec(
        "getEdgesByN2",
        "Edges it has to a node: verb, iden.",
        _edges_by_n2,
        (_NODE, _VERB),
        "list",
        is_generator=True,
    ),
    FunctionSpec(
        "getMirrorStatus",
        "Whether it is a copy of another layer: never, as Cortexes are mirrored whole.",
        lambda c, s: {"mirror": False},
        (),
        "dict",
    ),
    FunctionSpec(
        "getNodeData", "Data it has of a node: name, value.", _data, (_NODE,), "list", is_generator=True
    ),
    FunctionSpec(
        "getNodeDataValu", "Data of a name it has of a node.", _data_value, (_NODE, _DATA_NAME), "any"
    ),
    FunctionSpec("getStorNode", "All that it says of a node.", _stored_node, (_NODE,), "dict"),
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
    FunctionSpec("hasEdge", "Whether it has an edge.", _has_edge, _EDGE, "bool"),
    FunctionSpec(
        "liftByNodeData",
        "Nodes of which it has data of a name.",
        _lift_by_data,
        (_DATA_NAME,),
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
        "setNodeDataValu",
        "Set data of a node in it.",
        _set_data,
        (_NODE, _DATA_NAME, ParameterSpec("valu", type="any", doc="The data.")),
        "bool",
        changes_state=True,
    ),
    FunctionSpec(
        "setStorNodeProp",
        "Set a property of a node in it.",
        _set_prop,
        (
            _NODE,
            ParameterSpec("prop", type="str", doc="The property by its full name."),
            ParameterSpec("valu", type="any", doc="The value."),
        ),
        "bool",
        changes_state=True,
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
