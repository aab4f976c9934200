"""Pages that a program makes: written where they are not what they should be, or, with --check, only compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def stale(folder: Path, pages: Mapping[str, str], owned: Sequence[str] = ()) -> list[str]:
    """The paths in a folder that are not what they should be: other text, not there, or there and no page.

    Args:
        folder: Where the pages are.
        pages: Their texts, by path in the folder.
        owned: Patterns of files that are all made, such as "*.md"; one that is no page is left over.
    """
    there = {path.relative_to(folder).as_posix() for pattern in owned for path in folder.glob(pattern)}
    return sorted(path for path in {*there, *pages} if pages.get(path) != _text(folder / path))


def write_or_check(folder: Path, pages: Mapping[str, str], owned: Sequence[str] = ()) -> int:
    """Do what a program that makes pages does: returns its exit status, 1 where --check finds one stale.

    The arguments are those of `stale`; whether to check, and what the program is called, tells the command line.
    """
    wrong = stale(folder, pages, owned)
    if "--check" in sys.argv[1:]:
        if wrong:
            program = f"tools/{Path(sys.argv[0]).name}"
            print(f"stale, run python {program}: {', '.join(wrong)}", file=sys.stderr)
        return 1 if wrong else 0
    for path in wrong:
        target = folder / path
        if path in pages:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(pages[path], encoding="utf-8")
        else:
            target.unlink()
    return 0


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
