"""Whatever Python raises inside a query, as an error that users can read.

Bounds of the interpreter have errors of their own. Anything else is a mistake of the Cortex: users get a reference, under
which the log has the whole of it, and no name of a Python class.
"""

from __future__ import annotations

import logging

from cellmesh.common.errors import CellError, Internal, LimitExceeded, RecursionLimitHit, StormRuntimeError
from cellmesh.cortex.storm.runtime.places import locate

LOGGER = logging.getLogger(__name__)


def typed_error(error: Exception, task_id: str) -> CellError:
    """Return the error that leaves the query for one that Python raised, with its place where it is known.

    Args:
        error: What was raised.
        task_id: The query's; the reference to what the log has.
    """
    found = _typed(error, task_id)
    if found is not error:
        found.__traceback__ = error.__traceback__
    locate(found)
    return found


def _typed(error: Exception, task_id: str) -> CellError:
    if isinstance(error, CellError):
        return error
    if isinstance(error, RecursionError):
        return RecursionLimitHit("the query is nested too deeply", name="depth")
    if isinstance(error, MemoryError):
        return LimitExceeded("the query's values take too much memory", name="memory")
    if isinstance(error, ArithmeticError):
        return StormRuntimeError("a number is too large, or does not suit what is done with it")
    if isinstance(error, UnicodeError):
        return StormRuntimeError("a text holds characters that are no characters of Unicode")
    LOGGER.error("query %s failed by a mistake of the Cortex", task_id, exc_info=error)
    return Internal(
        f"the query failed by a mistake of the Cortex, whose log tells more under {task_id}",
        reference=task_id,
    )
