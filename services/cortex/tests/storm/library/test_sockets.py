"""Web sockets against a real server, plain and with TLS."""

from __future__ import annotations

import json
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.sync.server import ServerConnection, serve

sys.path.insert(0, str(Path(__file__).parent))
from test_http_calls import certificate, pem


def answer(link: ServerConnection) -> None:
    """Tell how it was called, then say everything back until it is told to end."""
    assert link.request is not None
    link.send(json.dumps({"path": link.request.path, "foo": link.request.headers.get("Foo")}))
    for message in link:
        if json.loads(message) == "junk":
            link.send("no json")
        elif json.loads(message) == "end":
            return
        else:
            link.send(message)


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    with serve(answer, "127.0.0.1", 0, ssl=tls) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]
        server.shutdown()


def call(engine: Engine, query: str, **variables: Any) -> Any:
    return engine.call(query, QueryOptions(vars=variables))


def test_messages_go_both_ways(engine: Engine) -> None:
    with serving() as port:
        first, sent, back, none, junk, ended, late = call(
            engine,
            """
            ($ok, $s)=$lib.inet.http.connect($url, headers=({"Foo": "bar"}), params=({"a": "b c"}))
            $first=$s.rx(timeout=(30)) $sent=$s.tx(({"x": [1, null]})) $back=$s.rx(timeout=(30))
            $none=$s.rx(timeout=(0))
            $s.tx(junk) $junk=$s.rx(timeout=(30)) $s.tx(end) $ended=$s.rx(timeout=(30))
            return(($first, $sent, $back, $none, $junk, $ended, $s.tx(more)))
            """,
            url=f"ws://127.0.0.1:{port}/x?y=1",
        )
    assert list(first) == [True, {"path": "/x?y=1&a=b+c", "foo": "bar"}]
    assert list(sent) == [True, None]
    assert list(back) == [True, {"x": [1, None]}]
    assert (none[0], none[1][0]) == (False, "TimeOut")
    assert (junk[0], junk[1][0]) == (False, "JSONDecodeError")
    assert (ended[0], ended[1][0]) == (False, "ConnectionClosedOK")
    assert late[0] is False


def test_tls(engine: Engine, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    own = certificate("server", key, "server", key, is_authority=True)
    (tmp_path / "server.pem").write_bytes(own + pem(key))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    with serving(context) as port:
        found = call(
            engine,
            """
            return(($lib.inet.http.connect($url).0, $lib.inet.http.connect($url, ssl_verify=(false)).0,
                $lib.inet.http.connect($url, ssl_opts=({"ca_cert": $ca})).0))
            """,
            url=f"https://127.0.0.1:{port}/",
            ca=own.decode(),
        )
    assert list(found) == [False, True, True]


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/", "words", "ftp://127.0.0.1/"])
def test_servers_that_cannot_be_reached(engine: Engine, url: str) -> None:
    ok, error = call(engine, "return($lib.inet.http.connect($url))", url=url)
    assert (ok, bool(error[0])) == (False, True)
