"""Filters and their conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cellmesh.cortex.storm.parser.ast.base import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.parser.ast.expressions import Expression
    from cellmesh.cortex.storm.parser.ast.lifts import Comparison
    from cellmesh.cortex.storm.parser.ast.names import NameRef, RelativeProp, TagName
    from cellmesh.cortex.storm.parser.ast.statements import Query


@dataclass(frozen=True, slots=True)
class PropCondition(Node):
    """The node is of a form, or has a property given by its full name: `+inet:ipv4`, `+inet:ipv4:asn=5`, `+inet:*`."""

    name: NameRef
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class RelativePropCondition(Node):
    """The node has a property by that short name: `+:asn`, `+:asn>5`, `+.seen@=2020`, `+:org::name^=a`."""

    prop: RelativeProp
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class TagCondition(Node):
    """The node has a tag, `+#a.b`, `+#a.*`, and its interval fulfils the comparison, `+#a.b@=2020`."""

    tag: TagName
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class TagPropCondition(Node):
    """The node has a tag property: `+#a.b:risk`, `+#a.b:risk>5`."""

    tag: TagName
    prop: NameRef
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class SubqueryCondition(Node):
    """A query gives nodes when started from the node: `+{ -> inet:asn }`, `+{ -> inet:asn }>=2`.

    Attributes:
        query: Run with the node as its only input.
        comparison: On how many nodes it gives; None means at least one.
    """

    query: Query
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class ExpressionCondition(Node):
    """An expression is true for the node: `+$(:asn > 100)`, `+$flag`, `+$check(:asn)`."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class NotCondition(Node):
    """`not` and a condition."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class AndCondition(Node):
    """`left and right`; the right side is not looked at if the left is false."""

    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class OrCondition(Node):
    """`left or right`; the right side is not looked at if the left is true."""

    left: Condition
    right: Condition


Condition: TypeAlias = (
    PropCondition
    | RelativePropCondition
    | TagCondition
    | TagPropCondition
    | SubqueryCondition
    | ExpressionCondition
    | NotCondition
    | AndCondition
    | OrCondition
)


@dataclass(frozen=True, slots=True)
class Filter(Node):
    """Keep (`+`) or drop (`-`) nodes for which a condition holds."""

    is_keep: bool
    condition: Condition
