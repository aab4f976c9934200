"""Nodes as plain values, as exports write them and feeds take them: `((form, value), facts)`.

The facts are props, tags (with intervals or pairs of null), tagprops, nodedata and edges (verb and the iden of the node,
or its form and value).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgpack
from cellmesh.common.errors import AuthDeny, BadArg, CellError, IsReadOnly, StormRuntimeError
from cellmesh.cortex.storm.runtime.valuing import plain_value

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node
    from cellmesh.cortex.views.session import GraphSession

FEED: Final = "syn.nodes"
"""The one kind of feed: packed nodes."""

ITEM_SIZE_MAX: Final = 1 << 28
"""Bytes of one packed node in a stream."""

PENDING_EDGE_COUNT_MAX: Final = 1_000_000
"""Edges to nodes that have not come yet which are remembered until the end of a feed."""

_PAIR: Final = 2


def confirm_feeding(context: RunContext) -> None:
    """Check that the user may feed packed nodes; raises AuthDeny."""
    context.check_writable()
    context.confirm(("feed:data", *FEED.split(".")))


def unpacked(parts: Iterable[bytes], what: str) -> Iterator[Any]:
    """Yield the msgpack values of a stream.

    Raises:
        StormRuntimeError: it is no msgpack, or ends within a value.
    """
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, use_list=True, max_buffer_size=ITEM_SIZE_MAX)
    size = 0
    try:
        for part in parts:
            unpacker.feed(part)
            size += len(part)
            yield from unpacker
        if unpacker.tell() != size:
            raise StormRuntimeError(f"{what} ends within a value")
    except (ValueError, msgpack.exceptions.UnpackException, msgpack.exceptions.BufferFull) as error:
        raise StormRuntimeError(f"{what} is no msgpack: {error}") from error


def export_node(session: GraphSession, node: Node, known: set[bytes]) -> tuple[Any, dict[str, Any]]:
    """Return a node as exports write it, with its edges to the nodes in `known` (by their binary idens)."""
    facts: dict[str, Any] = {
        "iden": node.iden,
        "props": {name: plain_value(value) for name, value in node.props.items()},
        "tags": {name: interval or (None, None) for name, interval in node.tags.items()},
        "tagprops": {
            tag: {name: plain_value(value) for name, value in props.items()}
            for tag, props in node.tag_props.items()
        },
        "nodedata": {name: plain_value(value) for name, value in session.list_data(node)},
    }
    edges = [(verb, other.iden) for _, verb, other in session.edges_out((node,)) if other.buid in known]
    if edges:
        facts["edges"] = edges
    return ((node.form.name, plain_value(node.value)), facts)


class Feeder:
    """Adds packed nodes one by one, with the rights of the query's user; what cannot be is told by warnings."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._pending: list[tuple[Node, str, str]] = []

    def add_all(self, items: Iterable[Any]) -> Iterator[Node]:
        """Yield the nodes that come of packed ones. Edges to nodes that come later are made at the end."""
        for item in items:
            self._context.tick()
            node = self._add(item)
            if node is not None:
                yield node
        for node, verb, iden in self._pending:
            other = self._context.session.node_by_iden(iden)
            if other is not None:
                self._try(lambda node=node, verb=verb, other=other: self._edge(node, verb, other), verb)

    def _add(self, item: Any) -> Node | None:
        try:
            (name, value), facts = item
            if not isinstance(name, str) or not isinstance(facts, Mapping):
                raise TypeError
        except (TypeError, ValueError):
            self._context.warn("this is no packed node: a pair of form and value, and a dictionary")
            return None
        session = self._context.session
        form = self._context.model.form(name)
        if form is None:
            self._context.warn(f"the model has no form {name}", name=name)
            return None
        made: list[Node] = []
        self._try(lambda: made.append(session.add_node(form, value)), name)
        if not made:
            return None
        node = made[0]
        for prop, given in _items(facts, "props"):
            # When it was made is the cell's to say.
            if prop != ".created":
                self._try(lambda prop=prop, given=given: session.set_prop(node, prop, given), prop)
        for tag, interval in _items(facts, "tags"):
            times = None if interval is None or tuple(interval) == (None, None) else interval
            self._try(lambda tag=tag, times=times: session.add_tag(node, tag, times), tag)
        for tag, props in _items(facts, "tagprops"):
            for prop, given in dict(props).items():
                self._try(
                    lambda tag=tag, prop=prop, given=given: session.set_tag_prop(node, tag, prop, given), prop
                )
        for key, given in _items(facts, "nodedata"):
            self._try(lambda key=key, given=given: session.set_data(node, key, given), key)
        for edge in facts.get("edges") or ():
            self._try(lambda edge=edge: self._link(node, edge), "edges")
        return node

    def _link(self, node: Node, edge: Any) -> None:
        try:
            verb, target = edge
        except (TypeError, ValueError):
            raise BadArg("an edge is a verb and a node", name="edges") from None
        session = self._context.session
        if isinstance(target, str):
            other = session.node_by_iden(target)
            if other is None:
                if len(self._pending) < PENDING_EDGE_COUNT_MAX:
                    self._pending.append((node, verb, target))
                return
        else:
            if not isinstance(target, (list, tuple)) or len(target) != _PAIR:
                raise BadArg("an edge's node is an iden, or form and value", name="edges")
            other = session.add_node(self._context.model.require_form(target[0]), target[1])
        self._edge(node, verb, other)

    def _edge(self, node: Node, verb: str, other: Node) -> None:
        self._context.session.add_edge(node, verb, other)

    def _try(self, act: Any, name: str) -> None:
        """Do one part; only what it may not do ends the query."""
        try:
            act()
        except (AuthDeny, IsReadOnly):
            raise
        except CellError as error:
            self._context.warn(f"{name}: {error}", name=name)


def _items(facts: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    found = facts.get(name) or {}
    return list(found.items()) if isinstance(found, Mapping) else []


__all__ = ["Feeder", "export_node"]
