"""Storm from Python: queries, and what they answer as nodes, tables and graphs.

    node      StormNode: one node, typed
    request   from keyword arguments to StormOptions, and from messages to what they tell
    rows      Rows: the nodes of a query that has run, with what it printed
    query     StormQuery: the synchronous face; `client.storm(text)` makes it
    aio       AioStormQuery: the asyncio face
    frame     Frame: the nodes as columns, for polars, pandas and whatever reads Arrow
    frame_pandas
              columns as series of pandas
    arrow     columns handed over by Arrow's C interface, without a copy
    graph     Graph: nodes and what joins them, drawn for notebooks
    html      what notebooks show

`docs/client.md` has examples.
"""

from __future__ import annotations

from cellmesh.client.storm.aio import AioStormQuery
from cellmesh.client.storm.frame import Frame
from cellmesh.client.storm.graph import Graph, GraphEdge
from cellmesh.client.storm.node import StormNode
from cellmesh.client.storm.query import StormQuery
from cellmesh.client.storm.rows import Rows

__all__ = ["AioStormQuery", "Frame", "Graph", "GraphEdge", "Rows", "StormNode", "StormQuery"]
