"""Answers that are meant to harm, or broken in ways that servers are: each is told in its result, and leaves nothing."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc, web_pb2, web_service_pb2_grpc
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.values import from_value, to_value
from google.protobuf.duration_pb2 import Duration

HEAD = b"HTTP/1.1 200 OK\r\n"
SIZE_MAX = 8 << 20

Serve = Callable[[socket.socket], None]


class RawServer:
    """Answers each connection with what a function writes, byte by byte as it likes."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        # Callers that go away in the middle are what this is about.
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            self.requests.append(head)
            self._serve(connection)


class Web:
    def __init__(self, channel: grpc.Channel, cell: AxonCell) -> None:
        self.cell = cell
        self.blobs = blob_service_pb2_grpc.BlobServiceStub(channel)
        self.stub = web_service_pb2_grpc.WebServiceStub(channel)

    def fetch(self, url: str, *, timeout_s: float = 30, **options: Any) -> dict[str, Any]:
        told = Duration()
        told.FromMilliseconds(int(timeout_s * 1000))
        wanted = web_pb2.WebOptions(timeout=told, **options)
        found: dict[str, Any] = from_value(
            self.stub.FetchUrl(web_pb2.FetchUrlRequest(url=url, options=wanted)).result.info
        )
        return found

    def check_nothing_is_left(self) -> None:
        end_s = time.monotonic() + 20
        entries: dict[str, int] = {}
        while time.monotonic() < end_s:
            entries = self.cell.slab.stats().entries
            if not entries["chunks"] and not entries["uploads"]:
                break
            time.sleep(0.05)
        assert (entries["chunks"], entries["uploads"]) == (0, 0)
        assert self.cell.store.metrics().blob_count == 0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    flags = {"insecure": True, "listen": "127.0.0.1:0", "web_size_max_bytes": SIZE_MAX}
    config = load_config(AxonConfig, dir=tmp_path_factory.mktemp("hostile") / "axon", flags=flags, environ={})
    with running(AxonCell(config)) as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        yield Web(channel, cell)


@pytest.fixture
def web(shared: Web) -> Iterator[Web]:
    yield shared
    shared.cell.store.delete([item.blob.sha256 for item in shared.cell.store.arrivals() if not item.deleted])


