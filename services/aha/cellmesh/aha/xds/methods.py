"""Which calls any instance answers, and which go to the leader: read from the descriptors, of whatever cells there are.

A method that its proto declares to have no side effects is for any instance. Everything else is for the leader; what is
declared idempotent may be tried again. Storm is for the leader, as nobody sees from outside whether a query changes something.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Final

from google.protobuf.descriptor_pb2 import MethodOptions

ROOT: Final = "cellmesh.api"
COMMON: Final = "common"
SERVICE_SUFFIX: Final = "_service_pb2"
EVERYWHERE: Final = ("/grpc.health.v1.Health/", "/grpc.reflection.", "/envoy.service.discovery.v3.")
"""Beginnings of methods from elsewhere that change nothing."""


@dataclass(frozen=True, slots=True)
class Methods:
    """The methods of a kind of cell, by what may be done with a call.

    Attributes:
        reads: Paths of those that any instance answers.
        repeatable: Paths of others that may be called twice.
    """

    reads: tuple[str, ...]
    repeatable: tuple[str, ...]


@cache
def methods_of(kind: str) -> Methods:
    """The methods of a kind of cell, those that all cells have among them; of an unknown kind these alone."""
    reads: list[str] = []
    repeatable: list[str] = []
    for module in (*_modules(COMMON), *(_modules(kind) if kind in _kinds() else ())):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                match method.GetOptions().idempotency_level:
                    case MethodOptions.NO_SIDE_EFFECTS:
                        reads.append(path)
                    case MethodOptions.IDEMPOTENT:
                        repeatable.append(path)
    return Methods(tuple(sorted(reads)), tuple(sorted(repeatable)))


def methods_of_all(kinds: Collection[str]) -> Methods:
    """The methods of several kinds of cells, as a pool has."""
    found = [methods_of(kind) for kind in sorted(kinds)] or [methods_of("")]
    if len(found) == 1:
        return found[0]
    return Methods(
        tuple(sorted({path for methods in found for path in methods.reads})),
        tuple(sorted({path for methods in found for path in methods.repeatable})),
    )


@cache
def _kinds() -> frozenset[str]:
    """The kinds of cells whose descriptors are installed."""
    from importlib.resources import files

    return frozenset(
        child.name
        for child in files(ROOT).iterdir()
        if child.is_dir() and child.name not in (COMMON, "__pycache__")
    )


def _modules(package: str) -> list[ModuleType]:
    found = importlib.import_module(f"{ROOT}.{package}.v1")
    names = sorted(
        item.name for item in pkgutil.iter_modules(found.__path__) if item.name.endswith(SERVICE_SUFFIX)
    )
    return [importlib.import_module(f"{found.__name__}.{name}") for name in names]
