"""Several sessions at once, and transactions that are rolled back."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from cellmesh.common.errors import StorageAborted

sys.path.insert(0, str(Path(__file__).parent))
from cellmesh.cortex.views.editor import Editor
from cellmesh.cortex.views.feed import FeedNode
from cellmesh.cortex.views.graph import Graph
from graph_kit import content, databases, open_graph, replayed, the_model

FORMS = ("inet:ipv4", "inet:asn", "syn:tag")
THREAD_COUNT = 4
NODE_COUNT = 60


def work(graph: Graph, number: int, errors: list[BaseException]) -> None:
    """Half of the threads edit node by node, half feed; all touch the same nodes."""
    try:
        with graph.begin(user=f"user{number}") as session:
            form = the_model().require_form("inet:ipv4")
            if number % 2:
                for value in range(NODE_COUNT):
                    node = session.add_node(form, value, {"asn": value % 3})
                    session.add_tag(node, f"thread.t{number}")
            else:
                for start in range(0, NODE_COUNT, 10):
                    session.feed(
                        [
                            FeedNode("inet:ipv4", value, {"asn": value % 3}, {f"thread.t{number}": None})
                            for value in range(start, start + 10)
                        ]
                    )
                    session.sync()
            session.sync()
    except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
        errors.append(error)


def test_threads_agree_on_nodes_names_and_counts(tmp_path: Path) -> None:
    with open_graph(tmp_path / "graph") as graph:
        errors: list[BaseException] = []
        threads = [
            threading.Thread(target=work, args=(graph, number, errors)) for number in range(THREAD_COUNT)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        with graph.begin(readonly=True) as session:
            found = content(session, ("inet:ipv4",))
            assert len(found) == NODE_COUNT
            wanted = {"thread", *(f"thread.t{number}" for number in range(THREAD_COUNT))}
            assert all(set(node["tags"]) == wanted for node in found.values())
            model = the_model()
            assert session.count_form(model.require_form("inet:ipv4")) == NODE_COUNT
            assert session.count_value(model.require_prop("inet:ipv4:asn"), "=", 1) == NODE_COUNT // 3
            assert session.count_tag("thread") == NODE_COUNT
        assert replayed(graph, tmp_path / "copy")["nodes"] == databases(graph)["nodes"]


def test_names_of_a_rolled_back_write_are_stored_when_used_again(tmp_path: Path) -> None:
    model = the_model()
    form = model.require_form("inet:ipv4")
    with open_graph(tmp_path / "graph") as graph:
        with graph.begin() as session:
            session.add_node(form, 1)
            session.sync()
            node = session.node(form, 1)
            session.add_tag(node, "lost.tag")

            def broken(editor: Editor) -> None:
                session.stack.node(editor.txn, node.key)
                editor.txn.put(graph_names_db(), b"tnever", b"\0\0\0\1")
                raise RuntimeError("after a put")

            with pytest.raises(RuntimeError):
                session.edit(broken)
            with pytest.raises(StorageAborted):
                session.sync()
        with graph.begin() as session:
            node = session.node(form, 1)
            assert not node.tags
            session.add_tag(node, "lost.tag")
            session.sync()
            before = content(session, FORMS)
        names = databases(graph)["names"]
        assert b"tlost.tag" in {key for key, _ in names}
        assert b"tnever" not in {key for key, _ in names}
    with open_graph(tmp_path / "graph") as graph, graph.begin() as session:
        assert content(session, FORMS) == before
        assert [found.ndef for found in session.lift_tag("lost.tag")] == [("inet:ipv4", 1)]


def graph_names_db() -> object:
    from cellmesh.cortex.layers.schema import NAMES

    return NAMES


def test_a_session_sees_what_others_committed_between_its_chunks(tmp_path: Path) -> None:
    form = the_model().require_form("it:dev:int")
    with open_graph(tmp_path / "graph") as graph, graph.begin() as one, graph.begin() as two:
        one.feed([FeedNode("it:dev:int", value) for value in range(40)])
        one.sync()
        lifted = one.lift_form(form)
        assert next(lifted).value == 0
        two.delete_node(two.node(form, 39))
        two.sync()
        assert [node.value for node in lifted] == list(range(1, 39))
