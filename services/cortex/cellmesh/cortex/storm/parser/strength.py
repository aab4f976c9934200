"""How strongly the operators of expressions bind, for parser and printer alike."""

from __future__ import annotations

from cellmesh.cortex.storm.parser import ast

OR, AND, NOT, COMPARE, ADD, MULTIPLY, NEGATE, POWER, ATOM = range(1, 10)
"""From the weakest to the strongest; ATOM is what has no operator."""

_BINARY = ast.BinaryOperator
_STRENGTHS = {
    _BINARY.OR: OR,
    _BINARY.AND: AND,
    _BINARY.EQUAL: COMPARE,
    _BINARY.NOT_EQUAL: COMPARE,
    _BINARY.LESS: COMPARE,
    _BINARY.LESS_OR_EQUAL: COMPARE,
    _BINARY.GREATER: COMPARE,
    _BINARY.GREATER_OR_EQUAL: COMPARE,
    _BINARY.PREFIX: COMPARE,
    _BINARY.REGEX: COMPARE,
    _BINARY.ADD: ADD,
    _BINARY.SUBTRACT: ADD,
    _BINARY.MULTIPLY: MULTIPLY,
    _BINARY.DIVIDE: MULTIPLY,
    _BINARY.MODULO: MULTIPLY,
    _BINARY.POWER: POWER,
}


def binary_strength(operator: ast.BinaryOperator) -> int:
    """Return how strongly an operator with two operands binds."""
    return _STRENGTHS[operator]


def strength_of(node: ast.Expression) -> int:
    """Return how strongly the operator at the top of an expression binds."""
    if isinstance(node, ast.BinaryOperation):
        return _STRENGTHS[node.operator]
    if isinstance(node, ast.UnaryOperation):
        return NOT if node.operator is ast.UnaryOperator.NOT else NEGATE
    return ATOM
