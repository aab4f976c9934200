"""Bootstrap files with which gRPC clients and Envoy ask AHA where calls go (docs/xds.md). They name the files of an identity
folder; nothing secret is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cellmesh.common.addresses import split_host_port
from cellmesh.common.tls.folder import AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE, IdentityFolder
from cellmesh.common.tls.identity import registry_name

CERTIFICATE_PROVIDER: Final = "cellmesh"
"""What gRPC clients call their source of certificates; the control plane refers to it."""

IDENTITY_SECRET: Final = "cellmesh_identity"
"""What Envoy calls its own certificate."""

TRUST_SECRET: Final = "cellmesh_trust"
"""What Envoy calls the network's authority."""

LISTENER_TEMPLATE: Final = "xdstp://{}/envoy.config.listener.v3.Listener/%s"
REFRESH_INTERVAL: Final = "60s"
CONNECT_TIMEOUT: Final = "5s"
REGISTRY_CLUSTER: Final = "cellmesh_registry"
TYPE_URL: Final = "type.googleapis.com/"

Json = dict[str, Any]


def grpc_bootstrap(folder: IdentityFolder, network: str, addresses: Sequence[str], node_id: str) -> Json:
    """Make the bootstrap of a gRPC client.

    Args:
        folder: Whose identity it calls with.
        network: The network.
        addresses: Where AHA is, host:port each, the first one first.
        node_id: What the client calls itself, for AHA's log.
    """
    files = {
        "certificate_file": str(folder.path / CERTIFICATE_FILE),
        "private_key_file": str(folder.path / KEY_FILE),
        "ca_certificate_file": str(folder.path / AUTHORITY_FILE),
        "refresh_interval": REFRESH_INTERVAL,
    }
    return {
        "xds_servers": [
            {
                "server_uri": address,
                "channel_creds": [{"type": "tls", "config": files}],
                # A registry that has lost its memory must not end calls to cells that are there.
                "server_features": ["xds_v3", "ignore_resource_deletion"],
            }
            for address in addresses
        ],
        # Names are asked for within an authority, because only there clients can be told to go to the next registry whenever
        # the first one is away. Else they do so only for names that they have never heard of.
        "client_default_listener_resource_name_template": LISTENER_TEMPLATE.format(network),
        "authorities": {network: {"fallback_on_reachability_only": True}},
        # Without a locality grpc-js takes the whole file for broken.
        "node": {"id": node_id, "cluster": network, "locality": {}},
        "certificate_providers": {CERTIFICATE_PROVIDER: {"plugin_name": "file_watcher", "config": files}},
    }


def envoy_bootstrap(
    folder: IdentityFolder,
    network: str,
    addresses: Sequence[str],
    node_id: str,
    services: Sequence[tuple[str, str]],
) -> Json:
    """Make the bootstrap of an Envoy that takes plain HTTP/2 calls and sends them on as the folder's owner.

    Args:
        folder: Whose identity it calls with.
        network: The network.
        addresses: Where AHA is.
        node_id: What the proxy calls itself.
        services: Pairs of a service or instance, and where calls to it are taken, as host:port.
    """
    return {
        "node": {"id": node_id, "cluster": network},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": REGISTRY_CLUSTER}}],
            },
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
        },
        "static_resources": {
            "listeners": [_envoy_listener(service, *split_host_port(listen)) for service, listen in services],
            "clusters": [_envoy_registry(network, addresses)],
            "secrets": _envoy_secrets(folder),
        },
    }


def _envoy_listener(service: str, host: str, port: int) -> Json:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": TYPE_URL + "envoy.extensions.filters.http.router.v3.Router"},
    }
    manager = {
        "@type": TYPE_URL
        + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": service,
        "codec_type": "HTTP2",
        "stream_idle_timeout": "0s",
        "rds": {"route_config_name": service, "config_source": {"ads": {}, "resource_api_version": "V3"}},
        "http_filters": [router],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": service, "address": _envoy_address(host, port), "filter_chains": [chain]}


def _envoy_registry(network: str, addresses: Sequence[str]) -> Json:
    protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    endpoints = [
        {"endpoint": {"address": _envoy_address(*split_host_port(address))}} for address in addresses
    ]
    named = {"san_type": "DNS", "matcher": {"exact": registry_name(network)}}
    tls = {
        "@type": TYPE_URL + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificate_sds_secret_configs": [{"name": IDENTITY_SECRET}],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [named]},
                "validation_context_sds_secret_config": {"name": TRUST_SECRET},
            },
        },
    }
    return {
        "name": REGISTRY_CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": CONNECT_TIMEOUT,
        "load_assignment": {"cluster_name": REGISTRY_CLUSTER, "endpoints": [{"lb_endpoints": endpoints}]},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        "typed_extension_protocol_options": {
            protocol: {
                "@type": TYPE_URL + protocol,
                "explicit_http_config": {
                    "http2_protocol_options": {
                        "connection_keepalive": {"interval": "30s", "timeout": "10s"},
                    }
                },
            }
        },
    }


def _envoy_secrets(folder: IdentityFolder) -> list[Json]:
    watched = {"path": str(folder.path)}
    return [
        {
            "name": IDENTITY_SECRET,
            "tls_certificate": {
                "certificate_chain": {"filename": str(folder.path / CERTIFICATE_FILE)},
                "private_key": {"filename": str(folder.path / KEY_FILE)},
                "watched_directory": watched,
            },
        },
        {
            "name": TRUST_SECRET,
            "validation_context": {
                "trusted_ca": {"filename": str(folder.path / AUTHORITY_FILE)},
                "watched_directory": watched,
            },
        },
    ]


def _envoy_address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
