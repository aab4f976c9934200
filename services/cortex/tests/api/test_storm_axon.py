"""`$lib.axon` of a Cortex with an Axon beside it, both real."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgpack
import pytest
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import CellError
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions


@pytest.fixture(scope="module", name="engine")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("cells")
    config = load_config(
        CortexConfig,
        dir=folder / "cortex",
        flags={"log_level": "error", "axon": f"cell://{folder}/axon?axon"},
        environ={},
    )
    cell = CortexCell(config)
    with running(cell):
        yield cell.engine


def test_contents_come_back(engine: Engine) -> None:
    size, sha256, there, known, data, part = engine.call(
        """
        ($size, $sha)=$lib.axon.put(("hello").encode())
        return(($size, $sha, $lib.axon.has($sha), $lib.axon.size($sha), $lib.axon.read($sha),
            $lib.axon.read($sha, offs=(1), size=(2))))
        """
    )
    assert (size, there, known, data, part) == (5, True, 5, b"hello", b"el")
    assert sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    hashes = engine.call("return($lib.axon.hashset($sha))", QueryOptions(vars={"sha": sha256}))
    assert hashes["md5"] == "5d41402abc4b2a76b9719d911017c592"


def test_a_content_in_parts(engine: Engine) -> None:
    size, same = engine.call(
        """
        $part=$lib.hex.decode("61")
        function parts() { for $i in $lib.range(3000) { emit $part } }
        ($size, $sha)=$lib.axon.upload($parts())
        return(($size, ($lib.len($lib.axon.read($sha)) = $size)))
        """
    )
    assert (size, same) == (3000, True)


def test_rows_lines_and_values(engine: Engine) -> None:
    rows, values = engine.call(
        """
        ($size, $sha)=$lib.axon.put($rows)
        $found=([]) for $row in $lib.axon.csvrows($sha, delimiter="|") { $found.append($row) }
        ($size, $sha)=$lib.axon.put($values)
        $others=([]) for $value in $lib.axon.jsonlines($sha) { $others.append($value) }
        return(($found, $others))
        """,
        QueryOptions(vars={"rows": b"a|b\n1|2\n", "values": b'{"a": 1}\n[2]\n'}),
    )
    assert [list(row) for row in rows] == [["a", "b"], ["1", "2"]]
    assert values[0] == {"a": 1}


def test_what_is_deleted_is_gone(engine: Engine) -> None:
    found = engine.call(
        """
        ($size, $sha)=$lib.axon.put(("gone").encode())
        return(($lib.axon.del($sha), $lib.axon.del($sha), $lib.axon.dels(($sha,)), $lib.axon.size($sha)))
        """
    )
    assert [list(one) if isinstance(one, (list, tuple)) else one for one in found] == [
        True,
        False,
        [False],
        None,
    ]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("$lib.axon.has(abc)", "BadArg"),
        ("$lib.axon.put(text)", "BadArg"),
        ("$lib.axon.read($lib.crypto.hashes.sha256(('none').encode()))", "NoSuchFile"),
        ("for $l in $lib.axon.readlines($lib.crypto.hashes.sha256(('none').encode())) { }", "NoSuchFile"),
    ],
)
def test_what_cannot_be(engine: Engine, call: str, name: str) -> None:
    with pytest.raises(CellError) as caught:
        engine.call(call)
    assert caught.value.name == name


def test_a_read_only_query_stores_nothing(engine: Engine) -> None:
    with pytest.raises(CellError) as caught:
        engine.call("$lib.axon.put(('x').encode())", QueryOptions(readonly=True))
    assert caught.value.name == "IsReadOnly"


PAGE = b"<html>"
PAGE_MD5 = hashlib.md5(PAGE, usedforsecurity=False).hexdigest()


class Pages(BaseHTTPRequestHandler):
    """A page, a redirect to it, and nothing else."""

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        data = PAGE
        code = {"/page": 200, "/redirect": 302}.get(self.path, 404)
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/page")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_files_of_urls(engine: Engine) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        options = QueryOptions(vars={"url": url})
        found = engine.call("return($lib.axon.wget(`{$url}/page`))", options)
        assert (found["ok"], found["code"], found["size"]) == (True, 200, 6)
        assert found["hashes"]["md5"] == PAGE_MD5
        engine.call("$lib.axon.urlfile(`{$url}/redirect`)", options)
        assert engine.count("inet:urlfile") == 2
        assert engine.count("inet:urlredir") == 1
        assert engine.count(f"file:bytes:size=6 +:md5={PAGE_MD5}") == 1
        messages = list(engine.storm("$x=$lib.axon.urlfile(`{$url}/none`) $lib.print($x)", options))
        assert [message.text for message in messages if isinstance(message, Warn)]
        server.shutdown()


def test_wget(engine: Engine) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        given = {"url": url}
        rows = rows_of(engine, "wget `{$url}/page` `{$url}/redirect` `{$url}/none`", **given)
        assert [row.node.get("url") for row in rows if isinstance(row, NodeRow)] == [
            f"{url}/page",
            f"{url}/redirect",
        ]
        assert ["404" in row.text for row in rows if isinstance(row, Warn)] == [True]
        rows = rows_of(
            engine, "[ inet:url=`{$url}/page` inet:fqdn=vertex.link ] | wget --no-headers", **given
        )
        assert [row.node.form.name for row in rows if isinstance(row, NodeRow)] == ["inet:urlfile"]
        assert ["inet:url" in row.text for row in rows if isinstance(row, Warn)] == [True]
        assert engine.call(f"file:bytes:md5={PAGE_MD5} return(:name)") in ("page", "redirect")
        server.shutdown()


def rows_of(engine: Engine, text: str, **variables: Any) -> list[Any]:
    return list(engine.storm(text, QueryOptions(vars=variables)))


def test_exports_come_in_again(engine: Engine) -> None:
    made = rows_of(
        engine,
        """
        $lib.model.ext.addTagProp(score, (int, ({})), ({}))
        [ it:dev:str=one +#a.b=(2020, 2021) +#c:score=5 ] | spin |
        [ meta:rule=(r,) :name=rule +(matches)> { it:dev:str=one } ]
        $node.data.set(facts, ({"x": [1, 2]}))
        """,
    )
    assert not [row for row in made if isinstance(row, Error)]
    size, sha256 = engine.call("return($lib.export.toaxon('meta:rule it:dev:str=one'))")
    assert size > 100
    gone = rows_of(engine, "meta:rule | delnode --force | spin | it:dev:str=one | delnode --force")
    assert not [row for row in gone if isinstance(row, Error)]
    assert engine.call("return($lib.feed.fromAxon($sha))", QueryOptions(vars={"sha": sha256})) == 2
    name, tag, score, data, other = engine.call(
        """
        meta:rule $rule=$node $data=$node.data.get(facts)
        -(matches)> it:dev:str
        return(($rule.props.name, #a.b, #c:score, $data, $node.value()))
        """
    )
    assert (name, list(tag), score, data, other) == (
        "rule",
        [1577836800000, 1609459200000],
        5,
        {"x": (1, 2)},
        "one",
    )
    # One content may be limited, and may be read over HTTP.
    assert engine.call("return($lib.export.toaxon('.created', opts=({'limit': 1})).0)") < size


class Packed(BaseHTTPRequestHandler):
    """Answers with a packed node, in full or cut short."""

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        data = msgpack.packb([["it:dev:str", "imported"], {"props": {"norm": "imported", "nosuch": 1}}])
        data = {"/nodes": data, "/cut": data[:-3]}.get(self.path, b"")
        self.send_response(200 if data else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_nodes_are_imported_from_a_url(engine: Engine) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Packed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        rows = rows_of(engine, "nodes.import `{$url}/nodes` `{$url}/none`", url=url)
        assert [row.node.value for row in rows if isinstance(row, NodeRow)] == ["imported"]
        warned = [row.text for row in rows if isinstance(row, Warn)]
        assert ["nosuch" in warned[0], warned[1]] == [
            True,
            f"nodes.import got HTTP error code: 404 for {url}/none",
        ]
        rows = rows_of(engine, "nodes.import `{$url}/cut`", url=url)
        assert [row.error.name for row in rows if isinstance(row, Error)] == ["StormRuntimeError"]
        server.shutdown()


def test_a_cortex_without_an_axon(tmp_path: Path) -> None:
    config = load_config(
        CortexConfig,
        dir=tmp_path / "cortex",
        flags={"log_level": "error", "axon": f"unix://{tmp_path}/none.sock"},
        environ={},
    )
    cell = CortexCell(config)
    with running(cell):
        assert cell.engine.call("return((1))") == 1
        with pytest.raises(CellError) as caught:
            cell.engine.call("$lib.axon.metrics()")
        assert caught.value.name == "CellUnreachable"
