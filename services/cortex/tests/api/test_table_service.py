"""TableService: what comes out as columns is what comes out as nodes, whatever the values are."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from cellmesh.api.cortex.v1 import storm_pb2, table_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.api.cortex.v1.table_service_pb2_grpc import TableServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadArg
from cellmesh.common.values import from_value
from cellmesh.cortex.api import column_layout, columns
from cellmesh.cortex.api.column_layout import fill_column
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def cortex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CellClient]:
    folder = tmp_path_factory.mktemp("cortex")
    config = load_config(CortexConfig, dir=folder, flags={"log_level": "error"}, environ={})
    with running(CortexCell(config)), open_cell(f"unix://{config.dir}/cell.sock") as cell:
        yield cell


def values_of(column: table_pb2.Column, count: int) -> list[Any]:
    """Read a column the slow way, by its description in the proto."""
    valid = [not column.validity or column.validity[i // 8] >> i % 8 & 1 for i in range(count)]
    kind = column.kind
    if kind == table_pb2.COLUMN_KIND_UNSPECIFIED:
        assert not any(valid)
        return [None] * count
    found: list[Any]
    if kind in (table_pb2.COLUMN_KIND_INT64, table_pb2.COLUMN_KIND_TIME):
        found = list(struct.unpack(f"<{count}q", column.values))
    elif kind == table_pb2.COLUMN_KIND_DOUBLE:
        found = list(struct.unpack(f"<{count}d", column.values))
    elif kind == table_pb2.COLUMN_KIND_BOOL:
        found = [bool(column.values[i // 8] >> i % 8 & 1) for i in range(count)]
    else:
        offsets = struct.unpack(f"<{count + 1}i", column.offsets)
        found = [column.values[a:b] for a, b in pairwise(offsets)]
        if kind == table_pb2.COLUMN_KIND_TEXT:
            found = [value.decode() for value in found]
        elif kind == table_pb2.COLUMN_KIND_JSON:
            found = [json.loads(value or b"null") for value in found]
    return [value if ok else None for value, ok in zip(found, valid)]


def table(
    cortex: CellClient, text: str, columns: tuple[str, ...] = (), **options: Any
) -> list[dict[str, Any]]:
    request = table_pb2.QueryColumnsRequest(
        text=text, columns=columns, options=storm_pb2.StormOptions(**options)
    )
    rows: list[dict[str, Any]] = []
    for response in cortex.stub(TableServiceStub).QueryColumns(request):
        for message in response.messages:
            assert not message.HasField("err"), message
            assert not message.HasField("node")
        for batch in response.batches:
            lists = {column.name: values_of(column, batch.row_count) for column in batch.columns}
            rows += [dict(zip(lists, row)) for row in zip(*lists.values())]
    return rows


def nodes(cortex: CellClient, text: str) -> list[storm_pb2.StormMessage]:
    stub = cortex.stub(StormServiceStub)
    return [
        m.node
        for r in stub.Storm(storm_pb2.StormRequest(text=text))
        for m in r.messages
        if m.HasField("node")
    ]


def test_columns_hold_what_the_nodes_hold(cortex: CellClient) -> None:
    nodes(cortex, "[ inet:fqdn=a.example inet:fqdn=b.example +#my.tag ]")
    nodes(cortex, "for $i in $lib.range(100) { [ inet:ipv4=$i :asn=$i ] }")
    text = "inet:fqdn inet:ipv4"
    rows = table(cortex, f"{text} | uniq")
    expected = nodes(cortex, f"{text} | uniq")
    assert len(rows) == len(expected) > 100
    for row, node in zip(rows, expected):
        assert (row["form"], row["iden"]) == (node.form, node.buid.hex())
        # Values of several kinds are text.
        assert row["value"] == str(from_value(node.value))
        found = {name: value for name, value in row.items() if name[0] in ":." and value is not None}
        props = {n if n[0] == "." else f":{n}": from_value(v) for n, v in node.props.items()}
        assert found == props
        assert row["tags"] == sorted(node.tags)


def test_wanted_columns_come_in_the_order_they_were_named(cortex: CellClient) -> None:
    nodes(cortex, "[ inet:fqdn=c.example +#other ]")
    rows = table(
        cortex,
        "inet:fqdn=c.example $mine=hello",
        ("tags", ":zone", "#other", "#absent", "$mine", ":asn", ".created", "value"),
    )
    assert list(rows[0]) == ["tags", ":zone", "#other", "#absent", "$mine", ":asn", ".created", "value"]
    assert list(rows[0].values())[:6] == [["other"], "c.example", True, False, "hello", None]


def test_a_column_of_times_says_so_unless_one_is_out_of_range(cortex: CellClient) -> None:
    request = table_pb2.QueryColumnsRequest(text="[ it:dev:str=x ]", columns=[".created"])
    (response,) = [r for r in cortex.stub(TableServiceStub).QueryColumns(request) if r.batches]
    assert response.batches[0].columns[0].kind == table_pb2.COLUMN_KIND_TIME
    column = table_pb2.Column()
    fill_column(column, [0, column_layout.TIME_MAX_MS + 1], is_time=True)
    assert column.kind == table_pb2.COLUMN_KIND_INT64


def test_repr_gives_what_people_read(cortex: CellClient) -> None:
    nodes(cortex, "[ inet:dns:a=(d.example, 1.2.3.4) ]")
    (row,) = table(cortex, "inet:dns:a=(d.example, 1.2.3.4)", ("value", ":ipv4"), repr=True)
    assert row == {"value": "(d.example, 1.2.3.4)", ":ipv4": "1.2.3.4"}


def test_many_rows_come_in_batches_and_none_is_lost(cortex: CellClient) -> None:
    count = columns.BATCH_ROWS * 2 + 7
    text = f"for $i in $lib.range({count}) {{ [ it:dev:int=$i ] }}"
    rows = table(cortex, text, ("value",))
    assert [row["value"] for row in rows] == list(range(count))


def test_a_failing_query_tells_it_and_what_came_before(cortex: CellClient) -> None:
    request = table_pb2.QueryColumnsRequest(text="[ it:dev:int=1 it:dev:int=2 ] $lib.raise(Mine, oops)")
    kinds: list[str] = []
    for response in cortex.stub(TableServiceStub).QueryColumns(request):
        kinds += [message.WhichOneof("kind") for message in response.messages]
    assert kinds == ["init", "err", "fini"]


@pytest.mark.parametrize("name", ["", "nothing", ":", "#"])
def test_what_names_no_column_is_refused(cortex: CellClient, name: str) -> None:
    with pytest.raises(BadArg) as caught:
        table(cortex, "inet:fqdn", (name,))
    assert caught.value.get("name") == "columns"


def test_an_edit_is_refused_when_readonly(cortex: CellClient) -> None:
    request = table_pb2.QueryColumnsRequest(
        text="[ it:dev:int=99 ]", options=storm_pb2.StormOptions(readonly=True)
    )
    found = [m for r in cortex.stub(TableServiceStub).QueryColumns(request) for m in r.messages]
    assert [m.err.reason for m in found if m.HasField("err")]


SCALARS = st.none() | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.text() | st.binary()


@given(st.lists(SCALARS | st.lists(st.integers() | st.text(), max_size=3), max_size=20))
def test_any_values_make_a_column_that_reads_back(values: list[Any]) -> None:
    column = table_pb2.Column(name="x")
    fill_column(column, list(values), is_time=False)
    read = values_of(column, len(values))
    kinds = {type(value) for value in values if value is not None}
    assert [value is None for value in read] == [value is None for value in values]
    if len(kinds) <= 1:
        assert read == values
    else:
        texts = [value for value in values if isinstance(value, str)]
        assert [value for value, given_ in zip(read, values) if isinstance(given_, str)] == texts
