"""A request to the extended HTTP API as a value: `$request`. What is sent leaves the query as events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadJsonText, StormRuntimeError
from cellmesh.cortex.storm.objects.http_apis import HttpApiObject
from cellmesh.cortex.storm.runtime.interface import (
    UNDEF,
    AttributeSpec,
    FunctionSpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.values import toint, toprim, torepr, tostr
from cellmesh.cortex.storm.text_tools import json_text, parsed_json

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

CODE_EVENT: Final = "http:resp:code"
HEADERS_EVENT: Final = "http:resp:headers"
BODY_EVENT: Final = "http:resp:body"
"""What an answer leaves a query as: events with `code`, `headers` and `body`."""

JSON_TYPE: Final = "application/json; charset=utf8"

_TEXTS: Final = ("client", "method", "path", "uri", "user")


class HttpRequestObject:
    """A request.

    Args:
        facts: iden (of the endpoint), uri, method, path, args, params, headers, body, client, user (its iden).
    """

    __slots__ = ("facts", "has_replied")

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.has_replied = False

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"http:api:request: {self.facts.get('method', '')} {self.facts.get('path', '')}"


class RequestHeaders:
    """The headers of a request, whose names are written in any way.

    Args:
        headers: By name.
    """

    __slots__ = ("headers",)

    def __init__(self, headers: dict[str, Any]) -> None:
        self.headers = headers

    def storm_plain(self) -> dict[str, Any]:
        """Return them by name."""
        return dict(self.headers)

    def storm_text(self) -> str:
        """Return what is printed."""
        return torepr(self.headers)


def _header(context: RunContext, self: RequestHeaders, name: Any) -> Any:
    wanted = tostr(name).lower()
    return next((value for key, value in self.headers.items() if key.lower() == wanted), None)


def _each_header(context: RunContext, self: RequestHeaders) -> Iterator[Any]:
    return iter(list(self.headers.items()))


def _no_member(context: RunContext, self: Any, name: Any, value: Any) -> None:
    raise StormRuntimeError("a request cannot be changed", name=tostr(name))


def _api(context: RunContext, self: HttpRequestObject) -> HttpApiObject:
    store = context.capability("http.apis")
    return HttpApiObject(store, store.require(context.session, tostr(self.facts.get("iden", ""))))


def _json(context: RunContext, self: HttpRequestObject) -> Any:
    try:
        return parsed_json(bytes(self.facts.get("body") or b"").decode())
    except (BadJsonText, UnicodeDecodeError) as error:
        raise StormRuntimeError(f"the body of the request is no JSON: {error}", name="body") from error


def _send_code(context: RunContext, self: HttpRequestObject, code: Any) -> None:
    context.fire(CODE_EVENT, {"code": toint(code)})


def _send_headers(context: RunContext, self: HttpRequestObject, headers: Any) -> None:
    plain = toprim(headers)
    if not isinstance(plain, dict):
        raise BadArg(f"headers are a dictionary, not a {type(plain).__name__}", name="headers")
    context.fire(HEADERS_EVENT, {"headers": plain})


def _send_body(context: RunContext, self: HttpRequestObject, body: Any) -> None:
    plain = toprim(body)
    if not isinstance(plain, bytes):
        raise BadArg(f"a body is bytes, not a {type(plain).__name__}", name="body")
    context.fire(BODY_EVENT, {"body": plain})


def _reply(context: RunContext, self: HttpRequestObject, code: Any, headers: Any, body: Any) -> None:
    if self.has_replied:
        raise BadArg("the request has been replied to already", name="reply")
    number = toint(code)
    sent = toprim(headers) if headers is not None else {}
    if not isinstance(sent, dict):
        raise BadArg(f"headers are a dictionary, not a {type(sent).__name__}", name="headers")
    sent = dict(sent)
    data = None
    if body is not UNDEF:
        plain = toprim(body)
        if isinstance(plain, bytes):
            data = plain
        else:
            data = json_text(plain).encode()
            sent["Content-Type"] = JSON_TYPE
            sent["Content-Length"] = len(data)
    self.has_replied = True
    _send_code(context, self, number)
    if sent:
        _send_headers(context, self, sent)
    if data is not None:
        _send_body(context, self, data)


def _text(name: str) -> AttributeSpec:
    docs = {
        "client": "Where it comes from.",
        "method": "Its method, in capitals.",
        "path": "Its path below the root of the API.",
        "uri": "Its path and parameters as they were sent.",
        "user": "Iden of the user whose request it is; empty for nobody.",
    }
    return AttributeSpec(name, docs[name], lambda c, s: s.facts.get(name), "str")


_CODE: Final = ParameterSpec("code", type="int", doc="The status code.")

TYPES: Final = (
    TypeSpec(
        "http:api:request",
        HttpRequestObject,
        "A request to an endpoint of the extended HTTP API.",
        (
            FunctionSpec(
                "reply",
                "Answer it whole, once.",
                _reply,
                (
                    _CODE,
                    ParameterSpec("headers", None, "dict", "The headers."),
                    ParameterSpec(
                        "body", UNDEF, "any", "Bytes, which go as they are; anything else goes as JSON."
                    ),
                ),
            ),
            FunctionSpec(
                "sendbody",
                "Send a part of the answer's body. The status code is sent before.",
                _send_body,
                (ParameterSpec("body", type="bytes", doc="The bytes."),),
            ),
            FunctionSpec("sendcode", "Send the status code of the answer.", _send_code, (_CODE,)),
            FunctionSpec(
                "sendheaders",
                "Send headers of the answer, before its body.",
                _send_headers,
                (ParameterSpec("headers", type="dict", doc="Values by name."),),
            ),
        ),
        (
            AttributeSpec("api", "The endpoint.", _api, "http:api"),
            AttributeSpec(
                "args",
                "What the groups of the endpoint's pattern took.",
                lambda c, s: s.facts.get("args"),
                "list",
            ),
            AttributeSpec("body", "Its body.", lambda c, s: s.facts.get("body"), "bytes"),
            AttributeSpec(
                "headers",
                "Its headers.",
                lambda c, s: RequestHeaders(s.facts.get("headers") or {}),
                "http:api:request:headers",
            ),
            AttributeSpec("json", "What its body says in JSON.", _json, "any"),
            AttributeSpec("params", "Its parameters by name.", lambda c, s: s.facts.get("params"), "dict"),
            *map(_text, _TEXTS),
        ),
        set_item=_no_member,
    ),
    TypeSpec(
        "http:api:request:headers",
        RequestHeaders,
        "The headers of a request.",
        get_item=_header,
        iterate=_each_header,
    ),
)
