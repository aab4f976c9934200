"""AuthStore: the users of one cell, durable, and the changes that can be made to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cellmesh.api.common.v1 import auth_change_pb2
from cellmesh.common.auth.credentials import new_identifier
from cellmesh.common.auth.gates import Gate, GateUser, check_gate_id
from cellmesh.common.auth.keeper import PolicyKeeper
from cellmesh.common.auth.principals import (
    ALL_ID,
    ROLE_COUNT_MAX,
    Role,
    User,
    check_email,
    check_name,
)
from cellmesh.common.auth.records import API_KEY_NAME_SIZE_MAX, ApiKey
from cellmesh.common.auth.retention import AuditRules
from cellmesh.common.auth.rules import Rule, check_rules
from cellmesh.common.errors import (
    BadArg,
    DupIden,
    DupRoleName,
    DupUserEmail,
    DupUserName,
    LimitExceeded,
    NoSuchIden,
)
from cellmesh.common.storage import Slab
from cellmesh.common.time.clock import SYSTEM_CLOCK, Clock

API_KEY_COUNT_MAX: Final = 100
"""Most API keys of one user."""


class AuthStore(PolicyKeeper):
    """Users, roles, rules, gates, credentials and the audit log of one cell.

    Its methods block for a commit when they change something, and then belong into worker threads; what only reads
    answers from memory. The caller of the call being served is who did it.

    Args:
        slab: Opened with `DATABASES` of the change log and of auth among its databases.
        clock: Where the time comes from.
        user_count_max: Most users beside root and those archived; 0 for no limit.
        audit_rules: What the audit log keeps.
    """

    def __init__(
        self,
        slab: Slab,
        *,
        clock: Clock = SYSTEM_CLOCK,
        user_count_max: int = 0,
        audit_rules: AuditRules = AuditRules(),  # noqa: B008  a frozen value
    ) -> None:
        super().__init__(slab, clock=clock)
        self.audit_rules = audit_rules
        self._user_count_max = user_count_max

    # Users.

    def add_user(
        self, name: str, email: str = "", *, admin: bool = False, user_id: str | None = None
    ) -> User:
        """Make a user, of a new iden if none is given.

        Raises BadName, BadArg, DupUserName, DupUserEmail, DupIden, LimitExceeded.
        """
        with self.changing():
            name, email = self._check_user_name(name), self._check_email(email)
            self._check_room()
            user = User(self._new_id(user_id), name, email, admin, create_time_us=self.now_us)
            return self.put(user, detail="created" + (", admin" if admin else ""))

    def update_user(
        self,
        name: str,
        *,
        new_name: str | None = None,
        email: str | None = None,
        admin: bool | None = None,
        locked: bool | None = None,
        archived: bool | None = None,
    ) -> User:
        """Change what is given.

        Raises:
            NoSuchUser, BadName, BadArg, DupUserName, DupUserEmail: as for `add_user`; BadArg also for root.
            LimitExceeded: there is no room for a user that is brought back from the archive.
        """
        with self.changing():
            user = before = self.get_user(name)
            if user.is_root and (
                new_name not in (None, user.name) or admin is False or locked is True or archived is True
            ):
                raise BadArg("root keeps its name, its rights and its freedom", name="user")
            if new_name is not None and new_name != user.name:
                user = replace(user, name=self._check_user_name(new_name))
            if email is not None and email != user.email:
                user = replace(user, email=self._check_email(email))
            if archived is not None:
                if user.archived and not archived:
                    self._check_room()
                # Bringing somebody back and letting them in are two decisions.
                user = replace(user, archived=archived, locked=user.locked or archived)
            if admin is not None:
                user = replace(user, admin=admin)
            if locked is not None:
                user = replace(user, locked=locked)
            changed = _differences(before, user)
            if changed:
                self.put(user, detail=changed)
            if locked is False and self.get_credentials(user.user_id).failed_attempt_count:
                found = self.get_credentials(user.user_id)
                self.put(
                    replace(found, failed_attempt_count=0, failed_time_us=0), detail="attempts forgotten"
                )
            return user

    def delete_user(self, name: str) -> None:
        """Remove a user with everything it has. Raises NoSuchUser, BadArg for root."""
        with self.changing():
            user = self.get_user(name)
            if user.is_root:
                raise BadArg("root cannot be removed", name="user")
            change = auth_change_pb2.AuthChange(user_deleted=user.user_id)
            self.commit(change, target=f"users/{user.name}")

    def set_user_roles(self, name: str, roles: Sequence[str]) -> User:
        """Set a user's roles and their order. Raises NoSuchUser, NoSuchRole, BadArg."""
        with self.changing():
            user = self.get_user(name)
            role_ids = tuple(self.get_role(role).role_id for role in roles)
            if ALL_ID not in role_ids:
                raise BadArg("every user has the role all", name="roles")
            if len(set(role_ids)) < len(role_ids):
                raise BadArg("a role is named twice", name="roles")
            return self._put_roles(user, role_ids)

    def grant(self, name: str, role: str, index: int | None = None) -> User:
        """Give a user a role, at the end or at a place; one it has is moved there, or left where it is.

        Raises:
            NoSuchUser, NoSuchRole, BadArg: no such user or role, or too many roles.
        """
        with self.changing():
            user, role_id = self.get_user(name), self.get_role(role).role_id
            if role_id in user.role_ids and index is None:
                return user
            role_ids = [found for found in user.role_ids if found != role_id]
            role_ids.insert(len(role_ids) if index is None else index, role_id)
            return self._put_roles(user, tuple(role_ids))

    def revoke(self, name: str, role: str) -> User:
        """Take a role from a user. Raises NoSuchUser, NoSuchRole, BadArg for the role all."""
        with self.changing():
            user, role_id = self.get_user(name), self.get_role(role).role_id
            if role_id == ALL_ID:
                raise BadArg("every user has the role all", name="role")
            return self._put_roles(user, tuple(found for found in user.role_ids if found != role_id))

    # Roles.

    def add_role(self, name: str, *, role_id: str | None = None) -> Role:
        """Make a role, of a new iden if none is given. Raises BadName, DupRoleName, DupIden."""
        with self.changing():
            role = Role(self._new_id(role_id), self._check_role_name(name), create_time_us=self.now_us)
            return self.put(role, detail="created")

    def _new_id(self, wanted: str | None) -> str:
        if wanted is None:
            return new_identifier()
        if wanted in self.policy.users or wanted in self.policy.roles:
            raise DupIden(f"there is a user or role of the iden {wanted} already", iden=wanted)
        return wanted

    def rename_role(self, name: str, new_name: str) -> Role:
        """Give a role another name. Raises NoSuchRole, BadName, DupRoleName, BadArg for all."""
        with self.changing():
            role = self.get_role(name)
            if role.name == new_name:
                return role
            if role.role_id == ALL_ID:
                raise BadArg("the role all keeps its name", name="role")
            return self.put(replace(role, name=self._check_role_name(new_name)), detail=f"was {role.name}")

    def delete_role(self, name: str) -> None:
        """Remove a role; users lose it. Raises NoSuchRole, BadArg for all."""
        with self.changing():
            role = self.get_role(name)
            if role.role_id == ALL_ID:
                raise BadArg("the role all cannot be removed", name="role")
            self.commit(auth_change_pb2.AuthChange(role_deleted=role.role_id), target=f"roles/{role.name}")

    # Rules. A subject is a user or a role.

    def rules(self, subject: User | Role, gate_id: str = "") -> tuple[Rule, ...]:
        """The rules of a subject, everywhere or on a gate. Raises NoSuchUser, NoSuchRole, NoSuchAuthGate."""
        subject = self._current(subject)
        if not gate_id:
            return subject.rules
        gate = self.get_gate(gate_id)
        if isinstance(subject, User):
            return gate.user(subject.user_id).rules
        return gate.roles.get(subject.role_id, ())

    def set_rules(self, subject: User | Role, rules: Sequence[Rule], gate_id: str = "") -> tuple[Rule, ...]:
        """Set them all. Raises NoSuchUser, NoSuchRole, NoSuchAuthGate, BadArg."""
        with self.changing():
            subject, new = self._current(subject), tuple(rules)
            check_rules(new)
            if self.rules(subject, gate_id) == new:
                return new
            detail = f"rules of {subject.name}: " + (" ".join(map(str, new)) or "none")
            if not gate_id:
                self.put(replace(subject, rules=new), detail=detail)
                return new
            gate = self.get_gate(gate_id)
            if isinstance(subject, User):
                found = replace(gate.user(subject.user_id), rules=new)
                self.put(gate.with_user(subject.user_id, found), detail=detail)
            else:
                self.put(gate.with_role(subject.role_id, new), detail=detail)
            return new

    def add_rule(
        self, subject: User | Role, rule: Rule, gate_id: str = "", index: int | None = None
    ) -> tuple[Rule, ...]:
        """Add one, at the end or at a place. Raises NoSuchUser, NoSuchRole, NoSuchAuthGate, BadArg."""
        with self.changing():
            rules = list(self.rules(subject, gate_id))
            rules.insert(len(rules) if index is None else index, rule)
            return self.set_rules(subject, rules, gate_id)

    def remove_rule(self, subject: User | Role, rule: Rule, gate_id: str = "") -> tuple[Rule, ...]:
        """Take away the first that is equal. Raises NoSuchUser, NoSuchRole, NoSuchAuthGate."""
        with self.changing():
            rules = list(self.rules(subject, gate_id))
            if rule in rules:
                rules.remove(rule)
            return self.set_rules(subject, rules, gate_id)

    # Gates. The code that makes and removes an object makes and removes its gate.

    def add_gate(self, gate_id: str, kind: str) -> Gate:
        """Make a gate, or return the one that is there. Raises BadArg when that is of another kind."""
        with self.changing():
            found = self.policy.gates.get(check_gate_id(gate_id))
            if found is None:
                return self.put(Gate(gate_id, kind), detail="created")
            if found.kind != kind:
                raise BadArg(f"the gate {gate_id} is a {found.kind}, no {kind}", name="kind", valu=kind)
            return found

    def delete_gate(self, gate_id: str) -> None:
        """Remove a gate with all rules on it. Raises NoSuchAuthGate."""
        with self.changing():
            gate = self.get_gate(gate_id)
            self.commit(auth_change_pb2.AuthChange(gate_deleted=gate_id), target=f"gates/{gate.gate_id}")

    def set_gate_admin(self, name: str, gate_id: str, admin: bool) -> Gate:
        """Say whether a user may do everything on a gate. Raises NoSuchUser, NoSuchAuthGate."""
        with self.changing():
            user, gate = self.get_user(name), self.get_gate(gate_id)
            before = gate.user(user.user_id)
            if before.admin == admin:
                return gate
            found = GateUser(admin, before.rules)
            detail = f"{user.name} is {'administrator' if admin else 'no administrator'}"
            return self.put(gate.with_user(user.user_id, found), detail=detail)

    # API keys.

    def add_api_key(self, key: ApiKey) -> ApiKey:
        """Keep a new key. Raises NoSuchUser, LimitExceeded."""
        with self.changing():
            user = self.get_user(key.user_id)
            count = sum(found.user_id == user.user_id for found in self.policy.api_keys.values())
            if count >= API_KEY_COUNT_MAX:
                raise LimitExceeded(
                    f"user {user.name} has {count} API keys, and no user has more", limit=API_KEY_COUNT_MAX
                )
            return self.put(key, detail=f"API key {key.name or key.key_id} created")

    def rename_api_key(self, key_id: str, name: str) -> ApiKey:
        """Give a key another name. Raises NoSuchIden, BadArg."""
        with self.changing():
            key = self.policy.api_keys.get(key_id)
            if key is None:
                raise NoSuchIden(f"there is no API key {key_id[:64]}", iden=key_id[:64])
            if len(name) > API_KEY_NAME_SIZE_MAX or not (name == "" or name.isprintable()):
                raise BadArg(
                    f"the name of a key has up to {API_KEY_NAME_SIZE_MAX} printable characters", name="name"
                )
            return self.put(replace(key, name=name), detail=f"API key {key.name or key_id} is named {name}")

    def delete_api_key(self, key_id: str) -> None:
        """End a key. Raises NoSuchIden."""
        with self.changing():
            key = self.policy.api_keys.get(key_id)
            if key is None:
                raise NoSuchIden(f"there is no API key {key_id[:64]}", iden=key_id[:64])
            owner = self.get_user(key.user_id).name
            change = auth_change_pb2.AuthChange(api_key_deleted=key_id)
            self.commit(change, target=f"users/{owner}", detail=f"API key {key.name or key_id} revoked")

    def _current(self, subject: User | Role) -> User | Role:
        return self.get_user(subject.user_id) if isinstance(subject, User) else self.get_role(subject.role_id)

    def _put_roles(self, user: User, role_ids: tuple[str, ...]) -> User:
        if len(role_ids) > ROLE_COUNT_MAX:
            raise BadArg(f"a user has {ROLE_COUNT_MAX} roles at most", name="roles")
        if role_ids == user.role_ids:
            return user
        names = " ".join(self.policy.roles[role_id].name for role_id in role_ids)
        return self.put(replace(user, role_ids=role_ids), detail=f"roles: {names}")

    def _check_room(self) -> None:
        """Raise LimitExceeded when there may be no more users. Those archived are not counted."""
        limit = self._user_count_max
        if limit and sum(not user.archived for user in self.policy.users.values()) > limit:
            raise LimitExceeded(
                f"this cell has {limit} users, and is set to have no more",
                limit=limit,
                hint="archive or remove one, or raise user_count_max",
            )

    def _check_user_name(self, name: str) -> str:
        name = check_name(name)
        if name in self.policy.user_names:
            raise DupUserName(f"there is a user {name} already", name=name)
        return name

    def _check_email(self, email: str) -> str:
        if check_email(email) in self.policy.user_emails:
            raise DupUserEmail(f"there is a user with the email {email} already", email=email)
        return email

    def _check_role_name(self, name: str) -> str:
        name = check_name(name)
        if name in self.policy.role_names:
            raise DupRoleName(f"there is a role {name} already", name=name)
        return name


def _differences(before: User, after: User) -> str:
    names = [
        name for name in ("admin", "locked", "archived") if getattr(before, name) != getattr(after, name)
    ]
    told = [name if getattr(after, name) else f"not {name}" for name in names]
    if before.name != after.name:
        told.append(f"was {before.name}")
    if before.email != after.email:
        told.append(f"email {after.email or 'none'}")
    return ", ".join(told)
