"""The extended HTTP API: endpoints made in Storm, called over gRPC as a gateway does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.cortex.v1 import http_api_pb2
from cellmesh.api.cortex.v1.http_api_service_pb2_grpc import HttpApiServiceStub
from cellmesh.client import open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import CellError
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.runtime.messages import Error, Fire, Print
from cellmesh.cortex.storm.runtime.options import QueryOptions

IDEN = "0123456789abcdef0123456789abcdef"
ASK = (
    '$request.reply(200, headers=({"X-a": "b"}), body=({"args": $request.args, "h": $request.headers."X-FOO",'
    ' "params": $request.params, "path": $request.path, "uri": $request.uri, "user": $request.user,'
    ' "method": $request.method, "me": $lib.user.name(), "v": $vv, "api": $request.api.name}))'
)


@pytest.fixture(name="cell", scope="module")
def _cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CortexCell]:
    folder: Path = tmp_path_factory.mktemp("httpapi")
    with running(CortexCell(load_config(CortexConfig, dir=folder, environ={}))) as cell:
        assert told(cell, "for $name in (bob, eve) { $lib.auth.users.add($name) }") == []
        yield cell


@pytest.fixture(autouse=True)
def _no_endpoints(cell: CortexCell) -> Iterator[None]:
    yield
    told(cell, "for $api in $lib.cortex.httpapi.list() { $lib.cortex.httpapi.del($api.iden) }")


def told(cell: CortexCell, text: str, user: str = "root") -> list[str]:
    """What a query prints, and the name of its error with the permission it lacks."""
    found = []
    for message in cell.engine.storm(text, QueryOptions(user=user)):
        if isinstance(message, Print):
            found.append(message.text)
        elif isinstance(message, Error):
            found.append(f"{message.error.name} {message.error.errinfo.get('perm', '')}".strip())
    return found


def endpoint(cell: CortexCell, text: str) -> list[str]:
    """Make the endpoint if there is none, and do something with it as `$a`."""
    found = cell.engine.call("return($lib.cortex.httpapi.list().size())")
    if not found:
        made = f'$lib.cortex.httpapi.add("foo/([a-z]+)/(.*)", name=hi, iden={IDEN})'
        assert told(cell, made) == []
    return told(cell, f"$a=$lib.cortex.httpapi.get({IDEN}) {text}")


def call(cell: CortexCell, method: str, path: str, **facts: Any) -> tuple[int, dict[str, str], bytes]:
    """Call the API as root on the machine; returns code, headers and body."""
    given = http_api_pb2.CallHttpApiRequest(method=method, path=path)
    for name in ("headers", "params"):
        for key, value in facts.pop(name, ()):
            getattr(given, name).add(name=key, value=value)
    for name, value in facts.items():
        setattr(given, name, value)
    client = open_cell(f"unix://{cell.config.dir}")
    try:
        parts = list(client.stub(HttpApiServiceStub).CallHttpApi(given))
    finally:
        client.close()
    head = parts[0].head
    return (
        head.code,
        {header.name: header.value for header in head.headers},
        b"".join(part.body for part in parts[1:]),
    )


def failure(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    """The code of an answer that tells of an error, and the error's name."""
    body = json.loads(answer[2])
    assert body["status"] == "err"
    assert body["mesg"]
    return answer[0], body["code"]


