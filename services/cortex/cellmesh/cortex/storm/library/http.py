"""`$lib.inet.http`: requests to web servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadCast
from cellmesh.cortex.storm.objects.web import HttpResponse
from cellmesh.cortex.storm.outside.http_calls import HttpRequest, Pairs, send
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def pairs(value: Any, name: str) -> Pairs:
    """Return names and values given as a dictionary, whose values may be lists, or as a list of pairs."""
    found = toprim(value)
    if found is None:
        return ()
    items = list(found.items()) if isinstance(found, dict) else found
    result: list[tuple[str, str]] = []
    try:
        for key, item in items:
            for one in item if isinstance(item, (list, tuple)) else (item,):
                result.append((tostr(key), tostr(one)))
    except (TypeError, ValueError):
        raise BadArg(f"{name} are a dictionary or a list of pairs", name=name) from None
    return result


def http_request(
    method: str,
    url: Any,
    headers: Any,
    *,
    json_body: Any = None,
    body: Any = None,
    verifies: Any = True,
    params: Any = None,
    timeout: Any = 300,
    follows: Any = True,
    fields: Any = None,
    proxy: Any = True,
    tls: Any = None,
) -> HttpRequest:
    """Return the request that a function's arguments ask for; raises BadArg, BadCast."""
    content, kind, form = None, None, None
    if json_body is not None:
        content, kind = json.dumps(_jsonable(toprim(json_body))).encode(), "application/json"
    elif body is not None:
        plain = toprim(body)
        if isinstance(plain, dict):
            form = {tostr(key): tostr(item) for key, item in plain.items()}
        elif isinstance(plain, bytes):
            content, kind = plain, "application/octet-stream"
        else:
            content, kind = tostr(plain).encode(), "text/plain; charset=utf-8"
    options = toprim(tls)
    if options is not None and not isinstance(options, dict):
        raise BadArg("ssl_opts is a dictionary", name="ssl_opts")
    return HttpRequest(
        method=method,
        url=tostr(url),
        headers=pairs(headers, "headers"),
        params=pairs(params, "params"),
        content=content,
        content_type=kind,
        form=form,
        fields=_fields(fields),
        timeout_s=None if timeout is None else float(toint(timeout)),
        follows=tobool(follows),
        verifies=tobool(verifies),
        proxy=proxy if isinstance(proxy, str) else False if proxy is None else tobool(proxy),
        tls=options,
    )


def _fields(value: Any) -> list[dict[str, Any]]:
    found = toprim(value)
    if found is None:
        return []
    if not isinstance(found, (list, tuple)) or not all(isinstance(part, dict) for part in found):
        raise BadArg("fields are a list of dictionaries", name="fields")
    return [dict(part) for part in found]


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {tostr(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, bytes):
        raise BadCast("bytes cannot be written as JSON", name="json")
    return float(value)


def confirm_proxy(context: RunContext, proxy: Any) -> None:
    """Check that the user may choose how requests go; raises AuthDeny. The environment's proxy is for everybody."""
    if proxy is not True:
        context.confirm(("storm", "lib", "inet", "http", "proxy"))


def _send(context: RunContext, request: HttpRequest) -> HttpResponse:
    confirm_proxy(context, request.proxy)
    # What was edited before must not hold up others while a server takes its time.
    context.session.pause()
    answer = send(request)
    context.tick()
    return HttpResponse(answer)


def _asking(method: str) -> Callable[..., HttpResponse]:
    """Make the function of a method that sends no body."""

    def ask(
        context: RunContext,
        url: Any,
        headers: Any,
        verifies: Any,
        params: Any,
        timeout: Any,
        follows: Any,
        proxy: Any,
        tls: Any,
    ) -> HttpResponse:
        return _send(
            context,
            http_request(
                method,
                url,
                headers,
                verifies=verifies,
                params=params,
                timeout=timeout,
                follows=follows,
                proxy=proxy,
                tls=tls,
            ),
        )

    return ask


def _request(
    context: RunContext,
    method: Any,
    url: Any,
    headers: Any,
    json_body: Any,
    body: Any,
    verifies: Any,
    params: Any,
    timeout: Any,
    follows: Any,
    fields: Any,
    proxy: Any,
    tls: Any,
) -> HttpResponse:
    return _send(
        context,
        http_request(
            tostr(method).upper(),
            url,
            headers,
            json_body=json_body,
            body=body,
            verifies=verifies,
            params=params,
            timeout=timeout,
            follows=follows,
            fields=fields,
            proxy=proxy,
            tls=tls,
        ),
    )


def _post(context: RunContext, *arguments: Any) -> HttpResponse:
    return _request(context, "POST", *arguments)


URL: Final = ParameterSpec("url", type="str", doc="The URL.")
HEADERS: Final = ParameterSpec("headers", None, "dict", "Headers to send.")
PARAMS: Final = ParameterSpec("params", None, "dict", "Parameters for the URL.")
JSON: Final = ParameterSpec("json", None, "prim", "A body, sent as JSON.")
BODY: Final = ParameterSpec("body", None, "bytes", "A body: bytes, text, or a dictionary for a form.")
PROXY: Final = ParameterSpec(
    "proxy", True, "str", "A proxy's URL; true for the environment's, false for none."
)
TLS: Final = ParameterSpec(
    "ssl_opts", None, "dict", "For TLS: verify, client_cert, client_key, ca_cert; certificates as PEM."
)
VERIFY: Final = ParameterSpec("ssl_verify", True, "bool", "Check the server's certificate.")
TIMEOUT: Final = ParameterSpec("timeout", 300, "int", "Seconds to wait for an answer.")
_FOLLOW: Final = ParameterSpec("allow_redirects", True, "bool", "Follow redirects.")
_STAY: Final = ParameterSpec("allow_redirects", False, "bool", "Follow redirects.")
_FIELDS: Final = ParameterSpec(
    "fields", None, "list", "Parts of a multipart body: name, value, filename, content_type."
)
_SENT: Final = (URL, HEADERS, JSON, BODY, VERIFY, PARAMS, TIMEOUT, _FOLLOW, _FIELDS, PROXY, TLS)

LIBRARIES: Final = (
    LibrarySpec(
        ("inet", "http"),
        "Requests to web servers. What goes wrong is told by the answer's `code` and `err`.",
        (
            FunctionSpec(
                "get",
                "Get a page.",
                _asking("GET"),
                (URL, HEADERS, VERIFY, PARAMS, TIMEOUT, _FOLLOW, PROXY, TLS),
                "inet:http:resp",
            ),
            FunctionSpec(
                "head",
                "Ask for the headers of a page.",
                _asking("HEAD"),
                (URL, HEADERS, VERIFY, PARAMS, TIMEOUT, _STAY, PROXY, TLS),
                "inet:http:resp",
            ),
            FunctionSpec("post", "Post a body.", _post, _SENT, "inet:http:resp"),
            FunctionSpec(
                "request",
                "Send a request of any method.",
                _request,
                (ParameterSpec("meth", type="str", doc="The method."), *_SENT),
                "inet:http:resp",
            ),
        ),
    ),
)
