"""Layer: one durable set of edits. The layers of a cell are rows of the `graph` database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.common.storage.walking import walk
from cellmesh.cortex.layers.keys import end_of, pack_number
from cellmesh.cortex.layers.schema import GRAPH
from cellmesh.cortex.values.ids import LayerId

LAYER: Final = b"l"
DETACHED: Final = b"x"
"""A layer that nobody sees any more, while what is in it is being deleted."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer.

    Attributes:
        id: 32 hexadecimal digits, the same in every mirror of the cell.
        number: Its number in index keys.
        name: What people call it.
        facts: What else is known of it, as JSON has it: "readonly", "creator", "created", "pushs" and others.
    """

    id: LayerId
    number: int
    name: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> bytes:
        """What its keys begin with."""
        return pack_number(self.number)

    @property
    def is_readonly(self) -> bool:
        """Whether it takes no edits."""
        return bool(self.facts.get("readonly"))


def load_layers(txn: ReadTxn, kind: bytes = LAYER) -> dict[LayerId, Layer]:
    """Return every layer of the cell, or those that are detached."""
    layers: dict[LayerId, Layer] = {}
    for key, value in walk(txn, GRAPH, kind, end_of(kind)):
        layer_id = LayerId(key[1:].decode())
        layers[layer_id] = _layer(layer_id, value)
    return layers


def find_layer(txn: ReadTxn, layer_id: str, kind: bytes = LAYER) -> Layer | None:
    """Return a layer, or one that is detached; None if there is none."""
    found = txn.get(GRAPH, kind + layer_id.encode())
    return None if found is None else _layer(LayerId(layer_id), found)


def has_layer(txn: ReadTxn, layer_id: str) -> bool:
    """Whether there is a layer, not detached."""
    return txn.get(GRAPH, LAYER + layer_id.encode()) is not None


def free_number(txn: ReadTxn) -> int:
    """Return the number for a new layer: above those of all that have rows."""
    kinds = (load_layers(txn), load_layers(txn, DETACHED))
    return max((layer.number for layers in kinds for layer in layers.values()), default=0) + 1


def store_layer(txn: WriteTxn, layer: Layer, kind: bytes = LAYER) -> None:
    """Store a new or changed layer."""
    row: dict[str, Any] = {"number": layer.number, "name": layer.name}
    if layer.facts:
        row["facts"] = layer.facts
    txn.put(GRAPH, kind + layer.id.encode(), json.dumps(row).encode())


def remove_layer_row(txn: WriteTxn, layer_id: str, kind: bytes = LAYER) -> bool:
    """Remove the row of a layer; whether it was there."""
    return txn.delete(GRAPH, kind + layer_id.encode())


def _layer(layer_id: LayerId, data: bytes) -> Layer:
    row = json.loads(data)
    return Layer(layer_id, row["number"], row["name"], row.get("facts") or {})
