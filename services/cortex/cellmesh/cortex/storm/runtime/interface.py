"""What the runtime offers to, and expects of, primitives, commands and `$lib` namespaces.

Values inside a query are plain Python: None, bool, int, Decimal (numbers with a point), float (only from properties
and JSON), str, bytes, list, tuple (a list that cannot change), dict, set, graph `Node`, `Path`, and library objects:
any class that a TypeSpec is registered for. `UNDEF` is the value that deletes.

Nothing here is registered by being imported. A package exports tuples (`COMMANDS`, `LIBRARIES`, `TYPES`) and the cell
hands them to the Engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.storm.runtime.path import Path

Value: TypeAlias = Any
"""A value of the language: see the module docstring."""


class Undefined:
    """The kind of `$lib.undef`; there is one instance, `UNDEF`. False as a condition."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "$lib.undef"


UNDEF: Final = Undefined()


class Required(Enum):
    """Marks a parameter without a default."""

    REQUIRED = "required"


REQUIRED: Final = Required.REQUIRED


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """A parameter of a function or method.

    Attributes:
        name: As used in `name=value`.
        default: The value when it is left out, or REQUIRED.
        type: What it should be, in words for the documentation ("str", "list of str").
        doc: What it means.
    """

    name: str
    default: Value = REQUIRED
    type: str = "any"
    doc: str = ""


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """A function of a library, or a method of a type.

    Attributes:
        name: Its name, without the library's.
        doc: What it does, for help and reference.
        function: Called as `function(context, *arguments)` for a library, `function(context, self, *arguments)` for
            a method, always positionally with every declared parameter filled (defaults included).
        parameters: In order. Too few, too many or unknown ones raise StormRuntimeError before the call.
        returns: What comes back, in words.
        is_generator: Whether `function` gives an iterator; the query sees it as a generator value, made on demand.
        rest: Name of what takes further positional arguments, passed as a tuple after the parameters; or None.
        keywords: Name of what takes other named arguments, passed as a dict in the last place; or None.
        changes_state: Whether it edits something, so that a read-only query refuses it (IsReadOnly).
        may_change: Whether it may edit something, or run what may, although a read-only query may use it. It matters to
            followers, which have their leader run a query with it.
        deprecated: What to use in its place, for a warning that a query gets once; empty for a function that stays.
    """

    name: str
    doc: str
    function: Callable[..., Value]
    parameters: tuple[ParameterSpec, ...] = ()
    returns: str = "null"
    is_generator: bool = False
    rest: str | None = None
    keywords: str | None = None
    changes_state: bool = False
    may_change: bool = False
    deprecated: str = ""


MethodSpec: TypeAlias = FunctionSpec


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """An attribute worked out when it is read.

    Attributes:
        get: `get(context, self)`; for a library `self` is None.
        set: `set(context, self, value)`, or None when it cannot be set (StormRuntimeError).
    """

    name: str
    doc: str
    get: Callable[[RunContext, Any], Value]
    returns: str = "any"
    set: Callable[[RunContext, Any, Value], None] | None = None


@dataclass(frozen=True, slots=True)
class TypeSpec:
    """How values of one Python class behave in a query. Found by exact class, then by the class's bases.

    Reading `$x.name` tries methods, attributes, then `get_item`; an unknown name is NoSuchName.

    Attributes:
        name: What `$lib.vars.type()` says.
        python_type: The class.
        get_item: `(context, self, key)` for what is not declared (`$node.props.asn`, `$dict.key`), or None.
        set_item: `(context, self, key, value)` for `$x.key=value`; value may be UNDEF, which deletes.
        iterate: `(context, self)` -> iterator, for `for`, `yield` and functions that take a list.
        library: The part of `$lib` without whose name no query has such a value (`httpapi`), where that is so. Queries
            that do not name it are judged as if the type were not there.

    Objects of library classes may further have methods that the coercions look for: `storm_text()` (what
    `$lib.print` shows), `storm_bool()` and `storm_plain()` (the plain value that may leave the query).
    """

    name: str
    python_type: type
    doc: str = ""
    methods: tuple[MethodSpec, ...] = ()
    attributes: tuple[AttributeSpec, ...] = ()
    get_item: Callable[[RunContext, Any, Value], Value] | None = None
    set_item: Callable[[RunContext, Any, Value, Value], None] | None = None
    iterate: Callable[[RunContext, Any], Iterator[Value]] | None = None
    library: str = ""


