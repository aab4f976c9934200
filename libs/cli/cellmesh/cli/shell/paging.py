"""The screen: a line of progress while nothing else is to be seen, and a pager for what is longer than the screen."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Final, Protocol

PAGER_VARIABLES: Final = ("CELLMESH_PAGER", "PAGER")
PAGER: Final = "less"
LESS_OPTIONS: Final = "FRX"
"""For less, where $LESS says nothing: leave at once when it fits, keep colours, leave the text on the screen."""

ROWS_BESIDE: Final = 3
"""Rows of the screen for the query and the next prompt."""

PROGRESS_DELAY_S: Final = 0.5
PROGRESS_EVERY_S: Final = 0.1
HELD_S: Final = 0.3
"""How long lines wait for more of them, to see whether they fit, before they are shown."""

LOCAL_FLAGS: Final = 3
"""Where termios has the flags of echo."""

_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class LineWriter(Protocol):
    """Takes lines, one after the other."""

    def write(self, line: str) -> None:
        """Take a line, without its line break."""


class PagerLeft(Exception):
    """Whoever read the pager has left it: nothing more is to be shown."""


class Screen:
    """Shows the lines of one answer.

    Lines wait for a moment. When they become more than the screen has, they go to the pager; when they do not, they are
    shown as they come.

    Args:
        out: Where lines are written.
        paged: Whether a pager may be used.
        live: Whether progress may be shown.
    """

    def __init__(self, out: IO[str], *, paged: bool, live: bool) -> None:
        self._out = out
        self._paged = paged and pager_command() is not None
        self._live = live
        self._rows, self._columns = screen_size()
        self._held: list[str] = []
        self._shown = 0
        self._used_rows = 0
        self._begun = time.monotonic()
        self._progress_at = 0.0
        self._has_progress = False
        self._pager: subprocess.Popen[Any] | None = None

    @property
    def is_paging(self) -> bool:
        """Whether a pager has the screen."""
        return self._pager is not None

    def write(self, line: str) -> None:
        """Show a line, soon. Raises PagerLeft."""
        if self._pager is not None:
            self._to_pager(line)
            return
        if not self._paged:
            self._show(line)
            return
        self._held.append(line)
        self._used_rows += 1 + _visible_size(line) // max(1, self._columns)
        if self._used_rows > self._rows - ROWS_BESIDE:
            self._start_pager()

    def tick(self, progress: str) -> None:
        """Be told that time has passed: shows what waits, or the progress."""
        now = time.monotonic()
        if self._pager is not None:
            return
        if len(self._held) > self._shown and now - self._begun > HELD_S:
            self._show_held()
        if self._live and now - self._begun > PROGRESS_DELAY_S and now - self._progress_at > PROGRESS_EVERY_S:
            self._progress_at = now
            frame = _FRAMES[int(now * 10) % len(_FRAMES)]
            text = f"{frame} {progress}"[: max(1, self._columns - 1)]
            self._out.write(f"\r\x1b[K\x1b[2m{text}\x1b[0m")
            self._out.flush()
            self._has_progress = True

    def finish(self) -> None:
        """Show what is left, and wait until the pager is left."""
        self._clear_progress()
        if self._pager is None:
            self._show_held()
            self._out.flush()
            return
        pager, self._pager = self._pager, None
        assert pager.stdin is not None
        with suppress(BrokenPipeError):
            pager.stdin.close()
        # less goes on at Ctrl-C, and so does who waits for it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            pager.wait()
        finally:
            signal.signal(signal.SIGINT, before)

    def _show(self, line: str) -> None:
        self._clear_progress()
        self._out.write(line + "\n")

    def _show_held(self) -> None:
        for line in self._held[self._shown :]:
            self._show(line)
        self._shown = len(self._held)
        self._out.flush()

    def _clear_progress(self) -> None:
        if self._has_progress:
            self._out.write("\r\x1b[K")
            self._has_progress = False

    def _start_pager(self) -> None:
        self._clear_progress()
        self._out.flush()
        command = pager_command()
        assert command is not None, "looked up before"
        environment = {**os.environ}
        environment.setdefault("LESS", LESS_OPTIONS)
        environment.setdefault("LESSCHARSET", "utf-8")
        self._pager = subprocess.Popen(
            command, stdin=subprocess.PIPE, env=environment, encoding="utf-8", errors="replace"
        )
        held, self._held = self._held, []
        for line in held:
            self._to_pager(line)

    def _to_pager(self, line: str) -> None:
        assert self._pager is not None
        assert self._pager.stdin is not None
        try:
            self._pager.stdin.write(line + "\n")
            self._pager.stdin.flush()
        except BrokenPipeError:
            raise PagerLeft from None

    def leave_pager(self) -> None:
        """Forget the pager that was left: from now on there is only progress."""
        pager, self._pager = self._pager, None
        if pager is not None:
            with suppress(BrokenPipeError):
                assert pager.stdin is not None
                pager.stdin.close()
            pager.wait()
        self._paged = False
        self._held.clear()
        self._shown = 0


def pager_command() -> list[str] | None:
    """The pager to use, in words; None when there is none, or it is set to nothing or to cat."""
    for variable in PAGER_VARIABLES:
        if variable in os.environ:
            words = shlex.split(os.environ[variable])
            return words if words and words[0] != "cat" and shutil.which(words[0]) else None
    found = shutil.which(PAGER)
    return [found] if found else None


@contextmanager
def silent_terminal() -> Iterator[None]:
    """Keep the terminal from showing keys by itself: what is typed while a query runs stands in the next prompt alone."""
    if not sys.stdin.isatty():
        yield
        return
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    silent = list(before)
    silent[LOCAL_FLAGS] &= ~(termios.ECHO | termios.ECHOCTL)
    termios.tcsetattr(handle, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def screen_size() -> tuple[int, int]:
    """Rows and columns of the terminal."""
    size = shutil.get_terminal_size()
    return size.lines, size.columns


def _visible_size(line: str) -> int:
    """About how many columns a line takes: without the codes of colours."""
    if "\x1b" not in line:
        return len(line)
    return sum(len(part.partition("m")[2]) for part in ("m" + line).split("\x1b["))


def may_color(out: IO[str]) -> bool:
    """Whether colours are wanted there: it is a terminal, and $NO_COLOR is not set."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
