"""What came of a request, as a map that callers keep as it is."""

from __future__ import annotations

import traceback
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellmesh.axon.blobs import BlobHashes
from cellmesh.common.errors import CellError

if TYPE_CHECKING:
    import httpx

NO_CODE = -1
"""The code of a request that got no answer."""


def answered(response: httpx.Response) -> dict[str, Any]:
    """What is known of an answer, and of the redirects before it."""
    info = _of_one(response)
    if response.history:
        info["history"] = [_of_one(earlier) for earlier in response.history]
    return info


def stored(info: dict[str, Any], hashes: BlobHashes) -> None:
    """Add what was stored of it."""
    info["size"] = hashes.size
    info["hashes"] = {
        "md5": hashes.md5.hex(),
        "sha1": hashes.sha1.hex(),
        "sha256": hashes.sha256.hex(),
        "sha512": hashes.sha512.hex(),
    }


def failed(error: BaseException) -> dict[str, Any]:
    """What is known of a request that failed."""
    name = type(error).__name__
    text = error.message if isinstance(error, CellError) else str(error)
    message = f"{name}: {text}" if text else name
    info: dict[str, Any] = {"mesg": text}
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        last = frames[-1]
        info |= {
            "efile": Path(last.filename).name,
            "eline": last.lineno,
            "esrc": last.line,
            "ename": last.name,
        }
    if isinstance(error, CellError):
        info |= {key: str(value) for key, value in error.errinfo.items() if key not in info}
    return {
        "ok": False,
        "mesg": message,
        "code": NO_CODE,
        "reason": f"the request failed: {message}",
        "err": [name, info],
    }


def _of_one(response: httpx.Response) -> dict[str, Any]:
    request = response.request
    return {
        "ok": True,
        "url": str(response.url),
        "code": response.status_code,
        "reason": _reason(response),
        "headers": _headers(response.headers),
        "request": {
            "url": str(request.url),
            "method": request.method,
            "headers": _headers(request.headers),
        },
    }


def _headers(headers: httpx.Headers) -> dict[str, str]:
    """As they were written; of one that comes more than once, the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.raw}


def _reason(response: httpx.Response) -> str:
    """What HTTP calls the status; what the server calls it, where HTTP has no name for it."""
    try:
        return HTTPStatus(response.status_code).phrase
    except ValueError:
        return response.reason_phrase


__all__ = ["NO_CODE", "answered", "failed", "stored"]
