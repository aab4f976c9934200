"""Nodes in a query: `$node`, `$node.props`, `$node.data`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadCast, NoSuchIden, NoSuchProp
from cellmesh.cortex.storm.container_tools import fixed
from cellmesh.cortex.storm.primitives.tags import difference, glob_regex, leaves
from cellmesh.cortex.storm.runtime.interface import (
    UNDEF,
    AttributeSpec,
    FunctionSpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.values import tobool, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value, value_for
from cellmesh.cortex.storm.text_tools import json_safe
from cellmesh.cortex.values.wire import decode_value
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.overlay import Stack

if TYPE_CHECKING:
    from cellmesh.cortex.layers.layer import Layer
    from cellmesh.cortex.layers.records import Record
    from cellmesh.cortex.storm.runtime.context import RunContext

_IDEN: Final = re.compile(r"[0-9a-f]{64}")


class NodeProps:
    """The properties of a node, as `$node.props` gives them."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def storm_plain(self) -> dict[str, Any]:
        """Return the properties by name."""
        return dict(fixed(self.node.props))

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"node:props: {self.storm_plain()}"


class NodeData:
    """The data attached to a node, as `$node.data` gives it."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"node:data of {self.node.iden}"


# Methods of nodes.


def packed(node: Node, reprs: bool = False) -> tuple[Any, dict[str, Any]]:
    """Return a node as form and value, and what is known of it, in plain values."""
    no_interval = (None, None)
    tag_props = {tag: dict(props) for tag, props in node.tag_props.items()}
    known: dict[str, Any] = {
        "iden": node.iden,
        "tags": {name: interval or no_interval for name, interval in node.tags.items()},
        "props": fixed(dict(node.props)),
        "tagprops": tag_props,
        "nodedata": {},
    }
    if reprs:
        known |= _texts(node)
    return (node.ndef, known)


def _texts(node: Node) -> dict[str, Any]:
    """Return human texts of a node's values: of those alone that they are not the values themselves."""
    found: dict[str, Any] = {}
    text = node.repr()
    if text != node.value:
        found["repr"] = text
    texts = {name: (node.repr(name), value) for name, value in node.props.items()}
    found["reprs"] = {name: text for name, (text, value) in texts.items() if text != value}
    tag_props: dict[str, dict[str, Any]] = {}
    for tag, props in node.tag_props.items():
        for name, value in props.items():
            text = node.session.model.require_tagprop(name).type.repr(value)
            if text != value:
                tag_props.setdefault(tag, {})[name] = text
    found["tagpropreprs"] = tag_props
    return found


def _pack(context: RunContext, self: Node, reprs: Any) -> tuple[Any, dict[str, Any]]:
    return packed(self, tobool(reprs))


def _tags(context: RunContext, self: Node, glob: Any, leaf: Any) -> list[str]:
    found = sorted(self.tags)
    if tobool(leaf):
        found = leaves(found)
    if glob is not None:
        pattern = glob_regex(tostr(glob))
        found = [tag for tag in found if pattern.fullmatch(tag)]
    return found


def _glob_tags(context: RunContext, self: Node, glob: Any) -> list[Any]:
    pattern = glob_regex(tostr(glob))
    found: list[Any] = []
    for tag in sorted(self.tags):
        match = pattern.fullmatch(tag)
        if match is not None:
            groups = match.groups()
            found.append(groups[0] if len(groups) == 1 else groups)
    return found


def _edges(context: RunContext, self: Node, verb: Any, reverse: Any) -> Iterator[tuple[str, str]]:
    verbs = None if verb is None else [tostr(verb)]
    walk = context.session.edges_in if tobool(reverse) else context.session.edges_out
    for _, name, other in walk([self], verbs):
        context.tick()
        yield (name, other.iden)


def _other_end(context: RunContext, iden: Any) -> Node | None:
    text = tostr(iden)
    if not _IDEN.fullmatch(text):
        raise BadCast(f"an edge leads to an iden of 64 hexadecimal digits, not {text[:80]!r}", name="iden")
    return context.session.node_by_iden(text)


