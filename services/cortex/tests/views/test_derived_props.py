"""Properties that follow from the value of others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cellmesh.cortex.views.feed import FeedNode
from graph_kit import open_graph, the_model

SEMVER_1_2 = {"semver": 1 << 40 | 2 << 20, "semver:major": 1, "semver:minor": 2, "semver:patch": 0}


@pytest.mark.parametrize(
    ("given", "derived"),
    [
        ({"vers": "1.2"}, {"vers:norm": "1.2", **SEMVER_1_2}),
        ({"vers": "Build X"}, {"vers:norm": "build x"}),
        ({"vers": ""}, {}),
        ({"semver": "1.2", "vers": "X"}, {"vers:norm": "x", **SEMVER_1_2}),
        ({"semver": "3.4.5", "vers": "1.2"}, {"vers:norm": "1.2", **SEMVER_1_2}),
        (
            {"vers": "1.2.0-Beta"},
            {"vers:norm": "1.2.0-beta", **SEMVER_1_2, "semver:pre": "Beta"},
        ),
    ],
)
def test_a_version_gives_its_numbers(tmp_path: Path, given: dict[str, Any], derived: dict[str, Any]) -> None:
    form = the_model().require_form("it:prod:softver")
    with open_graph(tmp_path / "graph") as graph, graph.begin() as session:
        node = session.add_node(form, "0" * 32)
        for name, value in given.items():
            session.set_prop(node, name, value)
        session.feed([FeedNode(form.name, "1" * 32, given)])
        fed = session.node(form, "1" * 32)
        assert fed is not None
        for found in (node.props, fed.props):
            assert {name: value for name, value in found.items() if name in derived} == derived
            assert found.keys() == {".created", *given, *derived}


def test_what_was_derived_stays_when_its_source_goes(tmp_path: Path) -> None:
    with open_graph(tmp_path / "graph") as graph, graph.begin() as session:
        node = session.add_node(the_model().require_form("it:prod:softver"), "0" * 32, {"vers": "1.2"})
        session.pop_prop(node, "vers")
        assert node.get("vers") is None
        assert node.get("semver:minor") == 2


def test_a_password_has_digests_and_their_nodes(tmp_path: Path) -> None:
    with open_graph(tmp_path / "graph") as graph, graph.begin() as session:
        node = session.add_node(the_model().require_form("inet:passwd"), "abc")
        assert node.get("md5") == "900150983cd24fb0d6963f7d28e17f72"
        assert node.get("sha1") == "a9993e364706816aba3e25717850c26c9cd0d89d"
        assert session.node(the_model().require_form("hash:md5"), node.get("md5")) is not None


def test_a_developer_text_is_kept_in_lower_case_too(tmp_path: Path) -> None:
    with open_graph(tmp_path / "graph") as graph, graph.begin() as session:
        node = session.add_node(the_model().require_form("it:dev:str"), "Foo BAR")
        assert node.get("norm") == "foo bar"
