"""Every call that is being served, so that it can be listed and ended.

The outermost interceptor puts calls in and takes them out. A handler tells what it does by one line:

    current_call().text = request.text
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cellmesh.common.auth.context import Call, Caller
from cellmesh.common.errors import AuthDeny, Cancelled, CellError, CertRevoked, NoSuchIden

if TYPE_CHECKING:
    from cellmesh.common.auth.policy import Policy

TEXT_SIZE_MAX: Final = 1000
_CARRIER: Final = "/cellmesh.api.common.v1.CallService/Pipeline"


@dataclass(frozen=True, slots=True)
class RunningTask:
    """One call as it was when asked.

    Attributes:
        task_id: Names it while it runs, in this cell.
        call: The call.
        start_time_ns: When it began, in nanoseconds since 1970.
        duration_ns: For how long it has run.
    """

    task_id: str
    call: Call
    start_time_ns: int
    duration_ns: int


class TaskRegistry:
    """The running calls of a server. Used in its event loop, but for `end_inactive`.

    Attributes:
        running: The calls by number, oldest first. The interceptor that fills it is the only one to do so.
        next_number: Numbers a call.
    """

    def __init__(self) -> None:
        self.running: dict[int, Call] = {}
        self.next_number: Callable[[], int] = itertools.count(1).__next__
        # A number may come again after a restart; with this, a task of before is not mistaken for one of now.
        self._prefix = os.urandom(4).hex()
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self) -> None:
        """Remember the running event loop, in which calls are served."""
        self._loop = asyncio.get_running_loop()

    def list_for(self, caller: Caller) -> list[RunningTask]:
        """The calls that somebody may see, oldest first: all for administrators, their own for others.

        The calls of a pipeline are among them, and not the stream that carries them.
        """
        now_ns, mono_ns = time.time_ns(), time.monotonic_ns()
        found = []
        for number, call in self.running.items():
            if call.method != _CARRIER and (caller.admin or is_own(caller, call.caller)):
                duration_ns = mono_ns - call.start_ns
                found.append(RunningTask(self._id(number), call, now_ns - duration_ns, duration_ns))
        return found

    def cancel(self, task_id: str, caller: Caller) -> RunningTask:
        """End a call in somebody's name.

        Raises:
            NoSuchIden: there is no such call, or it is not for this caller to see.
        """
        for task in self.list_for(caller):
            if task.task_id == task_id:
                by = caller.name or "somebody"
                self._end(task.call, Cancelled(f"cancelled by {by}", method=task.call.method, username=by))
                return task
        raise NoSuchIden(f"there is no task {task_id[:64]}", iden=task_id[:64])

    def end_inactive(self, policy: Policy) -> None:
        """End the calls of users who are locked, archived or gone. For any thread, after each change of users."""
        if self._loop is not None:
            try:
                # In the loop, as there no call stands between its check and its entry.
                self._loop.call_soon_threadsafe(self._end_inactive, policy)
            except RuntimeError:
                # The loop is closed, and no call runs.
                if not self._loop.is_closed():
                    raise

    def end_revoked(self, serials: Collection[str]) -> None:
        """End the calls whose certificates have been revoked. In the event loop."""
        for call in list(self.running.values()):
            caller = call.caller
            if caller.serial in serials:
                self._end(
                    call,
                    CertRevoked(
                        f"the certificate of {caller.name} was revoked, so its calls are ended",
                        username=caller.name,
                        serial=caller.serial,
                    ),
                )

    def _end_inactive(self, policy: Policy) -> None:
        for call in list(self.running.values()):
            user_id = call.caller.user_id
            if not user_id:
                continue
            user = policy.users.get(user_id)
            if user is None:
                why = f"the user {call.caller.name} is no more"
            elif not user.active:
                why = f"the user {user.name} is {'archived' if user.archived else 'locked'}"
            else:
                continue
            self._end(call, AuthDeny(f"{why}, so its calls are ended", username=call.caller.name))

    def _end(self, call: Call, error: CellError) -> None:
        if call.ended_by is None and call.task is not None:
            call.ended_by = error
            call.task.cancel()

    def _id(self, number: int) -> str:
        return f"{self._prefix}-{number:x}"


def is_own(caller: Caller, other: Caller) -> bool:
    """Whether two calls come from the same one."""
    if caller.user_id or other.user_id:
        return caller.user_id == other.user_id
    return bool(caller.name) and (caller.kind, caller.name) == (other.kind, other.name)