def _add_edge(context: RunContext, self: Node, verb: Any, iden: Any) -> None:
    other = _other_end(context, iden)
    if other is None:
        raise NoSuchIden(f"no node of the view has the iden {iden}", iden=iden)
    context.session.add_edge(self, tostr(verb), other)


def _del_edge(context: RunContext, self: Node, verb: Any, iden: Any) -> None:
    other = _other_end(context, iden)
    if other is not None:
        context.session.del_edge(self, tostr(verb), other)


def _diff_tags(
    context: RunContext, self: Node, tags: Any, prefix: Any, apply: Any, norm: Any
) -> dict[str, list[str]]:
    wanted = [tostr(tag) for tag in toiter(context, tags)]
    if tobool(norm):
        part = context.model.type("syn:tag:part")
        wanted = [str(part.normalize(tag).value) for tag in wanted]
    adds, removes = difference(set(self.tags), wanted, tostr(prefix) if prefix else None)
    if tobool(apply):
        context.check_writable()
        for tag in adds:
            context.session.add_tag(self, tag)
        for tag in removes:
            context.session.del_tag(self, tag)
    return {"adds": adds, "dels": removes}


def _repr(context: RunContext, self: Node, name: Any, default: Any) -> Any:
    if name is None:
        return self.repr()
    text = tostr(name)
    if text not in self.form.props:
        raise NoSuchProp(f"{self.form.name} has no property {text}", form=self.form.name, prop=text)
    return default if self.get(text) is None else self.repr(text)


def _is_form(context: RunContext, self: Node, name: Any) -> bool:
    return str(self.form.name) == tostr(name)


def _layer_record(context: RunContext, node: Node, layer: Layer) -> Record | None:
    """Return what one layer says of a node, without those below."""
    return context.session.read(lambda txn: Stack((layer,)).parsed(txn, node.key)[0])


def _storage_nodes(context: RunContext, self: Node) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for layer in context.view.layers:
        record = _layer_record(context, self, layer)
        if record is None:
            found.append({})
            continue
        part: dict[str, Any] = {"form": self.form.name}
        if record.is_added:
            part["valu"] = self.value
        part["props"] = {name: decode_value(value) for name, value in record.props.items()}
        part["tags"] = {name: self.tag(name) or (None, None) for name in record.tags}
        part["tagprops"] = {
            tag: {name: decode_value(value) for name, value in props.items()}
            for tag, props in record.tag_props.items()
        }
        found.append(part)
    return found


def _by_layer(context: RunContext, self: Node) -> dict[str, Any]:
    found: dict[str, Any] = {"ndef": None, "tags": {}, "props": {}, "tagprops": {}}
    for layer in reversed(context.view.layers):
        record = _layer_record(context, self, layer)
        if record is None:
            continue
        iden = str(layer.id)
        if record.is_added:
            found["ndef"] = iden
        found["tags"].update(dict.fromkeys(record.tags, iden))
        found["props"].update(dict.fromkeys(record.props, iden))
        for tag, props in record.tag_props.items():
            found["tagprops"].setdefault(tag, {}).update(dict.fromkeys(props, iden))
    found["tags"] = {name: iden for name, iden in found["tags"].items() if self.has_tag(name)}
    found["props"] = {name: iden for name, iden in found["props"].items() if self.has(name)}
    return found


_VERB: Final = ParameterSpec("verb", type="str", doc="The verb of the edge.")
_IDEN_OF_OTHER: Final = ParameterSpec("iden", type="str", doc="The iden of the other node.")

