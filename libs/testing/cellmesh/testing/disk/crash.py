"""What a power cut may leave: the model of a disk that promises no more than the system calls do.

- What was written to a file before its last good sync is there, and so is what an `O_DSYNC` write took.
- What was written since is there or not, piece by piece, in any combination: so pages are lost, kept and reordered.
  A piece is a page, or a sector of 512 bytes where pages are torn. Sectors are whole.
- What was written before a *failed* sync is in doubt for good, whatever later syncs report, until it is written again
  and synced: a kernel may mark the pages as clean.
- A name is durable when its folder was synced after it changed. Newer changes of names are there or not, each by
  itself; a rename is one change, of both names.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cellmesh.testing.disk.events import (
    Created,
    Event,
    FolderMade,
    FolderSynced,
    Marked,
    Removed,
    Renamed,
    Synced,
    Truncated,
    Wrote,
)

PAGE_SIZE: Final = 4096
SECTOR_SIZE: Final = 512

FOLDER: Final = 0
"""Stands for a folder where a name leads to a file's number."""


@dataclass(slots=True)
class _Piece:
    """A part of a write, or a new size (`data` None), that is not known to be on disk."""

    offset: int
    data: bytes | None
    doubtful: bool = False


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[_Piece] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _NameChange:
    """Names that change together: what each leads to, None for nothing."""

    names: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the uncertain pieces a power cut leaves.

    Attributes:
        name: For messages.
        keep: The probability that a piece is kept; 0 and 1 are certain.
        piece_size: Pages, or sectors for torn pages.
    """

    name: str
    keep: float
    piece_size: int = PAGE_SIZE


DROPPED: Final = Choice("all unsynced dropped", 0.0)
KEPT: Final = Choice("all unsynced kept", 1.0)
MIXED: Final = Choice("pages kept and dropped", 0.5)
MOSTLY_KEPT: Final = Choice("few pages dropped", 0.85)
TORN: Final = Choice("torn pages", 0.5, SECTOR_SIZE)


class Disk:
    """The state of a recorded folder while its trace is gone through, event by event."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._names: dict[str, int] = {}
        self._durable_names: dict[str, int] = {}
        self._changes: list[_NameChange] = []
        self.marks: list[str] = []

    @property
    def is_certain(self) -> bool:
        """Whether nothing is unsynced, so that a power cut leaves one state only."""
        return not self._changes and not any(file.pending for file in self._files.values())

    def files(self) -> dict[str, int]:
        """The numbers of the files as a running program sees them, by name."""
        return {name: file for name, file in self._names.items() if file != FOLDER}

    def apply(self, event: Event) -> None:
        """Take the next event of the trace."""
        match event:
            case Created(file, path):
                self._files[file] = _File()
                self._change((path, file))
            case Wrote(file, offset, data, is_synced, failed):
                self._write(self._files[file], offset, data, is_synced, failed)
            case Truncated(file, size):
                self._files[file].pending.append(_Piece(size, None))
            case Synced(file, failed):
                self._sync(self._files[file], failed)
            case FolderMade(path):
                self._change((path, FOLDER))
            case FolderSynced(path):
                self._sync_names(path)
            case Renamed(source, target):
                self._change(*self._moved(source, target))
            case Removed(path):
                self._change((path, None))
            case Marked(text):
                self.marks.append(text)

    def _write(self, file: _File, offset: int, data: bytes, is_synced: bool, failed: bool) -> None:
        pieces = [_Piece(at, part, doubtful=failed) for at, part in _split(offset, data, PAGE_SIZE)]
        file.pending.extend(pieces)
        if is_synced and not failed:
            for piece in pieces:
                _lay(file.durable, piece)
            file.pending = [piece for piece in file.pending if not _covers(offset, len(data), piece)]

    def _sync(self, file: _File, failed: bool) -> None:
        if failed:
            for piece in file.pending:
                piece.doubtful = True
            return
        # A doubtful piece stays so, unless what was written over it since is on disk now.
        certain: list[_Piece] = []
        doubtful: list[_Piece] = []
        for piece in file.pending:
            if piece.doubtful:
                doubtful.append(piece)
                continue
            certain.append(piece)
            if piece.data is not None:
                doubtful = [old for old in doubtful if not _covers(piece.offset, len(piece.data), old)]
        for piece in certain:
            _lay(file.durable, piece)
        file.pending = doubtful

    def _change(self, *names: tuple[str, int | None]) -> None:
        for name, file in names:
            _set(self._names, name, file)
        self._changes.append(_NameChange(names))

    def _moved(self, source: str, target: str) -> list[tuple[str, int | None]]:
        below = [name for name in self._names if name == source or name.startswith(source + "/")]
        replaced = [name for name in self._names if name == target or name.startswith(target + "/")]
        moved: list[tuple[str, int | None]] = [(name, None) for name in replaced]
        for name in below:
            moved += [(name, None), (target + name[len(source) :], self._names[name])]
        return moved

    def _sync_names(self, folder: str) -> None:
        left = []
        for change in self._changes:
            if any(_parent(name) == folder for name, _ in change.names):
                for name, file in change.names:
                    _set(self._durable_names, name, file)
            else:
                left.append(change)
        self._changes = left

    def after_cut(self, choice: Choice, rng: random.Random) -> dict[str, bytes | None]:
        """The files that a power cut now leaves, None standing for a folder.

        A name below a folder whose own name is lost is lost with it.
        """

        def kept() -> bool:
            return choice.keep >= 1 or (choice.keep > 0 and rng.random() < choice.keep)

        names = dict(self._durable_names)
        for change in self._changes:
            if kept():
                for name, file in change.names:
                    _set(names, name, file)
        state: dict[str, bytes | None] = {}
        for name, number in sorted(names.items()):
            if _parent(name) != "." and _parent(name) not in state:
                continue
            state[name] = None if number == FOLDER else self._content(self._files[number], choice, kept)
        return state

    def _content(self, file: _File, choice: Choice, kept: object) -> bytes:
        assert callable(kept)
        if not file.pending:
            return bytes(file.durable)
        content = copy(file.durable)
        for piece in file.pending:
            if piece.data is None:
                if kept():
                    _lay(content, piece)
                continue
            for offset, part in _split(piece.offset, piece.data, choice.piece_size):
                if kept():
                    _lay(content, _Piece(offset, part))
        return bytes(content)


