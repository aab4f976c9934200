"""Variables, control flow and commands, and the query that holds all operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from cellmesh.cortex.storm.parser.ast.base import Node
from cellmesh.cortex.storm.parser.ast.edits import EditBlock
from cellmesh.cortex.storm.parser.ast.filters import Filter
from cellmesh.cortex.storm.parser.ast.lifts import Lift, Lookup
from cellmesh.cortex.storm.parser.ast.pivots import Pivot

if TYPE_CHECKING:
    from cellmesh.cortex.storm.parser.ast.expressions import Expression, Literal
    from cellmesh.cortex.storm.parser.ast.names import Name


@dataclass(frozen=True, slots=True)
class SetVariable(Node):
    """`$x=5`."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class SetItem(Node):
    """`$x.y=5`, `$x.y.$z=5`: set the member `key` of `base`."""

    base: Expression
    key: Expression
    value: Expression


@dataclass(frozen=True, slots=True)
class UnpackVariables(Node):
    """`($a, $b)=$pair`: as many values as names, or an error."""

    names: tuple[str, ...]
    value: Expression


@dataclass(frozen=True, slots=True)
class Evaluate(Node):
    """An expression for its effect: `$lib.print(x)`, `$f()`."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class Subquery(Node):
    """`{ -> inet:asn [ +#a ] }`: run for each node, which itself goes on unchanged."""

    query: Query


@dataclass(frozen=True, slots=True)
class Yield(Node):
    """`yield $node`, `yield { inet:ipv4 }`, `yield $f()`: add the nodes a value gives.

    Attributes:
        value: SubqueryValue for braces; else a node, iden, list, generator, set or query.
    """

    value: Expression


@dataclass(frozen=True, slots=True)
class For(Node):
    """`for $x in $items { }`, `for ($k, $v) in $pairs { }`.

    Attributes:
        names: One name, or several to unpack each item into.
        is_unpacking: Whether the names stood in parentheses.
        items: What to go through.
        body: Run once an item.
    """

    names: tuple[str, ...]
    is_unpacking: bool
    items: Expression
    body: Query


@dataclass(frozen=True, slots=True)
class While(Node):
    """`while ($x < 5) { }`."""

    condition: Expression
    body: Query


@dataclass(frozen=True, slots=True)
class Branch(Node):
    """One condition of an `if` and what runs if it is the first to hold."""

    condition: Expression
    body: Query


@dataclass(frozen=True, slots=True)
class If(Node):
    """`if $x { } elif $y { } else { }`.

    Attributes:
        branches: The `if` and each `elif` in order.
        otherwise: The `else`, or None.
    """

    branches: tuple[Branch, ...]
    otherwise: Query | None


@dataclass(frozen=True, slots=True)
class Case(Node):
    """`foo: { }`, `"a b": { }`, `(a, b): { }`, `*: { }`.

    Attributes:
        values: Texts to match, or empty for the default `*`.
        body: Run if one matches.
    """

    values: tuple[Literal, ...]
    body: Query


@dataclass(frozen=True, slots=True)
class Switch(Node):
    """`switch $x { a: { } (b, c): { } *: { } }`."""

    subject: Expression
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Catch(Node):
    """`catch Foo as err { }`, `catch (A, B) as err { }`, `catch * as err { }`, `catch $names as err { }`.

    Attributes:
        names: What gives the error names to catch (text or list), or None for every error.
        variable: The variable that holds the error in the body.
        body: Run with the node at hand when the error arose.
    """

    names: Expression | None
    variable: str
    body: Query


@dataclass(frozen=True, slots=True)
class Try(Node):
    """`try { } catch Foo as err { }`, with any number of catches, tried in order."""

    body: Query
    catches: tuple[Catch, ...]


@dataclass(frozen=True, slots=True)
class Init(Node):
    """`init { }`: run once, before the first node."""

    body: Query


@dataclass(frozen=True, slots=True)
class Empty(Node):
    """`empty { }`: run once if no node came."""

    body: Query


@dataclass(frozen=True, slots=True)
class Fini(Node):
    """`fini { }`: run once, after the last node."""

    body: Query


@dataclass(frozen=True, slots=True)
class Break(Node):
    """`break`: leave the innermost loop."""


@dataclass(frozen=True, slots=True)
class Continue(Node):
    """`continue`: go to the next turn of the innermost loop."""


@dataclass(frozen=True, slots=True)
class Stop(Node):
    """`stop`: end the generator function."""


@dataclass(frozen=True, slots=True)
class Return(Node):
    """`return($x)`, or `return()` with value None."""

    value: Expression | None


@dataclass(frozen=True, slots=True)
class Emit(Node):
    """`emit $x`: give one value from a generator function."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """A parameter of a function: `x`, `y=10`.

    Attributes:
        name: The variable it fills.
        default: Worked out when the function is defined, or None if the argument is required.
    """

    name: str
    default: Expression | None


@dataclass(frozen=True, slots=True)
class Function(Node):
    """`function f(x, y=10) { return($x) }`: parameters with a default come last and all names differ.

    `body_effects` says what kind of function it is: one with an `emit` is a generator of what it emits, else one
    with a `return` runs at the call, else it is a generator of nodes.
    """

    name: str
    parameters: tuple[Parameter, ...]
    body: Query
    body_effects: BodyEffects = field(compare=False)


@dataclass(frozen=True, slots=True)
class BodyEffects:
    """Which statements a body holds.

    Those in blocks, subqueries, `yield { }` and `-> { }` count. Those in functions, embedded queries, arguments of
    commands, filters, edge edits and queries run for their value do not: they end only what they stand in.
    """

    has_return: bool
    has_emit: bool


@dataclass(frozen=True, slots=True)
class Command(Node):
    """`limit 10`, `sort --reverse`, `tee { } { }`: a command and its arguments.

    Attributes:
        name: The command's name, dots included.
        arguments: In order. Options are bare Literals that start with `-`; a query in braces is an EmbeddedQuery.
    """

    name: Name
    arguments: tuple[Expression, ...]


Operation: TypeAlias = (
    Lift
    | Lookup
    | Filter
    | Pivot
    | EditBlock
    | SetVariable
    | SetItem
    | UnpackVariables
    | Evaluate
    | Subquery
    | Yield
    | For
    | While
    | If
    | Switch
    | Try
    | Init
    | Empty
    | Fini
    | Break
    | Continue
    | Stop
    | Return
    | Emit
    | Function
    | Command
)


@dataclass(frozen=True, slots=True)
class Query(Node):
    """A query, or the body in a pair of braces.

    Attributes:
        operations: In order; each works on what the one before gives. `|` leaves no trace.
    """

    operations: tuple[Operation, ...]
