"""Values that hold others for a while: `$lib.cache.fixed()`, `$lib.pipe.gen()`, `$lib.spooled.set()`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, CellError, LimitExceeded
from cellmesh.cortex.storm.container_tools import set_item
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import toint, toprim, torepr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

ITEM_COUNT_MAX: Final = 10_000
"""Values that a cache, or a slice of a pipe, may have."""

PIPE_COUNT_MAX: Final = 1_000_000
"""Values that may wait in a pipe: its query runs on while it puts, until a node passes."""

EMPTY_PIPE_SIZE: Final = -1
"""The size of a pipe that has given all."""


class FixedCache:
    """The values a query gives for keys, so many at most; the oldest go first.

    Args:
        query: Returns the value for `$cache_key`.
        size: Values kept.
    """

    __slots__ = ("_values", "query", "size")

    def __init__(self, query: StormQuery, size: int) -> None:
        self.query = query
        self.size = size
        self._values: dict[Any, Any] = {}

    def get(self, context: RunContext, key: Any) -> Any:
        """Return the value of a key, from the query if it is not known."""
        known = _cache_key(key)
        if known not in self._values:
            self.put(known, context.value_of(self.query, {"cache_key": key}))
        return self._values[known]

    def put(self, key: Any, value: Any) -> None:
        """Set the value of a key."""
        self._values[_cache_key(key)] = value
        if len(self._values) > self.size:
            del self._values[next(iter(self._values))]

    def pop(self, key: Any) -> Any:
        """Forget a key; returns its value or None."""
        return self._values.pop(_cache_key(key), None)

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()

    def storm_text(self) -> str:
        """Return what is printed."""
        return f'cache:fixed: size={self.size} query="{self.query.text}"'


def _cache_key(key: Any) -> Any:
    if isinstance(key, (list, tuple, dict, set)):
        raise BadArg("what can change cannot be the key of a cache", name="key")
    return key


class Pipe:
    """What a query puts in with `$pipe`, given in slices.

    The query goes on when more is asked for, in the turn of whoever asks.

    Args:
        context: The scope that made it.
        query: The query.
    """

    __slots__ = ("_context", "_items", "_rows")

    def __init__(self, context: RunContext, query: StormQuery) -> None:
        self._context = context
        self._items: deque[Any] = deque()
        self._rows: Iterator[Any] | None = context.run_query(query, {"pipe": self})

    @property
    def size(self) -> int:
        """How many values wait; EMPTY_PIPE_SIZE when all were given."""
        return EMPTY_PIPE_SIZE if self._rows is None and not self._items else len(self._items)

    def put(self, item: Any) -> None:
        """Add a value."""
        if len(self._items) >= PIPE_COUNT_MAX:
            raise LimitExceeded(
                f"more than {PIPE_COUNT_MAX} values wait in a pipe", name="pipe", limit=PIPE_COUNT_MAX
            )
        self._items.append(item)

    def slice(self, size: int) -> list[Any] | None:
        """Return up to so many values; None when there will be no more."""
        if not 0 < size <= ITEM_COUNT_MAX:
            raise BadArg(f"a slice has 1 to {ITEM_COUNT_MAX} values", name="size")
        while self._rows is not None and len(self._items) < size:
            try:
                next(self._rows)
            except StopIteration:
                self._rows = None
            except CellError as error:
                # What was put before it failed still counts.
                self._rows = None
                self._context.warn(f"the query that fills a pipe failed: {error}", name=type(error).__name__)
        found = [self._items.popleft() for _ in range(min(size, len(self._items)))]
        return found or None


def _puts(context: RunContext, self: Pipe, items: Any) -> None:
    for item in toiter(context, items):
        self.put(item)


def _slices(context: RunContext, self: Pipe, size: Any) -> Iterator[list[Any]]:
    while (found := self.slice(toint(size))) is not None:
        context.tick()
        yield found


class SpooledSet(set[Any]):
    """A set of its own kind."""

    def storm_plain(self) -> list[Any]:
        """Return the values."""
        return [toprim(item) for item in self]

    def storm_text(self) -> str:
        """Return what is printed."""
        return torepr(set(self))


def spooled_set(context: RunContext, items: Any) -> SpooledSet:
    """Make a set of values."""
    return SpooledSet(set_item(item) for item in items)


def _add(context: RunContext, self: SpooledSet, items: tuple[Any, ...]) -> None:
    self.update([set_item(item) for item in items])


def _adds(context: RunContext, self: SpooledSet, lists: tuple[Any, ...]) -> None:
    for items in lists:
        self.update(set_item(item) for item in toiter(context, items))


def _remove(context: RunContext, self: SpooledSet, items: tuple[Any, ...]) -> None:
    self.difference_update([set_item(item) for item in items])


def _removes(context: RunContext, self: SpooledSet, lists: tuple[Any, ...]) -> None:
    for items in lists:
        self.difference_update([set_item(item) for item in toiter(context, items)])


_KEY: Final = ParameterSpec("key", type="any", doc="The key.")
_SLICE: Final = ParameterSpec("size", 1000, "int", "The most values in a slice.")

TYPES: Final = (
    TypeSpec(
        "cache:fixed",
        FixedCache,
        "The values that a query gives for keys.",
        (
            FunctionSpec("clear", "Forget all values.", lambda c, s: s.clear()),
            # Its query may do anything.
            FunctionSpec(
                "get",
                "The value of a key; if it is not known the query is run, with the key as `$cache_key`.",
                lambda c, s, key: s.get(c, key),
                (_KEY,),
                "any",
            ),
            FunctionSpec(
                "pop", "Forget a key; gives its value.", lambda c, s, key: s.pop(key), (_KEY,), "any"
            ),
            FunctionSpec(
                "put",
                "Set the value of a key.",
                lambda c, s, key, value: s.put(key, value),
                (_KEY, ParameterSpec("value", type="any", doc="The value.")),
            ),
        ),
        (AttributeSpec("query", "The text of the query.", lambda c, s: s.query.text, "str"),),
    ),
    TypeSpec(
        "pipe",
        Pipe,
        "What a query puts in with `$pipe`, in slices.",
        (
            FunctionSpec(
                "put",
                "Add a value.",
                lambda c, s, item: s.put(item),
                (ParameterSpec("item", type="any", doc="The value."),),
            ),
            FunctionSpec(
                "puts",
                "Add several values.",
                _puts,
                (ParameterSpec("items", type="list", doc="The values."),),
            ),
            FunctionSpec(
                "size", "How many values wait; -1 when all were given.", lambda c, s: s.size, (), "int"
            ),
            FunctionSpec(
                "slice",
                "The next values; null when there will be no more.",
                lambda c, s, size: s.slice(toint(size)),
                (_SLICE,),
                "list",
            ),
            FunctionSpec(
                "slices", "Slices until all was given.", _slices, (_SLICE,), "lists", is_generator=True
            ),
        ),
    ),
    TypeSpec(
        "spooled:set",
        SpooledSet,
        "A set.",
        (
            FunctionSpec("add", "Add values.", _add, rest="items"),
            FunctionSpec("adds", "Add the values of lists.", _adds, rest="items"),
            FunctionSpec(
                "has",
                "Whether a value is in it.",
                lambda c, s, item: set_item(item) in s,
                (ParameterSpec("item", type="any", doc="The value."),),
                "bool",
            ),
            FunctionSpec("list", "Its values.", lambda c, s: list(s), (), "list"),
            FunctionSpec("rem", "Take values out.", _remove, rest="items"),
            FunctionSpec("rems", "Take the values of lists out.", _removes, rest="items"),
            FunctionSpec("size", "How many values it has.", lambda c, s: len(s), (), "int"),
        ),
        iterate=lambda c, s: iter(tuple(s)),
    ),
)
