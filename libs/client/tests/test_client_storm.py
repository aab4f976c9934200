"""Queries from Python beside a real Cortex: nodes, frames by column, and what notebooks show."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import nanoarrow
import pytest
from cellmesh.api.cortex.v1 import table_pb2
from cellmesh.client import CellClient, open_cell, open_cell_aio
from cellmesh.client.storm import Frame, arrow
from cellmesh.client.storm import frame as frame_module
from cellmesh.client.storm.request import Told
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadArg, BadSyntax, IsReadOnly, StormRaise
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

ALL = "inet:fqdn=a.example inet:asn=5 inet:dns:a=(a.example, 1.2.3.4) media:news"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cortex")
    config = load_config(CortexConfig, dir=folder, flags={"log_level": "error"}, environ={})
    with running(CortexCell(config)):
        yield folder


@pytest.fixture(scope="module")
def cortex(folder: Path) -> Iterator[CellClient]:
    with open_cell(f"unix://{folder}/cell.sock") as cell:
        text = (
            "[ inet:fqdn=a.example inet:asn=5 inet:dns:a=(a.example, 1.2.3.4) (media:news=* :title='<script>x') "
            "+#my.tag=(2026-01-01, 2026-02-01) +#other ]"
        )
        made = cell.storm(text).run()
        assert len(made) == 4
        assert made.edit_count > 4
        cell.storm("media:news [ +(refs)> { inet:fqdn=a.example } ]").run()
        yield cell


def test_nodes_come_typed(cortex: CellClient) -> None:
    (node,) = cortex.storm("inet:dns:a", repr=True)
    assert node.ndef == ("inet:dns:a", ["a.example", 0x01020304])
    assert (node["fqdn"], node[":ipv4"], node.get("absent", 7)) == ("a.example", 0x01020304, 7)
    assert node.text() == "(a.example, 1.2.3.4)"
    assert node.prop_reprs["ipv4"] == "1.2.3.4"
    assert node.has_tag("#my.tag")
    begin, end = node.tags["my.tag"] or (0, 0)
    assert end - begin == 31 * 86_400_000
    assert len(node.iden) == 64
    with pytest.raises(KeyError):
        node["absent"]


def test_a_query_runs_when_asked_and_each_time_anew(cortex: CellClient) -> None:
    query = cortex.storm("[ it:dev:int=$number ]", vars={"number": 77})
    assert cortex.storm("it:dev:int=77").count() == 0
    assert query.run()[0].value == 77
    assert query.run().edit_count == 0
    assert cortex.storm("return(($a + $b))", vars={"$a": 1, "b": 2}).value() == 3


def test_what_a_query_tells_beside_its_nodes(cortex: CellClient) -> None:
    rows = cortex.storm("inet:asn=5 $lib.print(hello) $lib.warn(careful) $lib.fire(mine, x=(1))").run()
    assert rows.prints == ("hello",)
    assert rows.warnings == ("careful",)
    assert rows.fired == (("mine", {"x": 1}),)
    assert [node.value for node in rows] == [5]


def test_a_failing_query_raises_what_the_cortex_raised(cortex: CellClient) -> None:
    with pytest.raises(BadSyntax):
        cortex.storm("inet:fqdn=+(").run()
    with pytest.raises(StormRaise):
        cortex.storm("inet:asn=5 $lib.raise(Mine, oops)").frame()
    with pytest.raises(IsReadOnly):
        cortex.storm("[ it:dev:int=1000 ]", readonly=True).run()
    with pytest.raises(BadArg):
        cortex.storm("inet:fqdn", mode="nonsense")  # type: ignore[arg-type]
    nodes = iter(cortex.storm("it:dev:int=77 inet:asn=5 if ($node.form() = 'inet:asn') { $lib.raise(A, b) }"))
    assert next(nodes).value == 77
    with pytest.raises(StormRaise):
        next(nodes)


def test_the_same_from_an_event_loop(folder: Path, cortex: CellClient) -> None:
    async def main() -> None:
        async with open_cell_aio(f"unix://{folder}/cell.sock") as cell:
            assert [node.form async for node in cell.storm("inet:asn=5")] == ["inet:asn"]
            query = cell.storm(ALL)
            assert len(await query.run()) == await query.count() == len(await query.frame()) == 4
            assert (await query.frame()).to_dict() == cortex.storm(ALL).frame().to_dict()
            assert await cell.storm("return(x)").value() == "x"
            graph, other = await query.graph(), cortex.storm(ALL).graph()
            assert (list(graph.nodes), graph.edges) == (list(other.nodes), other.edges)

    asyncio.run(main())


def test_arrow_reads_the_frame_as_it_is(cortex: CellClient) -> None:
    frame = cortex.storm(ALL).frame()
    expected = frame.to_dict()
    assert expected["form"] == ["inet:fqdn", "inet:asn", "inet:dns:a", "media:news"]
    assert expected["value"][:3] == ["a.example", "5", '["a.example",16909060]']
    assert expected[":ipv4"] == [None, None, 0x01020304, None]
    read = nanoarrow.ArrayStream(frame).read_all()
    rows = read.to_pylist()
    for index, name in enumerate(frame.columns):
        found = [row[name] for row in rows]
        if frame.kinds[name] == frame_module.TIME:
            found = [int(value.timestamp() * 1000 + 0.5) for value in found]
        assert found == expected[name], (index, name)


def column(kind: int, values: bytes, *, offsets: bytes = b"", validity: bytes = b"") -> table_pb2.Column:
    made = table_pb2.Column(name="x", values=values, offsets=offsets, validity=validity)
    made.kind = kind  # type: ignore[assignment]
    return made


def test_batches_that_differ_become_one_table() -> None:
    one = table_pb2.ColumnBatch(row_count=2)
    one.columns.append(column(frame_module.INT64, (5).to_bytes(8, "little") * 2, validity=b"\x01"))
    two = table_pb2.ColumnBatch(row_count=1)
    two.columns.append(column(frame_module.TEXT, "é".encode(), offsets=b"\0\0\0\0\2\0\0\0"))
    three = table_pb2.ColumnBatch(row_count=1)
    three.columns.append(column(frame_module.BYTES, b"\xff", offsets=b"\0\0\0\0\1\0\0\0"))
    none = table_pb2.ColumnBatch(row_count=9)
    frame = Frame([one, two, three, none], (), Told())
    expected = ["5", None, "é", '"ff"', *[None] * 9]
    assert frame.to_dict() == {"x": expected}
    assert [row["x"] for row in nanoarrow.ArrayStream(frame).read_all().to_pylist()] == expected


def test_an_empty_frame_has_its_columns(cortex: CellClient) -> None:
    frame = cortex.storm("inet:asn=404").frame(["value", ":name"])
    assert (frame.columns, len(frame)) == (("value", ":name"), 0)
    assert nanoarrow.ArrayStream(frame).read_all().to_pylist() == []
    assert cortex.storm("inet:asn=404").frame().columns == ("form", "value", "iden")


def test_buffers_are_kept_until_they_are_released(cortex: CellClient) -> None:
    gc.collect()
    before = arrow.kept_count()
    read = nanoarrow.ArrayStream(cortex.storm(ALL).frame()).read_all()
    gc.collect()
    assert arrow.kept_count() > before
    assert read.to_pylist()[1]["value"] == "5"
    del read
    unread = cortex.storm(ALL).frame().__arrow_c_stream__()
    schema = cortex.storm(ALL).frame().__arrow_c_schema__()
    del unread, schema
    gc.collect()
    assert arrow.kept_count() == before


def test_a_frame_that_outlives_everything_is_released_at_the_end_of_the_process() -> None:
    code = (
        "import nanoarrow\n"
        "from cellmesh.api.cortex.v1 import table_pb2\n"
        "from cellmesh.client.storm import Frame\n"
        "from cellmesh.client.storm.request import Told\n"
        "batch = table_pb2.ColumnBatch(row_count=1)\n"
        "batch.columns.add(name='x', kind=1, values=bytes(8))\n"
        "read = nanoarrow.ArrayStream(Frame([batch], (), Told())).read_all()\n"
        "print(read.to_pylist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[{'x': 0}]\n", "")


def test_polars_takes_the_columns(cortex: CellClient) -> None:
    polars = pytest.importorskip("polars")
    frame = cortex.storm(ALL).frame()
    made = frame.to_polars()
    assert made.columns == list(frame.columns)
    assert made["form"].to_list() == frame.to_dict()["form"]
    assert made[":ipv4"].to_list() == [None, None, 0x01020304, None]
    assert made[".created"].dtype == polars.Datetime("ms", "UTC")


def test_pandas_takes_the_columns(cortex: CellClient) -> None:
    pandas = pytest.importorskip("pandas")
    frame = cortex.storm(ALL).frame()
    made = frame.to_pandas()
    assert list(made.columns) == list(frame.columns)
    assert made["form"].tolist() == frame.to_dict()["form"]
    assert made[":ipv4"].isna().tolist() == [True, True, False, True]
    assert made[":ipv4"][2] == 0x01020304
    assert made[".created"].dt.year.tolist() == [pandas.Timestamp.now(tz="UTC").year] * 4
    assert cortex.storm("inet:asn=404").frame(["value"]).to_pandas().empty


def test_notebooks_show_tables_with_everything_escaped(cortex: CellClient) -> None:
    rows = cortex.storm(f"{ALL} $lib.print('<i>')", repr=True).run()
    for shown in (rows._repr_html_(), cortex.storm(ALL).frame()._repr_html_()):
        assert "<script>" not in shown
        assert "&lt;script&gt;x" in shown
        ET.fromstring(f"<div>{shown}</div>")
    assert "#my.tag #other" in rows._repr_html_()
    assert "(a.example, 1.2.3.4)" in rows._repr_html_()
    assert "<i>" not in rows._repr_html_()
    assert repr(rows).startswith("<4 nodes, 0 edits")
    # A frame's times, tags and idens as people read them.
    columns = (".created", "tags", "iden")
    shown = cortex.storm("inet:fqdn=a.example").frame(columns)._repr_html_()
    assert re.search(r">20\d\d/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}<", shown)
    assert ">#my.tag #other<" in shown
    assert re.search(r">[0-9a-f]{12}…<", shown)
    assert ">1 row<" in shown
    assert repr(cortex) == f"<Cell {cortex.url}>"


def test_a_graph_has_light_edges_and_properties_that_name_nodes(cortex: CellClient) -> None:
    graph = cortex.storm(ALL).graph()
    names = {iden: node.form for iden, node in graph.nodes.items()}
    found = {(names[edge.source], edge.name, names[edge.target]) for edge in graph.edges}
    assert ("media:news", "refs", "inet:fqdn") in found
    assert ("inet:dns:a", ":fqdn", "inet:fqdn") in found
    drawing = ET.fromstring(graph.svg())
    texts = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert "refs ›" in texts
    assert graph.svg() == cortex.storm(ALL).graph().svg()
    assert "<script>" not in graph._repr_html_()
    cut = cortex.storm(ALL).graph(nodes_max=2)
    assert (len(cut.nodes), cut.is_cut) == (2, True)
    assert cortex.storm("inet:asn=404").graph().svg().startswith("<svg")
