"""Wheel build hook: the stubs are made by the build, never committed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Makes `build/gen` before the wheel's files are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Run the stub generator with the interpreter of the build environment."""
        subprocess.run([sys.executable, str(Path(self.root) / "tools" / "make_stubs.py")], check=True)
