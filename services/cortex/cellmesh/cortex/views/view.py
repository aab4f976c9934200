"""View: an ordered stack of layers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.common.storage.walking import walk
from cellmesh.cortex.layers.keys import end_of
from cellmesh.cortex.layers.layer import Layer
from cellmesh.cortex.layers.schema import GRAPH
from cellmesh.cortex.values.ids import LayerId, ViewId

VIEW: Final = b"v"
DEFAULT_KEY: Final = b"d"


@dataclass(frozen=True, slots=True)
class View:
    """A view.

    Attributes:
        id: 32 hexadecimal digits.
        layers: From the top, which is written to, down.
        name: What people call it.
        parent: The view it was forked from, if any.
        facts: What else is known of it, as JSON has it: "creator", "created", "nomerge", "quorum" and others.
    """

    id: ViewId
    layers: tuple[Layer, ...]
    name: str = ""
    parent: ViewId | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)


def load_views(txn: ReadTxn, layers: Mapping[LayerId, Layer]) -> dict[ViewId, View]:
    """Return every view of the cell."""
    views: dict[ViewId, View] = {}
    for key, value in walk(txn, GRAPH, VIEW, end_of(VIEW)):
        view_id = ViewId(key[1:].decode())
        views[view_id] = _view(view_id, value, layers)
    return views


def find_view(txn: ReadTxn, view_id: str, layers: Mapping[LayerId, Layer]) -> View | None:
    """Return a view, or None if there is none."""
    found = txn.get(GRAPH, VIEW + view_id.encode())
    return None if found is None else _view(ViewId(view_id), found, layers)


def store_view(
    txn: WriteTxn,
    view_id: str,
    layer_ids: Sequence[str],
    name: str = "",
    parent: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Store a new or changed view."""
    row: dict[str, Any] = {"layers": list(layer_ids), "name": name, "parent": parent}
    if facts:
        row["facts"] = facts
    txn.put(GRAPH, VIEW + view_id.encode(), json.dumps(row).encode())


def find_view_row(txn: ReadTxn, view_id: str) -> dict[str, Any] | None:
    """Return a view as it is stored, or None if there is none."""
    found = txn.get(GRAPH, VIEW + view_id.encode())
    row: dict[str, Any] | None = None if found is None else json.loads(found)
    return row


def stored_facts(txn: ReadTxn, view_id: str) -> Mapping[str, Any]:
    """Return what else is known of a view; nothing if there is none."""
    row = find_view_row(txn, view_id) or {}
    facts: Mapping[str, Any] = row.get("facts") or {}
    return facts


def remove_view_row(txn: WriteTxn, view_id: str) -> bool:
    """Forget a view; whether it was there."""
    return txn.delete(GRAPH, VIEW + view_id.encode())


def load_default(txn: ReadTxn) -> ViewId | None:
    """Return which view is the default one."""
    found = txn.get(GRAPH, DEFAULT_KEY)
    return None if found is None else ViewId(found.decode())


def store_default(txn: WriteTxn, view_id: str) -> None:
    """Make a view the default one."""
    txn.put(GRAPH, DEFAULT_KEY, view_id.encode())


def _view(view_id: ViewId, data: bytes, layers: Mapping[LayerId, Layer]) -> View:
    row = json.loads(data)
    try:
        stack = tuple(layers[LayerId(layer)] for layer in row["layers"])
    except KeyError as error:
        raise StorageCorrupt("a view has a layer that is not there", view=view_id) from error
    return View(view_id, stack, row["name"], row["parent"], row.get("facts") or {})
