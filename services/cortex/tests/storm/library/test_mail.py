"""Mail out and in, against real servers of SMTP and IMAP on this machine."""

from __future__ import annotations

import asyncio
import socketserver
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.outside.mail_calls import MailBox
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine
from test_http_calls import certificate, pem


@pytest.fixture(scope="module", name="engine")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(tmp_path_factory.mktemp("mail")) as engine:
        yield engine


@pytest.fixture(scope="module", name="tls")
def _tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(certificate("server", key, "server", key, is_authority=True) + pem(key))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


class Inbox:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if "nobody@b.com" in envelope.rcpt_tos:
            return "550 nobody of that name"
        self.got.append(envelope)
        return "250 OK"


def knows(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=data.login == b"me" and data.password == b"secret")


@contextmanager
def serving(make: Any, tls: ssl.SSLContext | None) -> Iterator[int]:
    """Serve a protocol in a loop of its own; gives the port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await loop.create_server(make, "127.0.0.1", 0, ssl=tls)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)


SEND = """
    $m=$lib.inet.smtp.message()
    $m.sender="a@b.com" $m.recipients.append($to) $m.headers.Subject=hello
    $m.text="some text" $m.html="<b>text</b>"
    return($m.send("127.0.0.1", port=$port, user=$user, passwd=$password, usetls=$tls, starttls=$start,
        ssl_verify=(false), timeout=$timeout))
