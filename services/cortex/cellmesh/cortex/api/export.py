"""ExportService: the nodes of a query with their edges and data.

The query runs to its end first, for which nodes these are: of each only its number is kept, 8 bytes. Then they are read
one after the other, with the edges that lead to others of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Any, Final

from cellmesh.api.cortex.v1 import export_pb2
from cellmesh.common.auth.context import current_call
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.errors import CellError
from cellmesh.common.rpc import StreamToken, Workers
from cellmesh.common.values import fill_value
from cellmesh.cortex.api.convert import node_repr
from cellmesh.cortex.api.storm import query_options
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, Message, NodeRow
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.session import GraphSession

READ_COUNT: Final = 500
"""Nodes that are read together; between two such parts no state of the storage is held."""
EDGES_A_PART_MAX: Final = 50_000
"""Edges of a node in one message, some 4 MB."""


class ExportServicer:
    """Runs queries of exports, each on a worker thread of its own."""

    def __init__(self, engine: Engine, workers: Workers, auth: AuthStore) -> None:
        self._engine = engine
        self._workers = workers
        self._auth = auth

    async def ExportNodes(
        self, request: export_pb2.ExportNodesRequest, context: Any
    ) -> AsyncIterator[export_pb2.ExportNodesResponse]:
        """See the proto."""
        current_call().text = request.text
        export = _Export(self._engine, request, self._auth)
        stream = self._workers.stream(
            export.responses,
            pack=_joined,
            size_of=lambda message: message.ByteSize(),
            on_block=export.pause,
        )
        async for message in stream:
            yield message


class _Export:
    """One export: the query, then its nodes."""

    def __init__(self, engine: Engine, request: export_pb2.ExportNodesRequest, auth: AuthStore) -> None:
        self._engine = engine
        self._request = request
        self._options = replace(query_options(request.options, auth), readonly=True)
        self._pause: Callable[[], None] = lambda: None

    def pause(self) -> None:
        """Let go of what others may wait for, on the export's own thread."""
        self._pause()

    def responses(self, token: StreamToken) -> Iterator[export_pb2.ExportNodesResponse]:
        """Yield what is to be sent, a node a message; the first one has the counts."""
        keys, runtime_count = self._find(token)
        yield export_pb2.ExportNodesResponse(
            total_count=len(keys) + runtime_count, runtime_count=runtime_count
        )
        graph = self._engine.graph
        view = graph.view(self._options.view)
        with graph.begin(view, user=self._options.user, readonly=True) as session:
            self._pause = session.pause
            rest = iter(keys)
            while part := list(islice(rest, READ_COUNT)):
                token.check()
                nodes = [node for key in part if (node := _node(session, key)) is not None]
                for exported in self._exported(session, nodes, keys):
                    yield export_pb2.ExportNodesResponse(nodes=[exported])
                session.pause()

    def _find(self, token: StreamToken) -> tuple[dict[bytes, None], int]:
        """Run the query; returns the keys of its nodes in order, and how many nodes have none.

        Raises:
            CellError: the query failed.
        """
        running = self._engine.start(self._request.text, self._options)
        token.on_cancel(running.cancel)
        self._pause = running.pause
        keys: dict[bytes, None] = {}
        runtime: set[bytes] = set()
        failed: list[CellError] = []

        def take(message: Message) -> None:
            if isinstance(message, NodeRow):
                if message.node.form.is_runtime:
                    runtime.add(message.node.buid)
                else:
                    keys[message.node.key] = None
            elif isinstance(message, Error):
                failed.append(message.error)

        running.send_to(take)
        if failed:
            raise failed[0]
        token.check()
        return keys, len(runtime)

    def _exported(
        self, session: GraphSession, nodes: Sequence[Node], keys: dict[bytes, None]
    ) -> Iterator[export_pb2.ExportedNode]:
        # Edges come in the order of their nodes, and are not gathered: one node may have a million.
        linked = groupby(
            (row for row in self._edges(session, nodes) if row[2].key in keys), key=lambda row: row[0]
        )
        following = next(linked, None)
        for index, node in enumerate(nodes):
            made = export_pb2.ExportedNode()
            made.node.MergeFromString(node.packed())
            if self._options.repr:
                made.node.repr.CopyFrom(node_repr(node))
            if not self._request.without_node_data:
                for name, value in session.list_data(node):
                    fill_value(made.node_data[name], value)
            if following is not None and following[0] == index:
                for _, verb, other in following[1]:
                    if len(made.edges) == EDGES_A_PART_MAX:
                        yield made
                        made = export_pb2.ExportedNode(continues=True)
                        made.node.form, made.node.buid = node.form.name, node.buid
                        fill_value(made.node.value, node.value)
                    edge = made.edges.add(verb=verb, form=other.form.name, buid=other.buid)
                    fill_value(edge.value, other.value)
                following = next(linked, None)
            yield made

    def _edges(self, session: GraphSession, nodes: Sequence[Node]) -> Iterator[tuple[int, str, Node]]:
        return iter(()) if self._request.without_edges else session.edges_out(nodes)


def _node(session: GraphSession, key: bytes) -> Node | None:
    record = session.read_node(key)
    return None if record is None else Node(session, key, record, session.generation)


def _joined(messages: Sequence[export_pb2.ExportNodesResponse]) -> export_pb2.ExportNodesResponse:
    joined = messages[0]
    for message in messages[1:]:
        joined.MergeFrom(message)
    return joined