def crash_points(events: Iterable[Event]) -> Iterator[tuple[int, Event, Disk]]:
    """Each event with the disk as it is when the power is cut during it: a write has begun, a sync has not ended.

    The disk is changed by going on, so use it at once.
    """
    disk = Disk()
    for number, event in enumerate(events):
        match event:
            case Wrote(file, offset, data, True, failed):
                # Cut in the middle of it: it may be there or not.
                disk.apply(Wrote(file, offset, data, is_synced=False, failed=failed))
                yield number, event, disk
                if not failed:
                    disk.apply(event)
            case Synced() | FolderSynced():
                yield number, event, disk
                disk.apply(event)
            case Marked():
                disk.apply(event)
            case _:
                disk.apply(event)
                yield number, event, disk


def write_state(state: dict[str, bytes | None], folder: Path) -> None:
    """Make the files of a state in a folder."""
    for name, content in state.items():
        path = folder / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _split(offset: int, data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        end = min(len(data), position + size - (offset + position) % size)
        yield offset + position, data[position:end]
        position = end


def _lay(content: bytearray, piece: _Piece) -> None:
    if piece.data is None:
        del content[piece.offset :]
        content.extend(bytes(piece.offset - len(content)))
        return
    end = piece.offset + len(piece.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[piece.offset : end] = piece.data


def _covers(offset: int, size: int, piece: _Piece) -> bool:
    return (
        piece.data is not None and offset <= piece.offset and piece.offset + len(piece.data) <= offset + size
    )


def _parent(name: str) -> str:
    return name.rpartition("/")[0] or "."


def _set(names: dict[str, int], name: str, file: int | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file
