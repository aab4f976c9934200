"""Edits that belong together: those of one edit block on one node are one op, with one change record.

Most edits of a block depend on nothing that the block has changed. They wait (`edit_later`) and run in one op when
the row leaves the block (`end_edits`). Whatever looks at the graph before runs the waiting ones first. From there
to the end of the row's block each edit is an op at once, but the session keeps the write transaction for itself,
and their change record is written at the end: nothing of the block is committed without the rest, unless a query
waits inside the block for something outside the storage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import CellError
from cellmesh.common.storage import WriteTxn
from cellmesh.cortex.layers.names import Names
from cellmesh.cortex.model.registry import Form
from cellmesh.cortex.values.edits import LayerEdits, NameNumber, NodeEdits
from cellmesh.cortex.views.editor import Draft, Editor
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.views.session_base import SessionBase

Work = Callable[[Editor], Any]


class Waiting:
    """An edit that waits.

    Attributes:
        work: What it does.
        place: Where in a query it stands, for errors; of a class of Storm's.
    """

    __slots__ = ("place", "work")

    def __init__(self, work: Work, place: Any) -> None:
        self.work = work
        self.place = place


class Together:
    """The edits of one session that belong together.

    Attributes:
        waiting: Edits that wait, all on `node`.
        node: The node, and its form if it is yet to be made.
        making: Whether the first of them makes the node; it has no nid yet.
        place: Where the query is, for errors of edits that wait.
        depth: How many edits are being worked out, one inside the value of another.
        nodes: Edits made in the kept transaction that no change record tells of yet.
        names: Names stored with them.
        is_kept: Whether the session keeps the transaction.
    """

    __slots__ = (
        "depth",
        "form",
        "is_kept",
        "making",
        "names",
        "node",
        "nodes",
        "place",
        "session",
        "waiting",
    )

    def __init__(self, session: SessionBase) -> None:
        self.session = session
        self.waiting: list[Waiting] = []
        self.node: Node | None = None
        self.form: Form | None = None
        self.making = False
        self.place: Any = None
        self.depth = 0
        self.nodes: list[NodeEdits] = []
        self.names: list[NameNumber] = []
        self.is_kept = False

    def add(self, work: Work, node: Node) -> None:
        """Let an edit of a node wait."""
        if self.waiting and self.node is not node:
            self.run(is_end=False)
        if not self.waiting:
            self.node = node
            self.form = None
            self.making = False
            # Whoever looks at a node from now on looks again, which runs what waits.
            self.session.generation += 1
        self.waiting.append(Waiting(work, self.place))

    def add_making(self, work: Callable[[Editor], Draft], form: Form) -> Node:
        """Let an edit that makes a node wait; returns the node, which has no nid before anyone asks for it."""
        if self.waiting:
            self.run(is_end=False)
        node = Node.__new__(Node)
        node.session = self.session
        node._record = None
        node._generation = -1
        self.node = node
        self.form = form
        self.making = True
        self.waiting.append(Waiting(work, self.place))
        return node

    def run(self, *, is_end: bool) -> None:
        """Run what waits as one op.

        Args:
            is_end: Whether nothing more of the block comes; otherwise the transaction is kept.

        Raises:
            CellError: what the first edit that failed raised. Those before it are made.
        """
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        node = self.node
        assert node is not None
        self.node = self.form = None
        if not is_end:
            self.keep()
        session, making = self.session, self.making
        failed: tuple[CellError, Any] | None = None

        def op(
            txn: WriteTxn,
        ) -> tuple[bytes | None, int, list[tuple[Names, str]], Sequence[NodeEdits]]:
            nonlocal failed
            editor = Editor(session, txn)
            for at, item in enumerate(waiting):
                try:
                    done = item.work(editor)
                except CellError as error:
                    failed = error, item.place
                    if not at:
                        return None, 0, [], ()
                    # What the failed one has begun is forgotten: nothing is written yet.
                    editor = Editor(session, txn)
                    for earlier, again in enumerate(waiting[:at]):
                        done = again.work(editor)
                        if making and not earlier:
                            node.key = done.key
                    break
                if making and not at:
                    node.key = done.key
            count = editor.commit()
            return editor.node_bytes(node.key), count, session.graph.names.take_stored(), editor.committed

        data, count, stored, changed = session.write_edits(op)
        session.note_edits(count, stored)
        if making and data is not None:
            node._bytes = data
            node._generation = session.generation
        elif count:
            node.renew(data, session.generation)
        if count:
            session.tell(changed)
        if failed is not None:
            _raise(*failed)

    # The kept transaction.

    def keep(self) -> None:
        """Keep the write transaction until `part`."""
        if not self.is_kept:
            self.session.storage.keep_together(self.finish)
            self.is_kept = True

    def finish(self) -> None:
        """Log what the kept transaction has been given so far, and keep it no longer."""
        self.is_kept = False
        self.log()

    def log(self) -> None:
        """Write the change record of what was edited in the kept transaction."""
        nodes, self.nodes = self.nodes, []
        names, self.names = self.names, []
        if not nodes and not names:
            return
        session = self.session

        def op(txn: WriteTxn) -> None:
            # A failure from here on must take the edits with it.
            txn.touched = True
            now_ms = session.graph.now_ms()
            layer = session.view.layers[0]
            edits = LayerEdits(layer.id, tuple(nodes), session.user, now_ms, tuple(names))
            session.graph.log_layer_edits(txn, edits)

        session.storage.write(op)

    def end(self) -> None:
        """A row leaves its block: run what waits, and keep the transaction no longer."""
        is_inner = self.depth > 0
        try:
            if self.waiting:
                self.run(is_end=not is_inner and not self.is_kept)
        finally:
            if self.is_kept and not is_inner:
                try:
                    self.log()
                finally:
                    self.is_kept = False
                    self.session.storage.part(self.finish)


def _raise(error: CellError, place: Any) -> None:
    """Raise an error as if it arose at a place of the query; see `storm.runtime.places`."""
    raise error
