"""ContentService: contents read as text, rows and values, in batches."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final

from cellmesh.api.axon.v1 import content_pb2
from cellmesh.api.common.v1 import value_pb2
from cellmesh.axon.blobs.interface import Blobs
from cellmesh.axon.content.csv_rows import read_rows
from cellmesh.axon.content.lines import read_lines
from cellmesh.axon.content.values import read_items, read_json_lines, struct_size, unpack
from cellmesh.common.errors import BadArg
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.values import to_value

LINE_COUNT_MAX: Final = 4096
"""Lines, rows or values in one message."""

ERRORS: Final = {
    content_pb2.DECODING_ERRORS_UNSPECIFIED: "ignore",
    content_pb2.DECODING_ERRORS_IGNORE: "ignore",
    content_pb2.DECODING_ERRORS_REPLACE: "replace",
    content_pb2.DECODING_ERRORS_STRICT: "strict",
    content_pb2.DECODING_ERRORS_BACKSLASHREPLACE: "backslashreplace",
}

QUOTINGS: Final = {
    content_pb2.CSV_QUOTING_UNSPECIFIED: csv.QUOTE_MINIMAL,
    content_pb2.CSV_QUOTING_MINIMAL: csv.QUOTE_MINIMAL,
    content_pb2.CSV_QUOTING_ALL: csv.QUOTE_ALL,
    content_pb2.CSV_QUOTING_NONNUMERIC: csv.QUOTE_NONNUMERIC,
    content_pb2.CSV_QUOTING_NONE: csv.QUOTE_NONE,
}

CSV_NAMES: Final = {
    "delimiter": "delimiter",
    "quote_char": "quotechar",
    "escape_char": "escapechar",
    "double_quote": "doublequote",
    "skip_initial_space": "skipinitialspace",
    "line_terminator": "lineterminator",
    "strict": "strict",
}
"""The parameters of CsvFormat but `quoting`, and those of `csv` that they stand for."""

Context = Any


class ContentServicer:
    """Serves cellmesh.api.axon.v1.ContentService.

    Args:
        store: The blobs.
        workers: Threads for blocking work.
    """

    def __init__(self, store: Blobs, workers: Workers) -> None:
        self._store = store
        self._workers = workers

    async def ReadLines(
        self, request: content_pb2.ReadLinesRequest, context: Context
    ) -> AsyncIterator[content_pb2.ReadLinesResponse]:
        """See the proto."""
        stream = self._stream(
            lambda pieces: read_lines(pieces, _errors(request.errors)),
            request.sha256,
            pack=lambda lines: content_pb2.ReadLinesResponse(lines=lines),
            size_of=len,
        )
        async for message in stream:
            yield message

    async def ReadCsvRows(
        self, request: content_pb2.ReadCsvRowsRequest, context: Context
    ) -> AsyncIterator[content_pb2.ReadCsvRowsResponse]:
        """See the proto."""
        parameters = _csv_parameters(request.format)

        def read(pieces: Iterable[bytes]) -> Iterator[value_pb2.ListValue]:
            lines = read_lines(pieces, _errors(request.errors))
            for row in read_rows(lines, request.dialect or "excel", parameters):
                yield to_value(row).list_value

        stream = self._stream(
            read,
            request.sha256,
            pack=lambda rows: content_pb2.ReadCsvRowsResponse(rows=rows),
            size_of=lambda row: int(row.ByteSize()),
        )
        async for message in stream:
            yield message

    async def ReadJsonLines(
        self, request: content_pb2.ReadJsonLinesRequest, context: Context
    ) -> AsyncIterator[content_pb2.ReadJsonLinesResponse]:
        """See the proto."""
        stream = self._stream(
            lambda pieces: map(to_value, read_json_lines(read_lines(pieces, _errors(request.errors)))),
            request.sha256,
            pack=lambda values: content_pb2.ReadJsonLinesResponse(values=values),
            size_of=lambda value: int(value.ByteSize()),
        )
        async for message in stream:
            yield message

    async def ReadMsgpack(
        self, request: content_pb2.ReadMsgpackRequest, context: Context
    ) -> AsyncIterator[content_pb2.ReadMsgpackResponse]:
        """See the proto."""
        stream = self._stream(
            lambda pieces: map(to_value, read_items(pieces)),
            request.sha256,
            pack=lambda values: content_pb2.ReadMsgpackResponse(values=values),
            size_of=lambda value: int(value.ByteSize()),
        )
        async for message in stream:
            yield message

    async def UnpackBlob(
        self, request: content_pb2.UnpackBlobRequest, context: Context
    ) -> content_pb2.UnpackBlobResponse:
        """See the proto."""

        def read() -> list[Any]:
            size = struct_size(request.format)
            return unpack(
                request.format, b"".join(self._store.read(request.sha256, request.offset_bytes, size))
            )

        fields = await self._workers.run(read)
        return content_pb2.UnpackBlobResponse(values=map(to_value, fields))

    def _stream(
        self,
        read: Callable[[Iterable[bytes]], Iterator[Any]],
        sha256: bytes,
        *,
        pack: Callable[[list[Any]], Any],
        size_of: Callable[[Any], int],
    ) -> AsyncIterator[Any]:
        def produce(token: CancelToken) -> Iterator[Any]:
            return read(_until_cancelled(self._store.read(sha256), token))

        return self._workers.stream(produce, pack=pack, size_of=size_of, count_max=LINE_COUNT_MAX)


def _until_cancelled(pieces: Iterable[bytes], token: CancelToken) -> Iterator[bytes]:
    """The pieces, until nobody waits any more: what is read may make nothing for long, as one long line does."""
    for piece in pieces:
        token.check()
        yield piece


def _errors(errors: int) -> str:
    found = ERRORS.get(errors)  # type: ignore[call-overload]
    if found is None:
        raise BadArg(f"no handling of errors has the number {errors}", name="errors")
    return str(found)


def _csv_parameters(format: content_pb2.CsvFormat) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        theirs: getattr(format, name)
        for name, theirs in CSV_NAMES.items()
        if format.HasField(name)  # type: ignore[arg-type]
    }
    for name in ("quotechar", "escapechar"):
        if parameters.get(name) == "":
            parameters[name] = None
    if format.HasField("quoting"):
        if format.quoting not in QUOTINGS:
            raise BadArg(f"no quoting has the number {format.quoting}", name="quoting")
        parameters["quoting"] = QUOTINGS[format.quoting]
    return parameters
