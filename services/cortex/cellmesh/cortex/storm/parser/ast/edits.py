"""Edit blocks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from cellmesh.cortex.storm.parser.ast.base import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.parser.ast.expressions import Expression
    from cellmesh.cortex.storm.parser.ast.names import NameRef, RelativeProp, TagName
    from cellmesh.cortex.storm.parser.ast.pivots import Direction


class SetOperator(Enum):
    """What becomes of a property's value. The try forms (`?=`, `?+=`) are a flag beside it."""

    ASSIGN = "="
    ADD = "+="
    REMOVE = "-="
    ADD_ALL = "++="
    REMOVE_ALL = "--="


@dataclass(frozen=True, slots=True)
class AddNode(Node):
    """Make a node, or take it as it is: `inet:ipv4=1.2.3.4`, `ou:org=*`, `ou:org=({"name": "x"})`, `*$form=$value`.

    Attributes:
        form: The form.
        value: A TupleLiteral may stand for several values or for one compound value; a DictLiteral finds or
            makes a guid node by properties. Which, the form's type knows.
        is_try: Whether a value that doesn't fit is skipped: `?=`.
    """

    form: NameRef
    value: Expression
    is_try: bool


@dataclass(frozen=True, slots=True)
class SetProp(Node):
    """Set a property: `:asn=5`, `:asn?=x`, `:names+=a`, `:names?++=(a, b)`, `:asn*unset=5`, `.seen=2020`.

    Attributes:
        prop: One step, never a path.
        operator: What to do with the value.
        value: The value.
        is_try: Whether a value that doesn't fit is skipped.
        when: For `*name=`: a Name (`always`, `unset` or `never`) or what gives it; None for always.
    """

    prop: RelativeProp
    operator: SetOperator
    value: Expression
    is_try: bool
    when: NameRef | None = None


@dataclass(frozen=True, slots=True)
class DeleteProp(Node):
    """`-:asn`, `-.seen`."""

    prop: RelativeProp


@dataclass(frozen=True, slots=True)
class AddTag(Node):
    """`+#a.b`, `+#a.b=(2019, 2020)`, `+?#$tag`, `+#a?=2020`.

    Attributes:
        tag: The tag; as the only segment a Variable may hold a list of tags.
        value: The interval, or None.
        is_try_tag: Whether a tag name that doesn't fit is skipped: `+?#`.
        is_try_value: Whether an interval that doesn't fit is skipped: `?=`.
    """

    tag: TagName
    value: Expression | None
    is_try_tag: bool
    is_try_value: bool


@dataclass(frozen=True, slots=True)
class DeleteTag(Node):
    """`-#a.b`."""

    tag: TagName


@dataclass(frozen=True, slots=True)
class SetTagProp(Node):
    """`+#a.b:risk=10`, `+#a.b:risk?=x`."""

    tag: TagName
    prop: NameRef
    operator: SetOperator
    value: Expression
    is_try: bool


@dataclass(frozen=True, slots=True)
class DeleteTagProp(Node):
    """`-#a.b:risk`."""

    tag: TagName
    prop: NameRef


@dataclass(frozen=True, slots=True)
class AddEdge(Node):
    """`+(refs)> { inet:fqdn=a.com }` (OUT), `<(refs)+ { media:news=$n }` (IN).

    Attributes:
        verb: The verb.
        direction: OUT if the node in the pipeline is n1.
        target: SubqueryValue for a query in braces, else what gives a node.
    """

    verb: Expression
    direction: Direction
    target: Expression


@dataclass(frozen=True, slots=True)
class DeleteEdge(Node):
    """`-(refs)> { inet:fqdn=a.com }` (OUT), `<(refs)- { media:news=$n }` (IN). Fields as in AddEdge."""

    verb: Expression
    direction: Direction
    target: Expression


@dataclass(frozen=True, slots=True)
class EditGroup(Node):
    """Edits of one new node apart from the nodes around: `( inet:asn=5 :name=foo +#a )`.

    Attributes:
        node: What makes the node.
        edits: What is done inside the parentheses, further nodes and groups included.
    """

    node: AddNode
    edits: tuple[Edit, ...]


Edit: TypeAlias = (
    AddNode
    | SetProp
    | DeleteProp
    | AddTag
    | DeleteTag
    | SetTagProp
    | DeleteTagProp
    | AddEdge
    | DeleteEdge
    | EditGroup
)


@dataclass(frozen=True, slots=True)
class EditBlock(Node):
    """`[ inet:ipv4=1.2.3.4 :asn=5 +#a ]`: edits in order, each to every node in the pipeline so far."""

    edits: tuple[Edit, ...]
