"""The syntax tree of Storm: what the parser makes and the compiler starts from.

Every node is a frozen, slotted dataclass with a `span` into the query text. Spans take no part in equality, so two
texts that differ in blanks and comments have equal trees. The tree is closed: `Operation`, `Condition`, `Edit`,
`Expression` and the target unions list every case, to be taken apart with `match` and `assert_never`.

Three rules hold throughout:

- Names are not resolved. `inet:fqdn:zone` may be a form or a property; only the model knows.
- A bare word is text (`Literal`), also when it looks like a number: `$x=10` assigns the text "10" and `$x=(10)`
  the number. Numbers, `true`, `false` and `null` arise inside parentheses only.
- Parentheses and `$( )` leave no node of their own: the shape of the tree says what they grouped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import TypeAlias

from cellmesh.cortex.storm.source import Span


@dataclass(frozen=True, slots=True)
class Node:
    """Base of every node.

    Attributes:
        span: The text the node was read from, without surrounding blanks.
    """

    span: Span = field(compare=False, repr=False)


class ParseMode(Enum):
    """How the head of a text is read.

    STORM: all of it is Storm.
    LOOKUP, AUTOADD, SEARCH: words up to the first `|` are data to look up, add or search for; Storm follows.
    """

    STORM = "storm"
    LOOKUP = "lookup"
    AUTOADD = "autoadd"
    SEARCH = "search"


# Names and values ------------------------------------------------------------------------------------------


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


# Expressions -----------------------------------------------------------------------------------------------


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


# Comparisons -----------------------------------------------------------------------------------------------


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


# Lifts -----------------------------------------------------------------------------------------------------


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


# Filters ---------------------------------------------------------------------------------------------------


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


# Pivots ----------------------------------------------------------------------------------------------------


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


# Edits -----------------------------------------------------------------------------------------------------


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


# Variables and control flow ----------------------------------------------------------------------------------


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
