"""Mail as values: messages to be sent, and mailboxes of servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CellError, StormRuntimeError
from cellmesh.cortex.storm.outside.axon_files import put_file
from cellmesh.cortex.storm.outside.mail_calls import FAILURES, MailBox, MailServer, mail_message, send_mail
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node


class MailMessage:
    """A message to be sent.

    Attributes:
        sender, recipients, headers, text, html: What it says; all may be changed.
    """

    __slots__ = ("headers", "html", "recipients", "sender", "text")

    def __init__(self) -> None:
        self.sender = ""
        self.recipients: list[Any] = []
        self.headers: dict[Any, Any] = {}
        self.text: str | None = None
        self.html: str | None = None


def _send(
    context: RunContext,
    self: MailMessage,
    host: Any,
    port: Any,
    user: Any,
    password: Any,
    uses_tls: Any,
    starts_tls: Any,
    timeout: Any,
    verifies: Any,
) -> tuple[bool, dict[str, Any]]:
    context.confirm(("storm", "inet", "smtp", "send"))
    try:
        server = MailServer(
            host=tostr(host),
            port=toint(port),
            user=None if user is None else tostr(user),
            password=None if password is None else tostr(password),
            uses_tls=tobool(uses_tls),
            starts_tls=tobool(starts_tls),
            timeout_s=float(toint(timeout)),
            verifies=tobool(verifies),
        )
        recipients = [tostr(one) for one in self.recipients]
        headers = {tostr(name): tostr(value) for name, value in toprim(self.headers).items()}
        message = mail_message(self.sender, recipients, headers, self.text, self.html)
        # What was edited before must not hold up others while a server takes its time.
        context.session.pause()
        send_mail(server, self.sender, recipients, message)
    except CellError as error:
        return (False, {"err": error.name, "errmsg": str(error), "errinfo": dict(error.errinfo)})
    except (*FAILURES, ValueError) as error:
        return (False, {"err": type(error).__name__, "errmsg": str(error)})
    finally:
        context.tick()
    return (True, {})


def _text(value: Any) -> str | None:
    return None if value is None else tostr(value)


def _set_sender(context: RunContext, self: MailMessage, value: Any) -> None:
    self.sender = tostr(value)


def _set_text(context: RunContext, self: MailMessage, value: Any) -> None:
    self.text = _text(value)


def _set_html(context: RunContext, self: MailMessage, value: Any) -> None:
    self.html = _text(value)


# In.


def _login(context: RunContext, self: MailBox, user: Any, password: Any) -> Any:
    return self.login(tostr(user), tostr(password))


def _list(context: RunContext, self: MailBox, reference: Any, pattern: Any) -> Any:
    return self.list(tostr(reference), tostr(pattern))


def _select(context: RunContext, self: MailBox, mailbox: Any) -> Any:
    return self.select(tostr(mailbox))


def _search(context: RunContext, self: MailBox, criteria: tuple[Any, ...], named: dict[str, Any]) -> Any:
    charset = named.pop("charset", "utf-8")
    if named:
        raise StormRuntimeError(f"search() has no argument {next(iter(named))}", name="search")
    return self.search([tostr(one) for one in criteria], _text(charset))


def _fetch(context: RunContext, self: MailBox, uid: Any) -> Node | None:
    context.check_writable()
    context.session.pause()
    done, data = self.fetch(tostr(uid))
    context.tick()
    if not done:
        raise StormRuntimeError(f"the message cannot be fetched: {data[1]['mesg']}", name="uid")
    return None if data is None else put_file(context, data, mime="message/rfc822")


def _mark(context: RunContext, self: MailBox, uids: Any) -> Any:
    return self.store(tostr(uids), "\\Seen")


def _delete(context: RunContext, self: MailBox, uids: Any) -> Any:
    return self.delete(tostr(uids))


_UIDS: Final = ParameterSpec("uid_set", type="str", doc="The UIDs of the messages, such as 1,3:5.")

TYPES: Final = (
    TypeSpec(
        "inet:smtp:message",
        MailMessage,
        "A message to be sent.",
        (
            FunctionSpec(
                "send",
                "Send it; gives whether it was taken, and what went wrong.",
                _send,
                (
                    ParameterSpec("host", type="str", doc="The server."),
                    ParameterSpec("port", 25, "int", "Its port."),
                    ParameterSpec("user", None, "str", "Who sends, for servers that ask."),
                    ParameterSpec("passwd", None, "str", "The password."),
                    ParameterSpec("usetls", False, "bool", "Begin with TLS."),
                    ParameterSpec("starttls", False, "bool", "Change to TLS."),
                    ParameterSpec("timeout", 60, "int", "Seconds to wait for each answer."),
                    ParameterSpec("ssl_verify", True, "bool", "Check the server's certificate."),
                ),
                "list",
            ),
        ),
        (
            AttributeSpec(
                "headers", "Its headers, to which more can be added.", lambda c, s: s.headers, "dict"
            ),
            AttributeSpec("html", "Its text as HTML.", lambda c, s: s.html, "str", _set_html),
            AttributeSpec(
                "recipients", "Whom it is for; addresses can be added.", lambda c, s: s.recipients, "list"
            ),
            AttributeSpec("sender", "The address it is from.", lambda c, s: s.sender, "str", _set_sender),
            AttributeSpec("text", "Its text.", lambda c, s: s.text, "str", _set_text),
        ),
    ),
    TypeSpec(
        "inet:imap:server",
        MailBox,
        "A connection to a server of IMAP. Calls give whether it was done, and what the server says.",
        (
            FunctionSpec("delete", "Delete messages.", _delete, (_UIDS,), "list"),
            FunctionSpec(
                "fetch",
                "Have the Axon keep a message, and make its file:bytes.",
                _fetch,
                (ParameterSpec("uid", type="str", doc="The UID of the message."),),
                "node",
                changes_state=True,
            ),
            FunctionSpec(
                "list",
                "The names of mailboxes.",
                _list,
                (
                    ParameterSpec("reference_name", '""', "str", "Where to begin, as the server has it."),
                    ParameterSpec("pattern", "*", "str", "Which names; * stands for any part."),
                ),
                "list",
            ),
            FunctionSpec(
                "login",
                "Tell who reads.",
                _login,
                (
                    ParameterSpec("user", type="str", doc="The name."),
                    ParameterSpec("passwd", type="str", doc="The password."),
                ),
                "list",
            ),
            FunctionSpec("markSeen", "Mark messages as seen.", _mark, (_UIDS,), "list"),
            FunctionSpec(
                "search",
                "The UIDs of messages, by words of IMAP such as UNSEEN or FROM a@b.com; charset says how they are encoded.",
                _search,
                (),
                "list",
                rest="args",
                keywords="charset",
            ),
            FunctionSpec(
                "select",
                "Choose the mailbox that further calls are about.",
                _select,
                (ParameterSpec("mailbox", "INBOX", "str", "Its name."),),
                "list",
            ),
        ),
    ),
)
