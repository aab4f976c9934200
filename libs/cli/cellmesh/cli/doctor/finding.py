"""Finding: one thing that was looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    Attributes:
        check: What was looked at: "certificate", "clock", "disk", "folder", "limits", "port", "process", "reach",
            "state", "storage" or "version".
        subject: Where: a cell's name, a folder, or "this machine".
        level: How bad it is.
        message: What is so, in a sentence.
        advice: What to do about it; empty when it is well.
    """

    check: str
    subject: str
    level: Level
    message: str
    advice: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "level": str(self.level)}


def ok(check: str, subject: str, message: str) -> Finding:
    """It is well."""
    return Finding(check, subject, Level.OK, message)


def warning(check: str, subject: str, message: str, advice: str) -> Finding:
    """It works, and may soon not."""
    return Finding(check, subject, Level.WARNING, message, advice)


def problem(check: str, subject: str, message: str, advice: str) -> Finding:
    """It does not work, or not as promised."""
    return Finding(check, subject, Level.PROBLEM, message, advice)
