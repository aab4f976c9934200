"""Arguments of commands: from the values given to the attributes of `Arguments`, and the help text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from cellmesh.common.errors import BadArg, CellError
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.libraries import near_match
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import tobool, toint, tonumber, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

Given: TypeAlias = "tuple[Any, bool]"
"""A value, and whether it was a bare word and so may be a flag."""

TRUE_WORDS = frozenset({"true", "t", "yes", "y", "on"})
FALSE_WORDS = frozenset({"false", "f", "no", "n", "off"})
HELP_FLAGS = frozenset({"-h", "--help"})
PIVOTS = frozenset({"->", "-+>", "-->", "--+>", "<-", "<--"})


def fill(context: RunContext, spec: CommandSpec, arguments: Arguments, given: list[Given]) -> bool:
    """Set the attributes of `arguments`; return False when only help was asked for, and printed.

    Raises:
        BadArg: something is missing, unknown or of the wrong kind.
    """
    values: dict[str, Any] = {}
    flags = {flag: argument for argument in spec.arguments for flag in argument.flags if argument.is_option}
    positional: list[Any] = []
    at = 0
    while at < len(given):
        value, is_bare = given[at]
        at += 1
        if not (is_bare and isinstance(value, str) and value.startswith("-") and len(value) > 1):
            positional.append(value)
            continue
        argument = flags.get(value)
        if argument is None:
            if value in HELP_FLAGS:
                for line in help_text(spec).split("\n"):
                    context.print(line)
                return False
            if _is_number(value):
                positional.append(value)
                continue
            near = near_match(value, [*flags, *HELP_FLAGS])
            if value in PIVOTS:
                near = {"hint": f"a '|' ends the command: {spec.name} … | {value}"}
            raise BadArg(f"{spec.name} has no option {value}", name=value, cmd=spec.name, **near)
        at = _take_option(spec, argument, values, given, at)
    _take_positional(spec, values, positional)
    for argument in spec.arguments:
        name = argument.destination
        if name not in values:
            if argument.is_option and argument.is_required:
                raise BadArg(f"{spec.name} needs {argument.flags[0]}", name=argument.flags[0], cmd=spec.name)
            setattr(arguments, name, _default(argument))
        else:
            setattr(arguments, name, _typed(spec, argument, values[name]))
    return True


def fill_defaults(spec: CommandSpec, arguments: Arguments) -> None:
    """Set the attributes to what they are where nothing is given: no row may come to say more."""
    for argument in spec.arguments:
        setattr(arguments, argument.destination, _default(argument))


def _default(argument: ArgumentSpec) -> Any:
    if argument.default is not None:
        return argument.default
    if argument.action == "store_true":
        return False
    if argument.action == "store_false":
        return True
    return [] if argument.count in ("*", "+") and not argument.is_option else None


def _is_number(value: str) -> bool:
    return value[1:2].isdigit()


def _take_option(
    spec: CommandSpec, argument: ArgumentSpec, values: dict[str, Any], given: list[Given], at: int
) -> int:
    name = argument.destination
    if argument.action in ("store_true", "store_false"):
        values[name] = argument.action == "store_true"
        return at
    if argument.count is None:
        if at >= len(given):
            raise BadArg(
                f"{argument.flags[0]} of {spec.name} needs a value", name=argument.flags[0], cmd=spec.name
            )
        value = given[at][0]
        at += 1
        if argument.action == "append":
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
        return at
    taken: list[Any] = []
    most = argument.count if isinstance(argument.count, int) else 1 if argument.count == "?" else None
    while at < len(given) and (most is None or len(taken) < most):
        value, is_bare = given[at]
        if is_bare and isinstance(value, str) and value.startswith("-") and not _is_number(value):
            break
        taken.append(value)
        at += 1
    if isinstance(argument.count, int) and len(taken) != argument.count:
        raise BadArg(
            f"{argument.flags[0]} needs {argument.count} values", name=argument.flags[0], cmd=spec.name
        )
    if argument.count == "+" and not taken:
        raise BadArg(f"{argument.flags[0]} needs a value", name=argument.flags[0], cmd=spec.name)
    if argument.action == "append":
        values.setdefault(name, []).append(taken)
    else:
        values[name] = (taken[0] if taken else argument.default) if argument.count == "?" else taken
    return at


def _take_positional(spec: CommandSpec, values: dict[str, Any], given: list[Any]) -> None:
    wanted = [argument for argument in spec.arguments if not argument.is_option]
    at = 0
    for position, argument in enumerate(wanted):
        name = argument.destination
        later = sum(1 if one.count is None else 0 for one in wanted[position + 1 :])
        if argument.count in ("*", "+"):
            taken = given[at : max(at, len(given) - later)]
            at += len(taken)
            if argument.count == "+" and not taken:
                raise BadArg(f"{spec.name} needs {name}", name=name, cmd=spec.name)
            values[name] = taken
        elif argument.count == "?":
            if at < len(given):
                values[name] = given[at]
                at += 1
        elif isinstance(argument.count, int):
            values[name] = given[at : at + argument.count]
            at += argument.count
            if at > len(given):
                raise BadArg(
                    f"{spec.name} needs {argument.count} values for {name}", name=name, cmd=spec.name
                )
        else:
            if at >= len(given):
                raise BadArg(f"{spec.name} needs {name}", name=name, cmd=spec.name)
            values[name] = given[at]
            at += 1
    if at < len(given):
        raise BadArg(f"{spec.name} takes no further argument", name=spec.name, valu=str(given[at])[:80])


def _typed(spec: CommandSpec, argument: ArgumentSpec, value: Any) -> Any:
    if argument.action == "append" and argument.count is not None:
        return [[_one(spec, argument, item) for item in items] for items in value]
    if isinstance(value, list) and (argument.count in ("*", "+") or isinstance(argument.count, int)):
        return [_one(spec, argument, item) for item in value]
    if argument.action in ("store_true", "store_false"):
        return value
    if argument.action == "append":
        return [_one(spec, argument, item) for item in value]
    return _one(spec, argument, value)


def _one(spec: CommandSpec, argument: ArgumentSpec, value: Any) -> Any:
    kind = argument.type
    try:
        if value is None and argument.count == "?":
            return None
        if kind == "int":
            made: Any = toint(value)
        elif kind == "number":
            made = tonumber(value)
        elif kind == "bool":
            made = _tobool_word(value)
        elif kind == "str":
            made = _text(value)
        elif kind == "query":
            made = value if isinstance(value, StormQuery) else StormQuery(tostr(value), None, {})
        else:
            made = value
    except CellError as error:
        flag = argument.flags[0]
        raise BadArg(f"{flag} of {spec.name}: {error.message}", name=flag, cmd=spec.name) from error
    if argument.choices and made not in argument.choices:
        flag = argument.flags[0]
        allowed = ", ".join(str(choice) for choice in argument.choices)
        raise BadArg(f"{flag} of {spec.name} is one of {allowed}", name=flag, valu=made, cmd=spec.name)
    return made


def _text(value: Any) -> str:
    if value is None or isinstance(value, (list, tuple, dict, set)):
        raise BadArg(f"a text is wanted, not a {type(value).__name__}")
    return tostr(value)


def _tobool_word(value: Any) -> bool:
    if isinstance(value, str):
        word = value.lower()
        return word in TRUE_WORDS or (word not in FALSE_WORDS and bool(toint(word)))
    if value is None or isinstance(value, (list, tuple, dict, set)):
        raise BadArg("true or false is wanted")
    return tobool(value)


def help_text(spec: CommandSpec) -> str:
    """Return what `--help` prints."""
    lines = ["", *_dedented(spec.doc), "", f"Usage: {spec.name} [options]{_usage(spec)}", "", "Options:", ""]
    lines.append(f"  {'--help':<30}: Display the command usage.")
    for argument in spec.arguments:
        if argument.is_option:
            lines.append(f"  {_flags(argument):<30}: {argument.help}")
    positional = [argument for argument in spec.arguments if not argument.is_option]
    if positional:
        lines.extend(["", "Arguments:", ""])
        lines.extend(f"  {_bracketed(argument):<30}: {argument.help}" for argument in positional)
    return "\n".join(lines)


def _dedented(doc: str) -> list[str]:
    return ["    " + line.strip() for line in doc.strip().split("\n")]


def _usage(spec: CommandSpec) -> str:
    return "".join(" " + _bracketed(argument) for argument in spec.arguments if not argument.is_option)


def _bracketed(argument: ArgumentSpec) -> str:
    name = argument.flags[0]
    if argument.count == "*":
        return f"[<{name}> ...]"
    if argument.count == "+":
        return f"<{name} ...>"
    return f"[{name}]" if argument.count == "?" else f"<{name}>"


def _flags(argument: ArgumentSpec) -> str:
    return (
        argument.flags[0] if argument.action != "store" else f"{argument.flags[0]} <{argument.destination}>"
    )
