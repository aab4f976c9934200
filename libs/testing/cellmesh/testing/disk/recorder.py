"""The trace of what a process does to the files of one folder, with faults on demand."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cellmesh.testing.disk.crash import Disk
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
from cellmesh.testing.disk.hooks import hooked

AT_FDCWD: Final = -100
AT_REMOVEDIR: Final = 0x200

_INTERPRETER = re.compile(r"(^|/)(python[\d.]*|libpython[\w.]*\.so[\d.]*)$|^$")
_LMDB = re.compile(r"lmdb/[\w.-]*\.so$")

_int, _size, _offset, _text, _pointer = (
    ctypes.c_int, ctypes.c_size_t, ctypes.c_int64, ctypes.c_char_p, ctypes.c_void_p,
)  # fmt: skip

# Result and arguments of each function that changes a file or a name.
_SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "open": (_int, _text, _int, _int),
    "openat": (_int, _int, _text, _int, _int),
    "write": (ctypes.c_ssize_t, _int, _pointer, _size),
    "writev": (ctypes.c_ssize_t, _int, _pointer, _int),
    "pwrite": (ctypes.c_ssize_t, _int, _pointer, _size, _offset),
    "pwritev": (ctypes.c_ssize_t, _int, _pointer, _int, _offset),
    "ftruncate": (_int, _int, _offset),
    "fsync": (_int, _int),
    "fdatasync": (_int, _int),
    "msync": (_int, _pointer, _size, _int),
    "sendfile": (ctypes.c_ssize_t, _int, _int, _pointer, _size),
    "copy_file_range": (ctypes.c_ssize_t, _int, _pointer, _int, _pointer, _size, ctypes.c_uint),
    "rename": (_int, _text, _text),
    "renameat": (_int, _int, _text, _int, _text),
    "unlink": (_int, _text),
    "unlinkat": (_int, _int, _text, _int),
    "rmdir": (_int, _text),
    "mkdir": (_int, _text, _int),
    "mkdirat": (_int, _int, _text, _int),
    "link": (_int, _text, _text),
    "linkat": (_int, _int, _text, _int, _text, _int),
}
_LARGE_FILE_NAMES: Final = ("open", "openat", "pwrite", "pwritev", "ftruncate", "sendfile")


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


@dataclass(slots=True)
class Fault:
    """An error to be reported by a call.

    Attributes:
        call: `write` for all that write bytes, `meta` for those through a descriptor that syncs each write,
            `sync` for fsync and fdatasync.
        number: The errno.
        skip: So many calls go well before.
        count: So many fail; None means all from then on.
        part: Bytes that a failing write takes all the same, reported as a short write when more than 0.
        path: The fault strikes files whose path ends so.
        kill: The process is killed there, by SIGKILL: after bytes were taken, or before a sync has ended.
    """

    call: str
    number: int = errno.EIO
    skip: int = 0
    count: int | None = 1
    part: int = 0
    path: str = ""
    kill: bool = False


class Recorder:
    """Records what this process does to the files of a folder, in `with recorder.recording()`.

    One lock is held over each real call and its event, so the order of the events is the order of the calls.

    Args:
        folder: Is there already. What is outside of it is not recorded.
        before: The trace of a process before, which goes on with this one. Left out, what is there is durable.
        on_kill: Called with the trace before a fault kills the process.
    """

    def __init__(
        self,
        folder: Path,
        before: Sequence[Event] = (),
        on_kill: Callable[[list[Event]], object] = lambda events: None,
    ) -> None:
        self.events: list[Event] = list(before)
        self._on_kill = on_kill
        self.faults: list[Fault] = []
        self._folder = os.path.realpath(folder)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._lock = threading.RLock()
        self._files: dict[tuple[int, int], int] = {}
        self._file_count = 0

    def mark(self, text: str) -> None:
        """Note in the trace what the program has done."""
        with self._lock:
            self.events.append(Marked(text))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record inside the block, in which no process may be forked. What is there already counts as durable."""
        self._take_stock()
        hooks = {}
        for name, (result, *arguments) in _SIGNATURES.items():
            handler = _or_exit(getattr(self, f"_{name}"))
            kind = ctypes.CFUNCTYPE(result, *arguments, use_errno=True)
            function = getattr(self._libc, name)
            function.restype, function.argtypes = result, arguments
            hooks[name] = kind(handler)
            if name in _LARGE_FILE_NAMES:
                hooks[f"{name}64"] = hooks[name]

        def wanted(library: str) -> bool:
            return bool(_INTERPRETER.search(library) or _LMDB.search(library))

        with hooked(hooks, wanted) as found:
            if not any(_LMDB.search(name) and "fdatasync" in functions for name, functions in found.items()):
                raise NotImplementedError("LMDB's calls of libc were not found, nothing can be recorded")
            yield

    def _take_stock(self) -> None:
        if self.events:
            disk = Disk()
            for event in self.events:
                disk.apply(event)
            for name, file in disk.files().items():
                status = os.stat(os.path.join(self._folder, name))
                self._files[status.st_dev, status.st_ino] = file
            self._file_count = max(event.file for event in self.events if isinstance(event, Created))
            return
        for folder, folders, names in os.walk(self._folder):
            inside = os.path.relpath(folder, self._folder)
            self.events += [FolderMade(os.path.normpath(os.path.join(inside, name))) for name in folders]
            for name in names:
                path = os.path.join(folder, name)
                relative = self._relative(path)
                if relative is None:
                    continue
                self._file_count += 1
                status = os.stat(path)
                self._files[status.st_dev, status.st_ino] = self._file_count
                self.events += [
                    Created(self._file_count, relative),
                    Wrote(self._file_count, 0, Path(path).read_bytes()),
                    Synced(self._file_count),
                ]
            self.events.append(FolderSynced(inside))

    # What is written.

    def _write(self, handle: int, data: int, size: int) -> int:
        return self._written("write", handle, lambda: ctypes.string_at(data, size), None, (data, size))

    def _writev(self, handle: int, vectors: int, count: int) -> int:
        return self._written("writev", handle, lambda: _gather(vectors, count), None, (vectors, count))

    def _pwrite(self, handle: int, data: int, size: int, offset: int) -> int:
        return self._written(
            "pwrite", handle, lambda: ctypes.string_at(data, size), offset, (data, size, offset)
        )

    def _pwritev(self, handle: int, vectors: int, count: int, offset: int) -> int:
        return self._written(
            "pwritev", handle, lambda: _gather(vectors, count), offset, (vectors, count, offset)
        )

    def _written(
        self, call: str, handle: int, data_of: Callable[[], bytes], offset: int | None, rest: tuple[Any, ...]
    ) -> int:
        real = getattr(self._libc, call)
        with self._lock:
            file = self._file(handle)
            if file is None:
                return int(real(handle, *rest))
            data = data_of()
            flags = _descriptor_flags(handle)
            is_synced = bool(flags & os.O_DSYNC)
            if offset is None:
                offset = os.lseek(handle, 0, os.SEEK_END if flags & os.O_APPEND else os.SEEK_CUR)
            fault = self._fault_for("meta" if is_synced else "write", handle)
            if fault is not None:
                return self._failed_write(handle, file, data, offset, fault, is_synced)
            done = int(real(handle, *rest))
            if done > 0:
                self.events.append(Wrote(file, offset, data[:done], is_synced))
            return done

    def _failed_write(
        self, handle: int, file: int, data: bytes, offset: int, fault: Fault, is_synced: bool
    ) -> int:
        """A part is taken; of a write that should have been synced, all is in the cache, as with a real disk."""
        if fault.kill:
            done = self._libc.pwrite(handle, data, len(data), offset)
            self._kill(Wrote(file, offset, data[:done]))
        part = data if is_synced else data[: min(fault.part, len(data) - 1)]
        if part:
            os.lseek(handle, offset, os.SEEK_SET)
            done = self._libc.pwrite(handle, part, len(part), offset)
            self.events.append(Wrote(file, offset, part[:done], failed=is_synced))
            if not is_synced:
                os.lseek(handle, offset + done, os.SEEK_SET)
                return int(done)
        ctypes.set_errno(fault.number)
        return -1

    def _ftruncate(self, handle: int, size: int) -> int:
        with self._lock:
            done = int(self._libc.ftruncate(handle, size))
            file = self._file(handle)
            if not done and file is not None:
                self.events.append(Truncated(file, size))
            return done

    def _sendfile(self, target: int, source: int, offset: int | None, size: int) -> int:
        return self._copied(target, lambda: int(self._libc.sendfile(target, source, offset, size)))

    def _copy_file_range(
        self, source: int, source_at: int | None, target: int, target_at: int | None, size: int, flags: int
    ) -> int:
        return self._copied(
            target,
            lambda: int(self._libc.copy_file_range(source, source_at, target, target_at, size, flags)),
        )

    def _copied(self, target: int, copy: Callable[[], int]) -> int:
        with self._lock:
            file = self._file(target)
            offset = os.lseek(target, 0, os.SEEK_CUR) if file is not None else 0
            done = copy()
            if file is not None and done > 0:
                with open(f"/proc/self/fd/{target}", "rb") as again:
                    self.events.append(Wrote(file, offset, os.pread(again.fileno(), done, offset)))
            return done

    # What is synced.

    def _fsync(self, handle: int) -> int:
        return self._sync("fsync", handle)

    def _fdatasync(self, handle: int) -> int:
        return self._sync("fdatasync", handle)

    def _sync(self, call: str, handle: int) -> int:
        path = _descriptor_path(handle)
        inside = self._relative(path)
        if inside is None:
            return int(getattr(self._libc, call)(handle))
        with self._lock:
            file = self._file(handle)
            fault = self._fault_for("sync", handle) if file is not None else None
            if fault is not None and fault.kill:
                self._kill(None)
            # The real sync is left out: what a power cut leaves is computed, and tests are quick.
            if file is None:
                self.events.append(FolderSynced(inside))
            else:
                self.events.append(Synced(file, failed=fault is not None))
            if fault is not None:
                ctypes.set_errno(fault.number)
                return -1
            return 0

    def _kill(self, event: Event | None) -> None:
        if event is not None:
            self.events.append(event)
        self._on_kill(self.events)
        os.kill(os.getpid(), signal.SIGKILL)

    def _msync(self, address: int, size: int, flags: int) -> int:
        raise AssertionError("the storage syncs a map: what is written through one is not recorded")

    # Names.

    def _open(self, path: bytes, flags: int, mode: int) -> int:
        return self._opened(AT_FDCWD, path, flags, lambda: int(self._libc.open(path, flags, mode)))

    def _openat(self, folder: int, path: bytes, flags: int, mode: int) -> int:
        return self._opened(folder, path, flags, lambda: int(self._libc.openat(folder, path, flags, mode)))

    def _opened(self, folder: int, path: bytes, flags: int, really: Callable[[], int]) -> int:
        inside = (
            self._relative(_resolve(folder, path)) if flags & os.O_ACCMODE or flags & os.O_CREAT else None
        )
        if inside is None:
            return really()
        with self._lock:
            is_new = not os.path.lexists(os.path.join(self._folder, inside))
            handle = really()
            error = ctypes.get_errno()
            if handle >= 0:
                status = os.fstat(handle)
                if is_new:
                    self._file_count += 1
                    self._files[status.st_dev, status.st_ino] = self._file_count
                    self.events.append(Created(self._file_count, inside))
                elif flags & os.O_TRUNC:
                    file = self._files.get((status.st_dev, status.st_ino))
                    if file is not None:
                        self.events.append(Truncated(file, 0))
            ctypes.set_errno(error)
            return handle

    def _rename(self, source: bytes, target: bytes) -> int:
        return self._renamed(
            _resolve(AT_FDCWD, source),
            _resolve(AT_FDCWD, target),
            lambda: int(self._libc.rename(source, target)),
        )

    def _renameat(self, folder: int, source: bytes, other: int, target: bytes) -> int:
        return self._renamed(
            _resolve(folder, source),
            _resolve(other, target),
            lambda: int(self._libc.renameat(folder, source, other, target)),
        )

    def _renamed(self, source: str, target: str, really: Callable[[], int]) -> int:
        with self._lock:
            done = really()
            old, new = self._relative(source), self._relative(target)
            if not done and old is not None and new is not None:
                self.events.append(Renamed(old, new))
            return done

    def _unlink(self, path: bytes) -> int:
        return self._named(AT_FDCWD, path, Removed, lambda: int(self._libc.unlink(path)))

    def _unlinkat(self, folder: int, path: bytes, flags: int) -> int:
        return self._named(folder, path, Removed, lambda: int(self._libc.unlinkat(folder, path, flags)))

    def _rmdir(self, path: bytes) -> int:
        return self._named(AT_FDCWD, path, Removed, lambda: int(self._libc.rmdir(path)))

    def _mkdir(self, path: bytes, mode: int) -> int:
        return self._named(AT_FDCWD, path, FolderMade, lambda: int(self._libc.mkdir(path, mode)))

    def _mkdirat(self, folder: int, path: bytes, mode: int) -> int:
        return self._named(folder, path, FolderMade, lambda: int(self._libc.mkdirat(folder, path, mode)))

    def _link(self, source: bytes, target: bytes) -> int:
        assert self._relative(_resolve(AT_FDCWD, target)) is None, "hard links are not recorded"
        return int(self._libc.link(source, target))

    def _linkat(self, folder: int, source: bytes, other: int, target: bytes, flags: int) -> int:
        assert self._relative(_resolve(other, target)) is None, "hard links are not recorded"
        return int(self._libc.linkat(folder, source, other, target, flags))

    def _named(
        self, folder: int, path: bytes, event: type[Removed | FolderMade], really: Callable[[], int]
    ) -> int:
        resolved = _resolve(folder, path)
        with self._lock:
            done = really()
            error = ctypes.get_errno()
            inside = self._relative(resolved)
            if not done and inside is not None:
                self.events.append(event(inside))
            ctypes.set_errno(error)
            return done

    # Which file it is.

    def _relative(self, path: str) -> str | None:
        if path == self._folder:
            return "."
        if not path.startswith(self._folder + "/") or path.endswith("/lock.mdb"):
            # LMDB's table of readers is made anew at each start, and is no data.
            return None
        return path[len(self._folder) + 1 :]

    def _file(self, handle: int) -> int | None:
        try:
            status = os.fstat(handle)
        except OSError:
            return None
        return self._files.get((status.st_dev, status.st_ino))

    def _fault_for(self, call: str, handle: int) -> Fault | None:
        for fault in self.faults:
            if fault.call != call or not _descriptor_path(handle).endswith(fault.path) or fault.count == 0:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.count is not None:
                fault.count -= 1
            return fault
        return None


def _or_exit(handler: Callable[..., int]) -> Callable[..., int]:
    """A handler whose failure ends the process: in a C callback an exception would just be printed."""

    def handle(*arguments: Any) -> int:
        try:
            return handler(*arguments)
        except BaseException:  # noqa: BLE001  nobody above could catch it
            traceback.print_exc()
            os._exit(70)

    return handle


def _gather(vectors: int, count: int) -> bytes:
    array = (_Vector * count).from_address(vectors)
    return b"".join(ctypes.string_at(vector.base, vector.size) for vector in array)


def _descriptor_path(handle: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        return ""


def _descriptor_flags(handle: int) -> int:
    return fcntl.fcntl(handle, fcntl.F_GETFL)


def _resolve(folder: int, path: bytes) -> str:
    text = os.fsdecode(path)
    if not text.startswith("/"):
        text = os.path.join(os.getcwd() if folder == AT_FDCWD else _descriptor_path(folder), text)
    head, tail = os.path.split(os.path.normpath(text))
    return os.path.join(os.path.realpath(head), tail)
