"""Fresh nodes straight from the bytes of a change record to records and index entries.

Most of what a log tells is nodes that are new, with properties, tags and light edges that are set once. What such
an edit puts into the record is a part of its own bytes, so nothing is taken apart but what index keys are made of,
and an edit that repeats from node to node is looked up by its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cellmesh.common.storage import WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.bulk import BulkWriter, FormParts, Fragments, PropFragment, TagFragment
from cellmesh.cortex.layers.names import Names
from cellmesh.cortex.values.changes import NODE_ADD
from cellmesh.cortex.values.ids import buid_of, sequence_of
from cellmesh.cortex.values.wire import decode_interval, decode_value, field, read_varint

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cellmesh.cortex.views.graph import Graph

KEPT_COUNT_MAX: Final = 50_000
"""Edits whose fragments are kept."""

_NODE_ADD: Final = NODE_ADD[2:]
_PROP_SET: Final = 0x1A
_TAG_SET: Final = 0x2A
_EDGE_ADD: Final = 0x4A


class _NotFresh(Exception):
    """The edits are not only those of a fresh node."""


class _Form:
    """What the nodes of a form have in common, and fragments of edits of theirs by the bytes of the edit."""

    __slots__ = ("encode", "name", "parts", "props", "tags")

    def __init__(self, name: str, parts: FormParts, encode: Callable[[Any], bytes]) -> None:
        self.name = name
        self.parts = parts
        self.encode = encode
        self.props: dict[bytes, PropFragment] = {}
        self.tags: dict[bytes, TagFragment] = {}


class FreshNodes:
    """Takes the fresh nodes of change records of one layer, and writes them. Used by one thread."""

    def __init__(self, graph: Graph, layer: bytes) -> None:
        self._graph = graph
        self._layer = layer
        self._fragments = Fragments(layer, graph.catalog, graph.names)
        self._forms: dict[bytes, _Form] = {}
        self._version = graph.model.version
        self._kept_count = 0
        self._bulk: BulkWriter | None = None
        self._number_of: Callable[[Names, str], int]

    def begin(self, txn: WriteTxn, nodes: Sequence[bytes]) -> list[bytes]:
        """Take the fresh ones of serialized NodeEdits; returns the others, to be applied after `write`."""
        if self._version != self._graph.model.version or self._kept_count > KEPT_COUNT_MAX:
            self._version = self._graph.model.version
            self._kept_count = 0
            self._forms.clear()
            self._fragments.clear()
        self._bulk = None
        self._number_of = lambda names, name: names.ensure(txn, name)
        first_unused = self._graph.nids.first_unused(txn)
        seen: set[int] = set()
        left: list[bytes] = []
        for node in nodes:
            nid, at = read_varint(node, 1)
            # A node that comes twice is fresh but once; its later edits build on the first.
            if sequence_of(nid) < first_unused or nid in seen:
                left.append(node)
                continue
            try:
                self._take(node, nid, at)
            except _NotFresh:
                left.append(node)
            seen.add(nid)
        return left

    def write(self, txn: WriteTxn) -> None:
        """Write what was taken."""
        bulk, self._bulk = self._bulk, None
        if bulk is not None:
            highest = max(nid for _, nid in bulk.nids)
            bulk.write(txn)
            self._graph.nids.advance(txn, keys.unpack_nid(highest))

    def _take(self, node: bytes, nid: int, at: int) -> None:
        size = node[at + 1]  # a form's name has less than 128 bytes
        form_end = at + 2 + size
        form_name = node[at + 2 : form_end]
        size, value_at = read_varint(node, form_end + 1)
        value_end = value_at + size
        form = self._forms.get(form_name) or self._form(form_name)
        end = len(node)
        at = value_end
        if node[at + 1 : at + 4] != b"\x02\x0a\x00":
            raise _NotFresh
        at += 4
        known_props, known_tags = form.props, form.tags
        props: dict[str, PropFragment] = {}
        tags: dict[str, TagFragment] = {}
        edges: list[tuple[bytes, bytes]] = []
        while at < end:
            size = node[at + 1]
            at += 2
            if size >= 0x80:
                size, at = read_varint(node, at - 1)
            edit = node[at : at + size]
            at += size
            fragment = known_props.get(edit)
            if fragment is not None:
                props[fragment.name] = fragment
                continue
            kind = edit[0]
            if kind == _PROP_SET:
                fragment = self._prop(form, edit)
                if fragment.name in props:
                    raise _NotFresh
                props[fragment.name] = fragment
            elif kind == _TAG_SET:
                tag = known_tags.get(edit) or self._tag(form, edit)
                if tag.name in tags:
                    raise _NotFresh
                tags[tag.name] = tag
            elif kind == _EDGE_ADD:
                edges.append(self._edge(edit))
            else:
                raise _NotFresh
        self._add(nid, form, node[value_at:value_end], props, tags, edges)

    def _add(
        self,
        nid: int,
        form: _Form,
        encoded: bytes,
        props: dict[str, PropFragment],
        tags: dict[str, TagFragment],
        edges: list[tuple[bytes, bytes]],
    ) -> None:
        value = decode_value(encoded)
        buid = buid_of(form.name, value)
        key = keys.pack_nid(nid)
        parts, bulk = form.parts, self._bulk
        if bulk is None:
            bulk = self._bulk = BulkWriter(self._layer, self._graph.names)
        record = [field(0x0A, form.name.encode()), field(0x12, encoded), b"\x1a\x20", buid]
        for name in sorted(props):
            fragment = props[name]
            record.append(fragment.entry)
            bulk.props[fragment].append(key)
        for name in sorted(tags):
            tag = tags[name]
            record.append(tag.entry)
            bulk.tags[tag].append(key)
        bulk.nids.append((buid, key))
        bulk.nodes.append((self._layer + key, b"".join(record)))
        bulk.forms[parts] += 1
        bulk.own.append((parts.prefix + form.encode(value), key))
        if parts.encode_element is not None:
            bulk.own_elements += [(element, key) for element in parts.element_keys(value)]
        bulk.edges += [(verb, key, other) for verb, other in edges]

    def _form(self, name_bytes: bytes) -> _Form:
        name = name_bytes.decode()
        form = self._graph.model.form(name)
        index = self._graph.catalog.prop(name, "")
        if form is None or index is None:
            raise _NotFresh
        made = _Form(name, self._fragments.form(self._number_of, form), index.encode)
        self._forms[name_bytes] = made
        return made

    def _prop(self, form: _Form, edit: bytes) -> PropFragment:
        size, at = read_varint(edit, 1)
        both = edit[at:]
        if at + size != len(edit):
            raise _NotFresh
        size, at = read_varint(both, 1)
        name = both[at : at + size].decode()
        at += size
        size, value_at = read_varint(both, at + 1)
        if value_at + size != len(both):
            raise _NotFresh  # there is an old value
        made = self._fragments.prop_of_bytes(self._number_of, form.parts, name, both, both[value_at:])
        self._kept_count += 1
        form.props[edit] = made
        return made

    def _tag(self, form: _Form, edit: bytes) -> TagFragment:
        size, at = read_varint(edit, 1)
        if at + size != len(edit):
            raise _NotFresh
        size, at = read_varint(edit, at + 1)
        name = edit[at : at + size].decode()
        at += size
        interval = None
        if at < len(edit):
            size, start = read_varint(edit, at + 1)
            if edit[at] != 0x12 or start + size != len(edit):
                raise _NotFresh  # it was there before
            interval = decode_interval(edit[start:])
        made = self._fragments.tag(self._number_of, form.parts, name, interval)
        self._kept_count += 1
        form.tags[edit] = made
        return made

    def _edge(self, edit: bytes) -> tuple[bytes, bytes]:
        _, at = read_varint(edit, 1)
        size, at = read_varint(edit, at + 1)
        verb = edit[at : at + size].decode()
        nid, _ = read_varint(edit, at + size + 1)
        return keys.pack_number(self._number_of(self._graph.names.verbs, verb)), keys.pack_nid(nid)


__all__ = ["FreshNodes"]
