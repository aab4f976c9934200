"""Contents read as lines, rows, values and structures: by themselves, and over gRPC."""

from __future__ import annotations

import csv
import io
import json
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import msgpack
import pytest
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc, content_pb2, content_service_pb2_grpc
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.axon.content.csv_rows import ROW_SIZE_MAX, read_rows
from cellmesh.axon.content.lines import LINE_SIZE_MAX, read_lines
from cellmesh.axon.content.values import read_items, read_json_lines, unpack
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import (
    BadArg,
    BadDataValu,
    BadJsonText,
    BadMesgFormat,
    LimitExceeded,
    NoSuchFile,
    from_rpc_error,
)
from cellmesh.common.values import from_value
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(alphabet="ab\r\n\x0b\u2028\xe9\U0001f600"), st.integers(1, 7))
def test_lines_are_those_of_python_wherever_the_bytes_are_cut(text: str, step: int) -> None:
    data = text.encode()
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    assert list(read_lines(pieces)) == [
        line.rstrip("\n") for line in io.TextIOWrapper(io.BytesIO(data), "utf-8")
    ]


def test_what_is_not_utf8_is_handled_as_asked() -> None:
    data = [b"a\xffb\nc\xc3"]
    assert list(read_lines(data)) == ["ab", "c"]
    assert list(read_lines(data, "replace")) == ["a\ufffdb", "c\ufffd"]
    assert list(read_lines(data, "backslashreplace")) == ["a\\xffb", "c\\xc3"]
    with pytest.raises(BadDataValu, match="UTF-8"):
        list(read_lines(data, "strict"))


