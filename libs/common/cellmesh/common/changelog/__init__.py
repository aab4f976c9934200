"""The change log of a cell: what changed, in order, in the same transaction as the change.

    record.py   ChangeRecord, and its form on disk
    log.py      ChangeLog: append inside the caller's transaction, read, wait, trim; its databases

A cell adds `DATABASES` to those of its schema.
"""

from __future__ import annotations

from cellmesh.common.changelog.log import DATABASES, ChangeChunk, ChangeLog
from cellmesh.common.changelog.record import ChangeRecord

__all__ = ["DATABASES", "ChangeChunk", "ChangeLog", "ChangeRecord"]
