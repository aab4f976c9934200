"""AioStormQuery: a query from Python, for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from cellmesh.api.cortex.v1 import (
    export_pb2,
    export_service_pb2_grpc,
    model_pb2,
    model_service_pb2_grpc,
    storm_pb2,
    storm_service_pb2_grpc,
    table_pb2,
    table_service_pb2_grpc,
)
from cellmesh.client.storm.frame import Frame
from cellmesh.client.storm.graph import Graph, GraphBuilder
from cellmesh.client.storm.node import StormNode, from_proto
from cellmesh.client.storm.query import GRAPH_NODES_MAX, NO_TIMEOUT_S
from cellmesh.client.storm.request import Told
from cellmesh.client.storm.rows import Rows
from cellmesh.common.values import from_value

if TYPE_CHECKING:
    import pandas
    import polars
    from cellmesh.client.aio import AioCellClient


class AioStormQuery:
    """A query of one Cortex. It runs when it is asked for something, each time anew. Methods are those of StormQuery.

    `async for node in query` reads the nodes as they come.
    """

    def __init__(self, client: AioCellClient, text: str, options: storm_pb2.StormOptions) -> None:
        self.text = text
        self._client = client
        self._options = options

    def __repr__(self) -> str:
        return f"<Storm {self.text!r}, not run>"

    def __aiter__(self) -> AsyncIterator[StormNode]:
        return self._nodes(Told())

    async def messages(self) -> AsyncIterator[storm_pb2.StormMessage]:
        """Run it for its messages as they travel, errors among them as messages."""
        stub = self._stub(storm_service_pb2_grpc.StormServiceStub)
        async for response in stub.Storm(storm_pb2.StormRequest(text=self.text, options=self._options)):
            for message in response.messages:
                yield message

    async def run(self) -> Rows:
        """Run it to its end. Raises CellError when it fails."""
        told = Told()
        return Rows([node async for node in self._nodes(told)], told)

    async def count(self) -> int:
        """How many nodes come out. Raises CellError."""
        stub = self._stub(storm_service_pb2_grpc.StormServiceStub)
        request = storm_pb2.CountStormRequest(text=self.text, options=self._options)
        timeout_s = self._client.core.options.stream_timeout_s or NO_TIMEOUT_S
        return int((await stub.CountStorm(request, timeout=timeout_s)).count)

    async def value(self) -> Any:
        """What the query returns by `return()`; None when nothing. Raises CellError."""
        stub = self._stub(storm_service_pb2_grpc.StormServiceStub)
        request = storm_pb2.CallStormRequest(text=self.text, options=self._options)
        timeout_s = self._client.core.options.stream_timeout_s or NO_TIMEOUT_S
        return from_value((await stub.CallStorm(request, timeout=timeout_s)).value)

    async def frame(self, columns: Sequence[str] = ()) -> Frame:
        """Run it for a table of its nodes, which comes column by column; see `StormQuery.frame`."""
        told = Told()
        batches: list[table_pb2.ColumnBatch] = []
        stub = self._stub(table_service_pb2_grpc.TableServiceStub)
        request = table_pb2.QueryColumnsRequest(text=self.text, options=self._options, columns=columns)
        async for response in stub.QueryColumns(request):
            batches.extend(response.batches)
            for message in response.messages:
                told.take(message)
        return Frame(batches, columns, told)

    async def to_polars(self, columns: Sequence[str] = ()) -> polars.DataFrame:
        """`frame(columns)` as a frame of polars."""
        return (await self.frame(columns)).to_polars()

    async def to_pandas(self, columns: Sequence[str] = ()) -> pandas.DataFrame:
        """`frame(columns)` as a frame of pandas."""
        return (await self.frame(columns)).to_pandas()

    async def graph(self, *, nodes_max: int = GRAPH_NODES_MAX) -> Graph:
        """Run it, without edits, for its nodes and what joins them; see `StormQuery.graph`."""
        builder = GraphBuilder(nodes_max)
        stub = self._client.stub(export_service_pb2_grpc.ExportServiceStub, read_only=True)
        request = export_pb2.ExportNodesRequest(text=self.text, options=self._options, without_node_data=True)
        stream: Any = stub.ExportNodes(request)
        async for response in stream:
            if not builder.take(response):
                stream.cancel()
                break
        model: Any = self._client.stub(model_service_pb2_grpc.ModelServiceStub)
        for name in builder.forms():
            builder.take_form((await model.GetForm(model_pb2.GetFormRequest(name=name))).form)
        return builder.build()

    def _stub(self, stub_class: Any) -> Any:
        return self._client.stub(stub_class, read_only=self._options.readonly)

    async def _nodes(self, told: Told) -> AsyncIterator[StormNode]:
        async for message in self.messages():
            if message.HasField("node"):
                yield from_proto(message.node)
            else:
                told.take(message)
