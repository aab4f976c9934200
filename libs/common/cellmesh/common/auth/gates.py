"""Gates: objects of a cell, such as layers and views, on which users and roles have rules of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from cellmesh.common.auth.rules import Rule
from cellmesh.common.errors import BadArg

GATE_SIZE_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class GateUser:
    """What a user has on a gate: everything, if admin, and rules."""

    admin: bool = False
    rules: tuple[Rule, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether it says nothing."""
        return not (self.admin or self.rules)


NOTHING: Final = GateUser()


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate.

    Attributes:
        gate_id: Unique in the cell; the identifier of the object.
        kind: What it is, such as "layer".
        users: What users have on it, by identifier.
        roles: The rules of roles on it, by identifier.
    """

    gate_id: str
    kind: str
    users: Mapping[str, GateUser] = field(default_factory=dict)
    roles: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)

    def user(self, user_id: str) -> GateUser:
        """What a user has on it."""
        return self.users.get(user_id, NOTHING)

    def with_user(self, user_id: str, found: GateUser) -> Gate:
        """The gate with this for a user; what says nothing is not kept."""
        users = {key: value for key, value in self.users.items() if key != user_id}
        if not found.is_nothing:
            users[user_id] = found
        return replace(self, users=users)

    def with_role(self, role_id: str, rules: tuple[Rule, ...]) -> Gate:
        """The gate with these rules of a role; none are not kept."""
        roles = {key: value for key, value in self.roles.items() if key != role_id}
        if rules:
            roles[role_id] = rules
        return replace(self, roles=roles)


def check_gate_id(gate_id: str) -> str:
    """Return the identifier of a gate. Raises BadArg unless it is 1 to 200 bytes of printable text."""
    if not gate_id or not gate_id.isprintable() or len(gate_id.encode()) > GATE_SIZE_MAX:
        raise BadArg(
            f"a gate is named by 1 to {GATE_SIZE_MAX} bytes of text",
            name="gate_id",
            valu=gate_id[:GATE_SIZE_MAX],
        )
    return gate_id
