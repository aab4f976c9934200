"""A layer's storage spoilt in one place after another: each is found and named, and put right where that can be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.storage import SubDb, WriteTxn
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.layers.keys import pack_nid
from cellmesh.cortex.layers.layer import Layer
from cellmesh.cortex.layers.nids import NEXT_KEY
from cellmesh.cortex.layers.schema import (
    BY_ARRAY,
    BY_PROP,
    BY_TAG,
    BY_TAG_PROP,
    BY_VERB,
    COUNTS,
    DATABASES,
    EDGES_IN,
    EDGES_OUT,
    GRAPH,
    NAMES,
    NAMES_BY_NUMBER,
    NIDS,
    NODE_DATA,
    NODES,
    SEQUENCES,
)
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.verify import check_layer, repair_layer

sys.path.insert(0, str(Path(__file__).parents[1] / "views"))
from graph_kit import open_graph

SAVED = tuple(db for db in DATABASES if db is not GRAPH)
"""All that is known of nodes."""

SETUP = """
    $lib.model.ext.addTagProp(score, (int, ({})), ({}))
    [ inet:ipv4=1.2.3.4 :asn=7 +#a.b=(2020, 2021) +#a.b:score=3
        +(refs)> { [ inet:fqdn=a.example ] } <(seen)+ { [ ou:org=* :names=(x, y) ] } ]
    $node.data.set(origin, feed)
