"""Mail in and out of queries: servers of IMAP and SMTP, through Python's own libraries.

What a server says and what goes wrong with it are told as values; only a server that cannot be reached for reading is an
error.
"""

from __future__ import annotations

import imaplib
import re
import smtplib
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Final

from cellmesh.common.errors import BadArg, CellError, StormRuntimeError, TimeOut

MESSAGE_SIZE_MAX: Final = 256 << 20
"""Bytes of a message that is taken from a server."""

_UIDS: Final = re.compile(r"[0-9*]+(:[0-9*]+)?(,[0-9*]+(:[0-9*]+)?)*", re.ASCII)
_LINE_END: Final = re.compile(r"[\r\n\0]")
_FETCHED_SIZE: Final = 2

FAILURES: Final = (OSError, ssl.SSLError, smtplib.SMTPException, imaplib.IMAP4.error)


def tls_context(verifies: bool) -> ssl.SSLContext:
    """Return what a connection is made with."""
    context = ssl.create_default_context()
    if not verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


# Out.


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail goes.

    Attributes:
        host, port: As usual.
        user, password: Who sends; None for nobody in particular.
        uses_tls: Whether the connection begins with TLS.
        starts_tls: Whether it changes to TLS.
        timeout_s: Longest wait for each answer.
        verifies: Whether the server's certificate is checked.
    """

    host: str
    port: int = 25
    user: str | None = None
    password: str | None = None
    uses_tls: bool = False
    starts_tls: bool = False
    timeout_s: float = 60.0
    verifies: bool = True


def mail_message(
    sender: str, recipients: Sequence[str], headers: Mapping[str, str], text: str | None, html: str | None
) -> EmailMessage:
    """Return a message.

    Raises:
        StormRuntimeError: it has no text.
        BadArg: a header cannot be so.
    """
    if text is None and html is None:
        raise StormRuntimeError("the message has neither text nor HTML", name="text")
    message = EmailMessage()
    try:
        message["From"] = sender
        message["To"] = ", ".join(recipients)
        for name, value in headers.items():
            del message[name]
            message[name] = value
    except (ValueError, IndexError, TypeError) as error:
        raise BadArg(f"a header of the message cannot be so: {error}", name="headers") from error
    if text is not None:
        message.set_content(text)
    if html is not None:
        if text is None:
            message.set_content(html, subtype="html")
        else:
            message.add_alternative(html, subtype="html")
    return message


def send_mail(server: MailServer, sender: str, recipients: Sequence[str], message: EmailMessage) -> None:
    """Hand a message to a server.

    Raises:
        BadArg: the options contradict each other.
        OSError, smtplib.SMTPException: the server is not there, or will not have it.
    """
    if server.uses_tls and server.starts_tls:
        raise BadArg("either usetls or starttls", name="starttls")
    context = tls_context(server.verifies)
    link: smtplib.SMTP
    if server.uses_tls:
        link = smtplib.SMTP_SSL(server.host, server.port, timeout=server.timeout_s, context=context)
    else:
        link = smtplib.SMTP(server.host, server.port, timeout=server.timeout_s)
    with link:
        if server.starts_tls:
            link.starttls(context=context)
        if server.user is not None:
            link.login(server.user, server.password or "")
        link.send_message(message, sender, list(recipients))


# In.


class MailBox:
    """A connection to a server of IMAP. Each call returns whether it was done, and what the server says."""

    __slots__ = ("_link",)

    def __init__(self, host: str, port: int, *, timeout_s: float, uses_tls: bool, verifies: bool) -> None:
        """Connect.

        Raises:
            TimeOut: the server does not answer.
            StormRuntimeError: it is not there, or is no server of IMAP.
        """
        try:
            if uses_tls:
                self._link: imaplib.IMAP4 = imaplib.IMAP4_SSL(
                    host, port, ssl_context=tls_context(verifies), timeout=timeout_s
                )
            else:
                self._link = imaplib.IMAP4(host, port, timeout=timeout_s)
        except TimeoutError as error:
            raise TimeOut(f"{host} does not answer", name=host) from error
        except FAILURES as error:
            raise StormRuntimeError(f"{host} cannot be reached for mail: {error}", name=host) from error

    def close(self) -> None:
        """Say good-bye."""
        try:
            self._link.logout()
        except FAILURES:
            self._link.shutdown()

    def login(self, user: str, password: str) -> tuple[bool, Any]:
        """Tell who reads."""
        return self._ask(lambda: self._link.login(_quoted(user), password), lambda data: None)

    def list(self, reference: str, pattern: str) -> tuple[bool, Any]:
        """List the names of mailboxes."""
        return self._ask(lambda: self._link.list(reference, _quoted(pattern)), _mailboxes)

    def select(self, mailbox: str) -> tuple[bool, Any]:
        """Choose the mailbox that further calls are about."""
        return self._ask(lambda: self._link.select(f'"{_quoted(mailbox)}"'), lambda data: None)

    def search(self, criteria: Sequence[str], charset: str | None) -> tuple[bool, Any]:
        """Return the UIDs of messages."""
        prefix = ["CHARSET", charset] if charset else []
        return self._ask(
            lambda: self._link.uid("SEARCH", *(_line(word) for word in (*prefix, *criteria))), _uids
        )

    def fetch(self, uid: str) -> tuple[bool, Any]:
        """Return a message as bytes; reading does not mark it as seen."""
        return self._ask(lambda: self._link.uid("FETCH", _uid_set(uid), "(BODY.PEEK[])"), _body)

    def store(self, uids: str, flag: str) -> tuple[bool, Any]:
        """Set a flag on messages."""
        return self._ask(
            lambda: self._link.uid("STORE", _uid_set(uids), "+FLAGS.SILENT", f"({flag})"), lambda d: None
        )

    def delete(self, uids: str) -> tuple[bool, Any]:
        """Delete messages."""
        done = self.store(uids, "\\Deleted")
        if not done[0]:
            return done
        return self._ask(self._link.expunge, lambda data: None)

    def _ask(self, call: Callable[[], tuple[str, Any]], read: Callable[[Any], Any]) -> tuple[bool, Any]:
        try:
            status, data = call()
        except CellError as error:
            return False, _failure(error)
        except (*FAILURES, EOFError) as error:
            return False, _failure(error)
        if status != "OK":
            said = b" ".join(part for part in data if isinstance(part, bytes))
            return False, ("StormRuntimeError", {"mesg": said.decode("utf8", "replace") or status})
        return True, read(data)


def _failure(error: Exception) -> tuple[str, dict[str, Any]]:
    if isinstance(error, CellError):
        return error.name, {"mesg": error.message}
    return type(error).__name__, {"mesg": str(error)}


def _line(text: str) -> str:
    """Refuse what would end a command, and begin another."""
    if _LINE_END.search(text):
        raise BadArg("a command to a mail server is one line", name="mailbox")
    return text


def _quoted(text: str) -> str:
    return _line(text).replace("\\", "\\\\").replace('"', '\\"')


def _uid_set(text: str) -> str:
    if not _UIDS.fullmatch(text):
        raise BadArg(f"{text[:80]} are no UIDs", name="uid_set")
    return text


def _mailboxes(data: Any) -> list[str]:
    found = []
    for line in data:
        if isinstance(line, bytes) and line:
            name = line.decode("utf8", "replace").rpartition(") ")[2].partition(" ")[2]
            found.append(name.strip().strip('"'))
    return found


def _uids(data: Any) -> list[str]:
    return [uid.decode() for line in data if isinstance(line, bytes) for uid in line.split()]


def _body(data: Any) -> bytes | None:
    for part in data:
        if isinstance(part, tuple) and len(part) == _FETCHED_SIZE and isinstance(part[1], bytes):
            return part[1]
    return None
