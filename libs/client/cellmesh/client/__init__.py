"""Calls to cells, by URL. Needs no storage and no server.

    import cellmesh.client

    with cellmesh.client.open("aha://cortex") as cortex:
        for node in cortex.storm("inet:fqdn | limit 5"): ...
        stub = cortex.stub(StormServiceStub)

    urls       CellUrl: grpc://, grpcs://, unix://, aha://, cell://
    aliases    names for URLs, kept in a file
    resolve    from a URL to an address
    login      Login: user and password, or an API key
    methods    which RPCs may be made again, as their protos declare it
    retry      RetryPolicy: how often and how soon
    instances  the instances of a service, and which of them a call goes to
    core       ClientCore, Attempts: what both faces share, and what follows a failure
    failures   what a failed call means, in our errors, and what to do about it
    inprocess  a cell inside this process
    blocking   open, open_cell: the synchronous face
    aio        aio.open, open_cell_aio: the asyncio face
    watching   how both follow AHA's registry
    storm      queries of a Cortex: nodes, frames, graphs
    lane, lane_blocking, lane_aio
               one stream to each cell, on which Storm queries travel
    pipelining, pipeline_blocking, pipeline_aio
               many small calls on one stream
    stream_aio the stream of both in an event loop, and why it ended

Errors come back as the class the server raised. A cell that cannot be reached is CellUnreachable.
`docs/client.md` has examples.
"""

from __future__ import annotations

from cellmesh.client.aio import AioCellClient, open_cell_aio
from cellmesh.client.blocking import CellClient, open_cell
from cellmesh.client.instances import Prefer
from cellmesh.client.retry import NO_RETRY, RetryPolicy
from cellmesh.client.urls import CellUrl, Scheme

open = open_cell
"""`cellmesh.client.open(url)`; the longer name is for imports, where this one would hide Python's own."""

__all__ = [
    "NO_RETRY",
    "AioCellClient",
    "CellClient",
    "CellUrl",
    "Prefer",
    "RetryPolicy",
    "Scheme",
    "open_cell",
    "open_cell_aio",
]