def say(*pieces: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return serve


def say_for_ever(start: bytes, piece: bytes, pause_s: float = 0.0) -> Serve:
    def serve(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(piece)
            if pause_s:
                time.sleep(pause_s)

    return serve


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "serve",
    [
        say(),
        say(HEAD),
        say(HEAD + b"Content-Length: -5\r\n\r\nabc"),
        say(HEAD + b"Content-Length: many\r\n\r\nabc"),
        say(HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        say(HEAD + b"Content-Length: 1000\r\n\r\n", b"x" * 999),
        say(CHUNKED, b"zz\r\nabc\r\n0\r\n\r\n"),
        say(CHUNKED, b"64\r\n" + b"x" * 50),
        say(CHUNKED, b"3\r\nabc\r\n"),
        say(CHUNKED, b"fffffffffffffffffffffff\r\nabc"),
        say_for_ever(CHUNKED + b"3\r\nabc\r\n0\r\n", b"X-More: yes\r\n"),
        say_for_ever(CHUNKED + b"3;", b"x" * 1000),
        say_for_ever(HEAD + b"X-Long: ", b"y" * 65536),
        say_for_ever(b"", b"H" * 1000),
        say(b"HTTP/1.1 302 Found\r\nLocation: /" + b"x" * 2_000_000 + b"\r\n\r\n"),
        say(b"HTTP/1.1 302 Found\r\nLocation: http://[nope\r\nContent-Length: 0\r\n\r\n"),
        say(b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"),
        say(b"HTTP/1.1 302 Found\r\nLocation: \r\nContent-Length: 0\r\n\r\n"),
        say(b"HTTP/2 200\r\n\r\n"),
        say(b"SSH-2.0-OpenSSH_9.6\r\n"),
    ],
    ids=range(20),
)
def test_a_broken_answer_is_told_and_leaves_nothing(web: Web, serve: Serve) -> None:
    with RawServer(serve) as server:
        info = web.fetch(server.url)
    assert (info["ok"], info["code"]) == (False, -1)
    assert info["err"][0] != "TimeoutError"
    assert info["mesg"]
    web.check_nothing_is_left()


@pytest.mark.parametrize(
    "serve",
    [
        say_for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
        say_for_ever(HEAD, b"X: y\r\n", 0.3),
        say_for_ever(HEAD + b"Content-Length: 1000000\r\n\r\n", b"x", 0.2),
        say_for_ever(CHUNKED, b"1\r\nx\r\n", 0.2),
        lambda connection: time.sleep(20),
    ],
    ids=["continue", "header", "body", "chunks", "silence"],
)
def test_an_answer_without_an_end_ends_with_the_time(web: Web, serve: Serve) -> None:
    begin_s = time.monotonic()
    with RawServer(serve) as server:
        info = web.fetch(server.url, timeout_s=1)
    assert info["err"][0] == "TimeoutError"
    assert time.monotonic() - begin_s < 15
    web.check_nothing_is_left()


def test_an_answer_without_a_length_is_bounded(web: Web) -> None:
    with RawServer(say_for_ever(HEAD + b"\r\n", b"x" * 65536)) as server:
        assert web.fetch(server.url)["err"][0] == "HitLimit"
    with RawServer(say(HEAD + b"\r\n", b"to the end")) as server:
        info = web.fetch(server.url)
    assert (info["ok"], info["hashes"]["sha256"]) == (True, hashlib.sha256(b"to the end").hexdigest())


def bomb(size_mib: int) -> bytes:
    made = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [made.compress(bytes(1 << 20)) for _ in range(size_mib)]
    return b"".join((*pieces, made.flush()))


def coded(coding: bytes, body: bytes) -> Serve:
    return say(HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body)), body)


def test_a_bomb_takes_no_memory(web: Web) -> None:
    one = bomb(48)
    peak = 0
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.002):
            peak = max(peak, anonymous_bytes())

    before = anonymous_bytes()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        # In one piece of the network, and bombs of bombs: 48 MiB in a few hundred bytes.
        for coding, body, name in (
            (b"gzip", one, "HitLimit"),
            (b"gzip, gzip", gzip.compress(one), "DecodingError"),
            (b"gzip, deflate", zlib.compress(one), "DecodingError"),
        ):
            with RawServer(coded(coding, body)) as server:
                assert web.fetch(server.url)["err"][0] == name
                form = web_pb2.SendFormRequest(
                    fields=[web_pb2.FormField(name="a", value=to_value("b"))], url=server.url
                )
                assert len(web.stub.SendForm(form, timeout=60).body) <= 1 << 20
    finally:
        over.set()
        watcher.join()
    assert peak - before < 32 << 20
    web.check_nothing_is_left()


def anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("Linux tells no RssAnon")


RAW_DEFLATE = zlib.compressobj(9, zlib.DEFLATED, -15)
TEXT = b"text" * 100_000


@pytest.mark.parametrize(
    ("coding", "body", "expected"),
    [
        (b"gzip", gzip.compress(TEXT), TEXT),
        (b"X-GZIP", gzip.compress(TEXT), TEXT),
        (b"identity, gzip", gzip.compress(TEXT), TEXT),
        (b"gzip", gzip.compress(b"one") + gzip.compress(b"two"), b"onetwo"),
        (b"gzip", b"", b""),
        (b"deflate", zlib.compress(TEXT), TEXT),
        (b"deflate", RAW_DEFLATE.compress(TEXT) + RAW_DEFLATE.flush(), TEXT),
        (b"unheard-of", b"as it is", b"as it is"),
        (b"gzip", gzip.compress(TEXT)[:-1], None),
        (b"gzip", gzip.compress(TEXT)[:-8] + bytes(8), None),
        (b"gzip", gzip.compress(b"one") + b"more", None),
        (b"deflate", b"neither", None),
    ],
    ids=range(12),
)
def test_what_is_compressed_is_stored_as_it_was_before(
    web: Web, coding: bytes, body: bytes, expected: bytes | None
) -> None:
    with RawServer(coded(coding, body)) as server:
        info = web.fetch(server.url)
    if expected is None:
        assert info["err"][0] == "DecodingError"
        web.check_nothing_is_left()
    else:
        assert info["hashes"]["sha256"] == hashlib.sha256(expected).hexdigest()


