"""`$lib` and the table of types, put together from their specs when the engine is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import NoSuchName, StormRuntimeError
from cellmesh.cortex.storm.runtime.functions import Check, NativeFunction
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, LibrarySpec, TypeSpec

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


NO_CHECKS: Final[Mapping[tuple[str, ...], Check]] = MappingProxyType({})


def near_match(name: Any, known: Iterable[str]) -> dict[str, str]:
    """Return the hint that names what was probably meant, as the field of an error; empty when nothing is near."""
    near = get_close_matches(name, list(known), n=1) if isinstance(name, str) else []
    return {"hint": f"did you mean {near[0]}?"} if near else {}


class Library:
    """A namespace: `$lib`, `$lib.inet`, `$lib.inet.http`.

    Attributes:
        path: Names after `$lib`.
        members: Functions, constants and namespaces inside.
        attributes: What is worked out when it is read.
        called: What a call of the namespace itself does; None where it cannot be called.
        doc: What it is for.
    """

    __slots__ = ("attributes", "called", "doc", "members", "path")

    def __init__(self, path: tuple[str, ...]) -> None:
        self.path = path
        self.doc = ""
        self.called: NativeFunction | None = None
        self.members: dict[str, Any] = {}
        self.attributes: dict[str, AttributeSpec] = {}

    @property
    def name(self) -> str:
        """`$lib` and the path."""
        return ".".join(("$lib", *self.path))

    def get(self, context: RunContext, name: Any) -> Any:
        """Return a member.

        Raises:
            NoSuchName: there is none of that name.
        """
        try:
            return self.members[name]
        except (KeyError, TypeError):
            pass
        spec = self.attributes.get(name) if isinstance(name, str) else None
        if spec is None:
            known = (*self.members, *self.attributes)
            raise NoSuchName(f"{self.name} has no member {name}", name=name, **near_match(name, known))
        return spec.get(context, None)

    def set(self, context: RunContext, name: Any, value: Any) -> None:
        """Set a member that allows it.

        Raises:
            NoSuchName: `$lib` itself has none of that name that could be set.
            StormRuntimeError: a library under it has none.
        """
        spec = self.attributes.get(name) if isinstance(name, str) else None
        if spec is None or spec.set is None:
            error = StormRuntimeError if self.path else NoSuchName
            raise error(f"{self.name}.{name} cannot be set", name=name)
        spec.set(context, None, value)

    def storm_call(self, context: RunContext, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Call the namespace itself; raises StormRuntimeError where that has no meaning."""
        if self.called is None:
            raise StormRuntimeError(f"{self.name} cannot be called", name=self.name)
        return self.called.storm_call(context, arguments, keywords)

    def storm_text(self) -> str:
        """Return a text for messages."""
        return f"Library {self.name}"


def build_library(
    specs: Iterable[LibrarySpec], checks: Mapping[tuple[str, ...], Check] = NO_CHECKS
) -> Library:
    """Return `$lib` with all namespaces in it.

    Args:
        specs: What there is.
        checks: Who may call it, by the path of a function; missing ones are for everybody.

    Raises:
        ValueError: two specs define the same name.
    """
    root = Library(())
    for spec in sorted(specs, key=lambda one: len(one.path)):
        library = root
        for depth, name in enumerate(spec.path):
            inner = library.members.setdefault(name, Library(spec.path[: depth + 1]))
            if not isinstance(inner, Library):
                raise ValueError(f"{library.name}.{name} is defined twice")
            library = inner
        library.doc = library.doc or spec.doc
        if spec.call is not None:
            library.called = NativeFunction(spec.call, checks.get(spec.path))
        for function in spec.functions:
            _add(library, function.name, NativeFunction(function, checks.get((*spec.path, function.name))))
        for name, value in spec.constants.items():
            _add(library, name, value)
        for attribute in spec.attributes:
            if attribute.name in library.members or attribute.name in library.attributes:
                raise ValueError(f"{library.name}.{attribute.name} is defined twice")
            library.attributes[attribute.name] = attribute
    return root


def _add(library: Library, name: str, value: Any) -> None:
    if name in library.members:
        raise ValueError(f"{library.name}.{name} is defined twice")
    library.members[name] = value


class TypeEntry:
    """A TypeSpec with its members by name."""

    __slots__ = ("attributes", "methods", "spec")

    def __init__(self, spec: TypeSpec, checks: Mapping[tuple[str, ...], Check] = NO_CHECKS) -> None:
        self.spec = spec
        self.methods = {
            method.name: NativeFunction(method, checks.get((spec.name, method.name)))
            for method in spec.methods
        }
        self.attributes = {attribute.name: attribute for attribute in spec.attributes}


class TypeTable:
    """How values behave, by their Python class."""

    __slots__ = ("_declared", "_found")

    def __init__(
        self, specs: Iterable[TypeSpec], checks: Mapping[tuple[str, ...], Check] = NO_CHECKS
    ) -> None:
        self._declared: dict[type, TypeEntry] = {}
        for spec in specs:
            if spec.python_type in self._declared:
                raise ValueError(f"the type {spec.python_type.__name__} is described twice")
            self._declared[spec.python_type] = TypeEntry(spec, checks)
        self._found: dict[type, TypeEntry | None] = {}

    def of(self, kind: type) -> TypeEntry | None:
        """Return the entry of a class or of the nearest of its bases, or None."""
        try:
            return self._found[kind]
        except KeyError:
            entry = next((self._declared[base] for base in kind.__mro__ if base in self._declared), None)
            self._found[kind] = entry
            return entry

    def all(self) -> list[TypeSpec]:
        """Return every TypeSpec, in the order given."""
        return [entry.spec for entry in self._declared.values()]
