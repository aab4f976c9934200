"""Answers to HTTP requests as values: `$lib.inet.http.get()`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgpack
from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.outside.http_calls import HttpAnswer, read_json
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import torepr, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


class HttpResponse:
    """What came of a request."""

    __slots__ = ("answer",)

    def __init__(self, answer: HttpAnswer) -> None:
        self.answer = answer

    def storm_plain(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return self.answer.plain()

    def storm_text(self) -> str:
        """Return what is printed."""
        return torepr(self.answer.plain())


def _json(context: RunContext, self: HttpResponse, encoding: Any, errors: Any) -> Any:
    return read_json(self.answer, None if encoding is None else tostr(encoding), tostr(errors))


def _msgpack(context: RunContext, self: HttpResponse) -> Iterator[Any]:
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=0)
    unpacker.feed(self.answer.body)
    try:
        for item in unpacker:
            context.tick()
            yield item
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise StormRuntimeError(f"the answer is no msgpack: {error}") from error


def _raw_headers(context: RunContext, self: HttpResponse) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in self.answer.raw_headers:
        found.setdefault(name, []).append(value)
    return found


TYPES: Final = (
    TypeSpec(
        "inet:http:resp",
        HttpResponse,
        "The answer to an HTTP request.",
        (
            FunctionSpec("getRawHeaders", "All values of each header.", _raw_headers, (), "dict"),
            FunctionSpec(
                "json",
                "The body as JSON has it.",
                _json,
                (
                    ParameterSpec("encoding", None, "str", "How its text is encoded; by default UTF-8."),
                    ParameterSpec(
                        "errors", "surrogatepass", "str", "What is done with bytes that are no text."
                    ),
                ),
                "prim",
            ),
            FunctionSpec(
                "msgpack", "The msgpack values in the body.", _msgpack, (), "prims", is_generator=True
            ),
        ),
        (
            AttributeSpec("body", "The body.", lambda c, s: s.answer.body, "bytes"),
            AttributeSpec(
                "code", "The status code; -1 when no answer came.", lambda c, s: s.answer.code, "int"
            ),
            AttributeSpec(
                "err",
                "What went wrong, as a pair of a name and facts; empty if nothing did.",
                lambda c, s: list(s.answer.error),
                "list",
            ),
            AttributeSpec("headers", "The headers.", lambda c, s: dict(s.answer.raw_headers), "dict"),
            AttributeSpec(
                "history",
                "The answers that led here by redirects.",
                lambda c, s: [HttpResponse(one) for one in s.answer.history],
                "list",
            ),
            AttributeSpec("reason", "The status in words.", lambda c, s: s.answer.reason, "str"),
            AttributeSpec(
                "request_headers", "The headers sent.", lambda c, s: dict(s.answer.request_headers), "dict"
            ),
            AttributeSpec("url", "The URL that answered.", lambda c, s: s.answer.url, "str"),
        ),
    ),
)