NODE_METHODS: Final = (
    FunctionSpec(
        "addEdge",
        "Make a light edge to another node, which must exist.",
        _add_edge,
        (_VERB, _IDEN_OF_OTHER),
        changes_state=True,
    ),
    FunctionSpec(
        "delEdge",
        "Remove a light edge to another node.",
        _del_edge,
        (_VERB, _IDEN_OF_OTHER),
        changes_state=True,
    ),
    FunctionSpec(
        "difftags",
        "Compare the tags with a list of those wanted, and with `apply` make them so.",
        _diff_tags,
        (
            ParameterSpec("tags", type="list", doc="The tags wanted."),
            ParameterSpec(
                "prefix", None, "str", "Look only at tags below it; those given are to lie below it."
            ),
            ParameterSpec("apply", False, "bool", "Whether to change the node."),
            ParameterSpec("norm", False, "bool", "Make each tag given a single valid segment."),
        ),
        "dict of adds and dels",
        may_change=True,
    ),
    FunctionSpec(
        "edges",
        "Light edges: verb and iden of the other node.",
        _edges,
        (
            ParameterSpec("verb", None, "str", "Only edges with this verb."),
            ParameterSpec("reverse", False, "bool", "Those that lead here."),
        ),
        "pairs",
        is_generator=True,
    ),
    FunctionSpec("form", "The name of its form.", lambda c, s: s.form.name, (), "str"),
    FunctionSpec("getByLayer", "Which layer each part of it comes from.", _by_layer, (), "dict"),
    FunctionSpec(
        "getStorNodes", "What each layer holds of it, the top one first.", _storage_nodes, (), "list"
    ),
    FunctionSpec(
        "globtags",
        "What the stars of a glob stand for, for each tag that matches.",
        _glob_tags,
        (ParameterSpec("glob", type="str", doc="Such as `cno.*.name`; `**` crosses dots."),),
        "list",
    ),
    FunctionSpec("iden", "Its iden, 64 hexadecimal digits.", lambda c, s: s.iden, (), "str"),
    FunctionSpec(
        "isform",
        "Whether it is of a form.",
        _is_form,
        (ParameterSpec("name", type="str", doc="The form."),),
        "bool",
    ),
    FunctionSpec("ndef", "Form and value.", lambda c, s: s.ndef, (), "pair"),
    FunctionSpec(
        "pack",
        "Form, value, and everything known of it, in plain values.",
        _pack,
        (ParameterSpec("dorepr", False, "bool", "Add human text of all values."),),
        "pair",
    ),
    FunctionSpec(
        "repr",
        "Its value, or that of a property, in human text.",
        _repr,
        (
            ParameterSpec("name", None, "str", "A property of its form."),
            ParameterSpec("defv", None, "any", "What to give when the property is not set."),
        ),
        "str",
    ),
    FunctionSpec(
        "tags",
        "Its tags, sorted.",
        _tags,
        (
            ParameterSpec("glob", None, "str", "Only those a glob matches; `**` crosses dots."),
            ParameterSpec("leaf", False, "bool", "Only those with none below."),
        ),
        "list",
    ),
    FunctionSpec("value", "Its value.", lambda c, s: s.value, (), "any"),
)


# Properties.


def _get_prop(context: RunContext, self: NodeProps, name: Any) -> Any:
    return fixed(self.node.get(tostr(name)))


def _set_prop(context: RunContext, self: NodeProps, name: Any, value: Any) -> bool:
    text = tostr(name)
    if value is UNDEF:
        context.session.pop_prop(self.node, text)
    else:
        prop = self.node.form.props.get(text)
        plain = plain_value(value) if prop is None else value_for(prop.type, value)
        context.session.set_prop(self.node, text, plain)
    return True


def _set_prop_item(context: RunContext, self: NodeProps, name: Any, value: Any) -> None:
    context.check_writable()
    _set_prop(context, self, name, value)


def _prop_items(context: RunContext, self: NodeProps) -> list[tuple[str, Any]]:
    return list(fixed(self.node.props).items())


_PROP_NAME: Final = ParameterSpec("name", type="str", doc="The property, without the form.")

