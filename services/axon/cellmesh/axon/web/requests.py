"""Requests to the web. Whatever goes wrong with one is told in its result."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cellmesh.axon.api.uploads import UploadTask
from cellmesh.axon.blobs import BlobHashes
from cellmesh.axon.blobs.interface import Blobs
from cellmesh.axon.web import results
from cellmesh.axon.web.bodies import Body, Field, blob_body, form_body
from cellmesh.axon.web.decoding import decoded
from cellmesh.axon.web.trust import Trust, make_context
from cellmesh.common.cell.version import cellmesh_version
from cellmesh.common.errors import CellError, HitLimit
from cellmesh.common.rpc.workers import Workers

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 300.0
REDIRECT_COUNT_MAX: Final = 10
BODY_SIZE_MAX: Final = 1024 * 1024
"""Of an answer that is handed back instead of stored, in bytes."""

READ_SIZE: Final = 64 * 1024
SCHEMES: Final = ("http", "https")


@dataclass(frozen=True, slots=True)
class WebRequest:
    """A request.

    Attributes:
        url: Where to.
        method: Such as GET.
        params: Added to the query of the URL.
        headers: Sent beside those that are always sent.
        timeout_s: For all of it.
        proxy: URL of a proxy, empty for none; None is that of the settings.
        trust: About TLS.
    """

    url: str
    method: str
    params: Sequence[tuple[str, str]] = ()
    headers: Sequence[tuple[str, str]] = ()
    timeout_s: float = TIMEOUT_S
    proxy: str | None = None
    trust: Trust = field(default_factory=Trust)


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """What came of a request.

    Attributes:
        info: As a map, see `results`.
        hashes: Of the answer, where it was stored.
        body: Of the answer, where it was to be handed back: its first BODY_SIZE_MAX bytes.
    """

    info: dict[str, Any]
    hashes: BlobHashes | None = None
    body: bytes = b""


class WebClient:
    """Makes requests.

    Args:
        store: The blobs.
        workers: Threads for blocking work.
        proxy: URL of the proxy of requests that name none; empty for none.
        ca_dir: Folder of certificates trusted beside those of the system.
        size_max_bytes: Of an answer that is stored; None is no limit.
    """

    def __init__(
        self,
        store: Blobs,
        workers: Workers,
        *,
        proxy: str = "",
        ca_dir: Path | None = None,
        size_max_bytes: int | None = None,
    ) -> None:
        self._store = store
        self._workers = workers
        self._proxy = proxy
        self._ca_dir = ca_dir
        self._size_max = size_max_bytes

    async def fetch(self, request: WebRequest, body: bytes | None = None, body_type: str = "") -> WebAnswer:
        """Make a request and store what is answered, whatever its status.

        Args:
            request: The request.
            body: What is sent, if anything.
            body_type: Its media type.
        """

        async def store(response: httpx.Response) -> WebAnswer:
            hashes = await self._store_answer(response)
            info = results.answered(response)
            results.stored(info, hashes)
            return WebAnswer(info, hashes)

        async def send() -> WebAnswer:
            async with self._sent(request, body, body_type) as response:
                return await store(response)

        return await self._reported(request, send)

    async def send_blob(self, request: WebRequest, sha256: bytes) -> WebAnswer:
        """Send a blob as the body of a request."""

        async def send() -> WebAnswer:
            body = await self._workers.run(blob_body, self._store, self._workers, sha256)
            async with self._sent(request, body, "application/octet-stream") as response:
                await _read_head(response)
                return WebAnswer(results.answered(response))

        return await self._reported(request, send)

    async def send_form(self, request: WebRequest, fields: Sequence[Field]) -> WebAnswer:
        """Send a form; what is answered is handed back."""

        async def send() -> WebAnswer:
            body, body_type = await self._workers.run(form_body, self._store, self._workers, fields)
            async with self._sent(request, body, body_type) as response:
                answer = await _read_head(response)
                return WebAnswer(results.answered(response), body=answer)

        return await self._reported(request, send)

    async def _reported(self, request: WebRequest, send: Callable[[], Awaitable[WebAnswer]]) -> WebAnswer:
        import httpx

        try:
            async with asyncio.timeout(request.timeout_s):
                answer = await send()
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            httpx.StreamError,
            OSError,
            ValueError,
            CellError,
        ) as error:
            # TimeoutError and ssl.SSLError are OSErrors.
            answer = WebAnswer(results.failed(error))
        answer.info["original_url"] = request.url
        return answer

    @asynccontextmanager
    async def _sent(
        self, request: WebRequest, body: bytes | Body | None, body_type: str
    ) -> AsyncIterator[httpx.Response]:
        """The answer to a request, its body not read yet."""
        import httpx

        url = httpx.URL(request.url)
        if url.scheme not in SCHEMES or not url.host:
            raise httpx.UnsupportedProtocol(f"{request.url!r} is no URL with http:// or https:// and a host")
        if request.params:
            url = url.copy_with(params=[*url.params.multi_items(), *request.params])
        headers = httpx.Headers(
            {
                "Accept": "*/*",
                "Accept-Encoding": "gzip, deflate",
                "User-Agent": f"cellmesh/{cellmesh_version()}",
            }
        )
        if body is not None:
            headers["Content-Length"] = str(len(body) if isinstance(body, bytes) else body.size)
            headers["Content-Type"] = body_type or "application/octet-stream"
        headers.update(list(request.headers))
        context: ssl.SSLContext = await self._workers.run(make_context, request.trust, self._ca_dir)
        proxy = self._proxy if request.proxy is None else request.proxy
        client = httpx.AsyncClient(
            verify=context,
            proxy=_proxy(proxy, context),
            # `_reported` bounds the whole; no single step needs a bound of its own.
            timeout=None,
            follow_redirects=True,
            max_redirects=REDIRECT_COUNT_MAX,
            trust_env=False,
        )
        sending = client.stream(request.method, url, headers=headers, content=body)
        async with client, sending as response:
            yield response

    async def _store_answer(self, response: httpx.Response) -> BlobHashes:
        task = UploadTask(self._store.upload(), self._workers)
        size = 0
        try:
            async for data in decoded(response, READ_SIZE):
                size += len(data)
                if self._size_max is not None and size > self._size_max:
                    raise HitLimit(
                        "the answer is larger than the setting web_size_max_bytes allows",
                        name="web_size_max_bytes",
                        limit=self._size_max,
                    )
                await task.add(data)
            blob = await task.finish()
        except BaseException:
            await task.drop()
            raise
        # Callers keep all digests with what they know of an answer.
        return await self._workers.run_long(lambda token: self._store.hashes(blob.sha256, token))


def _proxy(url: str, context: ssl.SSLContext) -> httpx.Proxy | None:
    import httpx

    if not url:
        return None
    return httpx.Proxy(url, ssl_context=context if url.startswith("https:") else None)


async def _read_head(response: httpx.Response) -> bytes:
    """The first of an answer that is not stored."""
    found = bytearray()
    async for data in decoded(response, READ_SIZE):
        found += data
        if len(found) >= BODY_SIZE_MAX:
            break
    return bytes(found[:BODY_SIZE_MAX])


__all__ = ["WebAnswer", "WebClient", "WebRequest"]
