"""Waiting inside a query."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

SLEEP_SLICE_S: Final = 0.05
"""A wait is cut into slices, so that the query can be ended meanwhile."""


def wait(context: RunContext, seconds: float) -> None:
    """Wait without holding what others need; ends early, with an error, when the query is ended."""
    deadline = time.monotonic() + seconds
    context.session.pause()
    while (left := deadline - time.monotonic()) > 0:
        context.tick()
        time.sleep(min(left, SLEEP_SLICE_S))
