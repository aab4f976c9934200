"""The control plane of a running AHA, over TLS, checked against the host that is dialled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.aha.xds.names import Kind
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.rpc.channel import open_channel
from cellmesh.third_party.xds.v3 import discovery_pb2, discovery_pb2_grpc, listener_pb2

HOST = "127.0.0.2"
"""No address that every certificate holds for."""


@pytest.fixture
def aha(tmp_path: Path) -> Iterator[AhaCell]:
    flags = {"network": "demo", "stop_grace_s": 1.0, "listen": f"{HOST}:0"}
    with running(AhaCell(load_config(AhaConfig, dir=tmp_path / "aha", flags=flags, environ={}))) as cell:
        yield cell


def ask(channel: grpc.Channel, *requests: discovery_pb2.DiscoveryRequest) -> Iterator[object]:
    stub = discovery_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
    return stub.StreamAggregatedResources(iter(requests), timeout=5.0)


def test_aha_is_found_at_the_host_it_is_told_to_be_at(aha: AhaCell) -> None:
    request = discovery_pb2.DiscoveryRequest(type_url=Kind.LISTENER.value, resource_names=["aha", "00.aha"])
    with open_channel(aha.tcp_address, identity=aha.root_folder) as channel:
        answer = next(ask(channel, request))
    found = [listener_pb2.Listener.FromString(item.value).name for item in answer.resources]
    assert found == ["00.aha", "aha"]


def test_too_many_names_end_the_stream_with_an_error(aha: AhaCell) -> None:
    request = discovery_pb2.DiscoveryRequest(
        type_url=Kind.LISTENER.value, resource_names=[f"n{number}" for number in range(5000)]
    )
    with (
        open_channel(aha.tcp_address, identity=aha.root_folder) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        next(ask(channel, request))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_types_that_are_unknown_are_passed_over(aha: AhaCell) -> None:
    odd = discovery_pb2.DiscoveryRequest(type_url="type.googleapis.com/envoy.service.runtime.v3.Runtime")
    known = discovery_pb2.DiscoveryRequest(type_url=Kind.LISTENER.value, resource_names=["aha"])
    with open_channel(aha.tcp_address, identity=aha.root_folder) as channel:
        answer = next(ask(channel, odd, known))
    assert answer.type_url == Kind.LISTENER.value


def test_a_stop_does_not_wait_for_streams(aha: AhaCell) -> None:
    request = discovery_pb2.DiscoveryRequest(type_url=Kind.LISTENER.value, resource_names=["aha"])
    over = threading.Event()

    def sent() -> Iterator[discovery_pb2.DiscoveryRequest]:
        yield request
        over.wait(10.0)

    with open_channel(aha.tcp_address, identity=aha.root_folder) as channel:
        stub = discovery_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        answers = stub.StreamAggregatedResources(sent(), timeout=30.0)
        next(answers)
        aha.registry.close_watches()
        assert list(answers) == []
        over.set()
