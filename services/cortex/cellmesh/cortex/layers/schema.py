"""Every database of the graph. Keys are built in `keys.py`; numbers are big-endian, so that they sort.

All layers share the databases, each key beginning with the layer's number: a fork costs one row.
"""

from __future__ import annotations

from typing import Final

from cellmesh.common.storage import SubDb
from cellmesh.cortex.values.ids import NID_SIZE

NAMES: Final = SubDb("names", "kind(1) name -> number(4)")
NAMES_BY_NUMBER: Final = SubDb("names_by_number", "kind(1) number(4) -> name")
GRAPH: Final = SubDb("graph", "kind(1) id -> JSON: the layers and views, and which is the default")
NIDS: Final = SubDb("nids", "buid(32) -> nid(8), for all layers")
SEQUENCES: Final = SubDb("nid_sequence", '"next" -> next nid sequence(8)')
NODES: Final = SubDb("nodes", "layer(4) nid(8) -> record, see records.py")
BY_PROP: Final = SubDb(
    "by_prop", "layer(4) property(4) encoded value -> nids having it", dupsort=True, dupfixed=NID_SIZE
)
BY_ARRAY: Final = SubDb(
    "by_array", "layer(4) property(4) encoded element -> nids having it", dupsort=True, dupfixed=NID_SIZE
)
BY_TAG: Final = SubDb("by_tag", "layer(4) tag(4) form(2) -> nids having it", dupsort=True, dupfixed=NID_SIZE)
BY_TAG_PROP: Final = SubDb(
    "by_tag_prop",
    "layer(4) tag(4) property(4) encoded value -> nids having it",
    dupsort=True,
    dupfixed=NID_SIZE,
)
EDGES_OUT: Final = SubDb("edges_out", "layer(4) n1(8) -> verb(4) n2(8)", dupsort=True, dupfixed=4 + NID_SIZE)
EDGES_IN: Final = SubDb("edges_in", "layer(4) n2(8) -> verb(4) n1(8)", dupsort=True, dupfixed=4 + NID_SIZE)
BY_VERB: Final = SubDb("by_verb", "layer(4) verb(4) -> n1(8) n2(8)", dupsort=True, dupfixed=2 * NID_SIZE)
EDGE_MASKS: Final = SubDb(
    "edge_masks",
    "layer(4) n1(8) -> verb(4) n2(8) of edges below that are deleted",
    dupsort=True,
    dupfixed=4 + NID_SIZE,
)
NODE_DATA: Final = SubDb("node_data", "layer(4) nid(8) name(4) -> Value, or nothing: deleted below")
COUNTS: Final = SubDb("counts", "layer(4) property(4) form(2) -> how many nodes have it(8)")

DATABASES: Final = (
    NAMES,
    NAMES_BY_NUMBER,
    GRAPH,
    NIDS,
    SEQUENCES,
    NODES,
    BY_PROP,
    BY_ARRAY,
    BY_TAG,
    BY_TAG_PROP,
    EDGES_OUT,
    EDGES_IN,
    BY_VERB,
    EDGE_MASKS,
    NODE_DATA,
    COUNTS,
)
"""What the cell's slab is opened with, next to the change log's own."""