def test_what_is_kept_of_an_endpoint(cell: CortexCell) -> None:
    assert endpoint(cell, "$lib.print($a)") == [f"http:api: hi ({IDEN}), path=foo/([a-z]+)/(.*)"]
    packed = cell.engine.call(f"return($lib.cortex.httpapi.get({IDEN}).pack())")
    assert packed["methods"] == {}
    assert packed["perms"] == []
    assert packed["owner"] == packed["creator"]
    assert endpoint(cell, "$a.methods.get=${ $x=1 } $lib.print($a.methods) $lib.print($a.methods.put)") == [
        "http:api:methods: {'get': '$x=1'}",
        "$lib.null",
    ]
    assert endpoint(cell, "$a.methods.get=$lib.undef $lib.print($a.methods)") == ["http:api:methods: {}"]
    changed = """
        $a.perms=(foo.bar,) $a.perms.append("baz.faz") $a.perms.extend((({"perm": [a, b], "default": true}),))
        $a.perms.reverse() $lib.print($a.perms.pop()) $lib.print($a.perms.size()) $lib.print($a.perms)
        $lib.print($a.perms.has("baz.faz")) $lib.print($a.perms.0) $lib.print($a.perms.slice(1))
    """.replace("[a, b]", '["a", "b"]')
    assert endpoint(cell, changed) == [
        "{'perm': ['foo', 'bar'], 'default': false}",
        "2",
        "[{'perm': ['a', 'b'], 'default': true}, {'perm': ['baz', 'faz'], 'default': false}]",
        "true",
        "{'perm': ['a', 'b'], 'default': true}",
        "[{'perm': ['baz', 'faz'], 'default': false}]",
    ]
    variables = '$a.vars=({"x": 1, "y": 2}) $a.vars.x=$lib.undef $a.vars.z=3 $lib.print($a.vars)'
    assert endpoint(cell, variables) == ["{'y': 2, 'z': '3'}"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("$a.runas=bogus", "SchemaViolation"),
        ("$a.iden=foo", "NoSuchName"),
        ("$a.nope=foo", "NoSuchName"),
        ("$lib.print($a.nope)", "NoSuchName"),
        ("$a.methods.bogus=foo", "NoSuchName"),
        ("$a.view=nope", "NoSuchView"),
        ("$a.owner=nope", "NoSuchUser"),
        ('$a.path="foo/("', "BadArg"),
        ("$a.perms=((1),)", "BadArg"),
        ("$lib.cortex.httpapi.add(foo, runas=zip)", "SchemaViolation"),
        ("$lib.cortex.httpapi.add(foo, iden=zip)", "SchemaViolation"),
        ('$lib.cortex.httpapi.add("foo(")', "BadArg"),
        (f"$lib.cortex.httpapi.add(foo, iden={IDEN})", "DupIden"),
        ("$lib.cortex.httpapi.del(nope)", "BadArg"),
        ("$lib.cortex.httpapi.get(nope)", "NoSuchIden"),
        (f"$lib.cortex.httpapi.index({IDEN}, (-1))", "BadArg"),
        ('$lib.cortex.httpapi.add(x, name=h) cortex.httpapi.stat ""', "StormRuntimeError"),
        ("cortex.httpapi.stat zzz", "StormRuntimeError"),
    ],
)
def test_what_an_endpoint_cannot_be(cell: CortexCell, text: str, error: str) -> None:
    assert endpoint(cell, text) == [error]


def test_the_order_of_endpoints(cell: CortexCell) -> None:
    endpoint(cell, "")
    told(cell, "$lib.cortex.httpapi.add(b, name=xb) $lib.cortex.httpapi.add(c, name=xc)")
    assert told(cell, "cortex.httpapi.index xc 0")[0].endswith("to index 0")
    assert told(cell, "cortex.httpapi.index hi 9")[0].endswith("to index 2")
    names = "$o=([]) for $a in $lib.cortex.httpapi.list() { $o.append($a.name) } return($o)"
    assert cell.engine.call(names) == ["xc", "xb", "hi"]
    lines = told(cell, "cortex.httpapi.list")
    assert len(lines) == 4
    assert lines[0].startswith(" order | iden ")
    assert lines[3] == f" 2     | {IDEN} | root                 | true  | owner  | foo/([a-z]+)/(.*) "
    assert told(cell, "$lib.print($lib.cortex.httpapi.getByPath(b).name)") == ["xb"]
    assert told(cell, "$lib.print($lib.cortex.httpapi.getByPath(bb))") == ["$lib.null"]


def test_all_about_an_endpoint_is_printed(cell: CortexCell) -> None:
    lines = endpoint(
        cell, "$a.methods.get=${ $x=1 } $a.perms=(foo.bar,) $a.vars.v=(1) cortex.httpapi.stat hi"
    )
    assert f"Iden: {IDEN}" in lines
    for line in ("Method: GET", "$x=1", "foo.bar", "    default: false", "v                => 1"):
        assert line in lines


