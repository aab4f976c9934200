"""`$lib.inet.http.oauth` against a real provider with TLS: tokens are given, kept, fetched anew where the cell leads."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import logging
import ssl
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadArg, DupIden, SchemaViolation, StormRuntimeError
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.outside.oauth_calls import signature
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

sys.path.insert(0, str(Path(__file__).parents[2] / "automation"))
from automation_kit import wait_until

IDEN = "9ec14c4a0d8a7d6b5d0f3f8b0bbb1fd6"
WAIT_S = 30.0


class Provider(BaseHTTPRequestHandler):
    """Gives tokens, one after the other."""

    count = 0
    code = 200
    life_s = 3600
    asked: ClassVar[list[tuple[dict[str, str], str]]] = []

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        kind = type(self)
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        kind.asked.append((form, self.headers.get("authorization") or ""))
        kind.count += 1
        told: dict[str, Any] = {"error": "invalid_grant", "error_description": "no such code"}
        if kind.code == 200:
            told = {"access_token": f"secret-token-{kind.count}", "expires_in": kind.life_s}
            if form["grant_type"] != "client_credentials":
                told["refresh_token"] = f"secret-refresh-{kind.count}"
        data = json.dumps(told).encode()
        self.send_response(kind.code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def certificate(folder: Path) -> Path:
    """Make a certificate for this machine, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "server.pem"
    path.write_bytes(made.public_bytes(kind) + key.private_bytes(kind, form, serialization.NoEncryption()))
    return path


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path_factory.mktemp("tls")))
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cortex")


def cortex(folder: Path) -> Any:
    return running(CortexCell(load_config(CortexConfig, dir=folder, environ={})))


@pytest.fixture(scope="module", name="cell")
def _cell(folder: Path) -> Iterator[CortexCell]:
    with cortex(folder) as cell:
        cell.engine.call("$lib.auth.users.add(low)")
        yield cell


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Provider.code, Provider.life_s = 200, 3600
    Provider.asked = []


def call(cell: CortexCell, text: str, user: str = "root", **variables: Any) -> Any:
    return cell.engine.call(text, QueryOptions(vars=variables, user=user))


def definition(server: str, **others: Any) -> dict[str, Any]:
    return {
        "iden": IDEN,
        "name": "provider",
        "client_id": "me",
        "client_secret": "pass word",
        "scope": "all",
        "auth_uri": f"{server}/auth",
        "token_uri": f"{server}/token",
        "redirect_uri": "https://me.link/",
        "ssl_verify": False,
        **others,
    }


@pytest.fixture(name="provider")
def _provider(cell: CortexCell, server: str) -> Iterator[None]:
    call(cell, "$lib.inet.http.oauth.v2.addProvider($conf)", conf=definition(server))
    yield
    call(cell, "$lib.inet.http.oauth.v2.delProvider($iden)", iden=IDEN)


TOKEN = "return($lib.inet.http.oauth.v2.getUserAccessToken($iden))"
SET = "$lib.inet.http.oauth.v2.setUserAuthCode($iden, code, code_verifier=verified)"


