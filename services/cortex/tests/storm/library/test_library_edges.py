"""Functions and commands at the edges of what they take: null, empty, of another kind, unknown names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import CellError
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow, Print

ERRORS = {
    "$lib.base64.decode((null))": "StormRuntimeError",
    "$lib.str.join('.', (null))": "StormRuntimeError",
    "$lib.tags.prefix((null), x)": "StormRuntimeError",
    "$lib.gis.bbox((null), (1), 1km)": "StormRuntimeError",
    "$lib.compression.gzip.en(text)": "StormRuntimeError",
    "$lib.compression.zlib.un(text)": "StormRuntimeError",
    "$lib.stix.export.timestamp('2020')": "StormRuntimeError",
    "$lib.time.format((0), (3))": "StormRuntimeError",
    "$lib.storm.eval(' ')": "BadSyntax",
    "$lib.pipe.gen('[[[')": "BadSyntax",
    "$lib.cache.fixed('[[[')": "BadArg",
    "$lib.dict.fromlist((null))": "BadArg",
    "$lib.bytes.fromints((3))": "BadArg",
    "$lib.pack.un('', $lib.hex.decode('00'))": "BadArg",
    "$lib.pack.en('é', ([1]))": "BadArg",
    "$lib.jsonstor.get((3))": "StormRuntimeError",
    "$lib.view.get('')": "NoSuchView",
    "$lib.view.del('')": "NoSuchView",
    "$lib.macro.get('')": "BadArg",
    "$lib.macro.del('')": "BadArg",
    "$lib.macro.grant(nosuch, somewhere, iden, (1))": "NoSuchName",
    "$lib.macro.grant(nosuch, users, iden, high)": "BadCast",
    "$lib.gen.itAvScanResultByTarget(nosuch, x, name)": "NoSuchType",
    "$lib.infosec.cvss.vectToProps('AV:N/AC:L/Au:N/C:P/I:P/A:P')": "BadArg",
    "$lib.infosec.cvss.vectToProps('CVSS:3.0/AV:N/AC:L')": "BadArg",
    "('text').replace((1), x)": "StormRuntimeError",
    "$lib.text(a).add((1))": "StormRuntimeError",
}
VALUES = {
    "$lib.globals.set(edge, ([1]))": [1],
    "$lib.yaml.save(text)": "text\n",
    "$lib.yaml.save('...')": "'...'\n",
    "$lib.jsonstor.del(no/where, prop=x)": False,
    "$lib.jsonstor.del(no/where)": True,
    "('a  b').split((null))": ["a", "b"],
    "('a b  c').rsplit((null), maxsplit=1)": ["a b", "c"],
    "$lib.regex.search(c, c)": (),
    "$lib.infosec.cvss.vectToProps('AV:N/PR:L')": {"cvss:av": "N", "cvss:pr": "L"},
    "$lib.auth.roles.byname(edge).getRules(gateiden=nosuch)": [],
}
COMMANDS = {
    "auth.role.add (null)": "BadArg",
    "auth.role.mod edge --name ([1, 2])": "BadArg",
    "auth.user.mod root --admin perhaps": "BadArg",
    "auth.user.mod root --admin (null)": "BadArg",
    "note.add (null)": "BadArg",
    "gen.ou.org (null)": "BadTypeValu",
    "gen.it.av.scan.result nosuch x name": "NoSuchType",
    "view.exec '' { inet:fqdn }": "NoSuchView",
    "copyto ''": "NoSuchView",
    "macro.exec ''": "BadArg",
    "trigger.add prop:set --prop inet:fqdn:zone --form inet:fqdn --query { }": "BadOptValu",
}


@pytest.fixture(name="engine", scope="module")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("edges")
    with running(CortexCell(load_config(CortexConfig, dir=folder, environ={}))) as cell:
        cell.engine.call("$lib.auth.roles.add(edge)")
        yield cell.engine


@pytest.mark.parametrize("text", ERRORS)
def test_a_call_that_cannot_be(engine: Engine, text: str) -> None:
    with pytest.raises(CellError) as caught:
        engine.call(f"return({text})")
    assert caught.value.name == ERRORS[text]


@pytest.mark.parametrize("text", VALUES)
def test_what_a_call_gives(engine: Engine, text: str) -> None:
    assert engine.call(f"return({text})") == VALUES[text]


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_that_cannot_run(engine: Engine, text: str) -> None:
    errors = [message.error.name for message in engine.storm(text) if isinstance(message, Error)]
    assert errors == [COMMANDS[text]]


def test_a_macro_is_granted_to_users_and_roles_that_there_are(engine: Engine) -> None:
    engine.call("$lib.macro.set(granted, 'inet:fqdn') $lib.macro.grant(granted, users, $lib.user.iden, (1))")
    for scope, name in (("users", "NoSuchUser"), ("roles", "NoSuchRole")):
        with pytest.raises(CellError) as caught:
            engine.call(f"$lib.macro.grant(granted, {scope}, nosuch, (1))")
        assert caught.value.name == name
        # What is left of one that was removed can be taken back.
        engine.call(f"$lib.macro.grant(granted, {scope}, nosuch, (null))")


def test_a_query_in_braces_is_kept_without_the_blanks_around_it(engine: Engine) -> None:
    for text in ("cron.add --hour 1 { inet:fqdn }", "macro.set braces {  inet:fqdn\n}"):
        assert not [m for m in engine.storm(text) if isinstance(m, Error)]
    assert engine.call("return($lib.cron.list().0.pack().query)") == "inet:fqdn"
    assert engine.call("return($lib.macro.get(braces).storm)") == "inet:fqdn"
    assert engine.call("$lib.macro.set(as, ${ inet:fqdn }) return($lib.macro.get(as).storm)") == " inet:fqdn "


def test_a_node_stands_for_its_value_where_text_is_wanted(engine: Engine) -> None:
    text = "[ inet:fqdn=a.edge ] $lib.print($lib.str.concat($node, '!')) | gen.ou.org $node | +ou:org"
    messages = list(engine.storm(text))
    assert [m.text for m in messages if isinstance(m, Print)] == ["a.edge!"]
    assert [m.node.props["name"] for m in messages if isinstance(m, NodeRow)] == ["a.edge"]
