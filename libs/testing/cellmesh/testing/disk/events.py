"""What a trace of a folder consists of. Files are numbered as they appear; paths are relative to the folder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Created:
    """A new, empty file under a name."""

    file: int
    path: str


@dataclass(frozen=True, slots=True)
class Wrote:
    """Bytes written to a file.

    Attributes:
        file: The file.
        offset: Where.
        data: What was taken.
        is_synced: Whether they were on disk when the call returned (`O_DSYNC`).
        failed: The call reported an error, so some of the bytes may be on disk or none.
    """

    file: int
    offset: int
    data: bytes
    is_synced: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Truncated:
    """A file got another size."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """A file's content was synced, or not: then what was written before is in doubt for good."""

    file: int
    failed: bool = False


@dataclass(frozen=True, slots=True)
class FolderMade:
    """A new folder."""

    path: str


@dataclass(frozen=True, slots=True)
class FolderSynced:
    """The names in a folder were synced."""

    path: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """A file or folder got another name, in place of what had it."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Removed:
    """A name was removed."""

    path: str


@dataclass(frozen=True, slots=True)
class Marked:
    """The program told what it has done: `acknowledged 17`."""

    text: str


Event = Created | Wrote | Truncated | Synced | FolderMade | FolderSynced | Renamed | Removed | Marked
