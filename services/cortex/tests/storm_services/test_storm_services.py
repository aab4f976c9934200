"""Storm services of a Cortex, with real servers: the example as a process, others on threads."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from cellmesh.api.storm_service.v1 import provider_pb2, provider_service_pb2_grpc
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.values import from_value, to_value
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow, Print, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions

EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "storm-service" / "server.py"
WAIT_S = 30.0


class Echo(provider_service_pb2_grpc.ProviderServiceServicer):
    """A service that gives back what it gets."""

    def __init__(self) -> None:
        self.provider = provider_pb2.Provider(
            name="echoes",
            version="0.1.0",
            methods=[
                provider_pb2.Method(name="echo"),
                provider_pb2.Method(name="who"),
                provider_pb2.Method(name="fail"),
                provider_pb2.Method(name="count", streams=True),
            ],
            packages=[package("echo.pkg", "echo.say"), package("other.pkg", "other.say")],
        )
        self.ended = threading.Event()

    def GetProvider(self, request: Any, context: Any) -> provider_pb2.GetProviderResponse:
        return provider_pb2.GetProviderResponse(provider=self.provider)

    def CallMethod(self, request: Any, context: Any) -> provider_pb2.CallMethodResponse:
        call = request.call
        if call.method == "fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "there is nothing")
        if call.method == "who":
            return provider_pb2.CallMethodResponse(value=to_value(call.user))
        given = [from_value(value) for value in call.arguments]
        named = {name: from_value(value) for name, value in call.named.items()}
        return provider_pb2.CallMethodResponse(value=to_value([given, named]))

    def StreamMethod(self, request: Any, context: Any) -> Iterator[provider_pb2.StreamMethodResponse]:
        context.add_callback(self.ended.set)
        number = 0
        while context.is_active():
            values = [to_value(number), to_value(number + 1)]
            yield provider_pb2.StreamMethodResponse(values=values)
            number += 2


def package(name: str, command: str, version: str = "0.0.1") -> provider_pb2.Package:
    """A package with a command that tells of its settings."""
    text = "$lib.print(`{$cmdconf.a} {$cmdopts.n} {$lib.service.get($cmdconf.svciden).echo(x)}`)"
    number = provider_pb2.Argument(flags=["--n"], type="int", default=to_value(3))
    made = provider_pb2.Command(
        name=command, storm=text, arguments=[number], settings=to_value({"a": 1}), doc="Says it."
    )
    return provider_pb2.Package(name=name, version=version, commands=[made])


@contextmanager
def serving(servicer: Echo, port: int = 0) -> Iterator[int]:
    """Serve on a port of the machine."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    provider_service_pb2_grpc.add_ProviderServiceServicer_to_server(servicer, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield bound
    finally:
        server.stop(0).wait()


