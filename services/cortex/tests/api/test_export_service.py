"""ExportNodes: every node of a query once, with its data and the edges between nodes of the export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.api.cortex.v1 import export_pb2, storm_pb2
from cellmesh.api.cortex.v1.export_service_pb2_grpc import ExportServiceStub
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadSyntax, IsReadOnly, NoSuchProp, NoSuchView
from cellmesh.common.values import from_value
from cellmesh.cortex.api import export as api_export
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

SETUP = """
    inet:fqdn=a.example [ +#case.one=(2020, 2021) ] | spin |
    [ inet:ipv4=1.2.3.4 :asn=7 +(refs)> { inet:fqdn=a.example } +(seen)> { inet:fqdn=example } ]
    $node.data.set(origin, ({"feed": "x", "rows": [1, 2]}))
"""


@pytest.fixture(scope="module")
def cortex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CellClient]:
    folder: Path = tmp_path_factory.mktemp("export") / "cortex"
    config = load_config(CortexConfig, dir=folder, flags={"log_level": "error"}, environ={})
    with running(CortexCell(config)), open_cell(f"unix://{config.dir}/cell.sock") as cell:
        count(cell, "[ inet:fqdn=a.example ]")
        count(cell, "[ inet:fqdn=example ]")
        cell.stub(StormServiceStub).CallStorm(storm_pb2.CallStormRequest(text=SETUP))
        yield cell


def count(cortex: CellClient, text: str) -> int:
    return int(cortex.stub(StormServiceStub).CountStorm(storm_pb2.CountStormRequest(text=text)).count)


def export(cortex: CellClient, text: str, is_bare: bool = False) -> list[export_pb2.ExportNodesResponse]:
    request = export_pb2.ExportNodesRequest(text=text, without_edges=is_bare, without_node_data=is_bare)
    return list(cortex.stub(ExportServiceStub).ExportNodes(request))


def nodes(messages: list[export_pb2.ExportNodesResponse]) -> list[export_pb2.ExportedNode]:
    return [node for message in messages for node in message.nodes]


def test_an_export_has_data_and_the_edges_between_its_nodes(cortex: CellClient) -> None:
    found = nodes(export(cortex, "inet:ipv4=1.2.3.4 inet:fqdn=a.example"))
    address, host = found
    assert [(edge.verb, edge.form, from_value(edge.value)) for edge in address.edges] == [
        ("refs", "inet:fqdn", "a.example")
    ]
    assert address.edges[0].buid == host.node.buid
    assert from_value(address.node_data["origin"]) == {"feed": "x", "rows": [1, 2]}
    assert from_value(address.node.props["asn"]) == 7
    assert "case.one" in host.node.tags


def test_edges_and_data_can_be_left_out(cortex: CellClient) -> None:
    found = nodes(export(cortex, "inet:ipv4 inet:fqdn=a.example", is_bare=True))
    assert [(len(node.edges), len(node.node_data)) for node in found] == [(0, 0), (0, 0)]


def test_a_node_that_comes_twice_is_exported_once(cortex: CellClient) -> None:
    assert len(nodes(export(cortex, "inet:ipv4 inet:ipv4"))) == 1


def test_many_nodes_come_in_the_order_of_the_query(cortex: CellClient) -> None:
    count(cortex, "for $number in $lib.range(1300) { [ inet:asn=$number ] }")
    messages = export(cortex, "inet:asn")
    values = [from_value(node.node.value) for node in nodes(messages)]
    assert messages[0].total_count == len(values)
    assert sorted(values) == list(range(1300))
    assert len(messages) < 100


def test_nodes_that_are_not_stored_are_counted_and_left_out(cortex: CellClient) -> None:
    messages = export(cortex, "syn:form=inet:fqdn inet:ipv4")
    assert (messages[0].total_count, messages[0].runtime_count) == (2, 1)
    assert len(nodes(messages)) == 1


def test_faults_of_the_query_fail_the_call(cortex: CellClient) -> None:
    with pytest.raises(BadSyntax):
        export(cortex, "inet:ipv4 +(")
    with pytest.raises(NoSuchProp):
        export(cortex, "no:such:form=1")
    with pytest.raises(IsReadOnly):
        export(cortex, "[ inet:ipv4=8.8.8.8 ]")
    request = export_pb2.ExportNodesRequest(
        text="inet:ipv4", options=storm_pb2.StormOptions(view_id="0" * 32)
    )
    with pytest.raises(NoSuchView):
        list(cortex.stub(ExportServiceStub).ExportNodes(request))


def test_a_node_with_many_edges_comes_in_parts(cortex: CellClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_export, "EDGES_A_PART_MAX", 3)
    count(cortex, "[ it:dev:str=hub ]")
    count(cortex, "for $i in $lib.range(8) { [ it:dev:int=$i <(refs)+ { it:dev:str=hub } ] }")
    *others, first, second, third = nodes(export(cortex, "it:dev:int it:dev:str=hub"))
    assert [len(part.edges) for part in (first, second, third)] == [3, 3, 2]
    assert [part.continues for part in (*others, first, second, third)] == [False] * 9 + [True] * 2
    assert {from_value(edge.value) for part in (first, second, third) for edge in part.edges} == set(range(8))
    for part in (second, third):
        assert (part.node.form, from_value(part.node.value), part.node.buid) == (
            "it:dev:str",
            "hub",
            first.node.buid,
        )
        assert not part.node.props
    # A node behind one with many edges has its own.
    hub, *_, last = nodes(export(cortex, "it:dev:str=hub inet:ipv4=1.2.3.4 inet:fqdn=a.example"))
    assert not hub.edges
    assert not last.edges
