"""`$lib` itself: constants, values, messages and control."""

from __future__ import annotations

import copy
import pprint
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import errors, hashing
from cellmesh.common.errors import (
    BadArg,
    BadTypeValu,
    CellError,
    NoSuchType,
    StormRaise,
    StormRuntimeError,
)
from cellmesh.cortex.storm.container_tools import in_order, set_item
from cellmesh.cortex.storm.objects.builder import TextBuilder
from cellmesh.cortex.storm.runtime.functions import StormGenerator
from cellmesh.cortex.storm.runtime.interface import (
    UNDEF,
    AttributeSpec,
    FunctionSpec,
    LibrarySpec,
    ParameterSpec,
)
from cellmesh.cortex.storm.runtime.members import toiter, tolist
from cellmesh.cortex.storm.runtime.signals import StormExit
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, torepr, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.storm.text_tools import formatted, json_safe

if TYPE_CHECKING:
    from cellmesh.cortex.model.types.base import BaseType
    from cellmesh.cortex.storm.runtime.context import RunContext

PPRINT_CLAMP_MIN: Final = 3
COPYABLE: Final = (type(None), str, int, float, Decimal, bytes, list, tuple, dict)


# Values by the model.


def type_of(context: RunContext, name: Any) -> BaseType:
    """Return the type of a name: a type, or a property's by its full name.

    Raises:
        NoSuchType: the model has neither.
    """
    text = tostr(name)
    if context.model.has_type(text):
        return context.model.type(text)
    prop = context.model.prop(text)
    if prop is None:
        raise NoSuchType(f"no type or property named {text}", name=text)
    return prop.type


def cast_value(context: RunContext, name: Any, value: Any) -> Any:
    """Return a value as the type of a name stores it; raises NoSuchType and BadTypeValu."""
    return type_of(context, name).normalize(plain_value(value)).value


def _trycast(context: RunContext, name: Any, value: Any) -> tuple[bool, Any]:
    kind = type_of(context, name)
    try:
        return (True, kind.normalize(plain_value(value)).value)
    except BadTypeValu:
        return (False, None)