def test_what_follows_an_answer_is_not_part_of_it(web: Web) -> None:
    smuggled = HEAD + b"Content-Length: 3\r\n\r\nabc" + HEAD + b"Content-Length: 4\r\n\r\nevil"
    with RawServer(say(smuggled)) as server:
        info = web.fetch(server.url)
    assert (info["size"], info["hashes"]["sha256"]) == (3, hashlib.sha256(b"abc").hexdigest())


def test_credentials_stay_with_the_host_they_are_for(web: Web) -> None:
    with RawServer(say(HEAD + b"Content-Length: 0\r\n\r\n")) as other:
        away = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + other.url.encode() + b"/\r\n\r\n"
        with RawServer(say(away)) as server:
            secret = web_pb2.WebField(name="Authorization", value="Bearer secret")
            assert web.fetch(server.url, headers=[secret])["ok"]
            assert b"secret" in server.requests[0]
            assert len(other.requests) == 1
            assert b"secret" not in other.requests[0]


def test_redirects_that_never_end_end(web: Web) -> None:
    count = 0

    def serve(connection: socket.socket) -> None:
        nonlocal count
        count += 1
        location = f"http://127.0.0.1:{connection.getsockname()[1]}/{count}"
        connection.sendall(
            f"HTTP/1.1 307 Again\r\nContent-Length: 0\r\nConnection: close\r\nLocation: {location}\r\n\r\n".encode()
        )

    with RawServer(serve) as server:
        assert web.fetch(server.url)["err"][0] == "TooManyRedirects"
    assert count <= 12
    web.check_nothing_is_left()


def test_hostile_answers_to_what_is_sent(web: Web) -> None:
    content = bytes(3_000_000)
    request = blob_pb2.PutBlobsRequest(contents=[content])
    sha256 = web.blobs.PutBlobs(request).blobs[0].sha256
    too_long = say_for_ever(HEAD + b"\r\n", b"x" * 65536)
    for serve, ok in (
        # Told before the body was read, the connection gone in the middle, garbage, more than anybody wants.
        (say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), None),
        (say(), False),
        (say(b"garbage\r\n\r\n"), False),
        (too_long, None),
    ):
        with RawServer(serve) as server:
            sent = web.stub.SendBlob(web_pb2.SendBlobRequest(sha256=sha256, url=server.url), timeout=60)
            info = from_value(sent.result.info)
            assert ok is None or info["ok"] is ok, info
            fields = [web_pb2.FormField(name="a", value=to_value("b"))]
            form = web_pb2.SendFormRequest(fields=fields, url=server.url)
            answer = web.stub.SendForm(form, timeout=60)
            assert len(answer.body) <= 1 << 20
            if serve is too_long:
                assert len(answer.body) == 1 << 20
    # It is there as before.
    assert web.cell.store.metrics().blob_count == 1


def test_a_port_that_speaks_no_tls_and_a_handshake_that_hangs(web: Web) -> None:
    with RawServer(say(HEAD + b"Content-Length: 0\r\n\r\n")) as server:
        info = web.fetch(server.url.replace("http:", "https:"), timeout_s=2, verify_tls=False)
        assert not info["ok"]
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        assert web.fetch(url, timeout_s=1)["err"][0] == "TimeoutError"
