"""Calls to cells, by URL. Needs no storage and no server.

    with open_cell("aha://cortex") as cell:
        stub = cell.stub(StormServiceStub)
        for message in stub.Storm(request): ...

    urls      CellUrl: grpc://, grpcs://, unix://, aha://
    resolve   from a URL to an address, asking AHA where needed
    login     Login: user and password, or an API key
    failures  what a failed call means, in our errors, and what to do about it
    blocking  open_cell: the synchronous face
    aio       open_cell_aio: the asyncio face

Errors come back as the class the server raised. A cell that cannot be reached is CellUnreachable.
"""

from __future__ import annotations

from cellmesh.client.aio import AioCellClient, open_cell_aio
from cellmesh.client.blocking import CellClient, open_cell
from cellmesh.client.urls import CellUrl, Scheme

__all__ = ["AioCellClient", "CellClient", "CellUrl", "Scheme", "open_cell", "open_cell_aio"]
