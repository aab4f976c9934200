"""JSON Web Tokens: signed here, checked here and by another library, and refused where they should be."""

from __future__ import annotations

import json
import ssl
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import jwt
import pytest
from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.formats.json_tokens import Claims, Token, check_claims, take_apart
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine
from test_http_calls import certificate, pem

SECRET = "s" * 64


@pytest.fixture(scope="module", name="engine")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One for all, as none keeps anything."""
    with open_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def call(engine: Engine, query: str, /, **variables: Any) -> Any:
    return engine.call(query, QueryOptions(vars=variables))


@pytest.mark.parametrize("form", ["compact", "json"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_secrets(engine: Engine, algorithm: str, form: str) -> None:
    text, ok, payload, bad, reason = call(
        engine,
        """
        $t=$lib.crypto.jwt.generate(({"sub": "x", "n": 1}))
        $t.header.kid=mine
        $text=$t.sign($secret, $alg, fmt=$form)
        ($ok, $found)=$lib.crypto.jwt.verify($text, $secret, ($alg,), subject=x)
        ($bad, $why)=$lib.crypto.jwt.verify($text, `{$secret}x`, ($alg,))
        return(($text, $ok, $found.payload, $bad, $why.0))
        """,
        secret=SECRET,
        alg=algorithm,
        form=form,
    )
    assert (ok, payload, bad, reason) == (True, {"sub": "x", "n": 1}, False, "BadArg")
    if form == "compact":
        assert jwt.decode(text, SECRET, [algorithm]) == {"sub": "x", "n": 1}
        assert jwt.get_unverified_header(text) == {"kid": "mine", "alg": algorithm, "typ": "JWT"}


@pytest.mark.parametrize(
    ("algorithm", "make"),
    [
        ("RS256", lambda: rsa.generate_private_key(65537, 2048)),
        ("PS384", lambda: rsa.generate_private_key(65537, 2048)),
        ("ES256", lambda: ec.generate_private_key(ec.SECP256R1())),
        ("ES512", lambda: ec.generate_private_key(ec.SECP521R1())),
    ],
)
def test_pairs_of_keys(engine: Engine, algorithm: str, make: Any) -> None:
    key = make()
    text, found = call(
        engine,
        """
        $text=$lib.crypto.jwt.generate(({"a": "b"})).sign($key, $alg)
        ($ok, $token)=$lib.crypto.jwt.verify($text, $key, ($alg,))
        return(($text, ($ok, $token.payload)))
        """,
        key=pem(key).decode(),
        alg=algorithm,
    )
    assert list(found) == [True, {"a": "b"}]
    assert jwt.decode(text, key.public_key(), [algorithm]) == {"a": "b"}
    theirs = jwt.encode({"a": "c"}, key, algorithm)
    ok = call(
        engine,
        "return($lib.crypto.jwt.verify($text, $key, ($alg,)).0)",
        text=theirs,
        key=pem(key).decode(),
        alg=algorithm,
    )
    assert ok is True


@pytest.mark.parametrize(
    "text",
    [
        "$t.sign(short, HS256)",
        "$t.sign($secret, none)",
        "$t.sign($secret, HS999)",
        "$t.sign($secret, HS256, fmt=flattened)",
        "$t.sign($secret, RS256)",
        "$t.sign($lib.crypto.ecc.generate(), RS256)",
        "$t.sign($lib.crypto.ecc.generate(), ES384)",
        "$t.sign($lib.crypto.ecc.generate(), HS256)",
        "$t.sign($lib.crypto.ecc.generate().encode(), HS256)",
        "$t.sign($lib.crypto.ecc.generate().pubkey(), ES256)",
        "$lib.crypto.jwt.parse(words)",
        "$lib.crypto.jwt.parse('a.b.c')",
        "$lib.crypto.jwt.generate(words)",
    ],
)
def test_what_cannot_be(engine: Engine, text: str) -> None:
    run = Run(engine, f"$t=$lib.crypto.jwt.generate(({{'a': 'b'}})) $x={text}", secret=SECRET)
    assert run.error == "BadArg", run.message


def test_what_a_token_asks_for_does_not_count(engine: Engine) -> None:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key()
    from cryptography.hazmat.primitives import serialization

    text = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    import base64
    import hashlib
    import hmac

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    signed = f"{part({'alg': 'HS256'})}.{part({'admin': True})}"
    mac = hmac.digest(text.encode(), signed.encode(), hashlib.sha256)
    forged = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    unsigned = f"{part({'alg': 'none'})}.{part({'admin': True})}."
    for token in (forged, unsigned):
        for algorithms in (("RS256",), ("RS256", "HS256")):
            ok = call(
                engine,
                "return($lib.crypto.jwt.verify($token, $key, $algs).0)",
                token=token,
                key=text,
                algs=algorithms,
            )
            assert ok is False


@pytest.mark.parametrize(
    ("payload", "wanted", "claim"),
    [
        ({"exp": 100}, {}, "exp"),
        ({"exp": 100}, {"leeway_s": 10}, "exp"),
        ({"exp": 1000}, {}, None),
        ({"exp": 995}, {"leeway_s": 10}, None),
        ({"exp": "soon"}, {}, "exp"),
        ({"exp": 100}, {"ignored": frozenset({"exp"})}, None),
        ({"nbf": 1010}, {}, "nbf"),
        ({"nbf": 1005}, {"leeway_s": 10}, None),
        ({"aud": ["a", "b"]}, {"audience": "b"}, None),
        ({"aud": "a"}, {"audience": ["b", "a"]}, None),
        ({"aud": "a"}, {"audience": "c"}, "aud"),
        ({}, {"audience": "c"}, "aud"),
        ({"aud": "c"}, {}, None),
        ({"iss": "a"}, {"issuer": "b"}, "iss"),
        ({"iss": "a"}, {"issuer": ["b", "a"]}, None),
        ({"sub": "a"}, {"subject": "b"}, "sub"),
        ({}, {"required": ["exp"]}, "exp"),
    ],
)
def test_claims(payload: dict[str, Any], wanted: dict[str, Any], claim: str | None) -> None:
    token = Token({"typ": "JWT"}, payload, b"", b"")
    now = 999.0
    if claim is None:
        check_claims(token, Claims(**wanted), now_s=now)
        return
    with pytest.raises(BadArg) as caught:
        check_claims(token, Claims(**wanted), now_s=now)
    assert caught.value.get("claim") == claim


def test_the_type_in_the_header() -> None:
    token = Token({"typ": "at+jwt"}, {}, b"", b"")
    check_claims(token, Claims(typ="at+jwt"))
    with pytest.raises(BadArg):
        check_claims(token, Claims(typ="JWT"))


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True)))
def test_any_text_is_a_token_or_an_error(text: str) -> None:
    try:
        take_apart(text)
    except BadArg:
        pass


class Keys(BaseHTTPRequestHandler):
    """Answers with a set of keys."""

    keys: ClassVar[list[dict[str, Any]]] = []

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        data = json.dumps({"keys": self.keys}).encode() if self.path == "/keys" else b"none"
        self.send_response(200 if self.path == "/keys" else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[tuple[str, str]]:
    key = ec.generate_private_key(ec.SECP256R1())
    own = certificate("server", key, "server", key, is_authority=True)
    (tmp_path / "server.pem").write_bytes(own + pem(key))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as web:
        web.socket = context.wrap_socket(web.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{web.server_address[1]}", own.decode()
        web.shutdown()


def test_keys_of_an_issuer(engine: Engine, server: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    url, authority = server
    mine, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    sets = [
        {"kty": "oct", "kid": "mine", "k": "AAAA"},
        {"kty": "strange", "kid": "mine"},
        {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(other.public_key())), "kid": "other"},
        {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(mine.public_key())), "kid": "mine"},
    ]
    monkeypatch.setattr(Keys, "keys", sets)
    query = """
        ($ok, $found)=$lib.crypto.jwt.verify($token, (null), (ES256, RS256), jwks_uri=$url,
            ssl_opts=({"ca_cert": $ca}), allowinternal=$internal)
        if $ok { return(($ok, $found.payload)) }
        return(($ok, $found.1.mesg))
    """
    good = jwt.encode({"a": "b"}, mine, "ES256", headers={"kid": "mine"})
    given = {"token": good, "url": f"{url}/keys", "ca": authority, "internal": True}
    assert list(call(engine, query, **given)) == [True, {"a": "b"}]
    forged = jwt.encode({"a": "b"}, mine, "ES256", headers={"kid": "other"})
    for changed in (
        {"token": forged},
        {"internal": False},
        {"url": f"{url}/none"},
        {"url": f"http{url[5:]}/keys"},
        {"url": "https://127.0.0.1:1/"},
        {"ca": None},
    ):
        ok, message = call(engine, query, **{**given, **changed})
        assert (ok, bool(message)) == (False, True), changed
