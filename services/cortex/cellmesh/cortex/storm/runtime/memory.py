"""How much memory the values of a running query take.

Counting each value as it comes and goes would cost every query something. Instead the process is watched, which costs
next to nothing: when its memory has grown by enough since the query began, or at times for what may have found room in
memory that was free already, the values that the query holds are gone through and added up. What counts is what can be
reached from its steps as they stand: variables of all scopes, lists, dictionaries, sets and texts, what commands such as
`uniq` keep, rows on their way. What all queries share does not: the graph's caches, compiled texts, edits not yet
written. Shared values count once.

Going through them takes about half a microsecond a value, on the query's own thread; `WALK_SHARE_MAX` keeps that small.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from types import FrameType, GeneratorType
from typing import Any, Final

from cellmesh.common.errors import LimitExceeded
from cellmesh.cortex.views.node import Node

LOOK_INTERVAL_S: Final = 0.010
"""How often the memory of the process is looked at."""

LARGE_VALUE_BYTES: Final = 1024 * 1024
"""A value of this size is looked at when it is made."""

WALK_SHARE_MAX: Final = 0.02
"""Most of a query's time that goes into adding up values while the process does not grow."""

WALK_INTERVAL_S_MIN: Final = 1.0
"""Shortest time between two such walks."""

NODE_BYTES: Final = 1024
"""What a node counts: its object and its record."""

VALUES_BETWEEN_LOOKS: Final = 10_000
"""Values added up before a cancelled query is noticed."""

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = "/proc/self/statm"

_CONTAINERS: Final = (list, tuple, set, frozenset, deque)
_LEAVES: Final = frozenset({str, bytes, int, float, bool, type(None), type})
_OURS: Final = "cellmesh.cortex.storm."
_NOT_VALUES: Final = tuple(
    _OURS + name
    for name in ("parser", "compiler", "planner", "engine", "source", "runtime.budget", "runtime.libraries")
)
_SHARED_NAMES: Final = frozenset(
    {"QueryRun", "Place", "CommandSpec", "FunctionSpec", "TypeSpec", "ArgumentSpec"}
)
_ITERATOR_MODULES: Final = frozenset({"builtins", "itertools", "collections"})
_NEVER: Final = frozenset(
    {"function", "builtin_function_or_method", "method", "module", "frame", "code", "cell", "traceback"}
)


