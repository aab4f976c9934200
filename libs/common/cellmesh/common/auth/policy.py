"""Policy: everything auth knows at one moment, in memory, and what follows from it.

It never changes: a change makes a new one, so a check sees one state whole. Answers are kept, as the same few
questions are asked again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cellmesh.api.common.v1 import auth_change_pb2
from cellmesh.common.auth.context import ROOT_ID
from cellmesh.common.auth.gates import NOTHING, Gate
from cellmesh.common.auth.principals import ALL, ALL_ID, ROOT, Role, User
from cellmesh.common.auth.records import ApiKey, Credentials, read_change
from cellmesh.common.auth.rules import Path, check_path, first_match, path_text
from cellmesh.common.errors import BadArg

ANSWER_COUNT_MAX: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Decision:
    """What holds, and why.

    Attributes:
        allowed: True, False, or None when nothing speaks of it and the default holds.
        reason: For people, such as "rule !node.del of role hunters".
    """

    allowed: bool | None
    reason: str


class Policy:
    """Users, roles, gates and credentials of a cell at one moment.

    Attributes:
        users: By identifier, root among them.
        roles: By identifier, `all` among them.
        gates: By identifier.
        credentials: By identifier of the user; who never had any is missing.
        api_keys: By identifier.
        user_names: Identifiers by name.
        user_emails: Identifiers by email.
        role_names: Identifiers by name.
    """

    __slots__ = (
        "_answers",
        "api_keys",
        "credentials",
        "gates",
        "role_names",
        "roles",
        "user_emails",
        "user_names",
        "users",
    )

    def __init__(
        self,
        users: Iterable[User] = (),
        roles: Iterable[Role] = (),
        gates: Iterable[Gate] = (),
        credentials: Iterable[Credentials] = (),
        api_keys: Iterable[ApiKey] = (),
    ) -> None:
        self.users: Mapping[str, User] = {ROOT_ID: ROOT, **{user.user_id: user for user in users}}
        self.roles: Mapping[str, Role] = {ALL_ID: ALL, **{role.role_id: role for role in roles}}
        self.gates: Mapping[str, Gate] = {gate.gate_id: gate for gate in gates}
        self.credentials: Mapping[str, Credentials] = {found.user_id: found for found in credentials}
        self.api_keys: Mapping[str, ApiKey] = {key.key_id: key for key in api_keys}
        self.user_names = {user.name: user.user_id for user in self.users.values()}
        self.user_emails = {user.email: user.user_id for user in self.users.values() if user.email}
        self.role_names = {role.name: role.role_id for role in self.roles.values()}
        self._answers: dict[tuple[str, Path, str], Decision] = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Policy):
            return NotImplemented
        return (self.users, self.roles, self.gates, self.credentials, self.api_keys) == (
            other.users,
            other.roles,
            other.gates,
            other.credentials,
            other.api_keys,
        )

    __hash__ = None  # type: ignore[assignment]

    def find_user(self, name: str) -> User | None:
        """The user of this name or identifier."""
        return self.users.get(name) or self.users.get(self.user_names.get(name, ""))

    def find_role(self, name: str) -> Role | None:
        """The role of this name or identifier."""
        return self.roles.get(name) or self.roles.get(self.role_names.get(name, ""))

    def decide(self, user_id: str, path: Path, gate_id: str = "") -> Decision:
        """Whether a user may do something, and why.

        Asked in this order, the first answer counts: locked, archived or unknown users may do nothing;
        administrators everything; administrators of the gate everything on it; then the rules: the user's on
        the gate, the user's, those of its roles on the gate, those of its roles.

        Raises:
            BadArg: the path cannot be one.
        """
        key = (user_id, path, gate_id)
        found = self._answers.get(key)
        if found is None:
            check_path(path)
            if len(self._answers) >= ANSWER_COUNT_MAX:
                self._answers.clear()
            found = self._answers[key] = self._decide(user_id, path, gate_id)
        return found

    def allowed(self, user_id: str, path: Path, gate_id: str = "", *, default: bool = False) -> bool:
        """Whether a user may do something; `default` holds when nothing speaks of it."""
        allowed = self.decide(user_id, path, gate_id).allowed
        # No default makes up for being locked or unknown: those are answered False, not None.
        return default if allowed is None else allowed

    def decide_role(self, role_id: str, path: Path, gate_id: str = "") -> Decision:
        """What the rules of a role say, on a gate first: what a user gets of it who has no rules and no other role.

        Raises:
            BadArg: the path cannot be one.
        """
        check_path(path)
        role = self.roles.get(role_id)
        if role is None:
            return Decision(False, "there is no such role")
        gate = self.gates.get(gate_id) if gate_id else None
        return self._decide_by_roles((role_id,), path, gate) or Decision(
            None, f"no rule of role {role.name} speaks of {path_text(path)}"
        )

    def _decide_by_roles(self, role_ids: Sequence[str], path: Path, gate: Gate | None) -> Decision | None:
        if gate is not None:
            for role_id in role_ids:
                rule = first_match(gate.roles.get(role_id, ()), path)
                if rule is not None:
                    name = self.roles[role_id].name
                    return Decision(rule.allow, f"rule {rule} of role {name} on {gate.kind} {gate.gate_id}")
        for role_id in role_ids:
            role = self.roles[role_id]
            rule = first_match(role.rules, path)
            if rule is not None:
                return Decision(rule.allow, f"rule {rule} of role {role.name}")
        return None

    def _decide(self, user_id: str, path: Path, gate_id: str) -> Decision:
        user = self.users.get(user_id)
        if user is None:
            return Decision(False, "there is no such user")
        if not user.active:
            return Decision(False, f"user {user.name} is {'archived' if user.archived else 'locked'}")
        if user.admin:
            return Decision(True, f"user {user.name} is administrator")
        gate = self.gates.get(gate_id) if gate_id else None
        if gate is not None:
            own = gate.user(user_id)
            where = f" on {gate.kind} {gate_id}"
            if own.admin:
                return Decision(True, f"user {user.name} is administrator{where}")
            rule = first_match(own.rules, path)
            if rule is not None:
                return Decision(rule.allow, f"rule {rule} of user {user.name}{where}")
        rule = first_match(user.rules, path)
        if rule is not None:
            return Decision(rule.allow, f"rule {rule} of user {user.name}")
        found = self._decide_by_roles(user.role_ids, path, gate)
        if found is not None:
            return found
        return Decision(None, f"no rule of user {user.name} or its roles speaks of {path_text(path)}")

    def after(self, change: auth_change_pb2.AuthChange) -> Policy:
        """The policy once a change was made."""
        users, roles = dict(self.users), dict(self.roles)
        gates, credentials, api_keys = dict(self.gates), dict(self.credentials), dict(self.api_keys)
        match read_change(change):
            case User() as user:
                users[user.user_id] = user
            case Role() as role:
                roles[role.role_id] = role
            case Gate() as gate:
                gates[gate.gate_id] = gate
            case Credentials() as found:
                credentials[found.user_id] = found
            case ApiKey() as key:
                api_keys[key.key_id] = key
            case ("user_deleted", user_id):
                users.pop(user_id, None)
                credentials.pop(user_id, None)
                api_keys = {name: key for name, key in api_keys.items() if key.user_id != user_id}
                gates = {
                    name: gate.with_user(user_id, NOTHING) if user_id in gate.users else gate
                    for name, gate in gates.items()
                }
            case ("role_deleted", role_id):
                roles.pop(role_id, None)
                users = {
                    name: without_role(user, role_id) if role_id in user.role_ids else user
                    for name, user in users.items()
                }
                gates = {
                    name: gate.with_role(role_id, ()) if role_id in gate.roles else gate
                    for name, gate in gates.items()
                }
            case ("gate_deleted", gate_id):
                gates.pop(gate_id, None)
            case ("api_key_deleted", key_id):
                api_keys.pop(key_id, None)
            case (kind, _):
                raise BadArg(f"auth has no change {kind}", name="change", valu=kind)
        return Policy(users.values(), roles.values(), gates.values(), credentials.values(), api_keys.values())


def without_role(user: User, role_id: str) -> User:
    """The user without one of its roles."""
    return replace(user, role_ids=tuple(found for found in user.role_ids if found != role_id))
