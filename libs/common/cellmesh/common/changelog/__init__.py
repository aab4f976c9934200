"""The change log of a cell: what changed, in order, in the same transaction as the change.

    record.py   ChangeRecord, and its form on disk
    log.py      ChangeLog: append inside the caller's transaction, read, wait, trim; its databases
    apply.py    Applier, Replay: records applied to another slab, by mirrors and replay
    keeper.py   LogKeeper: who needs which records, and the removal of the rest
    writer.py   ChangeWriter: what a store appends with, under the present time and caller

A cell adds `DATABASES` to those of its schema.
"""

from __future__ import annotations

from cellmesh.common.changelog.apply import Applier, ContentSource, Replay
from cellmesh.common.changelog.keeper import Hold, LogKeeper, LogRules, LogStatus, Trimmed
from cellmesh.common.changelog.log import DATABASES, ChangeChunk, ChangeLog, first_offset, next_offset
from cellmesh.common.changelog.record import ChangeRecord
from cellmesh.common.changelog.writer import AppendChange, ChangeWriter, actor_name

__all__ = [
    "DATABASES",
    "AppendChange",
    "Applier",
    "ChangeChunk",
    "ChangeLog",
    "ChangeRecord",
    "ChangeWriter",
    "ContentSource",
    "Hold",
    "LogKeeper",
    "LogRules",
    "LogStatus",
    "Replay",
    "Trimmed",
    "actor_name",
    "first_offset",
    "next_offset",
]
