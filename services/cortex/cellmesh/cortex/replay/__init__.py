"""Change records of a Cortex applied to another one: what its mirrors do, and the replay of a log.

edits.py   LayerEdits: what is fresh in bulk, all else through the layers' writer
fresh.py   fresh nodes straight from the bytes of the log to records and index entries
rows.py    layers and views, stores, automation: rows, and the memory that follows them

`appliers` gives all of them. Memory is in line with what was applied when `Replay.apply` returns; only the model
follows inside the transaction, as the records behind need it.
"""

from __future__ import annotations

from cellmesh.common.changelog import Applier
from cellmesh.cortex.automation.part import Automation
from cellmesh.cortex.replay.edits import EditsApplier
from cellmesh.cortex.replay.rows import AutomationApplier, StackApplier, StoreApplier
from cellmesh.cortex.stores.stores import Stores
from cellmesh.cortex.views.graph import Graph


def appliers(graph: Graph, stores: Stores, automation: Automation) -> tuple[Applier, ...]:
    """Return what applies every record that a Cortex writes, but for those that all cells write."""
    return (
        EditsApplier(graph),
        StackApplier(graph),
        StoreApplier(graph.slab, stores),
        AutomationApplier(automation),
    )


__all__ = ["AutomationApplier", "EditsApplier", "StackApplier", "StoreApplier", "appliers"]
