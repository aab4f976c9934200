"""Files, gzip and standard input as bytes that can be read more than once, within bounds.

What comes through a pipe is kept in a temporary file first: a file is looked at before it is read, and some kinds are
read twice.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from cellmesh.common.errors import BadArg

GZIP_MAGIC: Final = b"\x1f\x8b"
OTHER_PACKERS: Final = {
    b"PK\x03\x04": ("a zip archive", "unzip"),
    b"BZh": ("packed with bzip2", "bunzip2"),
    b"\xfd7zXZ": ("packed with xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("packed with zstd", "unzstd"),
    b"7z\xbc\xaf": ("a 7-Zip archive", "7z x"),
}
HEAD_SIZE: Final = 64 * 1024
CHUNK_SIZE: Final = 256 * 1024

INFLATED_RATIO_MAX: Final = 200
"""A gzip file that inflates to more than so many times its size is no honest one. JSON reaches 20 to 50."""

INFLATED_SIZE_FREE: Final = 64 * 1024 * 1024
"""What may come out of any gzip file, however small it is."""


class Malformed(Exception):
    """A file that cannot be read on.

    Args:
        place: Where in the file.
        reason: What is wrong there.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}" if place else reason)
        self.place = place
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Source:
    """One file to import.

    Attributes:
        name: As the user knows it; `-` for standard input.
        path: Where its bytes lie.
        size: How many they are.
        is_gzip: Whether they are packed.
    """

    name: str
    path: Path
    size: int
    is_gzip: bool

    def open(self, note: Callable[[int], None] | None = None) -> BinaryIO:
        """Open it for reading from its begin, unpacked.

        Args:
            note: Called with how many bytes of the file (packed ones, if it is packed) have been read so far.

        Raises:
            Malformed: from reads, when it is no gzip file after all, ends early or inflates beyond measure.
        """
        return io.BufferedReader(_Reader(self, note), CHUNK_SIZE)

    def head(self) -> bytes:
        """Return its first bytes, unpacked."""
        with self.open() as stream:
            return stream.read(HEAD_SIZE)

    def fingerprint(self) -> str:
        """Name its content well enough to notice another one: 16 hexadecimal digits."""
        digest = hashlib.sha256(str(self.size).encode())
        with self.path.open("rb") as stream:
            digest.update(stream.read(CHUNK_SIZE))
            if self.size > CHUNK_SIZE:
                stream.seek(-min(CHUNK_SIZE, self.size - CHUNK_SIZE), io.SEEK_END)
                digest.update(stream.read())
        return digest.hexdigest()[:16]


class _Reader(io.RawIOBase):
    """Raw bytes of a source, inflated if need be."""

    def __init__(self, source: Source, note: Callable[[int], None] | None) -> None:
        self._file = source.path.open("rb")
        self._source = source
        self._note = note
        self._read_count = 0
        self._made_count = 0
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16) if source.is_gzip else None

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _next(self, room: int) -> bytes:
        if self._inflater is None:
            return self._raw(room)
        while True:
            inflater = self._inflater
            data = inflater.unconsumed_tail
            if not data:
                data = inflater.unused_data or self._raw(CHUNK_SIZE)
                if inflater.eof:
                    # Several gzip members in one file, or zeros behind the last one.
                    data = data.lstrip(b"\0")
                    if not data:
                        if self._raw_is_done():
                            return b""
                        continue
                    inflater = self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
                elif not data:
                    raise Malformed(f"byte {self._made_count:,} unpacked", "the gzip file ends early")
            try:
                made = inflater.decompress(data, room)
            except zlib.error as error:
                raise Malformed(
                    f"byte {self._made_count:,} unpacked", f"no sound gzip data: {error}"
                ) from error
            self._made_count += len(made)
            if self._made_count > INFLATED_SIZE_FREE + INFLATED_RATIO_MAX * self._source.size:
                raise Malformed(
                    f"byte {self._made_count:,} unpacked",
                    f"{self._source.size:,} bytes inflate to more than {INFLATED_RATIO_MAX} times as many; "
                    "if that is meant, unpack the file by hand",
                )
            if made:
                return made

    def _raw(self, size: int) -> bytes:
        data = self._file.read(size)
        self._read_count += len(data)
        if self._note is not None:
            self._note(self._read_count)
        return data

    def _raw_is_done(self) -> bool:
        at = self._file.tell()
        is_done = not self._file.read(1)
        self._file.seek(at)
        return is_done


def open_sources(names: list[str], folder: Path) -> Iterator[Source]:
    """Yield the files to import.

    Args:
        names: Paths, or `-`.
        folder: Where what comes through a pipe is kept.

    Raises:
        BadArg: one is not there, is no file, is empty, or is packed in a way that is not read here.
    """
    for name in names:
        path = _spooled(folder) if name == "-" else Path(name)
        if name != "-" and not path.is_file():
            if path.is_dir():
                raise BadArg(f"{name} is a folder; name the files in it", name=name)
            if path.exists():
                path = _copied(path, folder)
            else:
                raise BadArg(f"{name} is not there", name=name)
        size = path.stat().st_size
        if size == 0:
            raise BadArg(f"{_shown(name)} is empty", name=name)
        with path.open("rb") as stream:
            magic = stream.read(8)
        for mark, (what, tool) in OTHER_PACKERS.items():
            if magic.startswith(mark):
                raise BadArg(f"{_shown(name)} is {what}", name=name, hint=f"unpack it first, with {tool}")
        yield Source(name, path, size, magic.startswith(GZIP_MAGIC))


def _shown(name: str) -> str:
    return "standard input" if name == "-" else name


def _spooled(folder: Path) -> Path:
    return _keep(sys.stdin.buffer, folder)


def _copied(path: Path, folder: Path) -> Path:
    """A pipe with a name, such as those of `<(command)`, can be read once only."""
    with path.open("rb") as stream:
        return _keep(stream, folder)


def _keep(stream: BinaryIO, folder: Path) -> Path:
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as kept:
        shutil.copyfileobj(stream, kept, CHUNK_SIZE)
    return Path(kept.name)
