"""Stack: reads through the layers of a view.

Each layer is asked for its record of a node; what a layer above says, or masks, hides what those below say.
With one layer, the usual case, a stored record is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cellmesh.common.storage import ReadTxn
from cellmesh.cortex.layers import keys, reader
from cellmesh.cortex.layers.layer import Layer
from cellmesh.cortex.layers.records import NODE_START, Record, parse_record
from cellmesh.cortex.layers.schema import NODE_DATA, NODES


@dataclass(frozen=True, slots=True)
class Held:
    """What an index entry says a node holds; used to tell whether a layer above says otherwise.

    Attributes:
        kind: "form", "prop", "tag" or "tagprop".
        name: The property's or tag's name.
        sub_name: The tag property's name.
    """

    kind: str
    name: str = ""
    sub_name: str = ""

    def is_in(self, record: Record) -> bool:
        """Whether a record holds it."""
        match self.kind:
            case "prop":
                return self.name in record.props
            case "tag":
                return self.name in record.tags
            case "tagprop":
                return self.sub_name in record.tag_props.get(self.name, ())
            case _:
                return record.is_added

    def is_masked_by(self, record: Record) -> bool:
        """Whether a record hides it below."""
        match self.kind:
            case "prop":
                return self.name in record.prop_masks
            case "tag":
                return self.name in record.tag_masks
            case "tagprop":
                return (self.name, self.sub_name) in record.tag_prop_masks
            case _:
                return False


FORM = Held("form")


def merge(records: Sequence[Record | None]) -> Record | None:
    """Merge what layers say of a node, from the top down; None if no layer that is seen has made it."""
    merged: Record | None = None
    for record in records:
        if record is None:
            continue
        if merged is None:
            merged = Record(record.head)
        for name, value in record.props.items():
            if name not in merged.props and name not in merged.prop_masks:
                merged.props[name] = value
        for name, value in record.tags.items():
            if name not in merged.tags and name not in merged.tag_masks:
                merged.tags[name] = value
        for tag, props in record.tag_props.items():
            for name, value in props.items():
                known = merged.tag_props.get(tag, {})
                if name not in known and (tag, name) not in merged.tag_prop_masks:
                    merged.tag_props.setdefault(tag, known)[name] = value
        merged.prop_masks |= record.prop_masks
        merged.tag_masks |= record.tag_masks
        merged.tag_prop_masks |= record.tag_prop_masks
        merged.is_added = merged.is_added or record.is_added
        if record.is_mask:
            break
    return merged if merged is not None and merged.is_added else None


class Stack:
    """The layers of a view, as one thing to read."""

    __slots__ = ("is_single", "layers", "top")

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layer.key for layer in layers)
        self.top = self.layers[0]
        self.is_single = len(self.layers) == 1

    def nodes(self, txn: ReadTxn, nids: Sequence[bytes]) -> list[bytes | None]:
        """Return the Node of each nid as serialized, or None where the view has no such node."""
        found = reader.records(txn, self.top, nids)
        if self.is_single:
            return [
                stored if stored is None or stored[0] == NODE_START else _single(stored) for stored in found
            ]
        columns = [found, *(reader.records(txn, layer, nids) for layer in self.layers[1:])]
        return [_merged(column) for column in zip(*columns)]

    def node(self, txn: ReadTxn, nid: bytes) -> bytes | None:
        """Return one Node as serialized, or None."""
        return self.nodes(txn, (nid,))[0]

    def parsed(self, txn: ReadTxn, nid: bytes) -> tuple[Record | None, Record | None]:
        """Return what the top layer says of a node, and what is seen of it without the top layer."""
        stored = txn.get(NODES, self.top + nid)
        top = None if stored is None else parse_record(stored)
        if self.is_single:
            return top, None
        below = [reader.records(txn, layer, (nid,))[0] for layer in self.layers[1:]]
        return top, merge([None if stored is None else parse_record(stored) for stored in below])

    def is_seen(self, txn: ReadTxn, nid: bytes, held: Held, depth: int) -> bool:
        """Whether what the layer at a depth holds is what the view shows."""
        parsed: list[Record | None] = []
        for layer in self.layers:
            stored = reader.records(txn, layer, (nid,))[0]
            parsed.append(None if stored is None else parse_record(stored))
        for above in parsed[:depth]:
            if above is not None and (above.is_mask or held.is_in(above) or held.is_masked_by(above)):
                return False
        return merge(parsed) is not None

    def edges(self, txn: ReadTxn, nid: bytes) -> list[bytes]:
        """Return the outward edges of a node, each as verb(4) n2(8), sorted."""
        if self.is_single:
            return reader.edges(txn, self.top, nid)
        seen: set[bytes] = set()
        masked: set[bytes] = set()
        for layer in self.layers:
            seen.update(edge for edge in reader.edges(txn, layer, nid) if edge not in masked)
            masked.update(reader.edge_masks(txn, layer, nid))
            stored = reader.records(txn, layer, (nid,))[0]
            if stored is not None and parse_record(stored).is_mask:
                break
        return sorted(seen)

    def edges_in(self, txn: ReadTxn, nid: bytes) -> list[bytes]:
        """Return the inward edges of a node, each as verb(4) n1(8), sorted."""
        if self.is_single:
            return reader.edges(txn, self.top, nid, inward=True)
        found: set[bytes] = set()
        for layer in self.layers:
            found.update(reader.edges(txn, layer, nid, inward=True))
        return sorted(edge for edge in found if self.has_edge(txn, edge[4:], edge[:4] + nid))

    def has_edge(self, txn: ReadTxn, nid: bytes, edge: bytes) -> bool:
        """Whether a node has an outward edge, given as verb(4) n2(8)."""
        from cellmesh.cortex.layers.schema import EDGE_MASKS, EDGES_OUT

        if self.is_single:
            return txn.has(EDGES_OUT, self.top + nid, edge)
        for layer in self.layers:
            if txn.has(EDGES_OUT, layer + nid, edge):
                return True
            if txn.has(EDGE_MASKS, layer + nid, edge):
                return False
            stored = reader.records(txn, layer, (nid,))[0]
            if stored is not None and parse_record(stored).is_mask:
                return False
        return False

    def data(self, txn: ReadTxn, nid: bytes, name_number: int) -> bytes | None:
        """Return a piece of a node's data as a serialized Value, or None."""
        name = keys.pack_number(name_number)
        for layer in self.layers:
            found = txn.get(NODE_DATA, layer + nid + name)
            if found is not None:
                return found or None
            if self.is_single:
                return None
            stored = reader.records(txn, layer, (nid,))[0]
            if stored is not None and parse_record(stored).is_mask:
                return None
        return None

    def data_names(self, txn: ReadTxn, nid: bytes) -> Iterator[int]:
        """Yield the numbers of the names of a node's data, each once. To be used up in the transaction."""
        decided: set[int] = set()
        for layer in self.layers:
            position = None
            while True:
                names, position = reader.data_names(txn, layer, nid, count_max=1000, after=position)
                for number, is_there in names:
                    if number not in decided:
                        decided.add(number)
                        if is_there:
                            yield number
                if position is None:
                    break
            if not self.is_single:
                stored = reader.records(txn, layer, (nid,))[0]
                if stored is not None and parse_record(stored).is_mask:
                    return


def _single(stored: bytes) -> bytes | None:
    record = parse_record(stored)
    return record.node_bytes() if record.is_added else None


def _merged(column: Sequence[bytes | None]) -> bytes | None:
    present = [stored for stored in column if stored is not None]
    if not present:
        return None
    if len(present) == 1:
        return present[0] if present[0][0] == NODE_START else _single(present[0])
    merged = merge([parse_record(stored) for stored in present])
    return None if merged is None else merged.node_bytes()
