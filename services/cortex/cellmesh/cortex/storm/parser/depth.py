"""How deep a syntax tree is.

What works on a tree does so by recursion, so its depth is bounded; the measuring itself must not recurse.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from cellmesh.cortex.storm.parser import ast


def _field_names(node: ast.Node) -> tuple[str, ...]:
    return tuple(field.name for field in fields(node) if field.name not in ("span", "body_effects"))


def children(node: ast.Node) -> list[ast.Node]:
    """Return the nodes directly below a node, in the order of its fields."""
    found: list[ast.Node] = []
    for name in _field_names(node):
        _collect(getattr(node, name), found)
    return found


def _collect(value: Any, found: list[ast.Node]) -> None:
    if isinstance(value, ast.Node):
        found.append(value)
    elif isinstance(value, tuple):
        for item in value:
            _collect(item, found)


def tree_depth(root: ast.Node) -> int:
    """Return how many nodes there are on the longest way from the root to a leaf, both counted."""
    depth = 0
    level = [root]
    while level:
        depth += 1
        level = [child for node in level for child in children(node)]
    return depth
