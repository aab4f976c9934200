"""Layer: one durable set of edits. The layers of a cell are rows of the `graph` database."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers.keys import pack_number
from cellmesh.cortex.layers.schema import GRAPH
from cellmesh.cortex.values.ids import LayerId

_LAYER: Final = b"l"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer.

    Attributes:
        id: 32 hexadecimal digits, the same in every mirror of the cell.
        number: Its number in index keys.
        name: What people call it.
    """

    id: LayerId
    number: int
    name: str = ""

    @property
    def key(self) -> bytes:
        """What its keys begin with."""
        return pack_number(self.number)


def load_layers(txn: ReadTxn) -> dict[LayerId, Layer]:
    """Return every layer of the cell."""
    layers: dict[LayerId, Layer] = {}
    position = None
    while True:
        chunk = txn.scan(GRAPH, _LAYER, b"m", count_max=1000, after=position)
        for key, value in chunk.items:
            layer_id = LayerId(key[1:].decode())
            row = json.loads(value)
            layers[layer_id] = Layer(layer_id, row["number"], row["name"])
        if chunk.resume is None:
            return layers
        position = chunk.resume


def store_layer(txn: WriteTxn, layer: Layer) -> None:
    """Store a new or renamed layer."""
    txn.put(
        GRAPH, _LAYER + layer.id.encode(), json.dumps({"number": layer.number, "name": layer.name}).encode()
    )


def remove_layer_row(txn: WriteTxn, layer_id: LayerId) -> None:
    """Forget a layer, of which nothing is left."""
    txn.delete(GRAPH, _LAYER + layer_id.encode())
