"""The wire: servers, what happens around each call, and channels to others.

service        Service, Method: what is served, out of descriptors, with its permission rows
permissions    Level, Permission: who may call which method, as data
interceptors/  what happens around every call, in a written order
server         RpcServer: services behind the chain, on a unix socket and a TCP port
health         grpc.health.v1
pipeline       CallService: many small calls on one stream
pipeline_calls one of them: its context, its window
offsets        the metadata that ties calls to a place in the change log
workers        Workers: threads for blocking work
streams        a blocking generator as an async stream of growing batches
engine         which engine for connections gRPC uses
channel        channels to other cells: options, credentials, errors
registry_link  the channel of a cell to the registry, which may have several addresses
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellmesh.common.exports import exports

if TYPE_CHECKING:
    from cellmesh.common.rpc.permissions import Level, Permission, PermissionTable
    from cellmesh.common.rpc.server import Listener, RpcServer, ServerTls, TcpListener, UnixListener
    from cellmesh.common.rpc.service import Service
    from cellmesh.common.rpc.streams import FLUSH, BatchStream, CancelToken, StreamToken
    from cellmesh.common.rpc.workers import Workers
else:
    __getattr__ = exports(
        __name__,
        {
            "Level": "permissions",
            "Permission": "permissions",
            "PermissionTable": "permissions",
            "Listener": "server",
            "RpcServer": "server",
            "ServerTls": "server",
            "TcpListener": "server",
            "UnixListener": "server",
            "Service": "service",
            "FLUSH": "streams",
            "BatchStream": "streams",
            "CancelToken": "streams",
            "StreamToken": "streams",
            "Workers": "workers",
        },
    )

__all__ = [
    "FLUSH",
    "BatchStream",
    "CancelToken",
    "StreamToken",
    "Level",
    "Listener",
    "Permission",
    "PermissionTable",
    "RpcServer",
    "ServerTls",
    "Service",
    "TcpListener",
    "UnixListener",
    "Workers",
]
