"""Methods of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, LimitExceeded, StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.members import tolist
from cellmesh.cortex.storm.runtime.memory import LARGE_VALUE_BYTES
from cellmesh.cortex.storm.runtime.values import toint, tostr
from cellmesh.cortex.storm.text_tools import formatted, parsed_json

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

WIDTH_MAX: Final = 2**31 - 1
"""Longest text that filling up makes, in characters, whatever memory there is."""


def _encode(context: RunContext, self: str, encoding: Any) -> bytes:
    try:
        return self.encode(tostr(encoding), "surrogatepass")
    except (ValueError, LookupError) as error:
        raise StormRuntimeError(f"cannot encode the text as {encoding}: {error}") from error


def _find(context: RunContext, self: str, value: Any) -> int | None:
    place = self.find(tostr(value))
    return None if place < 0 else place


def _slice(context: RunContext, self: str, start: Any, end: Any) -> str:
    return self[toint(start) :] if end is None else self[toint(start) : toint(end)]


def _replace(context: RunContext, self: str, old: Any, new: Any, count: Any) -> str:
    if not isinstance(old, str) or not isinstance(new, str):
        raise StormRuntimeError("what to replace, and by what, is text", name="oldv")
    found, put = old, new
    times = -1 if count is None else toint(count)
    if len(self) * len(put) > LARGE_VALUE_BYTES:
        made = self.count(found) if times < 0 else min(times, self.count(found))
        context.run.budget.weigh(len(self) + made * (len(put) - len(found)))
    return self.replace(found, put, times)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadArg("what to look for is text", name="text")
    return value


def _join(context: RunContext, self: str, items: Any) -> str:
    if items is None:
        raise StormRuntimeError("null cannot be gone through", type="NoneType")
    texts = [tostr(item) for item in tolist(context, items)]
    context.run.budget.weigh(sum(map(len, texts)) + len(texts) * len(self))
    return self.join(texts)


def _ljust(context: RunContext, self: str, size: Any, fill: Any) -> str:
    return self.ljust(_width(context, size), _fill(fill))


def _rjust(context: RunContext, self: str, size: Any, fill: Any) -> str:
    return self.rjust(_width(context, size), _fill(fill))


def _width(context: RunContext, size: Any) -> int:
    width = toint(size)
    if width > WIDTH_MAX:
        raise LimitExceeded(
            f"a text is filled up to {WIDTH_MAX} characters at most", name="width", limit=WIDTH_MAX
        )
    context.run.budget.weigh(width)
    return width


def _format(context: RunContext, self: str, values: Any) -> str:
    text = formatted(self, values)
    context.run.budget.weigh(len(text))
    return text


def _split(context: RunContext, self: str, separator: Any, count: Any) -> list[str]:
    return self.split(_separator(separator), toint(count))


def _rsplit(context: RunContext, self: str, separator: Any, count: Any) -> list[str]:
    return self.rsplit(_separator(separator), toint(count))


def _separator(value: Any) -> str | None:
    """The text to split at; null for any run of white space."""
    if value is None:
        return None
    separator = tostr(value)
    if not separator:
        raise BadArg("the text to split at must not be empty", name="text")
    return separator


def _chars(value: Any) -> str | None:
    return None if value is None else tostr(value)


def _fill(value: Any) -> str:
    fill = tostr(value)
    if len(fill) != 1:
        raise BadArg(f"fillchar must be one character, not {fill!r}", name="fillchar")
    return fill


def _iterate(context: RunContext, self: str) -> Iterator[str]:
    return iter(self)


_CHARS: Final = ParameterSpec("chars", None, "str", "Characters to take off; white space when left out.")
_SIZE: Final = ParameterSpec("size", type="int", doc="How many characters the result has at least.")
_FILL: Final = ParameterSpec("fillchar", " ", "str", "What to fill with.")
_TEXT: Final = ParameterSpec("text", type="str", doc="The other text.")
_MAXSPLIT: Final = ParameterSpec("maxsplit", -1, "int", "At most so many cuts; -1 for no limit.")

METHODS: Final = (
    FunctionSpec(
        "encode",
        "The text as bytes.",
        _encode,
        (ParameterSpec("encoding", "utf8", "str", "The encoding."),),
        "bytes",
    ),
    FunctionSpec(
        "endswith", "Whether it ends so.", lambda c, s, text: s.endswith(_text(text)), (_TEXT,), "bool"
    ),
    FunctionSpec(
        "find",
        "Where a text first occurs, or null.",
        _find,
        (ParameterSpec("valu", type="str", doc="What to look for."),),
        "int",
    ),
    FunctionSpec(
        "format",
        "Put values in place of `{name}`.",
        _format,
        (),
        "str",
        keywords="kwargs",
    ),
    FunctionSpec(
        "join",
        "Join items with this text between them.",
        _join,
        (ParameterSpec("items", type="list", doc="The items."),),
        "str",
    ),
    FunctionSpec("json", "Read the text as JSON.", lambda c, s: parsed_json(s), (), "any"),
    FunctionSpec(
        "ljust",
        "Fill up at the right.",
        _ljust,
        (_SIZE, _FILL),
        "str",
    ),
    FunctionSpec("lower", "In lower case.", lambda c, s: s.lower(), (), "str"),
    FunctionSpec(
        "lstrip", "Take characters off the left.", lambda c, s, x: s.lstrip(_chars(x)), (_CHARS,), "str"
    ),
    FunctionSpec(
        "replace",
        "Replace a text by another.",
        _replace,
        (
            ParameterSpec("oldv", type="str", doc="What to replace."),
            ParameterSpec("newv", type="str", doc="What to put there."),
            ParameterSpec("maxv", None, "int", "At most so many times."),
        ),
        "str",
    ),
    FunctionSpec("reverse", "Back to front.", lambda c, s: s[::-1], (), "str"),
    FunctionSpec("rjust", "Fill up at the left.", _rjust, (_SIZE, _FILL), "str"),
    FunctionSpec("rsplit", "Cut at a text, from the right.", _rsplit, (_TEXT, _MAXSPLIT), "list of str"),
    FunctionSpec(
        "rstrip", "Take characters off the right.", lambda c, s, x: s.rstrip(_chars(x)), (_CHARS,), "str"
    ),
    FunctionSpec("size", "How many characters it has.", lambda c, s: len(s), (), "int"),
    FunctionSpec(
        "slice",
        "A part of it.",
        _slice,
        (
            ParameterSpec("start", type="int", doc="Where it begins; below 0 counted from the end."),
            ParameterSpec(
                "end", None, "int", "Where it ends, this place left out; at the end when left out."
            ),
        ),
        "str",
    ),
    FunctionSpec("split", "Cut at a text.", _split, (_TEXT, _MAXSPLIT), "list of str"),
    FunctionSpec(
        "startswith", "Whether it begins so.", lambda c, s, text: s.startswith(_text(text)), (_TEXT,), "bool"
    ),
    FunctionSpec(
        "strip", "Take characters off both ends.", lambda c, s, x: s.strip(_chars(x)), (_CHARS,), "str"
    ),
    FunctionSpec("title", "With capitals at the begin of words.", lambda c, s: s.title(), (), "str"),
    FunctionSpec("upper", "In upper case.", lambda c, s: s.upper(), (), "str"),
)

TYPES: Final = (TypeSpec("str", str, "Text.", METHODS, iterate=_iterate),)