"""


@pytest.mark.parametrize("kind", ["plain", "tls", "starttls"])
def test_a_message_arrives(engine: Engine, tls: ssl.SSLContext, kind: str) -> None:
    inbox = Inbox()
    options: dict[str, Any] = {}
    if kind == "starttls":
        options = {"tls_context": tls, "authenticator": knows, "auth_required": True}
    with serving(
        lambda: SMTP(inbox, hostname="localhost", **options), tls if kind == "tls" else None
    ) as port:
        given = {
            "port": port,
            "timeout": 20,
            "to": "c@d.com",
            "user": "me" if kind == "starttls" else None,
            "password": "secret",
            "tls": kind == "tls",
            "start": kind == "starttls",
        }
        assert list(engine.call(SEND, QueryOptions(vars=given))) == [True, {}]
        message = message_from_bytes(inbox.got[0].content, policy=policy.default)
        assert (message["From"], message["To"], message["Subject"]) == ("a@b.com", "c@d.com", "hello")
        body, html = message.get_body(("plain",)), message.get_body(("html",))
        assert body is not None
        assert html is not None
        assert (body.get_content().strip(), html.get_content().strip()) == ("some text", "<b>text</b>")
        assert inbox.got[0].rcpt_tos == ["c@d.com"]
        ok, facts = engine.call(SEND, QueryOptions(vars={**given, "to": "nobody@b.com"}))
        assert (ok, facts["err"]) == (False, "SMTPDataError")
        if kind == "starttls":
            # After some tries the server of the test says nothing more.
            ok, facts = engine.call(SEND, QueryOptions(vars={**given, "password": "wrong", "timeout": 1}))
            assert ok is False
            assert facts["err"] in ("SMTPAuthenticationError", "SMTPServerDisconnected")
        if kind == "tls":
            checked = SEND.replace("ssl_verify=(false), ", "")
            ok, facts = engine.call(checked, QueryOptions(vars=given))
            assert (ok, facts["err"]) == (False, "SSLCertVerificationError")


@pytest.mark.parametrize(
    ("made", "options", "name"),
    [
        ("$m.sender=x", "", "StormRuntimeError"),
        ("$m.text=x", ", usetls=(true), starttls=(true)", "BadArg"),
        ("$m.text=x", "", "ConnectionRefusedError"),
        ("$m.text=x", ", port=soon", "BadCast"),
        ("$m.text=x $m.headers.Subject=`a{$lib.hex.decode('0d0a').decode()}Bcc: x@y.com`", "", "BadArg"),
    ],
)
def test_what_goes_wrong_is_told(engine: Engine, made: str, options: str, name: str) -> None:
    port = "" if "port" in options else ", port=(1)"
    ok, facts = engine.call(f'$m=$lib.inet.smtp.message() {made} return($m.send("127.0.0.1"{port}{options}))')
    assert (ok, facts["err"]) == (False, name)


# IMAP.

MAIL = b"From: a@b.com\r\nSubject: hi\r\n\r\nbody\r\n"


class Mailbox(socketserver.StreamRequestHandler):
    """Enough of IMAP for one mailbox with one message."""

    def handle(self) -> None:
        self.wfile.write(b"* OK IMAP4rev1 ready\r\n")
        for line in self.rfile:
            self.server.lines.append(line)  # type: ignore[attr-defined]
            tag, command, *rest = line.decode().strip().split(" ", 2)
            if not self._answer(command.upper(), rest[0] if rest else ""):
                self.wfile.write(f"{tag} NO that cannot be\r\n".encode())
                continue
            self.wfile.write(f"{tag} OK done\r\n".encode())
            if command.upper() == "LOGOUT":
                return

    def _answer(self, command: str, rest: str) -> bool:
        say = self.wfile.write
        if command == "CAPABILITY":
            say(b"* CAPABILITY IMAP4rev1\r\n")
        elif command == "LOGIN":
            return rest == 'me "secret"'
        elif command == "LIST":
            say(b'* LIST (\\HasNoChildren) "/" INBOX\r\n* LIST () "/" "My Box"\r\n')
        elif command == "SELECT":
            say(b"* 1 EXISTS\r\n")
            return "nosuch" not in rest
        elif rest.startswith("SEARCH"):
            say(b"* SEARCH 7 8\r\n")
        elif rest.startswith("FETCH 7 "):
            say(b"* 1 FETCH (UID 7 BODY[] {%d}\r\n%b)\r\n" % (len(MAIL), MAIL))
        return True


class MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Mailbox)
        self.lines: list[bytes] = []
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)


@pytest.fixture(name="server")
def _server(tls: ssl.SSLContext) -> Iterator[MailServer]:
    with MailServer(tls) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


CONNECT = '$s=$lib.inet.imap.connect("127.0.0.1", port=$port, ssl_verify=(false), timeout=(20))'


def test_a_mailbox(engine: Engine, server: MailServer) -> None:
    found = engine.call(
        f"""
        {CONNECT}
        $bad=$s.login(me, wrong) $good=$s.login(me, secret)
        return(($bad, $good, $s.list(), $s.select(nosuch), $s.select(), $s.search(UNSEEN, charset=(null)),
            $s.markSeen("7,8"), $s.delete("7:8")))
        """,
        QueryOptions(vars={"port": server.server_address[1]}),
    )
    bad, good, boxes, missing, selected, uids, marked, deleted = found
    assert (bad[0], "that cannot be" in bad[1][1]["mesg"]) == (False, True)
    assert list(good) == [True, None]
    assert list(boxes) == [True, ["INBOX", "My Box"]]
    assert [one[0] for one in (selected, missing, marked, deleted)] == [True, False, True, True]
    assert list(uids) == [True, ["7", "8"]]
    said = b"".join(server.lines)
    assert b"UID STORE 7,8 +FLAGS.SILENT (\\Seen)" in said
    assert b"UID STORE 7:8 +FLAGS.SILENT (\\Deleted)" in said
    assert b"EXPUNGE" in said


def test_a_message_of_a_mailbox(server: MailServer) -> None:
    box = MailBox("127.0.0.1", server.server_address[1], timeout_s=20, uses_tls=True, verifies=False)
    assert box.login("me", "secret") == (True, None)
    assert box.select("INBOX") == (True, None)
    assert box.fetch("7") == (True, MAIL)
    assert box.fetch("9") == (True, None)
    assert box.fetch("7 (FLAGS)\r\nA1 LOGOUT")[0] is False
    assert box.select('a"\r\nA1 LOGOUT')[0] is False
    assert box.search(["ALL\r\nA1 LOGOUT"], None)[0] is False
    assert not [line for line in server.lines if line.startswith(b"A1")]
    box.close()


def test_a_certificate_that_is_not_trusted(engine: Engine, server: MailServer) -> None:
    run = Run(engine, CONNECT.replace(", ssl_verify=(false)", ""), port=server.server_address[1])
    assert (run.error, "CERTIFICATE_VERIFY_FAILED" in run.message) == ("StormRuntimeError", True)
