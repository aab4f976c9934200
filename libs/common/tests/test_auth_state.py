"""Users, roles, rules and gates against a simple model; what is stored is what is known, and the log rebuilds it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from cellmesh.api.common.v1 import auth_change_pb2
from cellmesh.common.auth import audit
from cellmesh.common.auth.context import ROOT_ID
from cellmesh.common.auth.keeper import TYPE_NAME
from cellmesh.common.auth.principals import ALL_ID, Role, User
from cellmesh.common.auth.rules import Rule
from cellmesh.common.auth.schema import DATABASES as AUTH_DATABASES
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.auth.stored import load_policy
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.errors import BadArg, DupRoleName, DupUserName, NoSuchRole, NoSuchUser
from cellmesh.common.storage import Slab
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

NAMES = st.sampled_from(["ann", "bob", "cyd", "dee"])
ROLE_NAMES = st.sampled_from(["hunters", "readers", "all"])
GATES = st.sampled_from(["", "", "layer1", "view1"])
PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map(tuple)
RULES = st.builds(Rule, st.booleans(), PATHS)
QUESTIONS = [(a,) for a in "abc"] + [(a, b) for a in "abc" for b in "abc"] + [("a", "b", "c")]


def open_slab(path: Path) -> Slab:
    return Slab.open(
        path, (*AUTH_DATABASES, *LOG_DATABASES), map_size_bytes=1 << 24, sync=False, space_min_bytes=0
    )


class AuthMachine(RuleBasedStateMachine):
    """The model: plain dictionaries, and the order of questions written out as a list."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(prefix="auth-state-"))
        self.slab = open_slab(self.path / "slab")
        self.store = AuthStore(self.slab)
        self.users: dict[str, dict[str, Any]] = {
            "root": {"admin": True, "locked": False, "roles": ["all"], "rules": {}}
        }
        self.roles: dict[str, dict[str, list[Rule]]] = {"all": {}}
        self.gate_admins: set[tuple[str, str]] = set()

    def teardown(self) -> None:
        self.slab.close()
        shutil.rmtree(self.path)

    @initialize()
    def make_gates(self) -> None:
        self.store.add_gate("layer1", "layer")
        self.store.add_gate("view1", "view")

    # What may happen.

    @rule(name=NAMES, admin=st.booleans())
    def add_user(self, name: str, admin: bool) -> None:
        if name in self.users:
            self.fails(DupUserName, lambda: self.store.add_user(name))
            return
        self.store.add_user(name, admin=admin)
        self.users[name] = {"admin": admin, "locked": False, "roles": ["all"], "rules": {}}

    @rule(name=NAMES)
    def delete_user(self, name: str) -> None:
        if name not in self.users:
            self.fails(NoSuchUser, lambda: self.store.delete_user(name))
            return
        self.store.delete_user(name)
        del self.users[name]
        self.gate_admins = {found for found in self.gate_admins if found[0] != name}

    @rule(name=NAMES, admin=st.booleans(), locked=st.booleans())
    def update_user(self, name: str, admin: bool, locked: bool) -> None:
        if name in self.users:
            self.store.update_user(name, admin=admin, locked=locked)
            self.users[name].update(admin=admin, locked=locked)

    @rule(name=NAMES, new_name=NAMES)
    def rename_user(self, name: str, new_name: str) -> None:
        if name not in self.users:
            return
        if new_name in self.users and new_name != name:
            self.fails(DupUserName, lambda: self.store.update_user(name, new_name=new_name))
            return
        self.store.update_user(name, new_name=new_name)
        self.users[new_name] = self.users.pop(name)
        self.gate_admins = {(new_name if user == name else user, gate) for user, gate in self.gate_admins}

    @rule(name=ROLE_NAMES)
    def add_role(self, name: str) -> None:
        if name in self.roles:
            self.fails(DupRoleName, lambda: self.store.add_role(name))
            return
        self.store.add_role(name)
        self.roles[name] = {}

    @rule(name=ROLE_NAMES)
    def delete_role(self, name: str) -> None:
        if name == "all" or name not in self.roles:
            self.fails(BadArg if name == "all" else NoSuchRole, lambda: self.store.delete_role(name))
            return
        self.store.delete_role(name)
        del self.roles[name]
        for user in self.users.values():
            user["roles"] = [role for role in user["roles"] if role != name]

    @rule(name=NAMES, role=ROLE_NAMES, index=st.one_of(st.none(), st.integers(0, 3)))
    def grant(self, name: str, role: str, index: int | None) -> None:
        if name not in self.users or role not in self.roles:
            self.fails((NoSuchUser, NoSuchRole), lambda: self.store.grant(name, role, index))
            return
        self.store.grant(name, role, index)
        had = self.users[name]["roles"]
        if role in had and index is None:
            return
        if role in had:
            had.remove(role)
        had.insert(len(had) if index is None else index, role)

    @rule(name=NAMES, role=ROLE_NAMES)
    def revoke(self, name: str, role: str) -> None:
        if name not in self.users or role not in self.roles:
            return
        if role == "all":
            self.fails(BadArg, lambda: self.store.revoke(name, role))
            return
        self.store.revoke(name, role)
        if role in self.users[name]["roles"]:
            self.users[name]["roles"].remove(role)

    @rule(name=NAMES, gate=GATES, new=RULES, index=st.one_of(st.none(), st.integers(0, 3)))
    def add_user_rule(self, name: str, gate: str, new: Rule, index: int | None) -> None:
        if name in self.users:
            self.store.add_rule(self.store.get_user(name), new, gate, index)
            had = self.users[name]["rules"].setdefault(gate, [])
            had.insert(len(had) if index is None else index, new)

    @rule(name=ROLE_NAMES, gate=GATES, new=RULES)
    def add_role_rule(self, name: str, gate: str, new: Rule) -> None:
        if name in self.roles:
            self.store.add_rule(self.store.get_role(name), new, gate)
            self.roles[name].setdefault(gate, []).append(new)

    @rule(name=NAMES, gate=GATES, old=RULES)
    def remove_user_rule(self, name: str, gate: str, old: Rule) -> None:
        if name in self.users:
            self.store.remove_rule(self.store.get_user(name), old, gate)
            had = self.users[name]["rules"].get(gate, [])
            if old in had:
                had.remove(old)

    @rule(name=ROLE_NAMES, gate=GATES, rules=st.lists(RULES, max_size=3))
    def set_role_rules(self, name: str, gate: str, rules: list[Rule]) -> None:
        if name in self.roles:
            self.store.set_rules(self.store.get_role(name), rules, gate)
            self.roles[name][gate] = list(rules)

    @rule(name=NAMES, gate=st.sampled_from(["layer1", "view1"]), admin=st.booleans())
    def gate_admin(self, name: str, gate: str, admin: bool) -> None:
        if name in self.users:
            self.store.set_gate_admin(name, gate, admin)
            (self.gate_admins.add if admin else self.gate_admins.discard)((name, gate))

    @rule()
    def restart(self) -> None:
        self.slab.close()
        self.slab = open_slab(self.path / "slab")
        self.store = AuthStore(self.slab)

    # What must hold.

    @invariant()
    def users_and_roles_are_those_of_the_model(self) -> None:
        policy = self.store.policy
        assert set(policy.user_names) == set(self.users)
        assert set(policy.role_names) == set(self.roles)
        for name, model in self.users.items():
            user = self.store.get_user(name)
            assert [policy.roles[role_id].name for role_id in user.role_ids] == model["roles"]
            assert (user.admin, user.locked) == (model["admin"], model["locked"])

    @invariant()
    def answers_are_those_of_the_model(self) -> None:
        for name in self.users:
            for path in QUESTIONS:
                for gate in ("", "layer1", "view1", "unknown"):
                    user = self.store.user(name)
                    told = user.decide(path, gate)
                    assert told.allowed == self.answer(name, path, gate), (name, path, gate, told)
                    assert user.allowed(path, gate, default=True) == (told.allowed is not False)

    @invariant()
    def what_is_stored_is_what_is_known(self) -> None:
        assert load_policy(self.slab) == self.store.policy

    @invariant()
    def the_audit_log_is_sound_and_has_each_change(self) -> None:
        report = audit.check(self.slab)
        assert report.sound, report
        with self.slab.view() as txn:
            assert report.record_count == ChangeLog(self.slab).next_offset(txn)

    def answer(self, name: str, path: tuple[str, ...], gate: str) -> bool | None:
        user = self.users[name]
        if user["locked"]:
            return False
        if user["admin"] or (name, gate) in self.gate_admins:
            return True
        asked: list[Rule] = []
        if gate:
            asked += user["rules"].get(gate, [])
        asked += user["rules"].get("", [])
        if gate:
            for role in user["roles"]:
                asked += self.roles[role].get(gate, [])
        for role in user["roles"]:
            asked += self.roles[role].get("", [])
        for found in asked:
            if path[: len(found.path)] == found.path:
                return found.allow
        return None

    @rule()
    def the_log_rebuilds_the_same_state(self) -> None:
        log = ChangeLog(self.slab)
        records = log.read(0, count_max=10_000).records
        other = Path(tempfile.mkdtemp(prefix="auth-replay-"))
        slab = open_slab(other / "slab")
        try:
            mirror = AuthStore(slab)
            for record in records:
                assert record.type_name == TYPE_NAME
                change = auth_change_pb2.AuthChange.FromString(record.payload)
                with mirror.changing():
                    write, publish = mirror.plan(change)
                    slab.write(write)
                    publish()
            assert mirror.policy == self.store.policy
            assert load_policy(slab) == self.store.policy
        finally:
            slab.close()
            shutil.rmtree(other)

    @staticmethod
    def fails(kinds: Any, action: Any) -> None:
        try:
            action()
        except kinds:
            return
        raise AssertionError("it was not refused")


