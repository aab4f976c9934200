"""Web sockets as values: `$lib.inet.http.connect()`. Messages are JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CellError
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import toint, toprim

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from websockets.sync.client import ClientConnection

WAIT_SLICE_S: Final = 0.2
"""A wait is cut into slices, so that the query can be ended meanwhile."""


class WebSocket:
    """A connection; it is closed when the server closes it, or with the query."""

    __slots__ = ("link",)

    def __init__(self, link: ClientConnection) -> None:
        self.link = link

    def __del__(self) -> None:
        # Nothing else tells when a query needs it no more. It must not wait for the server's good-bye.
        self.link.socket.close()


def failure(error: Exception) -> tuple[bool, tuple[str, dict[str, Any]]]:
    """Return what a call gives that did not work."""
    if isinstance(error, CellError):
        return (False, (error.name, {"mesg": error.message}))
    return (False, (type(error).__name__, {"mesg": str(error)}))


def _send(context: RunContext, self: WebSocket, message: Any) -> tuple[bool, Any]:
    from websockets.exceptions import WebSocketException

    context.session.pause()
    try:
        self.link.send(json.dumps(toprim(message)).encode(), text=False)
    except (WebSocketException, OSError, TypeError, ValueError) as error:
        return failure(error)
    finally:
        context.tick()
    return (True, None)


def _receive(context: RunContext, self: WebSocket, timeout: Any) -> tuple[bool, Any]:
    from time import monotonic

    from websockets.exceptions import WebSocketException

    limit = None if timeout is None else monotonic() + toint(timeout)
    context.session.pause()
    while True:
        context.tick()
        left = WAIT_SLICE_S if limit is None else min(WAIT_SLICE_S, max(0.0, limit - monotonic()))
        try:
            return (True, json.loads(self.link.recv(timeout=left)))
        except TimeoutError:
            if limit is not None and monotonic() >= limit:
                return (False, ("TimeOut", {"mesg": "nothing came in time"}))
        except (WebSocketException, OSError, ValueError, RecursionError) as error:
            return failure(error)


TYPES: Final = (
    TypeSpec(
        "inet:http:socket",
        WebSocket,
        "A web socket. Calls give whether it was done, and then what came, or what went wrong.",
        (
            FunctionSpec(
                "rx",
                "Wait for a message and give what it says, as JSON has it.",
                _receive,
                (ParameterSpec("timeout", None, "int", "Seconds to wait; null for as long as it takes."),),
                "list",
            ),
            FunctionSpec(
                "tx",
                "Send a value as JSON.",
                _send,
                (ParameterSpec("mesg", type="dict", doc="What to send."),),
                "list",
            ),
        ),
    ),
)
