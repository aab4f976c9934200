"""StormQuery: a query from Python, synchronous."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

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
from cellmesh.client.storm.request import Told
from cellmesh.client.storm.rows import Rows
from cellmesh.common.values import from_value

if TYPE_CHECKING:
    import pandas
    import polars
    from cellmesh.client.blocking import CellClient

GRAPH_NODES_MAX: Final = 1000

NO_TIMEOUT_S: Final = 30 * 86400.0
"""A query has no deadline unless the client's streams have one."""


class StormQuery:
    """A query of one Cortex. It runs when it is asked for something, each time anew.

    `for node in query` reads the nodes as they come; leaving the loop ends the query at the Cortex.
    """

    def __init__(self, client: CellClient, text: str, options: storm_pb2.StormOptions) -> None:
        self.text = text
        self._client = client
        self._options = options

    def __repr__(self) -> str:
        return f"<Storm {self.text!r}, not run>"

    def __iter__(self) -> Iterator[StormNode]:
        return self._nodes(Told())

    def messages(self) -> Iterator[storm_pb2.StormMessage]:
        """Run it for its messages as they travel, errors among them as messages."""
        stub = self._stub(storm_service_pb2_grpc.StormServiceStub)
        for response in stub.Storm(storm_pb2.StormRequest(text=self.text, options=self._options)):
            yield from response.messages

    def run(self) -> Rows:
        """Run it to its end.

        Raises:
            CellError: the query failed; what it did before stands.
        """
        told = Told()
        return Rows(self._nodes(told), told)

    def count(self) -> int:
        """How many nodes come out. Raises CellError."""
        stub = self._stub(storm_service_pb2_grpc.StormServiceStub)
        request = storm_pb2.CountStormRequest(text=self.text, options=self._options)
        return int(
            stub.CountStorm(request, timeout=self._client.core.options.stream_timeout_s or NO_TIMEOUT_S).count
        )

    def value(self) -> Any:
        """What the query returns by `return()`; None when nothing. Raises CellError."""
        stub = self._stub(storm_service_pb2_grpc.StormServiceStub)
        request = storm_pb2.CallStormRequest(text=self.text, options=self._options)
        answer = stub.CallStorm(request, timeout=self._client.core.options.stream_timeout_s or NO_TIMEOUT_S)
        return from_value(answer.value)

    def frame(self, columns: Sequence[str] = ()) -> Frame:
        """Run it for a table of its nodes, which comes column by column from the Cortex.

        Args:
            columns: "form", "value", "iden", "tags", ":property", ".property", "#tag", "$variable". Left out: form,
                value, iden, the properties that the nodes have, and tags.

        Raises:
            BadArg: a name is no column's.
            CellError: the query failed.
        """
        told = Told()
        batches: list[table_pb2.ColumnBatch] = []
        stub = self._stub(table_service_pb2_grpc.TableServiceStub)
        request = table_pb2.QueryColumnsRequest(text=self.text, options=self._options, columns=columns)
        for response in stub.QueryColumns(request):
            batches.extend(response.batches)
            for message in response.messages:
                told.take(message)
        return Frame(batches, columns, told)

    def to_polars(self, columns: Sequence[str] = ()) -> polars.DataFrame:
        """`frame(columns).to_polars()`."""
        return self.frame(columns).to_polars()

    def to_pandas(self, columns: Sequence[str] = ()) -> pandas.DataFrame:
        """`frame(columns).to_pandas()`."""
        return self.frame(columns).to_pandas()

    def graph(self, *, nodes_max: int = GRAPH_NODES_MAX) -> Graph:
        """Run it, without edits, for its nodes and what joins them: light edges, and properties that name a node.

        Args:
            nodes_max: Read no more nodes than this; the graph says so when there were more.

        Raises:
            CellError: the query failed, or would change something.
        """
        builder = GraphBuilder(nodes_max)
        stub = self._client.stub(export_service_pb2_grpc.ExportServiceStub, read_only=True)
        request = export_pb2.ExportNodesRequest(text=self.text, options=self._options, without_node_data=True)
        stream: Any = stub.ExportNodes(request)
        for response in stream:
            if not builder.take(response):
                stream.cancel()
                break
        model = self._client.stub(model_service_pb2_grpc.ModelServiceStub)
        for name in builder.forms():
            builder.take_form(model.GetForm(model_pb2.GetFormRequest(name=name)).form)
        return builder.build()

    def _stub(self, stub_class: Any) -> Any:
        return self._client.stub(stub_class, read_only=self._options.readonly)

    def _nodes(self, told: Told) -> Iterator[StormNode]:
        for message in self.messages():
            if message.HasField("node"):
                yield from_proto(message.node)
            else:
                told.take(message)
