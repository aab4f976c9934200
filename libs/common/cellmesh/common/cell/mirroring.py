"""How a cell becomes an instance of a service with mirrors: seeded before its storage is open, then in its role."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.cell.part import WELL, PartHealth, PartState
from cellmesh.common.errors import BadStorageVersion, CellError, NoSuchName, NotLeader
from cellmesh.common.mirror.arbiter import Leadership
from cellmesh.common.mirror.instance import Instance, Mesh, MirrorEvents, MirrorSettings
from cellmesh.common.mirror.quorum import QuorumMesh
from cellmesh.common.mirror.role import Mirror
from cellmesh.common.mirror.seed import MARKER_FILE, ask_for_seed, forget_seed, seed, wants_seed
from cellmesh.common.telemetry.logs import get_logger

if TYPE_CHECKING:
    from cellmesh.common.cell.base import Cell
    from cellmesh.common.storage import Slab
    from cellmesh.common.tls.identity import CellIdentity

SEED_PAUSE_S: Final = 1.0

_log = get_logger(__name__)


async def seed_if_needed(cell: Cell[Any]) -> None:
    """Fetch the leader's storage, if the cell is to follow and has none that can. Waits for a leader that is away.

    Raises:
        BadStorageVersion: the leader runs a newer version.
    """
    identity = cell.folder.identity.cell_identity()
    if identity is None or not wants_seed(cell.folder.path, cell.folder.slab_path):
        return
    mesh = cell.make_mesh(identity)
    try:
        while True:
            try:
                leadership = await mesh.get(identity.service)
            except NoSuchName:
                if not await _others(mesh, identity):
                    # Nobody ever led: it will be the first.
                    forget_seed(cell.folder.path)
                    return
                # AHA has forgotten who led, or never knew. Those who have data claim it as soon as they ask.
                _log.warning("seed_waits", reason="other instances are there, and none leads yet")
            except CellError as error:
                if not _has_to_wait(cell):
                    # AHA is away, and there is nothing yet: it begins by itself, and learns later who leads.
                    _log.warning("not_seeded", reason=str(error))
                    return
                _log.warning("seed_waits", reason=str(error))
            else:
                if leadership.leader == identity.name:
                    if cell.folder.slab_path.exists() or not await _others(mesh, identity):
                        forget_seed(cell.folder.path)
                        return
                    # Its storage is lost. Leading without it would have all others follow an empty one.
                    _log.warning(
                        "seed_waits",
                        reason="this instance led, and its storage is not there; its followers have the data",
                        hint="promote one of them with `cellmesh mirror promote --force`",
                    )
                    await asyncio.sleep(SEED_PAUSE_S)
                    continue
                try:
                    await _seed(cell, mesh, leadership)
                    return
                except BadStorageVersion:
                    raise
                except CellError as error:
                    _log.warning("seed_waits", leader=leadership.leader, reason=str(error))
            await asyncio.sleep(SEED_PAUSE_S)
    finally:
        await mesh.close()


async def _others(mesh: Mesh, identity: CellIdentity) -> set[str]:
    """The other instances of the service that are registered."""
    try:
        return set(await mesh.addresses(identity.service)) - {identity.name}
    except CellError:
        return set()


async def _seed(cell: Cell[Any], mesh: Mesh, leadership: Leadership) -> None:
    address = (await mesh.addresses(leadership.service)).get(leadership.leader, "")
    if not address:
        raise NotLeader(f"the leader {leadership.leader} is not registered now")
    _log.info("seeding", leader=leadership.leader, address=address)
    await cell.workers.run(
        lambda: seed(
            cell.folder.path,
            cell.folder.slab_path,
            kind=cell.kind,
            leader=leadership.leader,
            address=address,
            term=leadership.term,
            identity=cell.folder.identity,
            databases=cell.all_databases(),
            layout=cell.layout,
            storage_version=cell.storage_version,
            paths=cell.seed_paths,
        )
    )


def _has_to_wait(cell: Cell[Any]) -> bool:
    return (cell.folder.path / MARKER_FILE).exists()


async def open_mirror(cell: Cell[Any], slab: Slab) -> Mirror | None:
    """Find out whether the cell leads or follows, before anything of it writes; None outside of a mesh."""
    identity = cell.folder.identity.cell_identity()
    if identity is None:
        return None
    config = cell.config
    mesh = cell.make_mesh(identity)
    mirror = Mirror(
        Instance(identity, cell.folder.identity, cell.cell_id, cell.version),
        mesh,
        slab,
        cell.workers,
        cell.all_databases(),
        MirrorSettings(
            lease_s=config.leader_lease_s,
            synchronous_followers=config.synchronous_followers,
            synchronous_timeout_s=config.synchronous_timeout_s,
        ),
        MirrorEvents(
            on_role=cell.role_changed,
            on_reseed=lambda reason: _reseed(cell, reason),
            is_stopping=lambda: cell.is_stopping,
            is_ready=lambda: cell.is_ready and not cell.is_read_only,
        ),
        cell.log_keeper,
    )
    if isinstance(mesh, QuorumMesh):
        mesh.bind(mirror)
    await mirror.decide()
    return mirror


class MirrorPart:
    """A Part: the role of the cell, for as long as the cell runs."""

    name = "mirror"

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    async def start(self) -> None:
        """Begin to lead or follow."""
        await self._mirror.start()

    async def stop(self) -> None:
        """End the streams; a leader with followers gives its lease back."""
        await self._mirror.stop()

    def health(self) -> PartHealth:
        """A follower serves on without its leader; a leader without a lease takes no writes, and says so."""
        mirror = self._mirror
        if mirror.is_leader and not mirror.gate.has_lease:
            return PartHealth(PartState.READ_ONLY, "the lease as leader has run out")
        return WELL


def _reseed(cell: Cell[Any], reason: str) -> None:
    ask_for_seed(cell.folder.path, reason)
    cell.ask_for_restart(reason)


__all__ = ["MirrorPart", "open_mirror", "seed_if_needed"]
