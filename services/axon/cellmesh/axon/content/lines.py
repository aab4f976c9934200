"""Text and its lines: UTF-8, ended by LF, CR LF or CR."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator
from typing import Final

from cellmesh.common.errors import BadDataValu, LimitExceeded

LINE_SIZE_MAX: Final = 8 * 1024 * 1024
"""Characters of one line."""


def read_lines(pieces: Iterable[bytes], errors: str = "ignore") -> Iterator[str]:
    """Yield the lines of a text, without their ends.

    Args:
        pieces: The text, cut anywhere.
        errors: What becomes of bytes that are not UTF-8: the name of an error handler of `codecs`.

    Raises:
        BadDataValu: the handler is "strict", and there are such bytes.
        LimitExceeded: a line has more than LINE_SIZE_MAX characters.
    """
    # A line that is not complete yet, in parts: joining it at each piece would be slow for long ones.
    waiting: list[str] = []
    waiting_size = 0
    for text in _decoded(pieces, errors):
        lines = text.split("\n")
        waiting.append(lines[0])
        waiting_size += len(lines[0])
        if waiting_size > LINE_SIZE_MAX:
            raise _too_long(waiting_size)
        if len(lines) == 1:
            continue
        yield "".join(waiting)
        yield from lines[1:-1]
        waiting, waiting_size = [lines[-1]], len(lines[-1])
    if waiting_size:
        yield "".join(waiting)


def _decoded(pieces: Iterable[bytes], errors: str) -> Iterator[str]:
    """The text of pieces, with all ends of lines as LF."""
    utf8 = codecs.getincrementaldecoder("utf-8")(errors)
    decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
    size = 0
    try:
        for piece in pieces:
            yield decoder.decode(piece)
            size += len(piece)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise BadDataValu(
            f"the text is not UTF-8: {error.reason}",
            name="utf-8",
            offset=max(0, size + error.start),
            hint="ask for another handling of errors, such as ignore or replace",
        ) from None


def _too_long(size: int) -> LimitExceeded:
    return LimitExceeded(
        "a line of the text is too long", name="LINE_SIZE_MAX", limit=LINE_SIZE_MAX, size=size
    )


__all__ = ["LINE_SIZE_MAX", "read_lines"]