AuthMachine.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestAuthMachine = AuthMachine.TestCase


def test_root_and_all_are_there_from_the_first_moment_and_stay(tmp_path: Path) -> None:
    with open_slab(tmp_path / "slab") as slab:
        store = AuthStore(slab)
        assert store.get_user("root") == User(ROOT_ID, "root", admin=True)
        assert store.get_role("all") == Role(ALL_ID, "all")
        for attempt in (
            lambda: store.delete_user("root"),
            lambda: store.update_user("root", admin=False),
            lambda: store.update_user("root", locked=True),
            lambda: store.update_user("root", archived=True),
            lambda: store.update_user("root", new_name="toor"),
            lambda: store.delete_role("all"),
            lambda: store.rename_role("all", "some"),
            lambda: store.revoke("root", "all"),
        ):
            AuthMachine.fails(BadArg, attempt)
        # Nothing was stored for any of that.
        with slab.view() as txn:
            assert ChangeLog(slab).next_offset(txn) == 0


def test_a_user_held_by_other_code_loses_its_rights_at_once(tmp_path: Path) -> None:
    with open_slab(tmp_path / "slab") as slab:
        store = AuthStore(slab)
        store.add_user("bob", admin=True)
        held = store.user("bob")
        assert held.admin
        assert held.allowed("node.add")
        store.update_user("bob", locked=True)
        assert not held.admin
        assert not held.allowed("node.add", default=True)
        store.update_user("bob", locked=False, admin=False)
        store.add_rule(held.record, Rule.parse("node.add"))
        assert held.allowed("node.add")
        store.delete_user("bob")
        assert not held.allowed("node.add", default=True)
        # Another of the same name is somebody else.
        store.add_user("bob", admin=True)
        assert not held.admin
        assert not held.allowed("node.add", default=True)
