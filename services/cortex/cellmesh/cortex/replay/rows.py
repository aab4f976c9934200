"""Applies what is no edit of nodes: layers and views, stores, automation. Their records hold the rows themselves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from cellmesh.common.changelog import ChangeRecord, ContentSource
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.cortex.automation.changes import TYPE_NAME as AUTOMATION_TYPE_NAME
from cellmesh.cortex.automation.changes import Changed, apply_change
from cellmesh.cortex.automation.part import Automation
from cellmesh.cortex.stores.changes import TYPE_NAME as STORE_TYPE_NAME
from cellmesh.cortex.stores.changes import apply_record
from cellmesh.cortex.stores.schema import DEPRECATION_LOCKS, MODEL_EXTENSIONS, PACKAGES, SERVICES, TAG_MODEL
from cellmesh.cortex.stores.stores import Stores
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.stack_changes import TYPE_NAME as STACK_TYPE_NAME
from cellmesh.cortex.views.stack_changes import apply_steps, decode


class StackApplier:
    """Applies changes of layers and views."""

    type_names: Final[Collection[str]] = (STACK_TYPE_NAME,)

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._keys: set[bytes] = set()

    def prepare(self, records: Sequence[ChangeRecord], source: ContentSource | None) -> None:
        """Nothing is to be fetched."""

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """Apply one record."""
        self._keys |= apply_steps(txn, decode(record.payload))

    def committed(self) -> None:
        """Have queries see what changed."""
        keys, self._keys = self._keys, set()
        self._graph.follow_stacks(keys)

    def rolled_back(self) -> None:
        """Forget what changed."""
        self._keys = set()


class StoreApplier:
    """Applies changes of stores. The model changes at once, as the next records may need it."""

    type_names: Final[Collection[str]] = (STORE_TYPE_NAME,)

    def __init__(self, slab: Slab, stores: Stores) -> None:
        self._slab = slab
        self._stores = stores
        self._databases: set[str] = set()

    def prepare(self, records: Sequence[ChangeRecord], source: ContentSource | None) -> None:
        """Nothing is to be fetched."""

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """Apply one record."""
        names = {row.database for row in apply_record(txn, record)}
        self._databases |= names
        if MODEL_EXTENSIONS.name in names:
            self._stores.extensions.follow(txn)

    def committed(self) -> None:
        """Bring rules of edits in line."""
        names, self._databases = self._databases, set()
        with self._slab.view() as txn:
            if TAG_MODEL.name in names:
                self._stores.tag_model.follow(lambda load: load(txn))
            if DEPRECATION_LOCKS.name in names:
                self._stores.locks.follow(lambda load: load(txn))
            if PACKAGES.name in names:
                self._stores.packages.follow(lambda load: load(txn))
            if SERVICES.name in names:
                self._stores.services.follow(lambda load: load(txn))

    def rolled_back(self) -> None:
        """Put the model back."""
        names, self._databases = self._databases, set()
        if MODEL_EXTENSIONS.name in names:
            with self._slab.view() as txn:
                self._stores.extensions.follow(txn)


class AutomationApplier:
    """Applies changes of triggers, cron jobs, daemons and the tasks of triggers."""

    type_names: Final[Collection[str]] = (AUTOMATION_TYPE_NAME,)

    def __init__(self, automation: Automation) -> None:
        self._automation = automation
        # In order, as definitions are listed in the order they were made.
        self._changed: dict[Changed, None] = {}

    def prepare(self, records: Sequence[ChangeRecord], source: ContentSource | None) -> None:
        """Nothing is to be fetched."""

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """Apply one record."""
        self._changed[apply_change(txn, record.payload)] = None

    def committed(self) -> None:
        """Have definitions in memory follow."""
        changed, self._changed = self._changed, {}
        self._automation.follow(changed)

    def rolled_back(self) -> None:
        """Forget what changed."""
        self._changed = {}


__all__ = ["AutomationApplier", "StackApplier", "StoreApplier"]
