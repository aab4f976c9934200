"""What is kept of the model: locks of deprecated names, what is said of edge verbs, and what users added."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from cellmesh.common.errors import CellError, NoSuchProp
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.model import DeprecationLocks, Model
from cellmesh.cortex.model.extensions import Extensions
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.stores.former_names import with_current_names
from cellmesh.cortex.stores.named import NamedValues, Reader
from cellmesh.cortex.stores.schema import DEPRECATION_LOCKS, EDGE_VERBS, MODEL_EXTENSIONS
from cellmesh.cortex.values.wire import decode_value, encode_value

if TYPE_CHECKING:
    from cellmesh.cortex.views.graph import Graph

T = TypeVar("T")

LOGGER = logging.getLogger(__name__)

EDGE_KEYS = ("doc",)
"""What can be said of an edge verb."""

_KEY = b"model"


class Locks(NamedValues):
    """Locks of deprecated names. `rules` is what edits are checked by."""

    def __init__(self, changes: Changes, model: Model) -> None:
        super().__init__(DEPRECATION_LOCKS, changes, "deprecated name")
        self.rules = DeprecationLocks(model)
        self._lock = Lock()

    def follow(self, read: Reader) -> None:
        """Take what is stored; names that are deprecated no more stay stored, without effect.

        Args:
            read: Reads in the newest committed state.
        """
        with self._lock:
            self.rules = DeprecationLocks(self.rules.model, [name for name, _ in read(self.load)])

    def set(self, access: Access, name: str, is_locked: bool) -> None:
        """Lock or unlock a name, durable on return; raises NoSuchProp if it is not deprecated."""
        if not self.rules.is_deprecated(name):
            raise NoSuchProp(f"nothing deprecated is named {name}", name=name)
        if is_locked:
            self.put(access, name, True)
        else:
            self.pop(access, name)
        access.sync()
        self.follow(access.read)


class EdgeVerbs(NamedValues):
    """What is said of edge verbs."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(EDGE_VERBS, changes, "edge verb")

    def say(self, access: Access, verb: str, key: str, text: str) -> None:
        """Say something of a verb; raises NoSuchProp."""
        known = dict(self.get(access, verb) or {})
        self.put(access, verb, {**known, _edge_key(key): text})

    def unsay(self, access: Access, verb: str, key: str) -> None:
        """Take back what was said of a verb; raises NoSuchProp if nothing was."""
        known = dict(self.get(access, verb) or {})
        if _edge_key(key) not in known:
            raise NoSuchProp(f"nothing named {key} is said of the verb {verb}", name=key)
        del known[key]
        self.put(access, verb, known)


def _edge_key(key: str) -> str:
    if key not in EDGE_KEYS:
        raise NoSuchProp(f"of a verb can be said: {', '.join(EDGE_KEYS)}; not {key}", name=key)
    return key


class KeptExtensions:
    """Extends the model, and keeps what was added. Used for one query; see `Extensions`.

    The model changes inside the write transaction, next to the change record: edits logged before it were indexed by
    the model before, edits logged after it by the model after, as they are when the log is replayed. If the
    transaction is rolled back, the model is put back.
    """

    def __init__(self, values: ModelExtensions, access: Access) -> None:
        self._extensions = values.extensions
        self._values = values
        self._access = access

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._extensions, name)
        if not name.startswith(("add_", "remove_")):
            return method
        return lambda *arguments: self._kept(lambda: method(*arguments))

    def dump(self) -> dict[str, list[list[Any]]]:
        """Return everything that users added."""
        return self._extensions.dump()

    def _kept(self, change: Callable[[], T]) -> T:
        def op(rows: Rows) -> T:
            result = change()
            data = encode_value(self._extensions.dump())
            self._values.watch(rows.txn, data)
            rows.put(MODEL_EXTENSIONS, _KEY, data)
            return result

        try:
            result = self._values.changes.run(self._access, op)
            self._access.sync()
        except CellError:
            self._values.settle()
            raise
        return result


class ModelExtensions(NamedValues):
    """What users added to the model.

    The model is in line with what is stored, but for a change that is not committed yet: while there may be one,
    the graph's `before_op` looks whether it was rolled back.
    """

    def __init__(self, changes: Changes, graph: Graph) -> None:
        super().__init__(MODEL_EXTENSIONS, changes, "model")
        self.extensions = Extensions(graph.model)
        self._graph = graph
        # The transaction of the last change, and what it stored.
        self._pending: tuple[object, bytes] | None = None

    def of(self, access: Access) -> KeptExtensions:
        """Return what changes the model on behalf of a query."""
        return KeptExtensions(self, access)

    def follow(self, txn: ReadTxn) -> None:
        """Bring the model in line with what is stored."""
        found = txn.get(MODEL_EXTENSIONS, _KEY)
        wanted = {} if found is None else decode_value(found)
        catalog = self._graph.catalog
        restore(self.extensions, with_current_names(wanted, catalog.former_forms, catalog.former_tag_props))

    def watch(self, txn: WriteTxn, data: bytes) -> None:
        """Take note that the model has changed in a transaction, and is about to be stored so."""
        self._pending = (txn.raw, data)
        self._graph.before_op = self._before_op

    def settle(self) -> None:
        """Put the model back at once if its last change was rolled back."""
        pending = self._pending
        if pending is not None:
            try:
                self._graph.slab.write(lambda txn: self._before_op(txn))
            except CellError:
                # The next op looks again.
                LOGGER.warning(
                    "a change of the model could not be stored, and is put back with the next edit"
                )

    def _before_op(self, txn: WriteTxn) -> None:
        pending = self._pending
        if pending is None or pending[0] is txn.raw:
            return
        if txn.get(MODEL_EXTENSIONS, _KEY) != pending[1]:
            self.follow(txn)
        self._pending = self._graph.before_op = None


_ADDERS = (
    ("types", "add_type", 4),
    ("forms", "add_form", 4),
    ("props", "add_prop", 4),
    ("univs", "add_universal", 3),
    ("tagprops", "add_tagprop", 3),
)
_REMOVERS = (
    ("tagprops", "remove_tagprop", 1),
    ("univs", "remove_universal", 1),
    ("props", "remove_prop", 2),
    ("forms", "remove_form", 1),
    ("types", "remove_type", 1),
)


def restore(extensions: Extensions, wanted: dict[str, Any]) -> None:
    """Add and remove until the model holds just what a dump says."""
    now = extensions.dump()
    left: dict[str, list[list[Any]]] = {}
    for key, name, size in _REMOVERS:
        # A property may have been removed and come back with another type.
        shown = len if key in ("props", "univs", "tagprops") else (lambda row, size=size: size)
        kept = [encode_value(list(row[: shown(row)])) for row in wanted.get(key, ())]
        left[key] = []
        for row in now[key]:
            if encode_value(list(row[: shown(row)])) in kept:
                left[key].append(row)
            else:
                getattr(extensions, name)(*row[:size])
    for key, name, _ in _ADDERS:
        known = [row[:2] if key == "props" else row[:1] for row in left[key]]
        for row in wanted.get(key, ()):
            if list(row[:2] if key == "props" else row[:1]) not in known:
                getattr(extensions, name)(*row)
    known_edges = [list(ends) for ends, _ in now["edges"]]
    wanted_edges = [list(ends) for ends, _ in wanted.get("edges", ())]
    for source, verb, target in known_edges:
        if [source, verb, target] not in wanted_edges:
            extensions.remove_edge(source, verb, target)
    for (source, verb, target), info in wanted.get("edges", ()):
        if [source, verb, target] not in known_edges:
            extensions.add_edge(source, verb, target, info)
