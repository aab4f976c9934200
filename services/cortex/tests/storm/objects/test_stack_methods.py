"""Methods of views and layers: how they stand to each other, merge requests, what one layer holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cortex.layers.schema import BY_PROP, BY_TAG, COUNTS, EDGES_IN
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.views.verify import check_layer, repair_layer

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine

QUORUM = '$m=$lib.view.get() $m.set(quorum, ({"count": 1, "roles": [$lib.auth.roles.byname(all).iden]}))'


@pytest.fixture(name="engine")
def _engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path / "graph") as engine:
        yield engine


def call(engine: Engine, text: str, **variables: Any) -> Any:
    return engine.call(text, QueryOptions(vars=variables))


def as_user(engine: Engine, name: str, text: str) -> Any:
    auth: Any = engine.capabilities["auth"]
    if all(user.name != name for user in auth.policy.users.values()):
        auth.add_user(name)
    return engine.call(text, QueryOptions(user=name, has_all_rights=True))


def faults(engine: Engine) -> list[str]:
    graph = engine.graph
    return [
        fault.kind for layer in graph.layers.values() for fault in check_layer(graph, layer, lambda: None)
    ]


FORK = """
    [ inet:asn=1 :name=a +#t (inet:asn=2 :name=b) ] | spin |
    $f=$lib.view.get().fork()
    view.exec $f.iden {
        inet:asn=1 [ :name=c -#t +(refs)> { inet:asn=1 } ] $node.data.set(k, v)
        [ inet:asn=3 ]
        | spin | inet:asn=2 | delnode
    } |
"""


def test_wipe_leaves_nothing_and_what_was_masked_shows_again(engine: Engine) -> None:
    fork = call(engine, f"{FORK} return($f.iden)")
    below = "$o=([]) view.exec $f {{ inet:asn $o.append(($node.value(), :name)) }} | return($o)".replace(
        "{{", "{"
    ).replace("}}", "}")
    assert call(engine, below, f=fork) == [[1, "c"], [3, None]]
    call(engine, "$lib.view.get($f).wipeLayer()", f=fork)
    assert call(engine, below, f=fork) == [[1, "a"], [2, "b"]]
    assert (
        call(
            engine,
            "$o=([]) for $n in $lib.view.get($f).layers.0.getStorNodes() { $o.append($n) } return($o)",
            f=fork,
        )
        == []
    )
    assert faults(engine) == []


def test_a_merge_takes_masks_of_nodes_out_of_the_fork(engine: Engine) -> None:
    fork = call(engine, f"{FORK} $f.merge() return($f.iden)")
    assert call(engine, "$l=([]) inet:asn $l.append($node.value()) fini { return($l) }") == [1, 3]
    (layer, _) = engine.graph.view(fork).layers
    call(engine, "[ inet:asn=2 ] return((0))")
    seen = "$o=([]) view.exec $f { inet:asn=2 $o.append(here) } | return($o)"
    assert call(engine, seen, f=fork) == ["here"]
    assert faults(engine) == []
    assert layer.id in engine.graph.layers


def test_views_change_places(engine: Engine) -> None:
    texts = """
        $v=$lib.view.get().fork(name=v) $w=$v.fork(name=w)
        $p=$v.insertParentFork(name=p) $c=$v.insertChildFork(name=c)
        $size=$lib.view.get($w.iden).layers.size()
        $old=$lib.view.get($v.iden).layers.0.iden
        $lib.view.get($v.iden).swapLayer()
        $new=$lib.view.get($v.iden).layers.0.iden
        $mid=$lib.view.get($w.iden).layers.2.iden
        $lib.view.get($v.iden).detach()
        return(($size, ($old = $new), ($mid = $new), $lib.view.get($v.iden).parent,
            ($lib.view.get($w.iden).parent = $c.iden), ($p.parent = $lib.view.get().iden)))
    """
    assert call(engine, texts) == [5, False, True, None, True, True]
    assert Run(engine, "$lib.view.get().insertParentFork()").error == "BadState"
    assert Run(engine, "$lib.view.get().detach()").error == "BadArg"
    assert Run(engine, "$lib.view.get().fork().set(layers, ([$lib.layer.add().iden]))").error == "BadArg"


def test_the_layers_of_a_view_are_set_and_forks_follow(engine: Engine) -> None:
    text = """
        $l=$lib.layer.add().iden $m=$lib.layer.add().iden
        $v=$lib.view.add(([$l])) $f=$v.fork() $v.set(layers, ([$m, $l]))
        return(($v.layers.size(), $lib.view.get($f.iden).layers.1.iden = $m))
    """.replace("$lib.view.get($f.iden).layers.1.iden = $m", "($lib.view.get($f.iden).layers.1.iden = $m)")
    assert call(engine, text) == [2, True]


def test_a_read_only_layer_takes_no_edits(engine: Engine) -> None:
    text = '$l=$lib.layer.add(({"readonly": true})) $v=$lib.view.add(([$l.iden])) $v.addNode(inet:asn, 3)'
    assert Run(engine, text).error == "IsReadOnly"
    assert Run(engine, "$lib.layer.get().set(readonly, (true))").error is None
    assert Run(engine, "[ inet:asn=1 ]").error == "IsReadOnly"
    assert Run(engine, "$lib.layer.get().set(readonly, (false)) | [ inet:asn=1 ]").error is None


def test_votes_merge_a_fork_and_a_veto_does_not(engine: Engine) -> None:
    fork = call(
        engine, f"{QUORUM} $f=$m.fork(name=ff) $f.addNode(inet:asn, 7) $f.setMergeRequest(hi) return($f.iden)"
    )
    vote = f"return($lib.view.get({fork}).setMergeVote(approved=$ok))"
    assert Run(engine, f"$lib.view.get({fork}).merge()").error == "SynErr"
    assert Run(engine, f"$lib.view.get({fork}).setMergeVote()").error == "AuthDeny"
    assert len(call(engine, "$o=([]) for $x in $lib.quorum.merge.list() { $o.append($x) } return($o)")) == 1
    as_user(engine, "bob", vote.replace("$ok", "(false)"))
    as_user(engine, "hal", vote.replace("$ok", "(true)"))
    summary = call(engine, f"return($lib.view.get({fork}).getMergeRequestSummary())")
    assert sorted(item["approved"] for item in summary["votes"]) == [False, True]
    as_user(engine, "bob", vote.replace("$ok", "(true)"))
    assert Run(engine, f"$lib.view.get({fork})").error == "NoSuchView"
    assert call(engine, "inet:asn=7 return($node.value())") == 7
    merges = call(engine, "$o=([]) for $x in $lib.view.get().getMerges() { $o.append($x) } return($o)")
    assert [item["comment"] for item in merges] == ["hi"]


def test_a_vote_does_not_count_for_what_was_added_after_it(engine: Engine) -> None:
    text = f"{QUORUM.replace(': 1', ': 2')} $f=$m.fork() $f.setMergeRequest() return($f.iden)"
    fork = call(engine, text)
    as_user(engine, "bob", f"return($lib.view.get({fork}).setMergeVote())")
    call(engine, f"$lib.view.get({fork}).addNode(inet:asn, 8)")
    as_user(engine, "hal", f"return($lib.view.get({fork}).setMergeVote())")
    assert call(engine, f"return($lib.view.get({fork}).iden)") == fork
    as_user(engine, "bob", f"return($lib.view.get({fork}).setMergeVote())")
    assert Run(engine, f"$lib.view.get({fork})").error == "NoSuchView"


def test_a_layer_tells_what_it_holds(engine: Engine) -> None:
    text = """
        [ inet:asn=1 :name=a +#t=2020 ] $i=$node.iden() $node.data.set(k, v)
        { [ +(refs)> { [ inet:asn=2 ] } ] -(refs)> * $j=$node.iden() }
        $l=$lib.layer.get() $s=$l.getStorNode($i)
        $e=([]) for $x in $l.getEdgesByN1($i) { $e.append($x.0) }
        $f=([]) for $x in $l.getEdgesByN2($j, verb=refs) { $f.append(($x.1 = $i)) }
        return(($s.valu, $s.props.name, $s.tags.t.0, $l.getNodeDataValu($i, k), $e, $f, $l.hasEdge($i, refs, $j)))
    """
    assert call(engine, text) == [(1, 9), ("a", 1), 1577836800000, "v", ["refs"], [True], True]
    lifted = """
        $l=$lib.layer.get() $o=([])
        for $n in $l.liftByProp(inet:asn:name) { $o.append($n.value()) }
        for $n in $l.liftByTag(t) { $o.append($n.value()) }
        for $n in $l.liftByNodeData(k) { $o.append($n.value()) }
        for $n in $l.getStorNodesByProp(inet:asn:name, a) { $o.append($n.1.form) }
        return($o)
    """
    assert call(engine, lifted) == [1, 1, 1, "inet:asn"]
    assert Run(engine, "$lib.layer.get().getStorNode(aa)").error == "BadCast"


def test_a_layer_is_changed_in_detail(engine: Engine) -> None:
    text = """
        [ inet:asn=1 :name=a ] $i=$node.iden() $l=$lib.layer.get()
        return(($l.setStorNodeProp($i, inet:asn:name, b), $l.setStorNodeProp($i, inet:asn:name, b),
            $l.delStorNodeProp($i, inet:asn:name), $l.delStorNodeProp($i, inet:asn:name),
            $l.setNodeDataValu($i, k, v), $l.delNodeData($i), $l.delNodeData($i),
            $l.delStorNode($i), $l.delStorNode($i)))
    """
    assert call(engine, text) == [True, False, True, False, True, True, False, True, False]
    assert call(engine, "return($lib.view.get().getFormCounts())") == {"inet:asn": 0}
    assert faults(engine) == []


def test_edits_go_from_one_layer_to_another(engine: Engine) -> None:
    text = """
        [ inet:asn=1 :name=a +#t=2020 +(refs)> { [ inet:asn=2 ] } ] | spin |
        $v=$lib.view.add(([$lib.layer.add().iden]))
        for ($offs, $edits) in $lib.layer.get().edits(wait=(false)) { $v.addNodeEdits($edits) }
        $o=([]) view.exec $v.iden { inet:asn $o.append(($node.value(), :name)) } |
        view.exec $v.iden { inet:asn=1 -(refs)> * $o.append($node.value()) } |
        return($o)
    """
    assert call(engine, text) == [[1, "a"], [2, None], 2]
    last = "for ($offs, $edits) in $lib.layer.get().edits(wait=(false), reverse=(true), size=(1)) { return($edits) }"
    assert len(call(engine, last)) >= 1
    assert Run(engine, "$lib.view.get().addNodeEdits(foo)").error == "BadArg"
    assert faults(engine) == []


def test_the_verifier_finds_what_does_not_agree_and_repairs_it(engine: Engine) -> None:
    call(engine, "[ inet:asn=1 :name=a +#t +(refs)> { [ inet:asn=2 ] } ] | spin | return((0))")
    graph = engine.graph
    (layer,) = graph.default_view.layers
    assert faults(engine) == []

    def spoil(txn: Any) -> None:
        for db in (BY_PROP, BY_TAG, COUNTS, EDGES_IN):
            key, value = txn.first(db, layer.key)
            txn.delete(db, key, value) if db.dupsort else txn.delete(db, key)
        key, _ = txn.last(BY_PROP, layer.key)
        txn.put(BY_PROP, key, b"\x00" * 6 + b"\x00\x01")

    graph.slab.write(spoil)
    found = len(faults(engine))
    assert sorted(set(faults(engine))) == [
        "BadCount",
        "NoEdgeInIndex",
        "NoNodeForPropIndex",
        "NoPropIndex",
        "NoTagIndex",
    ]
    assert call(engine, "$o=(0) for $m in $lib.layer.get().verify() { $o=($o + 1) } return($o)") == found
    assert repair_layer(graph, layer, lambda: None) == found
    assert faults(engine) == []
