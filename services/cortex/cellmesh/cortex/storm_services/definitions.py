"""Packages as a Storm service tells them, as definitions that `$lib.pkg.add()` takes."""

from __future__ import annotations

from typing import Any, Final

from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.storm_service.v1 import provider_pb2
from cellmesh.common.errors import LimitExceeded, SchemaViolation
from cellmesh.common.values import from_value
from cellmesh.cortex.storm.outside.service_calls import SERVICE_KEY

PACKAGE_COUNT_MAX: Final = 100
"""Packages of one service."""

Definition = dict[str, Any]


def definitions_of(provider: provider_pb2.Provider, iden: str) -> list[Definition]:
    """Return the definitions of a service's packages.

    Args:
        provider: What the service tells.
        iden: The service's iden here.

    Raises:
        SchemaViolation: settings are no map, or two packages have one name.
        LimitExceeded: there are too many.
    """
    if len(provider.packages) > PACKAGE_COUNT_MAX:
        raise LimitExceeded("the service has too many packages", name="packages", limit=PACKAGE_COUNT_MAX)
    found = [_package(package, iden) for package in provider.packages]
    names = [definition["name"] for definition in found]
    if len(set(names)) < len(names):
        raise SchemaViolation("two packages of the service have one name", name="name")
    return found


def events_of(provider: provider_pb2.Provider) -> dict[str, Any]:
    """Return what a service wants run, by event: `add` and `del`."""
    queries = {"add": provider.on_added, "del": provider.on_removed}
    return {event: {"storm": text} for event, text in queries.items() if text}


def _package(package: provider_pb2.Package, iden: str) -> Definition:
    found: Definition = {
        **_settings(package, "more"),
        "name": package.name,
        "version": package.version,
        SERVICE_KEY: iden,
        "modules": [
            {
                "name": module.name,
                "storm": module.storm,
                "modconf": {**_settings(module, "settings"), SERVICE_KEY: iden},
            }
            for module in package.modules
        ],
        "commands": [
            {
                "name": command.name,
                "descr": command.doc,
                "storm": command.storm,
                "cmdargs": [_argument(argument) for argument in command.arguments],
                "cmdconf": {**_settings(command, "settings"), SERVICE_KEY: iden},
            }
            for command in package.commands
        ],
    }
    if package.on_load:
        found["onload"] = package.on_load
    return found


def _settings(message: Any, name: str) -> dict[str, Any]:
    given: value_pb2.Value = getattr(message, name)
    found = from_value(given)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SchemaViolation(f"{name} of {message.name} is a map", name=name)
    return found


def _argument(argument: provider_pb2.Argument) -> list[Any]:
    facts: dict[str, Any] = {}
    for key, value in (
        ("help", argument.doc),
        ("type", argument.type),
        ("action", argument.action),
        ("nargs", argument.count),
        ("required", argument.required),
    ):
        if value:
            facts[key] = value
    if argument.HasField("default"):
        facts["default"] = from_value(argument.default)
    return [*argument.flags, facts]