def test_a_request_and_its_answer(cell: CortexCell) -> None:
    assert (
        endpoint(
            cell,
            "$a.methods.get=$lib.str.concat('$lib.print(x) ', $q) $a.vars.vv=(3)".replace("$q", repr(ASK)),
        )
        == []
    )
    code, headers, body = call(
        cell,
        "GET",
        "foo/abc/d/e",
        headers=[("X-Foo", "bar"), ("x-foo", "later")],
        params=[("a", "1"), ("b", "2"), ("a", "3")],
        uri="/api/foo/abc/d/e?a=1",
    )
    assert code == 200
    assert headers["X-a"] == "b"
    assert headers["Content-Type"] == "application/json; charset=utf8"
    assert json.loads(body) == {
        "args": ["abc", "d/e"],
        "h": "bar",
        "params": {"a": "1", "b": "2"},
        "path": "foo/abc/d/e",
        "uri": "/api/foo/abc/d/e?a=1",
        "user": cell.auth.policy.user_names["root"],
        "method": "GET",
        "me": "root",
        "v": 3,
        "api": "hi",
    }


@pytest.mark.parametrize(
    ("query", "code", "body"),
    [
        (
            "$request.sendcode(201) $request.sendheaders(({'X': 'y'})) $request.sendbody($request.body)",
            201,
            b"sent",
        ),
        ("$request.sendbody($request.body) $request.sendbody($request.body)", 200, b"sentsent"),
        ("$request.sendcode(200) $request.sendcode(202) $request.sendbody($request.body)", 202, b"sent"),
        ("$request.reply(204)", 204, b""),
        ("$request.reply(200, body=text)", 200, b'"text"'),
        ("$request.reply(200, body=$lib.null)", 200, b"null"),
        ("$request.reply(200, body=$request.body)", 200, b"sent"),
        ("$request.reply(404) $lib.exit(foo)", 404, b""),
    ],
)
def test_ways_to_answer(cell: CortexCell, query: str, code: int, body: bytes) -> None:
    assert endpoint(cell, f"$a.methods.post=${{ {query} }}") == []
    assert call(cell, "POST", "foo/a/b", body=b"sent")[::2] == (code, body)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("$lib.print(nothing)", "StormRuntimeError"),
        ("$lib.raise(BadArg, boom)", "BadArg"),
        ("$request.sendcode(200) $lib.raise(BadArg, boom)", "BadArg"),
        ("$request.sendbody(text)", "BadArg"),
        ("$request.sendheaders(text)", "BadArg"),
        ("$request.reply(200) $request.reply(201)", "BadArg"),
        ("$request.reply(abc)", "BadCast"),
        ("$request.reply(200, body=$request.json)", "StormRuntimeError"),
        ("$request.foo=1", "StormRuntimeError"),
        ("foo bar baz", "NoSuchName"),
    ],
)
def test_a_query_that_fails_before_the_body(cell: CortexCell, query: str, error: str) -> None:
    assert endpoint(cell, f"$a.methods.post=${{ {query} }}") == []
    assert failure(call(cell, "POST", "foo/a/b", body=b"{")) == (500, error)


def test_a_query_that_fails_behind_a_part_of_the_body(cell: CortexCell) -> None:
    endpoint(cell, "$a.methods.get=${ $request.sendbody(('x').encode()) $lib.raise(BadArg, late) }")
    with pytest.raises(CellError) as caught:
        call(cell, "GET", "foo/a/b")
    assert caught.value.name == "BadArg"


def test_what_there_is_not(cell: CortexCell) -> None:
    endpoint(cell, "$a.methods.get=${ $request.reply(200) }")
    assert failure(call(cell, "GET", "nope")) == (404, "NoSuchPath")
    assert failure(call(cell, "GET", "/foo/a/b")) == (404, "NoSuchPath")
    answer = call(cell, "PUT", "foo/a/b")
    assert failure(answer) == (405, "StormRuntimeError")
    assert answer[1]["Allow"] == "GET"


