"""Users, roles, rules, gates and keys against a model of plain dictionaries: over the store, and over a real AuthService.

Each step is done by the model and by what is tested; both must refuse it for the same cause, or do it. Then who may do
what, asked in every way, must be what the order written in docs/users.md says.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import grpc
import hypothesis.strategies as st
from cellmesh.api.common.v1 import auth_change_pb2, auth_pb2, auth_service_pb2_grpc
from cellmesh.api.common.v1 import auth_service_pb2 as pb
from cellmesh.common.auth import audit
from cellmesh.common.auth.credentials import PasswordPolicy
from cellmesh.common.auth.keeper import TYPE_NAME
from cellmesh.common.auth.passwords import Passwords
from cellmesh.common.auth.replay import AuthApplier
from cellmesh.common.auth.rules import Rule
from cellmesh.common.auth.schema import DATABASES as AUTH_DATABASES
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.auth.stored import load_policy
from cellmesh.common.cell import Cell, running
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.changelog import ChangeLog, Replay
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import (
    AuthDeny,
    BadArg,
    CellError,
    DupRoleName,
    DupUserName,
    NoSuchAuthGate,
    NoSuchIden,
    NoSuchRole,
    NoSuchUser,
    Unauthenticated,
    from_rpc_error,
)
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.storage import Slab, SubDb
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

USERS = ["root", "ann", "bob", "cyd"]
ROLES = ["all", "hunters", "readers"]
GATES = ["layer1", "view1"]
QUESTIONS = [(a,) for a in "abc"] + [(a, b) for a in "abc" for b in "abc"] + [("a", "b", "c")]

NAMES = st.sampled_from(USERS)
ROLE_NAMES = st.sampled_from(ROLES)
WHERE = st.sampled_from(["", "", *GATES])
SUBJECTS = st.one_of(st.tuples(st.just("user"), NAMES), st.tuples(st.just("role"), ROLE_NAMES))
PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map(tuple)
RULES = st.builds(Rule, st.booleans(), PATHS)
INDEXES = st.one_of(st.none(), st.integers(0, 3))
Subject = tuple[str, str]
Rules = list[tuple[bool, tuple[str, ...]]]


class Refused(Exception):
    """The model refuses a step; the cause is a class of errors."""


class Model:
    """What should be. Users and roles have numbers, so that a name may be given to another."""

    def __init__(self) -> None:
        self.count = 2
        self.users: dict[int, dict[str, Any]] = {0: self.new_user("root", admin=True)}
        self.roles: dict[int, dict[str, Any]] = {1: {"name": "all", "rules": []}}
        # Of a gate: who administers it, and the rules of subjects on it.
        self.gates: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, int] = {}

    @staticmethod
    def new_user(name: str, *, admin: bool) -> dict[str, Any]:
        return {"name": name, "admin": admin, "locked": False, "archived": False, "roles": [1], "rules": []}

    def find(self, kind: str, name: str) -> int:
        table, missing = (self.users, NoSuchUser) if kind == "user" else (self.roles, NoSuchRole)
        for number, found in table.items():
            if found["name"] == name:
                return number
        raise Refused(missing)

    def refuse(self, condition: bool, cause: type[CellError]) -> None:
        if condition:
            raise Refused(cause)

    def is_taken(self, table: dict[int, dict[str, Any]], name: str) -> bool:
        return any(found["name"] == name for found in table.values())

    def add_user(self, name: str, admin: bool) -> None:
        self.refuse(self.is_taken(self.users, name), DupUserName)
        self.users[self.count] = self.new_user(name, admin=admin)
        self.count += 1

    def delete_user(self, name: str) -> None:
        number = self.find("user", name)
        self.refuse(number == 0, BadArg)
        del self.users[number]
        self.keys = {label: owner for label, owner in self.keys.items() if owner != number}
        for gate in self.gates.values():
            gate["admins"].discard(number)
            gate["rules"].pop(("user", number), None)

    def update_user(self, name: str, field: str, value: bool) -> None:
        number = self.find("user", name)
        self.refuse(number == 0 and value == (field != "admin"), BadArg)
        user = self.users[number]
        user[field] = value
        if field == "archived" and value:
            user["locked"] = True

    def rename_user(self, name: str, new_name: str) -> None:
        number = self.find("user", name)
        self.refuse(number == 0 and new_name != name, BadArg)
        self.refuse(new_name != name and self.is_taken(self.users, new_name), DupUserName)
        self.users[number]["name"] = new_name

    def add_role(self, name: str) -> None:
        self.refuse(self.is_taken(self.roles, name), DupRoleName)
        self.roles[self.count] = {"name": name, "rules": []}
        self.count += 1

    def rename_role(self, name: str, new_name: str) -> None:
        number = self.find("role", name)
        self.refuse(number == 1 and new_name != name, BadArg)
        self.refuse(new_name != name and self.is_taken(self.roles, new_name), DupRoleName)
        self.roles[number]["name"] = new_name

    def delete_role(self, name: str) -> None:
        number = self.find("role", name)
        self.refuse(number == 1, BadArg)
        del self.roles[number]
        for user in self.users.values():
            user["roles"] = [role for role in user["roles"] if role != number]
        for gate in self.gates.values():
            gate["rules"].pop(("role", number), None)

    def grant(self, name: str, role: str, index: int | None) -> None:
        user, number = self.users[self.find("user", name)], self.find("role", role)
        roles = [found for found in user["roles"] if found != number]
        if number not in user["roles"] or index is not None:
            roles.insert(len(roles) if index is None else index, number)
            user["roles"] = roles

    def revoke(self, name: str, role: str) -> None:
        user, number = self.users[self.find("user", name)], self.find("role", role)
        self.refuse(number == 1, BadArg)
        user["roles"] = [found for found in user["roles"] if found != number]

    def set_roles(self, name: str, roles: list[str]) -> None:
        user = self.users[self.find("user", name)]
        numbers = [self.find("role", role) for role in roles]
        self.refuse(1 not in numbers or len(set(numbers)) < len(numbers), BadArg)
        user["roles"] = numbers

    def rules_of(self, subject: Subject, gate: str) -> Rules:
        kind, name = subject
        number = self.find(kind, name)
        if not gate:
            found: Rules = (self.users if kind == "user" else self.roles)[number]["rules"]
            return found
        self.refuse(gate not in self.gates, NoSuchAuthGate)
        rules: Rules = self.gates[gate]["rules"].setdefault((kind, number), [])
        return rules

    def add_rule(self, subject: Subject, new: Rule, gate: str, index: int | None) -> None:
        rules = self.rules_of(subject, gate)
        rules.insert(len(rules) if index is None else index, (new.allow, new.path))

    def remove_rule(self, subject: Subject, old: Rule, gate: str) -> None:
        rules = self.rules_of(subject, gate)
        if (old.allow, old.path) in rules:
            rules.remove((old.allow, old.path))

    def set_rules(self, subject: Subject, new: list[Rule], gate: str) -> None:
        self.rules_of(subject, gate)[:] = [(found.allow, found.path) for found in new]

    def add_gate(self, gate: str) -> None:
        self.gates.setdefault(gate, {"admins": set(), "rules": {}})

    def delete_gate(self, gate: str) -> None:
        self.refuse(gate not in self.gates, NoSuchAuthGate)
        del self.gates[gate]

    def set_gate_admin(self, name: str, gate: str, admin: bool) -> None:
        number = self.find("user", name)
        self.refuse(gate not in self.gates, NoSuchAuthGate)
        (self.gates[gate]["admins"].add if admin else self.gates[gate]["admins"].discard)(number)

    def add_key(self, name: str, label: str) -> None:
        self.keys[label] = self.find("user", name)

    def revoke_key(self, label: str) -> None:
        self.refuse(label not in self.keys, NoSuchIden)
        del self.keys[label]

    def owner_of(self, label: str) -> str:
        self.refuse(label not in self.keys, Unauthenticated)
        user = self.users[self.keys[label]]
        self.refuse(user["locked"] or user["archived"], AuthDeny)
        return str(user["name"])

    def shown(self) -> dict[str, tuple[bool, bool, bool, list[str]]]:
        return {
            user["name"]: (
                user["admin"],
                user["locked"],
                user["archived"],
                [self.roles[number]["name"] for number in user["roles"]],
            )
            for user in self.users.values()
        }

    def decide(self, name: str, path: tuple[str, ...], gate: str) -> bool | None:
        """The order of docs/users.md."""
        number = self.find("user", name)
        user = self.users[number]
        on = self.gates.get(gate) or {"admins": set(), "rules": {}}
        if user["locked"] or user["archived"]:
            return False
        if user["admin"] or number in on["admins"]:
            return True
        lists = [on["rules"].get(("user", number), []), user["rules"]]
        lists += [on["rules"].get(("role", role), []) for role in user["roles"]]
        lists += [self.roles[role]["rules"] for role in user["roles"]]
        return self.first(lists, path)

    def decide_role(self, name: str, path: tuple[str, ...], gate: str) -> bool | None:
        number = self.find("role", name)
        on = self.gates.get(gate) or {"rules": {}}
        return self.first([on["rules"].get(("role", number), []), self.roles[number]["rules"]], path)

    @staticmethod
    def first(lists: list[Rules], path: tuple[str, ...]) -> bool | None:
        for rules in lists:
            for allow, start in rules:
                if path[: len(start)] == start:
                    return allow
        return None


def open_slab(path: Path) -> Slab:
    return Slab.open(
        path, (*AUTH_DATABASES, *LOG_DATABASES), map_size_bytes=1 << 24, sync=False, space_min_bytes=0
    )


class TestedStore:
    """The store alone."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: dict[str, str] = {}
        self.open()

    def open(self) -> None:
        self.slab = open_slab(self.folder / "slab")
        self.store = AuthStore(self.slab)
        self.passwords = Passwords(self.store, PasswordPolicy())

    def restart(self) -> None:
        self.slab.close()
        self.open()

    def close(self) -> None:
        self.slab.close()

    def add_user(self, name: str, admin: bool) -> None:
        self.store.add_user(name, admin=admin)

    def delete_user(self, name: str) -> None:
        self.store.delete_user(name)

    def update_user(self, name: str, field: str, value: bool) -> None:
        fields: dict[str, Any] = {field: value}
        self.store.update_user(name, **fields)

    def rename_user(self, name: str, new_name: str) -> None:
        self.store.update_user(name, new_name=new_name)

    def add_role(self, name: str) -> None:
        self.store.add_role(name)

    def rename_role(self, name: str, new_name: str) -> None:
        self.store.rename_role(name, new_name)

    def delete_role(self, name: str) -> None:
        self.store.delete_role(name)

    def grant(self, name: str, role: str, index: int | None) -> None:
        self.store.grant(name, role, index)

    def revoke(self, name: str, role: str) -> None:
        self.store.revoke(name, role)

    def set_roles(self, name: str, roles: list[str]) -> None:
        self.store.set_user_roles(name, roles)

    def subject(self, subject: Subject) -> Any:
        kind, name = subject
        return self.store.get_user(name) if kind == "user" else self.store.get_role(name)

    def add_rule(self, subject: Subject, new: Rule, gate: str, index: int | None) -> None:
        self.store.add_rule(self.subject(subject), new, gate, index)

    def remove_rule(self, subject: Subject, old: Rule, gate: str) -> None:
        self.store.remove_rule(self.subject(subject), old, gate)

    def set_rules(self, subject: Subject, new: list[Rule], gate: str) -> None:
        self.store.set_rules(self.subject(subject), new, gate)

    def add_gate(self, gate: str) -> None:
        self.store.add_gate(gate, "layer")

    def delete_gate(self, gate: str) -> None:
        self.store.delete_gate(gate)

    def set_gate_admin(self, name: str, gate: str, admin: bool) -> None:
        self.store.set_gate_admin(name, gate, admin)

    def add_key(self, name: str, label: str) -> None:
        self.keys[label] = self.passwords.make_key(name, label)[1]

    def revoke_key(self, label: str) -> None:
        self.store.delete_api_key(self.keys[label].split(".")[1])

    def owner_of(self, label: str) -> str:
        return self.passwords.prove_by_key(self.keys[label])[0].name

    def shown(self) -> dict[str, tuple[bool, bool, bool, list[str]]]:
        policy = self.store.policy
        assert all(policy.users[user_id].name == name for name, user_id in policy.user_names.items())
        return {
            user.name: (
                user.admin,
                user.locked,
                user.archived,
                [policy.roles[role_id].name for role_id in user.role_ids],
            )
            for user in policy.users.values()
        }

    def decide(self, name: str, path: tuple[str, ...], gate: str) -> bool | None:
        user = self.store.user(name)
        told = user.decide(path, gate).allowed
        assert user.allowed(path, gate, default=True) == (told is not False)
        assert user.allowed(path, gate) == (told is True)
        return told

    def decide_role(self, name: str, path: tuple[str, ...], gate: str) -> bool | None:
        return self.store.policy.decide_role(self.store.get_role(name).role_id, path, gate).allowed

    def look(self) -> None:
        assert load_policy(self.slab) == self.store.policy
        report = audit.check(self.slab)
        assert report.sound, report
        with self.slab.view() as txn:
            assert report.record_count == ChangeLog(self.slab).next_offset(txn)

    def check_replay(self) -> None:
        """The log alone makes the same state, bit for bit."""
        records = ChangeLog(self.slab).read(0, count_max=10_000).records
        other = Path(tempfile.mkdtemp(prefix="auth-replay-"))
        try:
            with open_slab(other / "slab") as slab:
                mirror = AuthStore(slab)
                replay = Replay(slab, [AuthApplier(mirror)])
                for start in range(0, len(records), 3):
                    replay.apply(records[start : start + 3])
                assert mirror.policy == self.store.policy == load_policy(slab)
                with slab.view() as theirs, self.slab.view() as ours:
                    for db in (AUTH_DATABASES[0], *LOG_DATABASES):
                        assert theirs.scan(db, count_max=9999) == ours.scan(db, count_max=9999)
        finally:
            shutil.rmtree(other)


