"""Bad edits for a layer: a call of them is refused as a whole, with the place and why, and nothing of it is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cortex.v1 import layer_pb2, node_edit_pb2, storm_pb2
from cellmesh.api.cortex.v1.layer_service_pb2_grpc import LayerServiceStub
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import CellError, NoSuchLayer
from cellmesh.common.values import from_value, to_value
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.layers.schema import DATABASES
from cellmesh.cortex.values.ids import buid_of
from cellmesh.cortex.views.verify import check_layer

Value = value_pb2.Value
Edit = node_edit_pb2.NodeEdit
NodeEdits = node_edit_pb2.NodeEdits

IP = "inet:ipv4"
ADD = Edit(node_add=node_edit_pb2.NodeAdd())
OTHER = buid_of(IP, 9)
LONG = "x" * 3000
NO_NUMBER = Value(big_int_value="abc")


def message(value: object) -> value_pb2.Value:
    return value if isinstance(value, Value) else to_value(value)


def node(form: str, value: object, *edits: node_edit_pb2.NodeEdit) -> node_edit_pb2.NodeEdits:
    return NodeEdits(form=form, value=message(value), edits=[ADD, *edits])


def prop(name: str, value: object) -> node_edit_pb2.NodeEdit:
    return Edit(prop_set=node_edit_pb2.PropSet(name=name, value=message(value)))


def tag_prop(tag: str, name: str, value: object) -> node_edit_pb2.NodeEdit:
    return Edit(tag_prop_set=node_edit_pb2.TagPropSet(tag=tag, name=name, value=message(value)))


def data(name: str, value: object) -> node_edit_pb2.NodeEdit:
    return Edit(node_data_set=node_edit_pb2.NodeDataSet(name=name, value=message(value)))


def edge(verb: str, buid: bytes, form: str = "") -> node_edit_pb2.NodeEdit:
    to = node_edit_pb2.NodeKey(buid=buid, form=form, value=to_value(9) if form else None)
    return Edit(edge_add=node_edit_pb2.EdgeAdd(verb=verb, to=to))


BAD: Mapping[str, tuple[node_edit_pb2.NodeEdits, str]] = {
    "nothing": (NodeEdits(), "BadArg"),
    "no form": (node("", 5), "BadArg"),
    "no value": (NodeEdits(form=IP, edits=[ADD]), "BadArg"),
    "an unknown form": (node("no:such", 5), "NoSuchForm"),
    "a form of the running cell": (node("syn:form", IP), "NoSuchForm"),
    "a value not normalised": (node(IP, "1.2.3.4"), "BadTypeValu"),
    "a name with capitals": (node("inet:fqdn", "EXAMPLE.com"), "BadTypeValu"),
    "a property not normalised": (node(IP, 5, prop("loc", "US.CA")), "BadTypeValu"),
    "a tag not normalised": (node(IP, 5, Edit(tag_set=node_edit_pb2.TagSet(name="A"))), "BadTypeValu"),
    "a value too large": (node(IP, 2**33), "BadTypeValu"),
    "a value below": (node(IP, -1), "BadTypeValu"),
    "null": (node(IP, None), "BadTypeValu"),
    "a map": (node(IP, {"a": 1}), "BadTypeValu"),
    "text of a number": (node(IP, NO_NUMBER), "BadDataValu"),
    "a number for text": (node("inet:fqdn", 5), "BadTypeValu"),
    "no guid": (node("ou:org", "zz"), "BadTypeValu"),
    "an unknown property": (node(IP, 5, prop("nosuch", 1)), "NoSuchProp"),
    "a property without a name": (node(IP, 5, prop("", 1)), "NoSuchProp"),
    "a property's value": (node(IP, 5, prop("asn", "x")), "BadTypeValu"),
    "a property's value beyond 64 bits": (node(IP, 5, prop("asn", 2**70)), "BadTypeValu"),
    "a property's number": (node(IP, 5, prop("asn", NO_NUMBER)), "BadDataValu"),
    "one coordinate": (node(IP, 5, prop("latlong", [1.0])), "BadTypeValu"),
    "half an interval": (node(IP, 5, prop(".seen", [5])), "BadTypeValu"),
    "an element": (node("ou:org", "0" * 32, prop("names", ["a", 5])), "BadTypeValu"),
    "a tag without a name": (node(IP, 5, Edit(tag_set=node_edit_pb2.TagSet())), "BadName"),
    "a tag too long": (node(IP, 5, Edit(tag_set=node_edit_pb2.TagSet(name=LONG))), "BadName"),
    "an unknown tag property": (node(IP, 5, tag_prop("a", "nosuch", 1)), "NoSuchTagProp"),
    "a tag property's value": (node(IP, 5, tag_prop("a", "score", "x")), "BadTypeValu"),
    "half a buid": (node(IP, 5, edge("refs", b"abc")), "BadArg"),
    "no verb": (node(IP, 5, edge("", OTHER)), "BadArg"),
    "a verb too long": (node(IP, 5, edge(LONG, OTHER)), "BadName"),
    "an edge to nowhere": (node(IP, 5, edge("refs", OTHER, "no:such")), "NoSuchForm"),
    "data without a name": (node(IP, 5, data("", 1)), "BadName"),
    "data with a name too long": (node(IP, 5, data(LONG, 1)), "BadName"),
    "data gone with a name too long": (
        node(IP, 5, Edit(node_data_delete=node_edit_pb2.NodeDataDelete(name=LONG))),
        "BadName",
    ),
    "data that are none": (node(IP, 5, data("x", NO_NUMBER)), "BadDataValu"),
    "an edit of no kind": (node(IP, 5, Edit()), "BadArg"),
}


@pytest.fixture(scope="module")
def cell(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[CellClient, CortexCell, tuple[str, str]]]:
    folder: Path = tmp_path_factory.mktemp("badedits") / "cortex"
    config = load_config(CortexConfig, dir=folder, flags={"log_level": "error"}, environ={})
    cortex = CortexCell(config)
    with running(cortex), open_cell(f"unix://{config.dir}/cell.sock") as client:
        text = """
            $lib.model.ext.addTagProp(score, (int, ({})), ({}))
            return(($lib.layer.get().iden, $lib.view.get().fork().layers.0.iden))
        """
        found = client.stub(StormServiceStub).CallStorm(storm_pb2.CallStormRequest(text=text))
        base, fork = from_value(found.value)
        yield client, cortex, (base, fork)


def sizes(cortex: CortexCell) -> dict[str, int]:
    with cortex.graph.slab.view() as txn:
        return {db.name: txn.entries(db) for db in DATABASES}


@pytest.mark.parametrize("what", BAD)
def test_bad_edits_are_refused_as_a_whole(
    cell: tuple[CellClient, CortexCell, tuple[str, str]], what: str
) -> None:
    client, cortex, layers = cell
    bad, name = BAD[what]
    before = sizes(cortex)
    for layer in layers:
        request = layer_pb2.SaveLayerEditsRequest(layer_id=layer, nodes=[node("inet:asn", 5), bad])
        with pytest.raises(CellError) as caught:
            client.stub(LayerServiceStub).SaveLayerEdits(request)
        assert type(caught.value).__name__ == name
        assert caught.value.get("node") == 1
    assert sizes(cortex) == before
    graph = cortex.graph
    assert not [f for layer in graph.layers.values() for f in check_layer(graph, layer, lambda: None)]


@pytest.mark.parametrize("layer_id", ["", "zz", "0" * 32, "\0", LONG])
def test_unknown_layers(cell: tuple[CellClient, CortexCell, tuple[str, str]], layer_id: str) -> None:
    with pytest.raises(NoSuchLayer):
        cell[0].stub(LayerServiceStub).SaveLayerEdits(layer_pb2.SaveLayerEditsRequest(layer_id=layer_id))
