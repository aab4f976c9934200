"""Requests to a real server on this machine: TLS, redirects, chunked, gzip, slow, cut and hostile answers."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import http.server
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.api.axon.v1 import (
    blob_pb2,
    blob_service_pb2_grpc,
    web_pb2,
    web_service_pb2_grpc,
)
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadArg, from_rpc_error
from cellmesh.common.values import from_value, to_value
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf.duration_pb2 import Duration


class Handler(http.server.BaseHTTPRequestHandler):
    """What the tests ask for, by path."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def take(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            found = b""
            while size := int(self.rfile.readline().strip(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, body: bytes, code: int = 200, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        body = self.take()
        path = self.path.partition("?")[0]
        if self.command == "CONNECT" or self.path.startswith("http://"):
            self.answer(b"by the proxy")
        elif path == "/echo":
            told = {
                "method": self.command,
                "path": self.path,
                "headers": dict(self.headers),
                "body": body.hex(),
            }
            self.answer(json.dumps(told).encode(), Content_Type="application/json", X_Some="thing")
        elif path == "/redirect":
            self.answer(b"", 302, Location="/second")
        elif path == "/second":
            self.answer(b"", 301, Location="/final")
        elif path == "/final":
            self.answer(b"final")
        elif path == "/loop":
            self.answer(b"", 302, Location="/loop")
        elif path == "/to-file":
            self.answer(b"", 302, Location="file:///etc/passwd")
        elif path == "/resend":
            self.answer(b"", 307, Location="/echo")
        elif path == "/missing":
            self.answer(b"nothing here", 404)
        elif path == "/odd":
            self.answer(b"odd", 299)
        elif path == "/gzip":
            self.answer(gzip.compress(b"text" * 1000), Content_Encoding="gzip")
        elif path == "/bomb":
            self.answer(gzip.compress(bytes(50 << 20)), Content_Encoding="gzip")
        elif path == "/bad-gzip":
            self.answer(b"no gzip", Content_Encoding="gzip")
        elif path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(50):
                self.wfile.write(b"4\r\ntext\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif path == "/slow":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.1)
        elif path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "10000000")
            self.end_headers()
            self.wfile.write(bytes(5_000_000))
            self.close_connection = True
        elif path == "/endless-head":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(100_000):
                self.wfile.write(b"X-%d: %s\r\n" % (number, b"y" * 100))
        elif path == "/garbage":
            self.wfile.write(b"\x00\xff garbage\r\n\r\n")
            self.close_connection = True
        elif path == "/large":
            self.answer(bytes(20 << 20))

    do_PUT = do_POST = do_DELETE = do_CONNECT = do_GET


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that go away are what the tests are about."""


def serve(context: ssl.SSLContext | None = None) -> Quiet:
    server = Quiet(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Pki:
    """An authority, a server and a client of it, as files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.key, self.ca = self.make("ca", None)
        for name in ("server", "client"):
            key, cert = self.make(name, (self.key, self.ca))
            self.write(name, key, cert)
        self.write("ca", self.key, self.ca)

    def make(self, name: str, signer: Any) -> tuple[Any, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signer[1].subject if signer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
        )
        return key, builder.sign(signer[0] if signer else key, hashes.SHA256())

    def write(self, name: str, key: Any, cert: x509.Certificate) -> None:
        (self.folder / f"{name}.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def server_context(self, *, ask: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        if ask:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.folder / "ca.pem")
        return context


class Web:
    def __init__(self, channel: grpc.Channel, cell: AxonCell) -> None:
        self.cell = cell
        self.blobs = blob_service_pb2_grpc.BlobServiceStub(channel)
        self.web = web_service_pb2_grpc.WebServiceStub(channel)

    def get(
        self, url: str, *, data: bytes | None = None, value: Any = None, **options: Any
    ) -> dict[str, Any]:
        request = web_pb2.FetchUrlRequest(url=url, options=web_pb2.WebOptions(**options), data=data)
        if value is not None:
            request.json.CopyFrom(to_value(value))
        result = self.web.FetchUrl(request).result
        info: dict[str, Any] = from_value(result.info)
        assert (result.ok, result.code) == (info["ok"], info["code"])
        if result.HasField("hashes"):
            assert result.hashes.sha256.hex() == info["hashes"]["sha256"]
            assert result.hashes.size_bytes == info["size"]
        return info

    def body(self, info: dict[str, Any]) -> bytes:
        request = blob_pb2.GetBlobRequest(sha256=bytes.fromhex(info["hashes"]["sha256"]))
        return b"".join(message.data for message in self.blobs.GetBlob(request))

    def put(self, content: bytes) -> bytes:
        return self.blobs.PutBlobs(blob_pb2.PutBlobsRequest(contents=[content])).blobs[0].sha256


def run_axon(folder: Path, **more: Any) -> Any:
    flags = {"insecure": True, "listen": "127.0.0.1:0", **more}
    return running(AxonCell(load_config(AxonConfig, dir=folder, flags=flags, environ={})))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with run_axon(tmp_path / "axon") as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        yield Web(channel, cell)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = serve()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def field(name: str, value: str) -> web_pb2.WebField:
    return web_pb2.WebField(name=name, value=value)


def test_an_answer_is_stored_and_told_with_all_that_is_known(web: Web, url: str) -> None:
    info = web.get(f"{url}/final", params=[field("a", "b c")])
    assert web.body(info) == b"final"
    assert info["hashes"] == {
        name: hashlib.new(name, b"final").hexdigest() for name in ("md5", "sha1", "sha256", "sha512")
    }
    assert (info["ok"], info["code"], info["reason"], info["size"]) == (True, 200, "OK", 5)
    assert info["original_url"] == f"{url}/final"
    assert info["url"] in (f"{url}/final?a=b+c", f"{url}/final?a=b%20c")
    assert info["headers"]["Content-Length"] == "5"
    assert info["request"]["method"] == "GET"
    assert info["request"]["headers"]["Accept"] == "*/*"
    assert "history" not in info


def test_what_is_sent_is_what_was_asked_for(web: Web, url: str) -> None:
    info = web.get(
        f"{url}/echo?x=1",
        method="post",
        value={"a": [1]},
        params=[field("x", "2"), field("y", "3")],
        headers=[field("X-Mine", "yes"), field("User-Agent", "me")],
    )
    told = json.loads(web.body(info))
    assert told["method"] == "POST"
    assert told["path"] == "/echo?x=1&x=2&y=3"
    assert json.loads(bytes.fromhex(told["body"])) == {"a": [1]}
    assert told["headers"]["Content-Type"] == "application/json"
    assert told["headers"]["X-Mine"] == "yes"
    assert told["headers"]["User-Agent"] == "me"
    told = json.loads(web.body(web.get(f"{url}/echo", method="PUT", data=b"\x00\x01")))
    assert (told["method"], told["body"]) == ("PUT", "0001")


def test_redirects_are_followed_and_told(web: Web, url: str) -> None:
    info = web.get(f"{url}/redirect")
    assert web.body(info) == b"final"
    assert info["url"] == f"{url}/final"
    assert [(item["code"], item["reason"], item["url"]) for item in info["history"]] == [
        (302, "Found", f"{url}/redirect"),
        (301, "Moved Permanently", f"{url}/second"),
    ]
    assert info["history"][0]["headers"]["Location"] == "/second"


@pytest.mark.parametrize(
    ("path", "code", "body"), [("/missing", 404, b"nothing here"), ("/odd", 299, b"odd")]
)
def test_answers_of_any_status_are_stored(web: Web, url: str, path: str, code: int, body: bytes) -> None:
    info = web.get(url + path)
    assert (info["ok"], info["code"]) == (True, code)
    assert web.body(info) == body


def test_chunked_and_compressed_answers_are_stored_as_they_are_meant(web: Web, url: str) -> None:
    assert web.body(web.get(f"{url}/chunked")) == b"text" * 50
    assert web.body(web.get(f"{url}/gzip")) == b"text" * 1000


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/loop", "TooManyRedirects"),
        ("/to-file", "UnsupportedProtocol"),
        ("/bad-gzip", "DecodingError"),
        ("/cut", "RemoteProtocolError"),
        ("/endless-head", "RemoteProtocolError"),
        ("/garbage", "RemoteProtocolError"),
    ],
)
def test_what_goes_wrong_is_told_and_leaves_nothing(web: Web, url: str, path: str, name: str) -> None:
    info = web.get(url + path)
    assert (info["ok"], info["code"]) == (False, -1)
    assert info["err"][0] == name
    assert info["mesg"].startswith(name)
    assert info["original_url"] == url + path
    assert web.cell.store.metrics().blob_count == 0
    assert {web.cell.slab.stats().entries[key] for key in ("chunks", "uploads")} == {0}


def test_urls_that_are_none_are_told(web: Web) -> None:
    for url in (
        "nope",
        "ftp://127.0.0.1/",
        "http://",
        "file:///etc/passwd",
        "http://127.0.0.1:1/",
        "http://[/",
    ):
        info = web.get(url)
        assert not info["ok"]
        assert info["err"][1]["mesg"] or info["err"][0]


def test_the_time_is_that_of_the_whole_request(web: Web, url: str) -> None:
    start_s = time.monotonic()
    info = web.get(f"{url}/slow", timeout=Duration(nanos=500_000_000))
    assert info["err"][0] == "TimeoutError"
    assert time.monotonic() - start_s < 5


def test_options_that_make_no_sense_are_refused(web: Web, url: str) -> None:
    for options in ({"method": "GET /x"}, {"timeout": Duration(seconds=-1)}):
        with pytest.raises(grpc.RpcError) as caught:
            web.get(url, **options)
        assert isinstance(from_rpc_error(caught.value), BadArg)
    assert not web.get(url.replace("http", "https"), client_cert="x")["ok"]


def test_answers_that_are_too_large_are_not_stored(tmp_path: Path, url: str) -> None:
    with (
        run_axon(tmp_path / "axon", web_size_max_bytes=1 << 20) as cell,
        grpc.insecure_channel(cell.tcp_address) as channel,
    ):
        web = Web(channel, cell)
        for path in ("/large", "/bomb"):
            info = web.get(url + path)
            assert info["err"][0] == "HitLimit"
        assert cell.slab.stats().entries["chunks"] == 0


# TLS.


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("web") / "pki")