class ModelTrialConfig(CellConfig):
    kind: ClassVar[str] = "trial"


class ModelTrialCell(Cell[ModelTrialConfig]):
    kind = "trial"
    databases = (SubDb("facts", "name -> what it is"),)


class TestedService:
    """AuthService of a real cell, over its socket."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: dict[str, tuple[str, str]] = {}
        self.open()

    def open(self) -> None:
        self.stack = ExitStack()
        config = load_config(ModelTrialConfig, dir=self.folder / "cell", environ={})
        self.cell = self.stack.enter_context(running(ModelTrialCell(config)))
        channel = self.stack.enter_context(open_channel(f"unix:{self.cell.folder.socket_path}"))
        self.stub = auth_service_pb2_grpc.AuthServiceStub(channel)

    def restart(self) -> None:
        self.stack.close()
        self.open()

    def close(self) -> None:
        self.stack.close()

    def call(self, method: str, /, *, metadata: tuple[tuple[str, str], ...] = (), **fields: Any) -> Any:
        try:
            request = getattr(pb, f"{method}Request")(**fields)
            return getattr(self.stub, method)(request, metadata=metadata, timeout=10)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def add_user(self, name: str, admin: bool) -> None:
        self.call("CreateUser", name=name, admin=admin)

    def delete_user(self, name: str) -> None:
        self.call("DeleteUser", user=name)

    def update_user(self, name: str, field: str, value: bool) -> None:
        self.call("UpdateUser", user=name, **fields_of((field, value)))

    def rename_user(self, name: str, new_name: str) -> None:
        self.call("UpdateUser", user=name, name=new_name)

    def add_role(self, name: str) -> None:
        self.call("CreateRole", name=name)

    def rename_role(self, name: str, new_name: str) -> None:
        self.call("UpdateRole", role=name, name=new_name)

    def delete_role(self, name: str) -> None:
        self.call("DeleteRole", role=name)

    def grant(self, name: str, role: str, index: int | None) -> None:
        self.call("GrantRole", user=name, role=role, index=index)

    def revoke(self, name: str, role: str) -> None:
        self.call("RevokeRole", user=name, role=role)

    def set_roles(self, name: str, roles: list[str]) -> None:
        self.call("SetUserRoles", user=name, roles=roles)

    def add_rule(self, subject: Subject, new: Rule, gate: str, index: int | None) -> None:
        self.call("AddRule", rule=to_proto(new), gate_id=gate, index=index, **fields_of(subject))

    def remove_rule(self, subject: Subject, old: Rule, gate: str) -> None:
        self.call("RemoveRule", rule=to_proto(old), gate_id=gate, **fields_of(subject))

    def set_rules(self, subject: Subject, new: list[Rule], gate: str) -> None:
        self.call("SetRules", rules=map(to_proto, new), gate_id=gate, **fields_of(subject))

    def add_gate(self, gate: str) -> None:
        # Gates are made by the code that makes the object.
        self.cell.auth.add_gate(gate, "layer")

    def delete_gate(self, gate: str) -> None:
        self.cell.auth.delete_gate(gate)

    def set_gate_admin(self, name: str, gate: str, admin: bool) -> None:
        self.call("SetGateAdmin", user=name, gate_id=gate, admin=admin)

    def add_key(self, name: str, label: str) -> None:
        made = self.call("CreateApiKey", user=name, name=label)
        self.keys[label] = made.api_key.key_id, made.text

    def revoke_key(self, label: str) -> None:
        self.call("RevokeApiKey", key_id=self.keys[label][0])

    def owner_of(self, label: str) -> str:
        metadata = (("authorization", f"Bearer {self.keys[label][1]}"),)
        return str(self.call("GetCurrentUser", metadata=metadata).user.name)

    def shown(self) -> dict[str, tuple[bool, bool, bool, list[str]]]:
        names = {role.role_id: role.name for role in self.call("ListRoles").roles}
        return {
            user.name: (user.admin, user.locked, user.archived, [names[role_id] for role_id in user.role_ids])
            for user in self.call("ListUsers", include_archived=True).users
        }

    def decide(self, name: str, path: tuple[str, ...], gate: str) -> bool | None:
        return self.ask(user=name, path=path, gate_id=gate)

    def decide_role(self, name: str, path: tuple[str, ...], gate: str) -> bool | None:
        return self.ask(role=name, path=path, gate_id=gate)

    def ask(self, **fields: Any) -> bool | None:
        answers = [
            self.call("CheckAccess", default_allow=default, **fields).allowed for default in (False, True)
        ]
        return answers[0] if answers[0] == answers[1] else None

    def look(self) -> None:
        assert self.call("CheckAuditLog").sound


def fields_of(named: tuple[str, Any]) -> dict[str, Any]:
    return dict([named])


def to_proto(found: Rule) -> auth_pb2.Rule:
    return auth_pb2.Rule(allow=found.allow, path=found.path)


class Machine(RuleBasedStateMachine):
    """Does each step twice and compares."""

    make: ClassVar[type[TestedStore] | type[TestedService]]
    asks_always: ClassVar[bool]
    questions: ClassVar[Sequence[tuple[str, ...]]] = QUESTIONS

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="auth-model-"))
        self.model = Model()
        self.tested: TestedStore | TestedService = self.make(self.folder)
        self.labels: list[str] = []

    def teardown(self) -> None:
        try:
            self.ask_all()
            self.tested.restart()
            self.ask_all()
            if isinstance(self.tested, TestedStore):
                self.tested.check_replay()
        finally:
            self.tested.close()
            shutil.rmtree(self.folder)

    def both(self, step: str, *given: Any) -> None:
        try:
            getattr(self.model, step)(*given)
            cause = None
        except Refused as refused:
            cause = refused.args[0]
        try:
            getattr(self.tested, step)(*given)
            told: Any = None
        except CellError as error:
            told = type(error)
        assert told is cause, (step, given, told, cause)

    @initialize(rules=st.lists(st.lists(RULES, max_size=3), min_size=12, max_size=12))
    def begin(self, rules: list[list[Rule]]) -> None:
        """A start where rules of all kinds meet, so that their order matters."""
        for gate in GATES:
            self.both("add_gate", gate)
        for name in ("ann", "bob"):
            self.both("add_user", name, False)
        self.both("add_role", "hunters")
        self.both("grant", "ann", "hunters", 0)
        places = [
            (subject, gate)
            for subject in (("user", "ann"), ("user", "bob"), ("role", "all"), ("role", "hunters"))
            for gate in ("", *GATES)
        ]
        for (subject, gate), found in zip(places, rules, strict=True):
            self.both("set_rules", subject, found, gate)

    @rule(name=NAMES, admin=st.booleans())
    def add_user(self, name: str, admin: bool) -> None:
        self.both("add_user", name, admin)

    @rule(name=NAMES)
    def delete_user(self, name: str) -> None:
        self.both("delete_user", name)

    @rule(name=NAMES, field=st.sampled_from(["admin", "locked", "archived"]), value=st.booleans())
    def update_user(self, name: str, field: str, value: bool) -> None:
        self.both("update_user", name, field, value)

    @rule(name=NAMES, new_name=NAMES)
    def rename_user(self, name: str, new_name: str) -> None:
        self.both("rename_user", name, new_name)

    @rule(name=ROLE_NAMES)
    def add_role(self, name: str) -> None:
        self.both("add_role", name)

    @rule(name=ROLE_NAMES, new_name=ROLE_NAMES)
    def rename_role(self, name: str, new_name: str) -> None:
        self.both("rename_role", name, new_name)

    @rule(name=ROLE_NAMES)
    def delete_role(self, name: str) -> None:
        self.both("delete_role", name)

    @rule(name=NAMES, role=ROLE_NAMES, index=INDEXES)
    def grant(self, name: str, role: str, index: int | None) -> None:
        self.both("grant", name, role, index)

    @rule(name=NAMES, role=ROLE_NAMES)
    def revoke(self, name: str, role: str) -> None:
        self.both("revoke", name, role)

    @rule(name=NAMES, roles=st.lists(ROLE_NAMES, max_size=3))
    def set_roles(self, name: str, roles: list[str]) -> None:
        self.both("set_roles", name, roles)

    @rule(subject=SUBJECTS, new=RULES, gate=WHERE, index=INDEXES)
    def add_rule(self, subject: Subject, new: Rule, gate: str, index: int | None) -> None:
        self.both("add_rule", subject, new, gate, index)

    @rule(subject=SUBJECTS, old=RULES, gate=WHERE)
    def remove_rule(self, subject: Subject, old: Rule, gate: str) -> None:
        self.both("remove_rule", subject, old, gate)

    @rule(subject=SUBJECTS, new=st.lists(RULES, max_size=3), gate=WHERE)
    def set_rules(self, subject: Subject, new: list[Rule], gate: str) -> None:
        self.both("set_rules", subject, new, gate)

    @rule(gate=st.sampled_from(GATES))
    def add_gate(self, gate: str) -> None:
        self.both("add_gate", gate)

    @rule(gate=st.sampled_from(GATES), sure=st.integers(0, 3))
    def delete_gate(self, gate: str, sure: int) -> None:
        if not sure:
            self.both("delete_gate", gate)

    @rule(name=NAMES, gate=st.sampled_from(GATES), admin=st.booleans())
    def set_gate_admin(self, name: str, gate: str, admin: bool) -> None:
        self.both("set_gate_admin", name, gate, admin)

    @rule(name=NAMES)
    def add_key(self, name: str) -> None:
        label = f"key {len(self.labels)}"
        self.both("add_key", name, label)
        if label in self.model.keys:
            self.labels.append(label)

    @rule(data=st.data())
    def revoke_key(self, data: st.DataObject) -> None:
        if self.labels:
            self.both("revoke_key", data.draw(st.sampled_from(self.labels)))

    @rule(sure=st.integers(0, 2))
    def restart(self, sure: int) -> None:
        if not sure:
            self.tested.restart()

    @rule(name=NAMES, path=PATHS, gate=WHERE)
    def ask(self, name: str, path: tuple[str, ...], gate: str) -> None:
        if self.model.is_taken(self.model.users, name):
            expected = self.model.decide(name, path, gate)
            assert self.tested.decide(name, path, gate) == expected, (name, path, gate)

    @invariant()
    def users_are_those_of_the_model(self) -> None:
        assert self.tested.shown() == self.model.shown()

    @invariant()
    def all_answers_are_those_of_the_model(self) -> None:
        if self.asks_always:
            self.ask_all()
            self.tested.look()

    def ask_all(self) -> None:
        for gate in ("", *GATES, "unknown"):
            for path in self.questions:
                for user in self.model.users.values():
                    name = user["name"]
                    told = self.tested.decide(name, path, gate)
                    assert told == self.model.decide(name, path, gate), (name, path, gate, told)
                for role in self.model.roles.values():
                    name = role["name"]
                    told = self.tested.decide_role(name, path, gate)
                    assert told == self.model.decide_role(name, path, gate), (name, path, gate, told)
        for label in self.labels:
            try:
                expected: Any = self.model.owner_of(label)
            except Refused as refused:
                expected = refused.args[0]
            try:
                found: Any = self.tested.owner_of(label)
            except CellError as error:
                found = type(error)
            assert found == expected, label


class StoreMachine(Machine):
    """Against the store, which is asked everything after each step."""

    make = TestedStore
    asks_always = True


class ServiceMachine(Machine):
    """Against a real AuthService, which is asked everything at the end."""

    make = TestedService
    asks_always = False
    questions = (("a",), ("b", "c"), ("a", "b", "c"), ("c", "a"))


_QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
StoreMachine.TestCase.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=_QUIET
)
ServiceMachine.TestCase.settings = settings(
    max_examples=4,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=_QUIET,
    # Each run starts a cell: what fails is told as it is, and the store's machine makes it small.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
TestStore = StoreMachine.TestCase
TestService = ServiceMachine.TestCase


def test_the_log_has_changes_of_auth_alone(tmp_path: Path) -> None:
    tested = TestedStore(tmp_path)
    tested.add_user("ann", False)
    (record,) = ChangeLog(tested.slab).read(0, count_max=10).records
    assert record.type_name == TYPE_NAME
    assert auth_change_pb2.AuthChange.FromString(record.payload).user_put.name == "ann"
    tested.check_replay()
    tested.close()
