"""Rows of CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cellmesh.axon.content.lines import LINE_SIZE_MAX
from cellmesh.common.errors import BadArg, BadDataValu, LimitExceeded

ROW_SIZE_MAX: Final = LINE_SIZE_MAX
"""Characters of one row, which may go over many lines."""


def read_rows(
    lines: Iterable[str], dialect: str = "excel", parameters: Mapping[str, Any] | None = None
) -> Iterator[list[Any]]:
    """Yield the rows of a CSV text.

    Args:
        lines: Its lines.
        dialect: The name of a dialect of `csv`.
        parameters: Parameters of `csv.reader` that differ from the dialect.

    Raises:
        BadArg: there is no such dialect, or the parameters make no sense.
        BadDataValu: the text is not of this format.
        LimitExceeded: a row has more than ROW_SIZE_MAX characters.
    """
    fed = _Fed(lines)
    if dialect not in csv.list_dialects():
        raise BadArg(f"no CSV dialect is called {dialect!r}", name="dialect", known=csv.list_dialects())
    # A bound of the whole process, which nothing else in it relies on; the row has one of its own.
    csv.field_size_limit(ROW_SIZE_MAX)
    try:
        reader = csv.reader(fed, dialect, **(parameters or {}))
    except (TypeError, ValueError, csv.Error) as error:
        raise BadArg(f"the CSV format makes no sense: {error}", name="format") from None
    while True:
        try:
            row = next(reader, None)
        except (csv.Error, ValueError) as error:
            raise BadDataValu(
                f"line {reader.line_num} is no CSV of this format: {error}", name="csv", line=reader.line_num
            ) from None
        if row is None:
            return
        fed.size = 0
        yield row


class _Fed:
    """The lines, as `csv` wants them, with a bound for what goes into one row."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.size += len(line) + 1
        if self.size > ROW_SIZE_MAX:
            raise LimitExceeded(
                "a row of the text is too long; is a quote not closed?",
                name="ROW_SIZE_MAX",
                limit=ROW_SIZE_MAX,
                size=self.size,
            )
        return line + "\n"


__all__ = ["ROW_SIZE_MAX", "read_rows"]