PROPS_METHODS: Final = (
    FunctionSpec("get", "The value of a property, or null.", _get_prop, (_PROP_NAME,), "any"),
    FunctionSpec("list", "Names and values.", _prop_items, (), "list of pairs"),
    FunctionSpec(
        "set",
        "Set a property.",
        _set_prop,
        (
            ParameterSpec("prop", type="str", doc="The property, without the form."),
            ParameterSpec("valu", doc="The value; `$lib.undef` removes it."),
        ),
        "bool",
        changes_state=True,
    ),
)


# Data.


def _get_data(context: RunContext, self: NodeData, name: Any) -> Any:
    return fixed(context.session.get_data(self.node, tostr(name)))


def _has_data(context: RunContext, self: NodeData, name: Any) -> bool:
    return context.session.has_data(self.node, tostr(name))


def _set_data(context: RunContext, self: NodeData, name: Any, value: Any) -> None:
    context.session.set_data(self.node, tostr(name), json_safe(value))


def _pop_data(context: RunContext, self: NodeData, name: Any) -> Any:
    return fixed(context.session.pop_data(self.node, tostr(name)))


def _list_data(context: RunContext, self: NodeData) -> list[tuple[str, Any]]:
    return [(name, fixed(value)) for name, value in context.session.list_data(self.node)]


def _load_data(context: RunContext, self: NodeData, name: Any) -> None:
    """Nothing is to be done: data is read when it is asked for."""


def _cache_set(context: RunContext, self: NodeData, name: Any, value: Any) -> None:
    kept = {"asof": context.session.graph.now_ms(), "data": json_safe(value)}
    context.session.set_data(self.node, tostr(name), kept)


def _cache_get(context: RunContext, self: NodeData, name: Any, since: Any) -> Any:
    kept = fixed(context.session.get_data(self.node, tostr(name)))
    if not isinstance(kept, dict) or "asof" not in kept:
        return None
    oldest = context.model.type("time").normalize(plain_value(since)).value
    return kept.get("data") if kept["asof"] >= oldest else None


_DATA_NAME: Final = ParameterSpec("name", type="str", doc="The name it is attached under.")
_DATA_VALUE: Final = ParameterSpec("valu", type="prim", doc="What JSON can hold.")

DATA_METHODS: Final = (
    FunctionSpec(
        "cacheget",
        "Data that `cacheset` attached, or null if it is too old.",
        _cache_get,
        (_DATA_NAME, ParameterSpec("asof", "now", "time", "Data from before that is too old.")),
        "any",
    ),
    FunctionSpec(
        "cacheset",
        "Attach data and note the time.",
        _cache_set,
        (_DATA_NAME, _DATA_VALUE),
        changes_state=True,
    ),
    FunctionSpec("get", "The data of a name, or null.", _get_data, (_DATA_NAME,), "any"),
    FunctionSpec("has", "Whether there is data of a name.", _has_data, (_DATA_NAME,), "bool"),
    FunctionSpec("list", "Names and data.", _list_data, (), "list of pairs"),
    FunctionSpec("load", "Have data ready that will be asked for.", _load_data, (_DATA_NAME,)),
    FunctionSpec(
        "pop",
        "Remove the data of a name and give it back.",
        _pop_data,
        (_DATA_NAME,),
        "any",
        changes_state=True,
    ),
    FunctionSpec(
        "set", "Attach data under a name.", _set_data, (_DATA_NAME, _DATA_VALUE), changes_state=True
    ),
)

TYPES: Final = (
    TypeSpec(
        "node",
        Node,
        "A node.",
        NODE_METHODS,
        (
            AttributeSpec("props", "Its properties.", lambda c, s: NodeProps(s), "node:props"),
            AttributeSpec("data", "The data attached to it.", lambda c, s: NodeData(s), "node:data"),
        ),
    ),
    TypeSpec(
        "node:props",
        NodeProps,
        "The properties of a node.",
        PROPS_METHODS,
        get_item=_get_prop,
        set_item=_set_prop_item,
        iterate=lambda c, s: iter(_prop_items(c, s)),
    ),
    TypeSpec("node:data", NodeData, "The data attached to a node.", DATA_METHODS),
)
