"""`$lib.scrape`: what a text mentions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadTypeValu
from cellmesh.cortex.storm.formats.text_scrape import SCRAPER, Found
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import toint, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def _normed(context: RunContext, text: str) -> Iterator[tuple[Found, Any]]:
    """Yield what is found with its value as its type stores it; what the type refuses is no find."""
    for found in SCRAPER.find(text):
        context.tick()
        try:
            yield found, context.model.type(found.form).norm(found.value)
        except BadTypeValu:
            continue


def _ndefs(context: RunContext, text: Any) -> Iterator[tuple[str, Any]]:
    seen: set[tuple[str, str | tuple[str, str]]] = set()
    for found, value in _normed(context, tostr(text)):
        key = (found.form, found.value)
        if key not in seen:
            seen.add(key)
            yield (found.form, value)


def _context(context: RunContext, text: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    for found, value in _normed(context, tostr(text)):
        yield (found.form, value, {"match": found.match, "offset": found.offset})


def _matches(
    context: RunContext, text: Any, pattern: Any, fangs: Any, flags: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        compiled = re.compile(tostr(pattern), toint(flags))
    except (re.error, ValueError) as error:
        raise BadArg(f"{tostr(pattern)} is no regular expression: {error}", name="pattern") from error
    if "valu" not in compiled.groupindex:
        if compiled.search(tostr(text)) is None:
            return
        raise BadArg("the pattern has no group named valu", name="pattern")
    for match in compiled.finditer(tostr(text)):
        context.tick()
        yield (match["valu"], {"match": match["valu"], "offset": match.start("valu")})


_TEXT: Final = ParameterSpec("text", type="str", doc="The text.")

LIBRARIES: Final = (
    LibrarySpec(
        ("scrape",),
        "What a text mentions: addresses, names, hashes, numbers, also when they are defanged.",
        (
            FunctionSpec(
                "context",
                "Form, value, and where it stands, for each mention.",
                _context,
                (_TEXT,),
                "lists",
                is_generator=True,
            ),
            FunctionSpec(
                "genMatches",
                "Matches of the group `valu` of a pattern, and where they stand.",
                _matches,
                (
                    _TEXT,
                    ParameterSpec("pattern", type="str", doc="A regular expression with a group named valu."),
                    ParameterSpec("fangs", None, "list", "Without effect yet."),
                    ParameterSpec("flags", 2, "int", "Flags; 2 ignores case."),
                ),
                "lists",
                is_generator=True,
            ),
            FunctionSpec(
                "ndefs",
                "Form and value of what is mentioned, each once.",
                _ndefs,
                (_TEXT,),
                "lists",
                is_generator=True,
            ),
        ),
    ),
)
