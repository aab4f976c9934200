"""What users may do inside of Storm, on a Cortex that keeps users: as the peer has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow, Print
from cellmesh.cortex.storm.runtime.options import QueryOptions

SETUP = """
    for $name in (bob, ann, eve) { $lib.auth.users.add($name) }
    $lib.auth.roles.add(hunters)
    $lib.globals.set(g, 1) $lib.queue.add(q) $lib.queue.get(q).put(1) $lib.macro.set(m, ${ inet:asn })
    $lib.model.ext.addTagProp(risk, (int, ({})), ({}))
    $lib.auth.users.byname(ann).addRule(((true), (node,)))
    $lib.auth.users.byname(ann).addRule(((true), (view, add)))
    $lib.auth.users.byname(ann).addRule(((true), (queue, add)))
    $lib.auth.users.byname(ann).addRule(((true), (trigger, add)))
    $lib.auth.users.byname(ann).addRule(((true), (cron, add)))
    [ inet:ipv4=1 :asn=5 .seen=2020 +#a.b +(refs)> {[ inet:asn=5 ]} ] $node.data.set(x, 1)
"""


@pytest.fixture(name="engine", scope="module")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("rights")
    with running(CortexCell(load_config(CortexConfig, dir=folder, environ={}))) as cell:
        assert run(cell.engine, SETUP) == []
        yield cell.engine


def run(engine: Engine, text: str, user: str = "root") -> list[str]:
    """What a query prints, the values of its nodes, and the name of its error with the permission that it lacks."""
    found = []
    for message in engine.storm(text, QueryOptions(user=user)):
        if isinstance(message, Print):
            found.append(message.text)
        elif isinstance(message, NodeRow) and user != "root":
            found.append(str(message.node.value))
        elif isinstance(message, Error):
            found.append(f"{message.error.name} {message.error.errinfo.get('perm', '')}".strip())
    return found


DENIED = {
    "[ inet:ipv4=2 ]": "node.add.inet:ipv4",
    "[ inet:ipv4?=foo ]": "node.add.inet:ipv4",
    "inet:ipv4=1 [ :loc=us ]": "node.prop.set.inet:ipv4.loc",
    "inet:ipv4=1 [ :asn=foo ]": "node.prop.set.inet:ipv4.asn",
    "inet:ipv4=1 [ -:asn ]": "node.prop.del.inet:ipv4.asn",
    "inet:ipv4=1 $node.props.loc=us": "node.prop.set.inet:ipv4.loc",
    "inet:ipv4=1 [ .seen=2021 ]": 'node.prop.set.inet:ipv4.".seen"',
    "inet:ipv4=1 [ -#a.b ]": "node.tag.del.a.b",
    "inet:ipv4=1 [ +#x.y=2020 ]": "node.tag.add.x.y",
    "inet:ipv4=1 [ +#x.y:risk=3 ]": "node.tag.add.x.y",
    "inet:ipv4=1 [ -#x.y:risk ]": "node.tag.del.x.y",
    "inet:ipv4=1 [ -(refs)> { inet:asn } ]": "node.edge.del.refs",
    "inet:ipv4=1 [ <(refs)+ { inet:asn } ]": "node.edge.add.refs",
    "inet:ipv4=1 $node.data.pop(x)": "node.data.pop.x",
    "inet:ipv4=1 $node.data.set(x, 2)": "node.data.set.x",
    "inet:ipv4=1 | delnode": "node.tag.del.a",
    "inet:asn | delnode --force": "",
    "inet:ipv4=1 | movetag a b": None,
    "$lib.view.get().addNode(inet:ipv4, 3)": "node.add.inet:ipv4",
    "$lib.view.get().fork()": "view.add",
    "view.fork $lib.view.get().iden": "view.add",
    "$lib.view.add(($lib.view.get().layers.0.iden,))": "view.add",
    "$lib.layer.add()": "layer.add",
    "layer.add": "layer.add",
    "$lib.view.get().set(name, x)": "view.set.name",
    "$lib.view.get().layers.0.set(name, x)": "layer.set.name",
    "$lib.view.del($lib.view.get().iden)": "view.del",
    "$lib.layer.del($lib.view.get().layers.0.iden)": "layer.del",
    "$lib.queue.add(q2)": "queue.add",
    "queue.add q2": "queue.add",
    "$lib.queue.get(q)": "queue.get",
    "$lib.queue.del(q)": "queue.del",
    "$lib.globals.get(g)": "globals.get.g",
    "$lib.globals.set(g, 1)": "globals.set.g",
    "$lib.globals.pop(g)": "globals.pop.g",
    "$lib.macro.set(m, ${ inet:asn })": "storm.macro.edit",
    "$lib.macro.del(m)": "storm.macro.admin",
    "$lib.model.ext.addFormProp(inet:ipv4, _x, (int, ({})), ({}))": "model.prop.add.inet:ipv4",
    "$lib.model.ext.addForm(_x:x, int, ({}), ({}))": "model.form.add._x:x",
    "$lib.model.ext.addUnivProp(_x, (int, ({})), ({}))": "model.univ.add",
    "$lib.model.ext.addTagProp(_x, (int, ({})), ({}))": "model.tagprop.add",
    "$lib.model.ext.addEdge(inet:ipv4, _x, inet:asn, ({}))": "model.edge.add",
    "$lib.model.tags.set(foo, prune, 1)": "model.tag.set",
    "$lib.model.deprecated.lock(edge:refs, (true))": "model.deprecated.lock",
    "$lib.trigger.add(({'cond': 'node:add', 'form': 'inet:asn', 'storm': '[+#x]'}))": "trigger.add",
    "trigger.add node:add --form inet:asn --query { [ +#x ] }": "trigger.add",
    "cron.add --hour 3 { inet:asn }": "cron.add",
    "$lib.dmon.add(${ inet:asn })": "dmon.add",
    "$lib.auth.users.add(carl)": "storm.lib.auth.users.add",
    "$lib.auth.roles.add(carl)": "storm.lib.auth.roles.add",
    "$u=$lib.auth.users.byname(ann) $u.name=annie": "auth.user.set.name",
    "$lib.auth.users.byname(ann).setPasswd(x)": "auth.user.set.passwd",
    "$lib.auth.users.byname(bob).setAdmin((true))": "auth.user.set.admin",
    "$lib.auth.users.byname(bob).addRule(((true), (node,)))": "auth.user.set.rules",
    "$lib.auth.users.byname(bob).setLocked((false))": "auth.user.set.locked",
    "$lib.auth.users.byname(bob).grant($lib.auth.roles.byname(hunters).iden)": "auth.user.grant",
    "$u=$lib.auth.users.byname(ann) $lib.print($u.vars.x)": "",
    "$u=$lib.auth.users.byname(ann) $u.profile.x=1": "auth.user.set.profile.x",
    "$lib.auth.users.byname(ann).json.set(a, 1)": "user.json.set",
    "$lib.auth.users.byname(ann).genApiKey(x)": "auth.user.set.apikey",
    "$lib.auth.roles.byname(hunters).addRule(((true), (a,)))": "auth.role.set.rules",
    "runas root { inet:asn }": "",
    "$lib.log.info(x)": "storm.lib.log.info",
    "$lib.env.get(SYN_STORM_ENV_X)": "",
    "$lib.jsonstor.set(a, 1)": "",
}


@pytest.mark.parametrize(("text", "permission"), DENIED.items(), ids=list(DENIED))
def test_a_user_without_rights_is_refused(engine: Engine, text: str, permission: str | None) -> None:
    (*_, last) = run(engine, text, "bob")
    assert last.startswith("AuthDeny")
    if permission is not None:
        assert last == f"AuthDeny {permission}".strip()


def test_nobody_is_refused_everything(engine: Engine) -> None:
    assert run(engine, "[ inet:ipv4=2 ]", "nobody") == ["AuthDeny view.read"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("inet:asn", ["5"]),
        ("$lib.print($lib.user.name())", ["bob"]),
        ("$lib.macro.set(mine, ${ inet:asn }) | macro.exec mine", ["5"]),
        ("$u=$lib.auth.users.byname(bob) $u.email='b@x.com' $u.vars.x=1 $lib.print($u.vars.x)", ["1"]),
        ("$lib.print($lib.queue.list())", ["[]"]),
        (
            "$lib.print($lib.user.allowed(node.add)) $lib.print($lib.auth.getPermDef((node, add)).gate)",
            ["false", "layer"],
        ),
        ("$lib.auth.users.byname(ann).tell(hi) $lib.print($lib.len($lib.notifications.list()))", ["0"]),
    ],
)
def test_what_everybody_may(engine: Engine, text: str, found: list[str]) -> None:
    assert run(engine, text, "bob") == found


def test_who_makes_something_may_do_all_with_it(engine: Engine) -> None:
    assert run(
        engine, "$lib.queue.add(own) $q=$lib.queue.get(own) $q.put(1) $lib.print($q.size())", "ann"
    ) == ["1"]
    assert run(engine, "$lib.queue.get(own).put(1)", "bob") == ["AuthDeny queue.get"]
    assert run(engine, "$lib.queue.del(own)", "ann") == []
    made = run(engine, "$v=$lib.view.get().fork() $lib.print($v.iden)", "ann")
    (view,) = made
    assert run(engine, f"view.exec {view} {{ [ inet:asn=77 ] $lib.print($node.value()) }}", "ann") == ["77"]
    assert run(engine, f"view.exec {view} {{ inet:asn }}", "bob") == ["AuthDeny view.read"]
    assert run(engine, f"$lib.auth.users.byname(bob).addRule(((true), (view, read)), gateiden={view})") == []
    assert run(engine, f"view.exec {view} {{ [ inet:asn=78 ] }}", "bob") == ["AuthDeny node.add.inet:asn"]
    assert run(engine, f"$lib.view.del({view})", "ann") == []
    assert run(engine, f"$lib.print($lib.auth.gates.get({view}))") == ["$lib.null"]


def test_a_view_is_read_by_who_may(engine: Engine) -> None:
    (view,) = run(engine, "$lib.print($lib.view.get().fork().iden)")
    for user, wanted in (("bob", ["AuthDeny view.read"]), ("root", [])):
        found = [
            f"AuthDeny {message.error.errinfo['perm']}"
            for message in engine.storm("inet:asn | spin", QueryOptions(user=user, view=view))
            if isinstance(message, Error)
        ]
        assert found == wanted
    assert run(engine, f"$lib.view.get({view}).addNode(inet:asn, 5)", "bob") == ["AuthDeny node.add.inet:asn"]


def test_a_trigger_has_the_rights_of_who_made_it(engine: Engine) -> None:
    tdef = '({"cond": "node:add", "form": "inet:fqdn", "storm": "[ +#made.by.ann ]"})'
    assert run(engine, f"$lib.trigger.add({tdef})", "ann") == []
    assert run(engine, "$lib.auth.users.byname(eve).addRule(((true), (node, add)))") == []
    assert run(engine, "[ inet:fqdn=vertex.link ] [ +#never ]", "eve") == ["AuthDeny node.tag.add.never"]
    assert run(engine, "inet:fqdn=vertex.link#made.by.ann | count | spin | inet:fqdn#made", "eve") != []
    assert run(engine, "inet:fqdn#never", "eve") == []


def test_runas_takes_the_rights_of_the_other(engine: Engine) -> None:
    assert run(engine, "runas bob { [ inet:asn=99 ] }") == ["AuthDeny node.add.inet:asn"]
    assert run(engine, "runas ann { [ inet:asn=99 ] } | [ inet:asn=100 ]") == []
