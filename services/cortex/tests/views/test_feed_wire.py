"""Records read from their bytes are the records that the generated classes read, and feeding them does the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.common.errors import BadArg, CellError
from cellmesh.common.values import to_value
from cellmesh.cortex.views.feed_values import FeedNode
from cellmesh.cortex.views.feed_wire import WireRecord, plain_record, read_entry, read_request
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from google.protobuf.message import DecodeError
from graph_kit import content, databases, open_graph, replayed

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
NAMES = st.text(max_size=10) | st.text(min_size=130, max_size=140)


def message(record: FeedNode) -> feed_pb2.FeedNode:
    made = feed_pb2.FeedNode(form=record.form, value=to_value(record.value))
    for name, value in record.props.items():
        made.props[name].CopyFrom(to_value(value))
    for name, value in record.tags.items():
        made.tags[name].CopyFrom(to_value(value))
    for edge in record.edges:
        added = made.edges.add(verb=edge.verb, reverse=edge.reverse)
        added.to.form = edge.form
        added.to.value.CopyFrom(to_value(edge.value))
    return made


def request(*records: FeedNode, view_id: str = "") -> bytes:
    nodes = [message(record) for record in records]
    return feed_pb2.AddNodesRequest(nodes=nodes, view_id=view_id).SerializeToString()


RECORDS = st.tuples(
    NAMES, VALUES, st.dictionaries(NAMES, VALUES, max_size=3), st.dictionaries(NAMES, VALUES, max_size=2)
).map(lambda parts: FeedNode(*parts))


@given(st.lists(RECORDS, max_size=4), NAMES)
@settings(max_examples=60, deadline=None)
def test_what_is_read_is_what_was_written(records: list[FeedNode], view_id: str) -> None:
    read, view = read_request(request(*records, view_id=view_id))
    assert view == view_id
    for record, given_ in zip(read, records, strict=True):
        expected = plain_record(message(given_))
        if isinstance(record, WireRecord):
            assert record.plain() == expected
            assert (record.form.decode(), record.value) == (expected.form, expected.value)
            assert repr(record.value) == repr(expected.value)
            for entries, values in ((record.props, expected.props), (record.tags, expected.tags)):
                assert dict(entry for entry in map(read_entry, entries) if entry) == values
        else:
            assert record == expected


@given(st.lists(RECORDS, min_size=1, max_size=2), st.data())
@settings(max_examples=60, deadline=None)
def test_broken_bytes_are_refused_or_read_as_protobuf_does(
    records: list[FeedNode], data: st.DataObject
) -> None:
    plain = bytearray(request(*records))
    at = data.draw(st.integers(0, len(plain) - 1))
    plain[at] = data.draw(st.integers(0, 255))
    broken = bytes(plain[: data.draw(st.integers(0, len(plain)))] if data.draw(st.booleans()) else plain)
    assert read_here(broken) in (read_by_protobuf(broken), None)


def read_by_protobuf(data: bytes) -> str | None:
    """The records of a request, or None if it does not read."""
    try:
        return repr([plain_record(node) for node in feed_pb2.AddNodesRequest.FromString(data).nodes])
    except (DecodeError, CellError):
        return None


def read_here(data: bytes) -> str | None:
    """The same by what is tested."""
    try:
        found = read_request(data)[0]
        return repr([record.plain() if isinstance(record, WireRecord) else record for record in found])
    except CellError:
        return None


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05ab", b"\x12\x02\xff\xfe", b"\xff" * 12, b"\x0b"])
def test_no_request(data: bytes) -> None:
    with pytest.raises(BadArg):
        read_request(data)


def records(count: int) -> list[FeedNode]:
    made: list[FeedNode] = []
    for index in range(count):
        tags: dict[str, Any] = {f"a.t{index % 3}": None} if index % 4 else {"a": None, "b.c": None}
        props: dict[str, Any] = (
            {"asn": index % 5, "loc": f"us.{index % 2}"} if index % 7 else {".seen": "2020"}
        )
        made.append(FeedNode("inet:ipv4", index % 40, props, tags))
        made.append(FeedNode("inet:dns:a", [f"h{index % 9}.d{index % 4}.com", index % 11], {}, tags))
        made.append(FeedNode("inet:ipv4", "1.2.3.x" if index % 5 == 0 else index, {}, {}))
        made.append(
            FeedNode("inet:flow", f"{index:032x}", {"dst:ipv4": index % 3, "nope": 1} if index == 3 else {})
        )
        made.append(
            FeedNode("no:such" if index == 7 else "inet:fqdn", f"x{index}.org", {}, {"a": ["2019", "2020"]})
        )
    return made


def test_feeding_bytes_does_what_feeding_records_does(tmp_path: Path) -> None:
    forms = ("inet:ipv4", "inet:asn", "inet:fqdn", "inet:dns:a", "inet:flow", "syn:tag")
    every = records(60)
    seen = []
    for name in ("wire", "plain"):
        with open_graph(tmp_path / name) as graph:
            results = []
            # Twice, so that what is kept is used, and nodes that exist are enriched.
            for start in (*range(0, len(every), 50), 0):
                batch = every[start : start + 50]
                with graph.begin() as session:
                    given_ = read_request(request(*batch))[0] if name == "wire" else batch
                    result = session.feed(given_)
                    session.sync()
                rejects = [(reject.index, type(reject.error)) for reject in result.rejects]
                results.append((result.accepted_count, result.edit_count, result.new_node_count, rejects))
            with graph.begin() as session:
                seen.append((results, content(session, forms)))
            if name == "wire":
                assert replayed(graph, tmp_path / "copy") == databases(graph)
    assert seen[0] == seen[1]


def test_batches_fed_together_know_what_became_of_each(tmp_path: Path) -> None:
    batches = [
        [FeedNode("inet:ipv4", 1, {"asn": 3}, {"a.b": None})],
        [FeedNode("inet:ipv4", "nope"), FeedNode("inet:ipv4", 2)],
        [FeedNode("inet:ipv4", 1, {"asn": 4})],
        [FeedNode("inet:ipv4", 1, {"asn": 4})],
        [],
    ]
    with open_graph(tmp_path) as graph, graph.begin() as session:
        results = session.feed_together([read_request(request(*batch))[0] for batch in batches])
        session.sync()
        assert [result.accepted_count for result in results] == [1, 1, 1, 1, 0]
        assert [[reject.index for reject in result.rejects] for result in results] == [[], [0], [], [], []]
        # The address, its AS number, both tags.
        assert [result.new_node_count for result in results] == [4, 1, 1, 0, 0]
        assert results[2].edit_count > 0
        assert results[3].edit_count == 0
        node = session.node(session.model.require_form("inet:ipv4"), 1)
        assert node is not None
        assert node.get("asn") == 4
