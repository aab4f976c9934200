"""Graph: the cell's layers and views over one slab."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from time import time_ns
from typing import Any

from cellmesh.common.changelog import ChangeLog
from cellmesh.common.errors import IsReadOnly, NoSuchLayer, NoSuchView
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.cortex.layers.catalog import IndexCatalog
from cellmesh.cortex.layers.layer import LAYER, Layer, find_layer, load_layers
from cellmesh.cortex.layers.names import NameTables
from cellmesh.cortex.layers.nids import Nids
from cellmesh.cortex.layers.sizes import LayerSizes
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.model.registry import Form, Model
from cellmesh.cortex.values.changes import encode_layer_edits, encode_names, frame, pack
from cellmesh.cortex.values.edits import LayerEdits, NodeEdits
from cellmesh.cortex.values.ids import LayerId, ViewId, new_view_id
from cellmesh.cortex.views.activity import Activities
from cellmesh.cortex.views.kept import KeptPool
from cellmesh.cortex.views.rules import EditRules
from cellmesh.cortex.views.session import GraphSession
from cellmesh.cortex.views.stack_changes import TYPE_NAME as STACK_TYPE_NAME
from cellmesh.cortex.views.stack_changes import Step, apply_steps
from cellmesh.cortex.views.stack_changes import encode as encode_steps
from cellmesh.cortex.views.stacks import add_layer, add_view, finish_removals, fork, make_default
from cellmesh.cortex.views.view import DEFAULT_KEY, VIEW, View, find_view, load_default, load_views


def system_now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time_ns() // 1_000_000


class Graph:
    """The cell's graph. Made by `open`; sessions may be used from many threads, one thread each.

    Attributes:
        slab: Where everything is stored.
        model: What it may say.
        log: The cell's change log.
        now_ms: The clock.
        rules: What a cell adds to the rules of edits.
        activities: When each layer was edited last.
        sizes: About how much room each layer takes.
        edit_watchers: What is called after each op that edited a view, outside of the op, with the session and
            its edits.
        before_op: What is called in each op of a session, first thing, while a change of what memory keeps may have
            been rolled back; None otherwise.
        led_count: How often `lead` was called. Whoever works on a detached layer looks whether it is the same still.
    """

    def __init__(self, slab: Slab, model: Model, log: ChangeLog, now_ms: Callable[[], int]) -> None:
        self.slab = slab
        self.model = model
        self.log = log
        self.now_ms = now_ms
        self.names = NameTables()
        self.nids = Nids()
        self.catalog = IndexCatalog(model)
        self.kept = KeptPool()
        self.activities = Activities(slab, log)
        self.sizes = LayerSizes(slab)
        self.edit_watchers: dict[ViewId, Callable[[GraphSession, Sequence[NodeEdits]], None]] = {}
        self.rules = EditRules()
        self.layers: dict[LayerId, Layer] = {}
        self.views: dict[ViewId, View] = {}
        self.before_op: Callable[[WriteTxn], None] | None = None
        self.led_count = 0
        self._forms: dict[bytes, Form] = {}
        self._stacks_lock = Lock()
        # The transaction in which a layer was found, and the layer: single edits look each time.
        self._checked: tuple[object, Layer] | None = None
        self._default: ViewId | None = None

    @classmethod
    def open(
        cls,
        slab: Slab,
        model: Model,
        log: ChangeLog | None = None,
        *,
        now_ms: Callable[[], int] = system_now_ms,
        leads: bool = True,
    ) -> Graph:
        """Open the graph in a slab that was opened with its databases, and the change log's.

        Args:
            slab: The cell's slab.
            model: The compiled model.
            log: The cell's change log; by default the one in the slab.
            now_ms: The clock: milliseconds since 1970.
            leads: Whether it is written to here, not by the change log of another; see `lead`.
        """
        graph = cls(slab, model, log if log is not None else ChangeLog(slab), now_ms)
        with slab.view() as txn:
            graph._load(txn)
        if leads:
            graph.lead()
        return graph

    def lead(self) -> None:
        """Be ready to be written to: an empty graph gets its default view, and what was being removed is."""
        if self._default is None:
            make_default(self)
        self.led_count += 1
        finish_removals(self)

    def _load(self, txn: ReadTxn) -> None:
        self.names.load(txn)
        self.nids.load(txn)
        self.layers = load_layers(txn)
        self.views = load_views(txn, self.layers)
        self._default = load_default(txn)

    # Views and layers.

    @property
    def default_view(self) -> View:
        """The view that queries use unless they name one.

        Raises:
            NoSuchView: a follower has nothing of its leader yet.
        """
        found = None if self._default is None else self.views.get(self._default)
        if found is None:
            raise NoSuchView("there is no default view yet")
        return found

    def view(self, view_id: str | None) -> View:
        """Return a view by id; None or empty is the default one.

        Raises:
            NoSuchView: there is no such view.
        """
        if not view_id:
            return self.default_view
        found = self.views.get(ViewId(view_id))
        if found is None:
            raise NoSuchView("no view of this id", iden=view_id)
        return found

    def layer(self, layer_id: str) -> Layer:
        """Return a layer by id.

        Raises:
            NoSuchLayer: there is no such layer.
        """
        found = self.layers.get(LayerId(layer_id))
        if found is None:
            raise NoSuchLayer("no layer of this id", iden=layer_id)
        return found

    def check_layer(self, txn: ReadTxn, layer: Layer) -> None:
        """Make certain, before an op's first edit, that the layer has not been removed meanwhile.

        Raises:
            NoSuchLayer: it has.
            IsReadOnly: it takes no edits.
        """
        if self._checked == (txn.raw, layer):
            return
        found = find_layer(txn, layer.id)
        if found is None:
            raise NoSuchLayer("the layer was removed", iden=layer.id)
        if found.is_readonly:
            raise IsReadOnly("the layer takes no edits", iden=layer.id)
        self._checked = (txn.raw, layer)

    def add_layer(
        self,
        layer_id: str | None = None,
        name: str = "",
        *,
        user: str = "root",
        facts: Mapping[str, Any] | None = None,
    ) -> Layer:
        """Make an empty layer, durable on return."""
        return add_layer(self, layer_id, name, user=user, facts=facts)

    def add_view(
        self,
        layers: Sequence[Layer],
        *,
        view_id: str | None = None,
        name: str = "",
        parent: ViewId | None = None,
        user: str = "root",
        facts: Mapping[str, Any] | None = None,
    ) -> View:
        """Make a view of some layers, the top one first; durable on return.

        Raises:
            NoSuchLayer: one of them was removed meanwhile.
        """
        assert layers, "a view has at least one layer"
        view = View(ViewId(view_id) if view_id else new_view_id(), tuple(layers), name, parent, facts or {})
        return add_view(self, view, user=user)

    def fork(
        self,
        view: View,
        *,
        view_id: str | None = None,
        layer_id: str | None = None,
        name: str = "",
        user: str = "root",
        facts: Mapping[str, Any] | None = None,
    ) -> View:
        """Make a view with a fresh layer on top of another view's; durable on return.

        Raises:
            NoSuchView, NoSuchLayer: the other view was removed meanwhile, or one of its layers.
        """
        return fork(self, view, view_id=view_id, layer_id=layer_id, name=name, user=user, facts=facts)

    def change_stacks(self, op: Callable[[WriteTxn], Sequence[Step]], user: str) -> None:
        """Run an op that checks, store the steps it gives and log them; durable on return, and seen by all."""
        time_us = self.now_ms() * 1000

        def run(txn: WriteTxn) -> set[bytes]:
            steps = op(txn)
            self._checked = None
            keys = apply_steps(txn, steps)
            if steps:
                self.log.append(
                    txn, time_us=time_us, actor=user, type_name=STACK_TYPE_NAME, payload=encode_steps(steps)
                )
            return keys

        self.follow_stacks(self.slab.write(run))

    def follow_stacks(self, keys: Iterable[bytes]) -> None:
        """Bring memory in line with rows of `graph` that have changed and are committed."""
        # Layers come before views in the order of keys. Whoever goes through the dicts meanwhile keeps the old ones.
        with self._stacks_lock, self.slab.view() as txn:
            for key in sorted(keys):
                name = key[1:].decode()
                if key == DEFAULT_KEY:
                    self._default = load_default(txn)
                elif key.startswith(LAYER):
                    self._follow_layer(LayerId(name), find_layer(txn, name))
                elif key.startswith(VIEW):
                    view = find_view(txn, name, self.layers)
                    others = {view_id: one for view_id, one in self.views.items() if view_id != name}
                    self.views = others if view is None else {**self.views, view.id: view}

    def _follow_layer(self, layer_id: LayerId, layer: Layer | None) -> None:
        if layer is None:
            self.layers = {other: one for other, one in self.layers.items() if other != layer_id}
            return
        self.layers = {**self.layers, layer_id: layer}
        self.views = {
            view.id: replace(view, layers=tuple(layer if one.id == layer_id else one for one in view.layers))
            if any(one.id == layer_id for one in view.layers)
            else view
            for view in self.views.values()
        }

    # Work.

    def begin(self, view: View | None = None, *, user: str = "root", readonly: bool = False) -> GraphSession:
        """Begin a unit of work: a query, a feed. A context manager; to be used from one thread."""
        return GraphSession(
            self, view if view is not None else self.default_view, user=user, readonly=readonly
        )

    def form_of_key(
        self, txn_read: Callable[[Callable[[ReadTxn], str | None]], str | None], key: bytes
    ) -> Form:
        """Return the form that the last bytes of a nid stand for."""
        found = self._forms.get(key)
        if found is None or self.model.form(found.name) is not found:
            number = int.from_bytes(key, "big")
            name = txn_read(lambda txn: self.names.forms.name_of(txn, number))
            assert name is not None, "a nid has the number of no form"
            found = self._forms[key] = self.model.require_form(name)
        return found

    def log_edits(self, txn: WriteTxn, payload: bytes, *, user: str, now_ms: int) -> None:
        """Log serialized LayerEdits in the transaction that applies them, with the names stored for them."""
        if self.names.fresh:
            payload += encode_names(self.names.take_fresh())
        type_name, packed = pack(payload)
        self.log.append(txn, time_us=now_ms * 1000, actor=user, type_name=type_name, payload=packed)

    def log_layer_edits(self, txn: WriteTxn, edits: LayerEdits) -> None:
        """Log edits, applied before in the same transaction, with the names that were stored for them."""
        type_name, packed = pack(encode_layer_edits(edits))
        self.log.append(
            txn, time_us=edits.time_ms * 1000, actor=edits.user, type_name=type_name, payload=packed
        )

    def log_names(self, txn: WriteTxn, layer: Layer, user: str) -> None:
        """Log names that an op has stored without any edits."""
        now_ms = self.now_ms()
        self.log_edits(txn, frame(layer.id, (), user, now_ms), user=user, now_ms=now_ms)

    def apply_edits(self, txn: WriteTxn, edits: LayerEdits) -> None:
        """Apply edits to their layer as they are, without rules and without logging them.

        Raises:
            NoSuchLayer: the layer is not here.
            BadName: a name has another number here.
        """
        layer = find_layer(txn, edits.layer_id)
        if layer is None:
            raise NoSuchLayer("no layer of this id", iden=edits.layer_id)
        self.names.adopt(txn, edits.names)
        LayerWriter(txn, layer.key, self.catalog, self.names, self.nids).apply(edits.nodes)
