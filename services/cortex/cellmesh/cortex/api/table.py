"""TableService: queries answered with columns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cellmesh.api.cortex.v1 import table_pb2
from cellmesh.common.auth.context import current_call
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.rpc import StreamToken, Workers
from cellmesh.cortex.api.columns import TableBuilder, send_columns
from cellmesh.cortex.api.convert import pack_messages
from cellmesh.cortex.api.storm import changes_asked, query_options
from cellmesh.cortex.storm.engine import Engine


class TableServicer:
    """Runs queries, each on a worker thread of its own."""

    def __init__(self, engine: Engine, workers: Workers, auth: AuthStore) -> None:
        self._engine = engine
        self._workers = workers
        self._auth = auth

    async def QueryColumns(
        self, request: table_pb2.QueryColumnsRequest, context: Any
    ) -> AsyncIterator[bytes]:
        """Stream a query's nodes as batches of columns."""
        current_call().text = request.text
        table = TableBuilder(request.columns, reprs=request.options.repr)
        options = query_options(request.options, self._auth)
        running = self._engine.start(request.text, replace(options, path=options.path or table.needs_path))

        def produce(token: StreamToken) -> Iterator[bytes]:
            token.on_cancel(running.cancel)
            running.send_to(lambda message: send_columns(message, table, token.send))
            return iter(())

        stream = self._workers.stream(produce, pack=pack_messages, size_of=len, on_block=running.pause)
        async for message in stream:
            yield message


def table_changes_asked(engine: Engine) -> Mapping[str, Callable[[Any], bool]]:
    """Whether the query of a request may change anything: as with the queries of StormService."""
    return {"QueryColumns": changes_asked(engine)["Storm"]}