def test_certificates_are_checked_unless_told_otherwise(web: Web, pki: Pki) -> None:
    server = serve(pki.server_context())
    url = f"https://127.0.0.1:{server.server_port}/final"
    info = web.get(url)
    assert not info["ok"]
    assert "CERTIFICATE_VERIFY_FAILED" in info["mesg"]
    assert web.get(url, verify_tls=False)["ok"]
    assert web.get(url, ca_cert=pki.text("ca.pem"))["ok"]
    assert web.get(url.replace("127.0.0.1", "localhost"), ca_cert=pki.text("ca.pem"))["ok"] is False
    server.shutdown()


def test_the_folder_of_authorities_is_trusted(tmp_path: Path, pki: Pki) -> None:
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "ca.pem").write_text(pki.text("ca.pem"))
    server = serve(pki.server_context())
    with (
        run_axon(tmp_path / "axon", web_ca_dir=tmp_path / "trusted") as cell,
        grpc.insecure_channel(cell.tcp_address) as channel,
    ):
        assert Web(channel, cell).get(f"https://127.0.0.1:{server.server_port}/final")["ok"]
    server.shutdown()


def test_a_client_certificate_is_shown(web: Web, pki: Pki) -> None:
    server = serve(pki.server_context(ask=True))
    url = f"https://127.0.0.1:{server.server_port}/final"
    ca = pki.text("ca.pem")
    assert not web.get(url, ca_cert=ca)["ok"]
    cert, key = pki.text("client.pem"), pki.text("client.key")
    assert web.get(url, ca_cert=ca, client_cert=cert, client_key=key)["ok"]
    assert not web.get(url, ca_cert=ca, client_cert=cert)["ok"]
    server.shutdown()