"""

Spoil = Callable[[WriteTxn, bytes], None]
NOWHERE = b"\x00\x00\x00\x00\x00\x09\x00\x01"


def drop(db: SubDb, *, of_layer: bool = True) -> Spoil:
    def spoil(txn: WriteTxn, layer: bytes) -> None:
        found = txn.first(db, layer if of_layer else b"")
        assert found is not None
        key, value = found
        assert txn.delete(db, key, value if db.dupsort else None)

    return spoil


def extra(db: SubDb, value: bytes) -> Spoil:
    """Add a row beside the first one."""

    def spoil(txn: WriteTxn, layer: bytes) -> None:
        found = txn.first(db, layer)
        assert found is not None
        txn.put(db, found[0], value)

    return spoil


def change(db: SubDb, made: Callable[[bytes], bytes]) -> Spoil:
    def spoil(txn: WriteTxn, layer: bytes) -> None:
        found = txn.last(db, layer, layer + b"\xff" * 16)
        assert found is not None
        txn.put(db, found[0], made(found[1]))

    return spoil


def other_nid(txn: WriteTxn, layer: bytes) -> None:
    found = txn.first(NIDS)
    assert found is not None
    txn.put(NIDS, found[0], NOWHERE)


def no_records(txn: WriteTxn, layer: bytes) -> None:
    """The record of a node that nothing else is known of."""
    found = txn.first(NODES, layer)
    assert found is not None
    txn.delete(NODES, found[0])


def sequence_behind(txn: WriteTxn, layer: bytes) -> None:
    """The sequence of nids goes on where nodes are already."""
    txn.put(SEQUENCES, NEXT_KEY, pack_nid(2))


# How it is spoilt, what is found among others, and whether it can be put right.
SPOILT: Mapping[str, tuple[Spoil, str, bool]] = {
    "no row of a property": (drop(BY_PROP), "NoPropIndex", True),
    "no row of an element": (drop(BY_ARRAY), "NoArrayIndex", True),
    "no row of a tag": (drop(BY_TAG), "NoTagIndex", True),
    "no row of a tag property": (drop(BY_TAG_PROP), "NoTagPropIndex", True),
    "no edge from its end": (drop(EDGES_IN), "NoEdgeInIndex", True),
    "no edge by its verb": (drop(BY_VERB), "NoEdgeVerbIndex", True),
    "no edge from its start": (drop(EDGES_OUT), "NoEdgeForInIndex", True),
    "no count": (drop(COUNTS), "BadCount", True),
    "no number of a node": (drop(NIDS, of_layer=False), "NoNid", True),
    "another number of a node": (other_nid, "NoNid", True),
    "no sequence of numbers": (drop(SEQUENCES, of_layer=False), "BadNidSequence", True),
    "a sequence that was put back": (sequence_behind, "BadNidSequence", True),
    "no number of a name": (drop(NAMES, of_layer=False), "NoNumberOfName", True),
    "no name of a number": (drop(NAMES_BY_NUMBER, of_layer=False), "NoNameOfNumber", True),
    "a row of a property too many": (extra(BY_PROP, NOWHERE), "NoNodeForPropIndex", True),
    "a row of an element too many": (extra(BY_ARRAY, NOWHERE), "NoNodeForArrayIndex", True),
    "a row of a tag too many": (extra(BY_TAG, NOWHERE), "NoNodeForTagIndex", True),
    "a row of a tag property too many": (extra(BY_TAG_PROP, NOWHERE), "NoNodeForTagPropIndex", True),
    "an edge too many at its end": (extra(EDGES_IN, b"\0\0\0\1" + NOWHERE), "NoEdgeForInIndex", True),
    "an edge too many by its verb": (extra(BY_VERB, NOWHERE + NOWHERE), "NoEdgeForVerbIndex", True),
    "an edge from its start alone": (extra(EDGES_OUT, b"\0\0\0\1" + NOWHERE), "NoEdgeInIndex", True),
    "a wrong count": (change(COUNTS, lambda old: b"\0" * 7 + b"\x63"), "BadCount", True),
    "no record": (no_records, "NoNodeForPropIndex", True),
    "an empty record": (change(NODES, lambda old: b"\x0a"), "BadRecord", False),
    "a record cut short": (change(NODES, lambda old: old[:-3]), "BadRecord", False),
    "a record of nothing known": (change(NODES, lambda old: b"\xff" + old), "BadRecord", False),
    "a record of another value": (change(NODES, lambda old: old[:20] + b"z" + old[21:]), "BadRecord", False),
    "data that do not read": (change(NODE_DATA, lambda old: b"\xff\xff"), "BadNodeData", False),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repair") / "cortex"


@pytest.fixture(scope="module")
def cortex(folder: Path) -> Iterator[CortexCell]:
    config = load_config(CortexConfig, dir=folder, flags={"log_level": "error"}, environ={})
    made = CortexCell(config)
    with running(made), open_cell(f"unix://{config.dir}/cell.sock") as client:
        client.stub(StormServiceStub).CallStorm(storm_pb2.CallStormRequest(text=SETUP))
        yield made


def rows(graph: Graph) -> dict[str, list[tuple[bytes, bytes]]]:
    found: dict[str, list[tuple[bytes, bytes]]] = {}
    with graph.slab.view() as txn:
        for db in SAVED:
            found[db.name] = list(txn.scan(db, count_max=10_000).items)
    return found


def restore(graph: Graph, before: Mapping[str, list[tuple[bytes, bytes]]]) -> None:
    def run(txn: WriteTxn) -> None:
        for db in SAVED:
            for key, value in list(txn.scan(db, count_max=10_000).items):
                txn.delete(db, key, value if db.dupsort else None)
            for key, value in before[db.name]:
                txn.put(db, key, value)

    graph.slab.write(run)


def kinds(graph: Graph, layer: Layer) -> set[str]:
    return {fault.kind for fault in check_layer(graph, layer, lambda: None)}


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_spoilt_is_found_and_put_right(cortex: CortexCell, what: str) -> None:
    spoil, kind, is_repaired = SPOILT[what]
    graph = cortex.graph
    (layer,) = graph.default_view.layers
    before = rows(graph)
    assert kinds(graph, layer) == set()
    try:
        graph.slab.write(lambda txn: spoil(txn, layer.key))
        assert kind in kinds(graph, layer)
        spoilt = rows(graph)
        count = repair_layer(graph, layer, lambda: None)
        if is_repaired:
            assert kinds(graph, layer) == set()
            assert count > 0
        else:
            assert kinds(graph, layer) == {kind}
            # What rows there are of it stay.
            after = rows(graph)
            for name in ("nodes", "by_prop", "by_tag", "by_array", "by_tag_prop", "node_data"):
                assert after[name] == spoilt[name]
        if what.startswith(
            (
                "no row",
                "no edge from its end",
                "no edge by",
                "no count",
                "no n",
                "no s",
                "a sequence",
                "another",
            )
        ):
            assert rows(graph) == before
        assert repair_layer(graph, layer, lambda: None) == 0
    finally:
        restore(graph, before)


@pytest.mark.parametrize("storage", ["lmdb", "memory"])
def test_new_nodes_get_numbers_of_their_own_after_the_repair(tmp_path: Path, storage: str) -> None:
    with open_graph(tmp_path, storage=storage) as graph:
        form = graph.model.require_form("inet:asn")
        fork = graph.fork(graph.default_view)
        with graph.begin() as session:
            for number in range(1, 4):
                session.add_node(form, number)
            session.sync()
        with graph.begin(fork) as session:
            last = session.add_node(form, 4)
            session.sync()
            session.delete_node(last)
            session.sync()
        # It is in no layer any more, and its number is its own still: it may come back.
        layers = list(graph.layers.values())
        for layer in layers:
            assert kinds(graph, layer) == set()
        graph.slab.write(lambda txn: sequence_behind(txn, b""))
        with graph.slab.view() as txn:
            # As after a restart.
            graph.nids.load(txn)
        for layer in layers:
            assert kinds(graph, layer) == {"BadNidSequence"}
        assert repair_layer(graph, layers[-1], lambda: None) == 1
        for layer in layers:
            assert kinds(graph, layer) == set()
        with graph.begin() as session:
            for number in (5, 4, 6):
                session.add_node(form, number)
            session.sync()
        with graph.slab.view() as txn:
            nids = [nid for _, nid in txn.scan(NIDS, count_max=100).items]
        assert len(nids) == len(set(nids)) == 6
        for layer in layers:
            assert kinds(graph, layer) == set()
