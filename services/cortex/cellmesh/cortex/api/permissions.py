"""Who may call what: a row for every RPC of the Cortex. A method without a row is refused at start."""

from __future__ import annotations

from typing import Final

from cellmesh.api.cortex.v1 import (
    export_service_pb2,
    feed_service_pb2,
    http_api_service_pb2,
    layer_service_pb2,
    model_service_pb2,
    notification_service_pb2,
    storm_service_pb2,
    table_service_pb2,
)
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS, Changes, Level, Permission, PermissionTable

STORM_SERVICE: Final = storm_service_pb2.DESCRIPTOR.services_by_name["StormService"]
TABLE_SERVICE: Final = table_service_pb2.DESCRIPTOR.services_by_name["TableService"]
FEED_SERVICE: Final = feed_service_pb2.DESCRIPTOR.services_by_name["FeedService"]
EXPORT_SERVICE: Final = export_service_pb2.DESCRIPTOR.services_by_name["ExportService"]
MODEL_SERVICE: Final = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]
LAYER_SERVICE: Final = layer_service_pb2.DESCRIPTOR.services_by_name["LayerService"]
HTTP_API_SERVICE: Final = http_api_service_pb2.DESCRIPTOR.services_by_name["HttpApiService"]
NOTIFICATION_SERVICE: Final = notification_service_pb2.DESCRIPTOR.services_by_name["NotificationService"]

SERVICES: Final = (
    STORM_SERVICE.full_name,
    TABLE_SERVICE.full_name,
    FEED_SERVICE.full_name,
    EXPORT_SERVICE.full_name,
    MODEL_SERVICE.full_name,
    HTTP_API_SERVICE.full_name,
    LAYER_SERVICE.full_name,
    NOTIFICATION_SERVICE.full_name,
)
"""The services that this cell alone has."""

PERMISSIONS: Final[PermissionTable] = {
    **COMMON_PERMISSIONS,
    "/cellmesh.api.cortex.v1.StormService/Storm": Permission(Level.RULE, "storm", Changes.ASK),
    "/cellmesh.api.cortex.v1.StormService/CallStorm": Permission(Level.RULE, "storm", Changes.ASK),
    "/cellmesh.api.cortex.v1.StormService/CountStorm": Permission(Level.RULE, "storm", Changes.ASK),
    "/cellmesh.api.cortex.v1.StormService/ExplainStorm": Permission(Level.RULE, "storm"),
    "/cellmesh.api.cortex.v1.StormService/ParseStorm": Permission(Level.RULE, "storm"),
    "/cellmesh.api.cortex.v1.StormService/GetStormReference": Permission(Level.RULE, "storm"),
    # Of the caller's own queries, or to administrators.
    "/cellmesh.api.cortex.v1.StormService/GetStormProgress": Permission(Level.RULE, "storm"),
    "/cellmesh.api.cortex.v1.TableService/QueryColumns": Permission(Level.RULE, "storm", Changes.ASK),
    "/cellmesh.api.cortex.v1.FeedService/AddNodes": Permission(Level.RULE, "feed", Changes.YES),
    "/cellmesh.api.cortex.v1.ExportService/ExportNodes": Permission(Level.RULE, "storm"),
    # On MEMBER rows the handlers ask for the right on the layer.
    "/cellmesh.api.cortex.v1.LayerService/ReadLayerEdits": Permission(Level.MEMBER, "layer.read"),
    "/cellmesh.api.cortex.v1.LayerService/ReadLayerContent": Permission(Level.MEMBER, "layer.read"),
    "/cellmesh.api.cortex.v1.LayerService/SaveLayerEdits": Permission(
        Level.MEMBER, "layer.write", Changes.YES
    ),
    "/cellmesh.api.cortex.v1.LayerService/GetLayerOffset": Permission(Level.MEMBER, "layer.write"),
    "/cellmesh.api.cortex.v1.LayerService/ReadIndexRows": Permission(Level.MEMBER, "layer.read"),
    "/cellmesh.api.cortex.v1.NotificationService/WatchNotifications": Permission(
        Level.ADMIN, "notification.watch"
    ),
    "/cellmesh.api.cortex.v1.LayerService/VerifyLayer": Permission(Level.ADMIN, "layer.verify"),
    "/cellmesh.api.cortex.v1.LayerService/CloneLayer": Permission(Level.ADMIN, "layer.clone", Changes.YES),
    "/cellmesh.api.cortex.v1.LayerService/ExportLayer": Permission(Level.MEMBER, "layer.read"),
    "/cellmesh.api.cortex.v1.LayerService/ImportLayer": Permission(Level.ADMIN, "layer.import", Changes.YES),
    # What a user may call is the endpoint's own rule.
    "/cellmesh.api.cortex.v1.HttpApiService/CallHttpApi": Permission(
        Level.MEMBER, "http_api.call", Changes.YES
    ),
    "/cellmesh.api.cortex.v1.ModelService/GetForm": Permission(Level.RULE, "model.read"),
    "/cellmesh.api.cortex.v1.ModelService/ListForms": Permission(Level.RULE, "model.read"),
    "/cellmesh.api.cortex.v1.ModelService/GetModel": Permission(Level.RULE, "model.read"),
}
