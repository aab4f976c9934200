"""View: an ordered stack of layers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers.layer import Layer
from cellmesh.cortex.layers.schema import GRAPH
from cellmesh.cortex.values.ids import LayerId, ViewId

_VIEW: Final = b"v"
_DEFAULT_KEY: Final = b"d"


@dataclass(frozen=True, slots=True)
class View:
    """A view.

    Attributes:
        id: 32 hexadecimal digits.
        layers: From the top, which is written to, down.
        name: What people call it.
        parent: The view it was forked from, if any.
    """

    id: ViewId
    layers: tuple[Layer, ...]
    name: str = ""
    parent: ViewId | None = None


def load_views(txn: ReadTxn, layers: dict[LayerId, Layer]) -> dict[ViewId, View]:
    """Return every view of the cell."""
    views: dict[ViewId, View] = {}
    position = None
    while True:
        chunk = txn.scan(GRAPH, _VIEW, b"w", count_max=1000, after=position)
        for key, value in chunk.items:
            row = json.loads(value)
            view_id = ViewId(key[1:].decode())
            try:
                stack = tuple(layers[LayerId(layer)] for layer in row["layers"])
            except KeyError as error:
                raise StorageCorrupt("a view has a layer that is not there", view=view_id) from error
            views[view_id] = View(view_id, stack, row["name"], row["parent"])
        if chunk.resume is None:
            return views
        position = chunk.resume


def store_view(txn: WriteTxn, view: View) -> None:
    """Store a new or changed view."""
    row = {"layers": [layer.id for layer in view.layers], "name": view.name, "parent": view.parent}
    txn.put(GRAPH, _VIEW + view.id.encode(), json.dumps(row).encode())


def remove_view_row(txn: WriteTxn, view_id: ViewId) -> None:
    """Forget a view."""
    txn.delete(GRAPH, _VIEW + view_id.encode())


def load_default(txn: ReadTxn) -> ViewId | None:
    """Return which view is the default one."""
    found = txn.get(GRAPH, _DEFAULT_KEY)
    return None if found is None else ViewId(found.decode())


def store_default(txn: WriteTxn, view_id: ViewId) -> None:
    """Make a view the default one."""
    txn.put(GRAPH, _DEFAULT_KEY, view_id.encode())
