"""The control plane: stock gRPC clients and Envoy learn from it where calls go (docs/xds.md).

    registry > catalog > resources > streams > clients

names          what clients may ask for, and which service or instance that is
methods        which calls any instance answers, out of the descriptors of all services
hosts          IP addresses of those who advertise host names
services       one service, or one pool, as the registry knows it now
security       how clients check whom they reached
resources      the four messages that make up a service for a client
catalog        Catalog, a Part: all resources, kept in line with the registry, and who must be told of changes
subscriptions  what one client wants of one type of resource, and what it has: nonces, refusals, changes
servicer       the stream with a client
"""

from __future__ import annotations

from cellmesh.aha.xds.catalog import Catalog
from cellmesh.aha.xds.servicer import DISCOVERY_SERVICE, XDS_PERMISSIONS, DiscoveryServicer

__all__ = ["DISCOVERY_SERVICE", "XDS_PERMISSIONS", "Catalog", "DiscoveryServicer"]
