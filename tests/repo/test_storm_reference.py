"""The Storm reference is complete and fresh, and its examples run and give what it shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 300.0

sys.path.insert(0, str(ROOT))

from tools.make_storm_docs import names  # noqa: E402
from tools.storm_example_files import examples  # noqa: E402


def test_every_name_has_an_example() -> None:
    shown = {(example.kind, name) for example in examples() for name in example.names}
    assert sorted(set(names()) - shown) == [], "docs/reference/storm/examples/ has none for these"
    assert sorted(shown - set(names())) == [], "examples of what is not there any more"


def test_examples_show_what_they_say() -> None:
    wrong = [
        name
        for example in examples()
        for name in example.names
        if (name if example.kind == "commands" else name.rpartition(".")[2]) not in example.query
    ]
    assert wrong == []


def test_the_pages_are_fresh() -> None:
    subprocess.run([sys.executable, "tools/make_storm_docs.py", "--check"], cwd=ROOT, check=True)


def test_the_examples_give_what_is_shown() -> None:
    ran = subprocess.run(
        [sys.executable, "tools/storm_examples.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    wrong = [line for line in ran.stderr.splitlines() if line.startswith(("commands ", "library ", "types "))]
    assert ran.returncode == 0, "\n".join(wrong)
