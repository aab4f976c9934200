"""Merging forks: what the top layer says, deletions included, is in the layer below, and in it no more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cellmesh.common.errors import CantMergeView, NoSuchView
from cellmesh.cortex.layers.schema import (
    BY_ARRAY,
    BY_PROP,
    BY_TAG,
    BY_TAG_PROP,
    BY_VERB,
    COUNTS,
    EDGES_IN,
    EDGES_OUT,
    NODE_DATA,
    NODES,
)
from cellmesh.cortex.storm.engine import Engine

sys.path.insert(0, str(Path(__file__).parents[1] / "storm"))
from storm_kit import open_engine

BASE = """
[ ( inet:ipv4=1.1.1.1 :asn=1 :loc=us +#base=(2015, 2016) +#gone +(refs)> { [ inet:fqdn=a.com ] } )
  ( inet:ipv4=3.3.3.3 ) ]
"""
FORKED = """
view.exec $fork {
    inet:ipv4=1.1.1.1 [ :asn=2 -:loc +#base=2020 +#new.tag -#gone -(refs)> { inet:fqdn=a.com } ]
    $node.data.set(note, seen)
    | spin | inet:ipv4=3.3.3.3 | delnode --force | spin | [ inet:ipv4=2.2.2.2 +(refs)> { inet:fqdn=a.com } ]
}
"""
LOOK = """
inet:ipv4=1.1.1.1 $n=$node
return(({"props": $n.props, "tags": $n.tags(), "base": $n.tags(base), "data": $n.data.get(note), "asn": :asn}))
"""


def forked(engine: Engine) -> str:
    engine.call(BASE)
    fork: str = engine.call("return($lib.view.get().fork(name=mine).iden)")
    run(engine, FORKED, fork)
    return fork


def run(engine: Engine, text: str, fork: str) -> object:
    from cellmesh.cortex.storm.runtime.options import QueryOptions

    return engine.call(text, QueryOptions(vars={"fork": fork}))


def check_merged(engine: Engine) -> None:
    found = engine.call(LOOK)
    assert found["asn"] == 2
    assert "loc" not in found["props"]
    assert found["tags"] == ["base", "new", "new.tag"] or set(found["tags"]) == {"base", "new", "new.tag"}
    assert found["data"] == "seen"
    assert engine.count("inet:ipv4=1.1.1.1 -(refs)> *") == 0
    assert engine.count("inet:ipv4=2.2.2.2 -(refs)> inet:fqdn") == 1
    assert engine.count("inet:ipv4=3.3.3.3") == 0
    assert engine.count("inet:ipv4:asn=1") == 0
    assert engine.count("inet:ipv4:loc") == 0
    assert engine.count("inet:ipv4#gone") == 0


def test_a_fork_is_merged(tmp_path: Path) -> None:
    with open_engine(tmp_path) as engine:
        fork = forked(engine)
        assert engine.count("inet:ipv4") == 2
        run(engine, "$lib.view.get($fork).merge()", fork)
        check_merged(engine)
        graph = engine.graph
        top = graph.view(fork).layers[0]
        # Nothing of properties, tags, edges or data is left above.
        with graph.begin(graph.view(fork), readonly=True) as session:
            assert session.count_form(session.model.require_form("inet:ipv4")) == 2
        assert top.name != "default"


def test_nodes_are_merged_by_the_command(tmp_path: Path) -> None:
    with open_engine(tmp_path) as engine:
        fork = forked(engine)
        run(engine, "view.exec $fork { diff | merge }", fork)
        assert engine.count("inet:ipv4=2.2.2.2") == 0
        run(engine, "view.exec $fork { inet:ipv4=1.1.1.1 | merge --apply --no-tags }", fork)
        assert engine.count("inet:ipv4:asn=2") == 1
        assert engine.count("inet:ipv4#new") == 0
        run(engine, "view.exec $fork { merge --diff --apply }", fork)
        assert engine.count("inet:ipv4#new.tag") == 1
        assert engine.count("inet:ipv4=2.2.2.2") == 1


def test_merging_twice_changes_nothing_more(tmp_path: Path) -> None:
    with open_engine(tmp_path) as engine:
        fork = forked(engine)
        run(engine, "$lib.view.get($fork).merge()", fork)
        run(engine, "$lib.view.get($fork).merge()", fork)
        check_merged(engine)


def test_what_cannot_be_merged(tmp_path: Path) -> None:
    with open_engine(tmp_path) as engine:
        with pytest.raises(CantMergeView):
            engine.call("$lib.view.get().merge()")
        with pytest.raises(CantMergeView):
            engine.call("$f=$lib.view.get().fork() $g=$f.fork() $f.merge()")


def test_a_fork_is_removed_with_its_layer(tmp_path: Path) -> None:
    with open_engine(tmp_path) as engine:
        fork = forked(engine)
        run(engine, "view.merge $fork --delete", fork)
        check_merged(engine)
        with pytest.raises(NoSuchView):
            run(engine, "return($lib.view.get($fork).iden)", fork)
        assert engine.call("return($lib.len($lib.layer.list()))") == 1


def test_what_was_deleted_and_made_anew_is_merged_as_it_is(tmp_path: Path) -> None:
    with open_engine(tmp_path) as engine:
        engine.call("[ inet:ipv4=1.1.1.1 :asn=1 :loc=us +#old ]")
        fork = str(engine.call("return($lib.view.get().fork().iden)"))
        run(engine, "view.exec $fork { inet:ipv4=1.1.1.1 | delnode --force }", fork)
        run(engine, "view.exec $fork { [ inet:ipv4=1.1.1.1 :asn=2 +#new ] }", fork)
        run(engine, "$lib.view.get($fork).merge()", fork)
        assert engine.call("inet:ipv4=1.1.1.1 return(($node.tags(), :asn, :loc))") == [["new"], 2, None]
        assert engine.count("#old") == 0
        assert engine.count("inet:ipv4:loc") == 0
        assert engine.count("inet:ipv4:asn") == 1


def test_a_tag_goes_with_properties_that_outlived_it(tmp_path: Path) -> None:
    with open_engine(tmp_path) as engine:
        engine.call("$lib.model.ext.addTagProp(risk, (int, ({})), ({})) [ inet:ipv4=1.1.1.1 +#a.b ]")
        fork = str(engine.call("return($lib.view.get().fork().iden)"))
        run(engine, "view.exec $fork { inet:ipv4=1.1.1.1 [ +#a.b:risk=1 ] }", fork)
        engine.call("inet:ipv4=1.1.1.1 [ -#a ]")
        run(engine, "view.exec $fork { inet:ipv4=1.1.1.1 [ +#a ] [ -#a ] }", fork)
        run(engine, "view.exec $fork { inet:ipv4=1.1.1.1 [ +#a.b ] }", fork)
        query = "view.exec $fork { inet:ipv4=1.1.1.1 $lib.globals.set(found, #a.b:risk) }"
        run(engine, query, fork)
        assert engine.call("return($lib.globals.get(found, none))") is None


MANY = """
view.exec $fork {
    for $i in $lib.range(600) {
        [ inet:ipv4=$i :asn=($i / 50) :loc=us +#cno.mal=(2015, 2016) +#cno.other ]
    }
    [ ( ou:org=(a,) :names=(b, c, b) :url="https://a.com/b" )
      ( inet:dns:a=(a.com, 1.2.3.4) +#rep.x )
      ( inet:ipv4=1.1.1.1 :asn=7 +#new.tag )
      ( it:dev:str=linked +(refs)> { [ inet:fqdn=b.com ] } )
      ( syn:tag=cno.mal :title=bad ) ]
    it:dev:str=linked $node.data.set(note, (1)) | spin | inet:ipv4=0.0.0.5 [ -#cno.other +#cno.mal:risk=3 ]
}
"""


def all_rows(engine: Engine) -> dict[str, list[tuple[bytes, bytes]]]:
    databases = (
        NODES,
        BY_PROP,
        BY_ARRAY,
        BY_TAG,
        BY_TAG_PROP,
        BY_VERB,
        EDGES_IN,
        EDGES_OUT,
        NODE_DATA,
        COUNTS,
    )
    with engine.graph.slab.view() as txn:
        rows = {db.name: txn.scan(db, count_max=100_000).items for db in databases}
    # Counts that came to zero are kept.
    rows[COUNTS.name] = [(key, value) for key, value in rows[COUNTS.name] if any(value)]
    return rows


@pytest.mark.parametrize(
    "query", ["$lib.view.get($fork).merge()", "view.exec $fork { merge --diff --apply }"]
)
def test_nodes_that_are_moved_are_as_if_each_was_merged(tmp_path: Path, query: str) -> None:
    found = []
    for is_watched in (False, True):
        with open_engine(tmp_path / str(is_watched)) as engine:
            engine.graph.now_ms = lambda: 1_600_000_000_000
            engine.call(
                "$lib.model.ext.addTagProp(risk, (int, ({})), ({})) [ inet:ipv4=1.1.1.1 :loc=us +#old ]"
            )
            fork = str(engine.call("return($lib.view.get().fork().iden)"))
            run(engine, MANY, fork)
            if is_watched:
                # With somebody who is told of each edit, no node is moved whole.
                engine.graph.edit_watchers[engine.graph.default_view.id] = lambda session, changed: None
            run(engine, query, fork)
            assert engine.count("inet:ipv4#cno.mal +:loc=us") == 600
            assert engine.count("inet:ipv4#cno.other") == 599
            assert engine.count("ou:org:names*[=c]") == 1
            assert run(engine, "view.exec $fork { diff | $lib.raise(Left, $node) }", fork) is None
            found.append(all_rows(engine))
    assert found[0] == found[1]
