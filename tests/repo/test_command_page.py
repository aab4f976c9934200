"""The site's page on the command line has every command with what it takes."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools import command_page  # noqa: E402


def test_every_command_is_there_with_its_options() -> None:
    page = command_page.page()
    names = [" ".join(words) for words, _ in command_page.commands()]
    assert len(names) > 100
    assert {"up", "axon put", "auth user add", "storm", "mirror promote"} <= set(names)
    for name in names:
        assert f"# {name}\n" in page, name
        assert f"\ncellmesh {name} " in page, name
    for option in ("`--dry-run`", "`--accept-loss`", "`--dir PATH`", "`--url TEXT`"):
        assert f"| {option}" in page, option
    # What prints as one block in a terminal stays one, and the mark for that is not shown.
    assert "\b" not in page
