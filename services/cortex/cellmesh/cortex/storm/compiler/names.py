"""Which variables a scope has, and which of them are known without a node.

The scope of a query takes in the bodies of its loops, branches and subqueries, but not those of functions and embedded
queries, which are scopes of their own. A variable counts as known without a node ("safe") if any assignment to it in
the scope is: where the assignment stands makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from cellmesh.common.errors import NoSuchVar
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.places import Place
from cellmesh.cortex.storm.source import Source

NODE_NAMES = frozenset({"node", "path"})
"""Variables that every row has."""

LIBRARY_NAME = "lib"

_OWN_SCOPE = (ast.Function, ast.EmbeddedQuery)
_BY_ROW = (
    ast.Variable,  # a loop sets it row by row
    ast.PropValue,
    ast.TagValue,
    ast.TagPropValue,
    ast.SubqueryValue,
    *_OWN_SCOPE,
)
_FIELDS: dict[type, tuple[str, ...]] = {}
_SKIPPED_FIELDS = frozenset({"span", "body_effects"})


def children(node: ast.Node) -> Iterator[ast.Node]:
    """Yield the nodes directly below one, in order."""
    kind = type(node)
    names = _FIELDS.get(kind)
    if names is None:
        names = tuple(field.name for field in fields(kind) if field.name not in _SKIPPED_FIELDS)
        _FIELDS[kind] = names
    for name in names:
        value = getattr(node, name)
        if isinstance(value, ast.Node):
            yield value
        elif type(value) is tuple:
            yield from _in_tuple(value)


def _in_tuple(items: tuple[Any, ...]) -> Iterator[ast.Node]:
    for item in items:
        if isinstance(item, ast.Node):
            yield item
        elif type(item) is tuple:
            yield from _in_tuple(item)


class Scope:
    """The variables of one scope.

    Args:
        query: The body, or None for none.
        given: Names that have values before it runs: options, captured variables, parameters.
        parent: The scope around a function.
    """

    __slots__ = ("_safe", "parent", "uses")

    def __init__(self, query: ast.Query | None, given: Iterable[str], parent: Scope | None = None) -> None:
        self.parent = parent
        self._safe: dict[str, bool] = dict.fromkeys(given, True)
        self.uses: list[ast.Variable] = []
        if query is not None:
            self._collect(query)

    def has(self, name: str) -> bool:
        """Whether the name is assigned anywhere in this scope or those around it."""
        return name in self._safe or (self.parent is not None and self.parent.has(name))

    def owns(self, name: str) -> bool:
        """Whether the name is assigned in this scope itself."""
        return name in self._safe

    def names(self) -> set[str]:
        """Return every name assigned in this scope or those around it."""
        found = set(self._safe)
        return found | self.parent.names() if self.parent is not None else found

    def is_known(self, name: str) -> bool:
        """Whether a variable has its value without a node; false for names never assigned."""
        found = self._safe.get(name)
        if found is not None:
            return found
        return self.parent is not None and self.parent.is_known(name)

    def is_safe(self, node: ast.Node) -> bool:
        """Whether what stands in the tree below needs no node."""
        kind = type(node)
        if kind is ast.Literal or kind is ast.Constant:
            return True
        if kind is ast.Variable:
            name = node.name  # type: ignore[attr-defined]
            if self.has(name):
                return self.is_known(name)
            return name not in NODE_NAMES
        if kind is ast.PropValue or kind is ast.TagValue or kind is ast.TagPropValue:
            return False
        if kind in _OWN_SCOPE:
            return True
        if kind is ast.SubqueryValue:
            return self._is_safe_subquery(node)  # type: ignore[arg-type]
        return all(self.is_safe(child) for child in children(node))

    def _is_safe_subquery(self, node: ast.SubqueryValue) -> bool:
        """Whether a subquery used as a value needs no node: it begins without one, so that only variables count."""
        inside = Scope(node.query, ())
        return all(
            use.name in NODE_NAMES
            or inside.owns(use.name)
            or not self.has(use.name)
            or self.is_known(use.name)
            for use in inside.uses
        )

    def check(self, source: Source) -> None:
        """Check that every variable used is assigned somewhere.

        Raises:
            NoSuchVar: one is not; with its place.
        """
        for use in self.uses:
            name = use.name
            if name == LIBRARY_NAME or name in NODE_NAMES or self.has(name):
                continue
            near = get_close_matches(name, [known for known in self.names() if known != name], n=1)
            hint = {"hint": f"did you mean ${near[0]}?"} if near else {}
            error = NoSuchVar(f"no variable ${name} is set in this query", name=name, **hint)
            _locate(error, Place(source, use.span))
            raise error

    def _collect(self, node: ast.Node) -> None:
        kind = type(node)
        if kind is ast.Variable:
            self.uses.append(node)  # type: ignore[arg-type]
            return
        if kind is ast.EmbeddedQuery:
            return
        if kind is ast.Function:
            self._collect_function(node)  # type: ignore[arg-type]
            return
        if kind is ast.For:
            self._collect_for(node)  # type: ignore[arg-type]
            return
        if kind is ast.Catch:
            self._set(node.variable, True)  # type: ignore[attr-defined]
        for child in children(node):
            self._collect(child)
        if kind is ast.SetVariable:
            self._set(node.name, self.is_safe(node.value))  # type: ignore[attr-defined]
        elif kind is ast.UnpackVariables:
            safe = self.is_safe(node.value)  # type: ignore[attr-defined]
            for name in node.names:  # type: ignore[attr-defined]
                self._set(name, safe)

    def _collect_function(self, node: ast.Function) -> None:
        for parameter in node.parameters:
            if parameter.default is not None:
                self._collect(parameter.default)
        self._set(node.name, True)

    def _collect_for(self, node: ast.For) -> None:
        self._collect(node.items)
        safe = self.is_safe(node.items)
        for name in node.names:
            self._set(name, safe)
        self._collect(node.body)

    def _set(self, name: str, is_safe: bool) -> None:
        self._safe[name] = self._safe.get(name, False) or is_safe


def _locate(error: NoSuchVar, place: Place) -> None:
    where = place.source.location(place.span.start)
    error.set("at", where.offset)
    error.set("line", where.line)
    error.set("column", where.column)
    error.set("excerpt", place.source.excerpt(place.span))


def is_constant(node: ast.Node) -> bool:
    """Whether what stands in the tree below is the same for every row, whatever the query does."""
    return not isinstance(node, _BY_ROW) and all(map(is_constant, children(node)))