@contextmanager
def example(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the example as a process."""
    command = [sys.executable, str(EXAMPLE), "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().split()[-1])
        finally:
            process.terminate()
            process.wait(WAIT_S)


@contextmanager
def cortex(folder: Path) -> Iterator[CortexCell]:
    """Run a Cortex."""
    with running(CortexCell(load_config(CortexConfig, dir=folder, environ={}))) as cell:
        yield cell


@pytest.fixture(name="cell", scope="module")
def _cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CortexCell]:
    with cortex(tmp_path_factory.mktemp("services")) as cell:
        assert told(cell, "for $name in (bob, eve) { $lib.auth.users.add($name) }") == []
        yield cell


@pytest.fixture(autouse=True)
def _no_services(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "cell" in request.fixturenames:
        cell = request.getfixturevalue("cell")
        told(cell, "for $service in $lib.service.list() { $lib.service.del($service.iden) }")


def told(cell: CortexCell, text: str, user: str = "root") -> list[str]:
    """What a query prints and warns of, values of nodes, and the name of its error with the permission it lacks."""
    found = []
    for message in cell.engine.storm(text, QueryOptions(user=user)):
        if isinstance(message, Print):
            found.append(message.text)
        elif isinstance(message, Warn):
            found.append(f"warning: {message.text}")
        elif isinstance(message, NodeRow):
            found.append(str(message.node.value))
        elif isinstance(message, Error):
            found.append(f"{message.error.name} {message.error.errinfo.get('perm', '')}".strip())
    return found


def added(cell: CortexCell, name: str, port: int) -> str:
    """Add a service and wait for it; returns its iden."""
    text = f'$row=$lib.service.add({name}, "grpc://127.0.0.1:{port}") return($row.iden)'
    iden: str = cell.engine.call(text)
    assert cell.engine.call(f"return($lib.service.wait({name}, timeout=({WAIT_S:.0f})))") is True
    return iden


def until(check: Callable[[], bool]) -> None:
    """Return when something holds."""
    deadline = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_example(cell: CortexCell) -> None:
    with example() as (process, port):
        iden = added(cell, "registry", port)
        url = f"grpc://127.0.0.1:{port}"
        assert told(cell, "service.list")[2] == f"    {iden} true (registry) (whois @ 1.0.0): {url}"
        assert told(cell, "[ inet:fqdn=vertex.link ] | whois.enrich --hosts") == ["vertex.link"]
        assert told(cell, "inet:fqdn#whois.host") == [
            "www.vertex.link",
            "docs.vertex.link",
            "mail.vertex.link",
        ]
        assert told(cell, "inet:fqdn=link | whois.enrich") == ["warning: nothing is known of link", "link"]
        module = (
            "$m=$lib.import(whois.lookup) $lib.print($m.registrar(example.org)) $lib.print($m.registrar(x))"
        )
        assert told(cell, module) == ["IANA", "nobody we know"]
        assert cell.engine.call("return($lib.globals.get(whois.service))") == iden
        assert (
            cell.engine.call("return($lib.service.get(whois).lookup(domain=example.org).created)")
            == "1995/08/31"
        )
        assert told(cell, "$lib.service.get(whois).lookup((1))") == ["BadArg"]
        process.terminate()
        process.wait(WAIT_S)
        # Its commands are there all the same; they wait for a while.
        assert told(cell, "inet:fqdn=vertex.link | whois.enrich") == ["StormRuntimeError"]
        with example(port):
            assert cell.engine.call(f"return($lib.service.wait(registry, timeout=({WAIT_S:.0f})))") is True
            assert told(cell, "inet:fqdn=vertex.link | whois.enrich") == ["vertex.link"]
            assert told(cell, f"service.del {iden[:8]}") == [f"removed {iden} (registry): {url}"]
    assert told(cell, "inet:fqdn | whois.enrich") == ["NoSuchName"]
    assert cell.engine.call("return(($lib.globals.get(whois.service), $lib.pkg.list()))") == [None, []]


def test_values_travel_both_ways(cell: CortexCell) -> None:
    with serving(Echo()) as port:
        added(cell, "echo", port)
        given = {"a": [1, 2.5, None, True, b"\x00\xff", "é", -(2**70), {"b": []}]}
        options = QueryOptions(vars={"x": given})
        text = "return($lib.service.get(echo).echo($x, (1), y=$x))"
        assert cell.engine.call(text, options) == [[given, 1], {"y": given}]
        assert cell.engine.call("return($lib.service.get(echo).who())", QueryOptions(user="root")) == "root"


def test_a_stream_ends_with_its_query(cell: CortexCell) -> None:
    servicer = Echo()
    with serving(servicer) as port:
        added(cell, "echo", port)
        text = "$o=([]) for $i in $lib.service.get(echo).count() { $o.append($i) if ($i > 4) { break } } return($o)"
        assert cell.engine.call(text) == [0, 1, 2, 3, 4, 5]
        assert servicer.ended.wait(WAIT_S)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("$lib.service.get(echo).nope()", "NoSuchMeth"),
        ("$lib.service.get(nope)", "NoSuchName"),
        ("$lib.service.wait(nope)", "NoSuchName"),
        ("$lib.service.del(nope)", "NoSuchStormSvc"),
        ("$lib.service.add(x, bogus)", "BadUrl"),
        ('$lib.service.add(x, "cell:///tmp/x?axon")', "BadUrl"),
    ],
)
def test_what_there_is_not(cell: CortexCell, text: str, error: str) -> None:
    with serving(Echo()) as port:
        added(cell, "echo", port)
        assert told(cell, text) == [error]


def test_an_error_of_a_service_is_the_querys(cell: CortexCell) -> None:
    with serving(Echo()) as port:
        added(cell, "echo", port)
        (name,) = told(cell, "$lib.service.get(echo).fail()")
        assert name.startswith("NoSuch")
        caught = "try { $lib.service.get(echo).fail() } catch * as err { $lib.print($err.mesg) }"
        assert "there is nothing" in told(cell, caught)[0]


def test_a_service_that_is_not_there(cell: CortexCell) -> None:
    assert told(cell, "service.add away grpc://127.0.0.1:1")[0].startswith("added ")
    assert "false (away) (Unknown @ Unknown)" in told(cell, "service.list")[2]
    assert told(cell, "$lib.print($lib.service.wait(away, timeout=(0)))") == ["false"]
    assert told(cell, "$lib.service.get(away).echo()") == ["StormRuntimeError"]
    assert told(cell, "$lib.print($lib.service.has(away)) $lib.print($lib.service.has(nope))") == [
        "true",
        "false",
    ]
    assert told(cell, "service.del zzz") == ["No service found by iden: zzz"]


def test_packages_follow_the_service(cell: CortexCell) -> None:
    servicer = Echo()
    with serving(servicer) as port:
        iden = added(cell, "echo", port)
        assert told(cell, "echo.say --n 4")[0].startswith("1 4 [")
        known = cell.engine.call("return($lib.pkg.get(echo.pkg))")
        assert known["svciden"] == iden
        del servicer.provider.packages[1]
        servicer.provider.packages[0].CopyFrom(package("echo.pkg", "echo.tell", "0.0.2"))
        cell.service_links.link(iden).wake()
        names = "$o=([]) for $p in $lib.pkg.list() { $o.append(($p.name, $p.version)) } return($o)"
        until(lambda: cell.engine.call(names) == [["echo.pkg", "0.0.2"]])
        assert told(cell, "echo.say") == ["NoSuchName"]
        assert told(cell, "echo.tell")[0].startswith("1 3 [")


def test_a_service_takes_no_package_of_others(cell: CortexCell) -> None:
    assert told(cell, "$lib.pkg.add(({'name': 'echo.pkg', 'version': '9.0.0'}))") == []
    with serving(Echo()) as port:
        iden = added(cell, "echo", port)
        assert cell.engine.call("return($lib.pkg.get(echo.pkg).version)") == "9.0.0"
        assert cell.engine.call("return($lib.pkg.get(other.pkg).svciden)") == iden
    told(cell, "$lib.pkg.del(echo.pkg)")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("service.list", "list"),
        ("$lib.service.list()", "list"),
        ("$lib.service.add(x, 'grpc://127.0.0.1:1')", "add"),
        ("service.add x grpc://127.0.0.1:1", "add"),
        ("$lib.service.del(x)", "del"),
    ],
)
def test_rights_on_the_library(cell: CortexCell, text: str, right: str) -> None:
    assert told(cell, text, "eve")[-1] == f"AuthDeny service.{right}"


def test_rights_on_a_service(cell: CortexCell) -> None:
    with serving(Echo()) as port:
        iden = added(cell, "echo", port)
        denied = f"AuthDeny service.get.{iden}"
        for text in ("$lib.service.get(echo)", "$lib.service.wait(echoes)", "echo.say"):
            assert told(cell, text, "bob") == [denied], text
        assert told(cell, "$lib.print($lib.service.has(echo))", "bob") == ["true"]
        told(cell, f"$lib.auth.users.byname(bob).addRule(((true), (service, get, {iden})))")
        assert told(cell, "$lib.print($lib.service.get(echo).who())", "bob") == ["bob"]
        told(cell, "$lib.auth.users.byname(eve).addRule(((true), (service, get, echo)))")
        warned, printed = told(cell, "$lib.print($lib.service.get(echoes).who())", "eve")
        assert warned.startswith("warning: rights on service.get.echo are old")
        assert printed == "eve"


def test_what_a_service_wants_run_has_the_rights_of_who_added_it(cell: CortexCell) -> None:
    servicer = Echo()
    servicer.provider.on_added = "$lib.globals.set(echo.was, here)"
    told(cell, "$lib.auth.users.byname(bob).addRule(((true), (service, add)))")
    with serving(servicer) as port:
        assert told(cell, f"service.add low grpc://127.0.0.1:{port}", "bob")[0].startswith("added ")
        assert told(cell, f"$lib.print($lib.service.wait(low, timeout=({WAIT_S:.0f})))") == ["true"]
        assert cell.engine.call("return($lib.globals.get(echo.was))") is None


def test_what_is_known_outlives_the_cortex(tmp_path: Path) -> None:
    servicer = Echo()
    servicer.provider.on_added = "$lib.queue.gen(times).put(added)"
    loaded = "({'name': 'own', 'version': '1.0.0', 'onload': '$lib.queue.gen(times).put(loaded)'})"
    with serving(servicer) as port:
        with cortex(tmp_path) as cell:
            iden = added(cell, "echo", port)
            assert told(cell, f"$lib.pkg.add({loaded})") == []
        with cortex(tmp_path) as cell:
            assert cell.engine.call(f"return($lib.service.wait(echo, timeout=({WAIT_S:.0f})))") is True
            # The package's query runs again at each start, the service's once.
            until(lambda: cell.engine.call("return($lib.queue.get(times).size())") >= 3)
            items = "$o=([]) for ($offset, $item) in $lib.queue.get(times).gets(wait=(false)) { $o.append($item) } return($o)"
            assert cell.engine.call(items) == ["added", "loaded", "loaded"]
    with cortex(tmp_path) as cell:
        (row,) = cell.engine.call("return($lib.service.list())")
        assert (row["iden"], row["svcname"], row["svcvers"], row["ready"]) == (iden, "echoes", "0.1.0", False)
        assert told(cell, "help echo.say") != []
        assert told(cell, "echo.say") == ["StormRuntimeError"]


class Packages(BaseHTTPRequestHandler):
    """A web server of packages."""

    package = (
        b'{"name": "web", "version": "1.0.0", "commands": [{"name": "web.hi", "storm": "$lib.print(hi)"}]}'
    )
    pages: ClassVar = {
        "/raw": package,
        "/ok": b'{"status": "ok", "result": ' + package + b"}",
        "/err": b'{"status": "err", "code": "Nope"}',
        "/text": b"text",
        "/odd": b'{"a": 1}',
    }

    def do_GET(self) -> None:
        body = self.pages.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


def test_a_package_of_a_web_server(cell: CortexCell) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Packages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{server.server_port}"
    try:
        for command in (f"pkg.load {at}/ok", f"pkg.load --raw {at}/raw"):
            assert told(cell, command) == ["Loaded Package: web @1.0.0"]
            assert told(cell, "web.hi") == ["hi"]
            told(cell, "pkg.del web")
        for command, answer in (
            (f"pkg.load {at}/err", f"warning: pkg.load got JSON error: Nope for URL: {at}/err"),
            (f"pkg.load {at}/raw", f"warning: pkg.load got JSON error: $lib.null for URL: {at}/raw"),
            (f"pkg.load {at}/none", f"warning: pkg.load got HTTP code: 404 for URL: {at}/none"),
            (f"pkg.load {at}/text", "BadJsonText"),
            (f"pkg.load --raw {at}/odd", "SchemaViolation"),
            (f"pkg.load --verify {at}/ok", "BadPkgDef"),
        ):
            assert told(cell, command) == [answer]
        assert told(cell, f"pkg.load {at}/ok", "eve") == ["AuthDeny pkg.add"]
    finally:
        server.shutdown()
        server.server_close()


def test_what_a_command_of_a_package_is_given(cell: CortexCell) -> None:
    definition = {
        "name": "given",
        "version": "1.0.0",
        "commands": [
            {
                "name": "given.cmd",
                "cmdargs": [
                    ["what", {}],
                    ["--on", {"action": "store_true"}],
                    ["--off", {"action": "store_false"}],
                ],
                "storm": "$lib.print($cmdopts)",
            }
        ],
    }
    cell.engine.call("$lib.pkg.add($p)", QueryOptions(vars={"p": definition}))
    assert told(cell, "given.cmd { inet:ipv4 }") == [
        "{'what': 'inet:ipv4', 'on': $lib.null, 'off': $lib.null}"
    ]
    assert told(cell, "given.cmd (5 + 5) --on --off") == ["{'what': 10, 'on': true, 'off': false}"]
    told(cell, "pkg.del given")
