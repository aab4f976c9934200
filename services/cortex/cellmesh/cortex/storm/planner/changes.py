"""Whether a query may change anything, told from its text alone: a follower sends such queries to its leader.

The answer errs to the safe side. What is declared to change something, or not known, counts as a change wherever it stands
in the text, whether it would run or not. A query that is said to change nothing does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Final

from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.functions import NativeFunction
from cellmesh.cortex.storm.runtime.interface import CommandSpec, TypeSpec
from cellmesh.cortex.storm.runtime.libraries import Library

LIBRARY_NAME: Final = "lib"

ITEMS_CHANGED: Final = frozenset({"props", "vars", "profile", "secrets", "configs"})
"""Attributes whose items can be set with an effect outside of the query: `$node.props.asn=5`."""

_EDITS: Final = (
    ast.EditBlock,
    ast.EditGroup,
    ast.AddNode,
    ast.SetProp,
    ast.DeleteProp,
    ast.AddTag,
    ast.DeleteTag,
    ast.SetTagProp,
    ast.DeleteTagProp,
    ast.AddEdge,
    ast.DeleteEdge,
)

_FIELDS: dict[type, tuple[str, ...]] = {}


class _Members:
    """What of some types changes anything.

    Attributes:
        settable: Attributes that can be set. Whose attribute `$user.email=...` is, shows when the query runs.
        changing: Methods.
    """

    def __init__(self, types: Iterable[TypeSpec]) -> None:
        types = list(types)
        self.settable = frozenset(
            one.name for spec in types for one in spec.attributes if one.set is not None
        )
        self.changing = frozenset(
            method.name
            for spec in types
            for method in spec.methods
            if method.changes_state or method.may_change
        )


class ChangeRules:
    """Tells of queries whether they may change anything, by what commands, functions and methods are declared to do.

    Args:
        commands: By name.
        library: `$lib`.
        types: How values behave.
    """

    def __init__(
        self, commands: Mapping[str, CommandSpec], library: Library, types: Iterable[TypeSpec]
    ) -> None:
        self._commands = commands
        self._library = library
        types = list(types)
        self._known = frozenset(method.name for spec in types for method in spec.methods)
        self._types = types
        self._libraries = {spec.library for spec in types if spec.library}
        # Few are ever asked for: no library, or one.
        self._by_libraries: dict[frozenset[str], _Members] = {}

    def may_change(self, query: ast.Query) -> bool:
        """Whether the query, or one in braces inside, may change anything."""
        nodes = list(_all_nodes(query))
        functions = {node.name for node in nodes if isinstance(node, ast.Function)}
        assigned = set(_assigned(nodes))
        if LIBRARY_NAME in functions | assigned:
            return True
        members = self._members(nodes)
        items = [node for node in nodes if isinstance(node, ast.SetItem)]
        if items and any(map(_may_hold_items, nodes)):
            return True
        if any(_key(item) in members.settable for item in items):
            return True
        callable_names = functions - assigned
        # The parts of a chain such as $lib.queue.list are judged with the chain.
        inner = {id(node.base) for node in nodes if isinstance(node, ast.Attribute)}
        called = {id(node.function) for node in nodes if isinstance(node, ast.Call)}
        return any(self._changes(node, members, callable_names, inner, called) for node in nodes)

    def _members(self, nodes: Iterable[ast.Node]) -> _Members:
        """What the types change whose values a query may have: those of a library only where it is named."""
        keys = {_key(node) for node in nodes if isinstance(node, ast.Attribute)}
        named = frozenset(name for name in self._libraries if name in keys)
        found = self._by_libraries.get(named)
        if found is None:
            given = [spec for spec in self._types if not spec.library or spec.library in named]
            found = self._by_libraries[named] = _Members(given)
        return found

    def _changes(
        self, node: ast.Node, members: _Members, functions: set[str], inner: set[int], called: set[int]
    ) -> bool:
        match node:
            case ast.Lookup(mode=ast.ParseMode.AUTOADD):
                return True
            case ast.Command():
                return self._command_changes(node)
            case ast.Attribute() if id(node) not in inner:
                return self._attribute_changes(node, members, is_called=id(node) in called)
            case ast.Variable(name=name) if name == LIBRARY_NAME and id(node) not in inner:
                # The library as a value may go anywhere.
                return True
            case ast.Call(function=ast.Variable(name=name)):
                return name not in functions
            case ast.Call(function=function):
                return not isinstance(function, ast.Attribute)
        return isinstance(node, _EDITS)

    def _command_changes(self, node: ast.Command) -> bool:
        spec = self._commands.get(node.name.text)
        if spec is None or spec.changes_state or spec.may_change:
            return True
        wanted = [argument for argument in spec.arguments if argument.type == "query" or argument.runs_query]
        if not wanted:
            return False
        others = [argument for argument in node.arguments if not isinstance(argument, ast.EmbeddedQuery)]
        if any(argument.count in ("*", "+") for argument in wanted):
            # Any of them might be a query in text or in a variable.
            return not all(map(_is_no_query, others))
        return len(node.arguments) - len(others) < len(wanted)

    def _attribute_changes(self, node: ast.Attribute, members: _Members, *, is_called: bool) -> bool:
        """Judge a whole chain of attributes: `$lib.inet.http`, `$node.props.asn`."""
        keys: list[str | None] = []
        base: object = node
        while isinstance(base, ast.Attribute):
            keys.append(_key(base))
            base = base.base
        keys.reverse()
        if isinstance(base, ast.Variable) and base.name == LIBRARY_NAME:
            found: object = self._library
            while keys and isinstance(found, Library):
                key = keys.pop(0)
                if key is None:
                    return True
                if key in found.attributes:
                    found = None
                elif key in found.members:
                    found = found.members[key]
                else:
                    return True
            if isinstance(found, Library):
                return True
            if isinstance(found, NativeFunction):
                return found.spec.changes_state or found.spec.may_change or bool(keys)
        if any(key in members.changing for key in keys if key is not None):
            return True
        return is_called and (not keys or keys[-1] is None or keys[-1] not in self._known)


def _all_nodes(root: ast.Node) -> Iterator[ast.Node]:
    waiting: list[object] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting.extend(node)
        elif isinstance(node, ast.Node):
            yield node
            kind = type(node)
            names = _FIELDS.get(kind)
            if names is None:
                names = _FIELDS[kind] = tuple(field.name for field in fields(kind) if field.name != "span")
            waiting.extend(getattr(node, name) for name in names)


def _assigned(nodes: Iterable[ast.Node]) -> Iterator[str]:
    """The names that a query gives a value, but for its functions."""
    for node in nodes:
        match node:
            case ast.SetVariable(name=name) | ast.Parameter(name=name):
                yield name
            case ast.UnpackVariables(names=names) | ast.For(names=names):
                yield from names
            case ast.Catch(variable=name):
                yield name


def _may_hold_items(node: ast.Node) -> bool:
    if not isinstance(node, ast.Attribute):
        return False
    if isinstance(node.base, ast.Variable) and node.base.name == "path":
        return False  # the variables of a row
    key = _key(node)
    return key is None or key in ITEMS_CHANGED


def _key(node: ast.Attribute | ast.SetItem) -> str | None:
    """The name after the dot, None when it is worked out."""
    match node.key:
        case ast.Literal(value=value):
            return value
    return None


def _is_no_query(argument: ast.Node) -> bool:
    match argument:
        case ast.Literal(value=value, is_bare=True):
            return value.startswith("-")
    return isinstance(argument, ast.Constant)


__all__ = ["ChangeRules"]
