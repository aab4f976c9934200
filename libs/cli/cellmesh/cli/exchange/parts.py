"""The parts of a node that is fed: what a refusal is about is left out, so that one bad value costs no node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.common.errors import CellError
from cellmesh.common.values import from_value

TEXT_SIZE_MAX: Final = 200
"""Characters of a value in the name of a part."""


def leave_out(node: feed_pb2.FeedNode, error: CellError) -> str:
    """Remove the part of a node that an error is about; returns its name, or an empty text if there is none."""
    name, prop = error.get("name"), error.get("prop")
    form = error.get("form")
    if form in (None, node.form):
        for key in _names(node, name, prop):
            if key in node.props:
                del node.props[key]
                return _prop_name(key)
    for tag, given in node.tag_props.items():
        if isinstance(name, str) and name in given.props:
            del given.props[name]
            if not given.props:
                del node.tag_props[tag]
            return f"#{tag}:{name}"
    value = error.get("valu")
    bad = [
        edge
        for edge in node.edges
        if edge.to.form in (form, name) and (value is None or from_value(edge.to.value) == value)
    ]
    if not bad:
        return ""
    kept = [edge for edge in node.edges if edge not in bad]
    del node.edges[:]
    node.edges.extend(kept)
    return _edge_name(bad[0])


def parts_of(node: feed_pb2.FeedNode) -> tuple[tuple[feed_pb2.FeedNode, str], ...]:
    """Return all parts of a node, each as a node with that alone, and its name.

    None if it is not known by its value, or has no parts.
    """
    if node.value.WhichOneof("kind") is None:
        return ()
    found: list[tuple[feed_pb2.FeedNode, str]] = []

    def one(name: str) -> feed_pb2.FeedNode:
        found.append((feed_pb2.FeedNode(form=node.form, value=node.value), name))
        return found[-1][0]

    for key, value in node.props.items():
        one(_prop_name(key)).props[key].CopyFrom(value)
    for tag, interval in node.tags.items():
        one(f"#{tag}").tags[tag].CopyFrom(interval)
    for tag, given in node.tag_props.items():
        for key, value in given.props.items():
            one(f"#{tag}:{key}").tag_props[tag].props[key].CopyFrom(value)
    for edge in node.edges:
        one(_edge_name(edge)).edges.append(edge)
    for key, value in node.node_data.items():
        one(f"node data {key}").node_data[key].CopyFrom(value)
    return tuple(found)


def _names(node: feed_pb2.FeedNode, name: object, prop: object) -> Sequence[str]:
    found = [prop] if isinstance(prop, str) else []
    if isinstance(name, str) and name.startswith(f"{node.form}:"):
        found.append(name.removeprefix(f"{node.form}:"))
    if isinstance(name, str) and name.startswith(f"{node.form}."):
        found.append(name.removeprefix(node.form))
    return found


def _prop_name(name: str) -> str:
    return name if name.startswith(".") else f":{name}"


def _edge_name(edge: feed_pb2.FeedEdge) -> str:
    text = str(from_value(edge.to.value))
    text = text if len(text) <= TEXT_SIZE_MAX else text[:TEXT_SIZE_MAX] + "…"
    mark = f"<({edge.verb})-" if edge.reverse else f"-({edge.verb})>"
    return f"the edge {mark} {edge.to.form}={text}"
