"""WebService: what callers ask the Axon to get from the web, and to send there."""

from __future__ import annotations

import json
from typing import Any, Final

from cellmesh.api.axon.v1 import web_pb2
from cellmesh.axon.blobs.changes import hashes_to_proto
from cellmesh.axon.web.bodies import Field
from cellmesh.axon.web.requests import TIMEOUT_S, WebAnswer, WebClient, WebRequest
from cellmesh.axon.web.trust import Trust
from cellmesh.common.errors import BadArg
from cellmesh.common.values import from_value, to_value

TIMEOUT_S_MAX: Final = 86_400.0

Context = Any


class WebServicer:
    """Serves cellmesh.api.axon.v1.WebService.

    Args:
        client: Makes the requests.
    """

    def __init__(self, client: WebClient) -> None:
        self._client = client

    async def FetchUrl(self, request: web_pb2.FetchUrlRequest, context: Context) -> web_pb2.FetchUrlResponse:
        """See the proto."""
        body, body_type = _body(request)
        wanted = read_options(request.url, request.options, "GET")
        answer = await self._client.fetch(wanted, body, body_type)
        return web_pb2.FetchUrlResponse(result=result_to_proto(answer))

    async def SendBlob(self, request: web_pb2.SendBlobRequest, context: Context) -> web_pb2.SendBlobResponse:
        """See the proto."""
        wanted = read_options(request.url, request.options, "PUT")
        answer = await self._client.send_blob(wanted, request.sha256)
        return web_pb2.SendBlobResponse(result=result_to_proto(answer))

    async def SendForm(self, request: web_pb2.SendFormRequest, context: Context) -> web_pb2.SendFormResponse:
        """See the proto."""
        wanted = read_options(request.url, request.options, "POST")
        fields = [
            Field(
                item.name,
                item.sha256,
                from_value(item.value) if item.HasField("value") else None,
                item.filename,
                item.content_type,
                item.content_transfer_encoding,
            )
            for item in request.fields
        ]
        answer = await self._client.send_form(wanted, fields)
        return web_pb2.SendFormResponse(result=result_to_proto(answer), body=answer.body)


def read_options(url: str, options: web_pb2.WebOptions, method: str) -> WebRequest:
    """A request from what a caller says of it.

    Args:
        url: Where to.
        options: How.
        method: The method if the options name none.

    Raises:
        BadArg: the timeout is not within 0 and a day, or the method is no word.
    """
    timeout_s = options.timeout.ToTimedelta().total_seconds() if options.HasField("timeout") else TIMEOUT_S
    if not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise BadArg("the timeout of a request is more than 0 and at most a day", name="timeout")
    method = options.method.upper() or method
    if not (method.isascii() and method.isalpha()):
        raise BadArg(f"{method!r} is no method", name="method")
    return WebRequest(
        url=url,
        method=method,
        params=[(item.name, item.value) for item in options.params],
        headers=[(item.name, item.value) for item in options.headers],
        timeout_s=timeout_s,
        proxy=options.proxy if options.HasField("proxy") else None,
        trust=Trust(
            verify=options.verify_tls if options.HasField("verify_tls") else True,
            ca_cert=options.ca_cert,
            client_cert=options.client_cert,
            client_key=options.client_key,
        ),
    )


def _body(request: web_pb2.FetchUrlRequest) -> tuple[bytes | None, str]:
    match request.WhichOneof("body"):
        case "data":
            return request.data, "application/octet-stream"
        case "json":
            try:
                return json.dumps(from_value(request.json)).encode(), "application/json"
            except (TypeError, ValueError) as error:
                raise BadArg(f"the value is no JSON: {error}", name="json") from None
        case _:
            return None, ""


def result_to_proto(answer: WebAnswer) -> web_pb2.WebResult:
    """What came of a request as it travels."""
    return web_pb2.WebResult(
        ok=answer.info["ok"],
        code=answer.info["code"],
        hashes=hashes_to_proto(answer.hashes) if answer.hashes is not None else None,
        info=to_value(answer.info),
    )
