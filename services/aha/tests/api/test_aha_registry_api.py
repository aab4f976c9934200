"""The registry over gRPC: filters, services, marking down, watches that go on, pools."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from aha_trial import config_of, enrolled, local, over_tls, raised, registry
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.directory import leases
from cellmesh.api.aha.v1 import pool_pb2, pool_service_pb2_grpc, registry_pb2
from cellmesh.common.cell import running
from cellmesh.common.errors import AuthDeny, BadArg, BadName, DupName, NoSuchCell, NoSuchName

ADDED = registry_pb2.InstanceChange.KIND_ADDED
UPDATED = registry_pb2.InstanceChange.KIND_UPDATED
REMOVED = registry_pb2.InstanceChange.KIND_REMOVED


@pytest.fixture
def aha(tmp_path: Path) -> Iterator[AhaCell]:
    with running(AhaCell(config_of(tmp_path / "aha"))) as cell:
        yield cell


@pytest.fixture
def channel(aha: AhaCell) -> Iterator[grpc.Channel]:
    with local(aha) as opened:
        yield opened


def register(channel: grpc.Channel, name: str, **changed: Any) -> registry_pb2.Instance:
    kind = name.split(".")[1]
    facts = {"name": f"{name}.demo", "kind": kind, "address": "127.0.0.1:4000", "ready": True, **changed}
    request = registry_pb2.RegisterInstanceRequest(instance=registry_pb2.Instance(**facts))
    return registry(channel).RegisterInstance(request).instance


def renew(channel: grpc.Channel, name: str, ready: bool = True) -> registry_pb2.Instance:
    request = registry_pb2.RenewInstanceRequest(name=f"{name}.demo", ready=ready)
    return registry(channel).RenewInstance(request).instance


def remove(channel: grpc.Channel, name: str) -> None:
    registry(channel).UnregisterInstance(registry_pb2.UnregisterInstanceRequest(name=f"{name}.demo"))


def mark(channel: grpc.Channel, name: str, down: bool) -> registry_pb2.Instance:
    request = registry_pb2.SetInstanceDownRequest(name=f"{name}.demo", down=down)
    return registry(channel).SetInstanceDown(request).instance


def pools(channel: grpc.Channel) -> pool_service_pb2_grpc.PoolServiceStub:
    return pool_service_pb2_grpc.PoolServiceStub(channel)


def told(message: registry_pb2.WatchInstancesResponse) -> list[tuple[int, str]]:
    return [(change.kind, change.instance.name.removesuffix(".demo")) for change in message.changes]


def test_instances_are_listed_by_what_is_asked_for(channel: grpc.Channel) -> None:
    register(channel, "00.cortex", leader=True)
    register(channel, "01.cortex", ready=False)
    register(channel, "00.axon", leader=True)

    def listed(**wanted: Any) -> list[str]:
        page = registry(channel).ListInstances(registry_pb2.ListInstancesRequest(**wanted))
        return [item.name.removesuffix(".demo") for item in page.instances if item.service != "aha"]

    assert listed() == ["00.axon", "00.cortex", "01.cortex"]
    assert listed(kind="cortex") == ["00.cortex", "01.cortex"]
    assert listed(ready=False) == ["01.cortex"]
    assert listed(service="cortex", ready=True) == ["00.cortex"]
    assert listed(leader=True) == ["00.axon", "00.cortex"]
    assert listed(leader=False) == ["01.cortex"]
    assert listed(network="demo", kind="axon") == ["00.axon"]
    assert listed(network="else") == []
    # Pages count what is asked for.
    page = registry(channel).ListInstances(registry_pb2.ListInstancesRequest(kind="cortex", page_size=1))
    assert [item.name for item in page.instances] == ["00.cortex.demo"]
    more = registry_pb2.ListInstancesRequest(kind="cortex", page_token=page.next_page_token)
    assert [item.name for item in registry(channel).ListInstances(more).instances] == ["01.cortex.demo"]


def test_services_and_the_network_at_a_glance(aha: AhaCell, channel: grpc.Channel) -> None:
    register(channel, "00.cortex", leader=True)
    register(channel, "01.cortex", ready=False)
    found = registry(channel).ListServices(registry_pb2.ListServicesRequest()).services
    assert [(item.service, item.leader, item.instance_count, item.ready_count) for item in found] == [
        ("aha", "00.aha.demo", 1, 1),
        ("cortex", "00.cortex.demo", 2, 1),
    ]
    network = registry(channel).GetNetwork(registry_pb2.GetNetworkRequest())
    assert network.network == "demo"
    assert [item.address for item in network.registries] == [aha.tcp_address]
    assert network.revision


def test_what_is_marked_down_stays_down_whatever_it_says(tmp_path: Path) -> None:
    with running(AhaCell(config_of(tmp_path / "aha"))) as aha, local(aha) as channel:
        register(channel, "00.cortex")
        marked = mark(channel, "00.cortex", True)
        assert (marked.down, marked.ready) == (True, False)
        assert not renew(channel, "00.cortex").ready
        # It starts anew, and so does AHA.
        assert not register(channel, "00.cortex", version="2").ready
        assert isinstance(raised(lambda: mark(channel, "09.cortex", True)), NoSuchCell)
    with running(AhaCell(config_of(tmp_path / "aha"))) as aha, local(aha) as channel:
        assert not renew(channel, "00.cortex").ready
        assert not mark(channel, "00.cortex", False).down
        assert renew(channel, "00.cortex").ready


def watch(channel: grpc.Channel, **wanted: Any) -> Any:
    return registry(channel).WatchInstances(registry_pb2.WatchInstancesRequest(**wanted))


def test_a_watch_goes_on_from_a_revision(channel: grpc.Channel) -> None:
    stream = watch(channel, kind="cortex")
    first = next(stream)
    assert first.snapshot
    assert told(first) == []
    register(channel, "00.axon")
    register(channel, "00.cortex")
    seen = next(stream)
    assert not seen.snapshot
    assert told(seen) == [(ADDED, "00.cortex")]
    stream.cancel()
    register(channel, "01.cortex")
    mark(channel, "00.cortex", True)
    remove(channel, "01.cortex")
    again = next(watch(channel, kind="cortex", revision=seen.revision))
    assert not again.snapshot
    assert told(again) == [(ADDED, "01.cortex"), (UPDATED, "00.cortex"), (REMOVED, "01.cortex")]
    quiet = next(watch(channel, kind="cortex", revision=again.revision))
    assert (quiet.snapshot, told(quiet)) == (False, [])


def test_a_revision_that_is_not_remembered_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RECENT_COUNT", 4)
    with running(AhaCell(config_of(tmp_path / "aha"))) as aha, local(aha) as channel:
        register(channel, "00.cortex")
        begun = next(watch(channel))
        for ready in (False, True, False, True):
            renew(channel, "00.cortex", ready=ready)
        assert len(told(next(watch(channel, revision=begun.revision)))) == 4
        renew(channel, "00.cortex", ready=False)
        late = next(watch(channel, revision=begun.revision))
        assert late.snapshot
        assert told(late) == [(ADDED, "00.aha"), (ADDED, "00.cortex")]
        ahead = next(watch(channel, revision=late.revision + 1))
        assert ahead.snapshot
    with running(AhaCell(config_of(tmp_path / "aha"))) as aha, local(aha) as channel:
        assert next(watch(channel, revision=late.revision)).snapshot


def test_a_pool_is_kept_over_a_restart(tmp_path: Path) -> None:
    with running(AhaCell(config_of(tmp_path / "aha"))) as aha, local(aha) as channel:
        made = pools(channel).CreatePool(pool_pb2.CreatePoolRequest(name="many", members=["axon"])).pool
        assert [(item.name, item.adder) for item in made.members] == [("axon", "root")]
        assert made.creator == "root"
        for _ in range(2):
            pools(channel).AddPoolMember(pool_pb2.AddPoolMemberRequest(name="many", member="01.cortex.demo"))
    with running(AhaCell(config_of(tmp_path / "aha"))) as aha, local(aha) as channel:
        found = pools(channel).ListPools(pool_pb2.ListPoolsRequest()).pools
        assert [(pool.name, [item.name for item in pool.members]) for pool in found] == [
            ("many", ["axon", "01.cortex"])
        ]
        got = pools(channel).GetPool(pool_pb2.GetPoolRequest(name="many")).pool
        assert got == found[0]
        for _ in range(2):
            pools(channel).DeletePool(pool_pb2.DeletePoolRequest(name="many"))
        get = pool_pb2.GetPoolRequest(name="many")
        assert isinstance(raised(lambda: pools(channel).GetPool(get)), NoSuchName)


def test_names_of_pools_and_services_are_apart(aha: AhaCell, channel: grpc.Channel, tmp_path: Path) -> None:
    register(channel, "00.axon")
    create = pools(channel).CreatePool
    assert isinstance(raised(lambda: create(pool_pb2.CreatePoolRequest(name="axon"))), DupName)
    assert isinstance(raised(lambda: create(pool_pb2.CreatePoolRequest(name="Many"))), BadName)
    wrong = pool_pb2.CreatePoolRequest(name="many", members=["0.x.y.z"])
    assert isinstance(raised(lambda: create(wrong)), BadName)
    create(pool_pb2.CreatePoolRequest(name="many"))
    assert isinstance(raised(lambda: create(pool_pb2.CreatePoolRequest(name="many"))), DupName)
    assert isinstance(raised(lambda: register(channel, "00.many")), BadName)
    alice = enrolled(aha, tmp_path / "alice", user="alice")
    with over_tls(aha, alice) as of_alice:
        other = pool_pb2.CreatePoolRequest(name="mine")
        assert isinstance(raised(lambda: pools(of_alice).CreatePool(other)), AuthDeny)
        assert pools(of_alice).ListPools(pool_pb2.ListPoolsRequest()).pools


def test_a_watch_of_a_pool_follows_its_members(channel: grpc.Channel) -> None:
    register(channel, "00.axon")
    register(channel, "00.other")
    pools(channel).CreatePool(pool_pb2.CreatePoolRequest(name="many", members=["axon"]))
    found = registry(channel).GetService(registry_pb2.GetServiceRequest(name="many"))
    assert [item.name for item in found.instances] == ["00.axon.demo"]
    assert list(found.pool_members) == ["axon"]
    stream = watch(channel, pool="many")
    first = next(stream)
    assert (told(first), list(first.pool_members)) == ([(ADDED, "00.axon")], ["axon"])
    register(channel, "01.other")
    register(channel, "01.axon")
    assert told(next(stream)) == [(ADDED, "01.axon")]
    pools(channel).AddPoolMember(pool_pb2.AddPoolMemberRequest(name="many", member="01.other"))
    anew = next(stream)
    assert anew.snapshot
    assert [name for _, name in told(anew)] == ["00.axon", "01.axon", "01.other"]
    remove(channel, "00.axon")
    assert told(next(stream)) == [(REMOVED, "00.axon")]
    assert isinstance(raised(lambda: next(watch(channel, pool="none"))), NoSuchName)
    assert isinstance(raised(lambda: next(watch(channel, pool="many", service="axon"))), BadArg)
