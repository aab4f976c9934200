"""`$lib.inet.http.connect`: web sockets."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.library.http import (
    HEADERS,
    PARAMS,
    PROXY,
    TIMEOUT,
    TLS,
    URL,
    VERIFY,
    confirm_proxy,
    pairs,
)
from cellmesh.cortex.storm.objects.sockets import WebSocket, failure
from cellmesh.cortex.storm.outside.http_calls import tls_context
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

MESSAGE_SIZE_MAX: Final = 64 << 20
"""Bytes of one message that is taken."""

_PLAIN: Final = {"http": "ws", "https": "wss"}


def _connect(
    context: RunContext,
    url: Any,
    headers: Any,
    verifies: Any,
    timeout: Any,
    params: Any,
    proxy: Any,
    tls: Any,
) -> tuple[bool, Any]:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    confirm_proxy(context, proxy)
    parts = urlsplit(tostr(url))
    parts = parts._replace(scheme=_PLAIN.get(parts.scheme, parts.scheme))
    more = urlencode(list(pairs(params, "params")))
    if more:
        parts = parts._replace(query=f"{parts.query}&{more}" if parts.query else more)
    options = toprim(tls)
    if options is not None and not isinstance(options, dict):
        raise BadArg("ssl_opts is a dictionary", name="ssl_opts")
    context.session.pause()
    try:
        # The socket outlives this call: it is closed with the value.
        link = ExitStack().enter_context(
            connect(
                parts.geturl(),
                additional_headers=list(pairs(headers, "headers")),
                ssl=tls_context(tobool(verifies), options) if parts.scheme == "wss" else None,
                proxy=proxy
                if isinstance(proxy, str)
                else True
                if proxy is not None and tobool(proxy)
                else None,
                open_timeout=None if timeout is None else toint(timeout),
                max_size=MESSAGE_SIZE_MAX,
            )
        )
    except (WebSocketException, OSError, ValueError, ImportError) as error:
        return failure(error)
    finally:
        context.tick()
    return (True, WebSocket(link))


LIBRARIES: Final = (
    LibrarySpec(
        ("inet", "http"),
        "Web sockets.",
        (
            FunctionSpec(
                "connect",
                "Open a web socket; gives whether it is open, and then the socket, or what went wrong.",
                _connect,
                (URL, HEADERS, VERIFY, TIMEOUT, PARAMS, PROXY, TLS),
                "list",
            ),
        ),
    ),
)
