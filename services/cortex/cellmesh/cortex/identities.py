"""Names of users and roles for the model, whose types `user` and `role` hold their idens."""

from __future__ import annotations

from cellmesh.common.auth.store import AuthStore


class Identities:
    """Looks names up among the users of the cell."""

    def __init__(self, auth: AuthStore) -> None:
        self._auth = auth

    def iden_of(self, kind: str, name: str) -> str | None:
        """Return the iden of a `user` or `role` by its name, or None."""
        policy = self._auth.policy
        return (policy.user_names if kind == "user" else policy.role_names).get(name)

    def name_of(self, kind: str, iden: str) -> str | None:
        """Return the name of a `user` or `role` by its iden, or None."""
        policy = self._auth.policy
        found = policy.users.get(iden) if kind == "user" else policy.roles.get(iden)
        return None if found is None else found.name
