"""The entries of one index of one layer, in its order, and copies of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, NoSuchProp, NoSuchTagProp
from cellmesh.common.storage.transactions import Position
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.catalog import index_of
from cellmesh.cortex.layers.records import Record, node_buid, node_form, node_value, parse_record
from cellmesh.cortex.layers.schema import BY_PROP, BY_TAG, BY_TAG_PROP, NODES
from cellmesh.cortex.values.wire import decode_interval, decode_value
from cellmesh.cortex.views.sharing import Sharing
from cellmesh.cortex.views.taking import take_edits

if TYPE_CHECKING:
    from cellmesh.common.storage import ReadTxn, SubDb
    from cellmesh.cortex.layers.layer import Layer
    from cellmesh.cortex.views.graph import Graph

ROW_COUNT: Final = 1000
COPY_NODE_COUNT: Final = 1000


@dataclass(frozen=True, slots=True)
class IndexRow:
    """An entry: the node's buid and form, the value, and what to go on with behind it."""

    buid: bytes
    form: str
    value: Any
    resume: bytes


@dataclass(frozen=True, slots=True)
class Index:
    """Which index.

    Attributes:
        form: Whose values, or what the others are narrowed to; empty for any.
        prop: A property of the form, or a universal one; empty for none.
        tag: A tag; empty for none.
        tag_prop: A property of the tag; empty for none.
    """

    form: str = ""
    prop: str = ""
    tag: str = ""
    tag_prop: str = ""


@dataclass(frozen=True, slots=True)
class _Range:
    db: SubDb
    low: bytes
    high: bytes | None
    value: Callable[[Record], Any]


def index_rows(
    graph: Graph, layer: Layer, index: Index, *, start: tuple[Any] | None = None, resume: bytes = b""
) -> Iterator[IndexRow]:
    """Yield the entries of an index of a layer.

    Args:
        start: Only from this value on, not yet normalised.
        resume: What to go on with.

    Raises:
        BadArg: it is no index, or `resume` is none that was given.
        NoSuchForm, NoSuchProp, NoSuchTagProp, BadTypeValu: the model does not have it, or not such a value.
    """
    with graph.slab.view() as txn:
        found = _range(graph, txn, layer.key, index, start)
        form_number = graph.names.forms.find(txn, index.form) if index.form else None
    if found is None or (index.form and form_number is None):
        return
    position = _position(resume)
    while True:
        rows: list[IndexRow] = []
        with graph.slab.view() as txn:
            chunk = txn.scan(found.db, found.low, found.high, count_max=ROW_COUNT, after=position)
            for key, nid in chunk.items:
                if form_number is not None and keys.unpack_form(nid, 6) != form_number:
                    continue
                stored = txn.get(NODES, layer.key + nid)
                if stored is None:
                    continue
                record = parse_record(stored)
                token = bytes((len(key) >> 8, len(key) & 0xFF)) + key + nid
                rows.append(
                    IndexRow(node_buid(record.head), node_form(record.head), found.value(record), token)
                )
        yield from rows
        position = chunk.resume
        if position is None:
            return


def _position(token: bytes) -> Position | None:
    if not token:
        return None
    size = int.from_bytes(token[:2], "big")
    if len(token) != 2 + size + 8:
        raise BadArg("resume_token is not one that this service gave", name="resume_token")
    return Position(token[2 : 2 + size], token[2 + size :])


def _range(graph: Graph, txn: ReadTxn, layer: bytes, index: Index, start: tuple[Any] | None) -> _Range | None:
    if index.tag:
        return _tag_range(graph, txn, layer, index, start)
    if index.tag_prop or not (index.form or index.prop):
        raise BadArg("an index is that of a form, a property, a tag, or a property of a tag", name="form")
    if index.prop.startswith(".") and not index.form:
        prop = graph.model.prop(index.prop)
    else:
        form = graph.model.require_form(index.form)
        prop = form.props.get(index.prop) if index.prop else form.value_prop
    if prop is None:
        raise NoSuchProp("no property of this name", name=f"{index.form}:{index.prop}")
    number = graph.names.props.find(txn, index_of(prop).name)
    if number is None:
        return None
    prefix = keys.prop_prefix(layer, number)
    low = prefix if start is None else prefix + prop.type.encode(prop.type.norm(start[0]))
    name = prop.name

    def value(record: Record) -> Any:
        if not index.prop:
            return node_value(record.head)
        encoded = record.props.get(name)
        return None if encoded is None else decode_value(encoded)

    return _Range(BY_PROP, low, keys.end_of(prefix), value)


def _tag_range(
    graph: Graph, txn: ReadTxn, layer: bytes, index: Index, start: tuple[Any] | None
) -> _Range | None:
    tag_number = graph.names.tags.find(txn, index.tag)
    if not index.tag_prop:
        if start is not None:
            raise BadArg("tags have no values to start from", name="start")

        def interval(record: Record) -> Any:
            packed = record.tags.get(index.tag)
            return decode_interval(packed[2:]) if packed else None

        if tag_number is None:
            return None
        prefix = keys.tag_prefix(layer, tag_number)
        return _Range(BY_TAG, prefix, keys.end_of(prefix), interval)
    tag_prop = graph.model.tagprop(index.tag_prop)
    if tag_prop is None:
        raise NoSuchTagProp("no tag property of this name", name=index.tag_prop)
    number = graph.names.tag_props.find(txn, index.tag_prop)
    if tag_number is None or number is None:
        return None
    prefix = keys.tag_prop_prefix(layer, tag_number, number)
    low = prefix if start is None else prefix + tag_prop.type.encode(tag_prop.type.norm(start[0]))

    def value(record: Record) -> Any:
        encoded = record.tag_props.get(index.tag, {}).get(index.tag_prop)
        return None if encoded is None else decode_value(encoded)

    return _Range(BY_TAG_PROP, low, keys.end_of(prefix), value)


def clone_layer(
    graph: Graph, layer: Layer, name: str, *, user: str, tick: Callable[[], None]
) -> tuple[Layer, int]:
    """Copy a layer to a new one, a batch a transaction; returns it and how many nodes it says anything of.

    Edits made meanwhile may be in the copy or not. Cut short, a part of a copy is left.
    """
    facts = {"created": graph.now_ms(), "desc": f"copy of {layer.id}"}
    made = graph.add_layer(name=name, user=user, facts=facts)
    sharing, after, count = Sharing(graph), b"", 0
    while True:
        tick()
        nodes, after = sharing.content(layer, after)
        for start in range(0, len(nodes), COPY_NODE_COUNT):
            batch = nodes[start : start + COPY_NODE_COUNT]
            take_edits(graph, made, batch, user=user, with_masks=True, is_stored=True)
        count += len(nodes)
        if not after:
            return made, count
