"""What is sent: blobs and forms, read from the store while they leave, with their length told before."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from cellmesh.axon.blobs.interface import Blobs
from cellmesh.common.errors import BadArg
from cellmesh.common.rpc.workers import Workers

PIECE_COUNT: Final = 4
"""Chunks read from the store at a time."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form: a blob, if it has a SHA-256, or else a value."""

    name: str
    sha256: bytes = b""
    value: Any = None
    filename: str = ""
    content_type: str = ""
    content_transfer_encoding: str = ""


class Body:
    """Bytes and blobs, one after the other. It can be sent again, as after a redirect.

    Args:
        store: The blobs.
        workers: Threads for blocking work.
        parts: Bytes as they are; blobs as (SHA-256, size).
    """

    def __init__(self, store: Blobs, workers: Workers, parts: Sequence[bytes | tuple[bytes, int]]) -> None:
        self._store = store
        self._workers = workers
        self._parts = parts

    @property
    def size(self) -> int:
        """How much it is, in bytes."""
        return sum(len(part) if isinstance(part, bytes) else part[1] for part in self._parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
                continue
            pieces = self._store.read(part[0])
            while data := await self._workers.run(_take, pieces):
                yield data


def _take(pieces: Iterator[bytes]) -> bytes:
    return b"".join(islice(pieces, PIECE_COUNT))


def blob_body(store: Blobs, workers: Workers, sha256: bytes) -> Body:
    """A blob. Blocks. Raises NoSuchFile: it is not there."""
    return Body(store, workers, [(sha256, store.info(sha256).size)])


def form_body(store: Blobs, workers: Workers, fields: Sequence[Field]) -> tuple[Body, str]:
    """A form as multipart/form-data, and its Content-Type. Blocks.

    Raises:
        NoSuchFile: a blob is not there.
        BadArg: a field's media type or encoding cannot be a header, or its value no JSON.
    """
    boundary = secrets.token_hex(16)
    parts: list[bytes | tuple[bytes, int]] = []
    for field in fields:
        size = store.info(field.sha256).size if field.sha256 else 0
        parts.append(f"--{boundary}\r\n{_head(field)}\r\n".encode())
        if field.sha256:
            parts.append((field.sha256, size))
        else:
            parts.append(_value(field))
        parts.append(b"\r\n")
    parts.append(f"--{boundary}--\r\n".encode())
    return Body(store, workers, parts), f"multipart/form-data; boundary={boundary}"


def _head(field: Field) -> str:
    disposition = f'form-data; name="{_quoted(field.name)}"'
    filename = field.filename or (field.sha256.hex() if field.sha256 else "")
    if filename:
        disposition += f'; filename="{_quoted(filename)}"'
    lines = [f"Content-Disposition: {disposition}"]
    is_json = not field.sha256 and not isinstance(field.value, (str, bytes, type(None)))
    default = "application/octet-stream" if field.sha256 else "application/json" if is_json else ""
    for name, value in (
        ("Content-Type", field.content_type or default),
        ("Content-Transfer-Encoding", field.content_transfer_encoding),
    ):
        if any(not " " <= character <= "~" for character in value):
            raise BadArg(f"{value!r} cannot be the {name} of a field", name=field.name)
        if value:
            lines.append(f"{name}: {value}")
    return "".join(f"{line}\r\n" for line in lines)


def _quoted(text: str) -> str:
    """As browsers do: what would end the quotes or the line is percent-encoded."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _value(field: Field) -> bytes:
    match field.value:
        case None:
            return b""
        case bytes():
            return field.value
        case str():
            return field.value.encode(errors="surrogatepass")
    try:
        return json.dumps(field.value).encode()
    except (TypeError, ValueError) as error:
        raise BadArg(f"the value of a field is no JSON: {error}", name=field.name) from None


__all__ = ["Body", "Field", "blob_body", "form_body"]
