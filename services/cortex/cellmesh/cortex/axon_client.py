"""What a Cortex asks of the Axon that keeps its contents.

Contents come and go as bytes; what names one is its SHA-256, 32 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from cellmesh.api.axon.v1 import blob_pb2, content_pb2, web_pb2
from cellmesh.api.axon.v1.blob_service_pb2_grpc import BlobServiceStub
from cellmesh.api.axon.v1.content_service_pb2_grpc import ContentServiceStub
from cellmesh.api.axon.v1.web_service_pb2_grpc import WebServiceStub
from cellmesh.client import CellClient
from cellmesh.common.errors import BadArg, NoSuchFile
from cellmesh.common.values import from_value, to_value

PIECE_SIZE: Final = 1 << 20
"""Bytes in one message of an upload."""

PUT_SIZE_MAX: Final = 2 << 20
"""Bytes that are put in one call."""

_ERRORS: Final = {
    "ignore": content_pb2.DECODING_ERRORS_IGNORE,
    "replace": content_pb2.DECODING_ERRORS_REPLACE,
    "strict": content_pb2.DECODING_ERRORS_STRICT,
    "backslashreplace": content_pb2.DECODING_ERRORS_BACKSLASHREPLACE,
}
_FORMATS: Final = {
    "delimiter": "delimiter",
    "quotechar": "quote_char",
    "escapechar": "escape_char",
    "doublequote": "double_quote",
    "skipinitialspace": "skip_initial_space",
    "lineterminator": "line_terminator",
    "strict": "strict",
}


class AxonClient:
    """What queries ask of an Axon. Threads may share it.

    Args:
        client: A client of the Axon.
    """

    def __init__(self, client: CellClient) -> None:
        self._client = client
        self._blobs: Any = client.stub(BlobServiceStub)
        self._contents: Any = client.stub(ContentServiceStub)
        self._web: Any = client.stub(WebServiceStub)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    # Contents.

    def put(self, data: bytes) -> tuple[int, bytes]:
        """Store a content; returns its size and SHA-256."""
        if len(data) > PUT_SIZE_MAX:
            return self.upload([data])
        found = self._blobs.PutBlobs(blob_pb2.PutBlobsRequest(contents=[data])).blobs[0]
        return found.size_bytes, found.sha256

    def upload(self, parts: Iterable[bytes]) -> tuple[int, bytes]:
        """Store a content that comes in parts; returns its size and SHA-256."""
        hashes = self._blobs.UploadBlob(_pieces(parts)).hashes
        return hashes.size_bytes, hashes.sha256

    def has(self, sha256: bytes) -> bool:
        """Whether a content is there."""
        return bool(self._blobs.HasBlobs(blob_pb2.HasBlobsRequest(sha256s=[sha256])).present[0])

    def size(self, sha256: bytes) -> int | None:
        """Return the size of a content in bytes; None if it is not there."""
        try:
            return int(self._blobs.GetBlobInfo(blob_pb2.GetBlobInfoRequest(sha256=sha256)).blob.size_bytes)
        except NoSuchFile:
            return None

    def hashes(self, sha256: bytes) -> dict[str, str]:
        """Return the digests of a content in hexadecimal, by name; raises NoSuchFile."""
        found = self._blobs.GetBlobHashes(blob_pb2.GetBlobHashesRequest(sha256=sha256)).hashes
        return {name: getattr(found, name).hex() for name in ("md5", "sha1", "sha256", "sha512")}

    def read(self, sha256: bytes, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Yield the parts of a content, or of a range of it; raises NoSuchFile."""
        request = blob_pb2.GetBlobRequest(sha256=sha256, offset_bytes=offset)
        if size is not None:
            request.size_bytes = size
        for response in self._blobs.GetBlob(request):
            yield response.data

    def remove(self, sha256s: list[bytes]) -> list[bool]:
        """Delete contents; returns for each whether it was there."""
        return list(self._blobs.DeleteBlobs(blob_pb2.DeleteBlobsRequest(sha256s=sha256s)).deleted)

    def listed(
        self, offset: int, *, waits: bool, timeout_s: float | None
    ) -> Iterator[tuple[int, bytes, int]]:
        """Yield offset, SHA-256 and size of what is stored, in order of arrival."""
        request = blob_pb2.ListBlobsRequest(offset=offset, wait=waits, skip_deleted=True)
        if timeout_s is not None:
            request.wait_timeout.FromMilliseconds(int(timeout_s * 1000))
        for response in self._blobs.ListBlobs(request):
            for listed in response.blobs:
                yield listed.offset, listed.blob.sha256, listed.blob.size_bytes

    def metrics(self) -> dict[str, int]:
        """Return the totals."""
        found = self._blobs.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest())
        return {"size:bytes": found.size_bytes, "file:count": found.blob_count}

    # What is in contents.

    def lines(self, sha256: bytes, errors: str) -> Iterator[str]:
        """Yield the lines of a text."""
        request = content_pb2.ReadLinesRequest(sha256=sha256, errors=_errors(errors))
        for response in self._contents.ReadLines(request):
            yield from response.lines

    def csv_rows(
        self, sha256: bytes, dialect: str, errors: str, options: dict[str, Any]
    ) -> Iterator[list[Any]]:
        """Yield the rows of a CSV text; `options` are those of Python's csv module, by the names it has for them."""
        request = content_pb2.ReadCsvRowsRequest(sha256=sha256, dialect=dialect, errors=_errors(errors))
        for name, value in options.items():
            if name not in _FORMATS:
                raise BadArg(f"rows have no {name}", name=name)
            try:
                setattr(request.format, _FORMATS[name], value)
            except TypeError as error:
                raise BadArg(f"{name} cannot be {value!r}", name=name) from error
        for response in self._contents.ReadCsvRows(request):
            for row in response.rows:
                yield [from_value(item) for item in row.items]

    def json_lines(self, sha256: bytes, errors: str) -> Iterator[Any]:
        """Yield the values of a text with a JSON value a line."""
        request = content_pb2.ReadJsonLinesRequest(sha256=sha256, errors=_errors(errors))
        for response in self._contents.ReadJsonLines(request):
            for value in response.values:
                yield from_value(value)

    def unpack(self, sha256: bytes, form: str, offset: int) -> list[Any]:
        """Return the fields of a fixed structure, written as Python's struct module has it."""
        request = content_pb2.UnpackBlobRequest(sha256=sha256, format=form, offset_bytes=offset)
        return [from_value(value) for value in self._contents.UnpackBlob(request).values]

    # The web.

    def fetch(self, url: str, options: web_pb2.WebOptions, data: bytes | None, json: Any) -> dict[str, Any]:
        """Have the Axon store what a URL answers; returns what came of it."""
        request = web_pb2.FetchUrlRequest(url=url, options=options)
        if json is not None:
            request.json.CopyFrom(to_value(json))
        elif data is not None:
            request.data = data
        return _result(self._web.FetchUrl(request, timeout=None).result)

    def send(self, sha256: bytes, url: str, options: web_pb2.WebOptions) -> dict[str, Any]:
        """Have the Axon send a content to a URL; returns what came of it."""
        request = web_pb2.SendBlobRequest(sha256=sha256, url=url, options=options)
        return _result(self._web.SendBlob(request, timeout=None).result)


def _pieces(parts: Iterable[bytes]) -> Iterator[blob_pb2.UploadBlobRequest]:
    for part in parts:
        for start in range(0, len(part), PIECE_SIZE):
            yield blob_pb2.UploadBlobRequest(data=part[start : start + PIECE_SIZE])
    yield blob_pb2.UploadBlobRequest(last=True)


def _errors(name: str) -> content_pb2.DecodingErrors.ValueType:
    found = _ERRORS.get(name)
    if found is None:
        raise BadArg(f"errors is one of {', '.join(_ERRORS)}", name="errors", valu=name)
    return found


def _result(result: web_pb2.WebResult) -> dict[str, Any]:
    found: dict[str, Any] = from_value(result.info)
    return found