@dataclass(frozen=True, slots=True)
class LibrarySpec:
    """A `$lib` namespace.

    Attributes:
        path: Names after `$lib`: `()` for `$lib` itself, `("inet", "http")`. Several specs may share a path.
        functions: Callable members.
        attributes: Members worked out when read (`$lib.user`, `$lib.debug`).
        constants: Members that never change (`$lib.true`, `$lib.undef`).
        call: What a call of the namespace itself does (`$lib.dict(a=1)`), or None.
    """

    path: tuple[str, ...]
    doc: str
    functions: tuple[FunctionSpec, ...] = ()
    attributes: tuple[AttributeSpec, ...] = ()
    constants: Mapping[str, Value] = field(default_factory=dict)
    call: FunctionSpec | None = None


# Commands ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ArgumentSpec:
    """A positional argument or option of a command.

    Attributes:
        flags: `("--size", "-s")` for an option; `("size",)` for a positional argument.
        type: "str", "int", "number", "bool", "list", "dict", "query" (a StormQuery, from `{ }`, `${ }` or text),
            "node", or "any" (as it is).
        count: None for one value; "?" none or one; "*" any number; "+" at least one; an int for exactly so many.
        action: "store", "store_true", "store_false" or "append".
        default: The value when it is left out.
        is_required: For options; positional ones are, unless `count` says otherwise.
        choices: The values allowed, or empty.
        name: The attribute it sets; by default the first long flag with `-` as `_`.
        runs_query: Whether it is a query although its type does not say so.
    """

    flags: tuple[str, ...]
    help: str = ""
    type: str = "str"
    count: str | int | None = None
    action: str = "store"
    default: Value = None
    is_required: bool = False
    choices: tuple[Value, ...] = ()
    name: str = ""
    runs_query: bool = False

    @property
    def is_option(self) -> bool:
        """Whether it is given by a flag."""
        return self.flags[0].startswith("-")

    @property
    def destination(self) -> str:
        """The attribute of `Arguments` that holds the value."""
        if self.name:
            return self.name
        long = next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])
        return long.lstrip("-").replace("-", "_")


class Arguments:
    """The values of a command's arguments, one attribute each (`arguments.size`).

    When the arguments depend on the node, the runtime sets the attributes anew before each row it hands over: read
    them after the row. `is_constant` tells whether that can happen; with `is_constant` they are set before `run`.
    """

    is_constant: bool = True

    def __getattr__(self, name: str) -> Value:  # only for names that were never set
        raise AttributeError(name)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command.

    Attributes:
        name: `limit`, `edges.del`.
        doc: Help text: the first line is the summary.
        run: `run(context, arguments, rows)` -> rows: a generator. It decides what passes on.
        arguments: In the order help shows them.
        needs_constant: Whether arguments that depend on a node are refused (StormRuntimeError).
        changes_state: Whether a read-only query refuses it (IsReadOnly).
        may_change: Whether it may edit something, or run what may, although a read-only query may use it. It matters to
            followers, which have their leader run a query with it.
        takes_counted: Whether its rows may be `CountedRows` when it was given no arguments.
    """

    name: str
    doc: str
    run: Callable[[RunContext, Arguments, Iterator[Path]], Iterator[Path]]
    arguments: tuple[ArgumentSpec, ...] = ()
    needs_constant: bool = False
    changes_state: bool = False
    may_change: bool = False
    takes_counted: bool = False
