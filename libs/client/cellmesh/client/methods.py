"""What an RPC does to the cell, as its proto declares it by `idempotency_level`: the one place that says what is safe."""

from __future__ import annotations

import enum
import functools

from google.protobuf import descriptor_pb2, descriptor_pool

_OPTIONS = descriptor_pb2.MethodOptions


class Effect(enum.Enum):
    """What a call may leave behind."""

    NONE = "none"
    """Nothing: it only reads. It may be made again, and by any instance."""
    REPEATABLE = "repeatable"
    """The same when made twice as when made once. It may be made again."""
    ONCE = "once"
    """Something each time, or nothing is declared. What may have been carried out is never sent again."""

    @property
    def is_safe(self) -> bool:
        """Whether a call may be made again when nobody knows whether it was carried out."""
        return self is not Effect.ONCE


@functools.cache
def effect_of(path: str) -> Effect:
    """The effect of a method.

    Args:
        path: Full method name, "/package.Service/Method". One whose proto is not loaded counts as ONCE.
    """
    service, _, name = path.strip("/").rpartition("/")
    try:
        method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    except KeyError:
        return Effect.ONCE
    match method.GetOptions().idempotency_level:
        case _OPTIONS.NO_SIDE_EFFECTS:
            return Effect.NONE
        case _OPTIONS.IDEMPOTENT:
            return Effect.REPEATABLE
        case _:
            return Effect.ONCE
