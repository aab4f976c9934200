"""Graph projections: rules by which the `graph` command grows a picture of the graph, kept under an iden."""

from __future__ import annotations

from cellmesh.cortex.stores.changes import Changes
from cellmesh.cortex.stores.named import NamedValues
from cellmesh.cortex.stores.schema import GRAPH_PROJECTIONS


class GraphProjections(NamedValues):
    """The graph projections of a cell."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(GRAPH_PROJECTIONS, changes, "graph projection")
