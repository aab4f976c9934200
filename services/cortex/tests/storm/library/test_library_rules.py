"""Rules of the library that were observed of Synapse: members, what is kept, packages, and warnings given once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import CellError
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Print, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions

IDEN = "a1" * 16
PACKAGE = '$lib.pkg.add(({"name": "rules", "version": "1.0.0", %s}))'
ERRORS = {
    # Members.
    "$x=(5) return($x.nosuch)": "NoSuchType",
    "$x=$lib.print return($x.nosuch)": "NoSuchType",
    "$x=$lib.range((3)) return($x.nosuch)": "NoSuchType",
    "$lib.globals.nosuch=5": "StormRuntimeError",
    "$u=$lib.auth.users.byname(root) $u.nosuch=5": "NoSuchName",
    "$u=$lib.auth.users.byname(root) $u.iden=5": "NoSuchName",
    "$x=([]) $x.nosuch=5": "BadCast",
    "$x=foo $x.nosuch=5": "StormRuntimeError",
    "$d=({}) $d.([1])=x": "BadArg",
    # Users, roles, rules.
    "$lib.auth.users.byname(root).setRules((null))": "SchemaViolation",
    "$lib.auth.users.byname(root).setEmail((null))": "BadArg",
    "$lib.auth.users.add(twice, iden=nosuch)": "BadArg",
    "$lib.auth.users.add(other, iden=$lib.user.iden)": "DupIden",
    "$lib.auth.easyperm.set($lib.auth.easyperm.init(), users, nosuch, (1))": "NoSuchUser",
    "$lib.auth.easyperm.set($lib.auth.easyperm.init(), roles, nosuch, (1))": "NoSuchRole",
    "$lib.auth.easyperm.allowed($lib.auth.easyperm.init(), (9))": "BadArg",
    # What is kept.
    "$lib.globals.set(x, $lib.set(a))": "NotMsgpackSafe",
    "$lib.jsonstor.set(x, ([$lib.set(a)]))": "NotMsgpackSafe",
    "$lib.queue.gen(sets).put(({'a': $lib.set(a)}))": "NotMsgpackSafe",
    "$lib.user.vars.set(x, $lib.set(a))": "NotMsgpackSafe",
    "$lib.jsonstor.get((null))": "StormRuntimeError",
    "$lib.jsonstor.has((null))": "StormRuntimeError",
    "$lib.jsonstor.set(text, abc) $lib.jsonstor.set(text, x, prop=a)": "BadArg",
    "$lib.queue.add((5))": "BadArg",
    "$lib.queue.gen((null))": "BadArg",
    "$lib.queue.gen(below).get((-1), wait=(false))": "BadArg",
    "$lib.queue.gen(below).pop((-1))": "BadArg",
    "$lib.queue.gen(below).puts((null))": "BadArg",
    "$lib.macro.set(named, 'inet:fqdn') $lib.macro.mod(named, ({'name': ''}))": "SchemaViolation",
    "$lib.vault.add(owned, t, user, nosuch, ({}), ({}))": "SchemaViolation",
    "$lib.vault.add(lev, lev, global, (null), ({}), ({})) "
    "$lib.vault.byname(lev).setPerm($lib.user.iden, (7))": "BadArg",
    # Values.
    "$s=abc return($s.startswith((a, b)))": "BadArg",
    "$s=abc return($s.endswith((5)))": "BadArg",
    "$s=abc return($s.join((null)))": "StormRuntimeError",
    "return($lib.copy((1.5)))": "BadArg",
    "for $x in $lib.scrape.genMatches('foo 12', '[0-9]+') { }": "BadArg",
    # Automation.
    "$lib.cron.add(period=daily, query={inet:fqdn}, affinity=foo, pool=(true))": "BadConfValu",
    "$lib.dmon.add(${ inet:fqdn }, (5))": "SchemaViolation",
    "$lib.notifications.get((3))": "BadArg",
    "$lib.notifications.del((3))": "BadArg",
    # Packages.
    PACKAGE % '"modules": {}': "SchemaViolation",
    PACKAGE % '"modules": [{"name": "rules.m"}]': "SchemaViolation",
    PACKAGE % '"modules": [{"name": "rules.m", "storm": 5}]': "StormRuntimeError",
    PACKAGE % '"modules": [{"name": "rules.m", "storm": "", "modconf": 5}]': "SchemaViolation",
    PACKAGE % '"modules": [{"name": "rules.m", "storm": "", "asroot:perms": ["x"]}]': "SchemaViolation",
    PACKAGE % '"commands": [{"name": "rules-c", "storm": ""}]': "SchemaViolation",
    PACKAGE % '"commands": [{"name": "Rules", "storm": ""}]': "SchemaViolation",
    PACKAGE % '"commands": [{"name": "rules.c", "storm": "", "cmdconf": 5}]': "SchemaViolation",
    PACKAGE % '"commands": [{"name": "rules.c", "storm": "", "cmdargs": {}}]': "SchemaViolation",
    PACKAGE
    % '"commands": [{"name": "rules.c", "storm": "", "cmdargs": [["a", {"choices": 5}]]}]': "SchemaViolation",
    PACKAGE
    % '"commands": [{"name": "rules.c", "storm": "", "cmdargs": [["a", {"type": "nosuch"}]]}]': "SchemaViolation",
    PACKAGE % '"perms": [{"perm": ["x"]}]': "SchemaViolation",
    PACKAGE % '"docs": [{"title": "t"}]': "SchemaViolation",
    PACKAGE % '"graphs": [{"name": "g", "nosuch": 1}]': "SchemaViolation",
    PACKAGE % '"depends": {"requires": [{"version": ">=1.0.0"}]}': "SchemaViolation",
    PACKAGE % '"author": {"url": "x"}': "SchemaViolation",
    PACKAGE % '"logo": {"mime": "x"}': "SchemaViolation",
    PACKAGE % '"onload": null': "SchemaViolation",
    PACKAGE % '"desc": 5': "SchemaViolation",
    PACKAGE % '"inits": {"versions": [{"version": 1, "query": "$("}]}': "BadSyntax",
    PACKAGE
    % '"configvars": [{"name": "n", "varname": "v", "desc": "d", "type": "nosuch", "scopes": ["self"]}]': "NoSuchType",
    "$lib.pkg.del((null))": "BadArg",
}
VALUES: dict[str, Any] = {
    "$d=({'a': 1}) return($d.([1]))": None,
    "return($lib.dict(a=(1), b=x))": {"a": 1, "b": "x"},
    "return($lib.dict())": {},
    f"return($lib.auth.users.add(chosen, iden={IDEN}).iden)": IDEN,
    f"return($lib.auth.roles.add(chosen, iden={'b2' * 16}).iden)": "b2" * 16,
    "$lib.auth.users.add(aaa) return($lib.auth.users.list().0.name)": "aaa",
    "$u=$lib.auth.users.add(facts) return(($u.admin, $u.locked, $u.archived, $u.rules, $u.type, $u.authgates))": (
        False,
        False,
        False,
        [],
        "user",
        {},
    ),
    "$r=$lib.auth.roles.add(facts) $r.addRule(([true, ['a']])) return(($r.rules, $r.type))": (
        [(True, ("a",))],
        "role",
    ),
    "return($lib.auth.users.byname(facts).allowed(''))": False,
    "return($lib.auth.ruleFromText('foo. bar'))": (True, ("foo", " bar")),
    "return($lib.auth.ruleFromText('!'))": (False, ("",)),
    "return($lib.auth.easyperm.allowed(({}), (1)))": True,
    "$lib.jsonstor.set(is/there, (null)) return(($lib.jsonstor.has(is/there), $lib.jsonstor.has(is)))": (
        True,
        False,
    ),
    "$lib.user.json.set(mine, 5) return(($lib.user.json.get(mine), $lib.user.json.has(mine)))": ("5", True),
    "return(($lib.queue.gen(same) = $lib.queue.get(same)))": True,
    "$q=$lib.queue.gen(gone) $lib.queue.del(gone) return($q.size())": 0,
    "$q=$lib.queue.gen(few) $q.puts((a, b)) $z=([]) "
    "for ($o, $i) in $q.gets((0), wait=(false), size=(0)) { $z.append($i) } return($z)": ["a"],
    "$q=${ [ inet:fqdn=size.limit ] } return($q.size(limit=(0)))": 1,
    "return(($lib.model.type(int).stortype, $lib.model.type(inet:fqdn).stortype))": (9, 17),
    "return($lib.pkg.vars(rules))": "rules",
    "return($lib.pkg.queues(rules))": "rules",
    "$d=$lib.dmon.add(${ inet:fqdn }, ddef=({'enabled': false})) return(($d.status, $d.stopped))": (
        "initialized",
        None,
    ),
}
WARNED = {
    "$lib.print($lib.list(1).length()) $lib.print($lib.list(2).length())": 2,
    "function f() { return($lib.list(1)) } $f() $f()": 1,
    "$x=$lib.text(a)": 1,
    "$x=$lib.dict(a=b)": 1,
    "$lib.user.name()": 0,
    "cron.add --hourly 30 { inet:fqdn } | cron.add --hourly 31 { inet:fqdn }": 1,
    "cron.add --day Mon --hour 3 { inet:fqdn }": 2,
    "cron.add --period daily { inet:fqdn }": 0,
}


@pytest.fixture(name="engine", scope="module")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("rules")
    with running(CortexCell(load_config(CortexConfig, dir=folder, environ={}))) as cell:
        yield cell.engine


def lists(value: Any) -> Any:
    return [lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def error_of(engine: Engine, text: str, user: str = "root") -> str:
    with pytest.raises(CellError) as caught:
        engine.call(text, QueryOptions(user=user))
    return caught.value.name


@pytest.mark.parametrize("text", ERRORS)
def test_a_call_that_cannot_be(engine: Engine, text: str) -> None:
    assert error_of(engine, text) == ERRORS[text]


@pytest.mark.parametrize("text", VALUES)
def test_what_a_call_gives(engine: Engine, text: str) -> None:
    assert lists(engine.call(text)) == lists(VALUES[text])


@pytest.mark.parametrize("text", WARNED)
def test_what_is_deprecated_is_warned_of_once_a_query(engine: Engine, text: str) -> None:
    assert len([m for m in engine.storm(text) if isinstance(m, Warn)]) == WARNED[text]


def test_a_new_package_runs_its_inaugural_steps_only_and_another_version_what_is_new(engine: Engine) -> None:
    def add(version: str, *steps: str) -> None:
        engine.call(
            f'$lib.pkg.add(({{"name": "steps", "version": "{version}", "inits": {{"key": "x", "versions": [{", ".join(steps)}]}}}}))'
        )

    def step(number: int, more: str = "") -> str:
        return (
            f'{{"version": {number}, "name": "s", "query": "$lib.globals.set(step{number}, {number})"{more}}}'
        )

    def seen() -> Any:
        return engine.call(
            "return(($lib.globals.get(step0), $lib.globals.get(step3), $lib.globals.get(step4), "
            "$lib.pkg.vars(steps).'storage:version'))"
        )

    add("0.0.1", step(0), step(3, ', "inaugural": true'))
    assert seen() == [None, "3", None, 3]
    add("0.0.2", step(0), step(3, ', "inaugural": true'), step(4))
    assert seen() == [None, "3", "4", 4]


def test_arguments_of_package_commands_are_normed_by_their_types(engine: Engine) -> None:
    arguments = ", ".join(f'["--{name}", {{"type": "{name}"}}]' for name in ("time", "loc", "float"))
    engine.call(
        '$lib.pkg.add(({"name": "args", "version": "1.0.0", "commands": [{"name": "args.show", '
        '"storm": "$lib.print(`{$cmdopts.time} {$cmdopts.loc} {$cmdopts.float}`)", '
        f'"cmdargs": [{arguments}]}}]}}))'
    )
    shown = [
        m.text for m in engine.storm("args.show --time 2020 --loc US.VA --float 1.5") if isinstance(m, Print)
    ]
    assert shown == ["1577836800000 us.va 1.5"]
    for wrong in ("--time nosuch", "--float nosuch"):
        assert error_of(engine, f"args.show {wrong} return(1)") == "BadArg"


def test_a_module_may_be_for_those_with_a_permission(engine: Engine) -> None:
    engine.call(
        '$lib.pkg.add(({"name": "guarded", "version": "1.0.0", "perms": [{"perm": ["guarded", "use"], "gate": "cortex", '
        '"desc": "d"}], "modules": [{"name": "guarded.m", "storm": "function f() { return(1) }", '
        '"asroot:perms": [["guarded", "use"]]}, {"name": "guarded.value", "storm": "return((5))"}]})) '
        '$lib.auth.users.add(without) $lib.auth.users.add(holder).addRule(([true, ["guarded", "use"]]))'
    )
    assert error_of(engine, "return($lib.import(guarded.m).f())", "without") == "AuthDeny"
    assert engine.call("return($lib.import(guarded.m).f())", QueryOptions(user="holder")) == "1"
    assert engine.call("return($lib.import(guarded.value))") == 5
    found = engine.call("return($lib.auth.getPermDef((guarded, use)))")
    assert {**found, "perm": list(found["perm"])} == {
        "perm": ["guarded", "use"],
        "gate": "cortex",
        "desc": "d",
        "default": False,
    }


def test_only_administrators_look_into_the_json_store(engine: Engine) -> None:
    engine.call("$lib.auth.users.add(looker)")
    assert error_of(engine, "return($lib.jsonstor.has(x))", "looker") == "AuthDeny"
    assert engine.call("return($lib.user.json.has(x))", QueryOptions(user="looker")) is False


def test_a_type_names_its_bases_from_the_root_on(engine: Engine) -> None:
    _, (base, _), facts = engine.call("return($lib.model.prop('inet:ipv4:asn').type)")
    assert (base, facts["bases"], facts["stortype"]) == ("int", ["base", "int"], 9)