def test_a_proxy_is_used_as_set_or_asked_for(tmp_path: Path, url: str) -> None:
    with (
        run_axon(tmp_path / "axon", web_proxy=url) as cell,
        grpc.insecure_channel(cell.tcp_address) as channel,
    ):
        web = Web(channel, cell)
        assert web.body(web.get("http://nowhere.invalid/x")) == b"by the proxy"
        assert web.body(web.get(f"{url}/final", proxy="")) == b"final"
        assert not web.get(f"{url}/final", proxy="http://127.0.0.1:1")["ok"]
        assert not web.get(f"{url}/final", proxy="nope://x")["ok"]


# Sending.


def test_a_blob_is_sent_with_its_length(web: Web, url: str) -> None:
    content = bytes(range(256)) * 10_000
    sha256 = web.put(content)
    for path in ("/echo", "/resend"):
        response = web.web.SendBlob(web_pb2.SendBlobRequest(sha256=sha256, url=url + path))
        info = from_value(response.result.info)
        assert (info["ok"], info["code"]) == (True, 200)
        assert info["request"]["method"] == "PUT"
        assert info["request"]["headers"]["Content-Length"] == str(len(content))
    response = web.web.SendBlob(web_pb2.SendBlobRequest(sha256=bytes(32), url=f"{url}/echo"))
    assert from_value(response.result.info)["err"][0] == "NoSuchFile"


