"""Lifts, and the comparisons that they and filters have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cellmesh.cortex.storm.parser.ast.base import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.parser.ast.base import ParseMode
    from cellmesh.cortex.storm.parser.ast.expressions import Expression, Literal
    from cellmesh.cortex.storm.parser.ast.names import Name, NameRef, TagName


@dataclass(frozen=True, slots=True)
class Comparison(Node):
    """An operator and a value: `=5`, `^=foo`, `*range=(1, 2)`, `@=2020`, `*[=foo]`.

    Attributes:
        operator: As written but without the star of a named one: `=`, `!=`, `?=`, `<`, `<=`, `>`, `>=`, `^=`,
            `~=`, `@=`, `in=`, `range=`, `near=` and so on. Which ones a type has, the model knows.
        value: The right side.
        is_any_element: Whether it is written `*[ ]` and so holds if one element of an array fulfils it.
    """

    operator: str
    value: Expression
    is_any_element: bool = False


@dataclass(frozen=True, slots=True)
class PropTarget(Node):
    """Lift by form or property: `inet:ipv4`, `inet:ipv4:asn`, `.seen`, `inet:*`, `*$name`.

    Attributes:
        name: Full name, a glob over forms, or the variable that holds the name.
        path: Further property names for `ps:contact:org::name=x`, where the comparison is on the last; else
            empty. With a path there is always a comparison.
    """

    name: NameRef
    path: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class TagTarget(Node):
    """Lift by tag: `#a.b`, `inet:ipv4#a.b`, `inet:*#a`, `*$form#a`.

    Attributes:
        form: The form or glob in front, or None for nodes of any form.
        tag: The tag.
    """

    form: NameRef | None
    tag: TagName


@dataclass(frozen=True, slots=True)
class TagPropTarget(Node):
    """Lift by tag property: `#a.b:risk`, `inet:ipv4#a.b:risk`."""

    form: NameRef | None
    tag: TagName
    prop: NameRef


@dataclass(frozen=True, slots=True)
class MetaTagTarget(Node):
    """Lift what carries a tag that itself carries this tag: `##meta.tag`."""

    tag: TagName


LiftTarget: TypeAlias = PropTarget | TagTarget | TagPropTarget | MetaTagTarget


@dataclass(frozen=True, slots=True)
class Lift(Node):
    """Add nodes from the view to the pipeline.

    Attributes:
        target: By what index to look.
        comparison: What the value there must fulfil, or None for all that have one. A TagTarget compares the
            tag's interval (`#a.b@=2020`).
        is_reverse: Whether in falling order: `reverse(inet:ipv4)`.
    """

    target: LiftTarget
    comparison: Comparison | None
    is_reverse: bool = False


@dataclass(frozen=True, slots=True)
class Lookup(Node):
    """The words at the head of a text in a mode other than storm.

    Attributes:
        mode: LOOKUP, AUTOADD or SEARCH.
        words: Words in order, without their quotes.
    """

    mode: ParseMode
    words: tuple[Literal, ...]
