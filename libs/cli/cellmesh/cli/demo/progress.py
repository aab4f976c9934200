"""Progress bars with rates and time left; plain lines where no terminal is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_INTERVAL_S = 5.0


class _RateColumn(ProgressColumn):
    """Items a second over the whole step so far."""

    def render(self, task: Task) -> Text:
        elapsed = task.finished_time if task.finished else task.elapsed
        return Text(f"{task.completed / elapsed:,.0f}/s" if elapsed else "")


class Step:
    """One step of the load: tell it how far it is."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        self._console = console
        self._title = title
        self._total = total
        self._done = 0
        self._begin = self._last_line = time.monotonic()
        self._progress: Progress | None = None
        if console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}", justify="left"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                _RateColumn(),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._progress.add_task(f"{title:32}", total=total)
            self._progress.start()

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        if self._progress is not None:
            self._progress.update(self._task, completed=self._done)
        elif time.monotonic() - self._last_line >= LINE_INTERVAL_S:
            self._last_line = time.monotonic()
            self._line()

    def finish(self) -> None:
        """No more will come."""
        if self._progress is not None:
            self._progress.stop()
        else:
            self._line()

    def _line(self) -> None:
        elapsed = time.monotonic() - self._begin
        rate = self._done / elapsed if elapsed else 0.0
        left = (self._total - self._done) / rate if rate else 0.0
        tail = f", {left:.0f} s left" if self._done < self._total else f" in {elapsed:.1f} s"
        self._console.print(
            f"{self._title:32} {self._done:,} of {self._total:,} ({rate:,.0f}/s){tail}", highlight=False
        )


@contextmanager
def step(console: Console, title: str, total: int) -> Iterator[Step]:
    """Show progress of a step while the block runs."""
    shown = Step(console, title, total)
    try:
        yield shown
    finally:
        shown.finish()
