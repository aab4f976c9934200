"""What AHA does by itself, beside answering calls: it tells root of itself, keeps its identities, ends leases."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from cellmesh.aha.ca import Journal
from cellmesh.aha.ca.identities import ensure_identity, note_identity
from cellmesh.aha.directory import Leaders, Registry
from cellmesh.aha.provisioning.subjects import REGISTRY_SERVICE as REGISTRY_NAME
from cellmesh.common.auth.context import ROOT_USER
from cellmesh.common.cell import PartHealth
from cellmesh.common.errors import CellError
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.tls.identity import CellIdentity, UserIdentity

if TYPE_CHECKING:
    from cellmesh.aha.cell import AhaCell

_log = get_logger(__name__)

OWN_NUMBER: Final = "00"
IDENTITY_CHECK_S: Final = 3600.0
INTRODUCTION_CHECK_S: Final = 0.5


class _Looking:
    """What these parts share: a task from the start to the stop. They are always well: what fails is tried again."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def _begin(self, steps: Coroutine[Any, Any, None], name: str) -> None:
        self._task = asyncio.create_task(steps, name=name)

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def health(self) -> PartHealth:
        """Always well."""
        return PartHealth()


class Introductions(_Looking):
    """A Part: root, who may call from this machine at any time, knows every instance of AHA as soon as AHA does."""

    name = "introductions"

    def __init__(self, cell: AhaCell) -> None:
        super().__init__()
        self._cell = cell

    async def start(self) -> None:
        """Begin to look."""
        self._begin(self._keep(), "introductions")

    async def _keep(self) -> None:
        told = self._cell.registry_addresses()
        while True:
            await asyncio.sleep(INTRODUCTION_CHECK_S)
            found = self._cell.registry_addresses()
            if found != told:
                await self._cell.workers.run(self._cell.tell_addresses)
                told = found


class OwnIdentities(_Looking):
    """A Part: AHA's own certificate and that of root, made at the start and kept from running out.

    Only where AHA leads, as what is issued is logged.
    """

    name = "own identities"

    def __init__(self, cell: AhaCell, journal: Journal) -> None:
        super().__init__()
        network = cell.config.network
        self._cell = cell
        self._journal = journal
        own = cell.folder.identity.cell_identity()
        if own is None or (own.service, own.network) != (REGISTRY_NAME, network):
            own = CellIdentity(OWN_NUMBER, REGISTRY_NAME, network)
        self._wanted = (
            (cell.folder.identity, own),
            (cell.root_folder, UserIdentity(ROOT_USER, network)),
        )
        self._leads = True

    async def role_changed(self, leads: bool) -> None:
        """See RolePart: who leads anew looks at once."""
        self._leads = leads
        if self._task is not None:
            await self._try()

    async def start(self) -> None:
        """Make what is missing or old."""
        await self._cell.workers.run(self._ensure)
        self._begin(self._keep(), "own-identities")

    async def look(self) -> None:
        """Something was revoked: perhaps one of these."""
        await self._try()

    def _ensure(self) -> None:
        if not self._leads:
            return
        now = datetime.datetime.fromtimestamp(self._cell.clock.now() / 1000, datetime.UTC)
        note_identity(self._cell.folder.identity, self._journal)
        for folder, identity in self._wanted:
            if ensure_identity(
                folder, identity, self._cell.authority, self._journal, now, self._cell.revoked
            ):
                _log.info("identity_issued", name=identity.name)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(IDENTITY_CHECK_S)
            await self._try()

    async def _try(self) -> None:
        try:
            await self._cell.workers.run(self._ensure)
        except CellError as error:
            _log.error("own_identity_not_renewed", exc_info=error)


class Leases(_Looking):
    """A Part: the registry and who leads as they were before a restart, and the end of leases."""

    name = "leases"

    def __init__(self, registry: Registry, leaders: Leaders) -> None:
        super().__init__()
        self._registry = registry
        self._leaders = leaders

    async def role_changed(self, leads: bool) -> None:
        """See RolePart: who follows holds no leases, who leads anew gives all a fresh one."""
        await self._leaders.recover()
        await self._registry.role_changed(leads)

    async def start(self) -> None:
        """Recover, then look at the leases."""
        await self._leaders.recover()
        count = await self._registry.recover()
        if count:
            _log.info("registry_recovered", count=count)
        self._begin(self._registry.expire_forever(), "leases")
