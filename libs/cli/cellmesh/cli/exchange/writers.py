"""Exported nodes -> nodes, jsonl, csv, stix: one node after the other."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

import msgpack
from cellmesh.api.cortex.v1 import export_pb2, node_pb2
from cellmesh.cli.output import plain, value_text
from cellmesh.common.time.parse import print_time
from cellmesh.common.values import from_value


class Writer(Protocol):
    """Makes the bytes of a file."""

    def begin(self) -> bytes:
        """What stands before the first node."""

    def node(self, exported: export_pb2.ExportedNode) -> bytes:
        """What stands for a node; empty if the format has nothing for it."""

    def end(self) -> Iterator[bytes]:
        """What stands behind the last node."""


class PackedWriter:
    """`.nodes`: packed nodes in msgpack, which Cortexes of the peer take as well."""

    def __init__(self) -> None:
        self._packer = msgpack.Packer(use_bin_type=True, default=str, unicode_errors="surrogatepass")

    def begin(self) -> bytes:
        return b""

    def node(self, exported: export_pb2.ExportedNode) -> bytes:
        node = exported.node
        facts: dict[str, Any] = {
            "iden": node.buid.hex(),
            "props": {name: from_value(value) for name, value in sorted(node.props.items())},
            "tags": {
                name: (tag.interval.min, tag.interval.max) if tag.HasField("interval") else (None, None)
                for name, tag in sorted(node.tags.items())
            },
            "tagprops": {
                tag: {name: from_value(value) for name, value in sorted(given.props.items())}
                for tag, given in sorted(node.tag_props.items())
            },
            "nodedata": {name: from_value(value) for name, value in sorted(exported.node_data.items())},
            "path": {},
        }
        if exported.edges:
            facts["edges"] = [(edge.verb, edge.buid.hex()) for edge in exported.edges]
        packed: bytes = self._packer.pack(((node.form, from_value(node.value)), facts))
        return packed

    def end(self) -> Iterator[bytes]:
        return iter(())


class JsonlWriter:
    """JSON Lines: a node a line, with edges and data."""

    def begin(self) -> bytes:
        return b""

    def node(self, exported: export_pb2.ExportedNode) -> bytes:
        from cellmesh.cli.commands.storm import node_fields

        row = node_fields(exported.node)
        row["node_data"] = {
            name: plain(from_value(value)) for name, value in sorted(exported.node_data.items())
        }
        row["edges"] = [
            {"verb": edge.verb, "form": edge.form, "value": plain(from_value(edge.value))}
            for edge in exported.edges
        ]
        return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"

    def end(self) -> Iterator[bytes]:
        return iter(())


class CsvWriter:
    """CSV: form, value, tags, and a column for each property asked for, or all in one as JSON.

    Args:
        columns: Properties by relative name; empty for one column with all of them.
    """

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._columns = columns

    def begin(self) -> bytes:
        return _csv_line(["form", "value", "tags", *(self._columns or ("props",))])

    def node(self, exported: export_pb2.ExportedNode) -> bytes:
        if exported.continues:
            return b""
        node = exported.node
        if self._columns:
            cells = [
                value_text(from_value(node.props[name])) if name in node.props else ""
                for name in self._columns
            ]
        else:
            props = {name: plain(from_value(value)) for name, value in sorted(node.props.items())}
            cells = [json.dumps(props, ensure_ascii=False)]
        return _csv_line([node.form, _text(node), " ".join(sorted(node.tags)), *cells])

    def end(self) -> Iterator[bytes]:
        return iter(())


def _text(node: node_pb2.Node) -> str:
    """The value of a node as people and other tools read it."""
    return node.repr.value or value_text(from_value(node.value))


def _csv_line(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8", "surrogatepass")


STIX_NAMESPACE: Final = "00abedb4-aa42-466c-9c01-fed23315a9b7"
"""The namespace of observables' ids in STIX 2.1."""


class StixWriter:
    """A STIX 2.1 bundle: what has a type there, and edges between such nodes as relationships.

    `$lib.stix.export` makes bundles by rules of one's own; this one has what needs none.
    """

    def __init__(self) -> None:
        self._count = 0
        self.left_out = 0
        self._ids: dict[bytes, str] = {}
        self._edges: list[tuple[bytes, str, bytes, int]] = []
        self._reports: list[tuple[bytes, dict[str, Any]]] = []

    def begin(self) -> bytes:
        return f'{{"type": "bundle", "id": "bundle--{_random_uuid()}", "objects": ['.encode()

    def node(self, exported: export_pb2.ExportedNode) -> bytes:
        node = exported.node
        if exported.continues:
            if node.buid in self._ids:
                made_ms = self._edges[-1][3]
                self._edges += [(node.buid, edge.verb, edge.buid, made_ms) for edge in exported.edges]
            return b""
        make = _STIX.get(node.form)
        if make is None:
            self.left_out += 1
            return b""
        props = {name: from_value(value) for name, value in node.props.items()}
        kind, fields = make(_text(node), props)
        made_ms = int(props.get(".created") or 0)
        is_observable = "value" in fields or kind in ("autonomous-system", "file")
        iden = f"{kind}--{_uuid_of(node, is_observable)}"
        known = {"type": kind, "spec_version": "2.1", "id": iden}
        if not is_observable:
            known |= {"created": _time(made_ms), "modified": _time(made_ms)}
        known |= {name: value for name, value in fields.items() if value not in (None, "", [], {})}
        self._ids[node.buid] = iden
        self._edges += [(node.buid, edge.verb, edge.buid, made_ms) for edge in exported.edges]
        if kind == "report":
            # It names its objects, which may come later.
            self._reports.append((node.buid, known))
            return b""
        return self._object(known)

    def _object(self, fields: Mapping[str, Any]) -> bytes:
        mark = ",\n" if self._count else "\n"
        self._count += 1
        return f"{mark}{json.dumps(fields, ensure_ascii=False)}".encode("utf-8", "surrogatepass")

    def end(self) -> Iterator[bytes]:
        import uuid

        referred: dict[bytes, list[str]] = {}
        for source, verb, target, _ in self._edges:
            if verb == "refs" and target in self._ids:
                referred.setdefault(source, []).append(self._ids[target])
        for buid, known in self._reports:
            yield self._object({**known, "object_refs": referred.get(buid, [])})
        reports = {buid for buid, _ in self._reports}
        for source, verb, target, made_ms in self._edges:
            if verb == "refs" and source in reports:
                continue
            if source not in self._ids or target not in self._ids:
                continue
            ends = {"source_ref": self._ids[source], "target_ref": self._ids[target]}
            name = f"{ends['source_ref']} {verb} {ends['target_ref']}"
            yield self._object(
                {
                    "type": "relationship",
                    "spec_version": "2.1",
                    "id": f"relationship--{uuid.uuid5(uuid.UUID(STIX_NAMESPACE), name)}",
                    "created": _time(made_ms),
                    "modified": _time(made_ms),
                    "relationship_type": verb.lower().replace("_", "-"),
                    **ends,
                }
            )
        yield b"\n]}\n"


