"""NotificationService: the notices of all users, read from the change log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.api.cortex.v1 import change_pb2, notification_pb2
from cellmesh.common.changelog import ChangeRecord
from cellmesh.common.errors import ShuttingDown
from cellmesh.common.rpc import Workers
from cellmesh.common.values import to_value
from cellmesh.cortex.stores.changes import TYPE_NAME
from cellmesh.cortex.stores.schema import USER_VALUES
from cellmesh.cortex.storm.objects.user_values import NOTICES
from cellmesh.cortex.values.wire import decode_value

if TYPE_CHECKING:
    from cellmesh.common.rpc.streams import CancelToken
    from cellmesh.cortex.views.graph import Graph

FOLLOW_CHECK_S: Final = 1.0
"""How often a watch looks whether its caller is still there."""

_MILLIS: Final = 1_000_000
_KEY_PARTS: Final = 3


class NotificationServicer:
    """Watches of notices, each on a worker thread of its own while it reads.

    Args:
        graph: Whose change log tells of them.
        workers: The threads.
        is_stopping: Whether the cell stops.
    """

    def __init__(self, graph: Graph, workers: Workers, is_stopping: Callable[[], bool]) -> None:
        self._graph = graph
        self._workers = workers
        self._is_stopping = is_stopping

    async def WatchNotifications(
        self, request: notification_pb2.WatchNotificationsRequest, context: Any
    ) -> AsyncIterator[notification_pb2.WatchNotificationsResponse]:
        """See the proto."""
        offset = request.offset if request.HasField("offset") else None
        stream = self._workers.stream(lambda token: self._watch(offset, token), pack=_only, count_max=1)
        async for message in stream:
            yield message

    def _watch(
        self, offset: int | None, token: CancelToken
    ) -> Iterator[notification_pb2.WatchNotificationsResponse]:
        log = self._graph.log
        if offset is None:
            with self._graph.slab.view() as txn:
                offset = log.next_offset(txn)
        yield notification_pb2.WatchNotificationsResponse(next_offset=offset)
        while True:
            chunk = log.read(offset)
            offset = chunk.next_offset
            found: list[notification_pb2.Notification] = []
            for record in chunk.records:
                token.check()
                found.extend(_notices(record))
            if found:
                yield notification_pb2.WatchNotificationsResponse(notifications=found, next_offset=offset)
            if chunk.records:
                continue
            while not log.wait(offset, FOLLOW_CHECK_S):
                token.check()
                if self._is_stopping():
                    raise ShuttingDown("the cell is stopping; watch on from where you are when it is back")


def _notices(record: ChangeRecord) -> Iterator[notification_pb2.Notification]:
    if record.type_name != TYPE_NAME:
        return
    for row in change_pb2.StoreChange.FromString(record.payload).rows:
        if row.database != USER_VALUES.name or not row.HasField("value"):
            continue
        parts = row.key.decode().split("\0", _KEY_PARTS - 1)
        if len(parts) == _KEY_PARTS and parts[1] == NOTICES:
            facts = decode_value(row.value)
            made = notification_pb2.Notification(
                id=parts[2],
                user_id=parts[0],
                sender_id=facts["from"],
                type=facts["type"],
                data=to_value(facts["data"]),
            )
            made.create_time.FromNanoseconds(int(facts["time"]) * _MILLIS)
            yield made


def _only(
    items: list[notification_pb2.WatchNotificationsResponse],
) -> notification_pb2.WatchNotificationsResponse:
    (item,) = items
    return item
