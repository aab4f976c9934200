"""What edits mean: implied nodes, merging, redirects, read-only properties, deletion. Observed at Synapse 2.256."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import (
    BadTypeValu,
    CantDelNode,
    IsReadOnly,
    IsRuntForm,
    NoSuchProp,
    NoSuchTagProp,
    ReadOnlyProp,
)

sys.path.insert(0, str(Path(__file__).parent))
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.session import GraphSession
from graph_kit import START_MS, content, databases, open_graph, replayed, the_model


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    with open_graph(tmp_path / "graph") as made:
        yield made


@pytest.fixture
def session(graph: Graph) -> Iterator[GraphSession]:
    with graph.begin() as made:
        yield made


def add(session: GraphSession, form: str, value: Any, **props: Any) -> Any:
    return session.add_node(the_model().require_form(form), value, props)


def values(session: GraphSession, form: str) -> list[Any]:
    return [node.value for node in session.lift_form(the_model().require_form(form))]


def plain(node: Any) -> dict[str, Any]:
    props = dict(node.props)
    assert props.pop(".created") >= START_MS
    return props


def test_a_node_gets_what_its_value_says(session: GraphSession) -> None:
    node = add(session, "inet:ipv4", "1.2.3.4", asn="5")
    assert node.ndef == ("inet:ipv4", 0x01020304)
    assert plain(node) == {"type": "unicast", "asn": 5}
    assert node.iden == "20153b758f9d5eaaa38e4f4a65c36da797c3e59e549620fa7c4895e1a920991f"
    assert values(session, "inet:asn") == [5]


def test_adding_again_sets_only_what_is_unset(session: GraphSession) -> None:
    add(session, "inet:ipv4", "1.2.3.4", asn=5)
    again = add(session, "inet:ipv4", "1.2.3.4", asn=6, loc="us")
    assert plain(again) == {"type": "unicast", "asn": 5, "loc": "us"}


def test_setting_the_same_value_is_no_edit(session: GraphSession) -> None:
    node = add(session, "inet:ipv4", "1.2.3.4", asn=5)
    before = session.edit_count
    assert not session.set_prop(node, "asn", "5")
    assert session.edit_count == before


def test_a_domain_brings_its_parents_and_their_zones(session: GraphSession) -> None:
    add(session, "inet:dns:a", ("www.foo.co.uk", "1.2.3.4"))
    found = {node.value: plain(node) for node in session.lift_form(the_model().require_form("inet:fqdn"))}
    assert found == {
        "uk": {"host": "uk", "issuffix": 1, "iszone": 0},
        "co.uk": {"host": "co", "domain": "uk", "issuffix": 0, "iszone": 1, "zone": "co.uk"},
        "foo.co.uk": {"host": "foo", "domain": "co.uk", "issuffix": 0, "iszone": 0, "zone": "co.uk"},
        "www.foo.co.uk": {"host": "www", "domain": "foo.co.uk", "issuffix": 0, "iszone": 0, "zone": "co.uk"},
    }
    assert values(session, "inet:ipv4") == [0x01020304]


def test_a_public_suffix_makes_the_names_below_it_zones(session: GraphSession) -> None:
    below = add(session, "inet:fqdn", "a.b.com")
    session.set_prop(session.node(the_model().require_form("inet:fqdn"), "b.com"), "issuffix", 1)
    assert (below.get("iszone"), below.get("zone")) == (1, "a.b.com")
    later = add(session, "inet:fqdn", "q.b.com")
    assert (later.get("iszone"), later.get("zone")) == (1, "q.b.com")


def test_sub_values_fill_properties(session: GraphSession) -> None:
    flow = add(session, "inet:flow", "*", src="tcp://1.2.3.4:80")
    assert plain(flow) == {
        "src": "tcp://1.2.3.4:80",
        "src:proto": "tcp",
        "src:port": 80,
        "src:ipv4": 0x01020304,
    }
    assert values(session, "inet:client") == ["tcp://1.2.3.4:80"]


def test_seen_widens(session: GraphSession) -> None:
    node = add(session, "inet:ipv4", 1)
    session.set_prop(node, ".seen", ("2020", "2021"))
    session.set_prop(node, ".seen", "2019")
    assert node.get(".seen") == (1546300800000, 1609459200000)


def test_tags_bring_those_above_and_their_nodes(session: GraphSession) -> None:
    node = add(session, "inet:ipv4", 1)
    session.add_tag(node, "Foo.Bar", ("2019", "2020"))
    session.add_tag(node, "foo.bar")
    assert dict(node.tags) == {"foo": None, "foo.bar": (1546300800000, 1577836800000)}
    assert values(session, "syn:tag") == ["foo", "foo.bar"]
    session.del_tag(node, "foo")
    assert not node.tags


def test_isnow_redirects_a_tag_and_those_below(session: GraphSession) -> None:
    add(session, "syn:tag", "x.y", isnow="z")
    node = add(session, "inet:ipv4", 1)
    session.add_tag(node, "x.y.w.v")
    assert set(node.tags) == {"z", "z.w", "z.w.v"}


def test_redirects_in_a_circle_end(session: GraphSession) -> None:
    add(session, "syn:tag", "a", isnow="b")
    add(session, "syn:tag", "b", isnow="a")
    node = add(session, "inet:ipv4", 1)
    session.add_tag(node, "a")
    assert len(node.tags) == 1


def test_read_only_properties_keep_their_value(session: GraphSession) -> None:
    node = add(session, "inet:dns:a", ("foo.com", "1.2.3.4"))
    assert not session.set_prop(node, "fqdn", "foo.com")
    for change in (
        lambda: session.set_prop(node, "ipv4", "5.5.5.5"),
        lambda: session.pop_prop(node, "fqdn"),
        lambda: session.set_prop(node, ".created", "2020"),
        lambda: session.pop_prop(node, ".created"),
    ):
        with pytest.raises(ReadOnlyProp):
            change()


def test_errors_name_form_property_and_value(session: GraphSession) -> None:
    node = add(session, "inet:ipv4", 1)
    with pytest.raises(BadTypeValu) as bad:
        session.set_prop(node, "asn", "abc")
    assert (bad.value.get("form"), bad.value.get("prop"), bad.value.get("valu")) == (
        "inet:ipv4",
        "asn",
        "abc",
    )
    with pytest.raises(NoSuchProp) as missing:
        session.set_prop(node, "nosuch", 1)
    assert missing.value.get("form") == "inet:ipv4"
    with pytest.raises(NoSuchTagProp):
        session.set_tag_prop(node, "a", "nosuch", 1)
    with pytest.raises(IsRuntForm):
        add(session, "syn:form", "inet:ipv4")
    with pytest.raises(BadTypeValu):
        add(session, "inet:ipv4", "bad")
    assert not node.tags


def test_a_read_only_session_edits_nothing(graph: Graph) -> None:
    with graph.begin(readonly=True) as session, pytest.raises(IsReadOnly):
        add(session, "inet:ipv4", 1)


@pytest.mark.parametrize("kind", ["prop", "array", "edge", "self edge", "tag"])
def test_a_node_in_use_is_not_deleted_unless_forced(session: GraphSession, kind: str) -> None:
    node = add(session, "inet:ipv4", 1)
    if kind == "prop":
        add(session, "inet:ipv4", 2, asn=7)
        node = session.node(the_model().require_form("inet:asn"), 7)
    elif kind == "array":
        add(session, "ou:org", "0" * 32, names=["x"])
        node = session.node(the_model().require_form("ou:name"), "x")
    elif kind == "edge":
        session.add_edge(add(session, "inet:ipv4", 2), "refs", node)
    elif kind == "self edge":
        session.add_edge(node, "refs", node)
    else:
        session.add_tag(node, "used.tag")
        node = session.node(the_model().require_form("syn:tag"), "used")
    with pytest.raises(CantDelNode):
        session.delete_node(node)
    assert not node.is_deleted
    session.delete_node(node, force=True)
    assert node.is_deleted


def test_a_domain_that_is_its_own_zone_can_be_deleted(session: GraphSession) -> None:
    node = add(session, "inet:fqdn", "me.com")
    session.delete_node(node)
    assert values(session, "inet:fqdn") == ["com"]


def test_a_deleted_node_comes_back_empty(session: GraphSession) -> None:
    node = add(session, "inet:ipv4", 1, asn=4)
    session.add_tag(node, "foo")
    session.set_data(node, "k", {"a": [1, 2]})
    session.delete_node(node)
    again = add(session, "inet:ipv4", 1)
    assert plain(again) == {"type": "private"}
    assert not again.tags
    assert session.get_data(again, "k") is None
    assert again.nid == node.nid


def test_other_objects_of_a_node_show_the_edit(session: GraphSession) -> None:
    one = add(session, "inet:ipv4", 1)
    two = session.node(the_model().require_form("inet:ipv4"), 1)
    session.set_prop(one, "asn", 3)
    assert two.get("asn") == 3
    session.delete_node(two, force=True)
    assert one.is_deleted


def test_a_lift_goes_on_while_its_nodes_are_edited_and_deleted(session: GraphSession) -> None:
    for value in range(300):
        add(session, "it:dev:int", value)
    seen = []
    for node in session.lift_form(the_model().require_form("it:dev:int")):
        seen.append(node.value)
        if node.value % 3 == 0 and node.value + 1 < 300:
            gone = session.node(the_model().require_form("it:dev:int"), node.value + 1)
            session.delete_node(gone)
    assert seen == [value for value in range(300) if value % 3 != 1]


def test_lifts_come_in_order_of_values_and_in_reverse(session: GraphSession) -> None:
    for value in (17, -5, 300, 0, -100000):
        add(session, "it:dev:int", value)
    form = the_model().require_form("it:dev:int")
    assert values(session, "it:dev:int") == [-100000, -5, 0, 17, 300]
    assert [node.value for node in session.lift_form(form, reverse=True)] == [300, 17, 0, -5, -100000]
    assert [node.value for node in session.lift_value(form.value_prop, ">=", -5, reverse=True)] == [
        300,
        17,
        0,
        -5,
    ]


def test_a_form_filters_a_universal_property(session: GraphSession) -> None:
    session.set_prop(add(session, "inet:ipv4", 1), ".seen", "2020")
    session.set_prop(add(session, "inet:asn", 1), ".seen", "2020")
    model = the_model()
    assert session.count_prop(model.require_prop(".seen")) == 2
    assert [node.ndef for node in session.lift_prop(model.require_prop("inet:asn.seen"))] == [("inet:asn", 1)]
    assert session.count_value(model.require_prop("inet:asn.seen"), "=", "2020") == 1


def test_nodes_by_their_properties(session: GraphSession) -> None:
    org = the_model().require_form("ou:org")
    made = session.add_by_props(org, {"name": "foo"})
    assert made.value == "1da729d3b92e2f56a350d729bb7d2b7a"
    again = session.add_by_props(org, {"name": "Foo", "$props": {"loc": "us"}})
    assert again == made
    assert again.get("loc") == "us"
    other = session.add_by_props(org, {"name": "foo", "loc": "de"})
    assert other.value == "3544bcbc30470a04a310af388f71ed94"
    alias = add(session, "ou:org", "0" * 32, name="acme", names=["zeta"])
    assert session.find_by_props(org, {"name": "zeta"}) == alias
    with pytest.raises(BadTypeValu):
        session.add_by_props(org, {})
    with pytest.raises(NoSuchProp):
        session.add_by_props(org, {"nosuch": 1})


def test_runtime_nodes_exist_in_no_layer(session: GraphSession) -> None:
    form = the_model().require_form("syn:form")
    assert [node.value for node in session.lift_runtime(form, None, "=", "inet:asn")] == ["inet:asn"]
    assert session.count_form(form) == 0


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    forms = ("inet:ipv4", "inet:asn", "syn:tag")
    with open_graph(tmp_path / "graph") as graph:
        with graph.begin() as session:
            node = add(session, "inet:ipv4", 1, asn=3)
            session.add_tag(node, "a.b", ("2019", "2020"))
            session.set_data(node, "k", [1])
            before = content(session, forms)
            session.sync()
        view_id = graph.default_view.id
    with open_graph(tmp_path / "graph") as graph, graph.begin() as session:
        assert graph.default_view.id == view_id
        assert content(session, forms) == before
        fresh = add(session, "inet:ipv4", 2)
        assert fresh.nid > session.node(the_model().require_form("inet:ipv4"), 1).nid


def test_inverse_edits_restore_the_layer(graph: Graph, session: GraphSession) -> None:
    from cellmesh.cortex.values.changes import decode_record

    node = add(session, "inet:ipv4", 1, asn=3)
    session.add_tag(node, "a.b")
    session.sync()
    nodes = (
        "nodes",
        "by_prop",
        "by_array",
        "by_tag",
        "by_tag_prop",
        "counts",
        "edges_out",
        "edges_in",
        "node_data",
    )
    before = {name: items for name, items in databases(graph).items() if name in nodes}
    with graph.slab.view() as txn:
        offset = graph.log.next_offset(txn)
    session.set_prop(node, "asn", 4)
    session.add_tag(node, "a.b", ("2019", "2020"))
    session.set_tag_prop(node, "a.b", "risk", 5)
    session.add_edge(node, "refs", node)
    session.set_data(node, "k", 1)
    session.del_tag(node, "a")
    session.delete_node(node, force=True)
    session.sync()
    for record in reversed(graph.log.read(offset).records):
        inverse = decode_record(record.type_name, record.payload).inverse()
        graph.slab.write(lambda txn, inverse=inverse: graph.apply_edits(txn, inverse))
    assert {name: items for name, items in databases(graph).items() if name in nodes} == before


def test_the_log_replays_to_the_same_bytes(graph: Graph, session: GraphSession, tmp_path: Path) -> None:
    node = add(session, "inet:dns:a", ("www.foo.co.uk", "1.2.3.4"))
    session.add_tag(node, "a.b", "2020")
    add(session, "ou:org", "0" * 32, names=["x", "y"])
    session.add_edge(node, "refs", node)
    session.sync()
    assert replayed(graph, tmp_path / "copy") == databases(graph)


def test_a_session_that_fails_leaves_nothing_half_done(session: GraphSession) -> None:
    with pytest.raises(BadTypeValu):
        add(session, "inet:ipv4", 1, asn="abc", loc="us")
    assert values(session, "inet:ipv4") == []
    assert session.edit_count == 0


def test_array_elements_are_matched_one_by_one(session: GraphSession) -> None:
    add(session, "ou:org", "0" * 32, names=["beta", "zeta"])
    add(session, "ou:org", "1" * 32, names=["bravo", "beta"])
    names = the_model().require_prop("ou:org:names")
    found = [node.value[0] for node in session.lift_array(names, "~=", "^b")]
    assert found == ["0", "1", "1"]


def test_a_string_is_found_in_lower_case(session: GraphSession) -> None:
    assert plain(add(session, "it:dev:str", "Apple")) == {"norm": "apple"}
