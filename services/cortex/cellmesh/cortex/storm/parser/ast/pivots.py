"""Pivots and walks along edges."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from cellmesh.cortex.storm.parser.ast.base import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.parser.ast.expressions import Expression
    from cellmesh.cortex.storm.parser.ast.lifts import Comparison
    from cellmesh.cortex.storm.parser.ast.names import NameRef, RelativeProp, TagName
    from cellmesh.cortex.storm.parser.ast.statements import Query


class Direction(Enum):
    """Which way a pivot or light edge goes, seen from the node in the pipeline."""

    OUT = "->"
    IN = "<-"


@dataclass(frozen=True, slots=True)
class ViaProps(Node):
    """Along property values: `->`, or from one property `:asn ->`.

    Attributes:
        source: The property to start from, or None for the node itself and all its properties.
    """

    source: RelativeProp | None


@dataclass(frozen=True, slots=True)
class ViaEdges(Node):
    """Along light edges: `-(refs)>`, `<((a, b))-`, `-($verb)>`, `-(*)>`.

    Attributes:
        verbs: Text or a list of texts; the bare word `*` means every verb.
    """

    verbs: Expression


@dataclass(frozen=True, slots=True)
class ViaAll(Node):
    """Along properties and light edges both: `-->`, `<--`."""


PivotRoute: TypeAlias = ViaProps | ViaEdges | ViaAll


@dataclass(frozen=True, slots=True)
class AnyNode(Node):
    """`*`: whatever is at the other end."""


@dataclass(frozen=True, slots=True)
class NamedTargets(Node):
    """Forms or properties by name: `inet:asn`, `inet:dns:a:fqdn`, `(inet:dns:a, inet:email)`, `inet:dns:*`, `$form`.

    Attributes:
        names: In order. What is not a Name may give a text or a list of texts.
        is_list: Whether written as a list, also with one name or none.
    """

    names: tuple[NameRef, ...]
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class NodeTags(Node):
    """The `syn:tag` nodes of the node's tags: `-> #` (leaf tags), `-> #*` (all), `-> #a.*` (those that match).

    Attributes:
        tag: The tag or glob, or None for leaf tags.
    """

    tag: TagName | None


@dataclass(frozen=True, slots=True)
class RawQuery(Node):
    """The nodes a query gives, run without input for each node: `-> { inet:ipv4=$ip }`."""

    query: Query


PivotTarget: TypeAlias = AnyNode | NamedTargets | NodeTags | RawQuery


@dataclass(frozen=True, slots=True)
class Pivot(Node):
    """Go from each node to others.

    Attributes:
        route: Along what.
        direction: OUT for `->`, IN for `<-`.
        is_join: Whether the node itself is kept, in front of what it leads to: `-+>`, `<+-`, `-(refs)+>`.
        target: Where to.
        comparison: On the value of the target, for light edges only: `-(refs)> inet:fqdn=a.com`; else None.
    """

    route: PivotRoute
    direction: Direction
    is_join: bool
    target: PivotTarget
    comparison: Comparison | None = None
