"""`$lib.inet.smtp` and `$lib.inet.imap`: mail out and in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.objects.mail import MailMessage
from cellmesh.cortex.storm.outside.mail_calls import MailBox
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, toint, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def _connect(
    context: RunContext, host: Any, port: Any, timeout: Any, uses_tls: Any, verifies: Any
) -> MailBox:
    context.confirm(("storm", "inet", "imap", "connect"))
    context.session.pause()
    found = MailBox(
        tostr(host),
        toint(port),
        timeout_s=float(toint(timeout)),
        uses_tls=tobool(uses_tls),
        verifies=tobool(verifies),
    )
    context.tick()
    return found


LIBRARIES: Final = (
    LibrarySpec(
        ("inet", "smtp"),
        "Mail to be sent.",
        (
            FunctionSpec(
                "message", "An empty message.", lambda context: MailMessage(), (), "inet:smtp:message"
            ),
        ),
    ),
    LibrarySpec(
        ("inet", "imap"),
        "Mail that a server holds.",
        (
            FunctionSpec(
                "connect",
                "Connect to a server of IMAP.",
                _connect,
                (
                    ParameterSpec("host", type="str", doc="The server."),
                    ParameterSpec("port", 993, "int", "Its port."),
                    ParameterSpec("timeout", 30, "int", "Seconds to wait for each answer."),
                    ParameterSpec("ssl", True, "bool", "Speak TLS."),
                    ParameterSpec("ssl_verify", True, "bool", "Check the server's certificate."),
                ),
                "inet:imap:server",
            ),
        ),
    ),
)
