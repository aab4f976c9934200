"""Edits given for a layer: what a layer stores is taken as it is, and anything that its type would store otherwise is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import BadTypeValu, CellError
from cellmesh.cortex.values.edits import NodeAdd, PropDelete, PropSet, TagPropSet, TagSet
from cellmesh.cortex.values.ids import buid_of
from cellmesh.cortex.values.shared import SharedEdge, SharedNode
from cellmesh.cortex.views.feed import FeedNode
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.sharing import Sharing
from cellmesh.cortex.views.taking import take_edits
from cellmesh.cortex.views.verify import check_layer

sys.path.insert(0, str(Path(__file__).parents[1] / "views"))
from graph_kit import databases, open_graph

NODES = (
    FeedNode(
        "inet:ipv4",
        "1.2.3.4",
        {"loc": "us.ca", "asn": "7", "latlong": "1.5,-2.25", ".seen": ("2020", "2021")},
        {"a.b": ("2020", "2021"), "c": None},
        {"c": {"risk": "5"}},
    ),
    FeedNode("inet:ipv6", "::ffff:1.2.3.4"),
    FeedNode("inet:url", "https://User:pass@Example.COM:8443/a/../b?x=%20#y"),
    FeedNode("inet:dns:a", ("Example.com", "1.2.3.4")),
    FeedNode("inet:email", "Visi@Vertex.link"),
    FeedNode("inet:fqdn", "bücher.example"),
    FeedNode("ou:org", "*", {"names": ("Zed", "alpha ", "zed"), "founded": "2015-03", "logo": "a" * 64}),
    FeedNode("it:prod:softver", "*", {"vers": "v1.2.3-rc4"}),
    FeedNode("edge:refs", (("inet:fqdn", "EXAMPLE.com"), ("inet:asn", "0x10"))),
    FeedNode("file:path", "C:\\Temp\\Foo.EXE"),
    FeedNode("econ:purchase", "*", {"price": "13.370"}),
    FeedNode("media:news", "*", {"published": "20200101", "url": "http://a.example/"}),
    FeedNode("tel:phone", "+1 (555) 123-4567"),
    FeedNode("meta:note", "*", {"text": " Two  words "}),
)


@pytest.fixture(params=["lmdb", "memory"])
def graph(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Graph]:
    with open_graph(tmp_path, storage=request.param) as made:
        yield made


def content(graph: Graph, layer: Any) -> list[SharedNode]:
    found: list[SharedNode] = []
    after = b""
    while True:
        nodes, after = Sharing(graph).content(layer, after)
        found += nodes
        if not after:
            return found


def test_what_a_layer_holds_is_taken_as_it_is(graph: Graph) -> None:
    with graph.begin() as session:
        result = session.feed(NODES)
        assert result.rejects == []
        session.sync()
    (layer,) = graph.default_view.layers
    held = content(graph, layer)
    assert len(held) > len(NODES)
    other = graph.add_layer()
    count, _ = take_edits(graph, other, held, user="root")
    assert count == sum(len(node.edits) for node in held)
    assert content(graph, other) == held
    assert take_edits(graph, other, held, user="root")[0] == 0


def made(form: str, value: object, *edits: Any) -> SharedNode:
    return SharedNode(form, value, (NodeAdd(), *edits))


IP = "inet:ipv4"
ORG = "0" * 31 + "a"
BAD: Mapping[str, tuple[SharedNode, str]] = {
    "letters of a name": (made("inet:fqdn", "EXAMPLE.com"), ""),
    "a name of another script": (made("inet:fqdn", "bücher.example"), ""),
    "a guid in capitals": (made("ou:org", ORG.upper()), ""),
    "a url's host": (made("inet:url", "http://EXAMPLE.com/"), ""),
    "text for a number": (made(IP, "5"), ""),
    "a truth for a number": (made(IP, True), ""),
    "a number with a fraction": (made(IP, 5.0), ""),
    "a part of a comp": (made("inet:dns:a", ("EXAMPLE.com", 5)), ""),
    "a part of a node's name": (made("edge:refs", (("inet:fqdn", "A.com"), ("inet:asn", 1))), ""),
    "a form that is none": (made("edge:refs", (("no:such", 1), ("inet:asn", 1))), ""),
    "a place's name": (made(IP, 5, PropSet("loc", "US.CA")), "loc"),
    "a time as text": (made(IP, 5, PropSet(".created", "2020")), ".created"),
    "an interval upside down": (made(IP, 5, PropSet(".seen", (9, 5))), ".seen"),
    "elements in no order": (made("ou:org", ORG, PropSet("names", ("b", "a"))), "names"),
    "elements twice": (made("ou:org", ORG, PropSet("names", ("a", "a"))), "names"),
    "an element with blanks": (made("ou:org", ORG, PropSet("names", (" a",))), "names"),
    "a tag in capitals": (made(IP, 5, TagSet("A.b")), "#A.b"),
    "a tag with blanks": (made(IP, 5, TagSet("a b")), "#a b"),
    "a tag's interval": (made(IP, 5, TagSet("a", (9, 5))), "#a"),
    "a tag property's tag": (made(IP, 5, TagPropSet("A", "risk", 5)), "#A:risk"),
    "a tag property": (made(IP, 5, TagPropSet("a", "risk", "5")), "#a:risk"),
    "the end of an edge": (
        made(IP, 5, SharedEdge("refs", buid_of("inet:fqdn", "A.com"), "inet:fqdn", "A.com")),
        "-(refs)>",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_normalised_is_refused_as_a_whole(graph: Graph, what: str) -> None:
    node, prop = BAD[what]
    (layer,) = graph.default_view.layers
    before = databases(graph)
    with pytest.raises(CellError) as caught:
        take_edits(graph, layer, [made("inet:asn", 5), node], user="root")
    error = caught.value
    assert type(error).__name__ == ("NoSuchForm" if what == "a form that is none" else "BadTypeValu")
    assert (error.get("node"), error.get("form")) == (1, node.form)
    assert (error.get("prop") or "") == prop
    assert databases(graph) == before
    take_edits(graph, layer, [made("inet:asn", 5)], user="root")
    assert list(check_layer(graph, layer, lambda: None)) == []


def test_a_node_of_before_can_be_put_right(graph: Graph) -> None:
    """A type that has become stricter does not shut out edits of nodes that are there."""
    (layer,) = graph.default_view.layers
    old = made("inet:fqdn", "OLD.com", PropSet("zone", "old.com"))
    take_edits(graph, layer, [old], user="root", is_stored=True)
    with pytest.raises(BadTypeValu):
        take_edits(graph, layer, [SharedNode("inet:fqdn", "NEW.com", (TagSet("a"),))], user="root")
    edits = (TagSet("a"), PropDelete("zone", "old.com"))
    assert take_edits(graph, layer, [SharedNode("inet:fqdn", "OLD.com", edits)], user="root")[0] == 2
    assert list(check_layer(graph, layer, lambda: None)) == []
