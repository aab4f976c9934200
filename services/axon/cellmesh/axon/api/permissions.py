"""Who may call what, one row a method."""

from __future__ import annotations

from typing import Final

from cellmesh.api.axon.v1 import blob_service_pb2, content_service_pb2, web_service_pb2
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS, Changes, Level, Permission, PermissionTable

BLOB_SERVICE: Final = blob_service_pb2.DESCRIPTOR.services_by_name["BlobService"]
CONTENT_SERVICE: Final = content_service_pb2.DESCRIPTOR.services_by_name["ContentService"]
WEB_SERVICE: Final = web_service_pb2.DESCRIPTOR.services_by_name["WebService"]

SERVICES: Final = (BLOB_SERVICE.full_name, CONTENT_SERVICE.full_name, WEB_SERVICE.full_name)
"""The services that this cell alone has."""

PERMISSIONS: Final[PermissionTable] = {
    **COMMON_PERMISSIONS,
    "/cellmesh.api.axon.v1.BlobService/PutBlobs": Permission(Level.RULE, "axon.blob.put", Changes.YES),
    "/cellmesh.api.axon.v1.BlobService/UploadBlob": Permission(Level.RULE, "axon.blob.put", Changes.YES),
    "/cellmesh.api.axon.v1.BlobService/GetBlob": Permission(Level.RULE, "axon.blob.get"),
    "/cellmesh.api.axon.v1.BlobService/FetchBlobs": Permission(Level.PEER, "axon.blob.fetch"),
    "/cellmesh.api.axon.v1.BlobService/HasBlobs": Permission(Level.RULE, "axon.blob.has"),
    "/cellmesh.api.axon.v1.BlobService/ListMissingBlobs": Permission(Level.RULE, "axon.blob.has"),
    "/cellmesh.api.axon.v1.BlobService/GetBlobInfo": Permission(Level.RULE, "axon.blob.has"),
    "/cellmesh.api.axon.v1.BlobService/ListBlobs": Permission(Level.RULE, "axon.blob.list"),
    "/cellmesh.api.axon.v1.BlobService/GetAxonMetrics": Permission(Level.RULE, "axon.metrics"),
    "/cellmesh.api.axon.v1.BlobService/UploadBlobs": Permission(Level.RULE, "axon.blob.put", Changes.YES),
    "/cellmesh.api.axon.v1.BlobService/ResumeUpload": Permission(Level.RULE, "axon.blob.put", Changes.YES),
    "/cellmesh.api.axon.v1.BlobService/DeleteUpload": Permission(Level.RULE, "axon.blob.put", Changes.YES),
    "/cellmesh.api.axon.v1.BlobService/DeleteBlobs": Permission(Level.RULE, "axon.blob.delete", Changes.YES),
    "/cellmesh.api.axon.v1.BlobService/GetBlobHashes": Permission(Level.RULE, "axon.blob.has"),
    "/cellmesh.api.axon.v1.BlobService/ListBlobHistory": Permission(Level.RULE, "axon.blob.list"),
    "/cellmesh.api.axon.v1.BlobService/VerifyBlobs": Permission(Level.RULE, "axon.blob.verify"),
    "/cellmesh.api.axon.v1.ContentService/ReadLines": Permission(Level.RULE, "axon.blob.get"),
    "/cellmesh.api.axon.v1.ContentService/ReadCsvRows": Permission(Level.RULE, "axon.blob.get"),
    "/cellmesh.api.axon.v1.ContentService/ReadJsonLines": Permission(Level.RULE, "axon.blob.get"),
    "/cellmesh.api.axon.v1.ContentService/ReadMsgpack": Permission(Level.RULE, "axon.blob.get"),
    "/cellmesh.api.axon.v1.ContentService/UnpackBlob": Permission(Level.RULE, "axon.blob.get"),
    "/cellmesh.api.axon.v1.WebService/FetchUrl": Permission(Level.RULE, "axon.web.get", Changes.YES),
    "/cellmesh.api.axon.v1.WebService/SendBlob": Permission(Level.RULE, "axon.web.send"),
    "/cellmesh.api.axon.v1.WebService/SendForm": Permission(Level.RULE, "axon.web.send"),
}
