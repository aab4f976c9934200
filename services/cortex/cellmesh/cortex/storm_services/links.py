"""The part of the cell that finds Storm services, takes what they tell, and goes on trying while they are not there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cellmesh.api.storm_service.v1 import provider_pb2
from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.errors import CellError, IsFini, ShuttingDown
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.cortex.automation.executor import Executor
from cellmesh.cortex.storm.inside import query_of, run_logged
from cellmesh.cortex.storm.library.packages import add_package
from cellmesh.cortex.storm.outside.service_calls import SERVICE_KEY
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm_services.definitions import definitions_of, events_of

if TYPE_CHECKING:
    from cellmesh.cortex.stores.packages import Packages
    from cellmesh.cortex.stores.services import StormServices
    from cellmesh.cortex.storm.engine import Engine
    from cellmesh.cortex.storm.execution import Running
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.storm_services.client import ServiceClient

LOGGER = get_logger(__name__)

LOOK_S: Final = 5.0
"""How often a service that is there is asked whether it still is, and whether its packages have changed."""

PAUSE_MIN_S: Final = 0.25
PAUSE_MAX_S: Final = 10.0
"""The first and the longest pause before a service that is not there is tried again."""


class ServiceLink:
    """The way to one service. Threads may share it.

    Attributes:
        iden: The service's iden.
        url: Where it is.
        provider: What it told last, in this run of the cell; None as long as it has not been reached.
        is_ready: Whether it was there when it was asked last.
    """

    def __init__(self, iden: str, url: str, identity: Path | None) -> None:
        self.iden = iden
        self.url = url
        self.provider: provider_pb2.Provider | None = None
        self.is_ready = False
        self._identity = identity
        self._lock = threading.Lock()
        self._client: ServiceClient | None = None
        self._is_closed = False
        self._wake = threading.Event()
        self._running: Running | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the service was removed, or the cell stops."""
        return self._is_closed

    def client(self) -> ServiceClient:
        """Return the client; raises IsFini when the link was closed."""
        with self._lock:
            if self._is_closed:
                raise IsFini("the service was removed", name=self.iden)
            if self._client is None:
                from cellmesh.cortex.storm_services.client import ServiceClient

                self._client = ServiceClient(self.url, self._identity)
            return self._client

    def describe(self) -> provider_pb2.Provider:
        """Ask the service what it is; raises CellError when it is not there."""
        try:
            self.provider = self.client().describe()
        except CellError:
            self.is_ready = False
            raise
        return self.provider

    def streams(self, method: str) -> bool | None:
        """Whether a method gives values one after the other; None if there is no such method, as far as it told."""
        provider = self.provider
        known = () if provider is None else provider.methods
        return next((one.streams for one in known if one.name == method), None)

    def wait(self, seconds: float) -> None:
        """Wait, at most until `wake` or `close`."""
        self._wake.wait(seconds)
        self._wake.clear()

    def wake(self) -> None:
        """End a wait."""
        self._wake.set()

    def run(self, running: Running, event: str) -> bool:
        """Run a query that the service is the reason for; `interrupt` ends it. Returns whether it did not fail."""
        self._running = running
        try:
            return run_logged(running, event, service=self.iden)
        finally:
            self._running = None

    def interrupt(self) -> None:
        """End a wait, and what is run."""
        running = self._running
        if running is not None:
            running.cancel()
        self._wake.set()

    def close(self) -> None:
        """Close the connection. May be called again."""
        with self._lock:
            self._is_closed = True
            self.is_ready = False
            client, self._client = self._client, None
        self._wake.set()
        if client is not None:
            client.close()


