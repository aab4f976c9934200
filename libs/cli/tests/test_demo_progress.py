"""Progress of the demo's steps, on a terminal of 80 columns and in a file."""

from __future__ import annotations

import io
import re

from cellmesh.cli.demo.progress import step
from rich.console import Console

WIDTH = 80


TITLE = "records to the Cryotank"


def shown(total: int, present: int, *, is_terminal: bool) -> list[str]:
    """The lines that tell of a step that does all that is left, without what moves the cursor."""
    console = Console(file=io.StringIO(), width=WIDTH, force_terminal=is_terminal, no_color=True)
    with step(console, TITLE, total, present) as one:
        if total > present:
            one.advance(total - present)
    assert isinstance(console.file, io.StringIO)
    text = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]|\r", "\n", console.file.getvalue())
    return [line for line in text.splitlines() if TITLE in line]


def test_what_an_earlier_load_did_does_not_count_as_fast_work() -> None:
    assert "/s" not in shown(70_000, 70_000, is_terminal=False)[-1]
    assert "/s" not in shown(70_000, 70_000, is_terminal=True)[-1]
    assert "/s" in shown(70_000, 69_000, is_terminal=False)[-1]


def test_a_step_with_nothing_to_do_has_no_time_left() -> None:
    assert "0:00:00" in shown(114, 114, is_terminal=True)[-1]


def test_a_line_of_progress_fits_on_a_terminal() -> None:
    line = shown(70_000, 10, is_terminal=True)[-1]
    assert "70000/70000" in line
    assert line.rstrip().endswith("0:00:00")
    assert len(line) <= WIDTH


def test_in_a_file_a_step_is_one_line() -> None:
    lines = shown(70_000, 0, is_terminal=False)
    assert len(lines) == 1
    assert lines[0].startswith("records to the Cryotank   70,000 of 70,000 (")
