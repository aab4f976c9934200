"""AuthUser: a user as other code holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cellmesh.common.auth.policy import Decision
from cellmesh.common.auth.principals import User
from cellmesh.common.auth.rules import Path, parse_path

if TYPE_CHECKING:
    from cellmesh.common.auth.keeper import PolicyKeeper


@dataclass(frozen=True, slots=True)
class AuthUser:
    """A user as other code holds it: what it says is always of now.

    Attributes:
        store: Where it is kept.
        user_id: Its identifier.
    """

    store: PolicyKeeper
    user_id: str

    @property
    def record(self) -> User:
        """What is known of it. Raises NoSuchUser when it was deleted meanwhile."""
        return self.store.get_user(self.user_id)

    @property
    def name(self) -> str:
        """Its name. Raises NoSuchUser when it was deleted meanwhile."""
        return self.record.name

    @property
    def admin(self) -> bool:
        """Whether it may do everything; nobody who is locked, archived or deleted may."""
        found = self.store.policy.users.get(self.user_id)
        return found is not None and found.admin and found.active

    def allowed(self, path: Path | str, gate: str = "", *, default: bool = False) -> bool:
        """Whether it may do something, on a gate or nowhere in particular; `default` where no rule speaks of it."""
        path = parse_path(path) if isinstance(path, str) else path
        return self.store.policy.allowed(self.user_id, path, gate, default=default)

    def decide(self, path: Path | str, gate: str = "") -> Decision:
        """Whether it may do something, and why."""
        path = parse_path(path) if isinstance(path, str) else path
        return self.store.policy.decide(self.user_id, path, gate)
