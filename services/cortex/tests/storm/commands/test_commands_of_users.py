"""Commands about users, roles, vaults and packages, on a Cortex that keeps users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.commands import auth, packages, vaults
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, Print, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions

PASSWORD = "correct horse battery staple"


@pytest.fixture(name="engine", scope="module")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("users")
    with running(CortexCell(load_config(CortexConfig, dir=folder, environ={}))) as cell:
        yield cell.engine


def lines(engine: Engine, text: str, user: str = "root", *, readonly: bool = False) -> list[str]:
    """What a query prints, and warns of behind a `!`; its error's name behind a `?`."""
    found = []
    for message in engine.storm(text, QueryOptions(user=user, readonly=readonly)):
        if isinstance(message, Print):
            found.append(message.text)
        elif isinstance(message, Warn):
            found.append(f"!{message.text}")
        elif isinstance(message, Error):
            found.append(f"?{message.error.name}")
    return found


def iden_in(text: str) -> str:
    return text.rstrip(".").rpartition(": ")[2]


def test_users(engine: Engine) -> None:
    (made,) = lines(engine, "auth.user.add ann --email ann@vertex.link")
    assert made.startswith("User (ann) added with iden: ")
    assert lines(engine, "auth.user.add ann") == ["?DupUserName"]
    shown = lines(engine, "auth.user.show ann")
    assert shown[:5] == [
        f"User: ann ({iden_in(made)})",
        "",
        "  Locked: false",
        "  Admin: false",
        "  Email: ann@vertex.link",
    ]
    assert lines(engine, "auth.user.mod ann --locked true") == ["User (ann) locked status set to true."]
    assert lines(engine, "auth.user.list") == ["Users:", "  root", "", "Locked Users:", "  ann"]
    changed = lines(
        engine, f'auth.user.mod ann --name bob --email b@b.com --passwd "{PASSWORD}" --admin true'
    )
    assert changed == [
        "User (ann) renamed to bob.",
        "User (ann) email address set to b@b.com.",
        "User (ann) password updated.",
        "User (ann) admin status set to true.",
    ]
    assert lines(engine, "auth.user.show ann") == ["!No user named: ann"]
    assert "  Admin: true" in lines(engine, "auth.user.show bob")


def test_roles_and_rules(engine: Engine) -> None:
    lines(engine, "auth.user.add kim")
    role = iden_in(lines(engine, "auth.role.add ninjas")[0])
    assert lines(engine, "auth.user.grant kim ninjas --index 0") == ["Granting role ninjas to user kim."]
    assert f"    {role} - ninjas" in lines(engine, "auth.user.show kim")
    assert lines(engine, "auth.role.addrule ninjas node.add") == ["Added rule node.add to role ninjas."]
    assert lines(engine, "auth.user.allowed kim node.add")[0].startswith("allowed: true")
    assert lines(engine, 'auth.user.addrule kim "!node.add.inet:fqdn"') == [
        "Added rule !node.add.inet:fqdn to user kim."
    ]
    lines(engine, "auth.user.addrule kim node.tag --index 0")
    shown = lines(engine, "auth.user.show kim")
    assert "    [0  ] - node.tag" in shown
    assert "    [1  ] - !node.add.inet:fqdn" in shown
    assert lines(engine, "auth.user.allowed kim node.add.inet:fqdn")[0].startswith("allowed: false")
    assert lines(engine, "auth.user.delrule kim 0 --index") == ["Removed rule node.tag from user kim."]
    assert lines(engine, "auth.user.delrule kim !node.add.inet:fqdn") == ["?BadSyntax"]
    lines(engine, 'auth.user.delrule kim "!node.add.inet:fqdn"')
    assert lines(engine, "auth.user.allowed kim node.add.inet:fqdn")[0].startswith("allowed: true")
    assert lines(engine, "auth.user.revoke kim ninjas") == ["Revoking role ninjas from user kim."]
    assert lines(engine, "auth.role.mod ninjas --name others") == ["Role (ninjas) renamed to others."]
    assert "    [0  ] - node.add" in lines(engine, "auth.role.show others")
    assert lines(engine, "auth.role.list") == ["Roles:", "  all", "  others"]
    assert lines(engine, "auth.role.delrule others node.add") == ["Removed rule node.add from role others."]
    assert lines(engine, "auth.role.del others") == ["Role (others) deleted."]
    assert lines(engine, "auth.role.del others") == ["!Role (others) not found!"]


