"""How far an import is, in a small file for each file that is imported, so that `--resume` goes on there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellmesh.cli.exchange.sources import Source
from cellmesh.common.files import write_atomically

STATE_VARIABLE: Final = "XDG_STATE_HOME"
INTERVAL_S: Final = 0.5
"""Least time between two notes. What was done since the last one is done again, which changes nothing."""


def default_folder() -> Path:
    """The folder of the notes."""
    home = os.environ.get(STATE_VARIABLE)
    return (Path(home) if home else Path.home() / ".local" / "state") / "cellmesh" / "import"


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of an import.

    Attributes:
        count: How many records have been imported; 0 if nothing is known.
        is_done: Whether those are all.
    """

    count: int = 0
    is_done: bool = False


class State:
    """The note of one file's import.

    Args:
        folder: Where notes are.
        source: The file. Another content, or other options, are another import.
        options: What decides which records there are, and where they go.
    """

    def __init__(self, folder: Path, source: Source, options: Mapping[str, object]) -> None:
        about = json.dumps([source.fingerprint(), source.size, dict(options)], sort_keys=True, default=str)
        self.path = folder / f"{hashlib.sha256(about.encode()).hexdigest()[:24]}.json"
        self._name = source.name
        self._noted_s = 0.0

    def read(self) -> Note:
        """Return what is known of an earlier import of the file."""
        try:
            found = json.loads(self.path.read_bytes())
            count = found.get("records", 0)
        except (OSError, ValueError, AttributeError):
            return Note()
        is_known = isinstance(count, int) and count >= 0
        return Note(count, found.get("done") is True) if is_known else Note()

    def note(self, count: int) -> None:
        """Note how many records are durable in the Cortex."""
        if time.monotonic() - self._noted_s < INTERVAL_S:
            return
        self._noted_s = time.monotonic()
        self._write(count, is_done=False)

    def note_done(self, count: int) -> None:
        """Note that the file is imported whole."""
        self._write(count, is_done=True)

    def clear_done(self) -> None:
        """Forget the file, if it is imported whole."""
        if self.read().is_done:
            self.path.unlink(missing_ok=True)

    def _write(self, count: int, *, is_done: bool) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content: dict[str, object] = {"file": self._name, "records": count}
        content |= {"time_ms": int(time.time() * 1000), "done": is_done}
        write_atomically(self.path, json.dumps(content).encode())
