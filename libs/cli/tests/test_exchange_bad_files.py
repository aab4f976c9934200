"""Files of every bad kind end with a message that names the file and the place, and nothing is read without bounds."""

from __future__ import annotations

import gzip
import io
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from cellmesh.cli.exchange import json_stream, sources
from cellmesh.cli.exchange.galaxies import Galaxies
from cellmesh.cli.exchange.json_stream import JsonStream
from cellmesh.cli.exchange.links import Links
from cellmesh.cli.exchange.packed import packed_records, unpacked
from cellmesh.cli.exchange.recognise import Format, recognise
from cellmesh.cli.exchange.rows import delimiter_of, jsonl_records
from cellmesh.cli.exchange.sources import Malformed, Source, open_sources
from cellmesh.cli.exchange.stix import stix_records
from cellmesh.common.errors import BadArg
from hypothesis import given, settings
from hypothesis import strategies as st

NODE = msgpack.packb((("inet:fqdn", "a.example"), {"props": {}}))
BUNDLE: dict[str, Any] = {
    "type": "bundle",
    "id": "bundle--1",
    "objects": [
        {"type": "domain-name", "id": f"domain-name--{n}", "value": f"h{n}.example"} for n in range(50)
    ],
}


def source_of(folder: Path, content: bytes, name: str = "file") -> Source:
    path = folder / name
    path.write_bytes(content)
    (found,) = open_sources([str(path)], folder)
    return found