def test_whose_request_it_is(cell: CortexCell) -> None:
    query = '$request.reply(200, body=({"me": $lib.user.name(), "user": $request.user}))'
    endpoint(cell, f"$a.methods.get=${{ {query} }}")
    bob = cell.auth.policy.user_names["bob"]

    def ask(user: str) -> Any:
        code, _, body = call(cell, "GET", "foo/a/b", user=user)
        return json.loads(body) if code == 200 else failure((code, {}, body))

    assert ask("bob") == {"me": "root", "user": bob}
    assert ask("nobody") == (401, "Unauthenticated")
    endpoint(cell, "$a.perms=(foo.bar,)")
    assert ask("bob") == (403, "AuthDeny")
    endpoint(cell, '$a.perms=(({"perm": ["foo", "bar"], "default": true}),)')
    assert ask("bob") == {"me": "root", "user": bob}
    endpoint(cell, "$a.perms=() $a.runas=user")
    assert ask("bob") == {"me": "bob", "user": bob}
    endpoint(cell, "$a.methods.get=${ [ inet:fqdn=http.api ] $request.reply(200) }")
    assert ask("bob") == (500, "AuthDeny")
    endpoint(cell, "$a.runas=owner $a.readonly=(true)")
    assert ask("bob") == (500, "IsReadOnly")
    endpoint(cell, "$a.readonly=(false)")
    assert call(cell, "GET", "foo/a/b", user="bob")[0] == 200
    assert cell.engine.count("inet:fqdn=http.api") == 1


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("cortex.httpapi.list", "get"),
        ("$lib.cortex.httpapi.list()", "get"),
        (f"$lib.cortex.httpapi.get({IDEN})", "get"),
        ("$lib.cortex.httpapi.getByPath(x)", "get"),
        (f"$lib.cortex.httpapi.del({IDEN})", "del"),
        ("$lib.cortex.httpapi.add(foo)", "add"),
        (f"$lib.cortex.httpapi.index({IDEN}, 0)", "set"),
        (f"cortex.httpapi.stat {IDEN}", "get"),
    ],
)
def test_rights_on_the_library(cell: CortexCell, text: str, right: str) -> None:
    assert told(cell, text, "eve") == [f"AuthDeny storm.lib.cortex.httpapi.{right}"]


def test_rights_on_an_endpoint(cell: CortexCell) -> None:
    endpoint(cell, "$lib.auth.users.byname(bob).addRule(((true), (storm, lib, cortex, httpapi, get)))")
    at = f"$a=$lib.cortex.httpapi.get({IDEN}) "
    changes = (
        "$a.name=x",
        "$a.methods.get=${ }",
        "$a.vars.x=1",
        "$a.perms.append(x)",
        "$a.perms=()",
        "$a.vars=({})",
        f"$a.owner={cell.auth.policy.user_names['bob']}",
        "$a.view=$lib.view.get().iden",
    )
    for change in changes:
        assert told(cell, at + change, "bob") == ["AuthDeny storm.lib.cortex.httpapi.set"], change
    assert told(cell, at + "$lib.print($a.name)", "bob") == ["hi"]
    told(cell, "$lib.auth.users.byname(bob).addRule(((true), (storm, lib, cortex, httpapi, set)))")
    for change in changes:
        assert told(cell, at + change, "bob") == [], change
    read_only = QueryOptions(readonly=True)
    found = [m.error.name for m in cell.engine.storm(at + "$a.name=x", read_only) if isinstance(m, Error)]
    assert found == ["IsReadOnly"]


def test_the_endpoint_of_the_documentation(cell: CortexCell) -> None:
    page = Path(__file__).resolve().parents[4] / "docs" / "http-api.md"
    block = page.read_text(encoding="utf-8").split("```\n")[1]
    assert told(cell, block) == []
    assert told(cell, "[ inet:fqdn=vertex.link +#seen ]") == []
    code, _, body = call(cell, "GET", "domains/vertex.link")
    assert (code, json.loads(body)) == (200, {"name": "vertex.link", "tags": ["seen"]})
    # Nothing is lifted, so nothing replies.
    assert failure(call(cell, "GET", "domains/not.there")) == (500, "StormRuntimeError")


def test_a_request_of_ones_own_is_answered_with_events(cell: CortexCell) -> None:
    endpoint(cell, "")
    text = f'$r=$lib.cortex.httpapi.response(({{"iden": "{IDEN}"}})) $r.reply(201, body=({{"a": 1}}))'
    events = [(m.type, m.data) for m in cell.engine.storm(text) if isinstance(m, Fire)]
    assert events[0] == ("http:resp:code", {"code": 201})
    assert events[2] == ("http:resp:body", {"body": b'{"a":1}'})
