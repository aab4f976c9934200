"""What the language has, as the Cortex declares it: commands and their flags, `$lib`, types and their members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cellmesh.api.cortex.v1 import storm_reference_pb2, storm_service_pb2_grpc
from cellmesh.client import CellClient

ROOT: Final = "$lib"
HELP_DOC: Final = "Tell about the command."

_SAME_TYPES: Final = {"bool": "boolean"}
"""Types that declarations name otherwise than `$lib.vars.type()` does."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a `$lib` namespace or of a type.

    Attributes:
        name: Without that of what it is in.
        signature: Its parameters in brackets; empty for what is no function.
        doc: What it does or is.
        is_library: Whether it is a namespace itself.
        type: The name of the type of what it is or returns; words, or nothing, where that is not always the same.
    """

    name: str
    signature: str
    doc: str
    is_library: bool = False
    type: str = ""


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of a command: `--size`, what its value is (empty for none), and what it does."""

    name: str
    value: str
    doc: str


@dataclass(frozen=True, slots=True)
class Declarations:
    """What the language has.

    Attributes:
        commands: What commands do, by name.
        flags: The flags of each.
        libraries: Members of namespaces, by `$lib.x`.
        types: Members of types, by name.
    """

    commands: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, Sequence[Flag]] = field(default_factory=dict)
    libraries: Mapping[str, Sequence[Member]] = field(default_factory=dict)
    types: Mapping[str, Sequence[Member]] = field(default_factory=dict)


def fetch_declarations(client: CellClient, timeout_s: float) -> Declarations:
    """Ask a Cortex. Raises CellError."""
    stub = client.stub(storm_service_pb2_grpc.StormServiceStub, read_only=True)
    found = storm_reference_pb2.GetStormReferenceResponse()
    request = storm_reference_pb2.GetStormReferenceRequest()
    for part in stub.GetStormReference(request, timeout=timeout_s):
        found.MergeFrom(part)
    return declarations_of(found)


def declarations_of(found: storm_reference_pb2.GetStormReferenceResponse) -> Declarations:
    """Read what a Cortex answers."""
    libraries = {one.name: _members(one.functions, one.attributes) for one in found.libraries}
    for one in found.libraries:
        path, _, name = one.name.rpartition(".")
        if path in libraries:
            libraries[path].append(Member(name, "", one.doc or "a library", is_library=True))
    return Declarations(
        commands={one.name: one.doc.partition("\n")[0] for one in found.commands},
        flags={one.name: _flags(one.arguments) for one in found.commands},
        libraries={name: sorted(members, key=lambda one: one.name) for name, members in libraries.items()},
        types={one.name: _members(one.methods, one.attributes) for one in found.types},
    )


def _members(
    functions: Iterable[storm_reference_pb2.StormFunctionInfo],
    attributes: Iterable[storm_reference_pb2.StormAttributeInfo],
) -> list[Member]:
    made = [
        Member(one.name, _signature(one), one.doc, type="generator" if one.generator else _type(one.returns))
        for one in functions
    ]
    made += [Member(one.name, "", one.doc or one.constant_text, type=_type(one.type)) for one in attributes]
    return sorted(made, key=lambda one: one.name)


def _signature(one: storm_reference_pb2.StormFunctionInfo) -> str:
    parts = [f"{it.name}={it.default_text or '…'}" if it.optional else it.name for it in one.parameters]
    parts += [f"*{one.rest}"] if one.rest else []
    parts += [f"**{one.keywords}"] if one.keywords else []
    return f"({', '.join(parts)})"


def _type(text: str) -> str:
    """`list of str` is a list."""
    name = text.partition(" of ")[0]
    return _SAME_TYPES.get(name, name)


def _flags(arguments: Iterable[storm_reference_pb2.StormArgumentInfo]) -> list[Flag]:
    found = [Flag("--help", "", HELP_DOC)]
    for one in arguments:
        found += [Flag(name, one.type, one.doc) for name in one.flags if name.startswith("-")]
    return found
