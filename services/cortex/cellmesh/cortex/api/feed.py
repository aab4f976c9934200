"""FeedService: nodes in bulk, a batch a transaction, each answered when it is durable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.common.auth.context import current_call, current_caller
from cellmesh.common.errors import BadArg, to_detail
from cellmesh.common.rpc import CancelToken, Workers
from cellmesh.common.values import from_value
from cellmesh.cortex.api.storm import user_name
from cellmesh.cortex.views.feed_values import NOTHING, FeedEdge, FeedNode
from cellmesh.cortex.views.graph import Graph

NODES_PER_BATCH_MAX: Final = 10_000


class FeedServicer:
    """Hands batches to the graph. A batch is decoded and applied on a worker thread."""

    def __init__(self, graph: Graph, workers: Workers) -> None:
        self._graph = graph
        self._workers = workers

    async def AddNodes(
        self, request_iterator: AsyncIterator[feed_pb2.AddNodesRequest], context: Any
    ) -> AsyncIterator[feed_pb2.AddNodesResponse]:
        """Answer each batch, in order."""
        user = user_name(current_caller())
        view_id: str | None = None
        async for request in request_iterator:
            if len(request.nodes) > NODES_PER_BATCH_MAX:
                raise BadArg(
                    f"a batch holds at most {NODES_PER_BATCH_MAX} nodes, not {len(request.nodes)}",
                    name="nodes",
                )
            view_id = view_id or request.view_id
            current_call().text = f"feed into view {view_id or 'default'}"
            yield await self._workers.run_long(partial(self._feed, request, view_id or None, user))

    def _feed(
        self, request: feed_pb2.AddNodesRequest, view_id: str | None, user: str, token: CancelToken
    ) -> feed_pb2.AddNodesResponse:
        token.check()
        batch = [_node(node) for node in request.nodes]
        with self._graph.begin(self._graph.view(view_id), user=user) as session:
            result = session.feed(batch)
            session.sync()
        rejects = [
            feed_pb2.FeedReject(index=reject.index, error=to_detail(reject.error))
            for reject in result.rejects
        ]
        return feed_pb2.AddNodesResponse(
            accepted_count=result.accepted_count,
            edit_count=result.edit_count,
            new_node_count=result.new_node_count,
            new_edge_count=result.new_edge_count,
            rejects=rejects,
        )


def _node(node: feed_pb2.FeedNode) -> FeedNode:
    read = from_value
    return FeedNode(
        node.form,
        read(node.value),
        {name: read(value) for name, value in node.props.items()} if node.props else NOTHING,
        {name: read(value) for name, value in node.tags.items()} if node.tags else NOTHING,
        {
            tag: {name: read(value) for name, value in props.props.items()}
            for tag, props in node.tag_props.items()
        }
        if node.tag_props
        else NOTHING,
        tuple(FeedEdge(edge.verb, edge.to.form, read(edge.to.value), edge.reverse) for edge in node.edges)
        if node.edges
        else (),
        {name: read(value) for name, value in node.node_data.items()} if node.node_data else NOTHING,
    )