def _random_uuid() -> str:
    import uuid

    return str(uuid.uuid4())


def _uuid_of(node: node_pb2.Node, is_observable: bool) -> str:
    """The node's own UUID where its value is one, else one that is always the same for the node."""
    import uuid

    value = from_value(node.value)
    if not is_observable and isinstance(value, str) and len(value) == 32:
        return str(uuid.UUID(value))
    return str(uuid.uuid5(uuid.UUID(STIX_NAMESPACE), f"{node.form}={_text(node)}"))


def _time(milliseconds: int) -> str:
    date, _, time = print_time(milliseconds).partition(" ")
    return f"{date.replace('/', '-')}T{time}Z"


_Make = Callable[[str, dict[str, Any]], tuple[str, dict[str, Any]]]


def _observable(kind: str) -> _Make:
    return lambda text, props: (kind, {"value": text})


def _named(kind: str, name: str = "name", desc: str = "desc", **more: Any) -> _Make:
    def make(text: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return kind, {"name": str(props.get(name) or text), "description": props.get(desc), **more}

    return make


def _software(text: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    fields = {"name": props.get("soft:name") or text, "description": props.get("desc"), "is_family": True}
    return "malware", {**fields, "aliases": list(props.get("soft:names") or ())}


def _actor(text: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    fields = {"name": props.get("org:name") or props.get("name") or text, "description": props.get("desc")}
    return "intrusion-set", {**fields, "aliases": list(props.get("org:names") or ())}


def _technique(text: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    reference = {"source_name": "mitre-attack", "external_id": text, "url": props.get("url")}
    known = {name: value for name, value in reference.items() if value}
    return "attack-pattern", {
        "name": props.get("name") or text,
        "description": props.get("desc"),
        "external_references": [known],
    }


def _mitigation(text: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "course-of-action", _technique(text, props)[1]


def _report(text: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    published = props.get("published") or props.get(".created") or 0
    fields = {"name": props.get("title") or text, "description": props.get("summary")}
    return "report", {**fields, "published": _time(int(published))}


def _vulnerability(text: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    cve = props.get("cve")
    references = [{"source_name": "cve", "external_id": str(cve).upper()}] if cve else []
    name = props.get("name") or (str(cve).upper() if cve else text)
    return "vulnerability", {
        "name": name,
        "description": props.get("desc"),
        "external_references": references,
    }


def _cve(text: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return _vulnerability(text, {"cve": text, "desc": props.get("desc")})


def _file(text: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    names = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha512": "SHA-512"}
    hashes = {title: props[name] for name, title in names.items() if props.get(name)}
    return "file", {"hashes": hashes, "size": props.get("size"), "name": props.get("name") or text}


def _hash(title: str) -> _Make:
    return lambda text, props: ("file", {"hashes": {title: text}})


def _system(text: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "autonomous-system", {"number": int(text), "name": props.get("name")}


_STIX: Final[dict[str, _Make]] = {
    "inet:ipv4": _observable("ipv4-addr"),
    "inet:ipv6": _observable("ipv6-addr"),
    "inet:fqdn": _observable("domain-name"),
    "inet:url": _observable("url"),
    "inet:email": _observable("email-addr"),
    "inet:mac": _observable("mac-addr"),
    "inet:asn": _system,
    "file:bytes": _file,
    "hash:md5": _hash("MD5"),
    "hash:sha1": _hash("SHA-1"),
    "hash:sha256": _hash("SHA-256"),
    "hash:sha512": _hash("SHA-512"),
    "risk:threat": _actor,
    "risk:tool:software": _software,
    "it:prod:soft": _named("tool"),
    "it:mitre:attack:technique": _technique,
    "it:mitre:attack:mitigation": _mitigation,
    "ou:technique": _named("attack-pattern"),
    "risk:mitigation": _named("course-of-action"),
    "ou:campaign": _named("campaign"),
    "ou:org": _named("identity", identity_class="organization"),
    "ps:contact": _named("identity", identity_class="individual"),
    "ou:industry": _named("identity", identity_class="class"),
    "risk:vuln": _vulnerability,
    "it:sec:cve": _cve,
    "media:news": _report,
}
"""What forms are in STIX."""
