"""Bad records of a feed: each is rejected by itself, with its place and why, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cortex.v1 import feed_pb2, storm_pb2
from cellmesh.api.cortex.v1.feed_service_pb2_grpc import FeedServiceStub
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import DeadlineExceeded
from cellmesh.common.values import from_value, to_value
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.layers.schema import DATABASES
from cellmesh.cortex.views.verify import check_layer

Value = value_pb2.Value
IP = "inet:ipv4"


def message(value: object) -> value_pb2.Value:
    return value if isinstance(value, Value) else to_value(value)


def record(form: str, value: object, **fields: Any) -> feed_pb2.FeedNode:
    made = feed_pb2.FeedNode(form=form, value=message(value))
    for field in ("props", "tags", "node_data"):
        for name, given in fields.get(field, {}).items():
            getattr(made, field)[name].CopyFrom(message(given))
    for tag, props in fields.get("tag_props", {}).items():
        for name, given in props.items():
            made.tag_props[tag].props[name].CopyFrom(message(given))
    for verb, other, given in fields.get("edges", ()):
        made.edges.add(verb=verb, to=feed_pb2.FeedNodeRef(form=other, value=message(given)))
    return made


def unhashable_key() -> value_pb2.Value:
    made = Value()
    made.map_value.entries.add().value_key.list_value.items.add().map_value.entries.add().key = "a"
    return made


NO_NUMBER = Value(big_int_value="abc")
FAR_TOO_LARGE = Value(decimal_value="1e20000000")

# What is bad of a record, the error's name, and its field: "" if it is the node itself, None if the name is cut or unusual.
BAD: Mapping[str, tuple[feed_pb2.FeedNode, str, str | None]] = {
    "null": (record(IP, None), "BadTypeValu", ""),
    "no kind at all": (record(IP, Value()), "BadTypeValu", ""),
    "a truth": (record(IP, True), "BadTypeValu", ""),
    "too large": (record(IP, 2**32), "BadTypeValu", ""),
    "beyond 64 bits": (record("inet:asn", 2**64), "BadTypeValu", ""),
    "beyond 128 bits": (record("inet:ipv6", 2**128), "BadTypeValu", ""),
    "no number at all": (record("inet:asn", float("nan")), "BadTypeValu", ""),
    "infinite": (record("inet:asn", float("-inf")), "BadTypeValu", ""),
    "an exponent": (record("inet:asn", FAR_TOO_LARGE), "BadTypeValu", ""),
    "an exponent in a property": (
        record("geo:telem", "*", props={"accuracy": FAR_TOO_LARGE}),
        "BadTypeValu",
        "props.accuracy",
    ),
    "many digits": (
        record("geo:telem", "*", props={"accuracy": "9" * 200_000 + " m"}),
        "BadTypeValu",
        "props.accuracy",
    ),
    "a zero byte": (record("inet:fqdn", "a\0b"), "BadTypeValu", ""),
    "bytes": (record(IP, b"\xff"), "BadTypeValu", ""),
    "a list": (record(IP, [1, 2]), "BadTypeValu", ""),
    "too few": (record("inet:dns:a", ["a.example"]), "BadTypeValu", ""),
    "text of a number": (record(IP, NO_NUMBER), "BadDataValu", "value"),
    "text of a decimal": (record(IP, Value(decimal_value="1.2.3")), "BadDataValu", "value"),
    "a key that is none": (record("ou:org", unhashable_key()), "BadDataValu", "value"),
    "text of a number in a property": (record(IP, 7, props={"asn": NO_NUMBER}), "BadDataValu", "props.asn"),
    "text of a number in a tag": (record(IP, 7, tags={"a.b": NO_NUMBER}), "BadDataValu", "tags.a.b"),
    "text of a number in an edge": (
        record(IP, 7, edges=[("refs", IP, 1), ("refs", IP, NO_NUMBER)]),
        "BadDataValu",
        "edges[1].to.value",
    ),
    "text of a number in data": (record(IP, 7, node_data={"x": NO_NUMBER}), "BadDataValu", "node_data.x"),
    "text of a number of a tag": (
        record(IP, 7, tag_props={"a": {"score": NO_NUMBER}}),
        "BadDataValu",
        "tag_props.a.score",
    ),
    "nothing": (feed_pb2.FeedNode(), "NoSuchForm", ""),
    "an unknown form": (record("no:such", 1), "NoSuchForm", ""),
    "a form in capitals": (record("INET:IPV4", 1), "NoSuchForm", ""),
    "an extended form that is not there": (record("_no:such", 1), "NoSuchForm", ""),
    "a form of the running cell": (record("syn:form", "inet:ipv4"), "IsRuntForm", ""),
    "an unknown property": (record(IP, 7, props={"nosuch": 1}), "NoSuchProp", "props.nosuch"),
    "an unknown property of all": (record(IP, 7, props={".nosuch": 1}), "NoSuchProp", "props..nosuch"),
    "a property by its full name": (record(IP, 7, props={"inet:ipv4:asn": 1}), "NoSuchProp", None),
    "a value of a property": (record(IP, 7, props={"asn": "x"}), "BadTypeValu", "props.asn"),
    "the second property": (record(IP, 7, props={"asn": 1, "loc": [1]}), "BadTypeValu", "props.loc"),
    "a time": (record(IP, 7, props={".seen": "soonish"}), "BadTypeValu", "props..seen"),
    "a property of the value": (
        record("inet:dns:a", ["a.example", "1.2.3.4"], props={"fqdn": "b.example"}),
        "ReadOnlyProp",
        "",
    ),
    "a tag without a name": (record(IP, 7, tags={"": None}), "BadTypeValu", "tags."),
    "a tag with an empty part": (record(IP, 7, tags={"a..b": None}), "BadTypeValu", "tags.a..b"),
    "a tag too long": (record(IP, 7, tags={"x" * 3000: None}), "BadName", None),
    "a tag too deep": (record(IP, 7, tags={".".join("x" * 1000): None}), "LimitExceeded", None),
    "an interval": (record(IP, 7, tags={"a": "soonish"}), "BadTypeValu", "tags.a"),
    "an interval backwards": (record(IP, 7, tags={"a": ["2021", "2020"]}), "BadTypeValu", "tags.a"),
    "an interval of three": (record(IP, 7, tags={"a": [1, 2, 3]}), "BadTypeValu", "tags.a"),
    "an unknown tag property": (
        record(IP, 7, tag_props={"a": {"nosuch": 1}}),
        "NoSuchTagProp",
        "tag_props.a.nosuch",
    ),
    "a value of a tag property": (
        record(IP, 7, tag_props={"a": {"score": 101}}),
        "BadTypeValu",
        "tag_props.a.score",
    ),
    "a verb without a name": (record(IP, 7, edges=[("", IP, 1)]), "BadName", "edges[0]"),
    "a verb too long": (record(IP, 7, edges=[("x" * 3000, IP, 1)]), "BadName", "edges[0]"),
    "an edge to nowhere": (record(IP, 7, edges=[("refs", "no:such", 1)]), "NoSuchForm", "edges[0]"),
    "a value of the second edge": (
        record(IP, 7, edges=[("refs", IP, 1), ("refs", IP, "x")]),
        "BadTypeValu",
        "edges[1]",
    ),
    "an edge to the running cell": (
        record(IP, 7, edges=[("refs", "syn:form", "inet:ipv4")]),
        "IsRuntForm",
        "edges[0]",
    ),
    "data without a name": (record(IP, 7, node_data={"": 1}), "BadName", "node_data."),
    "data with a name too long": (record(IP, 7, node_data={"x" * 3000: 1}), "BadName", None),
    "only the last is bad": (
        record(IP, 7, props={"asn": 99}, tags={"a": None}, edges=[("seen", IP, 1)], node_data={"x" * 600: 1}),
        "BadName",
        None,
    ),
}


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CellClient, CortexCell]]:
    folder: Path = tmp_path_factory.mktemp("badfeed") / "cortex"
    config = load_config(CortexConfig, dir=folder, flags={"log_level": "error"}, environ={})
    cortex = CortexCell(config)
    with running(cortex), open_cell(f"unix://{config.dir}/cell.sock") as client:
        client.stub(StormServiceStub).CallStorm(
            storm_pb2.CallStormRequest(
                text="$lib.model.ext.addTagProp(score, (int, ({'min': 0, 'max': 100})), ({}))"
            )
        )
        yield client, cortex


def is_sound(cortex: CortexCell) -> bool:
    graph = cortex.graph
    return not [f for layer in graph.layers.values() for f in check_layer(graph, layer, lambda: None)]


def sizes(cortex: CortexCell) -> dict[str, int]:
    with cortex.graph.slab.view() as txn:
        return {db.name: txn.entries(db) for db in DATABASES}


def answers(client: CellClient, *batches: list[feed_pb2.FeedNode]) -> list[feed_pb2.AddNodesResponse]:
    requests = [feed_pb2.AddNodesRequest(nodes=nodes) for nodes in batches]
    return list(client.stub(FeedServiceStub).AddNodes(iter(requests)))


@pytest.mark.parametrize("what", BAD)
def test_a_bad_record_is_rejected_by_itself(cell: tuple[CellClient, CortexCell], what: str) -> None:
    client, cortex = cell
    bad, name, field = BAD[what]
    first = 100_000 + 2 * list(BAD).index(what)
    before = sizes(cortex)
    (answer,) = answers(client, [record("inet:asn", first), bad, record("inet:asn", first + 1)])
    assert (answer.accepted_count, answer.new_node_count) == (2, 2)
    (reject,) = answer.rejects
    assert (reject.index, reject.error.name) == (1, name)
    assert 10 < len(reject.error.message) < 250
    told = {entry.key: from_value(entry.value) for entry in reject.error.fields.entries}
    if field is not None:
        assert told.get("field", "") == field
    after = sizes(cortex)
    # The two others, which have only their value and the time at which they were made.
    assert after["nodes"] == before["nodes"] + 2
    assert after["by_prop"] <= before["by_prop"] + 4
    for other in ("edges_out", "by_tag", "by_tag_prop", "node_data"):
        assert after[other] == before[other]
    assert is_sound(cortex)


def test_all_of_them_in_one_batch_and_in_batches_of_one(cell: tuple[CellClient, CortexCell]) -> None:
    client, cortex = cell
    good = [record("inet:asn", 200_000 + n) for n in range(len(BAD))]
    mixed = [one for pair in zip((bad for bad, _, _ in BAD.values()), good, strict=True) for one in pair]
    (answer,) = answers(client, mixed)
    assert (answer.accepted_count, answer.new_node_count) == (len(BAD), len(BAD))
    assert [reject.index for reject in answer.rejects] == list(range(0, 2 * len(BAD), 2))
    assert [reject.error.name for reject in answer.rejects] == [name for _, name, _ in BAD.values()]
    # The same, fed singly, and known by now: bad ones stay bad and no other one fails.
    singly = answers(client, *([one] for one in mixed))
    assert [one.accepted_count for one in singly] == [0, 1] * len(BAD)
    assert sum(one.edit_count for one in singly) == 0
    assert is_sound(cortex)


def test_a_record_that_comes_again_and_is_bad_then(cell: tuple[CellClient, CortexCell]) -> None:
    client, cortex = cell
    (answer,) = answers(
        client,
        [
            record(IP, 70_000),
            record(IP, "0.1.17.112", props={"asn": 3}),
            record(IP, 70_000, props={"asn": 4}),
            record(IP, 70_000, props={"asn": "x"}, tags={"a": None}),
        ],
    )
    assert answer.accepted_count == 3
    assert [reject.index for reject in answer.rejects] == [3]
    found = client.stub(StormServiceStub).CallStorm(
        storm_pb2.CallStormRequest(text="inet:ipv4=0.1.17.112 return((:asn, $node.tags()))")
    )
    assert from_value(found.value) == [4, []]
    assert is_sound(cortex)


def test_a_client_that_stops_half_way(cell: tuple[CellClient, CortexCell]) -> None:
    client, cortex = cell
    each = 250

    def batches() -> Iterator[feed_pb2.AddNodesRequest]:
        for start in range(300_000, 320_000, each):
            yield feed_pb2.AddNodesRequest(nodes=[record("inet:asn", start + n) for n in range(each)])

    stream: Any = client.stub(FeedServiceStub).AddNodes(batches())
    next(stream)
    stream.cancel()
    with pytest.raises(DeadlineExceeded):
        list(client.stub(FeedServiceStub).AddNodes(batches(), timeout=0.05))
    # Whole batches or nothing of them; and the next feed is served.
    answers(client, [record("inet:asn", 400_000)])
    counted = client.stub(StormServiceStub).CountStorm(
        storm_pb2.CountStormRequest(text="inet:asn>=300000 +inet:asn<320000")
    )
    assert counted.count % each == 0
    assert counted.count >= each
    assert is_sound(cortex)
