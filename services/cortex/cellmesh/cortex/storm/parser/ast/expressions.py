"""Values and expressions."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from cellmesh.cortex.storm.parser.ast.base import Node
from cellmesh.cortex.storm.parser.ast.names import Variable

if TYPE_CHECKING:
    from cellmesh.cortex.storm.parser.ast.names import NameRef, RelativeProp, TagName
    from cellmesh.cortex.storm.parser.ast.statements import Query


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """Text: a bare word, or a quoted string with its escapes undone.

    Attributes:
        value: The text.
        is_bare: Whether it stood without quotes. Commands take only bare words for options.
    """

    value: str
    is_bare: bool = field(default=False)


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """A number, truth value or null in an expression: `(10)`, `(0x1f)`, `(1.50)`, `(true)`, `(null)`.

    Attributes:
        value: int, Decimal (exact, keeps trailing zeros), bool or None.
    """

    value: int | Decimal | bool | None


@dataclass(frozen=True, slots=True)
class TupleLiteral(Node):
    """An unchangeable list of values, `(a, 1.2.3.4, $x)`: its bare words are text."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class ListLiteral(Node):
    """A new list, `([1, "two", $x])`: its items are expressions."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class DictLiteral(Node):
    """A new dictionary, `({"a": 1, $k: $v})`.

    Attributes:
        items: Key and value in order as written; a later equal key wins.
    """

    items: tuple[tuple[Expression, Expression], ...]


@dataclass(frozen=True, slots=True)
class FormatString(Node):
    """Text with values in it, in backticks: `` `{$a} and {$b + 1}` ``.

    Attributes:
        parts: In order: Literal (text between) and other expressions, whose values are turned to text.
    """

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    """A member of a value: `$x.name`, `$x.$key`, `$x.2`, `$x."a b"`, `$x.(1 + 1)`.

    Attributes:
        base: The value.
        key: A Literal for a name written out (also `$x.2`), else what computes the key.
    """

    base: Expression
    key: Expression


@dataclass(frozen=True, slots=True)
class Keyword(Node):
    """A named argument `name=value` of a call."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A call: `$lib.print("x")`, `$f(1, y=2)`, `("a").upper()`.

    Attributes:
        function: What is called, often an Attribute.
        arguments: Positional ones in order.
        keywords: Named ones in order; names differ, and all come after the positional ones.
    """

    function: Expression
    arguments: tuple[Expression, ...]
    keywords: tuple[Keyword, ...]


class UnaryOperator(Enum):
    """Operators with one operand."""

    NEGATE = "-"
    NOT = "not"


class BinaryOperator(Enum):
    """Operators with two operands, all grouping from the left."""

    OR = "or"
    AND = "and"
    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    PREFIX = "^="
    REGEX = "~="
    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"
    MODULO = "%"
    POWER = "**"


@dataclass(frozen=True, slots=True)
class UnaryOperation(Node):
    """`(-$x)` or `(not $x)`."""

    operator: UnaryOperator
    operand: Expression


@dataclass(frozen=True, slots=True)
class BinaryOperation(Node):
    """`($x + 1)`, `($x < 5 and $y)`; comparisons by other operators than BinaryOperator's do not occur."""

    operator: BinaryOperator
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class PropValue(Node):
    """The value of a property of the current node: `$x=:asn`, `(:asn + 1)`, `.seen`, `:org::name`."""

    prop: RelativeProp


@dataclass(frozen=True, slots=True)
class TagValue(Node):
    """The interval of a tag on the current node: `$x=#a.b`, `$(#a.b)`. Never a glob."""

    tag: TagName


@dataclass(frozen=True, slots=True)
class TagPropValue(Node):
    """The value of a tag property of the current node: `$x=#a.b:risk`."""

    tag: TagName
    prop: NameRef


@dataclass(frozen=True, slots=True)
class SubqueryValue(Node):
    """What a query in braces gives when run for its value: `$x={ inet:asn=5 }`, `:asn={ inet:asn=44 }`."""

    query: Query


@dataclass(frozen=True, slots=True)
class EmbeddedQuery(Node):
    """A query as a value, run later: `${ inet:ipv4 }`.

    Attributes:
        query: The parsed query.
        text: Its source between the braces, without surrounding blanks.
    """

    query: Query
    text: str = field(compare=False)


Expression: TypeAlias = (
    Literal
    | Constant
    | TupleLiteral
    | ListLiteral
    | DictLiteral
    | FormatString
    | Variable
    | Attribute
    | Call
    | UnaryOperation
    | BinaryOperation
    | PropValue
    | TagValue
    | TagPropValue
    | SubqueryValue
    | EmbeddedQuery
)