class MemoryGauge:
    """Watches the memory of one query.

    Args:
        limit_bytes: Most that its values may take.
        is_cancelled: Whether the query should stop; asked while values are added up.
    """

    __slots__ = ("_is_cancelled", "_next_look_s", "_next_walk_bytes", "_next_walk_s", "limit_bytes")

    def __init__(self, limit_bytes: int, is_cancelled: Callable[[], bool]) -> None:
        self.limit_bytes = limit_bytes
        self._is_cancelled = is_cancelled
        now_s = monotonic()
        self._next_look_s = now_s + LOOK_INTERVAL_S
        self._next_walk_s = now_s + WALK_INTERVAL_S_MIN
        # Set at the first look: most queries end before.
        self._next_walk_bytes: int | None = None

    def look(self) -> None:
        """Look at the memory, if it is time to; to be called from a step of the query.

        Raises:
            LimitExceeded: its values take more than the limit.
        """
        now_s = monotonic()
        if now_s >= self._next_look_s:
            self._look(now_s)

    def weigh(self, size_bytes: int) -> None:
        """Look at the memory now, for a large value that is there or about to be made.

        Raises:
            LimitExceeded: the value alone, or all values, take more than the limit.
        """
        if size_bytes > self.limit_bytes:
            self._refuse(size_bytes)
        self._look(monotonic())

    def _look(self, now_s: float) -> None:
        self._next_look_s = now_s + LOOK_INTERVAL_S
        process_bytes = anonymous_bytes()
        if process_bytes is None:
            if now_s >= self._next_walk_s:
                self._walk(0)
            return
        if self._next_walk_bytes is None:
            self._next_walk_bytes = process_bytes + self.limit_bytes // 2
        if process_bytes >= self._next_walk_bytes or now_s >= self._next_walk_s:
            self._walk(process_bytes)

    def _walk(self, process_bytes: int) -> None:
        began_s = monotonic()
        size = held_bytes(sys._getframe(), self.limit_bytes, self._is_cancelled)
        if size > self.limit_bytes:
            self._refuse(size)
        now_s = monotonic()
        self._next_walk_s = now_s + max(WALK_INTERVAL_S_MIN, (now_s - began_s) / WALK_SHARE_MAX)
        # The limit cannot be reached before the process has grown by what is left, or found it in free memory.
        self._next_walk_bytes = process_bytes + max((self.limit_bytes - size) // 2, self.limit_bytes // 16)

    def _refuse(self, size: int) -> None:
        raise LimitExceeded(
            "the query's values take too much memory", name="memory", limit=self.limit_bytes, size=size
        )


def anonymous_bytes() -> int | None:
    """Memory of the process that is no file's, or None where the system does not tell."""
    try:
        handle = os.open(_STATM, os.O_RDONLY)
    except OSError:
        return None
    try:
        fields = os.read(handle, 256).split()
    finally:
        os.close(handle)
    # Mapped files count as resident while they are in use: the database is one.
    return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES


def held_bytes(frame: FrameType | None, enough: int, is_cancelled: Callable[[], bool] = lambda: False) -> int:
    """Return the size of the values that the steps on a thread's stack hold.

    Args:
        frame: The innermost of them.
        enough: Stop when this is exceeded.
        is_cancelled: Stop when this says so.
    """
    walk = _Walk(enough, is_cancelled)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_OURS) and module != __name__:
            walk.add(frame.f_locals.values())
        frame = frame.f_back
    return walk.size


class _Walk:
    """Adds up values, each once."""

    __slots__ = ("_enough", "_is_cancelled", "_seen", "size")

    def __init__(self, enough: int, is_cancelled: Callable[[], bool]) -> None:
        self._enough = enough
        self._is_cancelled = is_cancelled
        self._seen: set[int] = set()
        self.size = 0

    def add(self, values: Iterable[Any]) -> None:
        """Add values and what they hold."""
        seen = self._seen
        sizeof = sys.getsizeof
        below = [iter(list(values))]
        count = 0
        while below:
            for value in below[-1]:
                number = id(value)
                if number in seen:
                    continue
                seen.add(number)
                count += 1
                if count >= VALUES_BETWEEN_LOOKS:
                    count = 0
                    if self.size > self._enough or self._is_cancelled():
                        return
                kind = type(value)
                if kind in _LEAVES:
                    self.size += sizeof(value)
                    continue
                inner = self._inside(value, kind)
                if inner is not None:
                    below.append(inner)
                    break
            else:
                below.pop()

    def _inside(self, value: Any, kind: type) -> Any:
        """Count a value and return what it holds; None for nothing more."""
        if isinstance(value, _CONTAINERS):
            self.size += sys.getsizeof(value)
            return iter(tuple(value))
        if isinstance(value, dict):
            self.size += sys.getsizeof(value)
            return iter((*value.keys(), *value.values()))
        if isinstance(value, Node):
            self.size += NODE_BYTES
            return None
        name, module = kind.__name__, kind.__module__
        if kind is GeneratorType or (
            module in _ITERATOR_MODULES and name not in _NEVER and gc.is_tracked(value)
        ):
            self.size += sys.getsizeof(value)
            return iter(gc.get_referents(value))
        if module.startswith(_OURS):
            if name in _SHARED_NAMES or module.startswith(_NOT_VALUES):
                return None
            self.size += sys.getsizeof(value)
            return iter(gc.get_referents(value))
        if not gc.is_tracked(value):
            self.size += sys.getsizeof(value)
        return None
