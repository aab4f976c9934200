"""Edits as they leave a Cortex: nodes by form and value, edges by the buid of their other end, as nids are numbers of one Cortex.

On the wire they are cellmesh.api.cortex.v1.NodeEdits without nids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cellmesh.api.cortex.v1 import node_edit_pb2
from cellmesh.common.errors import BadArg, BadDataValu, CellError, StorageCorrupt
from cellmesh.cortex.values.changes import encode_edit, read_edit
from cellmesh.cortex.values.edits import EdgeAdd, EdgeDelete, NodeEdit
from cellmesh.cortex.values.wire import decode_value, encode_value, field

BUID_SIZE = 32


@dataclass(frozen=True, slots=True)
class SharedEdge:
    """An edge is made or removed.

    Attributes:
        verb: What it says.
        buid: The node it points to.
        form: That node's form; empty if no layer held the node any more where the edit comes from.
        value: That node's value.
        is_add: Whether the edge is made.
    """

    verb: str
    buid: bytes
    form: str = ""
    value: object = None
    is_add: bool = True


SharedEdit: TypeAlias = NodeEdit | SharedEdge


@dataclass(frozen=True, slots=True)
class SharedNode:
    """The edits of one node, in order. Edges are SharedEdge, never EdgeAdd or EdgeDelete."""

    form: str
    value: object
    edits: tuple[SharedEdit, ...]


def encode_shared(node: SharedNode) -> bytes:
    """Serialize the edits of a node, as NodeEdits."""
    parts = [field(0x12, node.form.encode()), field(0x1A, encode_value(node.value))]
    for edit in node.edits:
        parts.append(field(0x22, _encode_edge(edit) if isinstance(edit, SharedEdge) else encode_edit(edit)))
    return b"".join(parts)


def _encode_edge(edge: SharedEdge) -> bytes:
    key = field(0x0A, edge.buid)
    if edge.form:
        key += field(0x12, edge.form.encode()) + field(0x1A, encode_value(edge.value))
    return field(0x4A if edge.is_add else 0x52, field(0x0A, edge.verb.encode()) + field(0x1A, key))


def shared_nodes(messages: Sequence[node_edit_pb2.NodeEdits]) -> list[SharedNode]:
    """Make domain values of messages that come from another Cortex.

    Raises:
        BadArg, BadDataValu: one is not complete, or has a value that is none; `node` is which, from 0.
    """
    made: list[SharedNode] = []
    for index, message in enumerate(messages):
        try:
            made.append(shared_from_proto(message))
        except CellError as error:
            error.setdefault("node", index)
            raise
    return made


def shared_from_proto(message: node_edit_pb2.NodeEdits) -> SharedNode:
    """Make domain values of a message that comes from another Cortex.

    Raises:
        BadArg: it is not complete.
        BadDataValu: a value of it is none.
    """
    if not message.form or not message.HasField("value"):
        raise BadArg("edits of a node need its form and value", name="nodes")
    try:
        return SharedNode(
            message.form,
            decode_value(message.value.SerializeToString(deterministic=True)),
            tuple(_edit_from_proto(edit) for edit in message.edits),
        )
    except StorageCorrupt as error:
        raise BadArg(f"the edits of a node of {message.form} do not read: {error}", name="nodes") from error
    except BadDataValu as error:
        error.setdefault("form", message.form)
        raise


def _edit_from_proto(edit: node_edit_pb2.NodeEdit) -> SharedEdit:
    kind = edit.WhichOneof("edit")
    if kind not in ("edge_add", "edge_delete"):
        found = read_edit(edit)
        assert not isinstance(found, EdgeAdd | EdgeDelete), "edges are of other kinds"
        return found
    edge = edit.edge_add if kind == "edge_add" else edit.edge_delete
    if len(edge.to.buid) != BUID_SIZE or not edge.verb:
        raise BadArg("an edge needs a verb, and the buid of the node it points to", name="nodes")
    value = decode_value(edge.to.value.SerializeToString(deterministic=True)) if edge.to.form else None
    return SharedEdge(edge.verb, edge.to.buid, edge.to.form, value, kind == "edge_add")
