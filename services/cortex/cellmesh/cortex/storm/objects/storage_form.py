"""Nodes and edits as layers show them to queries: plain lists with numbers for kinds of edits and of values.

    edits of a node   (buid, form, [(kind, (parts...), ()), ...])
    a stored node     {"form", "valu": (value, type), "props": {name: (value, type)}, "tags", "tagprops", ...}

The numbers are those that users of Synapse know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from cellmesh.common.errors import BadArg, BadTypeValu
from cellmesh.cortex.layers.records import Record, node_form, node_value
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.model.types.base import Type
from cellmesh.cortex.values.edits import (
    MISSING,
    NodeAdd,
    NodeDataDelete,
    NodeDataSet,
    NodeDelete,
    PropDelete,
    PropSet,
    TagDelete,
    TagPropDelete,
    TagPropSet,
    TagSet,
)
from cellmesh.cortex.values.ids import buid_of
from cellmesh.cortex.values.shared import SharedEdge, SharedEdit, SharedNode
from cellmesh.cortex.values.wire import decode_interval, decode_value

_KINDS: Final[Mapping[str, int]] = {
    "float": 22,
    "range": 13,
    "str": 1,
    "hex": 1,
    "bool": 2,
    "duration": 5,
    "ival": 12,
    "guid": 10,
    "syn:tag:part": 1,
    "syn:tag": 1,
    "comp": 13,
    "loc": 15,
    "ndef": 25,
    "edge": 13,
    "timeedge": 13,
    "data": 13,
    "nodeprop": 13,
    "hugenum": 23,
    "taxon": 1,
    "taxonomy": 1,
    "velocity": 9,
    "inet:addr": 1,
    "inet:ipv4": 4,
    "inet:ipv6": 18,
    "inet:fqdn": 17,
}
_SIGNED: Final = {1: 6, 2: 7, 4: 8, 8: 9, 16: 20}
_UNSIGNED: Final = {1: 2, 2: 3, 4: 4, 8: 5, 16: 19}
_OTHER: Final = 13
_ARRAY: Final = 0x8000
_INTERVAL: Final = 12


def type_number(type_: Type) -> int:
    """Return the number of how values of a type are stored."""
    if type_.element is not None:
        return _ARRAY | type_number(type_.element)
    options = type_.options
    for name in (type_.name, *type_.chain):
        if name == "int":
            sizes = _SIGNED if options.get("signed", True) else _UNSIGNED
            return sizes[int(options.get("size", 8))]
        if name == "time":
            return 21 if options.get("ismin") else 24 if options.get("ismax") else 11
        if name in _KINDS:
            return _KINDS[name]
    return _OTHER


def _number(model: Model, form: str, name: str) -> int:
    found = model.form(form)
    prop = None if found is None else found.props.get(name)
    return _OTHER if prop is None else type_number(prop.type)


def _tag_prop_number(model: Model, name: str) -> int:
    found = model.tagprop(name)
    return _OTHER if found is None else type_number(found.type)


def stored_node(model: Model, record: Record) -> dict[str, Any]:
    """Return what a layer says of a node."""
    form = node_form(record.head)
    shown: dict[str, Any] = {"form": form}
    if record.is_added:
        type_ = model.form(form)
        value = node_value(record.head)
        shown["valu"] = (value, _OTHER if type_ is None else type_number(type_.type))
    if record.props:
        shown["props"] = {
            name: (decode_value(encoded), _number(model, form, name))
            for name, encoded in record.props.items()
        }
    if record.tags:
        shown["tags"] = {
            tag: decode_interval(packed[2:]) if packed else (None, None)
            for tag, packed in record.tags.items()
        }
    if record.tag_props:
        shown["tagprops"] = {
            tag: {
                name: (decode_value(encoded), _tag_prop_number(model, name))
                for name, encoded in props.items()
            }
            for tag, props in record.tag_props.items()
        }
    return shown


def shown_edits(model: Model, nodes: Iterable[SharedNode]) -> list[Any]:
    """Return edits of nodes as plain lists."""
    return [
        (
            buid_of(node.form, node.value),
            node.form,
            [shown for edit in node.edits if (shown := _shown(model, node, edit)) is not None],
        )
        for node in nodes
    ]


def _plain(value: Any) -> Any:
    return None if value is MISSING else value


def _shown(model: Model, node: SharedNode, edit: SharedEdit) -> Any:
    form = model.form(node.form)
    own = _OTHER if form is None else type_number(form.type)
    empty = (None, None)
    match edit:
        case NodeAdd():
            return (0, (node.value, own), ())
        case NodeDelete():
            return (1, (node.value, own), ())
        case PropSet(name, value, old):
            return (2, (name, value, _plain(old), _number(model, node.form, name)), ())
        case PropDelete(name, old):
            return (3, (name, _plain(old), _number(model, node.form, name)), ())
        case TagSet(name, interval, existed, old):
            return (4, (name, interval or empty, (old or empty) if existed else None), ())
        case TagDelete(name, old):
            return (5, (name, old or empty), ())
        case TagPropSet(tag, name, value, old):
            return (6, (tag, name, value, _plain(old), _tag_prop_number(model, name)), ())
        case TagPropDelete(tag, name, old):
            return (7, (tag, name, _plain(old), _tag_prop_number(model, name)), ())
        case NodeDataSet(name, value, old):
            return (8, (name, value, _plain(old)), ())
        case NodeDataDelete(name, old):
            return (9, (name, _plain(old)), ())
        case SharedEdge(verb, buid, _, _, is_add):
            return (10 if is_add else 11, (verb, buid.hex()), ())
        case _:
            return None


# The other way.


def _interval(given: Any) -> tuple[int, int] | None:
    if given is None or given[0] is None:
        return None
    return (int(given[0]), int(given[1]))


_READERS: Final[Mapping[int, Callable[[Any], SharedEdit]]] = {
    0: lambda parts: NodeAdd(),
    1: lambda parts: NodeDelete(),
    2: lambda parts: PropSet(str(parts[0]), parts[1]),
    3: lambda parts: PropDelete(str(parts[0])),
    4: lambda parts: TagSet(str(parts[0]), _interval(parts[1])),
    5: lambda parts: TagDelete(str(parts[0])),
    6: lambda parts: TagPropSet(str(parts[0]), str(parts[1]), parts[2]),
    7: lambda parts: TagPropDelete(str(parts[0]), str(parts[1])),
    8: lambda parts: NodeDataSet(str(parts[0]), parts[1]),
    9: lambda parts: NodeDataDelete(str(parts[0])),
    10: lambda parts: SharedEdge(str(parts[0]), bytes.fromhex(parts[1])),
    11: lambda parts: SharedEdge(str(parts[0]), bytes.fromhex(parts[1]), is_add=False),
}


def read_edits(
    model: Model, given: Any, known: Callable[[bytes], tuple[str, Any] | None]
) -> list[SharedNode]:
    """Read edits of nodes from plain lists.

    Args:
        model: Values are normalised by it.
        given: The edits.
        known: Gives form and value of a node that is there, by its buid.

    Raises:
        BadArg: they are not of that form, or are about a node that neither they nor the Cortex know.
        BadTypeValu, NoSuchForm, NoSuchProp: a value, form or property is wrong.
    """
    if not isinstance(given, list | tuple):
        raise BadArg("edits are a list of (node, form, edits)", name="edits")
    return [_read_node(model, item, known) for item in given]


def _read_node(model: Model, item: Any, known: Callable[[bytes], tuple[str, Any] | None]) -> SharedNode:
    try:
        node, form_name, edits = item
        buid = node if isinstance(node, bytes) else bytes.fromhex(node)
        pairs = [(int(edit[0]), edit[1]) for edit in edits]
        form = model.require_form(str(form_name))
        made = next((parts for kind, parts in pairs if kind in (0, 1)), None)
        value = form.type.norm(made[0]) if made is not None else _known(form.name, buid, known)
        read = tuple(_normalised(model, form.name, _READERS[kind](parts)) for kind, parts in pairs)
    except (TypeError, ValueError, LookupError) as error:
        if isinstance(error, BadTypeValu):
            raise
        raise BadArg(f"edits are a list of (node, form, edits): {error}", name="edits") from error
    return SharedNode(form.name, value, read)


def _known(form: str, buid: bytes, known: Callable[[bytes], tuple[str, Any] | None]) -> Any:
    found = known(buid)
    if found is None or found[0] != form:
        raise BadArg("edits of a node that is not there must make it", name="edits", iden=buid.hex())
    return found[1]


def _normalised(model: Model, form: str, edit: SharedEdit) -> SharedEdit:
    match edit:
        case PropSet(name, value):
            prop = model.require_form(form).props.get(name)
            return edit if prop is None else PropSet(name, prop.type.norm(value))
        case TagPropSet(tag, name, value):
            return TagPropSet(tag, name, model.require_tagprop(name).type.norm(value))
        case _:
            return edit
