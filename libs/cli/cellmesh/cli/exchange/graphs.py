"""Exported nodes -> graphml, dot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from cellmesh.api.cortex.v1 import export_pb2
from cellmesh.cli.output import plain, value_text
from cellmesh.common.values import from_value

LABEL_SIZE: Final = 80

_NOT_IN_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _label(exported: export_pb2.ExportedNode) -> str:
    node = exported.node
    text = node.repr.value or value_text(from_value(node.value))
    for name in ("name", "title", "org:name", "soft:name"):
        if name in node.props:
            text = value_text(from_value(node.props[name]))
            break
    return text if len(text) <= LABEL_SIZE else text[: LABEL_SIZE - 1] + "…"


class GraphmlWriter:
    """GraphML: nodes with form, value, label, properties (JSON) and tags; edges with their verb."""

    def begin(self) -> bytes:
        keys = [("form", "node"), ("value", "node"), ("label", "node"), ("props", "node"), ("tags", "node")]
        lines = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
            *(f'<key id="{n}" for="{of}" attr.name="{n}" attr.type="string"/>' for n, of in keys),
            '<key id="verb" for="edge" attr.name="verb" attr.type="string"/>',
            '<graph edgedefault="directed">',
        ]
        return ("\n".join(lines) + "\n").encode()

    def node(self, exported: export_pb2.ExportedNode) -> bytes:
        node = exported.node
        iden = node.buid.hex()
        lines = [] if exported.continues else [self._node_line(iden, exported)]
        for edge in exported.edges:
            verb = quoteattr(_NOT_IN_XML.sub("�", edge.verb))[1:-1]
            lines.append(
                f'<edge source="{iden}" target="{edge.buid.hex()}"><data key="verb">{verb}</data></edge>'
            )
        return ("\n".join(lines) + "\n").encode()

    def _node_line(self, iden: str, exported: export_pb2.ExportedNode) -> str:
        node = exported.node
        props = {name: plain(from_value(value)) for name, value in sorted(node.props.items())}
        facts = {
            "form": node.form,
            "value": node.repr.value or value_text(from_value(node.value)),
            "label": _label(exported),
            "props": json.dumps(props, ensure_ascii=False),
            "tags": " ".join(sorted(node.tags)),
        }
        data = "".join(f'<data key="{name}">{_xml(text)}</data>' for name, text in facts.items() if text)
        return f'<node id="{iden}">{data}</node>'

    def end(self) -> Iterator[bytes]:
        yield b"</graph>\n</graphml>\n"


def _xml(text: str) -> str:
    return escape(_NOT_IN_XML.sub("�", text))


class DotWriter:
    """DOT, for Graphviz."""

    def begin(self) -> bytes:
        return b'digraph cellmesh {\n  node [shape=box, fontname="sans-serif"];\n'

    def node(self, exported: export_pb2.ExportedNode) -> bytes:
        iden = exported.node.buid.hex()[:32]
        lines = []
        if not exported.continues:
            label = f"{_quoted(exported.node.form)[:-1]}\\n{_quoted(_label(exported))[1:]}"
            lines.append(f"  n{iden} [label={label}];")
        lines += [
            f"  n{iden} -> n{edge.buid.hex()[:32]} [label={_quoted(edge.verb)}];" for edge in exported.edges
        ]
        return ("\n".join(lines) + "\n").encode("utf-8", "replace")

    def end(self) -> Iterator[bytes]:
        yield b"}\n"


def _quoted(text: str) -> str:
    plain_text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\0", "")
    return f'"{plain_text}"'
