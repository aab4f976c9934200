"""Who may call what: a row for every RPC of the Cortex. A method without a row is refused at start."""

from __future__ import annotations

from typing import Final

from cellmesh.api.cortex.v1 import feed_service_pb2, model_service_pb2, storm_service_pb2
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS, Changes, Level, Permission, PermissionTable

STORM_SERVICE: Final = storm_service_pb2.DESCRIPTOR.services_by_name["StormService"]
FEED_SERVICE: Final = feed_service_pb2.DESCRIPTOR.services_by_name["FeedService"]
MODEL_SERVICE: Final = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]

SERVICES: Final = (STORM_SERVICE.full_name, FEED_SERVICE.full_name, MODEL_SERVICE.full_name)
"""The services that this cell alone has."""

PERMISSIONS: Final[PermissionTable] = {
    **COMMON_PERMISSIONS,
    "/cellmesh.api.cortex.v1.StormService/Storm": Permission(Level.RULE, "storm", Changes.ASK),
    "/cellmesh.api.cortex.v1.StormService/CallStorm": Permission(Level.RULE, "storm", Changes.ASK),
    "/cellmesh.api.cortex.v1.StormService/CountStorm": Permission(Level.RULE, "storm", Changes.ASK),
    "/cellmesh.api.cortex.v1.FeedService/AddNodes": Permission(Level.RULE, "feed", Changes.YES),
    "/cellmesh.api.cortex.v1.ModelService/GetForm": Permission(Level.RULE, "model.read"),
    "/cellmesh.api.cortex.v1.ModelService/ListForms": Permission(Level.RULE, "model.read"),
    "/cellmesh.api.cortex.v1.ModelService/GetModel": Permission(Level.RULE, "model.read"),
}
