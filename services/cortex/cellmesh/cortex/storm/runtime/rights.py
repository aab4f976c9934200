"""What the user of a query may do. A query without a `Rights` may do everything: its user is an administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.auth.rules import path_text
from cellmesh.common.errors import AuthDeny

if TYPE_CHECKING:
    from cellmesh.common.auth.policy import Policy
    from cellmesh.common.auth.store import AuthStore
    from cellmesh.cortex.layers.layer import Layer
    from cellmesh.cortex.storm.runtime.context import EngineApi
    from cellmesh.cortex.views.session_base import SessionBase

AUTH: Final = "auth"
"""The capability that holds the users of the cell."""

GRANTED_COUNT_MAX: Final = 4096
"""Kinds of edits that are remembered as allowed; tags make the most."""

EASY_ADMIN: Final = 3
EASY_EDIT: Final = 2
EASY_READ: Final = 1
EASY_DENY: Final = 0


class Rights:
    """What one user may do.

    Attributes:
        auth: The users of the cell.
        user: The user's name.
        user_id: The user's iden; empty for who is no user of the cell, and may do nothing.
    """

    __slots__ = ("_granted", "_granted_by", "_granted_on", "auth", "user", "user_id")

    def __init__(self, auth: AuthStore, user: str, user_id: str) -> None:
        self.auth = auth
        self.user = user
        self.user_id = user_id
        # Edits that were allowed, by which policy and on which layer: a query asks the same of each node.
        self._granted: set[tuple[str, ...]] = set()
        self._granted_by: Policy | None = None
        self._granted_on: Layer | None = None

    def allowed(self, path: tuple[str, ...], gate: str = "", *, default: bool = False) -> bool:
        """Whether the user may do something, on a gate or nowhere in particular."""
        return self.auth.policy.allowed(self.user_id, path, gate, default=default)

    def confirm(self, path: tuple[str, ...], gate: str = "", *, default: bool = False) -> None:
        """Raise AuthDeny unless the user may do something."""
        if not self.allowed(path, gate, default=default):
            raise self.denied(path, gate)

    def confirm_edit(self, session: SessionBase, path: tuple[str, ...]) -> None:
        """Raise AuthDeny unless the user may make an edit; the layer that a session writes to decides.

        What was allowed is remembered until the rules change (a change makes another policy), which may be while the
        query runs, or until the query goes on in another layer.
        """
        policy, layer = self.auth.policy, session.view.layers[0]
        if policy is not self._granted_by or layer is not self._granted_on:
            self._granted = set()
            self._granted_by, self._granted_on = policy, layer
        if path in self._granted:
            return
        self._confirm_edit(path, str(layer.id))
        if len(self._granted) < GRANTED_COUNT_MAX:
            self._granted.add(path)

    def _confirm_edit(self, path: tuple[str, ...], gate: str) -> None:
        if self.allowed(path, gate):
            return
        if path[:2] == ("node", "prop") and len(path) == 5:
            # A rule may name the property in one word, as older ones do, unless one in two words denies it.
            decided = self.auth.policy.decide(self.user_id, path, gate).allowed
            if decided is None and self.allowed((*path[:3], f"{path[3]}:{path[4]}"), gate):
                return
        raise self.denied(path, gate)

    def is_admin(self) -> bool:
        """Whether the user may do everything."""
        found = self.auth.policy.users.get(self.user_id)
        return found is not None and found.admin and found.active

    def level(self, permissions: Any) -> int:
        """Return what a dictionary of levels for users and roles grants the user; see `$lib.auth.easyperm`."""
        if self.is_admin():
            return EASY_ADMIN
        found = permissions.get("users", {}).get(self.user_id)
        if found is not None:
            return int(found)
        user = self.auth.policy.users.get(self.user_id)
        roles = permissions.get("roles", {})
        levels = [int(roles[role]) for role in (user.role_ids if user is not None else ()) if role in roles]
        return max(levels) if levels else int(permissions.get("default", EASY_READ))

    def denied(self, path: tuple[str, ...], gate: str = "") -> AuthDeny:
        """Make the error for what the user may not do."""
        text = path_text(path)
        where = f" on {gate}" if gate else ""
        return AuthDeny(
            f"user {self.user} needs the permission {text}{where}",
            perm=text,
            user=self.user_id,
            username=self.user,
        )


def rights_of(engine: EngineApi, user: str) -> Rights | None:
    """Return what a user may do; None stands for everything."""
    auth: Any = engine.capabilities.get(AUTH)
    if auth is None:
        return None
    found = auth.policy.find_user(user)
    if found is None:
        return Rights(auth, user, "")
    if found.admin and found.active:
        return None
    return Rights(auth, found.name, found.user_id)
