"""A new version of the program renames a form and a property of tags: nodes, and all that refers to them, follow in every layer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.changelog import Replay
from cellmesh.common.errors import BadFormDef
from cellmesh.common.storage import Slab
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.schema import (
    BY_PROP,
    BY_TAG,
    BY_TAG_PROP,
    COUNTS,
    EDGE_MASKS,
    EDGES_IN,
    EDGES_OUT,
    NODE_DATA,
    NODES,
)
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.migration import runner
from cellmesh.cortex.migration.names import tell_names
from cellmesh.cortex.migration.runner import ModelSteps
from cellmesh.cortex.migration.steps import ModelStep, RenameForm, RenameProp, RenameTagProp, RetypeProp
from cellmesh.cortex.model.definitions import FormDef, PropDef, TypeDef, TypeRef
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.replay import appliers
from cellmesh.cortex.stores.stores import Stores
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.merge import merge_view
from cellmesh.cortex.views.session import GraphSession
from cellmesh.cortex.views.sharing import Sharing
from cellmesh.cortex.views.taking import take_edits
from cellmesh.cortex.views.verify import check_layer
from cellmesh.cortex.views.view import View
from cellmesh.testing.memory import memory_slab

sys.path.insert(0, str(Path(__file__).parents[1] / "replay"))
sys.path.insert(0, str(Path(__file__).parents[1] / "views"))
from graph_kit import content
from replay_kit import DATABASES, differences, fresh_model

BATCH_COUNT = 7
COUNT = 20

STEPS = (
    ModelStep(
        1, "the owner of a thing is its holder", (RenameProp("test:old", "own", "owner", TypeRef("str")),)
    ),
    ModelStep(
        2,
        "things have another name",
        (
            RenameForm("test:old", "test:mid"),
            RenameTagProp("thing", "what", TypeRef("ndef")),
            RenameTagProp("level", "grade", TypeRef("int")),
        ),
    ),
    ModelStep(3, "and another", (RenameForm("test:mid", "test:new"),)),
    ModelStep(4, "sizes are numbers", (RetypeProp("test:new", "size", TypeRef("str"), lambda value: value),)),
)
NAMES = ("test:old", "test:old", "test:mid", "test:new", "test:new")
FORMS = ("test:thing", "test:pair", "edge:refs", "meta:seen", "inet:fqdn", "test:thing:part", "syn:tag")


def model_of(version: int) -> Model:
    """The model of a version of the program: 0 is before the first step."""
    model = fresh_model()
    defs, name = model.defs, NAMES[version]

    def prop(prop_name: str, type_name: str, **options: Any) -> tuple[str, PropDef]:
        return prop_name, PropDef(prop_name, TypeRef(type_name, options))

    defs.types[name] = TypeDef(name, "str", {"lower": True})
    defs.forms[name] = FormDef(
        name,
        dict(
            (
                prop("own" if version < 1 else "owner", "str"),
                prop("size", "str" if version < 4 else "int"),
                prop("next", name),
                prop("node", "ndef"),
                prop("node:form", "str"),
                prop("nodes", "array", type="ndef", uniq=True, sorted=True),
                prop("what", "nodeprop"),
            )
        ),
    )
    # A name that begins as the other does.
    defs.types["test:old:part"] = TypeDef("test:old:part", "str")
    defs.forms["test:old:part"] = FormDef("test:old:part", dict([prop("of", name), prop("node", "nodeprop")]))
    defs.types["test:pair"] = TypeDef("test:pair", "comp", {"fields": [["thing", name], ["node", "ndef"]]})
    defs.forms["test:pair"] = FormDef(
        "test:pair", dict([prop("thing", name), prop("node", "ndef"), prop("refs", "edge:refs")])
    )
    defs.forms["inet:fqdn"] = FormDef(
        "inet:fqdn",
        {
            **defs.forms["inet:fqdn"].props,
            **dict([prop("thing", name), prop("about", "ndef"), prop("pairs", "array", type="test:pair")]),
        },
    )
    return Model(defs)


@contextmanager
def opened(folder: Path, version: int, *, leads: bool = True) -> Iterator[tuple[Graph, ModelSteps, Stores]]:
    with Slab.open(folder, DATABASES, sync=False) as slab:
        yield on_slab(slab, version, leads=leads)


def on_slab(slab: Slab, version: int, *, leads: bool = True) -> tuple[Graph, ModelSteps, Stores]:
    graph = Graph.open(slab, model_of(version), leads=leads)
    tell_names(graph, STEPS[:version])
    stores = Stores.open(graph)
    return graph, ModelSteps(graph, stores.changes, STEPS[:version]), stores


def extend(graph: Graph, stores: Stores) -> None:
    """What users add: all tag properties are theirs."""
    with graph.begin() as session:
        extensions = stores.extensions.of(session)
        extensions.add_tagprop("thing", ("ndef", {}), {})
        extensions.add_tagprop("level", ("int", {}), {})
        extensions.add_prop("test:old", "_score", ("int", {}), {})
        extensions.add_prop("inet:fqdn", "_things", ("array", {"type": "test:old"}), {})
        extensions.add_form("_own:thing", "test:old", {}, {})
        extensions.add_edge("test:old", "_owns", "test:old", {})
        session.sync()


def fill(graph: Graph, stores: Stores) -> None:
    extend(graph, stores)
    model = graph.model
    thing, fqdn = model.require_form("test:old"), model.require_form("inet:fqdn")
    with graph.begin() as session:
        for number in range(COUNT):
            node = session.add_node(thing, f"t{number}")
            other = session.add_node(fqdn, f"h{number}.example")
            if number:
                before = session.node(thing, f"t{number - 1}")
                assert before is not None
                session.set_prop(node, "next", before.value)
                session.add_edge(node, "refs", before)
                session.add_edge(before, "seen", node)
            session.set_prop(node, "own", f"o{number % 3}")
            session.set_prop(node, "size", str(number) if number else "none")
            session.set_prop(node, "node", ("test:old", f"t{number // 2}"))
            session.set_prop(node, "node:form", "test:old")
            session.set_prop(
                node, "nodes", [("test:old", "t3"), ("test:old:part", "p"), ("test:new-no", 1)][:2]
            )
            session.set_prop(node, "what", ("test:old:next", "t1"))
            session.set_prop(node, "_score", number)
            session.set_prop(other, "_things", [f"t{number}"])
            session.set_prop(node, ".seen", ("2020", "2021"))
            session.add_tag(node, "a.b", ("2020", "2021"))
            session.set_tag_prop(node, "a.b", "level", number)
            session.set_tag_prop(other, "c", "thing", ("test:old", f"t{number}"))
            session.set_data(node, "origin", {"test:old": number})
            session.add_edge(other, "refs", node)
            session.add_edge(node, "refs", other)
            session.set_prop(other, "thing", f"t{number}")
            session.set_prop(other, "about", ("test:old", f"t{number}"))
            session.set_prop(other, "pairs", [(f"t{number}", ("test:old", "t1"))])
            pair = session.add_node(
                model.require_form("test:pair"), (f"t{number}", ("inet:fqdn", f"h{number}.example"))
            )
            session.set_prop(pair, "refs", (("test:old", f"t{number}"), ("inet:fqdn", f"h{number}.example")))
            refs = session.add_node(
                model.require_form("edge:refs"),
                (("inet:fqdn", f"h{number}.example"), ("test:old", f"t{number}")),
            )
            session.add_edge(refs, "refs", node)
            session.add_edge(node, "about", refs)
            session.set_data(refs, "note", number)
        part = session.add_node(model.require_form("test:old:part"), "p")
        session.set_prop(part, "of", "t5")
        session.set_prop(part, "node", ("test:old:part:of", "t5"))
        session.add_node(model.require_form("meta:seen"), ("0" * 31 + "1", ("test:old", "t5")))
        session.sync()
    fork = graph.fork(graph.default_view)
    second = graph.fork(fork)
    with graph.begin(fork) as session:
        one, two, three, five = (the(session, f"t{number}") for number in (1, 2, 3, 5))
        session.pop_prop(one, "own")
        session.set_prop(two, "own", "forked")
        session.del_tag(one, "a.b")
        session.del_tag_prop(two, "a.b", "level")
        session.set_tag_prop(three, "a.b", "level", 99)
        session.add_tag(three, "only.here")
        session.del_edge(one, "refs", the(session, "t0"))
        session.del_edge(host(session, 2), "refs", two)
        session.add_edge(host(session, 2), "refs", five)
        session.pop_data(one, "origin")
        session.set_data(two, "origin", "forked")
        session.delete_node(the(session, "t7"), force=True)
        session.add_edge(session.add_node(thing, "made"), "refs", five)
        session.set_prop(host(session, 4), "about", ("test:old", "made"))
        session.del_tag_prop(host(session, 5), "c", "thing")
        session.sync()
    with graph.begin(second) as session:
        session.delete_node(the(session, "made"), force=True)
        # Nothing but an edge and data is said of these here.
        session.add_edge(the(session, "t9"), "seen", the(session, "t2"))
        session.set_data(the(session, "t10"), "more", 5)
        session.sync()


def the(session: GraphSession, value: str) -> Any:
    name = next(name for name in ("test:old", "test:mid", "test:new") if session.model.is_form(name))
    found = session.node(session.model.require_form(name), value)
    assert found is not None
    return found


def host(session: GraphSession, number: int) -> Any:
    found = session.node(session.model.require_form("inet:fqdn"), f"h{number}.example")
    assert found is not None
    return found


RENAMED = {
    "test:old": "test:new",
    "test:mid": "test:new",
    "test:old:next": "test:new:next",
    "test:mid:next": "test:new:next",
}
RENAMED_TAG_PROPS = {"thing": "what", "level": "grade"}


def now(value: Any) -> Any:
    """A value as it is called after all steps."""
    if isinstance(value, tuple):
        return tuple(now(item) for item in value)
    return RENAMED.get(value, value) if isinstance(value, str) else value


def shown(graph: Graph, view: View) -> dict[tuple[str, Any], dict[str, Any]]:
    """All that a view shows, as it is called after all steps."""
    names = [name for name in FORMS if graph.model.is_form(name)]
    names += [
        name for name in ("test:old", "test:mid", "test:new", "test:old:part") if graph.model.is_form(name)
    ]
    with graph.begin(view, readonly=True) as session:
        found = content(session, tuple(names))
    result: dict[tuple[str, Any], dict[str, Any]] = {}
    for ndef, item in found.items():
        props = {}
        for name, value in item["props"].items():
            is_thing = ndef[0] in ("test:old", "test:mid", "test:new")
            fresh = {"own": "owner"}.get(name, name) if is_thing else name
            made = now(value)
            if is_thing and name == "size":
                made = int(made) if str(made).isdigit() else None
            if isinstance(made, tuple) and name == "nodes":
                made = frozenset(made)
            if made is not None:
                props[fresh] = made
        result[now(ndef)] = {
            "props": props,
            "tags": item["tags"],
            "tag_props": {
                tag: {RENAMED_TAG_PROPS.get(name, name): now(value) for name, value in items.items()}
                for tag, items in item["tag_props"].items()
            },
            "edges": {(verb, now(end)) for verb, end in item["edges"]},
            "data": item["data"],
        }
    return result


def all_shown(graph: Graph) -> list[dict[tuple[str, Any], dict[str, Any]]]:
    return [shown(graph, view) for view in sorted(graph.views.values(), key=lambda view: len(view.layers))]


def check(graph: Graph, expected: list[dict[tuple[str, Any], dict[str, Any]]]) -> None:
    """All is as it should be after all steps."""
    for layer in graph.layers.values():
        assert list(check_layer(graph, layer, lambda: None)) == []
    found = all_shown(graph)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for ndef in one:
            assert one[ndef] == other[ndef], ndef
    assert left(graph) == []
    model = graph.model
    with graph.begin(readonly=True) as session:
        about, thing = model.require_prop("inet:fqdn:about"), model.require_prop("inet:fqdn:thing")
        assert [node.value for node in session.lift_value(about, "=", ("test:new", "t5"))] == ["h5.example"]
        assert [node.value for node in session.lift_value(thing, "=", "t5")] == ["h5.example"]
        assert session.count_form(model.require_form("test:new")) == COUNT
        assert session.count_prop(model.require_prop("test:new:size")) == COUNT - 1
        assert [
            node.value for node in session.lift_value(model.require_prop("test:new:size"), ">=", COUNT - 2)
        ] == [f"t{COUNT - 2}", f"t{COUNT - 1}"]
        assert [node.value for node in session.lift_tag_prop("a.b", "grade", comparator="=", value=4)] == [
            "t4"
        ]
        whats = session.lift_tag_prop("c", "what", comparator="=", value=("test:new", "t4"))
        assert [node.value for node in whats] == ["h4.example"]
        nodes = session.lift_value(model.require_prop("edge:refs:n2:form"), "=", "test:new")
        assert len(list(nodes)) == COUNT


def left(graph: Graph) -> list[str]:
    """What databases still say of names that are no more."""
    found: list[str] = []
    with graph.slab.view() as txn:
        names = graph.names
        forms = {names.forms.find(txn, name) for name in ("test:old", "test:mid")} - {None}
        props = {
            names.props.find(txn, name)
            for form in ("test:old", "test:mid")
            for name in (
                form,
                *(f"{form}:{one}" for one in ("own", "owner", "size", "next", "node", "nodes")),
            )
        } - {None}
        tag_props = {names.tag_props.find(txn, name) for name in ("thing", "level")} - {None}
        assert forms
        assert len(tag_props) == 2
        for db in (NODES, EDGES_OUT, EDGES_IN, EDGE_MASKS, NODE_DATA):
            found += [
                db.name
                for key in txn.scan_keys(db, count_max=100_000).items
                if keys.unpack_form(key, 10) in forms
            ]
        for db in (EDGES_OUT, EDGES_IN, EDGE_MASKS):
            found += [
                f"{db.name} to"
                for _, to in txn.scan(db, count_max=100_000).items
                if keys.unpack_form(to, 10) in forms
            ]
        for db in (BY_PROP, BY_TAG, BY_TAG_PROP):
            found += [
                db.name
                for _, nid in txn.scan(db, count_max=100_000).items
                if keys.unpack_form(nid, 6) in forms
            ]
        found += [
            "by_prop"
            for key, _ in txn.scan(BY_PROP, count_max=100_000).items
            if keys.unpack_number(key, 4) in props
        ]
        found += [
            "by_tag_prop"
            for key, _ in txn.scan(BY_TAG_PROP, count_max=100_000).items
            if keys.unpack_number(key, 8) in tag_props
        ]
        found += [
            "counts"
            for key, count in txn.scan(COUNTS, count_max=100_000).items
            if (keys.unpack_number(key, 4) in props or keys.unpack_form(key, 8) in forms)
            and keys.unpack_nid(count)
        ]
    return found


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SCAN_COUNT", BATCH_COUNT)


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Path, list[dict[tuple[str, Any], dict[str, Any]]]]:
    folder = tmp_path / "cortex"
    with opened(folder, 0) as (graph, steps, stores):
        assert steps.run() == 0
        fill(graph, stores)
        expected = all_shown(graph)
    assert len(expected) == 3
    return folder, expected


@pytest.mark.parametrize("storage", ["lmdb", "memory"])
def test_nodes_follow_their_form(tmp_path: Path, storage: str) -> None:
    slab = memory_slab(DATABASES) if storage == "memory" else Slab.open(tmp_path, DATABASES, sync=False)
    try:
        graph, _, stores = on_slab(slab, 0)
        fill(graph, stores)
        expected = all_shown(graph)
        graph, steps, _ = on_slab(slab, 4)
        assert steps.run() > COUNT
        check(graph, expected)
        assert steps.run() == 0
        # What forks hid, and made, is merged as what it is now.
        for view in sorted(graph.views.values(), key=lambda view: -len(view.layers))[:2]:
            merge_view(graph, view)
        for layer in graph.layers.values():
            assert list(check_layer(graph, layer, lambda: None)) == []
        assert shown(graph, graph.default_view) == expected[2]
    finally:
        slab.close()


def test_one_version_after_another(filled: tuple[Path, Any]) -> None:
    folder, expected = filled
    for version in (1, 2, 3, 4):
        with opened(folder, version) as (graph, steps, _):
            assert steps.run() > 0
            for layer in graph.layers.values():
                assert list(check_layer(graph, layer, lambda: None)) == []
            if version == 4:
                check(graph, expected)
            else:
                assert all_shown(graph) == expected


@pytest.mark.parametrize("stop_after", [50, 80, 115, 250])
def test_it_goes_on_where_it_was_stopped(filled: tuple[Path, Any], stop_after: int) -> None:
    folder, expected = filled
    asked = iter(range(100_000))
    with opened(folder, 4) as (graph, steps, _):
        steps.run(lambda: next(asked) >= stop_after)
    with opened(folder, 4) as (graph, steps, _):
        assert steps.run() > 0
        check(graph, expected)
        assert steps.run() == 0


@pytest.mark.parametrize("killed_at", [30, 48, 70, 90, 140])
def test_a_kill_inside_of_a_batch_loses_and_repeats_nothing(filled: tuple[Path, Any], killed_at: int) -> None:
    folder, expected = filled
    child = os.fork()
    if child == 0:
        written = iter(range(1, 100_000))
        apply = LayerWriter.apply

        def apply_and_fall(self: LayerWriter, *arguments: Any) -> None:
            apply(self, *arguments)
            if next(written) == killed_at:
                os._exit(9)

        LayerWriter.apply = apply_and_fall  # type: ignore[method-assign, assignment]  # the process dies in it
        with Slab.open(folder, DATABASES, sync=False) as slab:
            on_slab(slab, 4)[1].run()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with opened(folder, 4) as (graph, steps, _):
        assert steps.run() > 0
        check(graph, expected)


def test_followers_get_the_edits_by_the_log(filled: tuple[Path, Any], tmp_path: Path) -> None:
    folder, expected = filled
    with (
        opened(folder, 4) as (graph, steps, _),
        opened(tmp_path / "follower", 4, leads=False) as (copy, more, stores),
    ):
        replay = Replay(copy.slab, appliers(copy, stores, None))
        offset = 0
        # Records from before the steps as well, by a program that knows none of their names.
        while chunk := graph.log.read(offset, count_max=50).records:
            offset = replay.apply(chunk)
        asked = iter(range(100_000))
        steps.run(lambda: next(asked) >= 100)
        while chunk := graph.log.read(offset, count_max=50).records:
            offset = replay.apply(chunk)
        assert differences(graph.slab, copy.slab) == []
        # It leads from now on.
        copy.lead()
        assert more.run() > 0
        check(copy, expected)


def test_a_layer_elsewhere_follows_over_the_steps(filled: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = filled
    with opened(folder, 0) as (graph, _, _), opened(tmp_path / "other", 0) as (other, _, stores):
        extend(other, stores)
        (layer,), (theirs,) = graph.default_view.layers, other.default_view.layers
        after = b""
        while True:
            nodes, after = Sharing(graph).content(layer, after)
            take_edits(other, theirs, nodes, user="root")
            if not after:
                break
        with graph.slab.view() as txn:
            offset = graph.log.next_offset(txn)
        # Not sent before the steps.
        with graph.begin() as session:
            late = session.add_node(graph.model.require_form("test:old"), "late")
            session.add_edge(host(session, 3), "refs", late)
            session.set_prop(host(session, 3), "about", ("test:old", "late"))
            session.sync()
    with opened(folder, 4) as (graph, steps, _), opened(tmp_path / "other", 4) as (other, others, _):
        steps.run()
        others.run()
        (layer,), (theirs,) = graph.default_view.layers, other.default_view.layers
        while chunk := graph.log.read(offset, count_max=50).records:
            for record in chunk:
                shared = Sharing(graph).record(record, frozenset((str(layer.id),)))
                if shared is not None and shared.nodes:
                    take_edits(other, theirs, shared.nodes, user="root")
            offset = chunk[-1].offset + 1
        assert shown(other, other.default_view) == shown(graph, graph.default_view)
        assert list(check_layer(other, theirs, lambda: None)) == []


def test_what_users_added_goes_by_the_new_names(filled: tuple[Path, Any]) -> None:
    folder, _ = filled
    with opened(folder, 4) as (graph, steps, stores):
        steps.run()
        dump = stores.extensions.extensions.dump()
        assert "test:old" not in str(dump)
        assert {row[0] for row in dump["tagprops"]} == {"what", "grade"}
        with graph.begin() as session:
            score = graph.model.require_prop("test:new:_score")
            assert [node.value for node in session.lift_value(score, "=", 5)] == ["t5"]
            stores.extensions.of(session).add_prop("test:new", "_more", ("int", {}), {})
            session.set_prop(the(session, "t1"), "_more", 3)
            session.sync()
    with opened(folder, 4) as (graph, steps, stores):
        assert steps.run() == 0
        assert graph.model.prop("test:new:_more") is not None
        assert graph.model.require_form("_own:thing").type.norm("ABC") == "abc"


def test_a_form_that_becomes_one_with_another(tmp_path: Path) -> None:
    """Where a layer has a node of both names, what it says of the new one stays, and the rest is added to it."""
    both = model_of(3)
    both.defs.types["test:old"] = both.defs.types["test:new"]
    both.defs.forms["test:old"] = FormDef("test:old", both.defs.forms["test:new"].props)
    steps = (ModelStep(1, "", (RenameForm("test:old", "test:new"),)),)
    with Slab.open(tmp_path, DATABASES, sync=False) as slab:
        graph = Graph.open(slab, Model(both.defs))
        with graph.begin() as session:
            end = session.add_node(graph.model.require_form("inet:fqdn"), "end.example")
            made = [
                session.add_node(graph.model.require_form(name), value)
                for name, value in (
                    ("test:old", "a"),
                    ("test:new", "a"),
                    ("test:old", "b"),
                    ("test:new", "c"),
                )
            ]
            old, new, other, _ = made
            for node, owner, tag, data in ((old, "o", "old", 1), (new, "n", "new", 2)):
                session.set_prop(node, "owner", owner)
                session.add_tag(node, tag)
                session.add_tag(node, "both", ("2020", "2021") if node is old else ("2022", "2023"))
                session.set_data(node, "origin", data)
                session.set_data(node, f"of.{tag}", data)
                session.add_edge(node, "refs", end)
                session.add_edge(end, "refs", node)
                session.add_edge(other, "refs", node)
            session.set_prop(old, "size", "5")
            session.add_edge(old, "seen", new)
            session.set_prop(end, "about", ("test:old", "a"))
            session.sync()
        before = shown(graph, graph.default_view)
        graph = Graph.open(slab, model_of(3))
        tell_names(graph, steps)
        runner_ = ModelSteps(graph, Stores.open(graph).changes, steps)
        assert runner_.run() > 0
        assert list(check_layer(graph, graph.default_view.layers[0], lambda: None)) == []
        found = shown(graph, graph.default_view)
    assert {ndef for ndef in found if ndef[0] == "test:new"} == {("test:new", name) for name in "abc"}
    merged = found[("test:new", "a")]
    assert merged["props"]["owner"] == "n"
    assert merged["props"]["size"] == 5
    assert set(merged["tags"]) == {"old", "new", "both"}
    assert merged["tags"]["both"] == before[("test:new", "a")]["tags"]["both"]
    assert merged["data"] == {"origin": 2, "of.old": 1, "of.new": 2}
    assert merged["edges"] == {("refs", ("inet:fqdn", "end.example")), ("seen", ("test:new", "a"))}
    assert found[("test:new", "b")]["edges"] == {("refs", ("test:new", "a"))}
    assert found[("inet:fqdn", "end.example")]["props"]["about"] == ("test:new", "a")


def test_a_model_that_is_not_that_of_the_steps_is_refused(tmp_path: Path) -> None:
    with Slab.open(tmp_path, DATABASES, sync=False) as slab:
        graph = Graph.open(slab, model_of(0))
        stores = Stores.open(graph)
        with pytest.raises(BadFormDef):
            ModelSteps(graph, stores.changes, STEPS)