@pytest.fixture
def depth_of_a_program() -> Iterator[None]:
    """Calls nest as deep as in a program by itself: a Cortex in the process of the tests has set it higher."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


def parts(data: bytes, key: str = "objects") -> list[Any]:
    return list(JsonStream(io.BytesIO(data)).parts(lambda name: name == key))


def taken(items: Iterable[Any]) -> tuple[list[Any], Malformed | None]:
    """What came, and what ended it."""
    found = []
    try:
        for item in items:
            found.append(item)
    except Malformed as error:
        return found, error
    return found, None


# JSON, one item after the other.


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=4),
            max_leaves=8,
        ),
        max_size=5,
    ),
    st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_a_document_in_small_pieces_is_what_the_standard_library_reads(document: Any, size: int) -> None:
    class Dripping(io.BytesIO):
        def read(self, count: int | None = -1, /) -> bytes:
            return super().read(size)

    found: dict[str, Any] = {}
    text = json.dumps(document, ensure_ascii=False, indent=1).encode()
    for key, value, index in JsonStream(Dripping(text)).parts(lambda key: True):
        if index < 0:
            found[key] = value
        else:
            found.setdefault(key, []).append(value)
    assert found == {key: value for key, value in document.items() if value != []}


@pytest.mark.parametrize(
    "text", ["[1, 2", '{"a": 1', '{"a": "b', '{"objects": [{"a": 1}, {"b', "[tru", "[1,"]
)
def test_a_document_that_is_cut_off_is_told_as_such(text: str) -> None:
    with pytest.raises(Malformed, match="the file ends"):
        parts(text.encode())


@pytest.mark.parametrize("text", ["[1 2]", '{"a" 1}', "{a: 1}", "[1] 2", "[NaN]", "[01]", "nothing"])
def test_what_is_no_json_is_told_with_its_place(text: str) -> None:
    with pytest.raises(Malformed, match=r"character \d+"):
        parts(text.encode())


def test_bytes_that_are_no_text_are_told_with_their_place() -> None:
    with pytest.raises(Malformed, match="byte 5: no UTF-8"):
        parts(b'["abc\xe4"]')


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Malformed, match="deep"):
        parts(b'{"objects": [' + b"[" * 100_000)
    with pytest.raises(Malformed, match="deep"):
        parts(b'{"objects": [' + b"[" * 300 + b"]" * 300 + b"]}")


def test_an_endless_text_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "ITEM_SIZE_MAX", 1 << 20)

    class Endless(io.RawIOBase):
        count = 0

        def read(self, size: int = -1, /) -> bytes:
            self.count += size
            return b'["' + b"a" * size if self.count == size else b"a" * size

    stream = Endless()
    with pytest.raises(Malformed, match="more than 1,048,576 characters"):
        list(JsonStream(stream).parts(lambda key: False))  # type: ignore[arg-type]  # enough of a file
    assert stream.count < 2 << 20


# Packed nodes.


def test_packed_nodes_that_are_cut_off_are_told_with_their_place(tmp_path: Path) -> None:
    found, error = taken(packed_records(io.BytesIO(NODE + NODE[:-3]), Links(tmp_path / "links")))
    assert len(found) == 1
    assert str(error) == f"byte {len(NODE)}: the file ends within a node"


@pytest.mark.parametrize("tail", [b"\xc1", b"\x92\x92\xa3\xff\xff\xff\x80\x80", b"\x91" * 5000])
def test_what_is_no_packed_node_is_told_with_its_place(tail: bytes, tmp_path: Path) -> None:
    records, error = taken(packed_records(io.BytesIO(NODE + tail), Links(tmp_path / "links")))
    place = error.place if error else f"byte {len(NODE)}"
    assert place == f"byte {len(NODE)}"
    assert error or any(record.problems for record in records)


def test_a_length_that_no_file_keeps_takes_no_memory() -> None:
    with pytest.raises(Malformed):
        list(unpacked(io.BytesIO(b"\xdd\xff\xff\xff\xff" + b"\x01" * 100)))


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_either_values_or_malformed(data: bytes) -> None:
    found, error = taken(unpacked(io.BytesIO(data)))
    assert all(0 <= at < len(data) for at, _ in found)
    assert error is None or error.place.startswith("byte")


# Recognition.


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (NODE, Format.NODES),
        (msgpack.packb({"type": "meta", "vers": 1}) + NODE, Format.NODES),
        (json.dumps(BUNDLE).encode(), Format.STIX),
        (json.dumps({"objects": BUNDLE["objects"], "id": "x", "type": "bundle"}, indent=2).encode(), Format.STIX),
        (json.dumps(BUNDLE["objects"]).encode(), Format.STIX),
        (b'{"Event": {"uuid": "x", "Attribute": []}}', Format.MISP_EVENT),
        (b'{"response": [{"Event": {}}]}', Format.MISP_EVENT),
        (b'[{"Event": {}}]', Format.MISP_EVENT),
        (b'{"authors": ["a"], "type": "tool", "values": [{"value": "x", "uuid": "y"}]}', Format.MISP_GALAXY),
        (b'{"description": "d", "list": ["a.example"], "name": "n", "type": "string"}', Format.MISP_WARNING_LIST),
        (b'{"list": [' + b", ".join([b'"aaaaaaaa.example"'] * 9000) + b'], "type": "string"}', Format.MISP_WARNING_LIST),
        (b'{"list": [], "matching_attributes": ["url"], "name": "n", "type": "string"}', Format.MISP_WARNING_LIST),
        (b'{"authors": ["a"], "type": "tool", "uuid": "x", "values": []}', Format.MISP_GALAXY),
        (b'{"form": "inet:fqdn", "value": "a.example"}\n', Format.JSONL),
        (b'{"ip": "1.2.3.4"}\n{"ip": "1.2.3.5"}\n', Format.JSONL),
        (b'\xef\xbb\xbf{"ip": "1.2.3.4"}', Format.JSONL),
        (b'[\n {"ip": "1.2.3.4"}\n]', Format.JSON),
        (b"ip,asn\n1.2.3.4,5\n", Format.CSV),
    ],
)  # fmt: skip
def test_files_are_recognised_by_what_is_in_them(content: bytes, wanted: Format, tmp_path: Path) -> None:
    assert recognise(source_of(tmp_path, content)).format is wanted
    assert recognise(source_of(tmp_path, gzip.compress(content))).format is wanted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ip,host\n".encode("utf-16"), "UTF-16"),
        (b"\x7fELF\x00\x00\x00", "neither text nor packed nodes"),
        (b"<html></html>", "HTML or XML"),
        (b"   \n ", "nothing but spaces"),
        (b"[1, 2, 3]", "a list of something else"),
        (b"[]", "nothing in it"),
        (b'{"6b2e": {"info": "x", "Orgc": {"name": "y"}}}', "manifest of a MISP feed"),
    ],
)
def test_other_files_are_refused_with_what_they_are(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadArg, match=message):
        recognise(source_of(tmp_path, content))


def test_files_that_are_not_there_empty_or_packed_otherwise_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArg, match="is not there"):
        list(open_sources([str(tmp_path / "none")], tmp_path))
    with pytest.raises(BadArg, match="is a folder"):
        list(open_sources([str(tmp_path)], tmp_path))
    with pytest.raises(BadArg, match="is empty"):
        source_of(tmp_path, b"")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", "ip\n1.2.3.4\n")
    with pytest.raises(BadArg, match="zip archive"):
        source_of(tmp_path, packed.getvalue())


# gzip.


def test_gzip_is_unpacked_also_in_several_members_and_with_zeros_behind(tmp_path: Path) -> None:
    content = gzip.compress(b"one\n") + gzip.compress(b"two\n") + b"\0" * 10
    with source_of(tmp_path, content).open() as stream:
        assert stream.read() == b"one\ntwo\n"


def test_gzip_that_ends_early_or_is_damaged_is_told(tmp_path: Path) -> None:
    whole = gzip.compress(bytes(range(256)) * 400)
    with source_of(tmp_path, whole[:-20]).open() as stream, pytest.raises(Malformed, match="ends early"):
        stream.read()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 0xFF
    with (
        source_of(tmp_path, bytes(damaged)).open() as stream,
        pytest.raises(Malformed, match="no sound gzip"),
    ):
        stream.read()


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "INFLATED_SIZE_FREE", 1 << 20)
    source = source_of(tmp_path, gzip.compress(b"\0" * (32 << 20)))
    with source.open() as stream:
        found, error = taken(iter(lambda: stream.read(1 << 20), b""))
    assert "inflate to more than" in str(error)
    assert len(found) < 16


# Records.


def test_a_bundle_that_is_cut_off_gives_what_came_before(tmp_path: Path) -> None:
    text = json.dumps(BUNDLE).encode()
    records, error = taken(stix_records(io.BytesIO(text[: len(text) // 2]), Links(tmp_path / "links")))
    assert "the file ends within a value" in str(error)
    assert 20 < len(records) < 30


def test_bad_objects_of_a_bundle_are_problems_of_their_own(tmp_path: Path) -> None:
    objects = [
        1, {"type": "url"}, {"type": "no-such-type", "id": "no-such-type--1"}, {"type": "url", "id": "url--1"},
        {"type": "file", "id": "file--1"}, {"type": "relationship", "id": "relationship--1"},
        {"type": "ipv4-addr", "id": "ipv4-addr--1", "value": "x" * (17 << 20)},
        {"type": "relationship", "id": "r--1", "source_ref": "a--1", "target_ref": "b--1", "relationship_type": "uses"},
        {"type": "domain-name", "id": "domain-name--1", "value": "good.example"},
    ]  # fmt: skip
    text = json.dumps({"type": "bundle", "objects": objects}).encode()
    records = list(stix_records(io.BytesIO(text), Links(tmp_path / "links")))
    assert [len(record.problems) for record in records] == [1, 1, 1, 1, 1, 1, 1, 0, 0, 1]
    assert "the file has no node a--1" in records[-1].problems[0]
    assert records[8].nodes[0].value.string_value == "good.example"


def test_lines_that_are_no_json_are_rejected_one_by_one() -> None:
    text = b'{"form": "inet:fqdn", "value": "a.example"}\n{bad}\n' + b"[" * 100_000 + b"\n7\n"
    records = list(jsonl_records(io.BytesIO(text), None, []))
    assert [len(record.problems) for record in records] == [0, 1, 1, 1]
    assert [record.place for record in records] == ["line 1", "line 2", "line 3", "line 4"]
    with pytest.raises(Malformed, match="line 2: the file ends within a line"):
        list(jsonl_records(io.BytesIO(text[:48]), None, []))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2\n", ";"),
        ("a\tb\n1\t2\n", "\t"),
        ('a|b\n"x,y"|z\n', "|"),
        ("a\n1\n", ","),
    ],
)
def test_delimiters_are_found_out(text: str, wanted: str) -> None:
    assert delimiter_of(text) == wanted


# Of another kind than they should be.


def test_fields_of_stix_of_other_kinds_cost_their_object_alone(tmp_path: Path) -> None:
    odd: list[Any] = [5, "text", ["x"], {"a": 1}, None, True]
    fields = (
        "name",
        "aliases",
        "labels",
        "external_references",
        "kill_chain_phases",
        "pattern",
        "object_refs",
    )
    objects = [
        {"type": kind, "id": f"{kind}--{number}", **dict.fromkeys(fields, value)}
        for kind in (
            "malware",
            "intrusion-set",
            "attack-pattern",
            "indicator",
            "report",
            "vulnerability",
            "campaign",
        )
        for number, value in enumerate(odd)
    ]
    # Which leads to itself, and around.
    around = [
        {
            "type": "relationship",
            "id": "relationship--1",
            "source_ref": "relationship--1",
            "target_ref": "malware--1",
        },
        {"type": "report", "id": "report--9", "name": "r", "object_refs": ["report--9", "none--1"]},
    ]
    stream = io.BytesIO(json.dumps({"type": "bundle", "objects": [*objects, *around, 5, None]}).encode())
    found, error = taken(stix_records(stream, Links(tmp_path / "links")))
    assert error is None
    places = {record.place for record in found if not record.is_edge}
    assert len(places) == len(objects) + len(around) + 2
    assert any(record.nodes and record.is_edge for record in found)


def test_a_bundle_whose_objects_are_no_list_is_told() -> None:
    _, error = taken(
        stix_records(io.BytesIO(b'{"type": "bundle", "objects": {"a": 1}}'), Links(Path(":memory:")))
    )
    assert str(error) == "objects: no list"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 5000, "more than 200 deep"),
        (b"[]", "a list with nothing in it"),
        (b"ip\n1.2.3.4\n1\x00\n", "a zero byte at byte 13"),
        ("ip\n1.2.3.4\n".encode("utf-16-le"), "UTF-16 without its mark"),
        (b"\x00\x01\x02", "neither text nor packed nodes"),
    ],
)
def test_what_is_no_text_is_told_as_what_it_is(
    content: bytes, message: str, tmp_path: Path, depth_of_a_program: None
) -> None:
    with pytest.raises(BadArg) as caught:
        recognise(source_of(tmp_path, content))
    assert message in str(caught.value)


def test_clusters_of_other_kinds_cost_themselves_alone(tmp_path: Path) -> None:
    values: list[Any] = [
        {"value": {}, "uuid": []},
        {"value": "x", "uuid": "00000000-0000-4000-8000-000000000002", "meta": 5},
        {"value": "x", "uuid": "00000000-0000-4000-8000-000000000003", "related": [7]},
        {"value": "y", "uuid": "00000000-0000-4000-8000-000000000004"},
        7,
    ]
    source = source_of(tmp_path, json.dumps({"name": "Tool", "type": "tool", "values": values}).encode())
    records = list(Galaxies([source]).records(source))
    assert [record.problems[0] for record in records if record.problems] == [
        "value is no text",
        "meta is no object",
        "related is no list of objects",
        "no object",
    ]
    assert sum(bool(record.nodes) for record in records) == 1


def test_a_list_whose_first_item_is_large_is_known_all_the_same(tmp_path: Path) -> None:
    event = {"Event": {"uuid": "1", "info": "x" * 200_000}}
    assert recognise(source_of(tmp_path, json.dumps([event]).encode())).format is Format.MISP_EVENT
