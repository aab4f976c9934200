"""Whether a query only lifts, filters and pivots.

Such a query shows nothing of the order in which its steps take turns: they may read ahead in batches. One edit,
variable, call or command with an effect anywhere makes each row go through the whole pipeline before the next.
"""

from __future__ import annotations

from dataclasses import fields

from cellmesh.cortex.storm.parser import ast

PURE_COMMANDS = frozenset({"limit", "uniq", "count", "spin", "skip"})
"""Commands that neither edit nor print while rows pass."""

_PURE = (
    ast.Query,
    ast.Lift,
    ast.PropTarget,
    ast.TagTarget,
    ast.TagPropTarget,
    ast.Filter,
    ast.PropCondition,
    ast.RelativePropCondition,
    ast.TagCondition,
    ast.TagPropCondition,
    ast.SubqueryCondition,
    ast.NotCondition,
    ast.AndCondition,
    ast.OrCondition,
    ast.Comparison,
    ast.Pivot,
    ast.ViaProps,
    ast.ViaEdges,
    ast.ViaAll,
    ast.AnyNode,
    ast.NamedTargets,
    ast.NodeTags,
    ast.RelativeProp,
    ast.TagName,
    ast.Name,
    ast.Literal,
    ast.Constant,
    ast.TupleLiteral,
    ast.ListLiteral,
    ast.Variable,
)


_FIELDS: dict[type, tuple[str, ...]] = {}
"""Fields of each kind of syntax node that hold others; looking them up costs more than the rest of the rule."""


def is_pure(query: ast.Query) -> bool:
    """Whether steps of the query may read ahead."""
    return all(_is_pure(operation) for operation in query.operations)


def _is_pure(node: object) -> bool:
    if isinstance(node, tuple):
        return all(map(_is_pure, node))
    if not isinstance(node, ast.Node):
        return True
    if isinstance(node, ast.Command):
        return node.name.text in PURE_COMMANDS and _is_pure(node.arguments)
    if not isinstance(node, _PURE):
        return False
    kind = type(node)
    names = _FIELDS.get(kind)
    if names is None:
        names = _FIELDS[kind] = tuple(field.name for field in fields(kind) if field.name != "span")
    return all(map(_is_pure, [getattr(node, name) for name in names]))
