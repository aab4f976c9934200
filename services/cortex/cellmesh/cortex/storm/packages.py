"""Packages as queries use them: their modules parsed, their commands ready to run."""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from cellmesh.common.errors import BadArg, BadTypeValu, CellError
from cellmesh.cortex.storm.parser import parse_source
from cellmesh.cortex.storm.parser.ast import ParseMode
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import toprim
from cellmesh.cortex.storm.source import Source

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

LOGGER = logging.getLogger(__name__)

Definition = dict[str, Any]
Module = tuple[str, dict[str, Any], StormQuery, tuple[tuple[str, ...], ...]]

_KINDS: Final = {
    "str": "str",
    "int": "int",
    "bool": "bool",
    "number": "number",
    "list": "list",
    "dict": "dict",
}

_NOT_GIVEN: Final = {"store_true": False, "store_false": True}
"""What flags are that were not given."""


class PackageTable:
    """Modules and commands of all packages, by name.

    Attributes:
        modules: Version of the package, settings, parsed text and the permissions of each module, of which one is needed
            to import it.
        commands: The commands.
    """

    def __init__(self) -> None:
        self.modules: dict[str, Module] = {}
        self.commands: dict[str, CommandSpec] = {}

    def follow(self, packages: Mapping[str, Definition]) -> None:
        """Take the packages that there are now."""
        modules: dict[str, Module] = {}
        commands: dict[str, CommandSpec] = {}
        for name, definition in packages.items():
            try:
                for module in definition.get("modules") or ():
                    modules[module["name"]] = (
                        definition["version"],
                        module.get("modconf", {}),
                        parsed(module["storm"]),
                        tuple(tuple(path) for path in module.get("asroot:perms", ())),
                    )
                for command in definition.get("commands") or ():
                    commands[command["name"]] = command_of(command)
            except CellError:
                # It was checked when it was added; another version of the language may see it otherwise.
                LOGGER.exception("package_not_usable", extra={"package": name})
        self.modules = modules
        for name in self.commands.keys() - commands.keys():
            del self.commands[name]
        self.commands.update(commands)


def parsed(text: str) -> StormQuery:
    """Return a query parsed; raises BadSyntax."""
    source = Source(text)
    return StormQuery(text, parse_source(source, ParseMode.STORM), {}, source)


def command_of(definition: Definition) -> CommandSpec:
    """Return the command of a package's definition; raises BadSyntax."""
    query = parsed(definition["storm"])
    specs = tuple(_argument(list(one)) for one in definition.get("cmdargs") or ())
    settings = definition.get("cmdconf", {})
    types = {
        spec.destination: str(one[-1].get("type", ""))
        for spec, one in zip(specs, definition.get("cmdargs") or (), strict=True)
        if isinstance(one[-1], dict)
    }

    def variables(context: RunContext, arguments: Arguments) -> dict[str, Any]:
        options = {
            spec.destination: _normed(
                context,
                spec,
                types.get(spec.destination, ""),
                _option(spec, getattr(arguments, spec.destination)),
            )
            for spec in specs
        }
        return {"cmdopts": options, "cmdconf": dict(settings)}

    def run(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
        if arguments.is_constant:
            yield from context.run_query(query, variables(context, arguments), rows)
            return
        for row in rows:
            yield from context.run_query(query, variables(context, arguments), [row])

    return CommandSpec(
        definition["name"],
        definition.get("descr") or "A command of a package.",
        run,
        specs,
        may_change=True,
    )


def _normed(context: RunContext, spec: ArgumentSpec, name: str, value: Any) -> Any:
    """Return an argument as the model's type of a name has it; raises BadArg if the type does not take it."""
    if value is None or value is spec.default or name in _KINDS or not name:
        return value
    if not context.model.has_type(name):
        return value
    known = context.model.type(name)
    try:
        if spec.count in ("*", "+") or isinstance(spec.count, int):
            return [known.norm(toprim(item)) for item in value]
        return known.norm(toprim(value))
    except BadTypeValu as error:
        raise BadArg(
            f"{spec.flags[0]} is of the type {name}: {error.message}", name=spec.destination, type=name
        ) from error


def _option(spec: ArgumentSpec, value: Any) -> Any:
    """Return an argument as the command's Storm sees it: a query as its text, a flag that was not given as null."""
    if isinstance(value, StormQuery):
        return value.text.strip()
    if spec.default is None and _NOT_GIVEN.get(spec.action) is value:
        return None
    return value


def _argument(parts: list[Any]) -> ArgumentSpec:
    facts = dict(parts.pop()) if parts and isinstance(parts[-1], dict) else {}
    count = facts.get("nargs")
    return ArgumentSpec(
        flags=tuple(str(flag) for flag in parts),
        help=str(facts.get("help", "")),
        type=_KINDS.get(facts.get("type", ""), "any"),
        count=count if isinstance(count, int) or count in ("?", "*", "+") else None,
        action=facts.get("action", "store"),
        default=facts.get("default"),
        is_required=bool(facts.get("required", False)),
        choices=tuple(facts.get("choices") or ()),
        name=str(facts.get("dest") or ""),
    )


class RunsQueries(Protocol):
    """An engine."""

    commands: Mapping[str, CommandSpec]
    capabilities: Mapping[str, object]


def connect_packages(engine: RunsQueries, packages: Any) -> PackageTable:
    """Have an engine's queries use the packages of a store."""
    table = PackageTable()
    packages.listen(table.follow)
    engine.commands = ChainMap({}, dict(engine.commands), table.commands)
    engine.capabilities = {**engine.capabilities, "packages.table": table}
    return table
