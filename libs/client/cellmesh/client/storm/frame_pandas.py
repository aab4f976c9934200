"""Columns as series of pandas, a whole column at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from cellmesh.client.storm.frame import BOOL, BYTES, DOUBLE, PIECES, TIME, Part

if TYPE_CHECKING:
    from numpy.typing import NDArray


def series(kind: int, parts: Sequence[Part]) -> Any:
    """What pandas takes as a column.

    Integers are int64, or Int64 with nulls; truth values bool or boolean; numbers float64 with NaN; times
    datetime64[ms, UTC] with NaT; text and JSON pandas' strings; bytes objects.
    """
    if kind in PIECES:
        found = [value for part in parts for value in part.python()]
        return pd.Series(found, dtype=object) if kind == BYTES else pd.Series(found, dtype="str")
    nulls = _joined([_nulls(part) for part in parts], np.bool_)
    has_nulls = bool(nulls.any())
    if kind == BOOL:
        flags = _joined([_bits(part.values, part.count) for part in parts], np.bool_)
        return pd.arrays.BooleanArray(flags, nulls) if has_nulls else flags
    if kind == DOUBLE:
        numbers = _joined([np.frombuffer(part.values, "<f8") for part in parts], np.float64)
        return np.where(nulls, np.nan, numbers) if has_nulls else numbers
    integers = _joined([np.frombuffer(part.values, "<i8") for part in parts], np.int64)
    if kind == TIME:
        times = integers.astype("datetime64[ms]")
        if has_nulls:
            times[nulls] = np.datetime64("NaT")
        return pd.Series(times).dt.tz_localize("UTC")
    return pd.arrays.IntegerArray(integers, nulls) if has_nulls else integers


def _joined(arrays: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)


def _nulls(part: Part) -> NDArray[Any]:
    if not part.null_count:
        return np.zeros(part.count, np.bool_)
    return ~_bits(part.validity, part.count)


def _bits(data: bytes, count: int) -> NDArray[Any]:
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count, bitorder="little").astype(np.bool_)
