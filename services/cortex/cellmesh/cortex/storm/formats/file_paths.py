"""Finds paths of files in text: of Windows with a drive, and absolute ones under the usual folders of a Linux system.

A path may have spaces, so it goes on to where its line ends, or, on Windows, to a character that no file name has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

LINUX_SIZE_MAX: Final = 4096
WINDOWS_SIZE_MAX: Final = 32_767

# The character before stands behind the first one, so that the search skips to those.
_LINUX: Final = re.compile(r"/(?<!\w/)[^\x00\n]+")
_WINDOWS: Final = re.compile(r"[a-zA-Z]:\\(?<![a-zA-Z].:\\)[^<>:\"/|?*\x00\n]+", re.DOTALL)

_ROOTS: Final = frozenset(
    [
        "bin",
        "boot",
        "cdrom",
        "dev",
        "etc",
        "home",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "media",
        "mnt",
        "opt",
        "proc",
        "root",
        "run",
        "sbin",
        "srv",
        "sys",
        "tmp",
        "usr",
        "var",
    ]
)
_DEVICES: Final = frozenset(
    ["CON", "PRN", "AUX", "NUL", *(f"{name}{digit}" for name in ("COM", "LPT") for digit in range(10))]
)


def find_paths(text: str) -> Iterator[tuple[str, int]]:
    """Yield the paths in a text and where they stand: first those of Linux, then those of Windows."""
    if "/" in text:
        for match in _LINUX.finditer(text):
            if _is_linux(match[0]):
                yield match[0], match.start()
    if ":\\" in text:
        for match in _WINDOWS.finditer(text):
            if _is_windows(match[0]):
                yield match[0], match.start()


def _is_linux(path: str) -> bool:
    if len(path) > LINUX_SIZE_MAX:
        return False
    parts = PurePosixPath(path).parts
    # Two slashes at the start are a root of their own.
    return len(parts) > 1 and parts[0] == "/" and parts[1] in _ROOTS


def _is_windows(path: str) -> bool:
    if len(path) > WINDOWS_SIZE_MAX:
        return False
    return all(not part.endswith(".") and part not in _DEVICES for part in path.split("\\"))
