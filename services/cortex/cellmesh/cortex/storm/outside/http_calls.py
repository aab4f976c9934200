"""HTTP requests of queries: one request with its options, and what came of it as plain facts.

httpx is imported at the first request, as most cells make none.
"""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadJsonText, CellError, SchemaViolation, StormRuntimeError

if TYPE_CHECKING:
    import httpx

BODY_SIZE_MAX: Final = 1 << 30
"""Bytes of an answer that a query takes; larger ones go to an Axon."""

REDIRECT_COUNT_MAX: Final = 10
NO_ANSWER: Final = -1
"""The code of a request that got no answer."""

TLS_OPTIONS: Final = frozenset({"verify", "client_cert", "client_key", "ca_cert"})

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request.

    Attributes:
        method, url: As usual.
        headers, params: Names and values, in order.
        content: The body, or None.
        form: A body of named values, or None.
        fields: Parts of a multipart body: name, value, and maybe filename, content_type.
        timeout_s: Longest time without progress; None for none.
        follows: Whether redirects are followed.
        verifies: Whether the server's certificate is checked.
        proxy: URL of a proxy; True for what the environment says, False for none.
        tls: `verify`, `client_cert`, `client_key` and `ca_cert` (PEM), as TLS_OPTIONS names them.
    """

    method: str
    url: str
    headers: Pairs = ()
    params: Pairs = ()
    content: bytes | None = None
    content_type: str | None = None
    form: dict[str, str] | None = None
    fields: Sequence[dict[str, Any]] = ()
    timeout_s: float | None = 300.0
    follows: bool = True
    verifies: bool = True
    proxy: str | bool = True
    tls: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came of a request; `code` is NO_ANSWER and `error` tells why where no answer came.

    Attributes:
        error: Name of what went wrong, and a dictionary with the text as `mesg`; empty if nothing did.
        raw_headers: Headers as they came, also those that came twice.
        history: The answers that led to this one.
    """

    url: str
    code: int = NO_ANSWER
    reason: str = ""
    body: bytes = b""
    raw_headers: Pairs = ()
    request_headers: Pairs = ()
    history: tuple[HttpAnswer, ...] = ()
    error: tuple[Any, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        found: dict[str, Any] = {
            "code": self.code,
            "reason": self.reason,
            "headers": dict(self.raw_headers),
            "url": self.url,
            "body": self.body,
            "history": [answer.plain() for answer in self.history],
            "request_headers": dict(self.request_headers),
        }
        if self.error:
            found["err"] = list(self.error)
        return found


def tls_context(verifies: bool, options: dict[str, Any] | None) -> ssl.SSLContext:
    """Return what a connection is made with.

    Raises:
        SchemaViolation: an option is not known.
        BadArg: a certificate cannot be read.
    """
    options = options or {}
    unknown = options.keys() - TLS_OPTIONS
    if unknown:
        raise SchemaViolation(f"ssl_opts has no {', '.join(sorted(unknown))}", name="ssl_opts")
    context = ssl.create_default_context()
    if not options.get("verify", verifies):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        if options.get("ca_cert"):
            context.load_verify_locations(cadata=options["ca_cert"])
        if options.get("client_cert"):
            # The library reads certificates from files only.
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "client.pem"
                file.touch(mode=0o600)
                file.write_text(
                    "\n".join(str(options.get(key) or "") for key in ("client_cert", "client_key"))
                )
                context.load_cert_chain(file)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise BadArg(f"a certificate cannot be read: {error}", name="ssl_opts") from error
    return context


def send(request: HttpRequest) -> HttpAnswer:
    """Send a request and take its whole answer. What goes wrong on the way is in the answer.

    Raises:
        SchemaViolation, BadArg: the options cannot be used.
    """
    import httpx

    context = tls_context(request.verifies, request.tls)
    made: httpx.Request | None = None
    try:
        url = httpx.URL(request.url)
        if request.params:
            url = url.copy_merge_params(list(request.params))
        with httpx.Client(
            verify=context,
            proxy=request.proxy if isinstance(request.proxy, str) else None,
            trust_env=request.proxy is True,
            timeout=request.timeout_s,
            follow_redirects=request.follows,
            max_redirects=REDIRECT_COUNT_MAX,
        ) as client:
            made = client.build_request(request.method, url, headers=list(request.headers), **_body(request))
            if request.content_type and "content-type" not in made.headers:
                made.headers["Content-Type"] = request.content_type
            response = client.send(made, stream=True)
            try:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > BODY_SIZE_MAX:
                        return _failed(
                            request.url, "BodyTooLarge", f"the answer has more than {BODY_SIZE_MAX} bytes"
                        )
                return _answer(response, bytes(body))
            finally:
                response.close()
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError, OSError, ImportError) as error:
        if isinstance(error, CellError):
            raise
        return _failed(request.url, type(error).__name__, str(error))


def _body(request: HttpRequest) -> dict[str, Any]:
    if request.fields:
        parts = []
        for part in request.fields:
            value = part.get("value", b"")
            data = value if isinstance(value, bytes) else str(value).encode()
            kind = part.get("content_type")
            name = part.get("filename")
            parts.append((str(part.get("name", "")), (name, data, kind) if kind else (name, data)))
        return {"files": parts}
    if request.form is not None:
        return {"data": request.form}
    return {} if request.content is None else {"content": request.content}


def _answer(response: httpx.Response, body: bytes) -> HttpAnswer:
    return HttpAnswer(
        url=str(response.url),
        code=response.status_code,
        reason=response.reason_phrase,
        body=body,
        raw_headers=_headers(response.headers),
        request_headers=_headers(response.request.headers),
        history=tuple(_answer(one, b"") for one in response.history),
    )


def _headers(headers: httpx.Headers) -> Pairs:
    return [(name.decode("ascii", "replace"), value.decode("utf8", "replace")) for name, value in headers.raw]


def _failed(url: str, name: str, text: str) -> HttpAnswer:
    told = f"{name}: {text}" if text else name
    return HttpAnswer(
        url=url, reason=f"Exception occurred during request: {told}", error=(name, {"mesg": text})
    )


def read_json(answer: HttpAnswer, encoding: str | None, errors: str) -> Any:
    """Return the body as JSON has it.

    Raises:
        StormRuntimeError: there is no such encoding, or the body is not in it.
        BadJsonText: it is no JSON.
    """
    try:
        text = answer.body.decode(encoding or "utf8", errors)
    except (UnicodeDecodeError, LookupError) as error:
        raise StormRuntimeError(f"the answer cannot be read as text: {error}") from error
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadJsonText(f"the answer is no JSON: {error}") from error


__all__ = ["NO_ANSWER", "HttpAnswer", "HttpRequest", "read_json", "send", "tls_context"]
