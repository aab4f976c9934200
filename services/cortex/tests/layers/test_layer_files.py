"""Layers out to files and in from them: between two real cells, under load, damaged, cut short, killed in the middle."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.cortex.v1 import layer_file_pb2, layer_pb2, node_edit_pb2
from cellmesh.api.cortex.v1.layer_service_pb2_grpc import LayerServiceStub
from cellmesh.client import open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import (
    BadArg,
    BadMesgFormat,
    BadMesgVers,
    BadTypeValu,
    CellError,
    NoSuchForm,
    NoSuchProp,
)
from cellmesh.common.failpoints import failing
from cellmesh.common.storage import Slab
from cellmesh.common.values import to_value
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.layers import file_format
from cellmesh.cortex.layers.file_format import MAGIC, FileReader, FileWriter
from cellmesh.cortex.layers.layer import DETACHED, load_layers
from cellmesh.cortex.layers.schema import NODES
from cellmesh.cortex.views.sharing import Sharing
from cellmesh.cortex.views.verify import check_layer

START_S = 60.0
PART_SIZE = 5000

BELOW = """
    [ (inet:asn=1 :name=one .seen=(2020, 2021) +#t=2020 +#t.u +#t:score=7)
      (inet:asn=2 :name=two +#gone +(refs)> { inet:asn=1 } +(seen)> { inet:asn=1 })
      (ou:org=(a,) :names=(x, y) :_rank=3) (_thing:x=abc :_n=4) ]
    $node.data.set(k, ({"list": [1, (2.5), null]})) $node.data.set(l, v)
"""
ABOVE = """
    [ inet:asn=1 :name=other -:name -#t.u -.seen ] $node.data.pop(k) | spin |
    inet:asn=2 [ -#gone -(refs)> { inet:asn=1 } +#fresh +(refs)> { inet:asn=2 } ] | spin |
    ou:org=(a,) | delnode --force | [ inet:asn=3 +(refs)> { inet:asn=2 } ]
"""
MODEL = """
    $lib.model.ext.addTagProp(score, (int, ({})), ({}))
    $lib.model.ext.addFormProp(ou:org, _rank, (int, ({})), ({}))
    $lib.model.ext.addForm(_thing:x, str, ({}), ({}))
    $lib.model.ext.addFormProp(_thing:x, _n, (int, ({})), ({}))
"""


def make(folder: Path) -> CortexCell:
    return CortexCell(load_config(CortexConfig, dir=folder, environ={}))


@pytest.fixture(name="first", scope="module")
def _first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CortexCell]:
    with running(make(tmp_path_factory.mktemp("first"))) as cell:
        cell.engine.call(MODEL)
        cell.engine.call(BELOW)
        fork = cell.engine.call("$fork = $lib.view.get().fork(name=fork) return($fork.iden)")
        cell.engine.call(f"view.exec {fork} {{ {ABOVE} }}")
        yield cell


@pytest.fixture(name="second")
def _second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CortexCell]:
    with running(make(tmp_path_factory.mktemp("second"))) as cell:
        yield cell


def below(cell: CortexCell) -> str:
    return str(cell.graph.default_view.layers[0].id)


def above(cell: CortexCell) -> str:
    (fork,) = (view for view in cell.graph.views.values() if view.name == "fork")
    return str(fork.layers[0].id)


def exported(folder: Path, layer: str) -> bytes:
    with open_cell(f"unix://{folder}") as client:
        stream = client.stub(LayerServiceStub).ExportLayer(layer_pb2.ExportLayerRequest(layer_id=layer))
        return b"".join(message.data for message in stream)


def requests(data: bytes, **first: Any) -> Iterator[layer_pb2.ImportLayerRequest]:
    yield layer_pb2.ImportLayerRequest(**first)
    for at in range(0, len(data), PART_SIZE):
        yield layer_pb2.ImportLayerRequest(data=data[at : at + PART_SIZE])


def imported(folder: Path, data: bytes, **first: Any) -> layer_pb2.ImportLayerResponse:
    with open_cell(f"unix://{folder}") as client:
        made: layer_pb2.ImportLayerResponse = client.stub(LayerServiceStub).ImportLayer(
            requests(data, **first)
        )
        return made


def content(cell: CortexCell, layer: str) -> dict[tuple[str, str], list[str]]:
    """All that a layer says, node by node, in terms that hold in every Cortex."""
    sharing, after = Sharing(cell.graph), b""
    found: dict[tuple[str, str], list[str]] = {}
    while True:
        nodes, after = sharing.content(cell.graph.layer(layer), after)
        for one in nodes:
            found[one.form, repr(one.value)] = sorted(map(repr, one.edits))
        if not after:
            return found


def faults(cell: CortexCell, layer: str) -> list[Any]:
    return list(check_layer(cell.graph, cell.graph.layer(layer), lambda: None))


def leftovers(cell: CortexCell) -> tuple[int, int, int]:
    """Layers that nobody sees, layers, and records of nodes in all layers."""
    with cell.slab.view() as txn:
        return len(load_layers(txn, DETACHED)), len(load_layers(txn)), txn.entries(NODES)


@pytest.mark.parametrize("which", [below, above])
def test_a_layer_comes_out_of_its_file_as_it_went_in(
    first: CortexCell, second: CortexCell, which: Any
) -> None:
    layer = which(first)
    made = imported(second.folder.path, exported(first.folder.path, layer), name="copy", add_model=True)
    told = content(first, layer)
    assert len(told) >= 4
    assert content(second, made.layer_id) == told
    assert made.node_count == len(told)
    assert faults(second, made.layer_id) == []
    assert second.graph.layer(made.layer_id).name == "copy" == made.name


def test_both_layers_give_the_view_that_was(first: CortexCell, second: CortexCell) -> None:
    lower = imported(second.folder.path, exported(first.folder.path, below(first)), add_model=True).layer_id
    upper = imported(second.folder.path, exported(first.folder.path, above(first)), add_model=True).layer_id
    view = second.engine.call(f"return($lib.view.add(({upper}, {lower})).iden)")
    (fork,) = (str(view.id) for view in first.graph.views.values() if view.name == "fork")
    query = """
        $o = ([])
        view.exec {view} { .created $o.append(($node.ndef(), $node.props, $node.tags(), $node.data.list())) } |
        view.exec {view} { .created for ($verb, $to) in $node.edges() { $o.append(($node.iden(), $verb, $to)) } } |
        return($o)
    """
    one = first.engine.call(query.replace("{view}", fork))
    two = second.engine.call(query.replace("{view}", view))
    assert len(one) > 4
    assert sorted(map(repr, one)) == sorted(map(repr, two))


def test_what_the_model_lacks_is_named_before_anything_is_written(
    first: CortexCell, second: CortexCell
) -> None:
    before = leftovers(second)
    with pytest.raises(NoSuchForm, match="_thing:x"):
        imported(second.folder.path, exported(first.folder.path, below(first)))
    second.engine.call("$lib.model.ext.addForm(_thing:x, str, ({}), ({}))")
    with pytest.raises(NoSuchProp, match="ou:org:_rank"):
        imported(second.folder.path, exported(first.folder.path, below(first)))
    assert leftovers(second) == before


def test_damaged_files_are_refused_with_the_place(first: CortexCell, second: CortexCell) -> None:
    data = exported(first.folder.path, below(first))
    folder = second.folder.path
    imported(folder, data, add_model=True)
    before = leftovers(second)
    chance = random.Random(5)
    places = {0, len(MAGIC), len(data) - 1, *(chance.randrange(len(data)) for _ in range(12))}
    for at in sorted(places):
        bad = bytearray(data)
        bad[at] ^= 1 << chance.randrange(8)
        with pytest.raises((BadMesgFormat, BadMesgVers)):
            imported(folder, bytes(bad))
    for size in (0, 3, len(MAGIC) + 4, len(data) // 2, len(data) - 1):
        with pytest.raises(BadMesgFormat, match=f"ends at byte {size}"):
            imported(folder, data[:size])
    with pytest.raises(BadMesgFormat, match=f"goes on behind its end at byte {len(data)}"):
        imported(folder, data + b"x")
    for foreign in (b"PK\x03\x04" + bytes(100), b'{"form": "inet:asn"}\n' * 9):
        with pytest.raises(BadMesgFormat, match="no file of a layer"):
            imported(folder, foreign)
    assert leftovers(second) == before
    assert len(second.graph.layers) == 2


def test_an_export_is_of_one_state_while_edits_go_on(second: CortexCell) -> None:
    """Each edit changes two nodes to the same number, and both are equal in the file."""
    view = second.graph.default_view
    second.engine.call("for $i in $lib.range(4000) { [ inet:asn=$i ] }")
    second.engine.call("[ inet:asn=5000 :name=n0 inet:asn=1 :name=n0 ]")
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            second.engine.call(f"[ inet:asn=5000 :name=n{number} inet:asn=1 :name=n{number} ] | spin")
            written.append(number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(5):
            count = len(written)
            data = exported(second.folder.path, str(view.layers[0].id))
            reader = FileReader(iter([data]))
            reader.begin()
            names: dict[str, str] = {}
            nodes = 0
            for block in reader.blocks():
                if block.kind == file_format.NODES:
                    for one in file_format.parsed(layer_file_pb2.LayerFileNodes, block).nodes:
                        nodes += 1
                        for edit in one.edits:
                            if edit.prop_set.name == "name":
                                names[str(one.value)] = edit.prop_set.value.string_value
            assert nodes == 4001
            assert len(names) == 2
            assert len(set(names.values())) == 1
            assert _wait(lambda count=count: len(written) > count)
    finally:
        stop.set()
        thread.join(START_S)


def test_an_import_that_fails_or_is_left_leaves_nothing(first: CortexCell, second: CortexCell) -> None:
    second.engine.call(MODEL)
    data = exported(first.folder.path, below(first))
    before = leftovers(second)
    with failing("layer_edits_taken", "error"), pytest.raises(CellError):
        imported(second.folder.path, data)
    assert leftovers(second) == before
    seen: list[bool] = []

    def half() -> Iterator[layer_pb2.ImportLayerRequest]:
        yield layer_pb2.ImportLayerRequest(data=data[: len(data) - 40])
        seen.append(_wait(lambda: leftovers(second)[2] > before[2]) and len(second.graph.layers) == before[1])
        raise RuntimeError("the caller goes away in the middle")

    with open_cell(f"unix://{second.folder.path}") as client, pytest.raises(CellError):
        client.stub(LayerServiceStub).ImportLayer(half())
    assert seen == [True]
    assert _wait(lambda: leftovers(second) == before)


def test_an_import_that_was_killed_is_gone_at_the_next_start(
    first: CortexCell, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    with running(make(folder)) as cell:
        cell.engine.call(MODEL)
        before = leftovers(cell)
    data = exported(first.folder.path, below(first))
    child = subprocess.Popen(
        [sys.executable, "-m", "cellmesh.cli.main", "cortex", "serve", "--dir", str(folder), "--insecure"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "CELLMESH_FAILPOINTS": "layer_edits_taken=3>kill"},
    )
    try:
        assert child.stdout is not None
        assert b"serving at" in child.stdout.readline()
        with pytest.raises(CellError):
            imported(folder, crafted(*(node("inet:asn", number, named("a")) for number in range(8))))
        assert child.wait(START_S) != 0
    finally:
        child.kill()
        child.wait(START_S)
    with Slab.open(folder / "slab", CortexCell.databases) as slab, slab.view() as txn:
        # A block is a transaction: three are there.
        assert [len(load_layers(txn, DETACHED)), txn.entries(NODES)] == [1, before[2] + 3]
    with running(make(folder)) as cell:
        assert leftovers(cell) == before
        made = imported(folder, data)
        assert content(cell, made.layer_id) == content(first, below(first))
        assert faults(cell, made.layer_id) == []


def test_blocks_in_another_order_are_found() -> None:
    writer = FileWriter()
    parts = [writer.begin(layer_file_pb2.LayerFileHeader(name="x"))]
    parts += [writer.nodes(b"") for _ in range(3)]
    parts.append(writer.end(layer_file_pb2.LayerFileTrailer()))

    def read(given: list[bytes]) -> int:
        reader = FileReader(iter(given))
        reader.begin()
        return len(list(reader.blocks()))

    assert read(parts) == 4
    for wrong in ([0, 2, 1, 3, 4], [0, 1, 3, 4], [0, 1, 1, 2, 3, 4], [0, 1, 2, 4]):
        with pytest.raises(BadMesgFormat, match=r"block [12345] at byte"):
            read([parts[index] for index in wrong])
    # A block of another file with the same number.
    other = FileWriter()
    other.begin(layer_file_pb2.LayerFileHeader(name="y"))
    with pytest.raises(BadMesgFormat, match=r"block 1 at byte .* another file"):
        read([parts[0], other.nodes(b""), *parts[2:]])


def crafted(*nodes: node_edit_pb2.NodeEdits, count: int | None = None, model: Any = None) -> bytes:
    writer = FileWriter()
    data = writer.begin(layer_file_pb2.LayerFileHeader(name="x", extended_model=to_value(model or {})))
    for node in nodes:
        data += writer.nodes(layer_file_pb2.LayerFileNodes(nodes=[node]).SerializeToString())
    edits = sum(len(node.edits) for node in nodes)
    made = len({(node.form, str(node.value)) for node in nodes})
    trailer = layer_file_pb2.LayerFileTrailer(node_count=made if count is None else count, edit_count=edits)
    return data + writer.end(trailer)


def node(form: str, value: Any, *edits: dict[str, Any]) -> node_edit_pb2.NodeEdits:
    made = node_edit_pb2.NodeEdits(form=form, value=to_value(value))
    for edit in ({"node_add": {}}, *edits):
        made.edits.append(node_edit_pb2.NodeEdit(**edit))
    return made


def named(value: Any) -> dict[str, Any]:
    return {"prop_set": {"name": "name", "value": to_value(value)}}


def test_files_that_are_whole_but_wrong_leave_nothing(second: CortexCell) -> None:
    good = node("inet:asn", 1, named("a"), {"tag_set": {"name": "t"}})
    wrong = (
        (node("inet:asn", "x"), BadTypeValu),
        (node("inet:asn", 2, named(3)), BadTypeValu),
        (node("inet:nothing", 2), NoSuchForm),
        (node("inet:asn", 2, {"prop_set": {"name": "nothing", "value": to_value(1)}}), NoSuchProp),
        (node("inet:asn", 2, {"tag_set": {"name": "t" * 600}}), CellError),
        (node("inet:asn", 2, {"edge_add": {"verb": "refs", "to": {"buid": b"short"}}}), BadArg),
        (node_edit_pb2.NodeEdits(form="inet:asn"), BadArg),
        (node("syn:form", "inet:asn"), NoSuchForm),
        (node("inet:asn", 2, {}), CellError),
    )
    before = leftovers(second)
    folder = second.folder.path
    for bad, error in wrong:
        with pytest.raises(error) as found:
            imported(folder, crafted(good, bad))
        assert "block 2 at byte" in str(found.value.get("place"))
    with pytest.raises(BadMesgFormat, match="says in block 2 at byte"):
        imported(folder, crafted(good, count=2))
    for model in ({"types": [[1, 2, 3, {}]]}, {"edges": [["a", {}]]}, {"props": [["inet:asn"]]}):
        with pytest.raises(BadArg, match="shape under"):
            imported(folder, crafted(good, model=model), add_model=True)
    assert leftovers(second) == before


def test_a_node_that_comes_in_parts_is_one(second: CortexCell) -> None:
    more = node_edit_pb2.NodeEdits(form="inet:asn", value=to_value(1))
    more.edits.append(node_edit_pb2.NodeEdit(**named("b")))
    data = crafted(node("inet:asn", 1, named("a")), more, node("inet:asn", 1, {"tag_set": {"name": "t"}}))
    for _ in range(2):
        made = imported(second.folder.path, data)
        assert made.node_count == 1
        assert faults(second, made.layer_id) == []
        (edits,) = content(second, made.layer_id).values()
        assert len(edits) == 3
        assert any("'b'" in edit for edit in edits)


def test_sizes_of_layers_share_the_room_that_all_take(second: CortexCell) -> None:
    sizes = "return($lib.layer.get({iden}).get(totalsize))"
    iden = below(second)
    second.engine.call("for $i in $lib.range(3000) { [ inet:asn=$i :name=`name {$i}` +#t ] }")
    alone = second.engine.call(sizes.format(iden=iden))
    with second.slab.view() as txn:
        room = txn.size_bytes(NODES)
        # All pages of the databases of layers are its own, as there is no other layer.
        assert room < alone <= second.slab.data_bytes(txn)
    fork = second.engine.call("$fork = $lib.view.get().fork() return(($fork.iden, $fork.layers.0.iden))")
    assert second.engine.call(sizes.format(iden=fork[1])) == 0
    second.engine.call(
        f"view.exec {fork[0]} {{ for $i in $lib.range(300) {{ [ inet:asn=`1{{$i}}000` :name=x ] }} }}"
    )
    upper, lower = (second.engine.call(sizes.format(iden=one)) for one in (fork[1], iden))
    assert 0 < upper < lower / 3
    packed = second.engine.call(f"return($lib.view.get({fork[0]}).pack())")
    assert [layer["totalsize"] for layer in packed["layers"]] == [upper, lower]


def _wait(is_so: Any) -> bool:
    end_s = time.monotonic() + START_S
    while not is_so():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.02)
    return True
