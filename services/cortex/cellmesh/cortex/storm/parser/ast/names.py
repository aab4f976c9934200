"""Names: written out, in variables, of properties and of tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cellmesh.cortex.storm.parser.ast.base import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.parser.ast.expressions import Attribute, Call


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A name written out: of a form, property, universal property, tag property or command.

    Attributes:
        text: The name without any leading `:`; universal properties keep their dot (`.seen`,
            `inet:ipv4.seen`). May hold `*` where a form glob is allowed (`inet:*`).
    """

    text: str

    @property
    def is_glob(self) -> bool:
        """Whether the name stands for all names that match it."""
        return "*" in self.text


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """The value of a variable: `$x`, `$"my var"`.

    Attributes:
        name: The name without `$` and quotes.
    """

    name: str


NameRef: TypeAlias = "Name | Variable | Attribute | Call"
"""A name written out, or what gives it as text when the query runs: `$x`, in some places `$x.y` and `$f()`."""


@dataclass(frozen=True, slots=True)
class RelativeProp(Node):
    """A property of the current node: `:asn`, `:$name`, `.seen`, `.$name`, or a path `:org::name`.

    Attributes:
        steps: Property names in order; more than one for `::`, where each but the last refers to a node whose
            property the next one is. A universal property is a Name with its dot (`.seen`).
        is_universal: Whether it is written with a leading dot, which says how to read a Variable step.
    """

    steps: tuple[NameRef, ...]
    is_universal: bool = False


@dataclass(frozen=True, slots=True)
class TagName(Node):
    """A tag, without its `#`: `a.b`, `a.$x.b`, `$tag`, and globs `a.*`, `a.**.b` where they are allowed.

    Attributes:
        segments: The parts between dots. What is not a Name gives text when the query runs, of one or more
            segments. An Attribute or Call (`#$x.name`, `#$f()`) is always the only one; as the only one, any
            may also give a list of tags.
    """

    segments: tuple[NameRef, ...]

    @property
    def is_glob(self) -> bool:
        """Whether a segment written out holds a `*`."""
        return any(isinstance(segment, Name) and "*" in segment.text for segment in self.segments)
