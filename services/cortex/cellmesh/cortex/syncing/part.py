"""The cell's part that runs pushes and pulls where the cell leads, and finishes merges that were voted for."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.errors import CellError
from cellmesh.cortex.syncing.lost import Lost
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.quorum import MERGING, merge_decided

if TYPE_CHECKING:
    from cellmesh.cortex.syncing.sides import RemoteLayer

LOGGER: Final = logging.getLogger("cellmesh.cortex.syncing")

LOOK_S: Final = 1.0
"""How often definitions are looked at, in seconds; sooner when one changes here."""

PAUSE_FIRST_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0
JOIN_S: Final = 10.0


class Syncing:
    """Pushes and pulls of a Cortex, a thread each. Only a leader runs them.

    Args:
        graph: The graph.
        identity: Folder of the Cortex's own identity, with which it calls others.
        is_active: Whether anything runs before `role_changed` says so.
    """

    name = "syncing"

    def __init__(self, graph: Graph, identity: Path, *, is_active: bool = True) -> None:
        self._graph = graph
        self._identity = identity
        self._leads = is_active
        self._wake = threading.Event()
        self._is_stopped = False
        self._runs: dict[str, _Run] = {}
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Look at the definitions now."""
        self._wake.set()

    def state_of(self, iden: str) -> str:
        """Return what a push or pull does, in words."""
        run = self._runs.get(iden)
        return "does not run here" if run is None else run.state

    async def start(self) -> None:
        """Begin to look at the definitions."""
        self._thread = threading.Thread(target=self._manage, name="layer-syncing", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End everything."""
        self._is_stopped = True
        self._wake.set()
        thread = self._thread
        if thread is not None:
            await asyncio.to_thread(thread.join, JOIN_S)

    async def role_changed(self, leads: bool) -> None:
        """Run where the cell leads, and nowhere else."""
        self._leads = leads
        self._wake.set()

    def health(self) -> PartHealth:
        """Well: another Cortex that is away is no fault of this one."""
        return WELL

    def _manage(self) -> None:
        while not self._is_stopped:
            self._wake.wait(LOOK_S)
            self._wake.clear()
            try:
                wanted = self._definitions() if self._leads and not self._is_stopped else {}
                for iden in [iden for iden in self._runs if iden not in wanted]:
                    self._runs.pop(iden).end()
                for iden, known in wanted.items():
                    if iden not in self._runs:
                        self._runs[iden] = _Run(self._graph, self._identity, *known)
                        self._runs[iden].start()
                if self._leads and not self._is_stopped:
                    self._merge()
            except CellError:
                LOGGER.exception("pushes and pulls could not be looked at")
        for run in self._runs.values():
            run.end()
        for run in self._runs.values():
            run.thread.join(JOIN_S)

    def _definitions(self) -> dict[str, tuple[str, str, Mapping[str, Any]]]:
        return {
            iden: (str(layer.id), kind, definition)
            for layer in list(self._graph.layers.values())
            for kind in ("pushs", "pulls")
            for iden, definition in (layer.facts.get(kind) or {}).items()
        }

    def _merge(self) -> None:
        for view in list(self._graph.views.values()):
            if view.facts.get(MERGING):
                try:
                    merge_decided(self._graph, view, user=str(view.facts.get("creator") or "root"))
                except CellError:
                    LOGGER.exception("a fork that was voted for could not be merged")


class _Run:
    """One push or pull, tried again and again."""

    def __init__(
        self, graph: Graph, identity: Path, layer_id: str, kind: str, definition: Mapping[str, Any]
    ) -> None:
        self._graph = graph
        self._identity = identity
        self._layer_id = layer_id
        self._is_push = kind == "pushs"
        self._definition = definition
        self._over = threading.Event()
        self._remote: RemoteLayer | None = None
        self.state = "begins"
        self.thread = threading.Thread(target=self._run, name=f"layer-{kind}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self.thread.start()

    def end(self) -> None:
        """End soon."""
        self._over.set()
        remote = self._remote
        if remote is not None:
            remote.close()

    def _run(self) -> None:
        pause_s = PAUSE_FIRST_S
        while not self._over.is_set():
            try:
                self._copy()
                pause_s = PAUSE_FIRST_S
            except Lost:
                self.state = "begins again: another has gone on with it"
            except CellError as error:
                if self._over.is_set():
                    break
                LOGGER.info("a push or pull pauses: %s", error)
                self.state = f"error: {error.name}: {error}"
            except Exception as error:  # a bug must not end it silently
                LOGGER.exception("a push or pull failed")
                self.state = f"error: {type(error).__name__}"
            self._over.wait(pause_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _copy(self) -> None:
        # Clients are loaded where there is a push or pull, not at the start of every Cortex.
        from cellmesh.cortex.syncing.copying import copy_edits
        from cellmesh.cortex.syncing.sides import LocalLayer, RemoteLayer

        known = self._definition
        iden, user = str(known["iden"]), str(known.get("user") or "root")
        local = LocalLayer(self._graph, self._layer_id, iden, user, self._over.is_set)
        remote = self._remote = RemoteLayer(str(known["url"]), self._identity, iden, self._over.is_set)
        try:
            copy_edits(
                local if self._is_push else remote,
                remote if self._is_push else local,
                offset=int(known.get("offs") or 0),
                is_over=self._over.is_set,
                note=self._note,
            )
        finally:
            self._remote = None
            remote.close()

    def _note(self, state: str) -> None:
        self.state = state
