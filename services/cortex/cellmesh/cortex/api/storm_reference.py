"""The declarations of commands, libraries and types as messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, Final, Protocol

from cellmesh.api.cortex.v1 import storm_reference_pb2 as pb
from cellmesh.cortex.storm.runtime.functions import NativeFunction
from cellmesh.cortex.storm.runtime.interface import (
    REQUIRED,
    UNDEF,
    ArgumentSpec,
    AttributeSpec,
    CommandSpec,
    FunctionSpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.libraries import Library, TypeTable
from cellmesh.cortex.storm.runtime.values import torepr

BATCH_COUNT: Final = 20
"""Entries of a message: some libraries have dozens of functions."""


class Declares(Protocol):
    """An engine."""

    commands: Mapping[str, CommandSpec]
    library: Library
    types: TypeTable


def reference_messages(engine: Declares) -> Iterator[pb.GetStormReferenceResponse]:
    """Yield everything that queries of an engine can name, in batches."""
    commands = (_command_info(engine.commands[name]) for name in sorted(engine.commands))
    for batch in _batches(commands):
        yield pb.GetStormReferenceResponse(commands=batch)
    for libraries in _batches(
        map(_library_info, sorted(_libraries(engine.library), key=lambda one: one.name))
    ):
        yield pb.GetStormReferenceResponse(libraries=libraries)
    # Tuples behave as lists do.
    types = sorted(
        (spec for spec in engine.types.all() if spec.python_type is not tuple), key=lambda one: one.name
    )
    for some in _batches(map(_type_info, types)):
        yield pb.GetStormReferenceResponse(types=some)


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(items)
    while batch := list(islice(source, BATCH_COUNT)):
        yield batch


def _libraries(library: Library) -> Iterator[Library]:
    yield library
    for member in library.members.values():
        if isinstance(member, Library):
            yield from _libraries(member)


def _library_info(library: Library) -> pb.StormLibraryInfo:
    members = sorted(library.members.items())
    constants = [
        pb.StormAttributeInfo(name=name, type=_type_of(value), constant_text=value_text(value))
        for name, value in members
        if not isinstance(value, (Library, NativeFunction))
    ]
    attributes = [*map(_attribute_info, library.attributes.values()), *constants]
    return pb.StormLibraryInfo(
        name=library.name,
        doc=library.doc,
        functions=[_function_info(one.spec) for _, one in members if isinstance(one, NativeFunction)],
        attributes=sorted(attributes, key=_name_of),
    )


def _type_info(spec: TypeSpec) -> pb.StormTypeInfo:
    return pb.StormTypeInfo(
        name=spec.name,
        doc=spec.doc,
        methods=sorted(map(_function_info, spec.methods), key=_name_of),
        attributes=sorted(map(_attribute_info, spec.attributes), key=_name_of),
        iterable=spec.iterate is not None,
    )


def _function_info(spec: FunctionSpec) -> pb.StormFunctionInfo:
    return pb.StormFunctionInfo(
        name=spec.name,
        doc=spec.doc,
        parameters=map(_parameter_info, spec.parameters),
        rest=spec.rest or "",
        keywords=spec.keywords or "",
        returns=spec.returns,
        generator=spec.is_generator,
        changes_state=spec.changes_state,
    )


def _parameter_info(spec: ParameterSpec) -> pb.StormParameterInfo:
    is_optional = spec.default is not REQUIRED
    default = value_text(spec.default) if is_optional else ""
    return pb.StormParameterInfo(
        name=spec.name, type=spec.type, doc=spec.doc, optional=is_optional, default_text=default
    )


def _attribute_info(spec: AttributeSpec) -> pb.StormAttributeInfo:
    return pb.StormAttributeInfo(
        name=spec.name, doc=spec.doc, type=spec.returns, writable=spec.set is not None
    )


def _command_info(spec: CommandSpec) -> pb.StormCommandInfo:
    return pb.StormCommandInfo(
        name=spec.name,
        doc=spec.doc.strip(),
        arguments=map(_argument_info, spec.arguments),
        changes_state=spec.changes_state,
    )


def _argument_info(spec: ArgumentSpec) -> pb.StormArgumentInfo:
    is_switch = spec.action.startswith("store_")
    return pb.StormArgumentInfo(
        flags=spec.flags,
        doc=spec.help,
        type="" if is_switch else spec.type,
        count="" if spec.count is None else str(spec.count),
        repeatable=spec.action == "append",
        required=spec.is_required if spec.is_option else spec.count not in ("?", "*"),
        default_text="" if is_switch or spec.default is None else value_text(spec.default),
        choices=[str(one) for one in spec.choices],
    )


def value_text(value: Any) -> str:
    """A value that never changes as the language writes it; empty for one that has no such form."""
    if value is UNDEF:
        return "$lib.undef"
    if isinstance(value, (str, int, float, Decimal, list, tuple, dict, bool)) or value is None:
        return '""' if value == "" else torepr(value)
    return ""


_TYPES: Final[tuple[tuple[type, str], ...]] = (
    (bool, "boolean"),
    (str, "str"),
    (int, "int"),
    (dict, "dict"),
    (list, "list"),
    (tuple, "list"),
    (type(None), "null"),
)


def _type_of(value: Any) -> str:
    return next((name for kind, name in _TYPES if isinstance(value, kind)), "any")


def _name_of(info: pb.StormFunctionInfo | pb.StormAttributeInfo) -> str:
    return info.name