def test_rules_on_an_object(engine: Engine) -> None:
    lines(engine, "auth.user.add lee")
    view = engine.call("return($lib.view.get().iden)")
    lines(engine, f"auth.user.addrule lee view.read --gate {view}")
    lines(engine, f"auth.user.mod lee --admin true --gate {view}")
    shown = lines(engine, "auth.user.show lee")
    assert shown[shown.index("  Gates:") + 1 :] == [
        f"    {view} - (view)",
        "      Admin: true",
        "      [0  ] - view.read",
    ]
    shown = lines(engine, f"auth.gate.show {view}")
    assert shown[0] == "Gate Type: view"
    assert any(line.endswith(" - lee") for line in shown)
    assert "cron.add" in lines(engine, "auth.perms.list --find cron")


def test_vaults(engine: Engine) -> None:
    made = lines(engine, 'vault.add keys api ({"key": "s3cret"}) ({"server": "a.com"}) --global')
    assert made[0].startswith("Vault created with iden: ")
    assert "    server: a.com" in made
    assert not any("s3cret" in line for line in made)
    assert lines(engine, "vault.set.configs keys port --value 443") == [
        "Set port=443 into vault configs: keys."
    ]
    assert lines(engine, "vault.set.configs keys port --delete") == ["Removed port from vault configs: keys."]
    (told,) = lines(engine, "vault.set.secrets keys key --value n3w")
    assert "n3w" not in told
    assert engine.call("return($lib.vault.byname(keys).secrets.key)") == "n3w"
    assert not any("n3w" in line for line in lines(engine, "vault.list"))
    assert any("n3w" in line for line in lines(engine, "vault.list --name keys --showsecrets"))
    assert lines(engine, "vault.list --name other") == ["Available Vaults", "----------------"]
    lines(engine, "auth.user.add max")
    assert lines(engine, "vault.set.perm keys --user max --level edit") == [
        "Successfully set permissions on vault keys."
    ]
    assert lines(engine, "vault.set.perm keys --user max --revoke") == [
        "Successfully set permissions on vault keys."
    ]
    assert lines(engine, "vault.set.perm keys --user max --level 2")[0].startswith("!Invalid level")
    for text in (
        "vault.set.configs keys port",
        "vault.set.perm keys --level read",
        "vault.set.perm keys --user max",
        "vault.add x t ({}) ({})",
        "vault.add x t ({}) ({}) --user max --global",
    ):
        (told,) = lines(engine, text)
        assert told.startswith("!"), text
    assert lines(engine, "vault.set.configs keys none --delete") == ["?BadArg"]
    assert lines(engine, "vault.add mine t ({}) ({}) --user max")[0].startswith("Vault created")
    assert lines(engine, "vault.del keys") == ["Successfully deleted vault keys."]


def test_packages(engine: Engine) -> None:
    assert lines(engine, "pkg.list") == ["No storm packages installed."]
    definition = {
        "name": "mypkg",
        "version": "0.0.1",
        "docs": [{"title": "d", "content": "some words"}],
        "perms": [{"perm": ["a", "b"], "gate": "cortex", "desc": "says", "default": False}],
    }
    engine.call("$lib.pkg.add($p)", QueryOptions(vars={"p": definition}))
    assert [line.split() for line in lines(engine, "pkg.list")[1::2]] == [
        ["name", "vers"],
        ["mypkg", "0.0.1"],
    ]
    assert lines(engine, "pkg.list --verbose")[-1].split() == ["mypkg", "0.0.1", "not", "available"]
    assert lines(engine, "pkg.docs my") == ["some words"]
    assert lines(engine, "pkg.docs nope") == ["!Package (nope) not found!"]
    assert [line.split() for line in lines(engine, "pkg.perms.list mypkg")][1] == [
        "a.b",
        ":",
        "says",
        "(",
        "default:",
        "false",
        ")",
    ]
    assert lines(engine, "pkg.del nope") == ['No package names match "nope". Aborting.']
    assert lines(engine, "pkg.del my") == ["Removing package: mypkg"]
    assert lines(engine, "pkg.list") == ["No storm packages installed."]


@pytest.mark.parametrize(
    "name",
    sorted(
        spec.name for spec in (*auth.COMMANDS, *vaults.COMMANDS, *packages.COMMANDS) if spec.changes_state
    ),
)
def test_a_read_only_query_changes_nothing(name: str, engine: Engine) -> None:
    arguments = {
        "auth.user.grant": "root all",
        "auth.user.revoke": "root all",
        "auth.user.mod": "root --name x",
        "auth.role.mod": "all --name x",
        "vault.add": "n t ({}) ({}) --global",
        "vault.set.configs": "n k --value 1",
        "vault.set.secrets": "n k --value 1",
        "vault.set.perm": "n --user root --level read",
    }
    given = arguments.get(name, "all x" if "rule" in name else "x")
    assert lines(engine, f"{name} {given}", readonly=True)[-1:] == ["?IsReadOnly"]
