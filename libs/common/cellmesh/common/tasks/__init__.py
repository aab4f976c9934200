"""Tasks: the calls that a cell is serving, who waits for them, and how they are ended.

registry  TaskRegistry: every running call, for about a microsecond each
service   TaskService: list and cancel
"""

from __future__ import annotations

from cellmesh.common.tasks.registry import TaskRegistry

__all__ = ["TaskRegistry"]
