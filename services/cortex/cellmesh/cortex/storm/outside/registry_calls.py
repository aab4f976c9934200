"""What queries ask AHA about services and their instances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import NeedConfValu, NoSuchName
from cellmesh.cortex.storm.outside.remote_calls import call

if TYPE_CHECKING:
    from cellmesh.client import CellClient
    from cellmesh.cortex.storm.runtime.context import RunContext

PAGE_SIZE: Final = 500


def registry(context: RunContext) -> CellClient:
    """Return a client of AHA; raises NeedConfValu when the Cortex belongs to no mesh."""
    if not context.capability("cell").has_identity:
        raise NeedConfValu("the Cortex belongs to no mesh, so there is no AHA to ask", name="aha")
    context.session.pause()
    found: CellClient = context.capability("mesh").registry()
    return found


def instances(client: CellClient, service: str = "") -> Iterator[dict[str, Any]]:
    """Yield what AHA knows of the instances of a service, or of all."""
    token = ""
    while True:
        wanted = {"service": service, "page_size": PAGE_SIZE, "page_token": token}
        page = call(client, "listInstances", wanted)
        yield from page["instances"]
        token = page["next_page_token"]
        if not token:
            return


def find_service(context: RunContext, name: str) -> list[dict[str, Any]]:
    """Return the instances of a service, or the one of that name; none if there is no such."""
    try:
        found = call(registry(context), "getService", {"name": name})
    except NoSuchName:
        return []
    return list(found["instances"])