def _repr(context: RunContext, name: Any, value: Any) -> Any:
    kind = type_of(context, name)
    try:
        return kind.repr(plain_value(value))
    except (CellError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise BadArg(f"{value!r} is no stored value of the type {kind.name}: {error}", name="valu") from error


def _guid(context: RunContext, items: tuple[Any, ...], named: dict[str, Any]) -> str:
    value = named.pop("valu", UNDEF)
    if named:
        raise StormRuntimeError(f"guid() has no argument {next(iter(named))}", name="guid")
    if items and value is not UNDEF:
        raise BadArg("guid() takes either values or valu, not both")
    if items:
        return hashing.guid([plain_value(item) for item in items])
    if value is UNDEF:
        return hashing.guid()
    return hashing.guid(plain_value(value))


# Collections and numbers.


def _len(context: RunContext, value: Any) -> int:
    if isinstance(value, StormGenerator):
        count = 0
        for _ in value:
            context.tick()
            count += 1
        return count
    try:
        return len(value)
    except TypeError as error:
        raise StormRuntimeError(
            f"a {type(value).__name__} has no length", name=type(value).__name__
        ) from error


def _integers(context: RunContext, items: tuple[Any, ...], name: str) -> list[int]:
    found: list[int] = []
    for item in items:
        if isinstance(item, (list, tuple, set, StormGenerator)):
            found.extend(toint(inner) for inner in toiter(context, item))
        else:
            found.append(toint(item))
    if not found:
        raise StormRuntimeError(f"{name}() takes at least one number", name=name)
    return found


def _max(context: RunContext, items: tuple[Any, ...]) -> int:
    return max(_integers(context, items, "max"))


def _min(context: RunContext, items: tuple[Any, ...]) -> int:
    return min(_integers(context, items, "min"))


def _range(context: RunContext, stop: Any, start: Any, step: Any) -> Iterator[int]:
    if start is None:  # a step counts only together with a start
        if step is not None:
            toint(step)
        numbers = range(toint(stop))
    else:
        width = 1 if step is None else toint(step)
        if width == 0:
            raise BadArg("the step of a range must not be zero", name="step")
        numbers = range(toint(start), toint(stop), width)
    for number in numbers:
        context.tick()
        yield number


def _sorted(context: RunContext, value: Any, reverse: Any) -> Iterator[Any]:
    if value is None:
        raise StormRuntimeError("null has no items to sort", name="valu")
    yield from in_order(tolist(context, value), tobool(reverse))


def _copy(context: RunContext, item: Any) -> Any:
    if not isinstance(item, COPYABLE) or isinstance(item, Decimal):
        raise BadArg(f"a {type(item).__name__} cannot be copied", name="item")
    return copy.deepcopy(item)


# Messages and control.


def _print(context: RunContext, message: Any, values: dict[str, Any]) -> None:
    context.print(formatted(torepr(message), values))


def _pprint(context: RunContext, item: Any, prefix: Any, clamp: Any) -> None:
    limit = None if clamp is None else toint(clamp)
    if limit is not None and limit < PPRINT_CLAMP_MIN:
        raise StormRuntimeError(f"clamp must be at least {PPRINT_CLAMP_MIN}", clamp=limit)
    head = tostr(prefix)
    for line in pprint.pformat(_frozen(plain_value(item))).splitlines():
        text = line
        if limit is not None and len(text) > limit:
            text = f"{text[: limit - 3]}..."
        context.print(head + text)


def _frozen(value: Any) -> Any:
    """Return a value with tuples for its lists, as they are printed."""
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return _Digits(value) if isinstance(value, Decimal) else value


class _Digits:
    """A number with a point, shown as its digits."""

    def __init__(self, number: Decimal) -> None:
        self.number = number

    def __repr__(self) -> str:
        return str(self.number)


def _warn(context: RunContext, message: Any, values: dict[str, Any]) -> None:
    context.warn(formatted(torepr(message), values))


def _fire(context: RunContext, name: Any, info: dict[str, Any]) -> None:
    context.fire(tostr(name), json_safe(info))


def _exit(context: RunContext, message: Any, values: dict[str, Any]) -> None:
    raise StormExit(None if message is None else formatted(torepr(message), values))


def _raise(context: RunContext, name: Any, message: Any, info: dict[str, Any]) -> None:
    error_name, text = tostr(name), tostr(message)
    fields = {key: toprim(value) for key, value in info.items()}
    kind = getattr(errors, error_name, None)
    if isinstance(kind, type) and issubclass(kind, CellError) and kind is not CellError:
        raise kind(text, **fields)
    raise StormRaise(text, errname=error_name, **fields)


def _import(context: RunContext, name: Any, debug: Any, required: Any) -> Any:
    # Found here, as packages build on what stands in this module's neighbours.
    from cellmesh.cortex.storm.library.packages import import_module

    return import_module(context, name, debug, required)


def _get_debug(context: RunContext, self: None) -> bool:
    return context.run.is_debugged


def _set_debug(context: RunContext, self: None, value: Any) -> None:
    context.run.is_debugged = tobool(value)


_TYPE_NAME: Final = ParameterSpec("name", type="str", doc="A type, or a property by its full name.")
_VALUE: Final = ParameterSpec("valu", type="any", doc="The value.")
_MESSAGE: Final = ParameterSpec(
    "mesg", type="str", doc="The text; `{name}` in it stands for a named argument."
)

FUNCTIONS: Final = (
    FunctionSpec("cast", "A value as a type normalises it.", cast_value, (_TYPE_NAME, _VALUE), "any"),
    FunctionSpec(
        "copy",
        "A deep copy of plain data.",
        _copy,
        (ParameterSpec("item", type="prim", doc="What to copy."),),
        "prim",
    ),
    FunctionSpec(
        "exit",
        "End the query without an error, with a warning if there is a message.",
        _exit,
        (ParameterSpec("mesg", None, "str", "The warning."),),
        keywords="kwargs",
    ),
    FunctionSpec(
        "fire",
        "Send an event with named values to the caller.",
        _fire,
        (ParameterSpec("name", type="str", doc="The kind of event."),),
        keywords="info",
    ),
    FunctionSpec(
        "guid",
        "A random guid, or the one that stands for the values given, or for `valu`.",
        _guid,
        (),
        "str",
        rest="args",
        keywords="valu",
    ),
    FunctionSpec(
        "import",
        "A module of a package.",
        _import,
        (
            ParameterSpec("name", type="str", doc="The module."),
            ParameterSpec("debug", False, "bool", "Run it with debug messages."),
            ParameterSpec("reqvers", None, "str", "The versions that will do, such as `>=1.0.0`."),
        ),
        "lib",
        may_change=True,
    ),
    FunctionSpec(
        "len",
        "How many items or characters a value has; a generator is used up.",
        _len,
        (ParameterSpec("item", type="any", doc="What to count."),),
        "int",
    ),
    FunctionSpec(
        "list",
        "A list of the arguments.",
        lambda c, items: list(items),
        (),
        "list",
        rest="vals",
        deprecated="write ([])",
    ),
    FunctionSpec("max", "The largest of numbers and lists of them.", _max, (), "int", rest="args"),
    FunctionSpec("min", "The smallest of numbers and lists of them.", _min, (), "int", rest="args"),
    FunctionSpec(
        "pprint",
        "Print a value laid out over lines.",
        _pprint,
        (
            ParameterSpec("item", type="any", doc="What to print."),
            ParameterSpec("prefix", "", "str", "Text before each line."),
            ParameterSpec("clamp", None, "int", "Cut lines at so many characters, at least 3."),
        ),
    ),
    FunctionSpec("print", "Print text.", _print, (_MESSAGE,), keywords="kwargs"),
    FunctionSpec(
        "raise",
        "End the query with an error, which `catch` can name.",
        _raise,
        (
            ParameterSpec("name", type="str", doc="The name of the error."),
            ParameterSpec("mesg", type="str", doc="What went wrong."),
        ),
        keywords="info",
    ),
    FunctionSpec(
        "range",
        "Whole numbers from `start` up to, but without, `stop`.",
        _range,
        (
            ParameterSpec("stop", type="int", doc="Where to end."),
            ParameterSpec("start", None, "int", "Where to begin; 0 when left out."),
            ParameterSpec("step", None, "int", "How far each is from the last; only with a start."),
        ),
        "int",
        is_generator=True,
    ),
    FunctionSpec("repr", "The human text of a stored value.", _repr, (_TYPE_NAME, _VALUE), "str"),
    FunctionSpec(
        "set",
        "A set of the arguments.",
        lambda c, items: {set_item(item) for item in items},
        (),
        "set",
        rest="vals",
    ),
    FunctionSpec(
        "sorted",
        "The items of a value in order.",
        _sorted,
        (
            ParameterSpec("valu", type="list", doc="What to go through."),
            ParameterSpec("reverse", False, "bool", "Largest first."),
        ),
        "any",
        is_generator=True,
    ),
    FunctionSpec(
        "text",
        "Text to which more can be added, beginning with the arguments.",
        lambda c, items: TextBuilder([tostr(item) for item in items]),
        (),
        "text",
        rest="args",
        deprecated="join the items of a list",
    ),
    FunctionSpec(
        "trycast",
        "Whether a type takes a value, and the value as it normalises it.",
        _trycast,
        (_TYPE_NAME, _VALUE),
        "pair",
    ),
    FunctionSpec("warn", "Send a warning.", _warn, (_MESSAGE,), keywords="kwargs"),
)

LIBRARIES: Final = (
    LibrarySpec(
        (),
        "What queries can do beside lifting, filtering and editing.",
        FUNCTIONS,
        (
            AttributeSpec(
                "debug", "Whether the query asked for debug messages.", _get_debug, "bool", _set_debug
            ),
        ),
        {"true": True, "false": False, "null": None, "undef": UNDEF},
    ),
)
