"""Leadership over TLS: cells speak for themselves, and the registry tells who leads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.api.aha.v1 import (
    enrollment_pb2,
    enrollment_service_pb2_grpc,
    leadership_pb2,
    leadership_service_pb2_grpc,
    registry_pb2,
    registry_service_pb2_grpc,
)
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import (
    AuthDeny,
    BadArg,
    BadName,
    CellError,
    NoSuchName,
    NotLeader,
    Retry,
    from_rpc_error,
)
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.folder import IdentityFolder


def config_of(folder: Path) -> AhaConfig:
    return load_config(AhaConfig, dir=folder, flags={"network": "demo", "stop_grace_s": 2.0}, environ={})


@pytest.fixture
def aha(tmp_path: Path) -> Iterator[AhaCell]:
    with running(AhaCell(config_of(tmp_path / "aha"))) as cell:
        yield cell


def enrolled(aha: AhaCell, folder: Path, **subject: Any) -> IdentityFolder:
    identity = IdentityFolder(folder)
    with open_channel(f"unix:{aha.config.dir}/cell.sock") as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        enroll(stub.CreateEnrollment(enrollment_pb2.CreateEnrollmentRequest(**subject)).url, identity)
    return identity


class Instance:
    """A cell as AHA sees it."""

    def __init__(self, aha: AhaCell, identity: IdentityFolder, name: str = "") -> None:
        self.name = name
        self.channel = open_channel(aha.tcp_address, identity=identity, server_name="aha.demo")
        self.registry = registry_service_pb2_grpc.RegistryServiceStub(self.channel)
        self.leadership = leadership_service_pb2_grpc.LeadershipServiceStub(self.channel)

    def register(self) -> registry_pb2.Instance:
        """Register as every cell does, as leader."""
        told = registry_pb2.Instance(name=self.name, address="127.0.0.1:4000", ready=True, leader=True)
        return self.registry.RegisterInstance(registry_pb2.RegisterInstanceRequest(instance=told)).instance

    def claim(self, term: int = 0, lease_s: float = 3, force: bool = False) -> leadership_pb2.Leadership:
        """Ask to lead."""
        request = leadership_pb2.ClaimLeadershipRequest(term=term, force=force)
        request.lease.FromNanoseconds(int(lease_s * 1e9))
        return self.leadership.ClaimLeadership(request).leadership

    def leaders(self) -> list[tuple[str, bool]]:
        """The instances of the service and which of them leads."""
        found = self.registry.GetService(registry_pb2.GetServiceRequest(name="cortex")).instances
        return [(item.name, item.leader) for item in found]


def raised(call: Any) -> CellError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return from_rpc_error(caught.value)


@pytest.fixture
def pair(aha: AhaCell, tmp_path: Path) -> Iterator[tuple[Instance, Instance]]:
    one, two = (
        Instance(aha, enrolled(aha, tmp_path / number, instance=f"{number}.cortex"), f"{number}.cortex.demo")
        for number in ("00", "01")
    )
    with one.channel, two.channel:
        yield one, two


def test_the_registry_tells_the_leader_that_leads(aha: AhaCell, pair: tuple[Instance, Instance]) -> None:
    one, two = pair
    assert one.register().leader
    assert two.register().leader
    watch = two.registry.WatchInstances(registry_pb2.WatchInstancesRequest(service="cortex"))
    assert len(next(watch).changes) == 2
    given = two.claim()
    assert (given.service, given.leader, given.term) == ("cortex", two.name, 1)
    assert 2.5 < given.lease_left.ToNanoseconds() / 1e9 <= 3
    change = next(watch).changes[0]
    assert (change.kind, change.instance.name, change.instance.leader) == (
        registry_pb2.InstanceChange.KIND_UPDATED,
        one.name,
        False,
    )
    assert two.leaders() == [(two.name, True), (one.name, False)]
    # What a cell says of itself counts no more.
    assert not one.register().leader
    handed = two.leadership.TransferLeadership(
        leadership_pb2.TransferLeadershipRequest(term=1, successor=one.name)
    ).leadership
    assert (handed.leader, handed.term) == (one.name, 2)
    assert one.leaders() == [(one.name, True), (two.name, False)]
    told = list(next(watch).changes)
    assert {(change.instance.name, change.instance.leader) for change in told} == {
        (one.name, True),
        (two.name, False),
    }
    watch.cancel()


def test_who_claims_without_right_is_refused(
    aha: AhaCell, pair: tuple[Instance, Instance], tmp_path: Path
) -> None:
    one, two = pair
    missing = leadership_pb2.GetLeadershipRequest(service="cortex")
    nobody = raised(lambda: one.leadership.GetLeadership(missing))
    assert type(nobody) is NoSuchName
    one.claim()
    refused = raised(two.claim)
    assert isinstance(refused, NotLeader)
    assert (refused.get("leader"), refused.get("term")) == (one.name, 1)
    early = raised(lambda: two.claim(force=True))
    assert type(early) is Retry
    assert 0 < early.get("wait_s") <= 3
    assert isinstance(raised(lambda: one.claim(term=1, lease_s=-1)), BadArg)
    renewal = leadership_pb2.RenewLeadershipRequest(term=1)
    assert isinstance(raised(lambda: two.leadership.RenewLeadership(renewal)), NotLeader)
    assert one.leadership.RenewLeadership(renewal).leadership.term == 1
    wrong = leadership_pb2.TransferLeadershipRequest(term=1, successor="00.axon.demo")
    assert isinstance(raised(lambda: one.leadership.TransferLeadership(wrong)), BadName)
    with Instance(aha, enrolled(aha, tmp_path / "alice", user="alice")).channel as channel:
        stub = leadership_service_pb2_grpc.LeadershipServiceStub(channel)
        claim = leadership_pb2.ClaimLeadershipRequest(force=True)
        assert isinstance(raised(lambda: stub.ClaimLeadership(claim)), AuthDeny)
        for name in ("cortex", "cortex.demo"):
            request = leadership_pb2.GetLeadershipRequest(service=name)
            assert stub.GetLeadership(request).leadership.leader == one.name
    with open_channel(f"unix:{aha.config.dir}/cell.sock") as channel:
        stub = leadership_service_pb2_grpc.LeadershipServiceStub(channel)
        assert isinstance(raised(lambda: stub.ClaimLeadership(claim)), AuthDeny)


def test_leader_and_flags_survive_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "aha"
    with running(AhaCell(config_of(folder))) as aha:
        identities = [
            enrolled(aha, tmp_path / number, instance=f"{number}.cortex") for number in ("00", "01")
        ]
        for number, identity in zip(("00", "01"), identities, strict=True):
            cell = Instance(aha, identity, f"{number}.cortex.demo")
            with cell.channel:
                cell.register()
                if number == "01":
                    cell.claim(lease_s=20)
    with running(AhaCell(config_of(folder))) as aha:
        one = Instance(aha, identities[0], "00.cortex.demo")
        with one.channel:
            assert one.leaders() == [("01.cortex.demo", True), ("00.cortex.demo", False)]
            early = raised(lambda: one.claim(force=True))
            assert type(early) is Retry
            assert 18 < early.get("wait_s") <= 20
