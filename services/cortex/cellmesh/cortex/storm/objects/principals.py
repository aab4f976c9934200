"""Users, roles and gates as values that hold idens, and what users and roles have in common: rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.auth.gates import Gate
from cellmesh.common.auth.principals import Role, User
from cellmesh.common.auth.rules import Rule, parse_path
from cellmesh.common.errors import BadArg, SchemaViolation
from cellmesh.cortex.storm.rights.gates import ensure_gate
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.common.auth.store import AuthStore
    from cellmesh.cortex.storm.runtime.context import RunContext


class UserObject:
    """A user, by its iden."""

    __slots__ = ("auth", "iden")

    def __init__(self, auth: AuthStore, iden: str) -> None:
        self.auth = auth
        self.iden = iden

    @property
    def record(self) -> User:
        """What is known of the user now; raises NoSuchUser."""
        return self.auth.get_user(self.iden)

    def storm_plain(self) -> dict[str, Any]:
        """Return what is known of the user."""
        user = self.record
        gates: dict[str, Any] = {}
        for gate in self.auth.policy.gates.values():
            own = gate.user(self.iden)
            if not own.is_nothing:
                gates[gate.gate_id] = {
                    **({"admin": True} if own.admin else {}),
                    **({"rules": rules_plain(own.rules)} if own.rules else {}),
                }
        return {
            "type": "user",
            "iden": self.iden,
            "name": user.name,
            "rules": rules_plain(user.rules),
            "roles": [RoleObject(self.auth, role).storm_plain() for role in user.role_ids],
            "admin": user.admin,
            "email": user.email or None,
            "locked": user.locked,
            "archived": user.archived,
            "authgates": gates,
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"auth:user: {self.iden}"


class RoleObject:
    """A role, by its iden."""

    __slots__ = ("auth", "iden")

    def __init__(self, auth: AuthStore, iden: str) -> None:
        self.auth = auth
        self.iden = iden

    @property
    def record(self) -> Role:
        """What is known of the role now; raises NoSuchRole."""
        return self.auth.get_role(self.iden)

    def storm_plain(self) -> dict[str, Any]:
        """Return what is known of the role."""
        role = self.record
        return {
            "type": "role",
            "iden": self.iden,
            "name": role.name,
            "rules": rules_plain(role.rules),
            "authgates": {
                gate.gate_id: {"rules": rules_plain(gate.roles[self.iden])}
                for gate in self.auth.policy.gates.values()
                if gate.roles.get(self.iden)
            },
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"auth:role: {self.iden}"


class GateObject:
    """An object that has rules of its own, as it is when it is made."""

    __slots__ = ("gate",)

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def storm_plain(self) -> dict[str, Any]:
        """Return who has which rules."""
        return {
            "iden": self.gate.gate_id,
            "type": self.gate.kind,
            "users": [
                {"iden": iden, "rules": rules_plain(own.rules), "admin": own.admin}
                for iden, own in self.gate.users.items()
            ],
            "roles": [
                {"iden": iden, "rules": rules_plain(rules), "admin": False}
                for iden, rules in self.gate.roles.items()
            ],
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"auth:gate: {self.gate.gate_id}"


Subject = UserObject | RoleObject


# Rules as values.


def rules_plain(rules: Sequence[Rule]) -> list[tuple[bool, tuple[str, ...]]]:
    """Return rules as queries have them."""
    return [(rule.allow, rule.path) for rule in rules]


def rule_of(value: Any) -> Rule:
    """Return the rule that a value stands for: a pair of whether it allows, and the path.

    Raises:
        SchemaViolation: it is no rule.
    """
    found = toprim(value)
    if not isinstance(found, (list, tuple)) or len(found) != 2:
        raise SchemaViolation("a rule is a pair: whether it allows, and the path", name="rule")
    allow, path = found
    if not isinstance(allow, bool):
        raise SchemaViolation("a rule begins with true or false", name="rule")
    if not isinstance(path, (list, tuple)) or not path:
        raise SchemaViolation("the path of a rule is a list of its words", name="rule")
    return Rule(tobool(allow), tuple(tostr(part) for part in path))


def path_of(value: Any) -> tuple[str, ...]:
    """Return the path of a permission given as text with dots."""
    return parse_path(tostr(value))


def known_gate(context: RunContext, gate: Any) -> str:
    return "" if gate is None else ensure_gate(context, tostr(gate))


def asked_gate(gate: Any) -> str:
    return "" if gate is None else tostr(gate)


def _confirm_rules(context: RunContext, self: Subject, gate: Any) -> None:
    kind = "user" if isinstance(self, UserObject) else "role"
    context.confirm(("auth", kind, "set", "rules"), asked_gate(gate))


def _get_rules(context: RunContext, self: Subject, gate: Any) -> list[Any]:
    found = asked_gate(gate)
    if found and found not in self.auth.policy.gates:
        return []
    return rules_plain(self.auth.rules(self.record, found))


def _set_rules(context: RunContext, self: Subject, rules: Any, gate: Any) -> None:
    _confirm_rules(context, self, gate)
    if rules is None:
        raise SchemaViolation("the rules are a list of rules", name="rules")
    wanted = [rule_of(rule) for rule in toiter(context, rules)]
    found = known_gate(context, gate)
    context.session.pause()
    self.auth.set_rules(self.record, wanted, found)


def _add_rule(context: RunContext, self: Subject, rule: Any, gate: Any, index: Any) -> None:
    _confirm_rules(context, self, gate)
    wanted, found = rule_of(rule), known_gate(context, gate)
    context.session.pause()
    self.auth.add_rule(self.record, wanted, found, None if index is None else toint(index))


def _del_rule(context: RunContext, self: Subject, rule: Any, gate: Any) -> None:
    _confirm_rules(context, self, gate)
    wanted, found = rule_of(rule), known_gate(context, gate)
    context.session.pause()
    self.auth.remove_rule(self.record, wanted, found)


def _pop_rule(context: RunContext, self: Subject, index: Any, gate: Any) -> Any:
    _confirm_rules(context, self, gate)
    found, position = asked_gate(gate), toint(index)
    context.session.pause()
    with self.auth.changing():
        rules = list(self.auth.rules(self.record, found))
        if not -len(rules) <= position < len(rules):
            raise BadArg(f"there is no rule {position}, only {len(rules)} rules", name="indx")
        taken = rules.pop(position)
        self.auth.set_rules(self.record, rules, found)
    return (taken.allow, taken.path)


def _gates(context: RunContext, self: Subject) -> list[GateObject]:
    return [
        GateObject(gate)
        for gate in self.auth.policy.gates.values()
        if self.iden in gate.users or self.iden in gate.roles
    ]


def fact_of(name: str) -> Callable[[RunContext, Any], Any]:
    """Return what reads a fact of a user or role."""
    return lambda context, self: self.storm_plain()[name]


def _get(context: RunContext, self: Subject, name: Any) -> Any:
    return self.storm_plain().get(tostr(name))


GATE: Final = ParameterSpec(
    "gateiden", None, "str", "The object that the rules are on; without it everywhere."
)
_RULE: Final = ParameterSpec("rule", type="list", doc="Whether it allows, and the path.")

SHARED: Final = (
    FunctionSpec(
        "addRule",
        "Add a rule, at the end or at a place.",
        _add_rule,
        (_RULE, GATE, ParameterSpec("indx", None, "int", "The place among the rules.")),
        changes_state=True,
    ),
    FunctionSpec("delRule", "Remove a rule.", _del_rule, (_RULE, GATE), changes_state=True),
    FunctionSpec("gates", "The objects on which it has rules.", _gates, (), "list"),
    FunctionSpec("get", "A fact.", _get, (ParameterSpec("name", type="str", doc="Which fact."),), "any"),
    FunctionSpec("getRules", "Its rules, in the order they are asked.", _get_rules, (GATE,), "list"),
    FunctionSpec("pack", "All facts.", lambda c, s: s.storm_plain(), (), "dict"),
    FunctionSpec(
        "popRule",
        "Remove the rule at a place and give it back.",
        _pop_rule,
        (ParameterSpec("indx", type="int", doc="The place among the rules."), GATE),
        "list",
        changes_state=True,
    ),
    FunctionSpec(
        "setRules",
        "Set all rules.",
        _set_rules,
        (ParameterSpec("rules", type="list", doc="The rules."), GATE),
        changes_state=True,
    ),
)


def _role_name(context: RunContext, self: RoleObject, value: Any) -> None:
    context.check_writable()
    context.confirm(("auth", "role", "set", "name"))
    context.session.pause()
    self.auth.rename_role(self.iden, tostr(value))


TYPES: Final = (
    TypeSpec(
        "auth:role",
        RoleObject,
        "A role: rules that users share.",
        SHARED,
        (
            AttributeSpec("iden", "Its iden.", lambda c, s: s.iden, "str"),
            AttributeSpec("name", "Its name.", lambda c, s: s.record.name, "str", _role_name),
            *(
                AttributeSpec(name, doc, fact_of(name), kind)
                for name, doc, kind in (
                    ("authgates", "Its rules on objects, by their idens.", "dict"),
                    ("rules", "Its rules, in the order they are asked.", "list"),
                    ("type", "Always `role`.", "str"),
                )
            ),
        ),
    ),
    TypeSpec(
        "auth:gate",
        GateObject,
        "An object that has rules of its own.",
        (),
        (
            AttributeSpec("iden", "Its iden.", lambda c, s: s.gate.gate_id, "str"),
            AttributeSpec("type", "What it is, such as `layer`.", lambda c, s: s.gate.kind, "str"),
            AttributeSpec("users", "The rules of users.", lambda c, s: s.storm_plain()["users"], "list"),
            AttributeSpec("roles", "The rules of roles.", lambda c, s: s.storm_plain()["roles"], "list"),
        ),
    ),
)
