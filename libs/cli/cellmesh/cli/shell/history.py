"""The lines of earlier sessions, in a file that only its owner can read: queries hold names and cases."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prompt_toolkit.history import FileHistory

HISTORY_VARIABLE: Final = "CELLMESH_HISTORY"
HISTORY_FILE: Final = "~/.cellmesh/storm_history"
FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700

FILE_SIZE_MAX: Final = 4 * 1024 * 1024
"""A longer file loses its older half when a shell starts."""

ENTRY_SIZE_MAX: Final = 100_000
"""A longer text is pasted data, not a line that anybody looks up again."""


def history_file() -> Path:
    """Where the history is kept."""
    return Path(os.environ.get(HISTORY_VARIABLE) or HISTORY_FILE).expanduser()


class ShellHistory(FileHistory):
    """History in a private file; several shells may write to it at once.

    What begins with a blank is not kept, nor what is the same as the line before it.

    Args:
        path: The file; it and its folder are made when missing.
    """

    def __init__(self, path: Path) -> None:
        if not path.parent.exists():
            path.parent.mkdir(mode=FOLDER_MODE, parents=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, FILE_MODE))
        path.chmod(FILE_MODE)
        self._last = ""
        _shorten(path)
        super().__init__(str(path))

    def load_history_strings(self) -> Iterable[str]:
        """The kept lines, the newest first."""
        before = None
        for entry in super().load_history_strings():
            if entry != before:
                yield entry
            before = entry

    def append_string(self, string: str) -> None:
        """Keep a line, in the file too."""
        if not string.strip() or string[0].isspace() or len(string) > ENTRY_SIZE_MAX or string == self._last:
            return
        self._last = string
        super().append_string(string)


def _shorten(path: Path) -> None:
    if path.stat().st_size <= FILE_SIZE_MAX:
        return
    kept = path.read_bytes()[-FILE_SIZE_MAX // 2 :]
    # From the beginning of an entry on: each begins with a line that tells its time.
    start = kept.find(b"\n# ")
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(handle, "wb") as file:
        file.write(kept[start:] if start >= 0 else b"")
    beside.replace(path)