def test_a_line_has_a_bound_and_reaches_it_in_linear_time() -> None:
    piece = b"x" * 65536
    lines = read_lines([piece] * (LINE_SIZE_MAX // len(piece)) + [b"\nend"])
    assert [len(line) for line in lines] == [LINE_SIZE_MAX, 3]
    start_s = time.monotonic()
    with pytest.raises(LimitExceeded):
        list(read_lines([piece] * 1000))
    assert time.monotonic() - start_s < 5


@given(st.lists(st.lists(st.text(alphabet='ab,;"\n \t'), min_size=1, max_size=4), max_size=5))
def test_rows_that_csv_writes_are_read(rows: list[list[str]]) -> None:
    for dialect in ("excel", "excel-tab", "unix"):
        file = io.StringIO(newline="")
        csv.writer(file, dialect).writerows(rows)
        assert list(read_rows(read_lines([file.getvalue().encode()]), dialect)) == rows


def test_a_format_that_makes_no_sense_is_refused() -> None:
    for dialect, parameters in (("newp", {}), ("excel", {"delimiter": ";;"}), ("excel", {"quotechar": ""})):
        with pytest.raises(BadArg):
            list(read_rows(["a"], dialect, parameters))


def test_bad_csv_is_an_error_with_its_line() -> None:
    with pytest.raises(BadDataValu) as caught:
        list(read_rows(["a", 'a,"b"c,d'], "excel", {"strict": True}))
    assert caught.value.get("line") == 2
    with pytest.raises(BadDataValu):
        list(read_rows(["1,x"], "excel", {"quoting": csv.QUOTE_NONNUMERIC}))


def test_a_row_has_a_bound_however_many_lines_it_has() -> None:
    with pytest.raises(LimitExceeded, match="quote"):
        list(read_rows(('a,"b' if not number else '","' for number in range(ROW_SIZE_MAX)), "excel"))


def test_json_lines_skip_empty_ones_and_name_bad_ones() -> None:
    assert list(read_json_lines(['{"a": 1}', "", " [1] "])) == [{"a": 1}, [1]]
    for bad in ("bad", "[" * 100_000, "1" * 10_000):
        with pytest.raises(BadJsonText, match="line 2"):
            list(read_json_lines(["1", bad]))


def test_msgpack_items_are_bounded() -> None:
    data = b"".join(map(msgpack.packb, (1, "x", [1, {"a": b"b"}])))
    assert list(read_items([data[:3], data[3:]])) == [1, "x", (1, {"a": b"b"})]
    with pytest.raises(BadMesgFormat):
        list(read_items([data[:-1]]))
    bomb = b"\xdd\xff\xff\xff\xff" + b"\xc0" * 100_000
    with pytest.raises((LimitExceeded, BadMesgFormat)):
        list(read_items([bomb] * 1000))
    with pytest.raises((LimitExceeded, BadMesgFormat)):
        list(read_items([b"\x91" * 100_000]))


def test_structures_are_unpacked_or_refused() -> None:
    assert unpack(">HB4s", b"\x01\x02\x03abcdmore") == [258, 3, b"abcd"]
    with pytest.raises(BadDataValu):
        unpack(">Q", b"short")
    for format in ("zz", "9" * 30 + "B", "2000000B", "B" * 5000, "\ud800"):
        with pytest.raises(BadArg):
            unpack(format, b"")


class Axon:
    def __init__(self, channel: grpc.Channel) -> None:
        self.blobs = blob_service_pb2_grpc.BlobServiceStub(channel)
        self.content = content_service_pb2_grpc.ContentServiceStub(channel)

    def put(self, content: bytes) -> bytes:
        parts = [
            blob_pb2.UploadBlobRequest(data=content[start : start + 1_000_000])
            for start in range(0, max(1, len(content)), 1_000_000)
        ]
        parts[-1].last = True
        return self.blobs.UploadBlob(iter(parts)).hashes.sha256

    def lines(self, sha256: bytes, **more: Any) -> list[str]:
        request = content_pb2.ReadLinesRequest(sha256=sha256, **more)
        return [line for message in self.content.ReadLines(request) for line in message.lines]

    def rows(self, sha256: bytes, dialect: str = "", **more: Any) -> list[list[Any]]:
        request = content_pb2.ReadCsvRowsRequest(
            sha256=sha256, dialect=dialect, format=content_pb2.CsvFormat(**more)
        )
        messages = self.content.ReadCsvRows(request)
        return [[from_value(item) for item in row.items] for m in messages for row in m.rows]


@pytest.fixture
def axon(tmp_path: Path) -> Iterator[Axon]:
    flags = {"insecure": True, "listen": "127.0.0.1:0"}
    config = load_config(AxonConfig, dir=tmp_path / "axon", flags=flags, environ={})
    with running(AxonCell(config)) as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        yield Axon(channel)


def test_a_large_text_comes_in_batches(axon: Axon) -> None:
    chosen = random.Random(1)
    lines = ["x" * chosen.randrange(100) + str(number) for number in range(100_000)]
    name = axon.put("\n".join(lines).encode())
    messages = list(axon.content.ReadLines(content_pb2.ReadLinesRequest(sha256=name)))
    assert [line for message in messages for line in message.lines] == lines
    assert len(messages) < 2000


def test_reading_stops_when_the_caller_does(axon: Axon) -> None:
    name = axon.put(b"line\n" * 4_000_000)
    messages = axon.content.ReadLines(content_pb2.ReadLinesRequest(sha256=name))
    assert next(messages).lines[0] == "line"
    start_s = time.monotonic()
    messages.cancel()
    assert axon.lines(axon.put(b"next")) == ["next"]
    assert time.monotonic() - start_s < 5


def test_csv_parameters_arrive(axon: Axon) -> None:
    name = axon.put(b"1;'b;c'; 2\n")
    rows = axon.rows(
        name,
        delimiter=";",
        quote_char="'",
        skip_initial_space=True,
        quoting=content_pb2.CSV_QUOTING_NONNUMERIC,
    )
    assert rows == [[1.0, "b;c", 2.0]]
    assert axon.rows(name, quote_char="", quoting=content_pb2.CSV_QUOTING_NONE) == [["1;'b;c'; 2"]]
    assert axon.rows(axon.put(b"a\tb\n"), "excel-tab") == [["a", "b"]]


def test_values_arrive_as_they_are(axon: Axon) -> None:
    values = [{"a": [1, None, True]}, "text", 2.5]
    text = "\n".join(map(json.dumps, values)).encode()
    request = content_pb2.ReadJsonLinesRequest(sha256=axon.put(text))
    found = [from_value(item) for m in axon.content.ReadJsonLines(request) for item in m.values]
    assert found == values
    packed = b"".join(map(msgpack.packb, [*values, b"bytes"]))
    request = content_pb2.ReadMsgpackRequest(sha256=axon.put(packed))
    found = [from_value(item) for m in axon.content.ReadMsgpack(request) for item in m.values]
    assert found == [*values, b"bytes"]
    data = b"__" + struct.pack("<Hd3s", 7, 1.5, b"abc")
    request = content_pb2.UnpackBlobRequest(sha256=axon.put(data), format="<Hd3s", offset_bytes=2)
    assert [from_value(item) for item in axon.content.UnpackBlob(request).values] == [7, 1.5, b"abc"]


def test_errors_arrive_as_what_they_are(axon: Axon) -> None:
    name = axon.put(b"a\xff")
    cases = (
        (lambda: axon.lines(bytes(32)), NoSuchFile),
        (lambda: axon.lines(name, errors=content_pb2.DECODING_ERRORS_STRICT), BadDataValu),
        (lambda: axon.lines(name, errors=77), BadArg),
        (lambda: axon.lines(axon.put(b"x" * (LINE_SIZE_MAX + 1))), LimitExceeded),
        (lambda: axon.rows(name, "newp"), BadArg),
        (lambda: axon.rows(name, quoting=9), BadArg),
    )
    for call, expected in cases:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert type(from_rpc_error(caught.value)) is expected
