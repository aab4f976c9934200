"""What leaves the model leaves every layer: values, what hides values below, and what is said of nodes that are no more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cellmesh.common.errors import CantDelForm
from cellmesh.cortex.layers.records import parse_record
from cellmesh.cortex.layers.schema import EDGE_MASKS, EDGES_OUT, NODE_DATA, NODES
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.views import purge
from cellmesh.cortex.views.verify import check_layer

sys.path.insert(0, str(Path(__file__).parents[1] / "replay"))
sys.path.insert(0, str(Path(__file__).parent))
from graph_kit import open_graph
from replay_kit import Cortex, following, leading

COUNT = 40

KINDS = {
    "a property": (
        "addFormProp(inet:ipv4, _score, (int, ({})), ({}))",
        ":_score=3",
        ":_score",
        "delFormProp(inet:ipv4, _score, force=(true))",
    ),
    "a universal property": (
        "addUnivProp(_score, (int, ({})), ({}))",
        "._score=3",
        "._score",
        "delUnivProp(_score, force=(true))",
    ),
    "a tag property": (
        "addTagProp(_score, (int, ({})), ({}))",
        "+#a.b:_score=3",
        "#a.b:_score",
        "delTagProp(_score, force=(true))",
    ),
}


def masks(cortex: Cortex) -> int:
    """How many names all records hide."""
    with cortex.slab.view() as txn:
        records = [parse_record(stored) for _, stored in txn.scan(NODES, count_max=10_000).items]
    return sum(
        len(record.prop_masks) + len(record.tag_masks) + len(record.tag_prop_masks) for record in records
    )


def check(cortex: Cortex) -> None:
    for layer in cortex.graph.layers.values():
        assert list(check_layer(cortex.graph, layer, lambda: None)) == []


@pytest.mark.parametrize("what", KINDS)
def test_what_hides_a_property_goes_with_it(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, edit, has, remove = KINDS[what]
    monkeypatch.setattr(purge, "BATCH_NODE_COUNT", 7)
    monkeypatch.setattr(purge, "SCAN_COUNT", 11)
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        leader.run(f"$lib.model.ext.{add}")
        leader.run(f"for $i in $lib.range({COUNT}) {{ [ inet:ipv4=$i :asn=5 {edit} ] }} | spin")
        # The second fork hides what the first one holds as well.
        fork, second = (
            QueryOptions(view=iden)
            for iden in leader.engine.call(
                "$fork=$lib.view.get().fork() return(($fork.iden, $fork.fork().iden))"
            )
        )
        leader.run(f"inet:ipv4<30 [ -{has} ]", fork)
        leader.run(f"inet:ipv4<3 [ {edit} -:asn ]", fork)
        leader.run(f"inet:ipv4<3 [ -{has} ]", second)
        leader.run(f"inet:ipv4>35 [ -{has} ]", second)
        assert masks(leader) > 30
        leader.run(f"$lib.model.ext.{remove}")
        assert masks(leader) == 3, "what else is hidden stays so"
        check(leader)
        leader.run(f"$lib.model.ext.{add}")
        assert leader.run(f"inet:ipv4 +{has}") == []
        leader.run(f"inet:ipv4 [ {edit} ]")
        for view in (fork, second):
            assert len(leader.run(f"inet:ipv4 +{has}", view)) == COUNT, "a mask from before hides new values"
            assert len(leader.run("inet:ipv4 +:asn", view)) == COUNT - 3
        check(leader)
        follower.check([f"inet:ipv4 +{has}"])


@pytest.mark.parametrize("storage", ["lmdb", "memory"])
def test_values_and_masks_are_taken_out_of_each_layer(tmp_path: Path, storage: str) -> None:
    with open_graph(tmp_path, storage=storage) as graph:
        form = graph.model.require_form("inet:ipv4")
        asn, risk = form.props["asn"], "risk"
        with graph.begin() as session:
            for number in range(1, 6):
                node = session.add_node(form, number)
                session.set_prop(node, "asn", number)
                session.set_prop(node, "loc", "us")
                session.set_tag_prop(node, "a.b", risk, number)
            session.sync()
        fork = graph.fork(graph.default_view)
        with graph.begin(fork) as session:
            for number in (1, 2):
                found = session.node(form, number)
                assert found is not None
                session.pop_prop(found, "asn")
                session.pop_prop(found, "loc")
                session.del_tag_prop(found, "a.b", risk)
            session.sync()
        with graph.begin() as session:
            assert (purge.purge_prop(session, asn), purge.purge_tag_prop(session, risk)) == (7, 7)
            assert (purge.purge_prop(session, asn), purge.purge_tag_prop(session, risk)) == (0, 0)
            with pytest.raises(CantDelForm):
                purge.purge_form(session, form)
            session.sync()
        with graph.begin(fork, readonly=True) as session:
            assert session.count_prop(asn) == 0
            assert session.count_prop(form.props["loc"]) == 3
        for layer in graph.layers.values():
            assert list(check_layer(graph, layer, lambda: None)) == []


ASSET = """
    $lib.model.ext.addForm(_corp:asset, str, ({}), ({}))
    $lib.model.ext.addFormProp(_corp:asset, owner, (str, ({})), ({}))
