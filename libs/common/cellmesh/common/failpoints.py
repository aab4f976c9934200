"""Named points in the code where a test or a fault run may make something go wrong.

`failpoint("slab_before_commit")` stands next to the code it is about. While nothing is set, it costs one
function call and one look at an empty dict. Points are set by a test (`failing(...)`, `set_failpoint(...)`)
or by the environment variable `CELLMESH_FAILPOINTS` of a process that calls `load_environment()`:

    CELLMESH_FAILPOINTS="slab_before_commit=kill;slab_before_begin=sleep:20"

Actions, each optionally followed by `*N` (do it on the first N hits only) or led by `N>` (let N hits pass):

    error        raise FailpointHit
    no-space     raise OSError(ENOSPC)
    kill         SIGKILL to this very process: no clean-up of any kind
    sleep:MS     sleep that many milliseconds
"""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ENVIRONMENT_NAME = "CELLMESH_FAILPOINTS"

_SPEC = re.compile(r"^(?:(?P<skip>\d+)>)?(?P<action>[a-z-]+)(?::(?P<argument>\d+))?(?:\*(?P<count>\d+))?$")


class FailpointHit(RuntimeError):
    """Raised by the action `error`."""


@dataclass(slots=True)
class _Point:
    action: Callable[[], None]
    skip: int = 0
    count: int | None = None


_active: dict[str, _Point] = {}
_lock = threading.Lock()


def failpoint(name: str) -> None:
    """Do what was set for this point; by default nothing."""
    if _active:
        _hit(name)


def set_failpoint(name: str, action: str | Callable[[], None]) -> None:
    """Set a point.

    Args:
        name: As in the call of `failpoint`.
        action: A spec as in the module's docstring, or anything callable, called at each hit.

    Raises:
        ValueError: the spec is not one of the known ones.
    """
    point = _parse(action) if isinstance(action, str) else _Point(action)
    with _lock:
        _active[name] = point


def clear_failpoint(name: str) -> None:
    """Make the point do nothing again."""
    with _lock:
        _active.pop(name, None)


@contextmanager
def failing(name: str, action: str | Callable[[], None]) -> Iterator[None]:
    """Have a point set inside a `with` block."""
    set_failpoint(name, action)
    try:
        yield
    finally:
        clear_failpoint(name)


def load_environment() -> None:
    """Set the points listed in the environment variable. Called once by a process at its start."""
    for entry in filter(None, os.environ.get(ENVIRONMENT_NAME, "").split(";")):
        name, _, spec = entry.partition("=")
        set_failpoint(name.strip(), spec.strip())


def _hit(name: str) -> None:
    with _lock:
        point = _active.get(name)
        if point is None:
            return
        if point.skip > 0:
            point.skip -= 1
            return
        if point.count is not None:
            if point.count == 0:
                return
            point.count -= 1
    point.action()


def _parse(spec: str) -> _Point:
    match = _SPEC.match(spec)
    if match is None:
        raise ValueError(f"not a failpoint action: {spec!r}")
    argument = int(match["argument"] or 0)
    actions: dict[str, Callable[[], None]] = {
        "error": _raise_error,
        "no-space": _raise_no_space,
        "kill": _kill,
        "sleep": lambda: time.sleep(argument / 1000),
    }
    if match["action"] not in actions:
        raise ValueError(f"not a failpoint action: {spec!r}; known are {', '.join(actions)}")
    count = int(match["count"]) if match["count"] else None
    return _Point(actions[match["action"]], skip=int(match["skip"] or 0), count=count)


def _raise_error() -> None:
    raise FailpointHit("a failpoint was hit")


def _raise_no_space() -> None:
    raise OSError(errno.ENOSPC, "a failpoint was hit")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
