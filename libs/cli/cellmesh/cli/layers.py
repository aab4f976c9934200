"""Layers by the names that people give them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cellmesh.client import CellClient

LIST_LAYERS: Final = """
    $found = ([])
    for $layer in $lib.layer.list() {
        $found.append(({"iden": $layer.iden, "name": $layer.get(name), "bytes": $layer.get(totalsize)}))
    }
    return($found)
"""

_IDEN: Final = re.compile(r"[0-9a-f]{32}")


def list_layers(client: CellClient) -> list[dict[str, Any]]:
    """Return the iden, name and about the size of each layer; a name may be None."""
    from cellmesh.api.cortex.v1 import storm_pb2
    from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
    from cellmesh.common.values import from_value

    request = storm_pb2.CallStormRequest(text=LIST_LAYERS)
    found = from_value(client.stub(StormServiceStub).CallStorm(request).value)
    return [dict(one) for one in found] if isinstance(found, list) else []


def layer_iden(client: CellClient, text: str) -> str:
    """Return the iden of a layer as a person names it: its name or iden, or the beginning of its iden.

    The Cortex is asked only if it is not an iden already.

    Raises:
        BadArg: no layer has that name, or several have.
        CellError: the Cortex cannot be asked.
    """
    if _IDEN.fullmatch(text):
        return text
    from cellmesh.common.errors import BadArg

    layers = list_layers(client)
    found = [one["iden"] for one in layers if one["name"] == text]
    found = found or [one["iden"] for one in layers if text and one["iden"].startswith(text)]
    if len(found) != 1:
        what = "more than one layer is" if found else "no layer is"
        raise BadArg(f"{what} named {text}", layer=text, hint="cellmesh layer list shows them")
    return str(found[0])