"""
NO_ASSET = """
    $lib.model.ext.delFormProp(_corp:asset, owner, force=(true))
    $lib.model.ext.delForm(_corp:asset)
"""
NODES_OF_FORM = "[ ( _corp:asset=one :owner=a ) ( _corp:asset=two +#old +(refs)> { inet:fqdn=a.example } ) ]"


def left(cortex: Cortex, form: str) -> int:
    """How many rows layers hold of nodes of a form."""
    with cortex.slab.view() as txn:
        number = cortex.graph.names.forms.find(txn, form)
        assert number is not None
        form_key = number.to_bytes(2, "big")
        return sum(
            key[10:12] == form_key
            for db in (NODES, EDGES_OUT, EDGE_MASKS, NODE_DATA)
            for key in txn.scan_keys(db, count_max=10_000).items
        )


def test_a_form_leaves_nothing_that_a_fork_said_of_its_nodes(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        leader.run(f"[ inet:fqdn=a.example ] {ASSET}")
        leader.run(NODES_OF_FORM)
        leader.run("_corp:asset=two $node.data.set(origin, feed)")
        fork = QueryOptions(view=leader.engine.call("return($lib.view.get().fork().iden)"))
        leader.run("_corp:asset=one | delnode --force", fork)
        leader.run(
            "_corp:asset=two [ :owner=b +#new -#old -(refs)> { inet:fqdn=a.example } ] $node.data.pop(origin)"
            " [ +(seen)> { inet:fqdn=a.example } ] $node.data.set(more, 5)",
            fork,
        )
        # Below they go; what the fork says of them is of nodes that no view shows any more.
        leader.run("_corp:asset | delnode --force")
        assert left(leader, "_corp:asset") > 3
        leader.run(NO_ASSET)
        assert leader.graph.model.form("_corp:asset") is None
        assert left(leader, "_corp:asset") == 0
        check(leader)
        leader.run(f"$lib.view.get({fork.view}).merge()")
        leader.run(ASSET)
        leader.run(NODES_OF_FORM)
        for view in (None, fork):
            found = leader.run("_corp:asset", view)
            assert [ndef for ndef, _, _ in found] == [("_corp:asset", "one"), ("_corp:asset", "two")]
            assert [props.get("owner") for _, props, _ in found] == ["a", None]
            assert [sorted(tags) for _, _, tags in found] == [[], ["old"]]
            assert len(leader.run("_corp:asset -(refs)> *", view)) == 1
        check(leader)
        follower.check(["_corp:asset"])


def test_a_form_stays_while_any_layer_holds_a_node_of_it(tmp_path: Path) -> None:
    with leading(tmp_path) as leader:
        leader.run(ASSET)
        leader.run("[ _corp:asset=one ]")
        fork = QueryOptions(view=leader.engine.call("return($lib.view.get().fork().iden)"))
        leader.run("[ _corp:asset=two ]", fork)
        # The layer of the fork stays, in no view.
        leader.run("_corp:asset | delnode --force")
        leader.run(f"$lib.view.del({fork.view})")
        assert (len(leader.graph.views), len(leader.graph.layers)) == (1, 2)
        assert leader.run(NO_ASSET)[-1:] == ["CantDelForm"]
        assert leader.graph.model.form("_corp:asset") is not None
