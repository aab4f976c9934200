"""The part of the cell that runs what packages want run when the Cortex starts to lead: their `onload`."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.cortex.automation.executor import Executor
from cellmesh.cortex.storm.inside import query_of, run_logged
from cellmesh.cortex.storm.library.packages import load_package, user_of_package

if TYPE_CHECKING:
    from cellmesh.cortex.stores.packages import Packages
    from cellmesh.cortex.stores.user_values import UserValues
    from cellmesh.cortex.storm.engine import Engine
    from cellmesh.cortex.storm.execution import Running

LOGGER = get_logger(__name__)

KEYS: Final = ("onload", "inits")


class PackageLoader:
    """Runs `onload` and what is new in `inits` of all packages, each with the rights of who added it.

    Args:
        packages: The packages.
        user_values: What packages keep.
        is_active: Whether it runs at the cell's start.
    """

    name = "packages"

    def __init__(self, packages: Packages, user_values: UserValues, *, is_active: bool = True) -> None:
        self._packages = packages
        self._user_values = user_values
        self._is_active = is_active
        self._is_loaded = False
        self._executor = Executor()
        self._engine: Engine | None = None
        self._running: Running | None = None
        self._lock = threading.Lock()
        self._is_ending = False

    def load(self, engine: Engine) -> None:
        """Know the engine to run with."""
        self._engine = engine

    async def start(self) -> None:
        """Run what is to be run, where this cell leads."""
        if self._is_active:
            await asyncio.to_thread(self.resume)

    async def stop(self) -> None:
        """End what runs."""
        await asyncio.to_thread(self._executor.stop)

    async def role_changed(self, leads: bool) -> None:
        """Run what is to be run where the cell leads from now on."""
        self._is_active = leads
        if leads:
            await asyncio.to_thread(self.resume)
        else:
            self._is_loaded = False
            await asyncio.to_thread(self._executor.stop)

    def health(self) -> PartHealth:
        """Always well: what fails is logged."""
        return WELL

    def resume(self) -> None:
        """Run it on a thread of its own, once for each time that the cell starts to lead."""
        with self._lock:
            if self._is_loaded:
                return
            self._is_loaded = True
            self._is_ending = False
        self._executor.reopen()
        self._executor.start("package-loader", self._run_all, self._end, has_end=True)

    def _end(self) -> None:
        self._is_ending = True
        running = self._running
        if running is not None:
            running.cancel()

    def _run_all(self) -> None:
        engine = self._engine
        assert engine is not None, "started before it was loaded"
        with engine.graph.begin(readonly=True) as session:
            wanted: list[tuple[str, dict[str, Any], str | None]] = [
                (name, known, user_of_package(self._user_values, session, name))
                for name, known in self._packages.all(session)
                if any(key in known for key in KEYS)
            ]
        for name, known, user in wanted:
            if self._is_ending:
                return
            if user is None:
                LOGGER.warning("package_of_nobody", package=name)
                continue
            self._running = query_of(engine, partial(load_package, definition=known), user)
            run_logged(self._running, "package_load", package=name)
            self._running = None


__all__ = ["PackageLoader"]