class ServiceLinks:
    """Links to all services. A leader keeps in touch with them; a follower calls them when a query does.

    Args:
        services: What is known of them.
        packages: Where their packages go.
        identity: Folder of the Cortex's own identity.
        is_active: Whether it keeps in touch from its start, without a call of `resume`.
        look_s: How often a service that is there is asked again, in seconds.
    """

    name = "storm-services"

    def __init__(
        self,
        services: StormServices,
        packages: Packages,
        identity: Path | None,
        *,
        is_active: bool = True,
        look_s: float = LOOK_S,
    ) -> None:
        self._services = services
        self._packages = packages
        self._identity = identity
        self._look_s = look_s
        self._lock = threading.Lock()
        self._links: dict[str, ServiceLink] = {}
        self._executor = Executor()
        self._starts_active = is_active
        self._is_active = False
        self._switch = threading.Lock()
        self._engine: Engine | None = None

    def load(self, engine: Engine) -> None:
        """Follow the services from now on; `start` or `resume` gets in touch with them."""
        self._engine = engine
        self._services.listen(self._follow)

    # Life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Get in touch, where this cell leads."""
        if self._starts_active:
            await asyncio.to_thread(self.resume)

    async def stop(self) -> None:
        """Close all connections."""
        await asyncio.to_thread(self._end, True)

    async def role_changed(self, leads: bool) -> None:
        """Keep in touch where the cell leads, and nowhere else."""
        self._starts_active = leads
        if leads:
            await asyncio.to_thread(self.resume)
        else:
            await asyncio.to_thread(self._end, False)

    def resume(self) -> None:
        """Keep in touch with all services from now on. Does nothing where it does so already."""
        with self._switch:
            if self._is_active:
                return
            self._executor.reopen()
            with self._lock:
                self._is_active = True
                links = list(self._links.values())
            for link in links:
                self._keep(link)

    def _end(self, closes: bool) -> None:
        with self._switch:
            with self._lock:
                self._is_active = False
                links = list(self._links.values())
                if closes:
                    self._links = {}
            for link in links:
                if closes:
                    link.close()
                else:
                    link.wake()
            self._executor.stop()

    def health(self) -> PartHealth:
        """Always well: a Cortex serves without its services."""
        return WELL

    # Links -----------------------------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Whether it keeps in touch."""
        return self._is_active

    def link(self, iden: str) -> ServiceLink:
        """Return the link of a service that is known; raises IsFini when it was removed, or the cell stops."""
        with self._lock:
            found = self._links.get(iden)
        if found is None:
            raise IsFini("the service was removed", name=iden)
        return found

    def is_ready(self, iden: str) -> bool:
        """Whether a service was there when it was asked last."""
        with self._lock:
            found = self._links.get(iden)
        return found is not None and found.is_ready

    def shown_url(self, url: str) -> str:
        """Return a URL without its password; raises BadUrl if no service can be there."""
        # The client is not imported where no service is.
        from cellmesh.cortex.storm_services.client import checked_url

        return str(checked_url(url))

    def _follow(self, services: Mapping[str, dict[str, Any]]) -> None:
        with self._lock:
            gone = [self._links.pop(iden) for iden in self._links.keys() - services.keys()]
            fresh: list[ServiceLink] = []
            for iden, row in services.items():
                if iden not in self._links:
                    self._links[iden] = ServiceLink(iden, row["url"], self._identity)
                    fresh.append(self._links[iden])
            is_active = self._is_active
        for link in gone:
            link.close()
        if is_active:
            for link in fresh:
                self._keep(link)

    def _keep(self, link: ServiceLink) -> None:
        with suppress(ShuttingDown):
            self._executor.start(
                f"service-{link.iden[:8]}", lambda: self._keep_in_touch(link), link.interrupt
            )

    def _keep_in_touch(self, link: ServiceLink) -> None:
        taken: bytes | None = None
        pause_s = PAUSE_MIN_S
        while self._is_active and not link.is_closed:
            try:
                provider = link.describe()
            except CellError as error:
                if link.is_closed:
                    return
                LOGGER.debug("service_away", service=link.iden, error_text=error.message)
                link.wait(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
                continue
            told = provider.SerializeToString(deterministic=True)
            if told != taken:
                if not self._take(link, provider):
                    link.wait(pause_s)
                    pause_s = min(pause_s * 2, PAUSE_MAX_S)
                    continue
                taken = told
                LOGGER.info(
                    "service_taken",
                    service=link.iden,
                    service_name=provider.name,
                    version=provider.version,
                )
            pause_s = PAUSE_MIN_S
            link.is_ready = not link.is_closed
            link.wait(self._look_s)

    # What they tell --------------------------------------------------------------------------------------------

    def _take(self, link: ServiceLink, provider: provider_pb2.Provider) -> bool:
        """Store what a service tells, and do what it wants done; returns whether that could be stored."""
        engine = self._engine
        row = self._services.known.get(link.iden)
        if engine is None or row is None:
            return False
        user = row["user"]
        running = query_of(engine, lambda context: self._store(context, link.iden, provider), user)
        is_stored = link.run(running, "service_packages")
        if is_stored and not row["is_added"]:
            self._run_added(engine, link, user, provider.on_added)
        return is_stored

    def _run_added(self, engine: Engine, link: ServiceLink, user: str, text: str) -> None:
        iden = link.iden

        def note(session: Any) -> None:
            self._services.tell(session, iden, {"is_added": True})

        options = QueryOptions(vars={"cmdconf": {SERVICE_KEY: iden}}, user=user)
        link.run(engine.start(text, options, note), "service_on_added")
        with engine.graph.begin(readonly=True) as session:
            self._services.follow(session.read)

    def _store(self, context: RunContext, iden: str, provider: provider_pb2.Provider) -> None:
        session = context.session
        facts = {"svcname": provider.name, "svcvers": provider.version, "evts": events_of(provider)}
        if not self._services.tell(session, iden, facts):
            return
        session.sync()
        self._services.follow(session.read)
        try:
            told = definitions_of(provider, iden)
        except CellError as error:
            context.warn(f"the packages of the service cannot be used: {error.message}")
            return
        for definition in told:
            self._store_package(context, iden, definition)
        names = {definition["name"] for definition in told}
        for name, known in self._packages.all(session):
            if known.get(SERVICE_KEY) == iden and name not in names:
                self._packages.remove(session, name)

    def _store_package(self, context: RunContext, iden: str, definition: dict[str, Any]) -> None:
        name = definition["name"]
        known = self._packages.get(context.session, name)
        if known is not None and known.get(SERVICE_KEY) != iden:
            context.warn(f"a package named {name} is there already, and not of this service")
            return
        try:
            add_package(context, definition, is_kept_if_same=True)
        except CellError as error:
            context.warn(f"the package {name} of the service cannot be used: {error.message}")


__all__ = ["ServiceLink", "ServiceLinks"]
