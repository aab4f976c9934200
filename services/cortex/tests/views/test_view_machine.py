"""Random edits, forks, merges and deletions on views of one to three layers, over LMDB and its twin in memory.

After each step each view must show what plain dictionaries say, indexes and counts must answer as going through all
nodes does, and at the end the layers must agree with themselves, with a replay of the log, and, where nothing was
forked, with an empty graph once all edits are taken back.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cellmesh.cortex.values.changes import decode_record
from cellmesh.cortex.values.edits import LayerEdits
from cellmesh.cortex.views.merge import merge_view
from cellmesh.cortex.views.session import GraphSession
from cellmesh.cortex.views.stacks import remove_view
from cellmesh.cortex.views.verify import check_layer
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

sys.path.insert(0, str(Path(__file__).parent))
from graph_kit import content, databases, open_graph, replayed, the_model
from layered_model import GONE, Ndef, ViewModel

EXAMPLE_COUNT = int(os.environ.get("CELLMESH_VIEW_EXAMPLES", "16"))
STEP_COUNT = int(os.environ.get("CELLMESH_VIEW_STEPS", "25"))

FORMS = ("inet:ipv4", "ou:org", "inet:asn", "ou:name", "syn:tag")
INDEXES = (
    "nodes",
    "by_prop",
    "by_array",
    "by_tag",
    "by_tag_prop",
    "edges_out",
    "edges_in",
    "by_verb",
    "edge_masks",
    "node_data",
    "counts",
)
LAYER_COUNT_MAX = 3

NDEF = st.sampled_from([("inet:ipv4", 1), ("inet:ipv4", 2), ("ou:org", "0" * 31 + "1")])
DELETED = NDEF | st.sampled_from([("inet:asn", 1), ("ou:name", "x")])
TAG = st.sampled_from(["a", "a.b", "b"])
INTERVAL = st.none() | st.tuples(st.integers(0, 5), st.integers(6, 9))
VERB = st.sampled_from(["refs", "seen"])
LEVEL = st.sampled_from((2, 1, 0, 2, 1))


class ViewMachine(RuleBasedStateMachine):
    storage = "lmdb"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.stack = ExitStack()
        self.stack.callback(shutil.rmtree, self.folder)
        self.graph = self.stack.enter_context(open_graph(self.folder / "one", storage=self.storage))
        self.model = the_model()
        self.views = [self.graph.default_view]
        self.models = [ViewModel()]
        self.was_forked = False
        with self.graph.slab.view() as txn:
            self.start_offset = self.graph.log.next_offset(txn)

    def teardown(self) -> None:
        try:
            for layer in self.graph.layers.values():
                assert list(check_layer(self.graph, layer, lambda: None)) == []
            assert replayed(self.graph, self.folder / "two", storage=self.storage) == databases(self.graph)
            if not self.was_forked:
                self.take_back()
        finally:
            self.stack.close()

    def take_back(self) -> None:
        for record in reversed(self.graph.log.read(self.start_offset).records):
            edits = decode_record(record.type_name, record.payload)
            assert isinstance(edits, LayerEdits)
            inverse = edits.inverse()
            self.graph.slab.write(lambda txn, inverse=inverse: self.graph.apply_edits(txn, inverse))
        left = {name: rows for name, rows in databases(self.graph).items() if name in INDEXES and rows}
        # Counts stay, of nothing.
        assert {value for _, value in left.pop("counts", ())} <= {bytes(8)}
        assert left == {}

    def begin(self, level: int) -> tuple[GraphSession, ViewModel]:
        level = min(level, len(self.views) - 1)
        return self.graph.begin(self.views[level]), self.models[level]

    def node(self, session: GraphSession, model: ViewModel, ndef: Ndef) -> Any:
        node = session.node(self.model.require_form(ndef[0]), ndef[1])
        assert (node is not None) == model.has(ndef)
        return node

    # Stacks.

    @initialize(layer_count=st.integers(1, LAYER_COUNT_MAX))
    def begin_with_something(self, layer_count: int) -> None:
        self.add(0, ("inet:ipv4", 1))
        self.add_tag(0, ("inet:ipv4", 1), "a.b", (2, 7))
        self.set_prop(0, ("inet:ipv4", 1), 1, [])
        while len(self.views) < layer_count:
            self.fork()
        self.add(layer_count - 1, ("ou:org", "0" * 31 + "1"))

    @precondition(lambda self: len(self.views) < LAYER_COUNT_MAX and self.models[0].layer.made)
    @rule()
    def fork(self) -> None:
        self.views.append(self.graph.fork(self.views[-1]))
        self.models.append(ViewModel(self.models[-1]))
        self.was_forked = True

    @precondition(lambda self: len(self.views) > 1)
    @rule()
    def merge_top(self) -> None:
        merge_view(self.graph, self.views[-1])
        self.models[-1].merge()

    @precondition(lambda self: len(self.views) > 1)
    @rule()
    def remove_top(self) -> None:
        remove_view(self.graph, self.views.pop())
        self.models.pop()

    # Edits.

    @rule(level=LEVEL, ndef=NDEF)
    def add(self, level: int, ndef: Ndef) -> None:
        session, model = self.begin(level)
        with session:
            session.add_node(self.model.require_form(ndef[0]), ndef[1])
            session.sync()
        model.add(*ndef)

    @rule(level=LEVEL, ndef=NDEF, number=st.integers(1, 2), names=st.lists(st.sampled_from("xy"), max_size=2))
    def set_prop(self, level: int, ndef: Ndef, number: int, names: list[str]) -> None:
        session, model = self.begin(level)
        with session:
            node = self.node(session, model, ndef)
            if node is None:
                return
            if ndef[0] == "inet:ipv4":
                session.set_prop(node, "asn", number)
                model.set(ndef, "asn", number)
            else:
                session.set_prop(node, "names", names)
                model.set(ndef, "names", tuple(sorted(set(names))))

    @rule(level=LEVEL, ndef=NDEF, name=st.sampled_from("xy"))
    def set_name(self, level: int, ndef: Ndef, name: str) -> None:
        session, model = self.begin(level)
        with session:
            node = self.node(session, model, ndef)
            if node is not None:
                prop = "loc" if ndef[0] == "inet:ipv4" else "name"
                session.set_prop(node, prop, name)
                model.set(ndef, prop, name)

    @rule(level=LEVEL, ndef=NDEF, name=st.sampled_from(["asn", "loc", "names", "name"]))
    def pop_prop(self, level: int, ndef: Ndef, name: str) -> None:
        session, model = self.begin(level)
        with session:
            node = self.node(session, model, ndef)
            if node is not None and name in node.form.props:
                assert session.pop_prop(node, name) == (model.drop(("prop", ndef, name)) is not GONE)

    @rule(level=LEVEL, ndef=NDEF, tag=TAG, interval=INTERVAL)
    def add_tag(self, level: int, ndef: Ndef, tag: str, interval: Any) -> None:
        session, model = self.begin(level)
        with session:
            node = self.node(session, model, ndef)
            if node is not None:
                session.add_tag(node, tag, interval)
                model.tag(ndef, tag, interval)

    @rule(level=LEVEL, ndef=NDEF, tag=TAG)
    def del_tag(self, level: int, ndef: Ndef, tag: str) -> None:
        session, model = self.begin(level)
        with session:
            node = self.node(session, model, ndef)
            if node is not None:
                session.del_tag(node, tag)
                model.untag(ndef, tag)

    @rule(level=LEVEL, ndef=NDEF, tag=TAG, value=st.integers(0, 2))
    def set_tag_prop(self, level: int, ndef: Ndef, tag: str, value: int) -> None:
        session, model = self.begin(level)
        with session:
            node = self.node(session, model, ndef)
            if node is not None:
                session.set_tag_prop(node, tag, "risk", value)
                model.tag(ndef, tag, None)
                model.put(("tagprop", ndef, tag, "risk"), value)

    @rule(level=LEVEL, ndef=NDEF, tag=TAG)
    def del_tag_prop(self, level: int, ndef: Ndef, tag: str) -> None:
        session, model = self.begin(level)
        with session:
            node = self.node(session, model, ndef)
            if node is not None:
                was_set = session.del_tag_prop(node, tag, "risk")
                assert was_set == (model.drop(("tagprop", ndef, tag, "risk")) is not GONE)

    @rule(level=LEVEL, ndef=NDEF, to=NDEF, verb=VERB)
    def add_edge(self, level: int, ndef: Ndef, to: Ndef, verb: str) -> None:
        session, model = self.begin(level)
        with session:
            node, other = self.node(session, model, ndef), self.node(session, model, to)
            if node is not None and other is not None:
                assert session.add_edge(node, verb, other) == model.put(("edge", ndef, verb, to), True)

    @rule(level=LEVEL, ndef=NDEF, to=NDEF, verb=VERB)
    def del_edge(self, level: int, ndef: Ndef, to: Ndef, verb: str) -> None:
        session, model = self.begin(level)
        with session:
            node, other = self.node(session, model, ndef), self.node(session, model, to)
            if node is not None and other is not None:
                was_there = session.del_edge(node, verb, other)
                assert was_there == (model.drop(("edge", ndef, verb, to)) is not GONE)

    @rule(level=LEVEL, ndef=NDEF, name=st.sampled_from("kl"), value=st.none() | st.integers(0, 2))
    def set_data(self, level: int, ndef: Ndef, name: str, value: Any) -> None:
        session, model = self.begin(level)
        with session:
            node = self.node(session, model, ndef)
            if node is not None:
                session.set_data(node, name, value)
                model.put(("data", ndef, name), value)

    @rule(level=LEVEL, ndef=NDEF, name=st.sampled_from("kl"))
    def pop_data(self, level: int, ndef: Ndef, name: str) -> None:
        session, model = self.begin(level)
        with session:
            node = self.node(session, model, ndef)
            if node is not None:
                old = model.drop(("data", ndef, name))
                assert session.pop_data(node, name) == (None if old is GONE else old)

    @rule(level=LEVEL, ndef=DELETED)
    def delete(self, level: int, ndef: Ndef) -> None:
        session, model = self.begin(level)
        with session:
            node = self.node(session, model, ndef)
            if node is not None:
                session.delete_node(node, force=True)
                model.delete(ndef)

    # What must hold.

    @invariant()
    def views_show_what_the_dictionaries_say(self) -> None:
        for view, model in zip(self.views, self.models, strict=True):
            with self.graph.begin(view, readonly=True) as session:
                shown = model.shown()
                assert content(session, FORMS) == shown
                self.indexes_answer_as_scans_do(session, shown)

    def indexes_answer_as_scans_do(self, session: GraphSession, shown: dict[Ndef, dict[str, Any]]) -> None:
        asn, names = self.model.require_prop("inet:ipv4:asn"), self.model.require_prop("ou:org:names")
        for number in (1, 2):
            wanted = {ndef for ndef, node in shown.items() if node["props"].get("asn") == number}
            found = [node.ndef for node in session.lift_value(asn, "=", number)]
            assert sorted(found) == sorted(wanted)
            assert session.count_value(asn, "=", number) == len(wanted)
        assert session.count_prop(asn) == sum("asn" in node["props"] for node in shown.values())
        for name in "xy":
            wanted = {ndef for ndef, node in shown.items() if name in node["props"].get("names", ())}
            assert sorted(node.ndef for node in session.lift_array(names, "=", name)) == sorted(wanted)
        for form in FORMS:
            assert session.count_form(self.model.require_form(form)) == sum(ndef[0] == form for ndef in shown)
        for tag in ("a", "a.b", "b"):
            wanted = {ndef for ndef, node in shown.items() if tag in node["tags"]}
            assert sorted(node.ndef for node in session.lift_tag(tag)) == sorted(wanted)
            assert session.count_tag(tag) == len(wanted)
            risky = {ndef for ndef, node in shown.items() if "risk" in node["tag_props"].get(tag, {})}
            assert sorted(node.ndef for node in session.lift_tag_prop(tag, "risk")) == sorted(risky)
        for form in ("inet:ipv4", "ou:org"):
            for node in session.lift_form(self.model.require_form(form)):
                inward = {
                    (verb, ndef)
                    for ndef, other in shown.items()
                    for verb, to in other["edges"]
                    if to == node.ndef
                }
                assert {(verb, other.ndef) for _, verb, other in session.edges_in((node,))} == inward


class MemoryViewMachine(ViewMachine):
    storage = "memory"


SETTINGS = settings(
    max_examples=EXAMPLE_COUNT,
    stateful_step_count=STEP_COUNT,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
ViewMachine.TestCase.settings = SETTINGS
MemoryViewMachine.TestCase.settings = SETTINGS
TestViewMachine = ViewMachine.TestCase
TestMemoryViewMachine = MemoryViewMachine.TestCase
