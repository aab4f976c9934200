"""Who may call which method, as data: one row a method, and what has no row may not be called.

    PERMISSIONS: PermissionTable = {
        "/cellmesh.api.axon.v1.BlobService/PutBlobs": Permission(Level.MEMBER, "axon.blob.put", Changes.YES),
    }

A server refuses to start while a method it serves has no row. The level is what the interceptor checks; the
name is the permission that rules on users will speak of. What depends on the request (a cell may only
register itself) is checked by the handler.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cellmesh.common.auth.context import Caller
from cellmesh.common.errors import AuthDeny, PermissionRowMissing, Unauthenticated


class Level(enum.Enum):
    """Which callers a method is open to."""

    ANYONE = "anyone"
    """Whoever can connect, known or not: health, reflection, enrolment."""
    MEMBER = "member"
    """Any cell or user of the mesh, unless a rule denies it. Whatever such a method gives to a user is its own, or is for
    everybody."""
    RULE = "rule"
    """Cells of the mesh, and users whom a rule allows it."""
    PEER = "peer"
    """Instances of the same service, and administrators."""
    ADMIN = "admin"
    """Administrators."""


class Changes(enum.Enum):
    """Whether a call changes what all instances of a service share. A follower sends such calls to its leader.

    What acts on the instance itself, such as its backups, its log level or the space its file takes, changes nothing
    in this sense.
    """

    NO = "no"
    """It does not."""
    YES = "yes"
    """It does, or may."""
    ASK = "ask"
    """It depends on the request: the service says, by `Service.changes_asked`."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What a call needs.

    Attributes:
        level: Which callers the method is open to.
        name: The permission that rules speak of, such as "axon.blob.put".
        changes: Whether the call changes what all instances of the service share.
    """

    level: Level
    name: str = ""
    changes: Changes = Changes.NO

    @property
    def path(self) -> tuple[str, ...]:
        """The name as a path, which rules are matched with; empty when it has none."""
        return tuple(self.name.split(".")) if self.name else ()


PermissionTable = Mapping[str, Permission]

# What every server offers beside its own services.
COMMON_PERMISSIONS: Final[PermissionTable] = {
    "/grpc.health.v1.Health/Check": Permission(Level.ANYONE),
    "/grpc.health.v1.Health/List": Permission(Level.ANYONE),
    "/grpc.health.v1.Health/Watch": Permission(Level.ANYONE),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Permission(Level.ANYONE),
    # The calls inside are checked each by its own row.
    "/cellmesh.api.common.v1.CallService/Pipeline": Permission(Level.MEMBER, "cell.pipeline"),
    "/cellmesh.api.common.v1.CellService/GetCellInfo": Permission(Level.MEMBER, "cell.info"),
    # On MEMBER rows, who is no administrator reaches itself only; the handlers check that.
    "/cellmesh.api.common.v1.AuthService/GetCurrentUser": Permission(Level.MEMBER, "auth.self.get"),
    "/cellmesh.api.common.v1.AuthService/CreateUser": Permission(
        Level.ADMIN, "auth.user.create", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/GetUser": Permission(Level.MEMBER, "auth.user.get"),
    "/cellmesh.api.common.v1.AuthService/ListUsers": Permission(Level.ADMIN, "auth.user.list"),
    "/cellmesh.api.common.v1.AuthService/UpdateUser": Permission(
        Level.ADMIN, "auth.user.update", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/DeleteUser": Permission(
        Level.ADMIN, "auth.user.delete", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/SetUserRoles": Permission(
        Level.ADMIN, "auth.user.roles", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/GrantRole": Permission(Level.ADMIN, "auth.user.roles", Changes.YES),
    "/cellmesh.api.common.v1.AuthService/RevokeRole": Permission(Level.ADMIN, "auth.user.roles", Changes.YES),
    "/cellmesh.api.common.v1.AuthService/CreateRole": Permission(
        Level.ADMIN, "auth.role.create", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/GetRole": Permission(Level.ADMIN, "auth.role.get"),
    "/cellmesh.api.common.v1.AuthService/ListRoles": Permission(Level.ADMIN, "auth.role.list"),
    "/cellmesh.api.common.v1.AuthService/UpdateRole": Permission(
        Level.ADMIN, "auth.role.update", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/DeleteRole": Permission(
        Level.ADMIN, "auth.role.delete", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/AddRule": Permission(Level.ADMIN, "auth.rule.add", Changes.YES),
    "/cellmesh.api.common.v1.AuthService/RemoveRule": Permission(
        Level.ADMIN, "auth.rule.remove", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/SetRules": Permission(Level.ADMIN, "auth.rule.set", Changes.YES),
    "/cellmesh.api.common.v1.AuthService/SetGateAdmin": Permission(
        Level.ADMIN, "auth.gate.admin", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/GetGate": Permission(Level.ADMIN, "auth.gate.get"),
    "/cellmesh.api.common.v1.AuthService/ListGates": Permission(Level.ADMIN, "auth.gate.list"),
    "/cellmesh.api.common.v1.AuthService/SetPassword": Permission(
        Level.MEMBER, "auth.password.set", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/CreateOneTimePassword": Permission(
        Level.ADMIN, "auth.password.one_time", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/CreateApiKey": Permission(
        Level.MEMBER, "auth.key.create", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/ListApiKeys": Permission(Level.MEMBER, "auth.key.list"),
    "/cellmesh.api.common.v1.AuthService/RevokeApiKey": Permission(
        Level.MEMBER, "auth.key.revoke", Changes.YES
    ),
    "/cellmesh.api.common.v1.AuthService/CheckAccess": Permission(Level.MEMBER, "auth.access.check"),
    "/cellmesh.api.common.v1.AuthService/ListPermissions": Permission(Level.ADMIN, "auth.permission.list"),
    "/cellmesh.api.common.v1.AuthService/ListAuditRecords": Permission(Level.ADMIN, "auth.audit.list"),
    "/cellmesh.api.common.v1.AuthService/CheckAuditLog": Permission(Level.ADMIN, "auth.audit.check"),
    "/cellmesh.api.common.v1.BackupService/CreateBackup": Permission(Level.ADMIN, "cell.backup.create"),
    "/cellmesh.api.common.v1.BackupService/ListBackups": Permission(Level.ADMIN, "cell.backup.list"),
    "/cellmesh.api.common.v1.BackupService/DeleteBackup": Permission(Level.ADMIN, "cell.backup.delete"),
    "/cellmesh.api.common.v1.BackupService/StreamBackup": Permission(Level.PEER, "cell.backup.create"),
    "/cellmesh.api.common.v1.ChangeLogService/ReadChanges": Permission(Level.ADMIN, "cell.changes.read"),
    "/cellmesh.api.common.v1.ChangeLogService/GetLogStatus": Permission(Level.ADMIN, "cell.changes.read"),
    "/cellmesh.api.common.v1.ChangeLogService/TrimChanges": Permission(Level.ADMIN, "cell.changes.trim"),
    "/cellmesh.api.common.v1.ChangeLogService/HoldChanges": Permission(Level.ADMIN, "cell.changes.hold"),
    "/cellmesh.api.common.v1.ChangeLogService/ReleaseChanges": Permission(Level.ADMIN, "cell.changes.hold"),
    "/cellmesh.api.common.v1.StorageService/GetStorageStats": Permission(Level.ADMIN, "cell.storage.stats"),
    "/cellmesh.api.common.v1.StorageService/Compact": Permission(Level.ADMIN, "cell.storage.compact"),
    "/cellmesh.api.common.v1.CellService/GetLogLevel": Permission(Level.ADMIN, "cell.log.get"),
    "/cellmesh.api.common.v1.CellService/SetLogLevel": Permission(Level.ADMIN, "cell.log.set"),
    # The handlers of KeyValueService ask for a rule that allows the path as well.
    "/cellmesh.api.common.v1.KeyValueService/GetKeyValue": Permission(Level.MEMBER, "cell.kv.get"),
    "/cellmesh.api.common.v1.KeyValueService/SetKeyValue": Permission(
        Level.MEMBER, "cell.kv.set", Changes.YES
    ),
    "/cellmesh.api.common.v1.KeyValueService/AddKeyValue": Permission(
        Level.MEMBER, "cell.kv.set", Changes.YES
    ),
    "/cellmesh.api.common.v1.KeyValueService/PopKeyValue": Permission(
        Level.MEMBER, "cell.kv.pop", Changes.YES
    ),
    "/cellmesh.api.common.v1.KeyValueService/MoveKeyValues": Permission(
        Level.MEMBER, "cell.kv.set", Changes.YES
    ),
    "/cellmesh.api.common.v1.KeyValueService/ListKeyValues": Permission(Level.MEMBER, "cell.kv.list"),
    "/cellmesh.api.common.v1.KeyValueService/LoadKeyValues": Permission(
        Level.MEMBER, "cell.kv.set", Changes.YES
    ),
    "/cellmesh.api.common.v1.KeyValueService/WatchKeyValues": Permission(Level.MEMBER, "cell.kv.watch"),
    # Of TaskService, who is no administrator reaches its own tasks only.
    "/cellmesh.api.common.v1.TaskService/ListTasks": Permission(Level.MEMBER, "cell.tasks.list"),
    "/cellmesh.api.common.v1.TaskService/CancelTask": Permission(Level.MEMBER, "cell.tasks.cancel"),
    # What asks for the leader and reaches a follower is told who leads, as it is about that very instance.
    "/cellmesh.api.common.v1.MirrorService/Follow": Permission(Level.PEER, "cell.mirror.follow"),
    "/cellmesh.api.common.v1.MirrorService/Vote": Permission(Level.PEER, "cell.mirror.follow"),
    "/cellmesh.api.common.v1.MirrorService/HandOver": Permission(Level.PEER, "cell.mirror.follow"),
    "/cellmesh.api.common.v1.MirrorService/TakeOver": Permission(Level.PEER, "cell.mirror.follow"),
    "/cellmesh.api.common.v1.MirrorService/GetMirrorStatus": Permission(Level.MEMBER, "cell.mirror.status"),
    "/cellmesh.api.common.v1.MirrorService/Promote": Permission(Level.ADMIN, "cell.mirror.promote"),
    "/cellmesh.api.common.v1.MirrorService/RemoveFollower": Permission(Level.ADMIN, "cell.mirror.remove"),
    "/cellmesh.api.common.v1.MirrorService/CreateCheckpoint": Permission(Level.ADMIN, "cell.mirror.check"),
    "/cellmesh.api.common.v1.MirrorService/GetStateHash": Permission(Level.PEER, "cell.mirror.check"),
}


def find_row(table: PermissionTable, method: str) -> Permission:
    """Return a method's row. Raises PermissionRowMissing."""
    row = table.get(method)
    if row is None:
        raise PermissionRowMissing(
            f"{method} has no permission row", method=method, hint="add one to the service's table"
        )
    return row


def check_permission(row: Permission, caller: Caller, method: str) -> None:
    """Check that a caller may call a method.

    Raises:
        Unauthenticated: the caller is unknown and the method is not open to anyone.
        AuthDeny: the caller is known and has too little right.
    """
    if row.level is Level.ANYONE or caller.admin:
        return
    if not caller.is_member:
        raise Unauthenticated(
            f"{method} is for members of the mesh",
            hint="call with a certificate from this network's AHA",
        )
    if row.level is Level.ADMIN or (row.level is Level.PEER and not caller.peer):
        also = " and instances of the same service" if row.level is Level.PEER else ""
        raise AuthDeny(
            f"{caller.name} may not call {method}: it is for administrators{also}",
            perm=row.name,
            username=caller.name,
        )
