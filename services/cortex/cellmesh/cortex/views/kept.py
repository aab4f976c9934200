"""What sessions keep for those that come after them: plans, fragments of feeds."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.views.feed_prepare import FeedCache
from cellmesh.cortex.views.plans import Planner

if TYPE_CHECKING:
    from cellmesh.cortex.views.graph import Graph

KEPT_SESSIONS_MAX: Final = 4
LAYERS_MAX: Final = 4


class Kept:
    """What one session works with, and hands on. Used by one session at a time."""

    def __init__(self, model: Model) -> None:
        self.model_version = model.version
        self.planner = Planner(model)
        self._feeds: dict[bytes, FeedCache] = {}

    def feed_cache(self, graph: Graph, layer: bytes) -> FeedCache:
        """Return what feeds into a layer keep."""
        found = self._feeds.get(layer)
        if found is None:
            if len(self._feeds) >= LAYERS_MAX:
                self._feeds.clear()
            found = self._feeds[layer] = FeedCache(layer, graph.catalog, graph.names)
        return found


class KeptPool:
    """Hands out what ended sessions have kept, the last one's first."""

    def __init__(self) -> None:
        self._free: deque[Kept] = deque(maxlen=KEPT_SESSIONS_MAX)

    def take(self, model: Model) -> Kept:
        """Return something to work with; it is the caller's alone."""
        try:
            kept = self._free.pop()
        except IndexError:
            return Kept(model)
        return kept if kept.model_version == model.version else Kept(model)

    def give(self, kept: Kept) -> None:
        """Take something back."""
        self._free.append(kept)
