"""The hand-written wire format against the generated classes, and edits against their records and inverses."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cortex.v1 import node_pb2
from cellmesh.common.errors import BadDataValu, StorageCorrupt
from cellmesh.common.values import from_value, to_value
from cellmesh.cortex.values import changes, edits, ids, wire
from hypothesis import given, settings
from hypothesis import strategies as st

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def listed(value: object) -> object:
    if isinstance(value, (tuple, list)):
        return [listed(item) for item in value]
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    return value


@given(plain)
def test_encoded_value_is_what_the_generated_class_reads(value: object) -> None:
    assert from_value(value_pb2.Value.FromString(wire.encode_value(value))) == listed(value)


@given(plain)
def test_decode_value_reads_what_the_generated_class_writes(value: object) -> None:
    decoded = wire.decode_value(to_value(value).SerializeToString())
    assert listed(decoded) == listed(value)
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    "value", [0, 63, 64, -1, -64, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, "", "a" * 128, (), ((),)]
)
def test_values_at_the_edges_come_back(value: object) -> None:
    assert wire.decode_value(wire.encode_value(value)) == value


def test_nan_and_trailing_zeros_come_back() -> None:
    assert math.isnan(wire.decode_value(wire.encode_value(math.nan)))
    assert str(wire.decode_value(wire.encode_value(Decimal("1.50")))) == "1.50"


def test_text_that_utf8_cannot_carry_is_refused() -> None:
    with pytest.raises(BadDataValu):
        wire.encode_value("\ud800")


@given(st.integers(0, 2**64 - 1))
def test_varint_comes_back(number: int) -> None:
    encoded = wire.varint(number)
    assert wire.read_varint(encoded, 0) == (number, len(encoded))


@given(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1)))
def test_interval_is_what_the_generated_class_reads(interval: tuple[int, int]) -> None:
    message = node_pb2.Interval.FromString(wire.encode_interval(interval))
    assert (message.min, message.max) == interval
    assert wire.decode_interval(message.SerializeToString()) == interval


intervals = st.none() | st.tuples(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40))
names = st.text(min_size=1, max_size=10)
old = st.just(edits.MISSING) | plain
edit_values = st.one_of(
    st.just(edits.NodeAdd()),
    st.just(edits.NodeDelete()),
    st.builds(edits.PropSet, names, plain, old),
    st.builds(edits.PropDelete, names, old),
    st.builds(edits.TagSet, names, intervals, st.booleans(), intervals),
    st.builds(edits.TagDelete, names, intervals),
    st.builds(edits.TagPropSet, names, names, plain, old),
    st.builds(edits.TagPropDelete, names, names, old),
    st.builds(edits.EdgeAdd, names, st.integers(0, 2**63 - 1)),
    st.builds(edits.EdgeDelete, names, st.integers(0, 2**63 - 1)),
    st.builds(edits.NodeDataSet, names, plain, old),
    st.builds(edits.NodeDataDelete, names, old),
)
node_edits = st.builds(
    edits.NodeEdits, st.integers(0, 2**63 - 1), names, plain, st.lists(edit_values, max_size=5).map(tuple)
)
layer_edits = st.builds(
    edits.LayerEdits, names, st.lists(node_edits, max_size=3).map(tuple), names, st.integers(0, 2**45)
)


@settings(max_examples=40)
@given(layer_edits)
def test_layer_edits_come_back_from_their_record(value: edits.LayerEdits) -> None:
    record = changes.encode_layer_edits(value)
    decoded = changes.decode_layer_edits(record)
    # Lists inside maps come back as lists, so the values are compared by what they are written as.
    assert changes.encode_layer_edits(decoded) == record
    assert [[type(edit) for edit in node.edits] for node in decoded.nodes] == [
        [type(edit) for edit in node.edits] for node in value.nodes
    ]
    assert (decoded.layer_id, decoded.user, decoded.time_ms) == (value.layer_id, value.user, value.time_ms)


def test_an_edit_comes_back_equal_with_its_old_value() -> None:
    node = edits.NodeEdits(
        5, "inet:ipv4", 1, (edits.PropSet("asn", 2, 1), edits.TagSet("a", (1, 2), True, None))
    )
    value = edits.LayerEdits("0" * 32, (node,), "root", 7)
    assert changes.decode_layer_edits(changes.encode_layer_edits(value)) == value


def test_a_broken_record_is_reported_as_corrupt() -> None:
    with pytest.raises(StorageCorrupt):
        changes.decode_layer_edits(b"\xff\xff\xff")


@settings(max_examples=20)
@given(layer_edits)
def test_the_inverse_undoes_in_reverse_order(value: edits.LayerEdits) -> None:
    inverse = value.inverse()
    assert [node.nid for node in inverse.nodes] == [node.nid for node in reversed(value.nodes)]
    assert all(len(a.edits) == len(b.edits) for a, b in zip(inverse.nodes, reversed(value.nodes)))


def test_inverses_name_the_old_state() -> None:
    assert edits.PropSet("asn", 2, 1).inverse() == edits.PropSet("asn", 1, 2)
    assert edits.PropSet("asn", 2).inverse() == edits.PropDelete("asn", 2)
    assert edits.TagSet("a", (1, 2), True, None).inverse() == edits.TagSet("a", None, True, (1, 2))
    assert edits.NodeAdd().inverse() == edits.NodeDelete()
    assert edits.EdgeAdd("refs", 5).inverse() == edits.EdgeDelete("refs", 5)


def test_a_nid_holds_form_and_sequence() -> None:
    nid = ids.make_nid(7, 123456)
    assert (ids.form_number_of(nid), ids.sequence_of(nid)) == (7, 123456)


def test_buids_agree_with_those_of_synapse() -> None:
    expected = "20153b758f9d5eaaa38e4f4a65c36da797c3e59e549620fa7c4895e1a920991f"
    assert ids.buid_of("inet:ipv4", 16909060).hex() == expected