@pytest.mark.usefixtures("provider")
def test_a_code_is_given_for_a_token(cell: CortexCell, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert list(call(cell, TOKEN, iden=IDEN)) == [False, "Auth code has not been set"]
    call(cell, SET, iden=IDEN)
    ((form, authorization),) = Provider.asked
    assert form == {
        "grant_type": "authorization_code",
        "scope": "all",
        "redirect_uri": "https://me.link/",
        "code": "code",
        "code_verifier": "verified",
    }
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"me:pass+word"
    is_well, token = call(cell, TOKEN, iden=IDEN)
    assert is_well
    assert token == f"secret-token-{Provider.count}"
    # Each user has the own ones.
    assert call(cell, TOKEN, user="low", iden=IDEN)[0] is False
    assert "secret" not in caplog.text
    assert "pass word" not in caplog.text
    known = call(cell, "return($lib.inet.http.oauth.v2.clearUserAccessToken($iden))", iden=IDEN)
    assert known["access_token"] == token
    assert call(cell, TOKEN, iden=IDEN)[0] is False


@pytest.mark.usefixtures("provider")
def test_what_is_shown_of_a_provider(cell: CortexCell, server: str) -> None:
    wanted = {
        **{name: value for name, value in definition(server).items() if name != "client_secret"},
        "flow_type": "authorization_code",
        "auth_scheme": "basic",
    }
    assert call(cell, "return($lib.inet.http.oauth.v2.getProvider($iden))", iden=IDEN) == wanted
    assert [list(row) for row in call(cell, "return($lib.inet.http.oauth.v2.listProviders())")] == [
        [IDEN, wanted]
    ]
    assert call(cell, "return($lib.inet.http.oauth.v2.getProvider(x))") is None
    assert call(cell, "return($lib.inet.http.oauth.v2.delProvider(x))") is None
    with pytest.raises(DupIden):
        call(cell, "$lib.inet.http.oauth.v2.addProvider($conf)", conf=definition(server))
    with pytest.raises(BadArg):
        call(cell, TOKEN, iden="x")


@pytest.mark.parametrize(
    "change",
    [
        {"zork": 1},
        {"auth_scheme": "zork"},
        {"flow_type": "zork"},
        {"iden": "x"},
        {"token_uri": ""},
        {"token_uri": "file:///etc"},
        {"ssl_verify": "no"},
        {"auth_scheme": "client_assertion"},
    ],
)
def test_providers_that_cannot_be(cell: CortexCell, server: str, change: dict[str, Any]) -> None:
    with pytest.raises(SchemaViolation):
        call(cell, "$lib.inet.http.oauth.v2.addProvider($conf)", conf=definition(server, **change))


@pytest.mark.usefixtures("provider")
def test_a_provider_that_refuses(cell: CortexCell) -> None:
    Provider.code = 400
    with pytest.raises(StormRuntimeError, match="no such code"):
        call(cell, SET, iden=IDEN)
    assert call(cell, TOKEN, iden=IDEN)[0] is False


@pytest.mark.usefixtures("provider")
def test_tokens_are_fetched_anew(cell: CortexCell) -> None:
    Provider.life_s = 2
    call(cell, SET, iden=IDEN)
    first = call(cell, TOKEN, iden=IDEN)[1]
    wait_until(lambda: call(cell, TOKEN, iden=IDEN)[1] not in (first, "Token is expired"), WAIT_S)
    form = Provider.asked[1][0]
    assert form["grant_type"] == "refresh_token"
    assert form["refresh_token"].startswith("secret-refresh-")
    # One that is refused is over, and says why; nobody asks again.
    Provider.code = 400
    wait_until(lambda: "no such code" in call(cell, TOKEN, iden=IDEN)[1], WAIT_S)
    assert call(cell, TOKEN, iden=IDEN)[0] is False


@pytest.mark.usefixtures("provider")
def test_only_a_leader_fetches(cell: CortexCell) -> None:
    Provider.life_s = 60
    call(cell, SET, iden=IDEN)
    asyncio.run(cell.tokens.role_changed(False))
    try:
        user = call(cell, "return($lib.user.iden)")
        store = cell.stores.oauth
        # Due at once.
        with cell.graph.begin(cell.graph.default_view) as session:
            due = {**(store.token(session, IDEN, user) or {}), "refresh_at": 0}
            store.put_token(session, IDEN, user, due)
            session.sync()
        count = Provider.count
        with pytest.raises(AssertionError):
            wait_until(lambda: Provider.count > count, 2.5)
    finally:
        asyncio.run(cell.tokens.role_changed(True))
    wait_until(lambda: Provider.count > count, WAIT_S)


def test_credentials_of_the_client_itself(cell: CortexCell, server: str) -> None:
    conf = definition(server, flow_type="client_credentials")
    call(cell, "$lib.inet.http.oauth.v2.addProvider($conf)", conf=conf)
    first = call(cell, TOKEN, iden=IDEN)
    assert first[0] is True
    assert list(call(cell, TOKEN, iden=IDEN)) == list(first), "it is kept"
    assert Provider.asked[0][0] == {"grant_type": "client_credentials", "scope": "all"}
    call(cell, "$lib.inet.http.oauth.v2.delProvider($iden)", iden=IDEN)


def test_a_query_makes_the_assertion(cell: CortexCell, server: str) -> None:
    rules = {"cortex:callstorm": {"query": "return(((true), ({'token': $t})))", "vars": {"t": "proof"}}}
    conf = definition(
        server, flow_type="client_credentials", auth_scheme="client_assertion", client_assertion=rules
    )
    call(cell, "$lib.inet.http.oauth.v2.addProvider($conf)", conf=conf)
    assert call(cell, TOKEN, iden=IDEN)[0] is True
    form, authorization = Provider.asked[0]
    assert (form["client_assertion"], form["client_id"], authorization) == ("proof", "me", "")
    call(cell, "$lib.inet.http.oauth.v2.delProvider($iden)", iden=IDEN)


# OAuth 1.


def test_a_signature_of_the_standard() -> None:
    pairs = [
        ("file", "vacation.jpg"),
        ("size", "original"),
        ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
        ("oauth_token", "nnch734d00sl2jdk"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131202"),
        ("oauth_nonce", "chapoH"),
    ]
    found = signature(
        "GET", "http://photos.example.net/photos", pairs, "kd94hf93k423kf44", "pfkkdhi9sl3r4s00"
    )
    assert found == "MdpQcU8iPSUjWoN/UDMsK2sui9I=", "as in section 1.2 of RFC 5849"


@pytest.mark.parametrize("place", ["QUERY", "BODY", "HEADER"])
def test_requests_are_signed(cell: CortexCell, place: str) -> None:
    url, headers, body = call(
        cell,
        "return($lib.inet.http.oauth.v1.client(ck, cs, at, as, sigtype=$place)"
        ".sign('http://a.com/x?b=1', method=POST, body=({'k': 'v v'}), headers=({'Foo': 'bar'})))",
        place=place,
    )
    assert headers["Foo"] == "bar"
    query, form = parse_qsl(urlsplit(url).query), parse_qsl(body)
    text = headers.get("Authorization", "")
    listed = [part.strip().split("=", 1) for part in text.removeprefix("OAuth ").split(",") if text]
    header = [(name, parse_qsl("x=" + value.strip('"'))[0][1]) for name, value in listed]
    made = {"QUERY": query, "BODY": form, "HEADER": header}[place]
    given = dict(made)["oauth_signature"]
    pairs = [pair for pair in (*query, *form, *header) if pair[0] != "oauth_signature"]
    assert {"b", "k", "oauth_nonce", "oauth_token"} <= dict(pairs).keys()
    assert signature("POST", "http://a.com/x", pairs, "cs", "as") == given


def test_what_cannot_be_signed(cell: CortexCell) -> None:
    assert call(cell, "return($lib.inet.http.oauth.v1.SIG_BODY)") == "BODY"
    with pytest.raises(BadArg):
        call(cell, "$lib.inet.http.oauth.v1.client(a, b, c, d, sigtype=ZORK)")
    with pytest.raises(StormRuntimeError):
        call(cell, "$lib.inet.http.oauth.v1.client(a, b, c, d).sign(foo)")
