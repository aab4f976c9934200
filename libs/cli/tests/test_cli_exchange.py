"""`cellmesh import` and `export` with a Cortex: real files in, and out and in again as the same graph."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgpack
import pytest
from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.cli.main import run
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.api import export as api_export
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

FILES = Path(__file__).parent / "files"
EXTENSIONS = """
    $lib.model.ext.addTagProp(score, (int, ({})), ({}))
    $lib.model.ext.addFormProp(inet:fqdn, _note, (str, ({})), ({}))
"""
EVERYTHING = ".created"


@contextmanager
def cortex_in(folder: Path) -> Iterator[CellClient]:
    config = load_config(CortexConfig, dir=folder, flags={"log_level": "error"}, environ={})
    with running(CortexCell(config)), open_cell(f"unix://{config.dir}/cell.sock") as cell:
        storm(cell, EXTENSIONS)
        yield cell


class Cell:
    """A Cortex, and the command line with it."""

    def __init__(self, client: CellClient, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.client = client
        self.folder = folder
        self.capsys = capsys

    def cellmesh(self, command: str, *arguments: object, code: int = 0) -> str:
        """Run `cellmesh import` or `export`; returns what it printed."""
        self.capsys.readouterr()
        given = [command, "--dir", str(self.folder), *map(str, arguments)]
        if command == "import":
            given += ["--state", str(self.folder / "state"), "--rejects", str(self.folder / "rejects.jsonl")]
        found = run(given)
        out, err = self.capsys.readouterr()
        assert found == code, out + err
        return out + err if code else out

    def imported(self, *arguments: object) -> dict[str, Any]:
        """Import one file; returns what was done."""
        found: dict[str, Any] = json.loads(self.cellmesh("import", "--json", *arguments))
        return found

    def rejects(self) -> list[dict[str, str]]:
        path = self.folder / "rejects.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def count(self, text: str) -> int:
        return storm(self.client, text)

    def exported(self, query: str, kind: str, *arguments: object) -> bytes:
        path = self.folder / f"out.{kind}"
        self.cellmesh("export", query, "--format", kind, "-o", path, "--quiet", *arguments)
        return path.read_bytes()

    def graph(self) -> dict[str, Any]:
        """Everything in the Cortex, by iden; but when it was made there."""
        rows = [json.loads(line) for line in self.exported(EVERYTHING, "jsonl").splitlines()]
        for row in rows:
            row["props"].pop(".created")
            row["edges"].sort(key=json.dumps)
        return {row["iden"]: row for row in rows}

    def wipe(self) -> None:
        """Delete all nodes, tags of the data model among them."""
        for query in (f"{EVERYTHING} | delnode --force", f"{EVERYTHING} | delnode --force"):
            storm(self.client, query)
        assert storm(self.client, EVERYTHING) == 0


def storm(client: CellClient, text: str) -> int:
    return int(client.stub(StormServiceStub).CountStorm(storm_pb2.CountStormRequest(text=text)).count)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CellClient, Path]]:
    folder = tmp_path_factory.mktemp("exchange") / "cortex"
    with ExitStack() as stack:
        yield stack.enter_context(cortex_in(folder)), folder


@pytest.fixture
def cell(cells: tuple[CellClient, Path], capsys: pytest.CaptureFixture[str]) -> Cell:
    """An empty Cortex."""
    client, folder = cells
    made = Cell(client, folder, capsys)
    made.wipe()
    (folder / "rejects.jsonl").unlink(missing_ok=True)
    return made


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    if not isinstance(content, (str, bytes)):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Packed nodes of the peer.


def test_nodes_of_the_peer_come_whole_and_twice_changes_nothing(cell: Cell) -> None:
    with (FILES / "peer.nodes").open("rb") as stream:
        nodes = list(msgpack.Unpacker(stream, raw=False))
    done = cell.imported(FILES / "peer.nodes")
    assert (done["format"], done["records"], done["rejects"]) == ("packed nodes", len(nodes), 0)
    graph = cell.graph()
    for (form, value), facts in nodes:
        found = graph[facts["iden"]]
        assert (found["form"], found["value"]) == (form, value)
        assert found["props"] == {name: item for name, item in facts["props"].items() if name != ".created"}
        tags = {name: None if times == [None, None] else times for name, times in facts["tags"].items()}
        assert found["tags"] == tags
        assert found["tag_props"] == facts["tagprops"]
        assert found["node_data"] == facts["nodedata"]
        edges = [(edge["verb"], edge["form"]) for edge in found["edges"]]
        by_iden = {other[1]["iden"]: other[0][0] for other in nodes}
        assert sorted(edges) == sorted((verb, by_iden[iden]) for verb, iden in facts.get("edges") or ())
    assert cell.imported(FILES / "peer.nodes")["edits"] == 0


TYPES_MODEL = """
$lib.model.ext.addTagProp(score, (int, ({})), ({}))
$lib.model.ext.addTagProp(when, (time, ({})), ({}))
$lib.model.ext.addTagProp(span, (ival, ({})), ({}))
$lib.model.ext.addTagProp(note, (str, ({"lower": true})), ({}))
$lib.model.ext.addFormProp(inet:fqdn, _risk, (int, ({})), ({}))
$lib.model.ext.addFormProp(inet:fqdn, _seen:by, (array, ({"type": "str"})), ({}))
$lib.model.ext.addFormProp(inet:ipv4, _owner, (ou:name, ({})), ({}))
$lib.model.ext.addFormProp(ou:org, _ref, (ndef, ({})), ({}))
$lib.model.ext.addUnivProp(_batch, (guid, ({})), ({}))
$lib.model.ext.addForm(_acme:widget, str, ({"lower": true}), ({}))
$lib.model.ext.addFormProp(_acme:widget, size, (int, ({})), ({}))
$lib.model.ext.addFormProp(_acme:widget, price, (econ:price, ({})), ({}))
$lib.model.ext.addEdge(*, _likes, *, ({}))
$lib.model.ext.addEdge(inet:fqdn, _feeds, _acme:widget, ({}))
"""
"""The extensions of the data model that `peer-types.nodes.gz` was made with."""


def test_values_of_a_hundred_forms_come_from_the_peer_and_go_back_as_they_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cortex"
    config = load_config(CortexConfig, dir=folder, flags={"log_level": "error"}, environ={})
    with gzip.open(FILES / "peer-types.nodes.gz") as stream:
        given = list(msgpack.Unpacker(stream, raw=False))
    with running(CortexCell(config)), open_cell(f"unix://{config.dir}/cell.sock") as client:
        storm(client, TYPES_MODEL)
        cell = Cell(client, folder, capsys)
        done = cell.imported(FILES / "peer-types.nodes.gz")
        assert (done["records"], done["rejects"], done["nodes_made"]) == (len(given), 0, len(given))
        written = list(msgpack.Unpacker(io.BytesIO(cell.exported(EVERYTHING, "nodes")), raw=False))
    there = {facts["iden"]: (form, value, facts) for (form, value), facts in written}
    assert len({form for (form, _), _ in given}) > 100
    for (form, value), facts in given:
        found_form, found_value, found = there.pop(facts["iden"])
        assert (found_form, found_value) == (form, value)
        facts["props"].pop(".created")
        found["props"].pop(".created")
        for part in ("props", "tags", "tagprops", "nodedata"):
            assert found[part] == facts[part], (form, value)
        edges = sorted(map(tuple, facts.get("edges", ())))
        assert sorted(map(tuple, found.get("edges", ()))) == edges, (form, value)
    assert not there


@pytest.mark.parametrize("kind", ["nodes", "jsonl"])
def test_an_export_that_is_imported_elsewhere_is_the_same_graph(cell: Cell, kind: str) -> None:
    cell.imported(FILES / "peer.nodes")
    before = cell.graph()
    write(cell.folder, f"kept.{kind}.gz", gzip.compress(cell.exported(EVERYTHING, kind)))
    cell.wipe()
    done = cell.imported(cell.folder / f"kept.{kind}.gz")
    assert done["rejects"] == 0
    assert cell.graph() == before


def test_what_this_model_does_not_have_is_left_out_alone_and_told(cell: Cell, tmp_path: Path) -> None:
    facts = {
        "props": {"asn": 7, "_unknown": 1, "loc": "nl"},
        "tags": {"a.b": [None, None]},
        "tagprops": {"a.b": {"x": 1}},
    }
    first = msgpack.packb((("inet:ipv4", 7), facts))
    path = write(tmp_path, "new.nodes", first + msgpack.packb((("no:form", 1), {})))
    assert cell.imported(path)["rejects"] == 3
    assert cell.count("inet:ipv4=0.0.0.7 +:asn=7 +:loc=nl +#a.b") == 1
    assert {row["place"] for row in cell.rejects()} == {
        "node 1 at byte 0",
        f"node 2 at byte {len(first)}",
    }


# Other formats in.


def test_a_bundle_of_attack_becomes_nodes_and_edges(cell: Cell, tmp_path: Path) -> None:
    def reference(number: str) -> list[dict[str, str]]:
        return [
            {
                "source_name": "mitre-attack",
                "external_id": number,
                "url": f"https://attack.mitre.org/{number}",
            }
        ]

    group, tool = "0d5a3b7e-53c8-4a6f-8d5a-3f1b8f6f6a01", "0d5a3b7e-53c8-4a6f-8d5a-3f1b8f6f6a02"
    objects = [
        {"type": "relationship", "id": "relationship--1", "relationship_type": "uses",
         "source_ref": f"intrusion-set--{group}", "target_ref": f"malware--{tool}"},
        {"type": "relationship", "id": "relationship--2", "relationship_type": "uses",
         "source_ref": f"malware--{tool}", "target_ref": "attack-pattern--x"},
        {"type": "intrusion-set", "id": f"intrusion-set--{group}", "name": "Night Owl", "aliases": ["Night Owl", "Strix"],
         "external_references": reference("G0999"), "revoked": True},
        {"type": "malware", "id": f"malware--{tool}", "name": "Hoot", "external_references": reference("S0999")},
        {"type": "attack-pattern", "id": "attack-pattern--x", "name": "Phishing", "external_references": reference("T1566.001"),
         "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": "initial-access"},
                               {"kill_chain_name": "mitre-attack", "phase_name": "of later times"}]},
        {"type": "x-mitre-analytic", "id": "x-mitre-analytic--1", "name": "Analytic 1",
         "x_mitre_log_source_references": [{"x_mitre_data_component_ref": "x-mitre-data-component--1"}] * 2},
        {"type": "x-mitre-data-component", "id": "x-mitre-data-component--1", "name": "DNS"},
        {"type": "x-mitre-tactic", "id": "x-mitre-tactic--1", "name": "Access", "external_references": reference("TA0001")},
        {"type": "marking-definition", "id": "marking-definition--1"},
        {"type": "indicator", "id": "indicator--1", "name": "bad", "pattern_type": "stix", "created": "2020-01-02T03:04:05.000Z",
         "pattern": "[domain-name:value = 'evil.example' OR file:hashes.'SHA-256' = '" + "a" * 64 + "']"},
        {"type": "report", "id": "report--1", "name": "Owls", "object_refs": [f"malware--{tool}", "file--1"]},
        {"type": "file", "id": "file--1", "hashes": {"MD5": "d41d8cd98f00b204e9800998ecf8427e"}, "name": "hoot.exe"},
    ]  # fmt: skip
    path = write(tmp_path, "bundle.json", {"type": "bundle", "id": "bundle--1", "objects": objects})
    done = cell.imported(path, "--tag", "case.owl")
    assert [row["error"] for row in cell.rejects()] == ["marking-definition stands for no node"]
    assert (done["records"], done["edges"]) == (12, 5)
    assert (
        cell.count(
            "risk:threat:org:name='night owl' +#stix.revoked +#case.owl -(uses)> risk:tool:software:id=S0999"
        )
        == 1
    )
    assert cell.count("risk:tool:software -(uses)> it:mitre:attack:technique=T1566.001") == 1
    assert cell.count("it:mitre:attack:technique:parent=T1566 +:matrix=enterprise +:tactics*[=TA0001]") == 1
    assert cell.count("meta:rule:type=mitre.analytic -(uses)> it:mitre:attack:data:component") == 1
    assert cell.count("it:sec:stix:indicator -(refs)> *") == 2
    assert cell.count("media:news:title=owls -(refs)> file:bytes:name=hoot.exe") == 1
    assert cell.imported(path, "--tag", "case.owl")["edits"] == 0


def test_an_event_of_misp_becomes_a_report_with_what_it_refers_to(cell: Cell, tmp_path: Path) -> None:
    attributes = [
        {
            "type": "ip-dst",
            "value": "203.0.113.7",
            "to_ids": True,
            "Tag": [{"name": 'misp-galaxy:tool="Mimikatz"'}],
        },
        {"type": "domain|ip", "value": "evil.example|203.0.113.8"},
        {"type": "filename|md5", "value": "a.exe|d41d8cd98f00b204e9800998ecf8427e"},
        {"type": "ip-dst|port", "value": "203.0.113.9|443"},
        {"type": "no-such-type", "value": "x"},
        {"type": "md5", "value": "no hash"},
    ]
    event = {"uuid": "5c0e2f8a-0000-4000-8000-000000000001", "info": "Owls", "date": "2026-01-02",
             "Orgc": {"name": "CERT"}, "Tag": [{"name": "tlp:amber"}], "Attribute": attributes,
             "Object": [{"name": "email", "Attribute": [{"type": "email-src", "value": "a@evil.example"}]}]}  # fmt: skip
    done = cell.imported(write(tmp_path, "event.json", {"response": [{"Event": event}]}))
    assert (done["records"], done["rejects"]) == (8, 2)
    assert cell.count("media:news:title=owls +:publisher:name=cert +#misp.tlp.amber -(refs)> *") == 7
    assert cell.count("inet:ipv4=203.0.113.7 +#misp.misp_galaxy.tool.mimikatz +#misp.ids") == 1
    assert [row["place"].split(" ", 2)[2] for row in cell.rejects()] == [
        "(5c0e2f8a-0000-4000-8000-000000000001) Attribute[4]",
        "(5c0e2f8a-0000-4000-8000-000000000001) Attribute[5]",
    ]


@pytest.mark.parametrize(
    ("kind", "entries", "query", "count"),
    [
        ("cidr", ["192.0.2.0/24", "192.0.2.9/32", "2001:db8::/32", "2001:db8::1"], "meta:source -(seen)> *", 4),
        ("hostname", ["a.example", ".b.example"], "inet:fqdn#misp.warninglist.my_list", 2),
        ("string", ["d41d8cd98f00b204e9800998ecf8427e", "c.example", "192.0.2.1", "u@d.example"], "#misp.warninglist", 4),
        ("regex", ["/a.*b/"], "#misp.warninglist", 0),
        ("string", ["AAA", "xn--p1ai", "a_b"], "inet:fqdn#misp.warninglist", 3),
    ],
)  # fmt: skip
def test_warning_lists_become_what_their_entries_are(
    cell: Cell, tmp_path: Path, kind: str, entries: list[str], query: str, count: int
) -> None:
    body = {
        "description": "d",
        "list": entries,
        "matching_attributes": ["email-src", "domain"],
        "name": "My list",
        "type": kind,
    }
    done = cell.imported(write(tmp_path, "list.json", body))
    assert cell.count(query) == count
    assert done["rejects"] == len(entries) - count


def test_galaxies_of_several_files_refer_to_each_other(cell: Cell, tmp_path: Path) -> None:
    actor, tool = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
    related = [
        {"dest-uuid": tool, "type": "uses"},
        {"dest-uuid": "00000000-0000-4000-8000-00000000dead", "type": "uses"},
    ]
    first = write(tmp_path, "one.json", {"name": "Threat Actor", "type": "threat-actor", "values": [
        {"value": "Night Owl", "uuid": actor, "related": related, "meta": {"refs": ["https://a.example/x"]}}, {"uuid": "x"}]})  # fmt: skip
    second = write(
        tmp_path, "two.json", {"name": "Tool", "type": "tool", "values": [{"value": "Hoot", "uuid": tool}]}
    )
    cell.cellmesh("import", first, second)
    assert cell.count("risk:threat:org:name='night owl' -(uses)> risk:tool:software:soft:name=hoot") == 1
    assert cell.count("risk:threat -(refs)> inet:url") == 1
    assert [row["place"].split()[0] for row in cell.rejects()] == ["values[0]", "values[1]"]
    told = cell.cellmesh("import", first, second).splitlines()
    assert [line.split(":")[0] for line in told if not line.startswith(" ")] == [
        str(first),
        str(second),
        "2 files",
        f"what was rejected, and why, stands in {cell.folder / 'rejects.jsonl'}",
    ]


def test_a_url_that_is_none_costs_its_edge_and_not_the_node(cell: Cell, tmp_path: Path) -> None:
    refs = ["https://a.example:/x", "https://a.example/y"]
    values = [{"value": "Hoot", "uuid": "00000000-0000-4000-8000-000000000002", "meta": {"refs": refs}}]
    cell.imported(write(tmp_path, "one.json", {"name": "Tool", "type": "tool", "values": values}))
    assert cell.count("risk:tool:software:soft:name=hoot -(refs)> inet:url") == 1
    (reject,) = cell.rejects()
    assert reject["error"].endswith("imported without the edge -(refs)> inet:url=https://a.example:/x")


def test_csv_is_mapped_by_its_header_or_as_told(cell: Cell, tmp_path: Path) -> None:
    named = write(
        tmp_path, "named.csv", "IP Address;Domain;note\n192.0.2.1;a.example;x\n2001:db8::1;;y\n;;\n"
    )
    assert cell.imported(named)["accepted"] == 3
    told = write(
        tmp_path,
        "told.csv",
        "host,addr,as,kind\nb.example,192.0.2.2,64500,Bad Actor\nc.example,nonsense,1,x\nshort\n",
    )
    maps = [
        "host=inet:fqdn",
        "addr=inet:ipv4",
        "as=inet:ipv4:asn",
        "kind=#case",
        "host=inet:dns:a:fqdn",
        "addr=inet:dns:a:ipv4",
    ]
    cell.imported(told, *(part for text in maps for part in ("--map", text)))
    assert cell.count("inet:ipv4:asn=64500 +#case.bad_actor") == 1
    assert cell.count("inet:dns:a=(b.example, 192.0.2.2)") == 1
    assert sorted({row["place"] for row in cell.rejects()}) == ["line 3", "line 4"]
    bare = write(tmp_path, "bare.txt", "192.0.2.7\n192.0.2.8\n")
    assert cell.imported(bare, "--map", "1=inet:ipv4")["nodes_made"] >= 2


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([], "no column is known by its name"),
        (["nope=inet:ipv4"], "there is no column 'nope'"),
        (["a=no:form"], "the model has no form or property no:form"),
        (["a=inet:ipv4:nope"], "inet:ipv4 has no property nope"),
        (["a=inet:ipv4:asn"], "no column to inet:ipv4 itself"),
        (["a"], "--map is COLUMN=FORM"),
    ],
)
def test_mappings_that_cannot_be_are_told(cell: Cell, tmp_path: Path, maps: list[str], message: str) -> None:
    path = write(tmp_path, "a.csv", "a,b\n1,2\n")
    told = cell.cellmesh("import", path, *(part for text in maps for part in ("--map", text)), code=1)
    assert message in told


def test_a_text_of_no_known_kind_is_refused_before_anything_is_imported(cell: Cell, tmp_path: Path) -> None:
    known = write(tmp_path, "known.csv", "fqdn\nbefore.prose.example\n")
    prose = write(
        tmp_path,
        "README.md",
        "# A title\n\nThis is a line, and a long one of a text that tells much.\n\nEnd\n",
    )
    told = cell.cellmesh("import", known, prose, code=1)
    assert "README.md: it is of no known kind" in told
    assert "It begins with: # A title: a list" in told
    assert cell.count("inet:fqdn=before.prose.example") == 0
    table = write(
        tmp_path, "wide.csv", ",".join(f"c{n}" * 30 for n in range(20)) + "\n" + ",".join("x" * 20) + "\n"
    )
    told = cell.cellmesh("import", known, table, code=1)
    assert "wide.csv: no column is known by its name (there are: c0c0" in told
    assert "10 more)" in told
    assert len(told) < 800
    assert cell.count("inet:fqdn=before.prose.example") == 0
    assert "is JSON of no kind that is known" in cell.cellmesh(
        "import", known, write(tmp_path, "a.jsonl", '{"a": 1}\n'), code=1
    )
    assert cell.count("inet:fqdn=before.prose.example") == 0


def test_objects_are_mapped_by_paths_of_their_fields(cell: Cell, tmp_path: Path) -> None:
    rows = [
        {"net": {"ip": f"192.0.2.{n}", "as": n}, "hosts": ["a.example", "b.example"]} for n in range(1, 4)
    ]
    maps = ("--map", "net.ip=inet:ipv4", "--map", "net.as=inet:ipv4:asn", "--map", "hosts=inet:fqdn")
    for name, text in (("a.jsonl", "\n".join(map(json.dumps, rows))), ("a.json", json.dumps(rows))):
        cell.imported(write(tmp_path, name, text), *maps)
        assert cell.count("inet:ipv4:asn=2 inet:fqdn=b.example") == 2
        cell.wipe()
    assert "of no kind that is known" in cell.cellmesh("import", tmp_path / "a.jsonl", code=1)


def test_messages_of_a_query_can_be_imported(
    cell: Cell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell.count("[ inet:fqdn=a.example +#x ]")
    capsys.readouterr()
    assert run(["storm", "--dir", str(cell.folder), "--jsonl", "inet:fqdn"]) == 0
    path = write(tmp_path, "messages.jsonl", capsys.readouterr().out)
    cell.wipe()
    cell.imported(path)
    assert cell.count("inet:fqdn=a.example +#x") == 1


# How.


def test_a_dry_run_shows_what_would_come_and_changes_nothing(cell: Cell) -> None:
    told = cell.cellmesh("import", "--dry-run", FILES / "peer.nodes")
    assert "inet:fqdn" in told
    assert "edges: refs 2, uses 1" in told
    assert cell.count(EVERYTHING) == 0


def test_standard_input_is_taken(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BytesIO(b"ip\n192.0.2.1\n"))
    monkeypatch.setattr(sys, "stdin", text)
    cell.imported("-")
    assert cell.count("inet:ipv4=192.0.2.1") == 1


def test_a_file_that_is_cut_off_says_what_was_imported(cell: Cell, tmp_path: Path) -> None:
    data = (FILES / "peer.nodes").read_bytes()
    path = write(tmp_path, "cut.nodes", data[: len(data) // 2])
    told = cell.cellmesh("import", path, code=1)
    assert f"ERROR: {path}, byte" in told
    assert "the file ends within a node" in told
    assert "records before that are imported" in told
    assert cell.count(EVERYTHING) > 5


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (b"192.0.2.2,Caf\xe9\n", "line 3, byte 14: no UTF-8"),
        (b'192.0.2.2,"open\nx,y\n', "lines 3 to 4: no CSV"),
    ],
)
def test_lines_before_a_bad_one_are_imported(cell: Cell, tmp_path: Path, tail: bytes, message: str) -> None:
    told = cell.cellmesh("import", write(tmp_path, "bad.csv", b"ip,owner\n192.0.2.1,x\n" + tail), code=1)
    assert message in told
    assert cell.count("inet:ipv4=192.0.2.1") == 1


def test_nothing_is_imported_when_one_of_the_files_is_no_such_file(cell: Cell, tmp_path: Path) -> None:
    told = cell.cellmesh("import", FILES / "peer.nodes", write(tmp_path, "x", b"\x00\x01\x02"), code=1)
    assert "neither text nor packed nodes" in told
    assert cell.count(EVERYTHING) == 0


def test_a_view_can_be_named(cell: Cell, tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "ip\n192.0.2.1\n")
    view = str(
        cell.client.stub(StormServiceStub)
        .CallStorm(storm_pb2.CallStormRequest(text="return($lib.view.get().fork(name=draft).iden)"))
        .value.string_value
    )
    cell.imported(path, "--view", view)
    assert cell.count("inet:ipv4") == 0
    for name in (view, view[:12], "draft"):
        assert len(cell.exported("inet:ipv4", "jsonl", "--view", name).splitlines()) == 1
        assert cell.cellmesh("storm", "inet:ipv4", "--view", name, "--count") == "1\n"
    assert cell.cellmesh("storm", "inet:ipv4", "--view", "default", "--count") == "0\n"
    cell.imported(write(tmp_path, "b.csv", "ip\n192.0.2.2\n"), "--view", "draft")
    assert cell.cellmesh("storm", "inet:ipv4", "--view", "draft", "--count") == "2\n"
    for command in (("storm", "inet:ipv4"), ("export", "inet:ipv4"), ("import", path)):
        told = cell.cellmesh(*command, "--view", "drafts", code=1)
        assert "no view that you may read is named drafts" in told
        assert "draft" in told


def test_a_file_that_cannot_be_made_is_told_by_its_own_name(cell: Cell, tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "x.nodes"
    told = cell.cellmesh("export", "inet:ipv4", "-o", target, code=1)
    assert f"{target}: No such file or directory" in told


# Other formats out.


def test_exports_for_other_tools(cell: Cell) -> None:
    cell.imported(FILES / "peer.nodes")
    graph = ElementTree.fromstring(cell.exported(EVERYTHING, "graphml"))
    space = "{http://graphml.graphdrawing.org/xmlns}"
    assert len(list(graph.iter(f"{space}node"))) == cell.count(EVERYTHING)
    assert len(list(graph.iter(f"{space}edge"))) == 3
    dot = cell.exported(EVERYTHING, "dot", "--no-embed").decode()
    assert dot.startswith("digraph")
    assert "->" not in dot
    rows = cell.exported("inet:ipv4:asn", "csv", "--column", "asn", "--column", "loc").decode().splitlines()
    assert rows == ["form,value,tags,asn,loc", "inet:ipv4,203.0.113.7,,64500,nl"]
    bundle = json.loads(cell.exported(EVERYTHING, "stix"))
    kinds = [item["type"] for item in bundle["objects"]]
    assert bundle["type"] == "bundle"
    assert kinds.count("relationship") == 1
    report = next(item for item in bundle["objects"] if item["type"] == "report")
    assert len(report["object_refs"]) == 2


def test_a_bundle_that_was_exported_is_imported_as_the_same_nodes(cell: Cell, tmp_path: Path) -> None:
    cell.count("[ risk:threat=(a, b) :org:name=owl :desc=hoots +(uses)> { [ inet:fqdn=a.example ] } ]")
    path = write(tmp_path, "out.json", cell.exported(EVERYTHING, "stix"))
    before = cell.graph()
    cell.imported(path)
    after = cell.graph()
    changed = {row["form"] for iden, row in before.items() if after[iden] != row}
    assert changed <= {"risk:threat"}
    assert cell.count("risk:threat -(uses)> inet:fqdn=a.example") == 1
    assert cell.count("risk:threat") == 1


def test_a_query_that_fails_leaves_no_file(cell: Cell) -> None:
    path = cell.folder / "never.nodes"
    told = cell.cellmesh("export", "inet:fqdn +(", "-o", path, code=1)
    assert "^" in told
    assert not path.exists()
    assert not list(cell.folder.glob(".never*"))


# Last, since what it makes would have to be deleted before the next one.


def test_an_import_that_was_killed_goes_on_where_it_was(cell: Cell, tmp_path: Path) -> None:
    count = 15_000
    rows = "".join(f"10.0.{n // 256}.{n % 256},{n}\n" for n in range(count))
    first = write(tmp_path, "few.csv", "ip,as\n192.0.2.1,1\n")
    path = write(tmp_path, "many.csv", "ip,as\nnone,0\n" + rows)
    state = tmp_path / "state"
    given = ["import", "--dir", cell.folder, first, path, "--rejects", tmp_path / "bad.jsonl", "--map", "ip=inet:ipv4", "--map", "as=inet:ipv4:asn",
             "--batch", 50, "--state", state, "--quiet"]  # fmt: skip
    arguments = [str(part) for part in given]
    program = [sys.executable, "-c", "from cellmesh.cli.main import main; main()", *arguments]
    process = subprocess.Popen(program, cwd=tmp_path, env={**os.environ}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while (
        not any("many.csv" in note.read_text() for note in state.glob("[0-9a-f]*.json"))
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it was done before it could be killed"
    # What could not be used of what will not be read again is told already.
    assert "inet:ipv4=none" in (tmp_path / "bad.jsonl").read_text()
    cell.capsys.readouterr()
    assert run([*arguments, "--resume", "--json"]) == 0
    before, done = map(json.loads, cell.capsys.readouterr().out.splitlines())
    assert (before["done_before"], before["records"]) == (True, 0)
    assert 0 < done["resumed_at"] < count
    assert done["records"] == count + 1 - done["resumed_at"]
    assert cell.count("inet:ipv4:asn") == count + 1
    assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 1
    assert not list(state.glob("*.json"))


def test_a_node_with_many_edges_is_one_node_in_each_format(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell.count("[ ou:name=hub ]")
    cell.count("for $i in $lib.range(7) { [ inet:ipv4=$i <(refs)+ { ou:name=hub } ] }")
    whole = {kind: cell.exported(EVERYTHING, kind) for kind in ("csv", "dot", "graphml")}
    bundle = json.loads(cell.exported(EVERYTHING, "stix"))
    monkeypatch.setattr(api_export, "EDGES_A_PART_MAX", 2)
    for kind, content in whole.items():
        assert sorted(cell.exported(EVERYTHING, kind).splitlines()) == sorted(content.splitlines())
    assert len(json.loads(cell.exported(EVERYTHING, "stix"))["objects"]) == len(bundle["objects"])
    for kind in ("nodes", "jsonl"):
        kept = write(cell.folder, f"kept.{kind}", cell.exported(EVERYTHING, kind))
        cell.wipe()
        cell.imported(kept)
        assert cell.count("ou:name=hub -(refs)> inet:ipv4") == 7
