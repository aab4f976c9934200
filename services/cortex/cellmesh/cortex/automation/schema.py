"""The databases of automation. Definitions are JSON; a waiting task is a serialized Value."""

from __future__ import annotations

from typing import Final

from cellmesh.common.storage import SubDb

TRIGGERS: Final = SubDb("triggers", "iden -> JSON: a trigger")
CRON_JOBS: Final = SubDb("cron_jobs", "iden -> JSON: a cron job, when it is due and how its last run went")
DAEMONS: Final = SubDb("daemons", "iden -> JSON: a long-running query")
TRIGGER_TASKS: Final = SubDb(
    "trigger_tasks", "number(8) -> Value: a run of an asynchronous trigger that waits"
)

DATABASES: Final = (TRIGGERS, CRON_JOBS, DAEMONS, TRIGGER_TASKS)
"""What the cell's slab is opened with for automation."""
