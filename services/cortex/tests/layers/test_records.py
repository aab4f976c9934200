"""Node records: in wire form, taken apart and put together, read one property at a time."""

from __future__ import annotations

import pytest
from cellmesh.api.cortex.v1 import node_pb2
from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.values import from_value
from cellmesh.cortex.layers import records
from cellmesh.cortex.layers.records import Record, find_prop, parse_record, prop_marker
from cellmesh.cortex.values.wire import encode_interval, encode_value, field
from hypothesis import given
from hypothesis import strategies as st

names = st.sampled_from(["a", "b", "asn", ".seen", "x:y", "n" * 130]) | st.text(min_size=1, max_size=6)
# Text that looks like the fields themselves, so that searching for a property's bytes can be fooled.
tricky = st.sampled_from(
    ["\n\x03asn\x12", '"\x07\n\x01a\x12\x02\x18\x02', "\n\x01a\x12", "x" * 200]
) | st.text(max_size=5)
values = st.integers(-(2**63), 2**63 - 1) | tricky | st.tuples(tricky, st.integers(0, 9))
bodies = st.just(b"") | st.tuples(st.integers(0, 99), st.integers(100, 199)).map(
    lambda span: field(0x0A, encode_interval(span))
)


@st.composite
def made(draw: st.DrawFn) -> Record:
    record = Record(records.node_head("inet:ipv4", draw(values), bytes(range(32))))
    record.is_added, record.is_mask = draw(st.booleans()), draw(st.booleans())
    record.props = {
        name: encode_value(value) for name, value in draw(st.dictionaries(names, values, max_size=5)).items()
    }
    record.tags = draw(st.dictionaries(names, bodies, max_size=4))
    tag_props = draw(
        st.dictionaries(names, st.dictionaries(names, values, min_size=1, max_size=3), max_size=2)
    )
    record.tag_props = {
        tag: {name: encode_value(value) for name, value in props.items()} for tag, props in tag_props.items()
    }
    record.prop_masks = draw(st.sets(names, max_size=2))
    record.tag_masks = draw(st.sets(names, max_size=2))
    record.tag_prop_masks = draw(st.sets(st.tuples(names, names), max_size=2))
    return record


def content(record: Record) -> dict[str, object]:
    return {name: getattr(record, name) for name in Record.__slots__}


@given(made())
def test_a_record_comes_back(record: Record) -> None:
    assert content(parse_record(record.to_bytes())) == content(record) or record.is_empty


@given(made())
def test_a_record_without_masks_is_a_node_on_the_wire(record: Record) -> None:
    node = node_pb2.Node.FromString(record.node_bytes())
    assert node.form == "inet:ipv4"
    assert node.buid == bytes(range(32))
    assert {
        name: value.SerializeToString(deterministic=True) for name, value in node.props.items()
    } == record.props
    assert set(node.tags) == set(record.tags)
    assert {tag: set(props.props) for tag, props in node.tag_props.items()} == {
        tag: set(props) for tag, props in record.tag_props.items()
    }


@given(made(), names)
def test_finding_one_property_agrees_with_parsing_all(record: Record, name: str) -> None:
    node = record.node_bytes()
    for wanted in (name, *record.props):
        assert find_prop(node, prop_marker(wanted)) == record.props.get(wanted)


@given(made())
def test_form_value_and_buid_are_read_without_the_rest(record: Record) -> None:
    node = record.node_bytes()
    message = node_pb2.Node.FromString(node)
    assert records.node_form(node) == message.form
    assert records.node_buid(node) == message.buid
    value = from_value(message.value)
    assert records.node_value(node) == (tuple(value) if isinstance(value, list) else value)


def test_a_made_node_is_stored_as_it_is_streamed() -> None:
    record = Record(records.node_head("inet:ipv4", 5, bytes(32)))
    record.is_added = True
    assert record.to_bytes() == record.node_bytes()


@pytest.mark.parametrize("data", [b"\x02abc", b"\x01", b"\x0a\x05inet"])
def test_broken_records_are_reported(data: bytes) -> None:
    with pytest.raises(StorageCorrupt):
        parse_record(data)
