"""All edits of one block on one node are one op: one commit, one change record, all of them or none."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow
from cellmesh.cortex.values.changes import decode_record, is_layer_edits
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.together import Together

sys.path.insert(0, str(Path(__file__).parent))
from graph_kit import databases, open_graph, replayed

SEED = "[ inet:asn=1 :name=one inet:asn=2 ] | spin"

ONE_RECORD = (
    "[ inet:ipv4=1.1.1.1 :asn=1 :loc=us +#foo.bar=2020 ]",
    "[ inet:ipv4=1.1.1.1 :asn=1 :asn=2 :loc=us -:loc :loc=de ]",
    "[ inet:ipv4=1.1.1.1 :asn=1 :loc=us +#foo -#foo +#foo:risk=3 -#foo:risk +#foo.bar ]",
    "[ inet:ipv4=1.1.1.1 :asn=1 +(refs)> {[ inet:asn=7 :name=seven ]} :loc=us <(uses)+ { inet:asn=2 } ]",
    "[ inet:ipv4=1.1.1.1 :asn={ inet:asn:name=one } :loc=us ]",
    "[ inet:ipv4=1.1.1.1 :asn={[ inet:asn=9 :name=nine +#x ]} :loc=us +#y ]",
    "[ inet:ipv4=1.1.1.1 :asn=5 :loc?=({}) +?#foo.x :.seen=2020 +#foo=(2019, 2021) ]".replace(
        ":.seen", ".seen"
    ),
    "[ ou:org=({'name': 'acme', '$props': {'loc': 'us'}}) :names+=alpha :names+=beta +#z ]",
    "[ inet:ipv4=1.1.1.1 :asn=$($node.value() - 16843000) :loc=us +#foo +#bar ]",
    "function f() { [ inet:asn=11 :name=eleven ] return($node.value()) } [ inet:ipv4=1.1.1.1 :loc=us :asn=$f() +#t ]",
)


def run(graph: Graph, text: str) -> list[NodeRow]:
    rows = []
    for message in Engine(graph, COMMANDS, LIBRARIES, TYPES).storm(text):
        assert not isinstance(message, Error), message.error
        if isinstance(message, NodeRow):
            rows.append(message)
    return rows


def records(graph: Graph) -> list[list[tuple[str, object]]]:
    """The nodes that each change record of edits is about, as (form, value)."""
    return [
        [(node.form, node.value) for node in decode_record(record.type_name, record.payload).nodes]
        for record in graph.log.read(0).records
        if is_layer_edits(record.type_name)
    ]


@pytest.mark.parametrize("text", ONE_RECORD)
def test_a_block_on_one_node_is_one_record(tmp_path: Path, text: str) -> None:
    with open_graph(tmp_path / "a") as graph:
        run(graph, SEED)
        before = len(records(graph))
        (row,) = run(graph, text)
        added = records(graph)[before:]
        assert len(added) == 1, added
        assert row.node.ndef in added[0]
        assert replayed(graph, tmp_path / "b") == databases(graph)


@pytest.mark.parametrize(
    "text",
    [
        "[ inet:ipv4=1.1.1.1 :asn=5 :loc=us +#foo +#bar.baz ]",
        "$i=7 $t=foo [ inet:ipv4=$i :asn=$i :loc=us +#$t ]",
        "for ($i, $n) in ((1, a),) { [ inet:asn=$i :name=$n +#t=2020 .seen=2021 +#$n ] }",
        "[ geo:place=(x,) :latlong=(1.5,2) :radius=3km :name=y ]",
    ],
)
def test_a_block_that_reads_nothing_is_one_op(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Each further op is a third of what an edit block costs; what ends a block early shows nowhere else."""
    ends: list[bool] = []
    run_together = Together.run

    def counted(self: Together, *, is_end: bool) -> None:
        if self.waiting:
            ends.append(is_end)
        run_together(self, is_end=is_end)

    with open_graph(tmp_path) as graph:
        monkeypatch.setattr(Together, "run", counted)
        run(graph, text)
    assert ends == [True]


