"""Nodes that only the fork has, moved as they are: their records go down a layer, and no draft of them is made.

Most of what forks hold is nodes that nobody else has made yet. What is below says nothing of them, so there is nothing to
compare and no rule to ask: the record of the layer below is that of the fork, byte for byte, and the edits in both change
records are cut out of it. Index entries are gathered over a batch and written in the order of their keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.layers import keys, reader
from cellmesh.cortex.layers.bulk import put_at_end
from cellmesh.cortex.layers.catalog import PropIndex
from cellmesh.cortex.layers.records import NODE_START
from cellmesh.cortex.layers.schema import BY_ARRAY, BY_PROP, BY_TAG, EDGE_MASKS, EDGES_OUT, NODE_DATA, NODES
from cellmesh.cortex.layers.stats import CountChanges
from cellmesh.cortex.values.changes import NODE_ADD, frame
from cellmesh.cortex.values.wire import decode_value, field, read_varint, varint

if TYPE_CHECKING:
    from cellmesh.cortex.views.editor import Editor
    from cellmesh.cortex.views.view import View

LINKS_COUNT_MAX: Final = 4096
"""Edges and data of a batch that are looked through for the nodes that have some."""

_PROP: Final = 0x22
_TAG: Final = 0x2A
_NODE_DELETE: Final = b"\x22\x02\x12\x00"
_BUID_FIELD_SIZE: Final = 34
_INDEXES: Final = (BY_PROP, BY_ARRAY, BY_TAG)
_VALUES, _ELEMENTS, _TAGS = range(3)
_TAG_FORM: Final = "syn:tag"


@dataclass(slots=True, eq=False)
class _Part:
    """What one field of a record, a property or a tag, puts into change records and indexes.

    Attributes:
        added, removed: The edits that set it and take it away, as fields of NodeEdits.
        entries: Index entries: the place of the index in `_INDEXES`, and the key without the layer.
        count_key: The key in `counts`, without the layer.
        tag: The tag's name.
    """

    added: bytes
    removed: bytes
    entries: tuple[tuple[int, bytes], ...] = ()
    count_key: bytes = b""
    tag: str = ""


@dataclass(slots=True, eq=False)
class _FormParts:
    """What the nodes of a form have in common.

    Attributes:
        name: The form.
        key: Its number, as keys have it.
        field: NodeEdits.form.
        index: How its value is indexed.
        prefix: The number of its value's index.
        count_key: The key in `counts`, without the layer.
        parts: Known fields of records: values repeat from node to node.
    """

    name: str
    key: bytes
    field: bytes
    index: PropIndex | None
    prefix: bytes
    count_key: bytes
    parts: dict[bytes, _Part]


class NodeMoves:
    """The nodes of one batch that are moved. `take` chooses them, `write` moves them.

    Args:
        editor: The op's editor, in the view that is merged into.
        view: The fork.
    """

    def __init__(self, editor: Editor, view: View) -> None:
        graph = editor.graph
        self.editor = editor
        self.graph = graph
        self.txn = editor.txn
        self.view = view
        self.source = view.layers[0].key
        self.target = view.layers[1].key
        self.count = 0
        self._added: list[bytes] = []
        self._removed: list[bytes] = []
        self._records: list[tuple[bytes, bytes]] = []
        # Keys are without the layer, which comes first in each.
        self._entries: tuple[list[tuple[bytes, bytes]], ...] = ([], [], [])
        self._counts: dict[bytes, int] = {}
        self._forms: dict[bytes, _FormParts] = {}
        self._whole: dict[tuple[str, ...], bool] = {}

    def take(self, nids: Sequence[bytes]) -> list[bytes]:
        """Take those of the nodes that can be moved; returns the others."""
        if not nids or self.editor.session.has_redirects(self.txn):
            return list(nids)
        txn = self.txn
        stored = reader.records(txn, self.source, nids)
        below = [reader.records(txn, layer.key, nids) for layer in self.view.layers[1:]]
        linked, certain = self._linked(nids)
        rest: list[bytes] = []
        for place, nid in enumerate(nids):
            record = stored[place]
            if (
                record is None
                or record[0] != NODE_START
                or nid in linked
                or nid > certain
                or any(column[place] is not None for column in below)
                or not self._take(nid, record)
            ):
                rest.append(nid)
        return rest

    def _linked(self, nids: Sequence[bytes]) -> tuple[set[bytes], bytes]:
        """Return those that have edges or data in the fork, and the last nid of which that is certain."""
        low, high = self.source + min(nids), keys.end_of(self.source + max(nids))
        found: set[bytes] = set()
        certain = max(nids)
        for db in (EDGES_OUT, EDGE_MASKS, NODE_DATA):
            chunk = self.txn.scan_keys(db, low, high, count_max=LINKS_COUNT_MAX)
            at = len(self.source)
            seen = [key[at : at + 8] for key in chunk.items]
            found.update(seen)
            if chunk.resume is not None:
                certain = min(certain, seen[-1])
        return found, certain

    def _take(self, nid: bytes, record: bytes) -> bool:
        """Take a node apart, if it is of properties and tags alone."""
        form_key = nid[6:]
        form = self._forms.get(form_key)
        if form is None:
            form = self._forms[form_key] = self._make_form(form_key)
        if form.name == _TAG_FORM:
            # The tags of other nodes make these.
            return False
        at = 2 + record[1]
        size, start = read_varint(record, at + 1)
        encoded = record[start : start + size]
        at = start + size + _BUID_FIELD_SIZE
        parts: list[_Part] = []
        known, end = form.parts, len(record)
        while at < end:
            begin = at
            size = record[at + 1]
            if size < 0x80:
                at += 2
            else:
                size, at = read_varint(record, at + 1)
            at += size
            raw = record[begin:at]
            part = known.get(raw)
            if part is None:
                part = self._make_part(form, raw)
                if part is None:
                    return False
                known[raw] = part
            parts.append(part)
        tags = tuple([part.tag for part in parts if part.tag])
        if tags and not self._is_whole(tags):
            return False
        own = self._own_entries(form, encoded)
        if own is None:
            return False
        self._keep(nid, record, form, encoded, own, parts)
        return True

    def _keep(
        self,
        nid: bytes,
        record: bytes,
        form: _FormParts,
        encoded: bytes,
        own: Sequence[tuple[int, bytes]],
        parts: Sequence[_Part],
    ) -> None:
        begin = b"\x08" + varint(keys.unpack_nid(nid)) + form.field + field(0x1A, encoded)
        self._added.append(b"".join([begin, NODE_ADD, *[part.added for part in parts]]))
        self._removed.append(b"".join([begin, *[part.removed for part in parts], _NODE_DELETE]))
        self._records.append((nid, record))
        self.count += 1 + len(parts)
        entries, counts = self._entries, self._counts
        for place, key in own:
            entries[place].append((key, nid))
        counts[form.count_key] = counts.get(form.count_key, 0) + 1
        for part in parts:
            for place, key in part.entries:
                entries[place].append((key, nid))
            if part.count_key:
                counts[part.count_key] = counts.get(part.count_key, 0) + 1

    def _make_form(self, form_key: bytes) -> _FormParts:
        name = self.graph.form_of_key(lambda op: op(self.txn), form_key).name
        index = self.graph.catalog.prop(name, "")
        prefix = b""
        if index is not None:
            prefix = keys.pack_number(self.graph.names.props.ensure(self.txn, index.name))
        return _FormParts(name, form_key, field(0x12, name.encode()), index, prefix, prefix + form_key, {})

    def _own_entries(self, form: _FormParts, encoded: bytes) -> Sequence[tuple[int, bytes]] | None:
        index = form.index
        if index is None or index.former:
            return None
        return _entries_of(index, form.prefix, decode_value(encoded))

    def _make_part(self, form: _FormParts, raw: bytes) -> _Part | None:
        """Make the part of a record's field; None for one that is better merged by an editor."""
        size, at = read_varint(raw, 1)
        body = raw[at:]
        size, at = read_varint(body, 1)
        name = body[at : at + size].decode()
        size, start = read_varint(body, at + size + 1)
        if raw[0] == _PROP:
            index = self.graph.catalog.prop(form.name, name)
            added, removed = field(0x22, field(0x1A, body)), field(0x22, field(0x22, body))
            if index is None:
                return _Part(added, removed)
            if index.former:
                return None
            prefix = keys.pack_number(self.graph.names.props.ensure(self.txn, index.name))
            entries = _entries_of(index, prefix, decode_value(body[start:]))
            return _Part(added, removed, entries, prefix + form.key)
        if raw[0] == _TAG:
            # The edit holds the interval, the record a message with it.
            edit = body[: at + len(name.encode())] + (field(0x12, body[start + 2 :]) if size else b"")
            number = self.graph.names.tags.ensure(self.txn, name)
            entries = ((_TAGS, keys.pack_number(number) + form.key),)
            return _Part(field(0x22, field(0x2A, edit)), field(0x22, field(0x32, edit)), entries, tag=name)
        return None

    def _is_whole(self, tags: tuple[str, ...]) -> bool:
        """Whether the tags above are among those of a node; the nodes of all are then in the view."""
        found = self._whole.get(tags)
        if found is None:
            known = set(tags)
            found = all(tag.rpartition(".")[0] in known for tag in tags if "." in tag)
            if found:
                rules = self.graph.rules.tags
                for tag in tags:
                    if rules is not None:
                        rules.check(tag)
                    self.editor.node(self.editor.session.tag_plan(tag))
            self._whole[tags] = found
        return found

    def write(self) -> list[bytes]:
        """Write the nodes to the layer below and log that; takes them out of the fork's and returns what to log.

        Returns:
            Serialized NodeEdits of the fork's layer; none if no node was taken.
        """
        if not self._records:
            return []
        txn, graph, editor = self.txn, self.graph, self.editor
        layer = self.view.layers[1]
        graph.check_layer(txn, layer)
        for form in self._forms.values():
            graph.names.forms.adopt(txn, form.name, keys.unpack_form(form.key))
        put_at_end(txn, NODES, sorted((self.target + nid, record) for nid, record in self._records))
        for nid, _ in self._records:
            txn.delete(NODES, self.source + nid)
        for db, entries in zip(_INDEXES, self._entries, strict=True):
            if entries:
                entries.sort()
                txn.put_many(db, [(self.target + key, nid) for key, nid in entries])
                delete, handle = txn.raw.delete, txn.handle(db)
                for key, nid in entries:
                    delete(self.source + key, nid, handle)
        changes = CountChanges()
        for key, count in self._counts.items():
            changes.add(self.target + key, count)
            changes.add(self.source + key, -count)
        changes.write(txn)
        user, now_ms = editor.session.user, editor.now_ms
        graph.log_edits(txn, frame(layer.id, self._added, user, now_ms), user=user, now_ms=now_ms)
        return self._removed


def _entries_of(index: PropIndex, prefix: bytes, value: Any) -> tuple[tuple[int, bytes], ...]:
    """Return the index entries of a value, without the layer."""
    own = ((_VALUES, prefix + index.encode(value)),)
    encode = index.encode_element
    if encode is None:
        return own
    return (*own, *((_ELEMENTS, key) for key in {prefix + encode(item) for item in value}))
