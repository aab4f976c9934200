"""Graph: the cell's layers and views over one slab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time_ns

from cellmesh.common.changelog import ChangeLog, ChangeRecord
from cellmesh.common.errors import NoSuchLayer, NoSuchView
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.cortex.layers.catalog import IndexCatalog
from cellmesh.cortex.layers.layer import Layer, load_layers, store_layer
from cellmesh.cortex.layers.names import NameTables
from cellmesh.cortex.layers.nids import Nids
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.model.registry import Form, Model
from cellmesh.cortex.values.changes import decode_record, pack
from cellmesh.cortex.values.edits import LayerEdits, NodeEdits
from cellmesh.cortex.values.ids import LayerId, ViewId, new_layer_id, new_view_id
from cellmesh.cortex.views.kept import KeptPool
from cellmesh.cortex.views.rules import EditRules
from cellmesh.cortex.views.session import GraphSession
from cellmesh.cortex.views.view import View, load_default, load_views, store_default, store_view


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
        edit_watchers: What is called after each op that edited a view, outside of the op, with the session and
            its edits.
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
        self.edit_watchers: dict[ViewId, Callable[[GraphSession, Sequence[NodeEdits]], None]] = {}
        self.rules = EditRules()
        self.layers: dict[LayerId, Layer] = {}
        self.views: dict[ViewId, View] = {}
        self._forms: dict[bytes, Form] = {}
        self._default: ViewId | None = None

    @classmethod
    def open(
        cls,
        slab: Slab,
        model: Model,
        log: ChangeLog | None = None,
        *,
        now_ms: Callable[[], int] = system_now_ms,
        layer_id: str | None = None,
        view_id: str | None = None,
    ) -> Graph:
        """Open the graph in a slab that was opened with its databases, and the change log's.

        Args:
            slab: The cell's slab.
            model: The compiled model.
            log: The cell's change log; by default the one in the slab.
            now_ms: The clock: milliseconds since 1970.
            layer_id: The id that the default layer gets if there is none yet: a mirror gives its leader's.
            view_id: The same for the default view.
        """
        graph = cls(slab, model, log if log is not None else ChangeLog(slab), now_ms)
        with slab.view() as txn:
            graph._load(txn)
        if graph._default is None:
            layer = Layer(LayerId(layer_id) if layer_id else new_layer_id(), 1, "default")
            view = View(ViewId(view_id) if view_id else new_view_id(), (layer,), "default")

            def store(txn: WriteTxn) -> None:
                store_layer(txn, layer)
                store_view(txn, view)
                store_default(txn, view.id)

            slab.write(store)
            graph.layers[layer.id] = layer
            graph.views[view.id] = view
            graph._default = view.id
        return graph

    def _load(self, txn: ReadTxn) -> None:
        self.names.load(txn)
        self.nids.load(txn)
        self.layers = load_layers(txn)
        self.views = load_views(txn, self.layers)
        self._default = load_default(txn)

    # Views and layers.

    @property
    def default_view(self) -> View:
        """The view that queries use unless they name one."""
        assert self._default is not None, "the graph is not open"
        return self.views[self._default]

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

    def add_layer(self, layer_id: str | None = None, name: str = "") -> Layer:
        """Make an empty layer, durable on return."""
        chosen = LayerId(layer_id) if layer_id else new_layer_id()

        def store(txn: WriteTxn) -> Layer:
            number = max((layer.number for layer in load_layers(txn).values()), default=0) + 1
            made = Layer(chosen, number, name)
            store_layer(txn, made)
            return made

        layer = self.slab.write(store)
        self.layers[layer.id] = layer
        return layer

    def add_view(
        self,
        layers: Sequence[Layer],
        *,
        view_id: str | None = None,
        name: str = "",
        parent: ViewId | None = None,
    ) -> View:
        """Make a view of some layers, the top one first; durable on return."""
        assert layers, "a view has at least one layer"
        view = View(ViewId(view_id) if view_id else new_view_id(), tuple(layers), name, parent)
        self.slab.write(lambda txn: store_view(txn, view))
        self.views[view.id] = view
        return view

    def fork(
        self, view: View, *, view_id: str | None = None, layer_id: str | None = None, name: str = ""
    ) -> View:
        """Make a view with a fresh layer on top of another view's; durable on return."""
        layer = self.add_layer(layer_id)
        return self.add_view((layer, *view.layers), view_id=view_id, name=name, parent=view.id)

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
        """Log serialized LayerEdits in the transaction that applies them."""
        type_name, packed = pack(payload)
        self.log.append(txn, time_us=now_ms * 1000, actor=user, type_name=type_name, payload=packed)

    # Replay.

    def apply_record(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """Apply a change record of layer edits, as replay and mirrors do; the record itself is not logged.

        Raises:
            NoSuchLayer: it is about a layer that is not here.
            StorageCorrupt: it holds no layer edits.
        """
        self.apply_edits(txn, decode_record(record.type_name, record.payload))

    def apply_edits(self, txn: WriteTxn, edits: LayerEdits) -> None:
        """Apply edits to their layer as they are, without rules and without logging them."""
        layer = self.layer(edits.layer_id)
        LayerWriter(txn, layer.key, self.catalog, self.names, self.nids).apply(edits.nodes)
        self.names.take_stored()
