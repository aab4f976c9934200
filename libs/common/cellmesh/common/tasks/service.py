"""TaskService: what the cell is serving, over gRPC. Answers from memory, in the event loop."""

from __future__ import annotations

from typing import Any

from cellmesh.api.common.v1 import task_service_pb2 as pb
from cellmesh.common.auth.context import CallerKind, current_call
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.service import Service
from cellmesh.common.tasks.registry import TEXT_SIZE_MAX, RunningTask, TaskRegistry
from cellmesh.common.telemetry.logs import get_logger

_log = get_logger(__name__)


class TaskServicer:
    """Serves cellmesh.api.common.v1.TaskService.

    Args:
        registry: The running calls.
    """

    def __init__(self, registry: TaskRegistry) -> None:
        self._registry = registry

    async def ListTasks(self, request: pb.ListTasksRequest, context: Any) -> pb.ListTasksResponse:
        """See the proto."""
        own = current_call()
        return pb.ListTasksResponse(
            tasks=[
                _told(task)
                for task in self._registry.list_for(own.caller)
                if task.call is not own
                and (not request.caller or task.call.caller.name == request.caller)
                and (not request.request_id or task.call.request_id == request.request_id)
            ]
        )

    async def CancelTask(self, request: pb.CancelTaskRequest, context: Any) -> pb.CancelTaskResponse:
        """See the proto."""
        task = self._registry.cancel(request.task_id, current_call().caller)
        _log.info("task_cancelled", task=task.task_id, task_method=task.call.method, of=task.call.caller.name)
        return pb.CancelTaskResponse(task=_told(task))


def _told(task: RunningTask) -> pb.Task:
    call = task.call
    made = pb.Task(
        task_id=task.task_id,
        caller=call.caller.name,
        user_id=call.caller.user_id,
        method=call.method,
        # Text of a query may have what UTF-8 cannot carry.
        text=call.text[:TEXT_SIZE_MAX].encode(errors="replace").decode(),
        request_id=call.request_id,
        parent_cell=call.caller.name if call.caller.kind is CallerKind.CELL else "",
        peer=call.peer,
    )
    made.start_time.FromNanoseconds(task.start_time_ns)
    made.duration.FromNanoseconds(task.duration_ns)
    return made


def task_service(registry: TaskRegistry) -> Service:
    """The TaskService of a cell."""
    descriptor = pb.DESCRIPTOR.services_by_name["TaskService"]
    return Service(descriptor, TaskServicer(registry), COMMON_PERMISSIONS)
