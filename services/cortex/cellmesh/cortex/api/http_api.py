"""HttpApiService: requests to the extended HTTP API, each on a worker thread of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from cellmesh.api.cortex.v1 import http_api_pb2
from cellmesh.common.auth.context import CallerKind, current_call, current_caller
from cellmesh.common.errors import AuthDeny
from cellmesh.common.rpc import StreamToken, Workers
from cellmesh.cortex.api.storm import user_name
from cellmesh.cortex.storm.http_answers import AnswerHead, Answering, ApiRequest, Part

if TYPE_CHECKING:
    from cellmesh.common.auth.store import AuthStore
    from cellmesh.cortex.stores.http_apis import HttpApis
    from cellmesh.cortex.storm.engine import Engine
    from cellmesh.cortex.storm.execution import Running


class HttpApiServicer:
    """Runs endpoints. The engine is synchronous and reads storage: it runs on worker threads only."""

    def __init__(self, engine: Engine, workers: Workers, auth: AuthStore, store: HttpApis) -> None:
        self._engine = engine
        self._workers = workers
        self._auth = auth
        self._store = store

    async def CallHttpApi(
        self, request: http_api_pb2.CallHttpApiRequest, context: Any
    ) -> AsyncIterator[http_api_pb2.CallHttpApiResponse]:
        """See the proto. A client that goes away ends the query, a slow one slows it."""
        current_call().text = f"{request.method} {request.path}"
        asked = api_request(request)
        running: Running | None = None

        def pause() -> None:
            if running is not None:
                running.pause()

        def produce(token: StreamToken) -> Iterator[http_api_pb2.CallHttpApiResponse]:
            def started(query: Running) -> None:
                nonlocal running
                running = query
                token.on_cancel(query.cancel)

            def send(part: Part) -> None:
                token.send(_response(part))

            Answering(self._engine, self._auth, self._store, asked, send).run(started)
            return iter(())

        def size_of(part: http_api_pb2.CallHttpApiResponse) -> int:
            return part.ByteSize()

        async for parts in self._workers.stream(produce, pack=list, size_of=size_of, on_block=pause):
            for part in parts:
                yield part


def api_request(request: http_api_pb2.CallHttpApiRequest) -> ApiRequest:
    """Return a request as the engine has it, with whose it is.

    Raises:
        AuthDeny: the caller named another user, and may not.
    """
    caller = current_caller()
    speaks_for_others = caller.admin or caller.kind is CallerKind.CELL
    own = user_name(caller)
    if request.user and not speaks_for_others and request.user != own:
        raise AuthDeny(f"{own} may not call for {request.user}", user=own, username=request.user)
    # What a cell hands on is nobody's unless it says whose; who else calls is the user.
    is_own = caller.kind is not CallerKind.CELL and request.user in ("", own)
    return ApiRequest(
        method=request.method,
        path=request.path,
        headers=tuple((header.name, header.value) for header in request.headers),
        params=tuple((param.name, param.value) for param in request.params),
        body=request.body,
        uri=request.uri,
        client=request.client,
        user=own if is_own else request.user,
        has_all_rights=is_own and caller.admin and not caller.user_id,
    )


def _response(part: Part) -> http_api_pb2.CallHttpApiResponse:
    if isinstance(part, AnswerHead):
        headers = [http_api_pb2.HttpHeader(name=name, value=value) for name, value in part.headers]
        return http_api_pb2.CallHttpApiResponse(
            head=http_api_pb2.HttpResponseHead(code=part.code, headers=headers)
        )
    return http_api_pb2.CallHttpApiResponse(body=part)
