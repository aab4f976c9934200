"""The messages that make up a service for a client: name > listener > routes > clusters > endpoints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from cellmesh.aha.directory import Instance
from cellmesh.aha.xds.methods import EVERYWHERE, methods_of_all
from cellmesh.aha.xds.names import Kind, Pick, Target
from cellmesh.aha.xds.security import Flavor, transport_socket
from cellmesh.aha.xds.services import Callee
from cellmesh.common.addresses import split_host_port
from cellmesh.third_party.xds.v3 import (
    cluster_pb2,
    core_pb2,
    endpoint_pb2,
    http_connection_manager_pb2,
    http_protocol_options_pb2,
    listener_pb2,
    matcher_pb2,
    route_pb2,
    router_pb2,
)
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import UInt32Value

READ_HEADER: Final = "cellmesh-read"
"""Says where a call goes whatever its method: "any" or "leader"."""

CONNECT_TIMEOUT_S: Final = 5
RETRY_COUNT: Final = 2
RETRY_BASE_MS: Final = 25
RETRY_MAX_MS: Final = 250
UNIX: Final = "unix:"
PROTOCOL_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

FindIp = Callable[[str], str]
"""The IP address of a host; empty while it is not known."""

_ADS: Final = core_pb2.ConfigSource(
    ads=core_pb2.AggregatedConfigSource(), resource_api_version=core_pb2.ApiVersion.V3
)


def build(
    kind: Kind, name: str, target: Target, service: Callee, flavor: Flavor, find_ip: FindIp
) -> Any | None:
    """Make a resource.

    Args:
        kind: Its type.
        name: Its name, as the client has asked for it.
        target: What the name means.
        service: What that is now.
        flavor: Whom it is for.
        find_ip: See FindIp.

    Returns:
        The resource packed, or None when there is none: an instance that was never seen.
    """
    if target.number and not service.knows(target.number):
        return None
    made: Message
    match kind:
        case Kind.LISTENER:
            made = _listener(name, target)
        case Kind.ROUTES:
            made = _routes(name, target, service.kinds())
        case Kind.CLUSTER:
            made = _cluster(name, target, service, flavor)
        case Kind.ENDPOINTS:
            made = _endpoints(name, target, service, find_ip)
    packed = Any()
    packed.Pack(made, deterministic=True)
    return packed


def _listener(name: str, target: Target) -> listener_pb2.Listener:
    router = http_connection_manager_pb2.HttpFilter(name="router")
    router.typed_config.Pack(router_pb2.Router(), deterministic=True)
    manager = http_connection_manager_pb2.HttpConnectionManager(
        rds=http_connection_manager_pb2.Rds(config_source=_ADS, route_config_name=target.named(Kind.ROUTES)),
        http_filters=[router],
    )
    made = listener_pb2.Listener(name=name)
    made.api_listener.api_listener.Pack(manager, deterministic=True)
    return made


def _routes(name: str, target: Target, kinds: Collection[str]) -> route_pb2.RouteConfiguration:
    routes = _instance_routes(target) if target.number else _service_routes(target, kinds)
    host = route_pb2.VirtualHost(name=target.cluster, domains=["*"], routes=routes)
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=[host])


def _instance_routes(target: Target) -> list[route_pb2.Route]:
    return [_route(route_pb2.RouteMatch(prefix="/"), target.named(Kind.CLUSTER))]


def _service_routes(target: Target, kinds: Collection[str]) -> list[route_pb2.Route]:
    """Where the caller says; then what only reads at any instance; the rest at the leader, or at the leaders of a pool."""
    any_one = replace(target, pick=Pick.ANY).named(Kind.CLUSTER)
    leader = replace(target, pick=Pick.LEADER).named(Kind.CLUSTER)
    methods = methods_of_all(kinds)
    return [
        _route(_said(Pick.LEADER), leader),
        *(_route(route_pb2.RouteMatch(path=path), any_one, repeatable=True) for path in methods.reads),
        *(_route(route_pb2.RouteMatch(prefix=prefix), any_one) for prefix in EVERYWHERE),
        _route(_said(Pick.ANY), any_one),
        *(_route(route_pb2.RouteMatch(path=path), leader, repeatable=True) for path in methods.repeatable),
        _route(route_pb2.RouteMatch(prefix="/"), leader),
    ]


def _said(pick: Pick) -> route_pb2.RouteMatch:
    header = route_pb2.HeaderMatcher(
        name=READ_HEADER, string_match=matcher_pb2.StringMatcher(exact=pick.value)
    )
    return route_pb2.RouteMatch(prefix="/", headers=[header])


def _route(match: route_pb2.RouteMatch, cluster: str, *, repeatable: bool = False) -> route_pb2.Route:
    action = route_pb2.RouteAction(
        cluster=cluster,
        # A proxy's own limit is 15 s; ours is the deadline that the caller sets.
        timeout=Duration(),
        max_stream_duration=route_pb2.RouteAction.MaxStreamDuration(grpc_timeout_header_max=Duration()),
    )
    if repeatable:
        action.retry_policy.CopyFrom(
            route_pb2.RetryPolicy(
                retry_on="unavailable",
                num_retries=UInt32Value(value=RETRY_COUNT),
                retry_back_off=route_pb2.RetryPolicy.RetryBackOff(
                    base_interval=_millis(RETRY_BASE_MS), max_interval=_millis(RETRY_MAX_MS)
                ),
            )
        )
    return route_pb2.Route(match=match, route=action)


def _cluster(name: str, target: Target, service: Callee, flavor: Flavor) -> cluster_pb2.Cluster:
    made = cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.DiscoveryType.EDS,
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(
            # Outside of an authority the endpoints are called like the cluster.
            eds_config=_ADS,
            service_name=target.named(Kind.ENDPOINTS) if target.authority else "",
        ),
        connect_timeout=Duration(seconds=CONNECT_TIMEOUT_S),
        lb_policy=cluster_pb2.Cluster.LbPolicy.ROUND_ROBIN,
        transport_socket=transport_socket(target, service.owners(), flavor),
    )
    if flavor is Flavor.ENVOY:
        options = http_protocol_options_pb2.HttpProtocolOptions(
            explicit_http_config=http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig(
                http2_protocol_options=core_pb2.Http2ProtocolOptions()
            )
        )
        made.typed_extension_protocol_options[PROTOCOL_OPTIONS].Pack(options, deterministic=True)
    return made


def _endpoints(
    name: str, target: Target, service: Callee, find_ip: FindIp
) -> endpoint_pb2.ClusterLoadAssignment:
    ready = service.ready()
    match target.pick:
        case Pick.ANY:
            groups = [[("", ready)]]
        case Pick.LEADER:
            # While the leader cannot be reached its followers are asked: they know who leads, and pass writes on. Each
            # instance is a place of its own, so that clients keep its connections when it moves up.
            leading = service.leading()
            others = [instance for instance in ready if instance not in leading]
            groups = [[_alone(instance) for instance in group] for group in (leading, others)]
        case None:
            # Who asks for one instance wants it whatever it says of itself.
            found = service.instance(target.number)
            groups = [[("", [found] if found else [])]]
    made = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    priority = 0
    taken: set[str] = set()
    for group in groups:
        places = [(place, _members(_without(instances, taken), find_ip)) for place, instances in group]
        places = [(place, members) for place, members in places if members]
        for place, members in places:
            made.endpoints.add(
                locality=core_pb2.Locality(sub_zone=place or target.cluster),
                lb_endpoints=members,
                load_balancing_weight=UInt32Value(value=len(members)),
                priority=priority,
            )
        # Clients refuse priorities with gaps.
        priority += bool(places)
    return made


def _alone(instance: Instance) -> tuple[str, list[Instance]]:
    return instance.name, [instance]


def _without(instances: Sequence[Instance], taken: set[str]) -> list[Instance]:
    """Each address once, as clients refuse twins: an instance that comes back under another number has one for a while."""
    found = []
    for instance in instances:
        if instance.address not in taken:
            taken.add(instance.address)
            found.append(instance)
    return found


def _members(instances: Sequence[Instance], find_ip: FindIp) -> list[endpoint_pb2.LbEndpoint]:
    addresses = (_address(instance.address, find_ip) for instance in instances)
    return [
        endpoint_pb2.LbEndpoint(
            endpoint=endpoint_pb2.Endpoint(address=address), health_status=core_pb2.HealthStatus.HEALTHY
        )
        for address in addresses
        if address is not None
    ]


def _address(text: str, find_ip: FindIp) -> core_pb2.Address | None:
    if text.startswith(UNIX):
        return core_pb2.Address(pipe=core_pb2.Pipe(path=text.removeprefix(UNIX)))
    host, port = split_host_port(text)
    ip = find_ip(host)
    if not ip:
        return None
    return core_pb2.Address(socket_address=core_pb2.SocketAddress(address=ip, port_value=port))


def _millis(count: int) -> Duration:
    return Duration(nanos=count * 1_000_000)
