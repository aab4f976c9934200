"""Progress of an import or export on standard error: a bar where a terminal is, else a line now and then."""

from __future__ import annotations

import time
from typing import Final

from cellmesh.cli.output import size_text, span_text
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_INTERVAL_S: Final = 5.0
BAR_INTERVAL_S: Final = 0.1
TITLE_SIZE: Final = 40


class Showing:
    """Progress of one file.

    Args:
        title: What it is, as people know it.
        total: How much there is, in bytes or nodes; 0 if that is not known.
        noun: What is counted.
        is_quiet: Show nothing.
    """

    def __init__(self, title: str, total: int, noun: str, *, is_quiet: bool = False) -> None:
        self._title = title if len(title) <= TITLE_SIZE else f"…{title[1 - TITLE_SIZE :]}"
        self._total = total
        self._noun = noun
        self._is_quiet = is_quiet
        self._at = 0
        self._count = 0
        self._begin = self._last = time.monotonic()
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        if not is_quiet and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TaskProgressColumn(),
                TextColumn("{task.fields[told]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task(self._title, total=total or None, told="")
            self._bar.start()

    def expect(self, total: int) -> None:
        """Say how much there is."""
        self._total = total
        if self._bar is not None:
            self._bar.update(self._task, total=total)

    def turn(self, title: str, total: int) -> None:
        """Say that something else comes now, and how much of it."""
        self._title, self._total, self._at = f"{self._title} {title}", total, 0
        if self._bar is not None:
            self._bar.update(self._task, description=self._title, total=total, completed=0)

    def at(self, position: int) -> None:
        """Say how far it is, in bytes or nodes."""
        self._at = position

    def count(self, count: int) -> None:
        """Say how many there were so far, and show it if it is time."""
        self._count = count
        now = time.monotonic()
        if self._is_quiet or now - self._last < (BAR_INTERVAL_S if self._bar else LINE_INTERVAL_S):
            return
        self._last = now
        if self._bar is not None:
            self._bar.update(self._task, completed=self._at, told=self._told(now))
        else:
            share = f" {min(100, 100 * self._at // self._total)}%" if self._total else ""
            self._console.print(f"{self._title}:{share} {self._told(now)}", highlight=False, soft_wrap=True)

    def _told(self, now: float) -> str:
        seconds = max(now - self._begin, 1e-3)
        return f"{self._count:,} {self._noun}, {self._count / seconds:,.0f}/s"

    def close(self) -> None:
        """No more will come."""
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.monotonic() - self._begin


__all__ = ["Showing", "size_text", "span_text"]
