"""A part of Storm as values. Each knows its text, so that a query can be run by the oracle and by an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias

from cellmesh.testing.oracle.world import PROPS


def shown(value: Any) -> str:
    """A value as Storm text."""
    if isinstance(value, Variable):
        return f"${value.name}"
    if isinstance(value, tuple):
        return (
            f"({', '.join(map(shown, value))},)" if len(value) == 1 else f"({', '.join(map(shown, value))})"
        )
    return str(value)


@dataclass(frozen=True, slots=True)
class Variable:
    """`$x`. Those whose name begins with r are set from rows, all others without one."""

    name: str

    @property
    def needs_row(self) -> bool:
        """Whether only a row can say its value."""
        return self.name.startswith("r")


@dataclass(frozen=True, slots=True)
class Lift:
    """`form`, `form:prop`, `form:prop>3`, `#tag`, `form#tag`, `form:names*[=a]`."""

    form: str = ""
    prop: str = ""
    operator: str = ""
    value: Any = None
    tag: str = ""
    is_reverse: bool = False

    def __str__(self) -> str:
        text = self.form + (f":{self.prop}" if self.prop else "") + (f"#{self.tag}" if self.tag else "")
        if self.operator == "[]":
            text += f"*[={shown(self.value)}]"
        elif self.operator:
            text += self.operator + shown(self.value)
        return f"reverse({text})" if self.is_reverse else text


# Conditions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HasProp:
    """`:prop`, perhaps compared."""

    prop: str
    operator: str = ""
    value: Any = None

    def __str__(self) -> str:
        return f":{self.prop}" + (self.operator + shown(self.value) if self.operator else "")


@dataclass(frozen=True, slots=True)
class HasTag:
    """`#tag`."""

    tag: str

    def __str__(self) -> str:
        return f"#{self.tag}"


@dataclass(frozen=True, slots=True)
class IsForm:
    """`form` or `form:prop`, perhaps compared."""

    form: str
    prop: str = ""
    operator: str = ""
    value: Any = None

    def __str__(self) -> str:
        text = self.form + (f":{self.prop}" if self.prop else "")
        return text + (self.operator + shown(self.value) if self.operator else "")


@dataclass(frozen=True, slots=True)
class Both:
    """`a and b`, `a or b`."""

    left: Condition
    right: Condition
    is_or: bool

    def __str__(self) -> str:
        return f"({self.left} {'or' if self.is_or else 'and'} {self.right})"


@dataclass(frozen=True, slots=True)
class Not:
    """`not a`."""

    inner: Condition

    def __str__(self) -> str:
        return f"(not {self.inner})"


@dataclass(frozen=True, slots=True)
class Leads:
    """`{ ... }` as a condition, perhaps with the number of rows it must give."""

    body: Query
    operator: str = ""
    count: int = 0

    def __str__(self) -> str:
        return f"{{ {text_of(self.body)} }}" + (f"{self.operator}{self.count}" if self.operator else "")


Condition: TypeAlias = HasProp | HasTag | IsForm | Both | Not | Leads


@dataclass(frozen=True, slots=True)
class Filter:
    """`+` or `-` and a condition."""

    condition: Condition
    is_keep: bool

    def __str__(self) -> str:
        return ("+" if self.is_keep else "-") + str(self.condition)


# Pivots ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pivot:
    """`-> *`, `-> form`, `-> form:prop`, `:prop -> form`, `<- *`, `-+> form`, `-> #`."""

    target: str
    prop: str = ""
    source: str = ""
    is_inward: bool = False
    is_join: bool = False

    def __str__(self) -> str:
        arrow = ("<+-" if self.is_join else "<-") if self.is_inward else ("-+>" if self.is_join else "->")
        return (
            (f":{self.source} " if self.source else "")
            + f"{arrow} {self.target}"
            + (f":{self.prop}" if self.prop else "")
        )


@dataclass(frozen=True, slots=True)
class Walk:
    """`-(verb)> *`, `<(verb)- form`, `--> *`."""

    verb: str
    target: str
    is_inward: bool = False
    with_props: bool = False

    def __str__(self) -> str:
        if self.with_props:
            return f"{'<--' if self.is_inward else '-->'} {self.target}"
        return f"<({self.verb})- {self.target}" if self.is_inward else f"-({self.verb})> {self.target}"


# Edits -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Add:
    """`form=value`, `form?=value`."""

    form: str
    value: Any
    operator: str = "="

    def __str__(self) -> str:
        return f"{self.form}{self.operator}{shown(self.value)}"


@dataclass(frozen=True, slots=True)
class Set:
    """`:prop=value`, with `?=`, `*unset=`, `+=`, `-=` as well."""

    prop: str
    value: Any
    operator: str = "="

    def __str__(self) -> str:
        return f":{self.prop}{self.operator}{shown(self.value)}"


@dataclass(frozen=True, slots=True)
class Unset:
    """`-:prop`."""

    prop: str

    def __str__(self) -> str:
        return f"-:{self.prop}"


@dataclass(frozen=True, slots=True)
class Tag:
    """`+#tag`, `-#tag`."""

    tag: str
    is_added: bool

    def __str__(self) -> str:
        return f"{'+' if self.is_added else '-'}#{self.tag}"


@dataclass(frozen=True, slots=True)
class Edge:
    """`+(verb)> { ... }`, `-(verb)> { ... }`, `<(verb)+ { ... }`, `<(verb)- { ... }`."""

    verb: str
    body: Query
    is_added: bool
    is_inward: bool = False

    def __str__(self) -> str:
        sign = "+" if self.is_added else "-"
        head = f"<({self.verb}){sign}" if self.is_inward else f"{sign}({self.verb})>"
        return f"{head} {{ {text_of(self.body)} }}"


@dataclass(frozen=True, slots=True)
class Edits:
    """`[ ... ]`."""

    edits: tuple[Add | Set | Unset | Tag | Edge, ...]

    def __str__(self) -> str:
        return f"[ {' '.join(map(str, self.edits))} ]"


# Statements --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """`| limit 3`, `| uniq`, `| spin`, `| delnode --force`."""

    name: str
    count: int = 0

    def __str__(self) -> str:
        force = " --force" if self.name == "delnode" else ""
        return f"| {self.name}{f' {self.count}' if self.name == 'limit' else ''}{force} |"


@dataclass(frozen=True, slots=True)
class Assign:
    """`$x=5`, `$r=:prop`, `$r=$node.value()`."""

    variable: Variable
    value: Any = None
    prop: str = ""

    def __str__(self) -> str:
        if not self.variable.needs_row:
            return f"{shown(self.variable)}={shown(self.value)}"
        return f"{shown(self.variable)}=" + (f":{self.prop}" if self.prop else "$node.value()")


@dataclass(frozen=True, slots=True)
class Sub:
    """`{ ... }`, or `yield { ... }`."""

    body: Query
    is_yielded: bool = False

    def __str__(self) -> str:
        return f"{'yield ' if self.is_yielded else ''}{{ {text_of(self.body)} }}"


@dataclass(frozen=True, slots=True)
class For:
    """`for $x in (1, 2) { ... }`."""

    variable: Variable
    items: tuple[Any, ...]
    body: Query

    def __str__(self) -> str:
        return f"for {shown(self.variable)} in {shown(self.items)} {{ {text_of(self.body)} }}"


@dataclass(frozen=True, slots=True)
class If:
    """`if ($x > 3) { ... } else { ... }`; with a property in place of the comparison, whether it has a true value."""

    variable: Variable | None
    limit: int
    prop: str
    body: Query
    otherwise: Query

    def __str__(self) -> str:
        test = f"({shown(self.variable)} > {self.limit})" if self.variable is not None else f"(:{self.prop})"
        other = f" else {{ {text_of(self.otherwise)} }}" if self.otherwise else ""
        return f"if {test} {{ {text_of(self.body)} }}{other}"


Operation: TypeAlias = Lift | Filter | Pivot | Walk | Edits | Command | Assign | Sub | For | If
Query: TypeAlias = tuple[Operation, ...]


def text_of(query: Sequence[Operation]) -> str:
    """The text of a query."""
    text = " ".join(map(str, query))
    return text.replace("| |", "|").removesuffix("|").removeprefix("|").strip()


def _parts(part: Any) -> Iterator[Any]:
    yield part
    inner = part if isinstance(part, tuple) else ()
    if is_dataclass(part):
        inner = tuple(getattr(part, one.name) for one in fields(part))
    for one in inner:
        yield from _parts(one)


def edits_what_it_lifts(query: Query) -> bool:
    """Whether a query may change an index while a lift goes through it: then a node may come twice, or not at all.

    Filters count as lifts, since one behind a lift says which index to go through. The nodes of tags are not to be
    edited either, which is a matter of its own.
    """
    read: set[str] = set()
    edited: set[str] = set()
    for part in _parts(query):
        match part:
            case Tag(tag=tag):
                edited.add(tag.partition(".")[0])
            case Set(prop=prop):
                # The node that a property refers to is made as well, and comes into the index of its form.
                edited.update([f":{prop}", *(kinds.get(prop, "") for kinds in PROPS.values())])
            case Unset(prop=prop):
                edited.add(f":{prop}")
            case Pivot(target="#"):
                read.update(["delnode", "edits"])
            case Command(name="delnode"):
                edited.add("delnode")
            case Edits():
                edited.add("edits")
            case Add(form=form):
                edited.add(form)
            case Lift(form=form, tag=tag, prop=prop):
                read.update([tag.partition(".")[0], f":{prop}", "" if tag or prop else form])
            case HasTag(tag=tag):
                read.add(tag.partition(".")[0])
            case HasProp(prop=prop):
                read.add(f":{prop}")
    return bool(read & edited - {"", ":"})
