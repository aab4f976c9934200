"""CPU, memory and disk of server processes, from /proc. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """The process and all its live descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else None
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [pid], [pid]
    while todo:
        for child in children.get(todo.pop(), ()):
            found.append(child)
            todo.append(child)
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time that the process and its descendants have used."""
    total = 0.0
    for member in family(pid):
        fields = _stat(member)
        if fields is not None:
            total += (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
    return total


def memory_bytes(pid: int) -> dict[str, int]:
    """Resident bytes of the process and its descendants: all, and those not backed by files."""
    total = {"rss": 0, "anonymous": 0}
    for member in family(pid):
        try:
            text = Path(f"/proc/{member}/status").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith("VmRSS:"):
                total["rss"] += int(line.split()[1]) * 1024
            elif line.startswith("RssAnon:"):
                total["anonymous"] += int(line.split()[1]) * 1024
    return total


def disk_bytes(folder: Path) -> int:
    """Bytes of disk blocks in use below a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512 if path.is_file() else 0
        except OSError:
            continue
    return total


def footprint(pid: int, folder: Path) -> dict[str, float]:
    """Memory of the process and its descendants, and disk of its folder, in bytes."""
    memory = memory_bytes(pid)
    return {
        "rss_bytes": memory["rss"],
        "anonymous_bytes": memory["anonymous"],
        "disk_bytes": disk_bytes(folder),
    }


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the command name, or None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
