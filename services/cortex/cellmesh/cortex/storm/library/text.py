"""`$lib.str` and `$lib.regex`: putting texts together and taking them apart."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.values import toint, tostr
from cellmesh.cortex.storm.text_tools import formatted, joined

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

PATTERN_COUNT_MAX: Final = 256


def _concat(context: RunContext, items: tuple[Any, ...]) -> str:
    return joined("", items)


def _join(context: RunContext, separator: Any, items: Any) -> str:
    if items is None:
        raise StormRuntimeError("null has no items to join", name="items")
    return joined(tostr(separator), toiter(context, items))


def _format(context: RunContext, text: Any, values: dict[str, Any]) -> str:
    return formatted(tostr(text), values)


@lru_cache(maxsize=PATTERN_COUNT_MAX)
def _compiled(pattern: str, flags: int) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except (re.error, ValueError, RecursionError) as error:
        raise BadArg(f"{pattern[:80]!r} is no regular expression: {error}", name="pattern") from error


def compiled(pattern: Any, flags: Any) -> re.Pattern[str]:
    """Return a compiled pattern, from those kept if it is there.

    Raises:
        BadArg: it is no regular expression.
    """
    return _compiled(tostr(pattern), toint(flags))


def _search(context: RunContext, pattern: Any, text: Any, flags: Any) -> tuple[Any, ...] | None:
    found = compiled(pattern, flags).search(tostr(text))
    return None if found is None else found.groups()


def _findall(context: RunContext, pattern: Any, text: Any, flags: Any) -> list[Any]:
    return compiled(pattern, flags).findall(tostr(text))


def _matches(context: RunContext, pattern: Any, text: Any, flags: Any) -> bool:
    return compiled(pattern, flags).match(tostr(text)) is not None


def _replace(context: RunContext, pattern: Any, replacement: Any, text: Any, flags: Any) -> str:
    try:
        return compiled(pattern, flags).sub(tostr(replacement), tostr(text))
    except (re.error, LookupError) as error:
        raise BadArg(f"the replacement does not fit the pattern: {error}", name="replace") from error


_TEXT: Final = ParameterSpec("text", type="str", doc="The text.")
_PATTERN: Final = ParameterSpec("pattern", type="str", doc="The regular expression.")
_FLAGS: Final = ParameterSpec(
    "flags", 0, "int", "`$lib.regex.flags.i` ignores case, `.m` looks at each line."
)

LIBRARIES: Final = (
    LibrarySpec(
        ("str",),
        "Putting text together.",
        (
            FunctionSpec(
                "concat", "The texts of the arguments, end to end.", _concat, (), "str", rest="args"
            ),
            FunctionSpec(
                "format",
                "Put named values in place of `{name}`.",
                _format,
                (ParameterSpec("text", type="str", doc="The text with `{name}` in it."),),
                "str",
                keywords="kwargs",
            ),
            FunctionSpec(
                "join",
                "The texts of items with another between them.",
                _join,
                (
                    ParameterSpec("sepr", type="str", doc="What stands between."),
                    ParameterSpec("items", type="list", doc="The items."),
                ),
                "str",
            ),
        ),
    ),
    LibrarySpec(
        ("regex",),
        "Regular expressions, as Python has them.",
        (
            FunctionSpec(
                "escape",
                "A pattern that matches just this text.",
                lambda c, s: re.escape(tostr(s)),
                (_TEXT,),
                "str",
            ),
            FunctionSpec(
                "findall",
                "Every match; of a pattern with groups, what they matched.",
                _findall,
                (_PATTERN, _TEXT, _FLAGS),
                "list",
            ),
            FunctionSpec(
                "matches",
                "Whether a text begins with a match.",
                _matches,
                (_PATTERN, _TEXT, _FLAGS),
                "bool",
            ),
            FunctionSpec(
                "replace",
                "Replace every match.",
                _replace,
                (
                    _PATTERN,
                    ParameterSpec(
                        "replace",
                        type="str",
                        doc=r"The new text; `\1` in it is what the first group matched.",
                    ),
                    _TEXT,
                    _FLAGS,
                ),
                "str",
            ),
            FunctionSpec(
                "search",
                "What the groups of the first match hold, or null without a match.",
                _search,
                (_PATTERN, _TEXT, _FLAGS),
                "list",
            ),
        ),
    ),
    LibrarySpec(
        ("regex", "flags"),
        "Flags of regular expressions.",
        constants={"i": int(re.IGNORECASE), "m": int(re.MULTILINE)},
    ),
)
