"""The users of a cell, put together: the store, its credentials, who callers are, and the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cellmesh.common.auth.certificates import parse_rules
from cellmesh.common.auth.credentials import HashCost, PasswordPolicy
from cellmesh.common.auth.denials import Denials
from cellmesh.common.auth.logins import Logins
from cellmesh.common.auth.passwords import Passwords
from cellmesh.common.auth.retention import AuditRules
from cellmesh.common.auth.service import auth_service
from cellmesh.common.auth.store import AuthStore

if TYPE_CHECKING:
    from cellmesh.common.config.spec import CellConfig
    from cellmesh.common.rpc.permissions import PermissionTable
    from cellmesh.common.rpc.service import Service
    from cellmesh.common.rpc.workers import Workers
    from cellmesh.common.storage import Slab


@dataclass(frozen=True, slots=True)
class CellAccounts:
    """What a cell has of its users.

    Attributes:
        store: Users, roles, rules; `cell.auth`.
        passwords: Their credentials; `cell.passwords`.
    """

    store: AuthStore
    passwords: Passwords

    @classmethod
    def open(cls, slab: Slab, config: CellConfig) -> CellAccounts:
        """Read what is stored. Raises StorageCorrupt."""
        store = AuthStore(
            slab,
            user_count_max=config.user_count_max,
            audit_rules=AuditRules(config.audit_count_max, config.audit_keep_days),
        )
        policy = PasswordPolicy(
            length_min=config.password_length_min,
            classes_min=config.password_classes_min,
            history_count=config.password_history_count,
            attempts_max=config.password_attempts_max,
            cost=HashCost(
                config.password_hash_memory_kib, config.password_hash_iterations, config.password_hash_lanes
            ),
        )
        return cls(store, Passwords(store, policy))

    def logins(
        self, denials: Denials, workers: Workers, config: CellConfig, *, admit_unknown: bool
    ) -> Logins:
        """What finds the user that a caller is."""
        return Logins(
            self.store,
            self.passwords,
            denials,
            workers,
            anonymous=config.auth_anonymous,
            certificate_rules=parse_rules(config.auth_certificates),
            admit_unknown=admit_unknown,
            insecure=config.insecure,
        )

    def service(self, workers: Workers, permissions: Callable[[], PermissionTable]) -> Service:
        """AuthService, which tells of the permission rows of the whole cell."""
        return auth_service(self.store, self.passwords, workers, permissions)
