"""Who calls, carried with the request.

The interceptors set the call; handlers, and the worker threads that work for them, read it. It travels in a
context variable, which `Workers` copies to its threads.
"""

from __future__ import annotations

import asyncio
import enum
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from cellmesh.common.errors import CellError, Unauthenticated
from cellmesh.common.tls.identity import CellIdentity, Identity, UserIdentity

ROOT_USER: Final = "root"
ROOT_ID: Final = "0" * 31 + "1"
"""Identifier of the user root in every cell."""


class CallerKind(enum.Enum):
    """How a caller is known."""

    LOCAL = "local"
    """On the unix socket, which only the owner of the folder can open, or on an insecure port: root."""
    CELL = "cell"
    """A cell of the mesh, by its certificate."""
    USER = "user"
    """A user, by certificate, password or API key, or the one that strangers count as."""
    ANONYMOUS = "anonymous"
    """Nobody we know: no certificate, or one without a name of ours, and no credentials."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        name: "root", "00.cortex.demo", "alice@demo" by certificate, "alice" by password or key, or "" when
            anonymous.
        kind: How the caller is known.
        identity: The name in its certificate, if it has one.
        admin: Whether it may do everything.
        user_id: Identifier of the user of this cell that it is; empty for cells and for who is no user here.
        refusal: Why it may call nothing but what is open to anyone, although it is known; empty else.
        one_time: Whether it came with a one-time password.
        peer: Whether it is an instance of the very service that is called.
        serial: Serial number of its certificate, hexadecimal; empty without one.
    """

    name: str
    kind: CallerKind
    identity: Identity | None = None
    admin: bool = False
    user_id: str = ""
    refusal: str = ""
    one_time: bool = False
    peer: bool = False
    serial: str = ""

    @property
    def network(self) -> str:
        """The network of its certificate, or empty."""
        return self.identity.network if self.identity else ""

    @property
    def is_member(self) -> bool:
        """Whether it belongs to the mesh."""
        return self.kind is not CallerKind.ANONYMOUS


LOCAL_ROOT: Final = Caller(ROOT_USER, CallerKind.LOCAL, admin=True, user_id=ROOT_ID)
ANONYMOUS: Final = Caller("", CallerKind.ANONYMOUS)


def caller_of_identity(identity: Identity | None, own: CellIdentity | None = None) -> Caller:
    """Make the caller that a verified certificate speaks for.

    Args:
        identity: The name in the certificate.
        own: The name of the cell that is called, if it has one.
    """
    match identity:
        case CellIdentity():
            is_peer = own is not None and own.service_name == identity.service_name
            return Caller(identity.name, CallerKind.CELL, identity, peer=is_peer)
        case UserIdentity():
            return Caller(identity.name, CallerKind.USER, identity, admin=identity.admin)
        case None:
            return ANONYMOUS


@dataclass(slots=True)
class Call:
    """One call as it is served.

    Attributes:
        request_id: The caller's id of the request, or one made here; in every log line of the call.
        method: Full method name, "/package.Service/Method".
        caller: Who calls; anonymous until the auth interceptor has run.
        deadline: When the caller stops waiting, on time.monotonic's clock, or None.
        peer: Where the call comes from, "ipv4:127.0.0.1:4711" or "unix:"; set where credentials are checked. Of a call
            that was sent on, "via 01.cortex.demo".
        forwarded_by: The follower that has sent the call on, "01.cortex.demo"; empty for others.
        min_offset: The change offset that the answer must have seen, as text; empty for none.
        text: What is done, such as the text of a query, for who looks at the running tasks; set by the handler.
        start_ns: When it began, on time.monotonic_ns's clock.
        task: What serves it in the event loop; None where no server does.
        is_stream: Whether there may be many requests or answers.
        ended_by: Why it was ended here, before its time; None else.
    """

    request_id: str
    method: str
    caller: Caller = ANONYMOUS
    deadline: float | None = None
    peer: str = ""
    forwarded_by: str = ""
    min_offset: str = ""
    text: str = ""
    start_ns: int = 0
    task: asyncio.Task[Any] | None = None
    is_stream: bool = False
    ended_by: CellError | None = None


_call: ContextVar[Call | None] = ContextVar("cellmesh_call", default=None)


def set_current_call(call: Call) -> None:
    """Make this the call of the present task. For interceptors."""
    _call.set(call)


def find_current_call() -> Call | None:
    """The call being served, None outside of any."""
    return _call.get()


def current_call() -> Call:
    """The call being served. Raises Unauthenticated outside of any: code that asks needs a caller."""
    call = _call.get()
    if call is None:
        raise Unauthenticated("no call is being served here, so there is no caller")
    return call


def current_caller() -> Caller:
    """Who makes the call being served. Raises Unauthenticated outside of any."""
    return current_call().caller
