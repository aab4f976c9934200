"""Servers that the examples of the Storm reference talk to: web, web socket, mail, and a Storm service. All on loopback."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgpack
from websockets.sync.server import ServerConnection, serve

SERVICE = Path(__file__).resolve().parent.parent / "examples" / "storm-service" / "server.py"
MAIL = b"From: ann@example.com\r\nTo: bob@example.com\r\nSubject: Report\r\n\r\nIt is done.\r\n"
PAGES = {
    "/data.json": ("application/json", json.dumps({"name": "example", "sizes": [1, 2]}).encode()),
    "/items.mpk": ("application/x-msgpack", msgpack.packb("a") + msgpack.packb([1, 2])),
    "/hosts.nodes": ("application/x-msgpack", msgpack.packb((("inet:fqdn", "imported.example.com"), {}))),
    "/package.json": ("application/json", json.dumps({"name": "loaded", "version": "1.0.0"}).encode()),
}


class _Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind, body = PAGES.get(self.path.partition("?")[0], ("text/plain", b""))
        self._answer(200 if body else 404, kind, body)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/token":
            token = {"access_token": "a token", "token_type": "bearer", "expires_in": 3600}
            return self._answer(200, "application/json", json.dumps(token).encode())
        return self._answer(200, self.headers.get("Content-Type") or "text/plain", body)

    def do_PUT(self) -> None:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(201, "text/plain", b"kept")

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


class _Imap(socketserver.StreamRequestHandler):
    """Enough of IMAP for one mailbox with one message."""

    def handle(self) -> None:
        self.wfile.write(b"* OK IMAP4rev1 ready\r\n")
        for line in self.rfile:
            tag, command, *rest = line.decode().strip().split(" ", 2)
            self._say(command.upper(), rest[0].upper() if rest else "")
            self.wfile.write(f"{tag} OK done\r\n".encode())

    def _say(self, command: str, rest: str) -> None:
        if command == "CAPABILITY":
            self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
        elif command == "LIST":
            self.wfile.write(b'* LIST (\\HasNoChildren) "/" INBOX\r\n')
        elif command == "SELECT":
            self.wfile.write(b"* 1 EXISTS\r\n")
        elif rest.startswith("SEARCH"):
            self.wfile.write(b"* SEARCH 7\r\n")
        elif rest.startswith("FETCH"):
            self.wfile.write(b"* 1 FETCH (UID 7 BODY[] {%d}\r\n%b)\r\n" % (len(MAIL), MAIL))


class _Smtp(socketserver.StreamRequestHandler):
    """Enough of SMTP to take a message."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        for line in self.rfile:
            command = line.strip().upper()
            if command == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline().rstrip(b"\r\n") != b".":
                    pass
            self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 good\r\n")
            if command == b"QUIT":
                return


class _Mail(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def _echo(link: ServerConnection) -> None:
    for message in link:
        link.send(message)


@contextmanager
def _threaded(server: socketserver.TCPServer) -> Iterator[int]:
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield int(server.socket.getsockname()[1])
        finally:
            server.shutdown()


@contextmanager
def _service() -> Iterator[int]:
    command = [sys.executable, str(SERVICE), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().split()[-1])
        finally:
            process.terminate()


@contextmanager
def servers() -> Iterator[dict[str, Any]]:
    """Run them; give the variables that tell where they are."""
    with ExitStack() as stack:
        web = stack.enter_context(_threaded(ThreadingHTTPServer(("127.0.0.1", 0), _Web)))
        imap = stack.enter_context(_threaded(_Mail(("127.0.0.1", 0), _Imap)))
        smtp = stack.enter_context(_threaded(_Mail(("127.0.0.1", 0), _Smtp)))
        service = stack.enter_context(_service())
        sockets = stack.enter_context(serve(_echo, "127.0.0.1", 0))
        threading.Thread(target=sockets.serve_forever, daemon=True).start()
        stack.callback(sockets.shutdown)
        yield {
            "web": f"http://127.0.0.1:{web}",
            "socket_url": f"ws://127.0.0.1:{sockets.socket.getsockname()[1]}/",
            "imap_port": imap,
            "smtp_port": smtp,
            "service_url": f"grpc://127.0.0.1:{service}",
        }
