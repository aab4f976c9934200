"""Random edits on a view of one layer, then on a fork of it, against plain dictionaries.

After each step the index answers, counts and merged nodes must agree with the dictionaries; at the end the
change log replayed into an empty graph must give the same bytes in every database.
"""

from __future__ import annotations

import copy
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

sys.path.insert(0, str(Path(__file__).parent))
from graph_kit import content, databases, open_graph, replayed, the_model

FORMS = ("inet:ipv4", "ou:org", "inet:asn", "ou:name", "syn:tag")
MAIN = st.sampled_from(
    [
        ("inet:ipv4", 1),
        ("inet:ipv4", 2),
        ("inet:ipv4", 3),
        ("ou:org", "0" * 31 + "1"),
        ("ou:org", "0" * 31 + "2"),
    ]
)
TAGS = st.sampled_from(["a", "a.b", "a.b.c", "a.x", "b"])
INTERVALS = st.none() | st.tuples(st.integers(0, 5), st.integers(6, 9)).map(
    lambda span: (span[0] * 1000, span[1] * 1000)
)
VERBS = st.sampled_from(["refs", "seen"])


def empty() -> dict[str, Any]:
    return {"props": {}, "tags": {}, "tag_props": {}, "edges": set(), "data": {}}


class Oracle:
    """What a view should show: the plain meaning of the edits."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[str, Any], dict[str, Any]] = {}

    def add(self, form: str, value: Any) -> dict[str, Any]:
        node = self.nodes.get((form, value))
        if node is None:
            node = self.nodes[form, value] = empty()
            if form == "inet:ipv4":
                node["props"]["type"] = "private"
            if form == "syn:tag":
                words = value.split(".")
                node["props"] |= {"base": words[-1], "depth": len(words) - 1}
                if len(words) > 1:
                    node["props"]["up"] = ".".join(words[:-1])
                    self.add("syn:tag", ".".join(words[:-1]))
        return node

    def set(self, ndef: tuple[str, Any], name: str, value: Any) -> None:
        props = self.nodes[ndef]["props"]
        if props.get(name) == value:
            return
        props[name] = value
        if name == "asn":
            self.add("inet:asn", value)
        if name == "name":
            self.add("ou:name", value)
        if name == "names":
            for item in value:
                self.add("ou:name", item)

    def tag(self, ndef: tuple[str, Any], tag: str, interval: Any) -> None:
        tags = self.nodes[ndef]["tags"]
        words = tag.split(".")
        for depth in range(1, len(words)):
            tags.setdefault(".".join(words[:depth]), None)
        if tag not in tags:
            self.add("syn:tag", tag)
            tags[tag] = interval
        elif interval is not None:
            old = tags[tag]
            tags[tag] = interval if old is None else (min(old[0], interval[0]), max(old[1], interval[1]))

    def untag(self, ndef: tuple[str, Any], tag: str) -> None:
        node = self.nodes[ndef]
        for name in [name for name in node["tags"] if name == tag or name.startswith(tag + ".")]:
            del node["tags"][name]
            node["tag_props"].pop(name, None)

    def shown(self) -> dict[tuple[str, Any], dict[str, Any]]:
        shown = copy.deepcopy(self.nodes)
        for node in shown.values():
            # An edge to a node that is gone is not shown; it is there again when the node is.
            node["edges"] = {(verb, ndef) for verb, ndef in node["edges"] if ndef in self.nodes}
        return shown


class GraphMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.stack = ExitStack()
        self.stack.callback(shutil.rmtree, self.folder)
        self.graph = self.stack.enter_context(open_graph(self.folder / "one"))
        self.model = the_model()
        self.base = Oracle()
        self.top: Oracle | None = None
        self.session = self.graph.begin()

    def teardown(self) -> None:
        try:
            self.session.sync()
            self.session.close()
            assert replayed(self.graph, self.folder / "two") == databases(self.graph)
        finally:
            self.stack.close()

    @property
    def oracle(self) -> Oracle:
        return self.top if self.top is not None else self.base

    def node(self, ndef: tuple[str, Any]) -> Any:
        node = self.session.node(self.model.require_form(ndef[0]), ndef[1])
        assert (node is not None) == (ndef in self.oracle.nodes)
        return node

    @initialize(ndef=MAIN)
    def first(self, ndef: tuple[str, Any]) -> None:
        self.add(ndef)

    @precondition(lambda self: self.top is None and len(self.base.nodes) > 2)
    @rule()
    def fork(self) -> None:
        self.session.sync()
        self.session.close()
        self.session = self.graph.begin(self.graph.fork(self.graph.default_view))
        self.top = copy.deepcopy(self.base)

    @rule(ndef=MAIN)
    def add(self, ndef: tuple[str, Any]) -> None:
        self.session.add_node(self.model.require_form(ndef[0]), ndef[1])
        self.oracle.add(*ndef)

    @rule(ndef=MAIN, number=st.integers(1, 3), names=st.lists(st.sampled_from(["x", "y", "z"]), max_size=3))
    def set_prop(self, ndef: tuple[str, Any], number: int, names: list[str]) -> None:
        node = self.node(ndef)
        if node is None:
            return
        if ndef[0] == "inet:ipv4":
            self.session.set_prop(node, "asn", number)
            self.oracle.set(ndef, "asn", number)
        else:
            self.session.set_prop(node, "names", names)
            self.oracle.set(ndef, "names", tuple(sorted(set(names))))

    @rule(ndef=MAIN, name=st.sampled_from(["x", "y"]))
    def set_name(self, ndef: tuple[str, Any], name: str) -> None:
        node = self.node(ndef)
        if node is not None:
            prop = "loc" if ndef[0] == "inet:ipv4" else "name"
            self.session.set_prop(node, prop, name)
            self.oracle.set(ndef, prop, name)

    @rule(ndef=MAIN, name=st.sampled_from(["asn", "loc", "names", "name"]))
    def pop_prop(self, ndef: tuple[str, Any], name: str) -> None:
        node = self.node(ndef)
        if node is not None and name in node.form.props:
            was_set = self.session.pop_prop(node, name)
            assert was_set == (self.oracle.nodes[ndef]["props"].pop(name, None) is not None)

    @rule(ndef=MAIN, tag=TAGS, interval=INTERVALS)
    def add_tag(self, ndef: tuple[str, Any], tag: str, interval: Any) -> None:
        node = self.node(ndef)
        if node is not None:
            self.session.add_tag(node, tag, interval)
            self.oracle.tag(ndef, tag, interval)

    @rule(ndef=MAIN, tag=TAGS)
    def del_tag(self, ndef: tuple[str, Any], tag: str) -> None:
        node = self.node(ndef)
        if node is not None:
            self.session.del_tag(node, tag)
            self.oracle.untag(ndef, tag)

    @rule(ndef=MAIN, tag=TAGS, value=st.integers(0, 3))
    def set_tag_prop(self, ndef: tuple[str, Any], tag: str, value: int) -> None:
        node = self.node(ndef)
        if node is not None:
            self.session.set_tag_prop(node, tag, "risk", value)
            self.oracle.tag(ndef, tag, None)
            self.oracle.nodes[ndef]["tag_props"].setdefault(tag, {})["risk"] = value

    @rule(ndef=MAIN, tag=TAGS)
    def del_tag_prop(self, ndef: tuple[str, Any], tag: str) -> None:
        node = self.node(ndef)
        if node is not None:
            was_set = self.session.del_tag_prop(node, tag, "risk")
            assert was_set == (self.oracle.nodes[ndef]["tag_props"].pop(tag, None) is not None)

    @rule(ndef=MAIN, to=MAIN, verb=VERBS)
    def add_edge(self, ndef: tuple[str, Any], to: tuple[str, Any], verb: str) -> None:
        node, other = self.node(ndef), self.node(to)
        if node is not None and other is not None:
            is_new = self.session.add_edge(node, verb, other)
            edges = self.oracle.nodes[ndef]["edges"]
            assert is_new == ((verb, to) not in edges)
            edges.add((verb, to))

    @rule(ndef=MAIN, to=MAIN, verb=VERBS)
    def del_edge(self, ndef: tuple[str, Any], to: tuple[str, Any], verb: str) -> None:
        node, other = self.node(ndef), self.node(to)
        if node is not None and other is not None:
            was_there = self.session.del_edge(node, verb, other)
            edges = self.oracle.nodes[ndef]["edges"]
            assert was_there == ((verb, to) in edges)
            edges.discard((verb, to))

    @rule(ndef=MAIN, name=st.sampled_from(["k", "l"]), value=st.none() | st.integers(0, 2))
    def set_data(self, ndef: tuple[str, Any], name: str, value: Any) -> None:
        node = self.node(ndef)
        if node is not None:
            self.session.set_data(node, name, value)
            self.oracle.nodes[ndef]["data"][name] = value

    @rule(ndef=MAIN, name=st.sampled_from(["k", "l"]))
    def pop_data(self, ndef: tuple[str, Any], name: str) -> None:
        node = self.node(ndef)
        if node is not None:
            assert self.session.pop_data(node, name) == self.oracle.nodes[ndef]["data"].pop(name, None)

    @rule(ndef=MAIN)
    def delete(self, ndef: tuple[str, Any]) -> None:
        node = self.node(ndef)
        if node is not None:
            self.session.delete_node(node, force=True)
            del self.oracle.nodes[ndef]
            assert node.is_deleted
            assert not node.props

    @rule()
    def sync(self) -> None:
        self.session.sync()

    @invariant()
    def nodes_are_those_of_the_oracle(self) -> None:
        assert content(self.session, FORMS) == self.oracle.shown()

    @invariant()
    def the_base_keeps_what_it_had_before_the_fork(self) -> None:
        if self.top is not None:
            with self.graph.begin(self.graph.default_view, readonly=True) as session:
                assert content(session, FORMS) == self.base.shown()

    @invariant()
    def indexes_answer_as_scans_do(self) -> None:
        session, nodes = self.session, self.oracle.nodes
        asn = self.model.require_prop("inet:ipv4:asn")
        for number in (1, 2, 3):
            wanted = {
                ndef
                for ndef, node in nodes.items()
                if node["props"].get("asn") == number and ndef[0] == "inet:ipv4"
            }
            assert {node.ndef for node in session.lift_value(asn, "=", number)} == wanted
            assert session.count_value(asn, "=", number) == len(wanted)
        assert session.count_prop(asn) == sum("asn" in node["props"] for node in nodes.values())
        for form in FORMS:
            assert session.count_form(self.model.require_form(form)) == sum(ndef[0] == form for ndef in nodes)
        created = self.model.require_prop(".created")
        assert session.count_prop(created) == len(nodes)
        names = self.model.require_prop("ou:org:names")
        for name in ("x", "y"):
            wanted = {ndef for ndef, node in nodes.items() if name in node["props"].get("names", ())}
            assert {node.ndef for node in session.lift_array(names, "=", name)} == wanted
            assert {node.ndef for _, node in session.nodes_with_value(names, [name])} == wanted

    @invariant()
    def tags_are_found(self) -> None:
        session, nodes = self.session, self.oracle.nodes
        form = self.model.require_form("inet:ipv4")
        for tag in ("a", "a.b", "b"):
            wanted = {ndef for ndef, node in nodes.items() if tag in node["tags"]}
            assert {node.ndef for node in session.lift_tag(tag)} == wanted
            assert session.count_tag(tag) == len(wanted)
            assert session.count_tag(tag, form) == sum(ndef[0] == form.name for ndef in wanted)
            risky = {
                ndef for ndef, node in nodes.items() if node["tag_props"].get(tag, {}).get("risk", -1) >= 1
            }
            assert {
                node.ndef for node in session.lift_tag_prop(tag, "risk", comparator=">=", value=1)
            } == risky

    @invariant()
    def edges_are_the_same_from_both_ends(self) -> None:
        session = self.session
        shown = self.oracle.shown()
        for form in ("inet:ipv4", "ou:org"):
            for node in session.lift_form(self.model.require_form(form)):
                wanted = {
                    (verb, ndef)
                    for ndef, other in shown.items()
                    for verb, to in other["edges"]
                    if to == node.ndef
                }
                assert {(verb, other.ndef) for _, verb, other in session.edges_in((node,))} == wanted
        for verb in ("refs", "seen"):
            wanted_sources = {
                ndef
                for ndef, other in self.oracle.nodes.items()
                if any(edge[0] == verb for edge in other["edges"])
            }
            assert {node.ndef for node in session.lift_verb(verb)} == wanted_sources


GraphMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestGraphMachine = GraphMachine.TestCase
