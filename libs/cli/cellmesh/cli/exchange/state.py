"""How far an import is, in a small file for each file that is imported, so that `--resume` goes on there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
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

    def read(self) -> int:
        """Return how many records have been imported before; 0 if nothing is known."""
        try:
            found = json.loads(self.path.read_bytes()).get("records", 0)
        except (OSError, ValueError, AttributeError):
            return 0
        return found if isinstance(found, int) and found > 0 else 0

    def note(self, count: int, *, is_last: bool = False) -> None:
        """Note how many records are durable in the Cortex."""
        if not is_last and time.monotonic() - self._noted_s < INTERVAL_S:
            return
        self._noted_s = time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"file": self._name, "records": count, "time_ms": int(time.time() * 1000)}
        write_atomically(self.path, json.dumps(content).encode())

    def clear(self) -> None:
        """The file is imported whole."""
        self.path.unlink(missing_ok=True)
