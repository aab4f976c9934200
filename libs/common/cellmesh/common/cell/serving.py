"""What a cell serves, wired up: the parts that every cell has, its services, its interceptors, its server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cellmesh.common.auth.denials import Denials
from cellmesh.common.cell.backup import BackedUp, Backups
from cellmesh.common.cell.data_services import backup_service, change_log_service
from cellmesh.common.cell.disk import DiskSpace
from cellmesh.common.cell.listeners import is_insecure, listeners_of
from cellmesh.common.cell.service import cell_service
from cellmesh.common.cell.storage_service import storage_service
from cellmesh.common.cell.trimming import LogTrimmer
from cellmesh.common.keyvalues import KeyValueServicer, key_value_service
from cellmesh.common.rpc.interceptors.auth import Accounts, caller_of_peer
from cellmesh.common.rpc.interceptors.chain import default_chain
from cellmesh.common.rpc.server import RpcServer
from cellmesh.common.tasks.service import task_service
from cellmesh.common.telemetry.log_levels import LogLevels
from cellmesh.common.telemetry.logs import get_logger

if TYPE_CHECKING:
    from cellmesh.common.cell.accounts import CellAccounts
    from cellmesh.common.cell.base import Cell
    from cellmesh.common.cell.part import Part
    from cellmesh.common.rpc.service import Service

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """What a cell starts in order to serve, in order.

    Attributes:
        before: What starts before the server, and so ends after it.
        server: The server.
        after: What starts after the server, and so ends before it.
        watched: The parts whose health is the cell's.
    """

    before: tuple[Part, ...]
    server: RpcServer
    after: tuple[Part, ...]
    watched: tuple[Part, ...]


def wire(cell: Cell[Any], parts: tuple[Part, ...], accounts: CellAccounts | None) -> Served:
    """Make all of it; nothing of it is started.

    Args:
        cell: The cell, whose own parts have started.
        parts: These parts.
        accounts: Its users; None for a cell without storage.

    Raises:
        NeedConfValu: it is to listen where it cannot.
    """
    config, workers = cell.config, cell.workers
    levels = LogLevels()
    before: list[Part] = []
    after: list[Part] = [levels]
    watched = list(parts)
    services: list[Service] = []
    logins: Accounts | None = None
    if accounts is not None:
        slab = cell.slab
        disk = DiskSpace(
            cell.folder.slab_path, space_min_bytes=config.space_min_bytes, slab=slab, workers=workers
        )
        # Denials end after the server, so that the last one is written too.
        denials = Denials(accounts.store, workers)
        before += [disk, LogTrimmer(cell.log_keeper, workers), denials]
        watched.append(disk)
        logins = accounts.logins(denials, workers, config, admit_unknown=cell.admits_unknown_users)
        keyvalues = KeyValueServicer(cell.keyvalues, accounts.store, workers)
        after.append(keyvalues)
        cell.tasks.bind()
        cell.revoked.listeners.append(cell.tasks.end_revoked)
        accounts.store.listeners.append(cell.tasks.end_inactive)
        services += [
            *_data_services(cell),
            accounts.service(workers, lambda: cell.server.permissions),
            key_value_service(keyvalues),
        ]
    mirror = cell.mirror
    forward = None
    if mirror is not None:
        # Cells outside of a mesh start without all that.
        from cellmesh.common.cell.mirroring import MirrorPart
        from cellmesh.common.mirror.forward import ForwardInterceptor
        from cellmesh.common.mirror.service import mirror_service

        mirror_part = MirrorPart(mirror)
        before.append(mirror_part)
        watched.append(mirror_part)
        services.append(mirror_service(mirror))
        forward = ForwardInterceptor(mirror)
    server = RpcServer(
        cell.name or cell.kind,
        (*cell.services(), *services, cell_service(cell, levels), task_service(cell.tasks)),
        listeners_of(cell.kind, config, cell.folder),
        chain=default_chain(
            caller_of_peer(insecure=is_insecure(config), own=cell.identity, revoked=cell.revoked),
            logins,
            cell.tasks,
            forward,
        ),
        stop_grace_s=config.stop_grace_s,
    )
    return Served(tuple(before), server, tuple(after), tuple(watched))


def _data_services(cell: Cell[Any]) -> Sequence[Service]:
    """What every cell with storage serves about its data as a whole."""
    slab, workers = cell.slab, cell.workers
    about = BackedUp(
        cell_id=cell.cell_id,
        kind=cell.kind,
        cell_name=cell.name,
        version=cell.version,
        storage_version=cell.storage_version,
        keeps_log=cell.keeps_log,
        paths=cell.backup_paths,
        seed_paths=cell.seed_paths,
    )
    backups = cell.backups = Backups(cell.folder.path, slab, about, cell.log_keeper)
    unfinished = backups.sweep()
    if unfinished:
        _log.info("unfinished_backups_removed", count=unfinished)
    services = [backup_service(backups, workers), storage_service(slab, workers)]
    if cell.keeps_log:
        services.append(change_log_service(slab, cell.log_keeper, workers, lambda: cell.is_stopping))
    return services
