"""What all types share: the seam the rest of the Cortex uses, comparisons, and how an index answers them.

A type is made once for each (name, options) and used by many threads: it has no state after `__init__`
but lazily built closures. Stored values are plain: int, float, str, bytes, tuples of those, and for
`data` whatever JSON holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from cellmesh.common.errors import BadCmprValu, BadLiftValu, BadTypeValu, NoSuchCmpr, NoSuchForm
from cellmesh.common.time.clock import Clock
from cellmesh.cortex.model.definitions import TypeRef
from cellmesh.cortex.model.encoding import KEY_SIZE_MAX, LONG_PREFIX_SIZE
from cellmesh.cortex.model.scans import EVERYTHING, Exact, Filtered, IndexScan, Predicate, Prefix, Range

SHOWN_SIZE_MAX = 100


@dataclass(frozen=True, slots=True)
class Normed:
    """What normalising one value gives.

    Attributes:
        value: The stored value.
        subs: Sub-values by name, which fill properties named after them: `inet:fqdn` gives `domain` and
            `host`. Each is still to be normalised by the property it fills.
        adds: Further nodes the value implies, as (form, value).
        parts: What normalising its parts has given, by the names of their sub-values, to spare doing it again.
    """

    value: object
    subs: tuple[tuple[str, object], ...] = ()
    adds: tuple[tuple[str, object], ...] = ()
    parts: Mapping[str, tuple[Type, Normed]] | None = field(default=None, compare=False, repr=False)


class Type(Protocol):
    """A type as the editor, the layers and the query engine see it."""

    name: str
    chain: tuple[str, ...]
    options: Mapping[str, Any]

    @property
    def is_array(self) -> bool: ...

    @property
    def is_mutable(self) -> bool: ...

    @property
    def element(self) -> Type | None: ...

    @property
    def fields(self) -> tuple[tuple[str, Type], ...]: ...

    def normalize(self, value: object) -> Normed: ...

    def merge(self, old: object, new: object) -> object: ...

    def repr(self, value: Any) -> Any: ...

    def encode(self, value: Any) -> bytes: ...

    def comparator(self, name: str, value: object) -> Predicate: ...

    def lift(self, name: str, value: object) -> tuple[IndexScan, ...]: ...


class Resolver(Protocol):
    """What a type needs of the model: other types, forms and properties, users and roles, the time."""

    @property
    def clock(self) -> Clock: ...

    def type(self, name: str) -> Type: ...

    def resolve(self, reference: TypeRef) -> Type: ...

    def is_form(self, name: str) -> bool: ...

    def form_type(self, name: str) -> Type: ...

    def prop_type(self, full_name: str) -> Type: ...

    def form_interfaces(self, name: str) -> tuple[str, ...]: ...

    def iden_of(self, kind: str, name: str) -> str | None: ...

    def name_of(self, kind: str, iden: str) -> str | None: ...


def shown(value: object) -> str:
    """Return a short text of a value for an error message."""
    text = str(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_SIZE_MAX else text[: SHOWN_SIZE_MAX - 3] + "..."


def text_of(value: object) -> str:
    """Return the text that prefix and regular expression comparisons look at."""
    if isinstance(value, (tuple, list)):
        return ",".join(text_of(item) for item in value)
    return value if isinstance(value, str) else str(value)


def compile_pattern(pattern: object, name: str) -> re.Pattern[str]:
    """Compile a `~=` operand: it ignores case and matches anywhere.

    Raises:
        BadCmprValu: it is no valid regular expression.
    """
    text = pattern if isinstance(pattern, str) else str(pattern)
    try:
        return re.compile(python_pattern(text), re.IGNORECASE)
    except re.error as error:
        raise BadCmprValu(
            f"not a regular expression: {shown(text)}: {error}", cmpr="~=", name=name
        ) from error


def python_pattern(pattern: str) -> str:
    """Rewrite what model files and users may write but Python's `re` lacks.

    Named groups `(?<name>` become `(?P<name>`; `\\p{Z}` becomes the separators it stands for.
    """
    pattern = re.sub(r"\(\?<([A-Za-z_]\w*)>", r"(?P<\1>", pattern)
    return pattern.replace(r"\p{Z}", r"\s ")


# Comparisons every type has, as Storm writes them after an optional star. Only for ordered types: ORDERED.
ORDERED = ("<", ">", "<=", ">=")
COMMON = ("=", "?=", "!=", "~=", "^=", "in=", "range=")

FILTER_METHODS: Mapping[str, str] = {
    "=": "compare_equal",
    "?=": "compare_maybe",
    "!=": "compare_unequal",
    "~=": "compare_regex",
    "^=": "compare_prefix",
    "in=": "compare_in",
    "range=": "compare_range",
    "near=": "compare_near",
    "@=": "compare_overlap",
}
MISTAKEN_COMPARISONS = {"==": "=", "=<": "<=", "=>": ">=", "<>": "!=", "=~": "~=", "=^": "^="}
"""What people write who know other languages, and what it is called here."""

LIFT_METHODS: Mapping[str, str] = {
    "=": "lift_equal",
    "?=": "lift_maybe",
    "~=": "lift_regex",
    "^=": "lift_prefix",
    "in=": "lift_in",
    "range=": "lift_range",
    "near=": "lift_near",
    "@=": "lift_overlap",
}
ORDER_TESTS: Mapping[str, Callable[[Any], Predicate]] = {
    "<": lambda wanted: lambda stored: bool(stored < wanted),
    ">": lambda wanted: lambda stored: bool(stored > wanted),
    "<=": lambda wanted: lambda stored: bool(stored <= wanted),
    ">=": lambda wanted: lambda stored: bool(stored >= wanted),
}


class BaseType:
    """The common part of every type. Subclasses say how a value normalises, prints and encodes.

    Args:
        name: The type's name.
        chain: The name and those of its bases, up to the root that code implements.
        options: All options, those of the bases included.
        model: Where other types and forms are looked up.
    """

    ordered: ClassVar[bool] = False
    prefix_lift: ClassVar[bool] = False
    regex_lift: ClassVar[bool] = False
    range_lift: ClassVar[bool] = True
    more_comparators: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, name: str, chain: tuple[str, ...], options: Mapping[str, Any], model: Resolver
    ) -> None:
        self.name = name
        self.chain = chain
        self.options = options
        self.model = model
        self.compile()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {dict(self.options)}>"

    def compile(self) -> None:
        """Work out from the options what normalising will need. Called once."""

    @property
    def is_array(self) -> bool:
        """Whether values are lists of elements, which are indexed one by one as well."""
        return False

    @property
    def is_mutable(self) -> bool:
        """Whether values hold dicts or lists, so that whoever hands one out must copy it."""
        return False

    @property
    def element(self) -> Type | None:
        """The type of an array's elements."""
        return None

    @property
    def element_name(self) -> str | None:
        """The name of the type of an array's elements, without compiling it."""
        return None

    @property
    def fields(self) -> tuple[tuple[str, Type], ...]:
        """The named parts of a tuple's value, in order."""
        return ()

    def bad(self, reason: str, value: object) -> BadTypeValu:
        """Make the error for a value that this type refuses."""
        return BadTypeValu(f"{shown(value)} is no {self.name}: {reason}", name=self.name, valu=value)

    def bad_kind(self, value: object) -> BadTypeValu:
        """Make the error for a kind of value that this type has no use for."""
        return self.bad(f"cannot be made of a value of kind {type(value).__name__}", value)

    def normalize(self, value: object) -> Normed:
        """Return the stored form of a value.

        Raises:
            BadTypeValu: the value is not one of this type; the message says why.
        """
        raise NotImplementedError

    def norm(self, value: object) -> Any:
        """Return the stored value alone."""
        return self.normalize(value).value

    def merge(self, old: object, new: object) -> object:
        """Return what a property holds that had `old` and is set to `new`, both stored values."""
        return new

    def repr(self, value: Any) -> Any:
        """Return human text of a stored value; tuples give a tuple of texts."""
        return str(value)

    def encode(self, value: Any) -> bytes:
        """Return the index bytes of a stored value, which sort as the values do, 256 at most."""
        raise NotImplementedError

    # ------------------------------------------------------------------ comparisons

    def comparators(self) -> tuple[str, ...]:
        """The names of the comparisons a filter may use."""
        return COMMON + (ORDERED if self.ordered else ()) + self.more_comparators

    def no_such_comparator(self, name: str) -> NoSuchCmpr:
        """Make the error for a comparison this type lacks."""
        known = " ".join(self.comparators())
        return NoSuchCmpr(
            f"{self.name} has no comparison {name}", cmpr=name, name=self.name, hint=f"it has: {known}"
        )

    def comparator(self, name: str, value: object) -> Predicate:
        """Return a test of stored values against an operand, which is normalised here.

        Raises:
            NoSuchCmpr: the type has no such comparison.
            BadTypeValu: the operand does not normalise.
        """
        plain = plain_name(name)
        if plain in ORDERED and self.ordered:
            return self.compare_order(plain, value)
        method = FILTER_METHODS.get(plain)
        if method is None or plain not in self.comparators():
            raise self.no_such_comparator(name)
        made: Predicate = getattr(self, method)(value)
        return made

    def lift(self, name: str, value: object) -> tuple[IndexScan, ...]:
        """Return the scans that answer a comparison over an index, in order of their results.

        Raises:
            NoSuchCmpr: the type has no such comparison, or no index can answer it.
            BadTypeValu: the operand does not normalise.
        """
        plain = plain_name(name)
        if plain in ORDERED and self.ordered:
            return self.lift_order(plain, value)
        method = LIFT_METHODS.get(plain)
        if method is None or plain not in self.comparators() or not self.can_lift(plain):
            if plain == "range=" and plain in self.comparators():
                self.range_of(value)  # a bad operand is told of first
            meant = MISTAKEN_COMPARISONS.get(name)
            hint = {"hint": f"did you mean {meant}?"} if meant else {}
            raise NoSuchCmpr(f"{self.name} cannot be lifted by {name}", cmpr=name, name=self.name, **hint)
        made: tuple[IndexScan, ...] = getattr(self, method)(value)
        return made

    def can_lift(self, name: str) -> bool:
        """Whether an index answers a comparison that a filter may use."""
        wanted = {"^=": self.prefix_lift, "~=": self.regex_lift, "range=": self.range_lift}
        return wanted.get(name, True)

    def compare_order(self, name: str, value: object) -> Predicate:
        """Test for an order relative to the normalised operand."""
        return ORDER_TESTS[name](self.norm(value))

    def lift_order(self, name: str, value: object) -> tuple[IndexScan, ...]:
        """Scan what is below or above the normalised operand."""
        return (order_range(name, self.encode(self.norm(value))),)

    def compare_equal(self, value: object) -> Predicate:
        """Test for equality; families with wildcards or blocks widen it."""
        return self.equal_to(value)

    def equal_to(self, value: object) -> Predicate:
        """Test for plain equality with the normalised operand."""
        wanted = self.norm(value)
        return lambda stored: bool(stored == wanted)

    def compare_maybe(self, value: object) -> Predicate:
        """Refuse `?=`, which is for lifts and edits, whatever the operand."""
        raise self.no_such_comparator("?=")

    def lift_maybe(self, value: object) -> tuple[IndexScan, ...]:
        """Scan for equality; an operand that cannot be one finds nothing."""
        try:
            return self.lift_equal(value)
        except (BadLiftValu, NoSuchForm):
            return ()

    def compare_unequal(self, value: object) -> Predicate:
        """Test for another value than the operand, which is a value: no wildcard or block."""
        test = self.equal_to(value)
        return lambda stored: not test(stored)

    def compare_regex(self, value: object) -> Predicate:
        """Search a pattern in the printed value, ignoring case."""
        search = compile_pattern(value, self.name).search
        return lambda stored: search(self.printed_text(stored, "~=")) is not None

    def compare_prefix(self, value: object) -> Predicate:
        """Test whether the printed value starts with a text."""
        prefix = text_of(value)
        return lambda stored: self.printed_text(stored, "^=").startswith(prefix)

    def printed_text(self, stored: Any, name: str) -> str:
        """Return what a stored value prints as, for a comparison of text.

        Raises:
            NoSuchCmpr: it prints as several texts.
        """
        text = self.repr(stored)
        if isinstance(text, (tuple, list)):
            raise NoSuchCmpr(
                f"{self.name} has values of several parts, which {name} does not compare",
                cmpr=name,
                name=self.name,
            )
        return text_of(text)

    def normalize_prefix(self, value: object) -> str:
        """Return the operand of `^=` as the start of a stored value."""
        return value if isinstance(value, str) else text_of(value)

    def compare_in(self, value: object) -> Predicate:
        """Test for equality with any of several operands."""
        wanted = [self.norm(item) for item in self.operands(value)]
        try:
            known = frozenset(wanted)
        except TypeError:
            return lambda stored: stored in wanted
        return lambda stored: stored in known

    def range_of(self, value: object) -> tuple[Any, Any]:
        """Return the two normalised bounds of a `range=` operand, both inclusive."""
        low, high = self.range_ends(value)
        return self.norm(low), self.norm(high)

    def range_ends(self, value: object) -> tuple[object, object]:
        """Return the two bounds of a `range=` operand as they were given."""
        items = self.operands(value)
        if len(items) != 2:
            raise BadCmprValu(
                f"range= needs two values, a lowest and a highest: {shown(value)}",
                cmpr="range=",
                name=self.name,
            )
        return items[0], items[1]

    def compare_range(self, value: object) -> Predicate:
        """Test for low <= value <= high, in the order of the index."""
        low, high = self.range_of(value)
        low_key, high_key = self.encode(low), self.encode(high)
        encode = self.encode
        return lambda stored: low_key <= encode(stored) <= high_key

    def operands(self, value: object) -> Sequence[object]:
        """Return the several values of an operand such as that of `in=`."""
        if isinstance(value, str):
            return (value,)
        if isinstance(value, Sequence):
            return value
        if hasattr(value, "__iter__"):
            return tuple(value)
        raise BadCmprValu(f"needs a list of values, not {shown(value)}", name=self.name)

    def lift_equal(self, value: object) -> tuple[IndexScan, ...]:
        """Scan for equality."""
        return (Exact(self.encode(self.norm(value))),)

    def lift_regex(self, value: object) -> tuple[IndexScan, ...]:
        """Scan everything, keeping what the pattern finds."""
        search = compile_pattern(value, self.name).search
        printed = self.repr
        return (Filtered(EVERYTHING, lambda stored: search(text_of(printed(stored))) is not None),)

    def lift_prefix(self, value: object) -> tuple[IndexScan, ...]:
        """Scan the keys that start with a text."""
        prefix = self.normalize_prefix(value)
        return (prefix_scan(prefix.encode("utf-8", "surrogatepass"), self.compare_prefix(value)),)

    def lift_in(self, value: object) -> tuple[IndexScan, ...]:
        """Scan for each operand in turn, in the order given."""
        scans: list[IndexScan] = []
        for item in self.operands(value):
            scans.extend(self.lift_equal(item))
        return tuple(scans)

    def lift_range(self, value: object) -> tuple[IndexScan, ...]:
        """Scan from the lowest to the highest operand, both inclusive."""
        low, high = self.range_of(value)
        return self.scan_between(low, high)

    def scan_between(self, low: Any, high: Any) -> tuple[IndexScan, ...]:
        """Scan between two stored values, both inclusive; nothing when they are the wrong way round."""
        low_key, high_key = self.encode(low), self.encode(high)
        if low_key > high_key:
            return ()
        return (Range(low_key, key_after(high_key)),)


def key_after(key: bytes) -> bytes:
    """Return the lowest key above a key."""
    return key + b"\x00"


def prefix_scan(prefix: bytes, predicate: Predicate) -> IndexScan:
    """Scan a prefix of stored text: by key if the prefix fits into one, otherwise with the predicate too."""
    if len(prefix) <= LONG_PREFIX_SIZE:
        return Prefix(prefix)
    start = prefix[:LONG_PREFIX_SIZE]
    return Filtered(Range(start, start + b"\xff" * (KEY_SIZE_MAX - LONG_PREFIX_SIZE + 1)), predicate)


def order_range(name: str, key: bytes) -> Range:
    """Return the range of keys below or above a key, by the name of the comparison."""
    match name:
        case "<":
            return Range(b"", key)
        case "<=":
            return Range(b"", key_after(key))
        case ">":
            return Range(key_after(key), None)
        case _:
            return Range(key, None)


def plain_name(name: str) -> str:
    """Return a comparison's name without the star that Storm writes before words: `*in=` is `in=`."""
    return name[1:] if name.startswith("*") and len(name) > 2 else name
