"""Node data: read, attached, removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cellmesh.common.storage import ReadTxn
from cellmesh.cortex.values.wire import decode_plain, encode_value
from cellmesh.cortex.views.editor import Draft, Editor
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.session_base import SessionBase


class DataSession(SessionBase):
    """A session that reads and edits node data."""

    def _draft(self, editor: Editor, node: Node) -> Draft | None:
        known = editor.drafts.get(node.key)
        if known is not None:
            return known
        node.check_editable()
        # Not node.form: that may read through the session, which an op must not.
        form = self.graph.form_of_key(lambda op: op(editor.txn), node.key[6:])
        return editor.draft(node.nid, form, node.value)

    def set_data(self, node: Node, name: str, value: object) -> None:
        """Attach data to a node: anything a Value holds."""
        self.graph.names.data.check(name)
        if self.guard is not None:
            self.guard.confirm_edit(self, ("node", "data", "set", name))
        encode_value(value)

        def op(editor: Editor) -> None:
            draft = self._draft(editor, node)
            if draft is not None:
                editor.set_data(draft, name, value)

        self.edit(op)

    def get_data(self, node: Node, name: str) -> Any:
        """Return a piece of a node's data, or None."""

        def read(txn: ReadTxn) -> bytes | None:
            number = self.graph.names.data.find(txn, name)
            return None if number is None else self.stack.data(txn, node.key, number)

        found = self.read(read)
        return None if found is None else decode_plain(found)

    def has_data(self, node: Node, name: str) -> bool:
        """Whether a node has data of a name."""

        def read(txn: ReadTxn) -> bool:
            number = self.graph.names.data.find(txn, name)
            return number is not None and self.stack.data(txn, node.key, number) is not None

        return self.read(read)

    def pop_data(self, node: Node, name: str) -> Any:
        """Remove a piece of a node's data and return it, or None."""
        if self.guard is not None:
            self.guard.confirm_edit(self, ("node", "data", "pop", name))
        if not self.has_data(node, name):
            return None

        def op(editor: Editor) -> bytes | None:
            draft = self._draft(editor, node)
            return None if draft is None else editor.pop_data(draft, name)

        found = self.edit(op)
        return None if found is None else decode_plain(found)

    def list_data(self, node: Node) -> Iterator[tuple[str, Any]]:
        """Yield a node's data by name, as (name, value)."""

        def read(txn: ReadTxn) -> list[str]:
            names = self.graph.names.data
            return sorted(
                name
                for number in self.stack.data_names(txn, node.key)
                if (name := names.name_of(txn, number)) is not None
            )

        for name in self.read(read):
            if self.has_data(node, name):
                yield name, self.get_data(node, name)
