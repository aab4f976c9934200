"""Subscriptions to a catalog over a real registry: what is sent, to whom, and when nothing is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cellmesh.aha import schema
from cellmesh.aha.changes import change_writer
from cellmesh.aha.directory import Instance, Registry
from cellmesh.aha.directory.names import Names
from cellmesh.aha.xds import Catalog
from cellmesh.aha.xds.names import Kind, parse
from cellmesh.aha.xds.servicer import Client
from cellmesh.aha.xds.subscriptions import NAME_COUNT_MAX
from cellmesh.api.aha.v1 import pool_pb2
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.errors import LimitExceeded
from cellmesh.common.rpc import Workers
from cellmesh.common.storage import Slab
from cellmesh.common.time.clock import SYSTEM_CLOCK
from cellmesh.common.tls.identity import CellIdentity
from cellmesh.third_party.xds.v3 import (
    cluster_pb2,
    core_pb2,
    discovery_pb2,
    endpoint_pb2,
    http_connection_manager_pb2,
    listener_pb2,
    route_pb2,
    tls_pb2,
)

GRPC = core_pb2.Node(id="client", user_agent_name="gRPC C-core Linux")
ENVOY = core_pb2.Node(id="proxy", user_agent_name="envoy")
QUIET_S = 0.05

MESSAGES = {
    Kind.LISTENER: listener_pb2.Listener,
    Kind.ROUTES: route_pb2.RouteConfiguration,
    Kind.CLUSTER: cluster_pb2.Cluster,
    Kind.ENDPOINTS: endpoint_pb2.ClusterLoadAssignment,
}


def instance(name: str, *, port: int = 4000, host: str = "127.0.0.1", leader: bool = False) -> Instance:
    identity = CellIdentity.parse(name)
    return Instance(
        name=name,
        service=identity.service,
        network=identity.network,
        kind=identity.service,
        cell_id=identity.number * 16,
        address=f"{host}:{port}",
        version="1",
        ready=True,
        leader=leader,
    )


class Peer:
    """The other end of a stream: asks, and reads what comes."""

    def __init__(self, catalog: Catalog, node: core_pb2.Node) -> None:
        self.client = Client(catalog, "tester@demo")
        self._node = node
        self._waiting: list[discovery_pb2.DiscoveryResponse] = []

    def ask(self, kind: Kind, names: Sequence[str], nonce: str = "", refused: str = "") -> None:
        request = discovery_pb2.DiscoveryRequest(
            node=self._node, type_url=kind.value, resource_names=names, response_nonce=nonce
        )
        if refused:
            request.error_detail.message = refused
        self.client.take(request)

    async def read(self) -> discovery_pb2.DiscoveryResponse:
        if not self._waiting:
            found = await asyncio.wait_for(self.client.next(), 5.0)
            assert found is not None
            self._waiting = found
        return self._waiting.pop(0)

    async def is_quiet(self) -> bool:
        """Whether nothing comes for a moment."""
        if self._waiting:
            return False
        try:
            self._waiting = await asyncio.wait_for(self.client.next(), QUIET_S) or []
        except TimeoutError:
            return True
        return False


def unpacked(response: discovery_pb2.DiscoveryResponse) -> list:
    message = MESSAGES[Kind(response.type_url)]
    return [message.FromString(item.value) for item in response.resources]


def names(response: discovery_pb2.DiscoveryResponse) -> list[str]:
    return [getattr(item, "name", "") or item.cluster_name for item in unpacked(response)]


def ports(assignment: endpoint_pb2.ClusterLoadAssignment) -> list[tuple[int, int]]:
    """Priority and port of each member."""
    return [
        (place.priority, member.endpoint.address.socket_address.port_value)
        for place in assignment.endpoints
        for member in place.lb_endpoints
    ]


class World:
    """A registry and the catalog that follows it."""

    def __init__(self, registry: Registry, catalog: Catalog) -> None:
        self.registry = registry
        self.catalog = catalog

    async def register(self, *instances: Instance) -> None:
        for item in instances:
            await self.registry.register(item, 60.0)

    def peer(self, node: core_pb2.Node = GRPC) -> Peer:
        return Peer(self.catalog, node)


def run(tmp_path: Path, body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        slab = Slab.open(tmp_path / "slab", schema.DATABASES, sync=False)
        workers = Workers()
        stored = Names(slab, change_writer(ChangeLog(slab), SYSTEM_CLOCK))
        registry = Registry("demo", stored, workers, SYSTEM_CLOCK, restart_grace_s=30.0)
        catalog = Catalog(registry)
        await catalog.start()
        try:
            await body(World(registry, catalog))
        finally:
            await catalog.stop()
            await workers.close()
            slab.close()

    asyncio.run(main())


def test_a_name_leads_over_routes_and_clusters_to_endpoints(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(
            instance("00.cortex.demo", port=1, leader=True), instance("01.cortex.demo", port=2)
        )
        peer = world.peer()
        peer.ask(Kind.LISTENER, ["cortex"])
        assert names(await peer.read()) == ["cortex"]
        peer.ask(Kind.ROUTES, ["cortex.demo"])
        (routes,) = unpacked(await peer.read())
        by_path = {item.match.path: item.route.cluster for item in routes.virtual_hosts[0].routes}
        assert by_path["/cellmesh.api.cortex.v1.ModelService/GetForm"] == "cortex.demo/any"
        assert "/cellmesh.api.cortex.v1.StormService/Storm" not in by_path
        last = routes.virtual_hosts[0].routes[-1]
        assert (last.match.prefix, last.route.cluster) == ("/", "cortex.demo/leader")
        peer.ask(Kind.CLUSTER, ["cortex.demo/any", "cortex.demo/leader"])
        assert names(await peer.read()) == ["cortex.demo/any", "cortex.demo/leader"]
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/any", "cortex.demo/leader"])
        any_one, leader = unpacked(await peer.read())
        assert ports(any_one) == [(0, 1), (0, 2)]
        assert ports(leader) == [(0, 1), (1, 2)]

    run(tmp_path, body)


def test_only_what_changed_is_sent_and_only_to_who_asked_for_it(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(
            instance("00.cortex.demo", port=1, leader=True), instance("01.cortex.demo", port=2)
        )
        await world.register(instance("00.axon.demo", port=3))
        peer, other = world.peer(), world.peer()
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/any", "cortex.demo/leader"])
        other.ask(Kind.ENDPOINTS, ["axon.demo/any"])
        first, _ = await peer.read(), await other.read()
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/any", "cortex.demo/leader"], first.nonce)
        assert await peer.is_quiet()
        world.registry.set_leader("cortex", "01.cortex.demo")
        moved = await peer.read()
        assert names(moved) == ["cortex.demo/leader"]
        assert ports(unpacked(moved)[0]) == [(0, 2), (1, 1)]
        assert moved.nonce != first.nonce
        assert moved.version_info != first.version_info
        assert await other.is_quiet()

    run(tmp_path, body)


def test_an_instance_that_is_not_ready_or_gone_has_no_place_and_the_service_stays_known(
    tmp_path: Path,
) -> None:
    async def body(world: World) -> None:
        await world.register(
            instance("00.cortex.demo", port=1, leader=True), instance("01.cortex.demo", port=2)
        )
        peer = world.peer()
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/any"])
        await peer.read()
        await world.registry.renew("01.cortex.demo", ready=False)
        assert ports(unpacked(await peer.read())[0]) == [(0, 1)]
        await world.registry.unregister("00.cortex.demo")
        assert ports(unpacked(await peer.read())[0]) == []
        peer.ask(Kind.LISTENER, ["cortex"])
        assert names(await peer.read()) == ["cortex"]

    run(tmp_path, body)


def test_a_service_whose_leader_is_away_is_asked_through_its_followers_without_a_gap(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(
            instance("00.cortex.demo", port=1, leader=True), instance("01.cortex.demo", port=2)
        )
        world.registry.set_leader("cortex", "00.cortex.demo")
        peer = world.peer()
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/leader"])
        await peer.read()
        await world.registry.unregister("00.cortex.demo")
        assert ports(unpacked(await peer.read())[0]) == [(0, 2)]

    run(tmp_path, body)


def test_an_unknown_listener_is_answered_with_none_and_comes_once_it_registers(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        peer = world.peer()
        peer.ask(Kind.LISTENER, ["cortex"])
        empty = await peer.read()
        assert not empty.resources
        peer.ask(Kind.LISTENER, ["cortex"], empty.nonce)
        assert await peer.is_quiet()
        await world.register(instance("00.cortex.demo"))
        assert names(await peer.read()) == ["cortex"]

    run(tmp_path, body)


@pytest.mark.parametrize("kind", [Kind.ENDPOINTS, Kind.ROUTES])
def test_unknown_routes_and_endpoints_are_not_answered_until_they_come(tmp_path: Path, kind: Kind) -> None:
    async def body(world: World) -> None:
        peer = world.peer()
        peer.ask(kind, ["cortex.demo/any" if kind is Kind.ENDPOINTS else "cortex"])
        assert await peer.is_quiet()
        await world.register(instance("00.cortex.demo"))
        assert len((await peer.read()).resources) == 1

    run(tmp_path, body)


def test_a_request_about_an_older_answer_counts_for_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(instance("00.cortex.demo", port=1))
        peer = world.peer()
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/any"])
        first = await peer.read()
        await world.register(instance("01.cortex.demo", port=2))
        second = await peer.read()
        # It crossed the second answer: the client has not seen it yet.
        peer.ask(Kind.ENDPOINTS, [], first.nonce)
        await world.register(instance("02.cortex.demo", port=3))
        third = await peer.read()
        assert len(ports(unpacked(third)[0])) == 3
        assert len({first.nonce, second.nonce, third.nonce}) == 3

    run(tmp_path, body)


def test_a_refused_answer_is_logged_with_its_reason_and_not_sent_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(world: World) -> None:
        await world.register(instance("00.cortex.demo", port=1))
        peer = world.peer()
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/any"])
        answer = await peer.read()
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/any"], answer.nonce, refused="no such locality")
        assert await peer.is_quiet()
        await world.register(instance("01.cortex.demo", port=2))
        assert len(ports(unpacked(await peer.read())[0])) == 2

    run(tmp_path, body)
    (record,) = [record for record in caplog.records if record.message == "xds_refused"]
    assert "no such locality" in str(record.__dict__)


def test_who_no_longer_asks_hears_nothing_and_gets_it_anew_when_it_asks_again(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(instance("00.cortex.demo", port=1), instance("00.axon.demo", port=2))
        peer = world.peer()
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/any", "axon.demo/any"])
        answer = await peer.read()
        peer.ask(Kind.ENDPOINTS, ["axon.demo/any"], answer.nonce)
        await world.register(instance("01.cortex.demo", port=3))
        assert await peer.is_quiet()
        peer.ask(Kind.ENDPOINTS, ["axon.demo/any", "cortex.demo/any"], answer.nonce)
        again = await peer.read()
        assert names(again) == ["cortex.demo/any"]
        peer.ask(Kind.ENDPOINTS, [], again.nonce)
        await world.register(instance("02.cortex.demo", port=4))
        assert await peer.is_quiet()

    run(tmp_path, body)


def test_each_answer_about_clusters_has_all_that_are_asked_for(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(instance("00.cortex.demo", port=1))
        peer = world.peer()
        peer.ask(Kind.CLUSTER, ["cortex.demo/any"])
        answer = await peer.read()
        peer.ask(Kind.CLUSTER, ["cortex.demo/any", "cortex.demo/leader"], answer.nonce)
        assert names(await peer.read()) == ["cortex.demo/any", "cortex.demo/leader"]

    run(tmp_path, body)


def test_who_names_nothing_gets_all_clusters_and_hears_of_new_ones(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(instance("00.cortex.demo", port=1))
        peer = world.peer(ENVOY)
        peer.ask(Kind.CLUSTER, [])
        peer.ask(Kind.LISTENER, [])
        clusters, listeners = await peer.read(), await peer.read()
        assert set(names(clusters)) == {"cortex.demo/any", "cortex.demo/leader", "00.cortex.demo"}
        assert not listeners.resources
        peer.ask(Kind.CLUSTER, [], clusters.nonce)
        assert await peer.is_quiet()
        await world.register(instance("00.axon.demo", port=2))
        more = await peer.read()
        new = {"axon.demo/any", "axon.demo/leader", "00.axon.demo"}
        assert set(names(more)) == {*names(clusters), *new}

    run(tmp_path, body)


def test_a_star_is_everything_and_nothing_after_names_is_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(instance("00.cortex.demo", port=1))
        peer = world.peer(ENVOY)
        peer.ask(Kind.CLUSTER, ["*", "00.cortex.demo"])
        answer = await peer.read()
        assert len(answer.resources) == 3
        peer.ask(Kind.CLUSTER, ["00.cortex.demo"], answer.nonce)
        peer.ask(Kind.CLUSTER, [], answer.nonce)
        assert await peer.is_quiet()
        await world.register(instance("00.axon.demo", port=2))
        assert await peer.is_quiet()

    run(tmp_path, body)


def test_clusters_are_for_whoever_asks_and_know_their_cells_by_certificate(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(instance("00.cortex.demo"))
        wanted = ["cortex.demo/any", "00.cortex.demo"]
        contexts = {}
        for node in (GRPC, ENVOY):
            peer = world.peer(node)
            peer.ask(Kind.CLUSTER, wanted)
            contexts[node.id] = [
                tls_pb2.UpstreamTlsContext.FromString(
                    cluster.transport_socket.typed_config.value
                ).common_tls_context
                for cluster in unpacked(await peer.read())
            ]
        one, whole = contexts["client"]
        assert one.tls_certificate_provider_instance.instance_name == "cellmesh"
        (matcher,) = one.validation_context.match_subject_alt_names
        assert matcher.exact == "spiffe://demo/cell/00.cortex"
        (matcher,) = whole.validation_context.match_subject_alt_names
        assert matcher.safe_regex.regex == "spiffe://demo/cell/[0-9]+[.]cortex"
        envoy, _ = contexts["proxy"]
        (typed,) = envoy.combined_validation_context.default_validation_context.match_typed_subject_alt_names
        assert typed.san_type == tls_pb2.SubjectAltNameMatcher.URI
        assert typed.matcher.exact == "spiffe://demo/cell/00.cortex"

    run(tmp_path, body)


def test_host_names_become_ip_addresses_and_twins_have_one_place(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(
            instance("00.cortex.demo", port=1, host="localhost"),
            instance("01.cortex.demo", port=2),
            instance("02.cortex.demo", port=2),
        )
        peer = world.peer()
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/any"])
        found = unpacked(await peer.read())[0]
        if len(ports(found)) == 1:
            found = unpacked(await peer.read())[0]
        assert ports(found) == [(0, 1), (0, 2)]
        addresses = {
            member.endpoint.address.socket_address.address for member in found.endpoints[0].lb_endpoints
        }
        assert addresses <= {"127.0.0.1", "::1"}

    run(tmp_path, body)


def test_streams_share_what_is_made_and_leave_nothing_behind(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(instance("00.cortex.demo", port=1))
        peers = [world.peer() for _ in range(50)]
        for peer in peers:
            peer.ask(Kind.ENDPOINTS, ["cortex.demo/any", f"nothing{id(peer)}.demo/any"])
            await peer.read()
        version = world.catalog.version
        await world.register(instance("01.cortex.demo", port=2))
        for peer in peers:
            await peer.read()
        made = int(world.catalog.version.split(".")[1]) - int(version.split(".")[1])
        assert made == 1
        for peer in peers:
            peer.client.leave()
        assert not world.catalog._followers
        assert not world.catalog._made

    run(tmp_path, body)


def test_a_stream_ends_when_the_registry_closes(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(instance("00.cortex.demo"))
        peer = world.peer()
        peer.ask(Kind.LISTENER, ["cortex"])
        await peer.read()
        world.registry.close_watches()
        assert await asyncio.wait_for(peer.client.next(), 5.0) is None
        assert await asyncio.wait_for(world.peer().client.next(), 5.0) is None

    run(tmp_path, body)


def test_too_many_names_are_refused(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        with pytest.raises(LimitExceeded):
            world.peer().ask(Kind.ENDPOINTS, [f"n{number}" for number in range(NAME_COUNT_MAX + 1)])

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("kind", "name", "cluster"),
    [
        (Kind.LISTENER, "cortex", "cortex.demo"),
        (Kind.LISTENER, "cortex.demo", "cortex.demo"),
        (Kind.LISTENER, "00.cortex", "00.cortex.demo"),
        (Kind.ROUTES, "00.cortex.demo", "00.cortex.demo"),
        (Kind.LISTENER, "cortex.other", None),
        (Kind.LISTENER, "", None),
        (Kind.LISTENER, "a.b.c.d", None),
        (Kind.LISTENER, "cortex/any", None),
        (Kind.CLUSTER, "cortex.demo/any", "cortex.demo/any"),
        (Kind.CLUSTER, "cortex/any", None),
        (Kind.CLUSTER, "cortex.demo", None),
        (Kind.CLUSTER, "cortex.demo/some", None),
        (Kind.ENDPOINTS, "00.cortex.demo", "00.cortex.demo"),
        (Kind.ENDPOINTS, "00.cortex.demo/any", None),
    ],
)
def test_names_mean_a_service_an_instance_or_nothing(kind: Kind, name: str, cluster: str | None) -> None:
    found = parse(kind, name, "demo")
    assert (found.cluster if found else None) == cluster


def test_an_instance_moved_up_keeps_its_place_name(tmp_path: Path) -> None:
    """gRPC clients tell places by their names, and keep connections to those they had before."""

    async def body(world: World) -> None:
        await world.register(instance("00.cortex.demo", port=1), instance("01.cortex.demo", port=2))
        peer = world.peer()
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/leader"])
        await peer.read()
        for leader, other in (
            ("00.cortex.demo", "01.cortex.demo"),
            ("01.cortex.demo", "00.cortex.demo"),
        ):
            world.registry.set_leader("cortex", leader)
            (found,) = unpacked(await peer.read())
            places = [(place.priority, place.locality.sub_zone) for place in found.endpoints]
            assert places == [(0, leader), (1, other)]

    run(tmp_path, body)


def test_registering_the_same_again_sends_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        first = instance("00.cortex.demo", port=1)
        await world.register(first)
        peer = world.peer()
        peer.ask(Kind.ENDPOINTS, ["cortex.demo/any"])
        await peer.read()
        await world.register(replace(first, version="2"))
        assert await peer.is_quiet()

    run(tmp_path, body)


def pool(name: str, *members: str) -> pool_pb2.Pool:
    return pool_pb2.Pool(name=name, members=[pool_pb2.PoolMember(name=member) for member in members])


def trusted(cluster: cluster_pb2.Cluster) -> list[str]:
    context = tls_pb2.UpstreamTlsContext.FromString(cluster.transport_socket.typed_config.value)
    matchers = context.common_tls_context.validation_context.match_subject_alt_names
    return [matcher.exact or matcher.safe_regex.regex for matcher in matchers]


def test_a_pool_has_the_instances_of_its_members_and_follows_them(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(
            instance("00.cortex.demo", port=1, leader=True), instance("01.cortex.demo", port=2)
        )
        await world.register(instance("00.axon.demo", port=3, leader=True), instance("01.axon.demo", port=4))
        world.registry.set_pools([pool("both", "cortex", "01.axon")])
        peer = world.peer()
        peer.ask(Kind.LISTENER, ["both"])
        assert names(await peer.read()) == ["both"]
        peer.ask(Kind.ROUTES, ["both.demo"])
        (routes,) = unpacked(await peer.read())
        by_path = {item.match.path: item.route.cluster for item in routes.virtual_hosts[0].routes}
        # The methods of all kinds that are in it.
        assert by_path["/cellmesh.api.cortex.v1.ModelService/GetForm"] == "both.demo/any"
        assert by_path["/cellmesh.api.axon.v1.BlobService/GetBlob"] == "both.demo/any"
        clusters = ["both.demo/any", "both.demo/leader"]
        peer.ask(Kind.CLUSTER, clusters)
        made = await peer.read()
        assert trusted(unpacked(made)[0]) == [
            "spiffe://demo/cell/01.axon",
            r"spiffe://demo/cell/[0-9]+[.]cortex",
        ]
        peer.ask(Kind.ENDPOINTS, clusters)
        first = await peer.read()
        assert [ports(found) for found in unpacked(first)] == [
            [(0, 1), (0, 4), (0, 2)],
            [(0, 1), (0, 4), (1, 2)],
        ]
        # A member's leader moves; a member is added, so that others are trusted too.
        world.registry.set_leader("cortex", "01.cortex.demo")
        moved = await peer.read()
        assert names(moved) == ["both.demo/leader"]
        assert ports(unpacked(moved)[0]) == [(0, 4), (0, 2), (1, 1)]
        world.registry.set_pools([pool("both", "cortex", "01.axon", "axon")])
        told = [await peer.read(), await peer.read()]
        assert [Kind(item.type_url) for item in told] == [Kind.CLUSTER, Kind.ENDPOINTS]
        assert r"spiffe://demo/cell/[0-9]+[.]axon" in trusted(unpacked(told[0])[0])
        assert ports(unpacked(told[1])[0]) == [(0, 3), (0, 1), (0, 4), (0, 2)]
        # Another pool's members are nothing to it.
        world.registry.set_pools([pool("both", "cortex", "01.axon", "axon"), pool("other", "axon")])
        assert await peer.is_quiet()

    run(tmp_path, body)


def test_a_pool_that_is_deleted_keeps_its_name_and_trusts_nobody(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.register(instance("00.axon.demo", port=3, leader=True))
        world.registry.set_pools([pool("blobs", "axon")])
        peer = world.peer()
        for kind in (Kind.CLUSTER, Kind.ENDPOINTS):
            peer.ask(kind, ["blobs.demo/any"])
            await peer.read()
        world.registry.set_pools([])
        cluster, endpoints = await peer.read(), await peer.read()
        assert trusted(unpacked(cluster)[0]) == ["spiffe://demo/pool/blobs"]
        assert ports(unpacked(endpoints)[0]) == []
        # A service may take its name from then on.
        await world.register(instance("00.blobs.demo", port=9, leader=True))
        cluster, endpoints = await peer.read(), await peer.read()
        assert trusted(unpacked(cluster)[0]) == [r"spiffe://demo/cell/[0-9]+[.]blobs"]
        assert ports(unpacked(endpoints)[0]) == [(0, 9)]

    run(tmp_path, body)


def test_within_the_authority_of_the_network_everything_is_named_there(tmp_path: Path) -> None:
    """As bootstraps have it, so that clients may be told to leave a server that is away."""
    begin = "xdstp://demo/envoy.config"
    cluster_type, endpoints_type = "cluster.v3.Cluster", "endpoint.v3.ClusterLoadAssignment"

    async def body(world: World) -> None:
        await world.register(instance("00.cortex.demo", port=1, leader=True))
        peer = world.peer()
        peer.ask(Kind.LISTENER, [f"{begin}.listener.v3.Listener/cortex"])
        (listener,) = unpacked(await peer.read())
        assert listener.name == f"{begin}.listener.v3.Listener/cortex"
        manager = http_connection_manager_pb2.HttpConnectionManager.FromString(
            listener.api_listener.api_listener.value
        )
        routes_name = f"{begin}.route.v3.RouteConfiguration/cortex.demo"
        assert manager.rds.route_config_name == routes_name
        peer.ask(Kind.ROUTES, [routes_name])
        (routes,) = unpacked(await peer.read())
        assert {route.route.cluster for route in routes.virtual_hosts[0].routes} == {
            f"{begin}.{cluster_type}/cortex.demo/any",
            f"{begin}.{cluster_type}/cortex.demo/leader",
        }
        peer.ask(Kind.CLUSTER, [f"{begin}.{cluster_type}/cortex.demo/leader"])
        (cluster,) = unpacked(await peer.read())
        endpoints_name = f"{begin}.{endpoints_type}/cortex.demo/leader"
        assert cluster.eds_cluster_config.service_name == endpoints_name
        peer.ask(Kind.ENDPOINTS, [endpoints_name])
        first = await peer.read()
        assert names(first) == [endpoints_name]
        assert ports(unpacked(first)[0]) == [(0, 1)]
        # Changes come under this name as well.
        await world.register(instance("01.cortex.demo", port=2))
        changed = await peer.read()
        assert names(changed) == [endpoints_name]
        assert ports(unpacked(changed)[0]) == [(0, 1), (1, 2)]

    run(tmp_path, body)


@pytest.mark.parametrize(
    "name",
    [
        "xdstp://other/envoy.config.listener.v3.Listener/cortex",
        "xdstp://demo/envoy.config.cluster.v3.Cluster/cortex",
        "xdstp://demo/cortex",
        "xdstp://demo/envoy.config.listener.v3.Listener/",
        "xdstp://demo/envoy.config.listener.v3.Listener/cortex/any",
    ],
)
def test_names_of_other_authorities_and_types_are_none(name: str) -> None:
    assert parse(Kind.LISTENER, name, "demo") is None
