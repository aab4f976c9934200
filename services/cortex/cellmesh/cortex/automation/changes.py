"""The change record of automation, cellmesh.api.cortex.v1.AutomationChange: made where it changes, applied elsewhere.

Both go through `apply_change`, so that a leader stores what its record says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cortex.v1 import change_pb2
from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.storage import SubDb, WriteTxn
from cellmesh.common.storage.codecs import UINT64
from cellmesh.cortex.automation.schema import CRON_JOBS, DAEMONS, TRIGGER_TASKS, TRIGGERS
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from cellmesh.cortex.views.graph import Graph

TYPE_NAME: Final = "cellmesh.api.cortex.v1.AutomationChange"

_KINDS: Final[dict[str, change_pb2.DefinitionKind.ValueType]] = {
    TRIGGERS.name: change_pb2.DEFINITION_KIND_TRIGGER,
    CRON_JOBS.name: change_pb2.DEFINITION_KIND_CRON_JOB,
    DAEMONS.name: change_pb2.DEFINITION_KIND_DAEMON,
}
_DATABASES: Final[dict[int, SubDb]] = {
    change_pb2.DEFINITION_KIND_TRIGGER: TRIGGERS,
    change_pb2.DEFINITION_KIND_CRON_JOB: CRON_JOBS,
    change_pb2.DEFINITION_KIND_DAEMON: DAEMONS,
}

AutomationChange = change_pb2.AutomationChange
Changed = tuple[SubDb, str]
"""A definition that a change was about: its database and iden; of a task, an empty iden."""


def put_definition(db: SubDb, iden: str, definition: str) -> AutomationChange:
    """Make the change that stores a definition, given as JSON."""
    put = change_pb2.DefinitionPut(kind=_KINDS[db.name], iden=iden, definition=definition)
    return AutomationChange(definition_put=put)


def delete_definition(db: SubDb, iden: str) -> AutomationChange:
    """Make the change that removes a definition."""
    return AutomationChange(definition_delete=change_pb2.DefinitionDelete(kind=_KINDS[db.name], iden=iden))


def put_task(number: int, task: bytes) -> AutomationChange:
    """Make the change that leaves a task, given as a serialized Value."""
    return AutomationChange(task_put=change_pb2.TaskPut(number=number, task=value_pb2.Value.FromString(task)))


def delete_task(number: int) -> AutomationChange:
    """Make the change that removes a task."""
    return AutomationChange(task_delete=change_pb2.TaskDelete(number=number))


def log_change(graph: Graph, txn: WriteTxn, change: AutomationChange, user: str, time_us: int) -> None:
    """Store what a change says, and log it, in one transaction."""
    payload = change.SerializeToString(deterministic=True)
    apply_change(txn, payload)
    graph.log.append(txn, time_us=time_us, actor=user, type_name=TYPE_NAME, payload=payload)


def apply_change(txn: WriteTxn, payload: bytes) -> Changed:
    """Store what a change record says.

    Raises:
        StorageCorrupt: it does not read, or is of an unknown kind.
    """
    try:
        change = AutomationChange.FromString(payload)
    except DecodeError as error:
        raise StorageCorrupt("a change record of automation does not read back") from error
    match change.WhichOneof("change"):
        case "definition_put":
            put = change.definition_put
            db = _database(put.kind)
            txn.put(db, put.iden.encode(), put.definition.encode())
            return db, put.iden
        case "definition_delete":
            delete = change.definition_delete
            db = _database(delete.kind)
            txn.delete(db, delete.iden.encode())
            return db, delete.iden
        case "task_put":
            task = change.task_put.task.SerializeToString(deterministic=True)
            txn.put(TRIGGER_TASKS, UINT64.encode(change.task_put.number), task)
            return TRIGGER_TASKS, ""
        case "task_delete":
            txn.delete(TRIGGER_TASKS, UINT64.encode(change.task_delete.number))
            return TRIGGER_TASKS, ""
        case _:
            raise _unknown()


def _database(kind: int) -> SubDb:
    found = _DATABASES.get(kind)
    if found is None:
        raise _unknown()
    return found


def _unknown() -> StorageCorrupt:
    return StorageCorrupt(
        "a change record changes automation in a way that this version does not know",
        hint="a follower must not run an older version than its leader",
    )
