"""What every part of a session stands on: transactions, names, the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from cellmesh.common.errors import IsReadOnly
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.names import Names
from cellmesh.cortex.layers.stats import read_count
from cellmesh.cortex.model.registry import Form
from cellmesh.cortex.values.edits import NodeEdits
from cellmesh.cortex.views.editor import Draft, Editor
from cellmesh.cortex.views.kept import Kept
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.overlay import Stack
from cellmesh.cortex.views.plans import NodePlan
from cellmesh.cortex.views.together import Together

if TYPE_CHECKING:
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.view import View

T = TypeVar("T")


class Guard(Protocol):
    """Says what edits a session may make."""

    def confirm_edit(self, session: SessionBase, path: tuple[str, ...]) -> None:
        """Raise AuthDeny unless an edit such as `("node", "add", "inet:ipv4")` is allowed."""


class SessionBase:
    """A unit of work on a view: sees its own edits at once. Used from one thread, then closed.

    Attributes:
        graph: The graph.
        view: The view.
        model: The model.
        user: Whose edits they are.
        readonly: Whether edits are refused.
        edit_count: Node edits made so far.
        generation: Grows with each op that edited; tells Nodes when to look again.
        budget: What the query that the session belongs to may use, if there is one. Of a class of Storm, which
            stands above: nothing here looks inside.
        guard: Says which edits are allowed; None for all.
    """

    def __init__(self, graph: Graph, view: View, *, user: str, readonly: bool) -> None:
        self.graph = graph
        self.view = view
        self.model = graph.model
        self.user = user
        self.readonly = readonly
        self.edit_count = 0
        self.generation = 0
        self.budget: Any = None
        self.guard: Guard | None = None
        self.stack = Stack(view.layers)
        self._kept = graph.kept.take(graph.model)
        self.planner = self._kept.planner
        self.storage = graph.slab.session()
        self.together = Together(self)
        self._unconfirmed: set[tuple[Names, str]] = set()
        self._tag_form: Form | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Transactions.

    def read(self, op: Callable[[ReadTxn], T]) -> T:
        """Run a chunk of reading in a state that has this session's edits."""
        if self.together.waiting:
            self.together.run(is_end=False)
        return self.storage.read(op)

    def read_node(self, key: bytes) -> bytes | None:
        """Return a node as serialized, as it is now."""
        return self.read(lambda txn: self.stack.node(txn, key))

    def form_of_key(self, key: bytes) -> Form:
        """Return the form of a nid given in 8 bytes."""
        return self.graph.form_of_key(self.storage.read, key[6:])

    @property
    def tag_form(self) -> Form:
        """The form syn:tag."""
        if self._tag_form is None:
            self._tag_form = self.model.require_form("syn:tag")
        return self._tag_form

    def tag_plan(self, tag: str) -> NodePlan:
        """Return the plan of a normalised tag's node."""
        return self.planner.stored_node(self.tag_form, tag)

    def has_redirects(self, txn: ReadTxn) -> bool:
        """Whether any tag may redirect to another."""
        number = self.graph.names.props.find(txn, "syn:tag:isnow")
        if number is None:
            return False
        form_number = self.graph.names.forms.find(txn, "syn:tag") or 0
        return any(read_count(txn, keys.count_key(layer, number, form_number)) for layer in self.stack.layers)

    def edit(self, op: Callable[[Editor], T], node: Node | None = None) -> T:
        """Run one op that edits: its decisions, then its writes, in one transaction with its change record.

        Args:
            op: Works on the editor's drafts.
            node: A node that the op is about, renewed at the end.

        Raises:
            IsReadOnly: the session may not edit.
        """

        def run(txn: WriteTxn) -> tuple[T, int, list[tuple[Names, str]], bytes | None, Sequence[NodeEdits]]:
            editor = Editor(self, txn)
            result = op(editor)
            count = editor.commit()
            data = editor.node_bytes(node.key) if node is not None and count else None
            return result, count, self.graph.names.take_stored(), data, editor.committed

        if self.together.waiting:
            self.together.run(is_end=False)
        result, count, stored, data, changed = self.write_edits(run)
        self.note_edits(count, stored)
        if count:
            if node is not None:
                node.renew(data, self.generation)
            self.tell(changed)
        return result

    def edit_making(self, op: Callable[[Editor], Draft]) -> Node:
        """Run one op that edits, and return the node whose draft it gives.

        Raises:
            IsReadOnly: the session may not edit.
        """

        def run(
            txn: WriteTxn,
        ) -> tuple[bytes, bytes | None, int, list[tuple[Names, str]], Sequence[NodeEdits]]:
            editor = Editor(self, txn)
            key = op(editor).key
            count = editor.commit()
            return key, editor.node_bytes(key), count, self.graph.names.take_stored(), editor.committed

        if self.together.waiting:
            self.together.run(is_end=False)
        key, data, count, stored, changed = self.write_edits(run)
        self.note_edits(count, stored)
        assert data is not None, "a node just made is not there"
        node = Node(self, key, data, self.generation)
        if count:
            self.tell(changed)
        return node

    def edit_later(self, op: Callable[[Editor], Any], node: Node) -> None:
        """As `edit`, but it may wait until the session looks at the graph, or `end_edits` is called.

        All edits of a node in a row become one op. Only for ops that work on drafts alone: they run with others
        before them that are not written yet, and an error of theirs shows later.
        """
        if self.view.id in self.graph.edit_watchers:
            # Those are told of each edit before the next is made.
            self.together.keep()
            self.edit(op, node)
        elif self.readonly:
            raise IsReadOnly("this query may not edit")
        else:
            self.together.add(op, node)

    def edit_making_later(self, op: Callable[[Editor], Draft], form: Form) -> Node:
        """As `edit_making`, but it may wait; see `edit_later`."""
        if self.view.id in self.graph.edit_watchers:
            if self.together.waiting:
                self.together.run(is_end=False)
            self.together.keep()
            return self.edit_making(op)
        if self.readonly:
            raise IsReadOnly("this query may not edit")
        return self.together.add_making(op, form)

    def end_edits(self) -> None:
        """Make the edits that wait, and let the transaction end when it likes: a row leaves its edit block.

        Raises:
            CellError: what one of them raised; those before it are made.
        """
        together = self.together
        if together.waiting or together.is_kept:
            together.end()

    def tell(self, changed: Sequence[NodeEdits]) -> None:
        """Tell whoever watches the view of edits that this session has just made; they may edit, too."""
        watcher = self.graph.edit_watchers.get(self.view.id)
        if watcher is not None:
            # What that sets off runs with the rights of others.
            guard = self.guard
            try:
                watcher(self, changed)  # type: ignore[arg-type]  # all sessions are GraphSessions
            finally:
                self.guard = guard

    def write_op(self, op: Callable[[WriteTxn], T]) -> T:
        """Run one op, other than of edits, in the open write transaction.

        Raises:
            IsReadOnly: the session may not edit.
        """
        together = self.together
        if together.waiting:
            together.run(is_end=False)
        if together.is_kept:
            # Change records stand in the log in the order of the changes.
            together.log()
        return self.write_edits(op)

    def write_edits(self, op: Callable[[WriteTxn], T]) -> T:
        """Run one op of edits in the open write transaction.

        Raises:
            IsReadOnly: the session may not edit.
        """
        if self.readonly:
            raise IsReadOnly("this query may not edit")

        graph, together = self.graph, self.together

        def run(txn: WriteTxn) -> T:
            if graph.before_op is not None:
                graph.before_op(txn)
            try:
                result = op(txn)
                if graph.names.fresh:
                    if together.is_kept:
                        together.names += graph.names.take_fresh()
                    else:
                        graph.log_names(txn, self.view.layers[0], self.user)
            except BaseException:
                graph.names.drop_op()
                raise
            # Even an op that changed nothing has relied on what others wrote in this transaction. So the
            # session takes part in it: its reads see the same, and its sync waits for it.
            txn.touched = True
            return result

        return self.storage.write(run)

    def note_edits(self, count: int, stored: Sequence[tuple[Names, str]]) -> None:
        """Take note of what an op did: edits, and names stored for the first time."""
        if stored:
            self._unconfirmed.update(stored)
        if count:
            self.edit_count += count
            self.generation += 1

    # Life.

    def breathe(self) -> None:
        """Let those who wait have their turn; cheap, to be called in loops."""
        self.storage.breathe()

    def pause(self) -> None:
        """Let go of the write transaction, before waiting for a client."""
        if self.together.waiting:
            self.together.run(is_end=True)
        self.storage.pause()

    def sync(self) -> None:
        """Return when all edits of this session are durable."""
        self.end_edits()
        self.storage.sync()
        for names, name in self._unconfirmed:
            names.confirm(name)
        self._unconfirmed.clear()

    def close(self) -> None:
        """End the work. Edits not synced will be durable soon, unless that fails for all."""
        if not self._is_closed:
            self._is_closed = True
            self.together.depth = 0
            self.end_edits()
            # Another session uses them from now on.
            kept, self._kept = self._kept, Kept(self.model)
            self.planner = self._kept.planner
            self.graph.kept.give(kept)
        self.storage.close()
