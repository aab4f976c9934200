"""Feeds in bulk mean what single edits mean, and reject bad records by themselves."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import BadTypeValu, LimitExceeded, NoSuchForm, NoSuchProp, ReadOnlyProp

sys.path.insert(0, str(Path(__file__).parent))
from cellmesh.cortex.views.feed import BATCH_COUNT_MAX, FeedEdge, FeedNode
from cellmesh.cortex.views.session import GraphSession
from graph_kit import content, databases, open_graph, replayed, the_model

FORMS = (
    "inet:ipv4",
    "inet:asn",
    "inet:fqdn",
    "inet:dns:a",
    "ou:org",
    "ou:name",
    "syn:tag",
    "inet:flow",
    "inet:client",
)


def rows(seed: int, count: int = 60) -> list[FeedNode]:
    """Records of several forms, some of the same node."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        tags = {
            rng.choice(["a", "a.b", "b.c.d"]): rng.choice([None, ("2019", "2020"), "2018"])
            for _ in range(rng.randrange(3))
        }
        risk = {tag: {"risk": rng.randrange(9)} for tag in tags if rng.random() < 0.3}
        edges = [
            FeedEdge("refs", "inet:ipv4", rng.randrange(20), rng.random() < 0.5)
            for _ in range(rng.randrange(2))
        ]
        data = {"k": {"n": [rng.randrange(3)]}} if rng.random() < 0.2 else {}
        kind = rng.randrange(4)
        if kind == 0:
            props: dict[str, Any] = (
                {"asn": rng.randrange(4)} if rng.random() < 0.7 else {".seen": str(2000 + rng.randrange(9))}
            )
            made.append(FeedNode("inet:ipv4", rng.randrange(20), props, tags, risk, edges, data))
        elif kind == 1:
            made.append(
                FeedNode(
                    "inet:dns:a",
                    (f"{rng.choice('xyz')}.d{rng.randrange(3)}.com", rng.randrange(9)),
                    {},
                    tags,
                    risk,
                    edges,
                )
            )
        elif kind == 2:
            made.append(
                FeedNode("inet:fqdn", f"{rng.choice('xyz')}.d{rng.randrange(3)}.com", {}, tags, {}, edges)
            )
        else:
            made.append(
                FeedNode("ou:org", (f"{rng.randrange(5)}", "o"), {"names": rng.sample("pqrs", 2)}, tags)
            )
    return made


def one_by_one(session: GraphSession, records: list[FeedNode]) -> None:
    """The same with single edits."""
    model = the_model()
    for record in records:
        node = session.add_node(model.require_form(record.form), record.value)
        for name, value in record.props.items():
            session.set_prop(node, name, value)
        for tag, interval in record.tags.items():
            session.add_tag(node, tag, interval)
        for tag, props in record.tag_props.items():
            for name, value in props.items():
                session.set_tag_prop(node, tag, name, value)
        for edge in record.edges:
            other = session.add_node(model.require_form(edge.form), edge.value)
            n1, n2 = (other, node) if edge.reverse else (node, other)
            session.add_edge(n1, edge.verb, n2)
        for name, value in record.node_data.items():
            session.set_data(node, name, value)


@pytest.mark.parametrize("seed", range(12))
def test_a_feed_means_what_single_edits_mean(tmp_path: Path, seed: int) -> None:
    records = rows(seed)
    with open_graph(tmp_path / "fed") as fed, open_graph(tmp_path / "single") as single:
        with fed.begin() as session:
            for start in range(0, len(records), 25):
                result = session.feed(records[start : start + 25])
                assert not result.rejects
            session.sync()
            found = content(session, FORMS)
            counts = [session.count_form(the_model().require_form(form)) for form in FORMS]
        with single.begin() as session:
            one_by_one(session, records)
            session.sync()
            assert content(session, FORMS) == found
            assert [session.count_form(the_model().require_form(form)) for form in FORMS] == counts
        indexes = ("by_array", "by_tag", "by_tag_prop", "by_verb", "edges_in", "edges_out", "counts")
        assert {name: len(databases(fed)[name]) for name in indexes} == {
            name: len(databases(single)[name]) for name in indexes
        }
        assert replayed(fed, tmp_path / "copy")["nodes"] == databases(fed)["nodes"]