def test_each_edit_sees_those_before(tmp_path: Path) -> None:
    with open_graph(tmp_path) as graph:
        (row,) = run(graph, "[ inet:ipv4=1.1.1.1 :asn=5 :loc=`a{:asn}` +#x :loc*unset=zz .seen=2020 -:asn ]")
        assert dict(row.node.props).keys() >= {"loc", ".seen"}
        assert not row.node.has("asn")
        assert row.node.get("loc") == "a5"


@pytest.mark.parametrize(
    ("text", "column", "has"),
    [
        ("[ inet:ipv4=1.1.1.1 :loc=us +#foo :bad=1 +#never ]", 35, ("loc",)),
        ("[ inet:ipv4=1.1.1.1 :loc=us :asn=foo +#never ]", 29, ("loc",)),
        ("[ inet:dns:a=(vertex.link, 1.1.1.1) .seen=2020 :ipv4=1.1.1.2 +#never ]", 48, (".seen",)),
        ("[ inet:ipv4=1.1.1.1 :loc=us :asn=$nosuch.x ]", None, ()),
    ],
)
def test_edits_before_an_error_stay(
    tmp_path: Path, text: str, column: int | None, has: tuple[str, ...]
) -> None:
    with open_graph(tmp_path / "a") as graph:
        (error,) = [one.error for one in Engine(graph).storm(text) if isinstance(one, Error)]
        found = [row.node for row in run(graph, "inet:ipv4=1.1.1.1 inet:dns:a")]
        if column is None:
            assert not found
            return
        assert error.errinfo["column"] == column
        (node,) = [node for node in found if any(node.has(name) for name in has)]
        assert "never" not in node.tags
        assert replayed(graph, tmp_path / "b") == databases(graph)


def test_no_commit_falls_into_a_block_while_others_write(tmp_path: Path) -> None:
    """Readers of what is committed never see a node without all that its block gives it."""
    blocks = (
        "for $i in $lib.range(250) {{ [ inet:ipv4=$({base} + $i) :asn=1 :loc=us +#a.b ] }} | spin",
        "for $i in $lib.range(120) {{ [ inet:ipv4=$({base} + $i) :asn={{[ inet:asn=$i ]}} :loc=us +#a.b ] }} | spin",
    )
    with open_graph(tmp_path / "a") as graph:
        done = threading.Event()
        halves: list[object] = []

        def look() -> None:
            engine = Engine(graph)
            while not done.is_set():
                halves.extend(
                    one
                    for one in engine.storm("inet:ipv4 -(:loc and :asn and #a.b)")
                    if isinstance(one, (NodeRow, Error))
                )

        looker = threading.Thread(target=look)
        writers = [
            threading.Thread(target=run, args=(graph, text.format(base=base)))
            for base, text in ((1000, blocks[0]), (2000, blocks[1]), (3000, blocks[1]), (4000, blocks[0]))
        ]
        looker.start()
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        done.set()
        looker.join(60)
        assert not halves
        assert len(run(graph, "inet:ipv4")) == 740
        assert replayed(graph, tmp_path / "b") == databases(graph)


def test_a_session_that_waits_in_a_block_logs_first(tmp_path: Path) -> None:
    with open_graph(tmp_path / "a") as graph:
        with graph.begin() as session:
            form = session.model.require_form("inet:ipv4")
            node = session.add_node(form, 1, may_wait=True)
            session.set_prop(node, "loc", "us", may_wait=True)
            assert node.get("loc") == "us"
            session.pause()
            assert records(graph) == [[("inet:ipv4", 1)]]
            session.set_prop(node, "asn", 3, may_wait=True)
            session.end_edits()
        assert len(records(graph)) == 2
        assert replayed(graph, tmp_path / "b") == databases(graph)
