"""`$lib.inet.http` against a real server: bodies, headers, redirects, time-outs, broken answers, TLS on both sides."""

from __future__ import annotations

import datetime
import json
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cortex.storm.engine import Engine
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run


class Handler(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path in ("/redirect", "/loop"):
            self.send_response(302)
            self.send_header("Location", "/page?y=1" if self.path == "/redirect" else "/loop")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/slow":
            time.sleep(1.5)
        if self.path == "/hangup":
            self.close_connection = True
            return
        facts = {
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers.items()),
            "body": body.decode("latin1"),
        }
        data = json.dumps(facts).encode()
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(data) + (5 if self.path == "/short" else 0)))
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        if self.path == "/short":
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_HEAD = do_PATCH = _answer


@pytest.fixture(name="url")
def _url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def call(engine: Engine, text: str, **variables: Any) -> Any:
    from cellmesh.cortex.storm.runtime.options import QueryOptions

    return engine.call(text, QueryOptions(vars=variables))


def test_what_is_sent_arrives(engine: Engine, url: str) -> None:
    code, reason, found, error = call(
        engine,
        "$r=$lib.inet.http.get(`{$url}/a b?x=1`, params=({'p': ['1', '2']}), headers=({'Foo': 5}))"
        " return(($r.code, $r.reason, $r.json(), $r.err))",
        url=url,
    )
    assert (code, reason, error) == (200, "OK", [])
    assert found["path"] == "/a%20b?x=1&p=1&p=2"
    assert found["headers"]["Foo"] == "5"


@pytest.mark.parametrize(
    ("given", "kind", "body"),
    [
        ("json=({'a': [1, null]})", "application/json", '{"a": [1, null]}'),
        ("body=abc", "text/plain; charset=utf-8", "abc"),
        ("body=({'a': 'b'})", "application/x-www-form-urlencoded", "a=b"),
        ("body=$lib.hex.decode('00ff')", "application/octet-stream", "\x00\xff"),
    ],
)
def test_bodies(engine: Engine, url: str, given: str, kind: str, body: str) -> None:
    found = call(engine, f"return($lib.inet.http.post($url, {given}).json())", url=url)
    assert (found["method"], found["headers"]["Content-Type"], found["body"]) == ("POST", kind, body)


def test_parts(engine: Engine, url: str) -> None:
    found = call(
        engine,
        "return($lib.inet.http.post($url, fields=([{'name': 'a', 'value': 'b'},"
        " {'name': 'f', 'value': 'data', 'filename': 'x.txt'}])).json())",
        url=url,
    )
    assert found["headers"]["Content-Type"].startswith("multipart/form-data")
    assert 'name="f"; filename="x.txt"' in found["body"]


def test_headers_that_come_twice(engine: Engine, url: str) -> None:
    raw, last = call(
        engine,
        "$r=$lib.inet.http.request(put, $url) return(($r.getRawHeaders().'Set-Cookie', $r.headers.'Set-Cookie'))",
        url=url,
    )
    assert (raw, last) == (["a=1", "b=2"], "b=2")


def test_redirects(engine: Engine, url: str) -> None:
    found = call(
        engine,
        "$r=$lib.inet.http.get(`{$url}/redirect`) $s=$lib.inet.http.get(`{$url}/redirect`, allow_redirects=(false))"
        " $h=$lib.inet.http.head(`{$url}/redirect`)"
        " return(($r.code, $r.url, $r.history.0.code, $s.code, $s.headers.Location, $h.code))",
        url=url,
    )
    assert list(found) == [200, f"{url}/page?y=1", 302, 302, "/page?y=1", 302]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/loop", "TooManyRedirects"),
        ("/hangup", "RemoteProtocolError"),
        ("/short", "RemoteProtocolError"),
        ("/slow", "ReadTimeout"),
    ],
)
def test_what_goes_wrong_is_told(engine: Engine, url: str, path: str, name: str) -> None:
    code, body, error, reason = call(
        engine,
        "$r=$lib.inet.http.get($url, timeout=(1)) return(($r.code, $r.body, $r.err, $r.reason))",
        url=url + path,
    )
    assert (code, body, error[0]) == (-1, b"", name)
    assert reason.startswith("Exception occurred during request: ")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/", "ftp://a.invalid/", "words", "http://[::1/"])
def test_servers_that_cannot_be_reached(engine: Engine, address: str) -> None:
    code, error = call(engine, "$r=$lib.inet.http.get($url) return(($r.code, $r.err))", url=address)
    assert code == -1
    assert error[0]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("ssl_opts=({'zork': 1})", "SchemaViolation"),
        ("ssl_opts=({'client_cert': 'x', 'client_key': 'y'})", "BadArg"),
        ("timeout=soon", "BadCast"),
        ("headers=(5)", "BadArg"),
    ],
)
def test_options_that_cannot_be(engine: Engine, url: str, options: str, name: str) -> None:
    assert Run(engine, f"$lib.inet.http.get($url, {options})", url=url).error == name


def test_an_answer_that_is_no_json(engine: Engine, url: str) -> None:
    assert Run(engine, "$r=$lib.inet.http.head($url) $lib.print($r.json())", url=url).error == "BadJsonText"


# TLS.


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    by: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(by, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def test_certificates_on_both_sides(engine: Engine, tmp_path: Path) -> None:
    authority_key, server_key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    authority = certificate("authority", authority_key, "authority", authority_key, is_authority=True)
    (tmp_path / "authority.pem").write_bytes(authority)
    server = certificate("server", server_key, "authority", authority_key, is_authority=False)
    (tmp_path / "server.pem").write_bytes(server + pem(server_key))
    client = certificate("client", client_key, "authority", authority_key, is_authority=False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "authority.pem"))
    context.load_cert_chain(tmp_path / "server.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        web.socket = context.wrap_socket(web.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        given = {
            "url": f"https://127.0.0.1:{web.server_address[1]}/",
            "ca": authority.decode(),
            "cert": client.decode(),
            "key": pem(client_key).decode(),
        }
        codes = call(
            engine,
            """
            $mine=({"client_cert": $cert, "client_key": $key})
            $all=({"client_cert": $cert, "client_key": $key, "ca_cert": $ca})
            return((
                $lib.inet.http.get($url, ssl_opts=$all).code,
                $lib.inet.http.get($url, ssl_opts=$mine).code,
                $lib.inet.http.get($url, ssl_opts=$mine, ssl_verify=(false)).code,
                $lib.inet.http.get($url, ssl_opts=({"ca_cert": $ca})).code
            ))
            """,
            **given,
        )
        web.shutdown()
    assert list(codes) == [200, -1, 200, -1]