def test_a_form_is_sent_with_files(web: Web, url: str) -> None:
    sha256 = web.put(b"\x00file\r\n")
    fields = [
        web_pb2.FormField(name="f", sha256=sha256, filename='x".bin', content_type="a/b"),
        web_pb2.FormField(name="g", sha256=sha256),
        web_pb2.FormField(name="text", value=to_value("t\u00e9xt")),
        web_pb2.FormField(name="json", value=to_value({"a": 1})),
    ]
    response = web.web.SendForm(web_pb2.SendFormRequest(fields=fields, url=f"{url}/echo"))
    assert response.result.code == 200
    told = json.loads(response.body)
    boundary = told["headers"]["Content-Type"].removeprefix("multipart/form-data; boundary=").encode()
    parts = bytes.fromhex(told["body"]).split(b"--" + boundary)
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    assert parts[1] == (
        b'\r\nContent-Disposition: form-data; name="f"; filename="x%22.bin"\r\nContent-Type: a/b\r\n\r\n'
        b"\x00file\r\n\r\n"
    )
    assert b'filename="' + sha256.hex().encode() in parts[2]
    assert parts[3] == '\r\nContent-Disposition: form-data; name="text"\r\n\r\nt\u00e9xt\r\n'.encode()
    assert parts[4].endswith(b'\r\n\r\n{"a": 1}\r\n')
    bad = web_pb2.FormField(name="x", sha256=sha256, content_type="a\r\nX: y")
    response = web.web.SendForm(web_pb2.SendFormRequest(fields=[bad], url=f"{url}/echo"))
    assert from_value(response.result.info)["err"][0] == "BadArg"


def test_a_caller_that_goes_away_ends_the_request(web: Web, url: str) -> None:
    with pytest.raises(grpc.RpcError):
        web.web.FetchUrl(web_pb2.FetchUrlRequest(url=f"{url}/slow"), timeout=0.5)
    time.sleep(0.3)
    assert web.cell.slab.stats().entries["uploads"] == 0
    assert web.get(f"{url}/final")["ok"]
