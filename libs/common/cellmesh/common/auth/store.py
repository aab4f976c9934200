"""AuthStore: the users of one cell, durable, and the checks that need them.

Every change is one transaction: the new state, its entry in the change log, its record in the audit log. Changes are
made one after the other; checks go on meanwhile with the policy as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from cellmesh.api.common.v1 import auth_change_pb2, auth_pb2
from cellmesh.common.auth import audit, schema
from cellmesh.common.auth.context import ROOT_ID, Caller, CallerKind, find_current_call
from cellmesh.common.auth.credentials import new_identifier
from cellmesh.common.auth.gates import Gate, GateUser, check_gate_id
from cellmesh.common.auth.policy import Decision, Policy
from cellmesh.common.auth.principals import (
    ALL_ID,
    ROLE_COUNT_MAX,
    Role,
    User,
    check_email,
    check_name,
)
from cellmesh.common.auth.records import (
    ApiKey,
    Credentials,
    Stored,
    api_key_of_bytes,
    credentials_of_bytes,
    gate_of_bytes,
    put_change,
    role_of_bytes,
    to_bytes,
    user_of_bytes,
)
from cellmesh.common.auth.rules import Path, Rule, check_rules, parse_path
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.errors import (
    BadArg,
    DupRoleName,
    DupUserEmail,
    DupUserName,
    LimitExceeded,
    NoSuchAuthGate,
    NoSuchIden,
    NoSuchRole,
    NoSuchUser,
    StorageCorrupt,
)
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.time.clock import SYSTEM_CLOCK, Clock

T = TypeVar("T")

TYPE_NAME: Final = auth_change_pb2.AuthChange.DESCRIPTOR.full_name
LOAD_COUNT: Final = 1000
API_KEY_COUNT_MAX: Final = 100
"""Most API keys of one user."""


@dataclass(frozen=True, slots=True)
class AuthUser:
    """A user as other code holds it: what it says is always of now.

    Attributes:
        store: Where it is kept.
        user_id: Its identifier.
    """

    store: AuthStore
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


class AuthStore:
    """Users, roles, rules, gates, credentials and the audit log of one cell.

    Its methods block for a commit when they change something, and then belong into worker threads; what only reads
    answers from memory. The caller of the call being served is who did it.

    Args:
        slab: Opened with `DATABASES` of the change log and of auth among its databases.
        clock: Where the time comes from.
        user_count_max: Most users beside root; 0 for no limit.

    Attributes:
        policy: Everything as it is now. Replaced by each change.
    """

    def __init__(self, slab: Slab, *, clock: Clock = SYSTEM_CLOCK, user_count_max: int = 0) -> None:
        self.slab = slab
        self.clock = clock
        self._log = ChangeLog(slab)
        self._user_count_max = user_count_max
        self._lock = threading.RLock()
        self.policy = load_policy(slab)

    @property
    def now_us(self) -> int:
        """The time, in microseconds since 1970."""
        return self.clock.now() * 1000

    # For others: who is who, and who may do what. From memory.

    def user(self, name: str) -> AuthUser:
        """The user of this name or identifier. Raises NoSuchUser."""
        return AuthUser(self, self.get_user(name).user_id)

    def find_user_of(self, caller: Caller) -> AuthUser | None:
        """The user that a caller is; None for cells and strangers, who are no users."""
        if caller.kind is CallerKind.LOCAL:
            return AuthUser(self, ROOT_ID)
        return AuthUser(self, caller.user_id) if caller.user_id in self.policy.users else None

    def allowed(self, user: str, path: Path, gate: str = "", *, default: bool = False) -> bool:
        """Whether a user (name or identifier) may do something. Raises NoSuchUser, BadArg."""
        return self.policy.allowed(self.get_user(user).user_id, path, gate, default=default)

    def get_user(self, name: str) -> User:
        """A user by name or identifier. Raises NoSuchUser."""
        found = self.policy.find_user(name)
        if found is None:
            raise NoSuchUser(f"there is no user {name[:128]}", username=name[:128])
        return found

    def get_role(self, name: str) -> Role:
        """A role by name or identifier. Raises NoSuchRole."""
        found = self.policy.find_role(name)
        if found is None:
            raise NoSuchRole(f"there is no role {name[:128]}", name=name[:128])
        return found

    def get_gate(self, gate_id: str) -> Gate:
        """A gate. Raises NoSuchAuthGate."""
        found = self.policy.gates.get(gate_id)
        if found is None:
            raise NoSuchAuthGate(f"there is no gate {gate_id[:200]}", iden=gate_id[:200])
        return found

    def get_credentials(self, user_id: str) -> Credentials:
        """The credentials of a user; empty ones when it has none."""
        return self.policy.credentials.get(user_id) or Credentials(user_id)

    # Users.

    def add_user(self, name: str, email: str = "", *, admin: bool = False) -> User:
        """Make a user. Raises BadName, BadArg, DupUserName, DupUserEmail, LimitExceeded."""
        with self.changing():
            name, email = self._check_user_name(name), self._check_email(email)
            if 0 < self._user_count_max <= len(self.policy.users) - 1:
                raise LimitExceeded(
                    f"this cell has {self._user_count_max} users, and is set to have no more",
                    limit=self._user_count_max,
                )
            user = User(new_identifier(), name, email, admin, create_time_us=self.now_us)
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
        """Change what is given. Raises NoSuchUser, BadName, BadArg, DupUserName, DupUserEmail."""
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
            self._commit(change, target=f"users/{user.name}")

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

    def add_role(self, name: str) -> Role:
        """Make a role. Raises BadName, DupRoleName."""
        with self.changing():
            role = Role(new_identifier(), self._check_role_name(name), create_time_us=self.now_us)
            return self.put(role, detail="created")

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
            self._commit(auth_change_pb2.AuthChange(role_deleted=role.role_id), target=f"roles/{role.name}")

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
            self._commit(auth_change_pb2.AuthChange(gate_deleted=gate_id), target=f"gates/{gate.gate_id}")

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

    def delete_api_key(self, key_id: str) -> None:
        """End a key. Raises NoSuchIden."""
        with self.changing():
            key = self.policy.api_keys.get(key_id)
            if key is None:
                raise NoSuchIden(f"there is no API key {key_id[:64]}", iden=key_id[:64])
            owner = self.get_user(key.user_id).name
            change = auth_change_pb2.AuthChange(api_key_deleted=key_id)
            self._commit(change, target=f"users/{owner}", detail=f"API key {key.name or key_id} revoked")

    # How changes are made.

    def changing(self) -> AbstractContextManager[object]:
        """Held by whoever looks at the policy and then changes it."""
        return self._lock

    def put(self, value: T, *, detail: str = "") -> T:
        """Make or replace one thing, durably. The caller has checked it, and holds `changing`."""
        assert isinstance(value, Stored)
        self._commit(put_change(value), target=self._resource(value), detail=detail)
        return value

    def put_in_memory(self, value: Stored) -> None:
        """Have something count until the restart, where it could not be stored. Hold `changing` meanwhile."""
        self.policy = self.policy.after(put_change(value))

    def _commit(self, change: auth_change_pb2.AuthChange, *, target: str, detail: str = "") -> None:
        call = find_current_call()
        actor = call.caller.name if call else ""
        entry = audit.AuditEntry(
            auth_pb2.AUDIT_KIND_CHANGE,
            actor,
            str(change.WhichOneof("change")),
            target,
            detail,
            call.peer if call else "",
            call.request_id if call else "",
        )
        time_us = self.now_us
        payload = change.SerializeToString(deterministic=True)
        write, publish = self.plan(change)

        def op(txn: WriteTxn) -> None:
            write(txn)
            self._log.append(txn, time_us=time_us, actor=actor, type_name=TYPE_NAME, payload=payload)
            audit.append(txn, entry, time_us)

        self.slab.write(op)
        publish()

    def plan(
        self, change: auth_change_pb2.AuthChange
    ) -> tuple[Callable[[WriteTxn], None], Callable[[], None]]:
        """What a change means: what to write, and what to call once that is committed. Hold `changing` meanwhile.

        A follower does both with the payload of each record whose type is `TYPE_NAME`.
        """
        before, after = self.policy, self.policy.after(change)
        puts, deletes = _written(before, after)

        def write(txn: WriteTxn) -> None:
            for key, value in puts:
                txn.put(schema.AUTH, key, value)
            for key in deletes:
                txn.delete(schema.AUTH, key)

        def publish() -> None:
            self.policy = after

        return write, publish

    def _resource(self, value: Stored) -> str:
        match value:
            case User():
                return f"users/{value.name}"
            case Role():
                return f"roles/{value.name}"
            case Gate():
                return f"gates/{value.gate_id}"
            case Credentials() | ApiKey():
                return f"users/{self.get_user(value.user_id).name}"

    def _current(self, subject: User | Role) -> User | Role:
        return self.get_user(subject.user_id) if isinstance(subject, User) else self.get_role(subject.role_id)

    def _put_roles(self, user: User, role_ids: tuple[str, ...]) -> User:
        if len(role_ids) > ROLE_COUNT_MAX:
            raise BadArg(f"a user has {ROLE_COUNT_MAX} roles at most", name="roles")
        if role_ids == user.role_ids:
            return user
        names = " ".join(self.policy.roles[role_id].name for role_id in role_ids)
        return self.put(replace(user, role_ids=role_ids), detail=f"roles: {names}")

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


def load_policy(slab: Slab) -> Policy:
    """Read everything that is stored. Raises StorageCorrupt."""
    found: dict[bytes, list[bytes]] = {kind: [] for kind in _KINDS}
    after = None
    while True:
        with slab.view() as txn:
            chunk = txn.scan(schema.AUTH, count_max=LOAD_COUNT, after=after)
        for key, value in chunk.items:
            if key[:1] not in found:
                raise StorageCorrupt(f"auth has a record of an unknown kind, {key[:1]!r}")
            found[key[:1]].append(value)
        after = chunk.resume
        if after is None:
            break
    return Policy(
        map(user_of_bytes, found[schema.USER]),
        map(role_of_bytes, found[schema.ROLE]),
        map(gate_of_bytes, found[schema.GATE]),
        map(credentials_of_bytes, found[schema.CREDENTIALS]),
        map(api_key_of_bytes, found[schema.API_KEY]),
    )


def _written(before: Policy, after: Policy) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    """What to put and what to delete for the second policy where the first one is stored."""
    puts: list[tuple[bytes, bytes]] = []
    deletes: list[bytes] = []
    for kind, old, new in zip(_KINDS, _parts(before), _parts(after), strict=True):
        for name, value in new.items():
            # What did not change is the same object in both.
            if old.get(name) is not value:
                puts.append((kind + name.encode(), to_bytes(value)))
        deletes += [kind + name.encode() for name in old if name not in new]
    return puts, deletes


_KINDS: Final = (schema.USER, schema.ROLE, schema.GATE, schema.CREDENTIALS, schema.API_KEY)


def _parts(policy: Policy) -> tuple[Mapping[str, Stored], ...]:
    """What is stored of a policy, in the order of the kinds."""
    return policy.users, policy.roles, policy.gates, policy.credentials, policy.api_keys


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
