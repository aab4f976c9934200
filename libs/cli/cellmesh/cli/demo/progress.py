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
    """Items a second over the whole step so far, without those that were there before it."""

    def render(self, task: Task) -> Text:
        elapsed = task.finished_time if task.finished else task.elapsed
        return Text(_rate_text(task.completed - task.fields["present"], elapsed or 0.0))


def _rate_text(count: float, seconds: float) -> str:
    return f"{count / seconds:,.0f}/s" if count and seconds else ""


class Step:
    """One step of the load: tell it how far it is.

    Args:
        console: Where it is shown.
        title: What is done.
        total: How many items there are.
        present: How many of them an earlier load did.
    """

    def __init__(self, console: Console, title: str, total: int, present: int = 0) -> None:
        self._console = console
        self._title = title
        self._total = total
        self._present = self._done = present
        self._begin = self._last_line = time.monotonic()
        self._progress: Progress | None = None
        if console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}", justify="left"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                _RateColumn(),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._progress.add_task(
                f"{title:25}", total=total, completed=present, present=present
            )
            # A step with nothing left to do ends here, with no time left.
            self._progress.update(self._task, completed=present)
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
        new = self._done - self._present
        if self._done < self._total and new:
            tail = f", {(self._total - self._done) * elapsed / new:.0f} s left"
        else:
            tail = f" in {elapsed:.1f} s"
        rate = _rate_text(new, elapsed)
        self._console.print(
            f"{self._title:25} {self._done:,} of {self._total:,}{f' ({rate})' if rate else ''}{tail}",
            highlight=False,
            soft_wrap=True,
        )


@contextmanager
def step(console: Console, title: str, total: int, present: int = 0) -> Iterator[Step]:
    """Show progress of a step while the block runs; see `Step` for the arguments."""
    shown = Step(console, title, total, present)
    try:
        yield shown
    finally:
        shown.finish()
