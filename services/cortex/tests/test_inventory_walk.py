"""Every command, function, method and attribute that Synapse has is here, with the same arguments.

`storm/inventory/names.json` holds the names and arguments of the peer, facts only. What is not here, or takes other
arguments, stands in `storm/inventory/missing.toml` with the reason; the list can only shrink, as an entry that is there
by now fails too. An argument is `name`, `name=default`, `*rest` or `**named`; of commands `name` with how many, and
`--flag!` for one without a value, `--flag...` for one that can be given again.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cortex.automation import registry as automation
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.runtime.interface import (
    REQUIRED,
    UNDEF,
    ArgumentSpec,
    CommandSpec,
    FunctionSpec,
    ParameterSpec,
)

FOLDER = Path(__file__).with_name("storm") / "inventory"
NAMES = json.loads((FOLDER / "names.json").read_text())
LISTED = tomllib.loads((FOLDER / "missing.toml").read_text())


def default_text(value: Any) -> str:
    if value is UNDEF:
        return "$lib.undef"
    return json.dumps(value)


def parameter_text(parameter: ParameterSpec) -> str:
    if parameter.default is REQUIRED:
        return parameter.name
    return f"{parameter.name}={default_text(parameter.default)}"


def signature(function: FunctionSpec) -> str:
    texts = [parameter_text(one) for one in function.parameters]
    rest = [f"*{function.rest}"] if function.rest else []
    named = [f"**{function.keywords}"] if function.keywords else []
    return f"({', '.join([*texts, *rest, *named])})"


def argument_text(argument: ArgumentSpec) -> str:
    text = "/".join(sorted(argument.flags))
    if argument.action in ("store_true", "store_false"):
        return text + "!"
    text += ("..." if argument.action == "append" else "") + str(argument.count or "")
    plain = argument.default is None or argument.default is UNDEF or not argument.is_option
    return text if plain else f"{text}={json.dumps(argument.default, separators=(',', ':'))}"


def library_names() -> Iterator[tuple[str, str]]:
    for library in (*LIBRARIES, *automation.LIBRARIES):
        path = ".".join(("$lib", *library.path))
        yield from ((f"{path}.{one.name}", signature(one)) for one in library.functions)
        yield from ((f"{path}.{one.name}", "") for one in library.attributes)
        for name, value in library.constants.items():
            yield f"{path}.{name}", ""
            if isinstance(value, dict):
                yield from ((f"{path}.{name}.{inner}", "") for inner in value)


def type_names() -> Iterator[tuple[str, str]]:
    for kind in (*TYPES, *automation.TYPES):
        yield from ((f"{kind.name}.{one.name}", signature(one)) for one in kind.methods)
        yield from ((f"{kind.name}.{one.name}", "") for one in kind.attributes)


def command_words(command: CommandSpec) -> list[str]:
    return sorted(argument_text(one) for one in command.arguments)


HERE: dict[str, dict[str, Any]] = {
    "libraries": dict(library_names()),
    "types": dict(type_names()),
    "commands": {one.name: command_words(one) for one in (*COMMANDS, *automation.COMMANDS)},
}


def wanted(kind: str, name: str) -> Any:
    found = NAMES[kind][name]
    return sorted(found) if kind == "commands" else found


def missing(kind: str) -> set[str]:
    return NAMES[kind].keys() - HERE[kind].keys()


def different(kind: str) -> set[str]:
    known = NAMES[kind].keys() & HERE[kind].keys()
    return {name for name in known if HERE[kind][name] != wanted(kind, name)}


def listed(kind: str) -> set[str]:
    return {name for group in LISTED["missing"].values() for name in group.get(kind, ())}


@pytest.mark.parametrize("kind", NAMES)
def test_what_is_missing_is_listed(kind: str) -> None:
    lost = sorted(missing(kind) - listed(kind))
    assert not lost, f"not here, and not listed: {lost}"
    found = sorted(listed(kind) - missing(kind))
    assert not found, f"here by now, to be taken out of missing.toml: {found}"


@pytest.mark.parametrize("kind", NAMES)
def test_arguments_are_those_of_the_peer(kind: str) -> None:
    known = set(LISTED["different"].get(kind, {}))
    other = {
        name: (wanted(kind, name), HERE[kind][name]) for name in sorted(different(kind)) if name not in known
    }
    assert not other, f"name: (there, here): {other}"
    assert not known - different(kind), "the same by now, to be taken out of missing.toml"


def test_each_group_has_a_reason() -> None:
    for name, group in LISTED["missing"].items():
        assert group["reason"].endswith("."), name
    for entries in LISTED["different"].values():
        assert all(reason.endswith(".") for reason in entries.values())