def test_feeding_twice_changes_nothing(tmp_path: Path) -> None:
    with open_graph(tmp_path / "graph") as graph, graph.begin() as session:
        first = session.feed(rows(1))
        assert first.accepted_count == 60
        assert first.new_node_count == sum(
            1 for name in FORMS for _ in session.lift_form(the_model().require_form(name))
        )
        assert first.edit_count == session.edit_count
        session.sync()
        before = databases(graph)
        second = session.feed(rows(1))
        session.sync()
        # Node data is compared, tags and intervals merge, so nothing is left to do but setting again what
        # a later record of the same node had replaced.
        assert (second.new_node_count, second.new_edge_count) == (0, 0)
        assert [key for key, _ in databases(graph)["nodes"]] == [key for key, _ in before["nodes"]]


def test_bad_records_are_rejected_by_themselves(tmp_path: Path) -> None:
    with open_graph(tmp_path / "graph") as graph, graph.begin() as session:
        session.feed([FeedNode("inet:dns:a", ("foo.com", "1.2.3.4"))])
        result = session.feed(
            [
                FeedNode("inet:ipv4", "bad"),
                FeedNode("inet:ipv4", "1.1.1.1", {"asn": "abc"}),
                FeedNode("no:such", 1),
                FeedNode("inet:ipv4", "1.1.1.2", {"nosuch": 1}),
                FeedNode("inet:dns:a", ("foo.com", "1.2.3.4"), {"ipv4": "9.9.9.9"}),
                FeedNode("inet:ipv4", "1.1.1.3", {"asn": 5}),
                FeedNode("inet:ipv4", "1.1.1.4", tags={"..": None}),
            ]
        )
        assert [reject.index for reject in result.rejects] == [0, 1, 2, 3, 4, 6]
        kinds = [BadTypeValu, BadTypeValu, NoSuchForm, NoSuchProp, ReadOnlyProp, BadTypeValu]
        assert [type(reject.error) for reject in result.rejects] == kinds
        assert result.accepted_count == 1
        found = [node.repr() for node in session.lift_form(the_model().require_form("inet:ipv4"))]
        assert found == ["1.1.1.3", "1.2.3.4"]


def test_a_batch_has_a_bound(tmp_path: Path) -> None:
    with open_graph(tmp_path / "graph") as graph, graph.begin() as session, pytest.raises(LimitExceeded):
        session.feed([FeedNode("inet:ipv4", 1)] * (BATCH_COUNT_MAX + 1))


def test_tags_are_redirected_in_feeds(tmp_path: Path) -> None:
    with open_graph(tmp_path / "graph") as graph, graph.begin() as session:
        session.feed([FeedNode("syn:tag", "old", {"isnow": "new"})])
        session.feed([FeedNode("inet:ipv4", 1, tags={"old.kid": None})])
        assert set(session.node(the_model().require_form("inet:ipv4"), 1).tags) == {"new", "new.kid"}


def test_a_feed_into_a_fork_leaves_the_base_alone(tmp_path: Path) -> None:
    with open_graph(tmp_path / "graph") as graph:
        with graph.begin() as session:
            session.feed([FeedNode("inet:ipv4", 1, {"asn": 5})])
            session.sync()
            base = content(session, FORMS)
        with graph.begin(graph.fork(graph.default_view)) as session:
            session.feed([FeedNode("inet:ipv4", 1, {"asn": 6}), FeedNode("inet:ipv4", 2, {"asn": 5})])
            asn = the_model().require_prop("inet:ipv4:asn")
            assert [node.value for node in session.lift_value(asn, "=", 5)] == [2]
            assert [node.value for node in session.lift_value(asn, "=", 6)] == [1]
        with graph.begin() as session:
            assert content(session, FORMS) == base
