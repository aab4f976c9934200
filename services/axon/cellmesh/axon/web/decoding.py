"""The body of an answer, uncompressed in pieces of a bounded size: a few bytes of a bomb would else be gigabytes at once."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import httpx

GZIP_BITS: Final = 31
ZLIB_BITS: Final = 15
RAW_BITS: Final = -15

GZIP: Final = ("gzip", "x-gzip")
DEFLATE: Final = "deflate"


async def decoded(response: httpx.Response, size: int) -> AsyncIterator[bytes]:
    """The body of an answer in pieces of at most about `size` bytes, uncompressed as its header tells.

    A coding that was not asked for is left as it came.

    Raises:
        httpx.DecodingError: it is not what the header tells, is cut, or is compressed more than once.
    """
    import httpx

    told = [item.strip().lower() for item in response.headers.get_list("content-encoding", split_commas=True)]
    codings = [item for item in told if item in (*GZIP, DEFLATE)]
    if not codings:
        async for data in response.aiter_raw(size):
            yield data
        return
    if len(codings) > 1:
        # Nobody needs it, and each time makes a bomb a thousand times as large.
        raise httpx.DecodingError("the answer is compressed more than once", request=response.request)
    inflater = Inflater(codings[0])
    try:
        async for data in response.aiter_raw(size):
            for piece in inflater.feed(data, size):
                yield piece
        inflater.close()
    except zlib.error as error:
        raise httpx.DecodingError(str(error), request=response.request) from error


class Inflater:
    """One compressed body."""

    def __init__(self, coding: str) -> None:
        self._bits = GZIP_BITS if coding in GZIP else ZLIB_BITS
        self._inflate = zlib.decompressobj(self._bits)
        self._has_begun = False

    def feed(self, data: bytes, size: int) -> Iterator[bytes]:
        """What these bytes are, in pieces of at most `size`. Raises zlib.error."""
        is_full = False
        while data or is_full:
            if self._inflate.eof:
                # Another member follows.
                self._inflate = zlib.decompressobj(self._bits)
            try:
                piece = self._inflate.decompress(data, size)
            except zlib.error:
                if self._has_begun or self._bits != ZLIB_BITS:
                    raise
                # Some servers say deflate and leave out its frame.
                self._bits = RAW_BITS
                self._inflate = zlib.decompressobj(RAW_BITS)
                piece = self._inflate.decompress(data, size)
            self._has_begun = True
            if piece:
                yield piece
            # After a full piece some may be left although all of the input is taken.
            is_full = len(piece) == size and not self._inflate.eof
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail

    def close(self) -> None:
        """See that it was whole. Raises zlib.error."""
        if self._has_begun and not self._inflate.eof:
            raise zlib.error("the compressed body ends early")


__all__ = ["decoded"]
