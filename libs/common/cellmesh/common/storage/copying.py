"""A consistent copy of a slab as a stream of bytes, while reads and writes go on.

LMDB copies one state in a read transaction that lasts until the copy ends: the one long reader there is. It
writes into a socket here, whose other end is read, so a copy is as fast as its reader and needs no memory
to speak of. Pages that the state uses are not reused meanwhile, so the file grows by what is written.

The map must not grow while LMDB reads it. Writes go first: they stop the copy when they cannot do without.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

import lmdb
from cellmesh.common.errors import CellError, FeatureNotSupported, Retry, TimeOut
from cellmesh.common.storage.faults import translate
from cellmesh.common.storage.transactions import ReadTxn

CHUNK_SIZE: Final = 256 * 1024
"""Most bytes of one chunk of a copy."""

STALL_MAX_S: Final = 60
"""A copy ends when nothing of it was taken for so long, or a dead reader would keep old pages for ever."""

SOCKET_BUFFER_SIZE: Final = 1 << 20


class SlabCopy:
    """One running copy, in a `with` block. Made by `Slab.copy`; read from one thread.

    Attributes:
        size_max_bytes: The copy has at most this size; pages that are free are left out.
    """

    def __init__(
        self,
        environment: lmdb.Environment,
        raw: lmdb.Transaction[bytes],
        size_max_bytes: int,
        stall_max_s: int,
    ) -> None:
        self.size_max_bytes = size_max_bytes
        self._environment = environment
        self._raw = raw
        self._error: BaseException | None = None
        self._stopped_by: CellError | None = None
        self._lock = threading.Lock()
        self._source, self._sink = socket.socketpair()
        self._sink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_SIZE)
        self._sink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", stall_max_s, 0))
        self._stall_max_s = stall_max_s
        self._thread = threading.Thread(target=self._run, name="slab-copy", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether its transaction is open still."""
        return self._thread.is_alive()

    def chunks(self) -> Iterator[bytes]:
        """The file's bytes, in order.

        Raises:
            Retry: writes needed the map to grow; a new copy has room.
            TimeOut: nothing was taken for too long.
            StorageCorrupt: the storage is damaged.
        """
        while chunk := self._source.recv(CHUNK_SIZE, socket.MSG_WAITALL):
            yield chunk
        self._thread.join()
        if self._stopped_by is not None:
            raise self._stopped_by
        if self._error is not None:
            raise self._as_fault(self._error) from self._error

    def stop(self, reason: CellError | None = None) -> None:
        """End the copy, and return when its transaction is closed. Whoever reads it gets the reason."""
        with self._lock:
            if self._thread.is_alive() and self._stopped_by is None:
                self._stopped_by = reason or Retry("the copy was stopped")
        # LMDB's next write fails then, and a reader that waits sees the end.
        try:
            self._source.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EBADF):
                raise
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._source.close()

    def _run(self) -> None:
        try:
            self._environment.copyfd(self._sink.fileno(), compact=True, txn=self._raw)
        except BaseException as error:  # noqa: BLE001  it is raised where the copy is read
            self._error = error
        finally:
            self._raw.abort()
            self._sink.close()

    def _as_fault(self, error: BaseException) -> BaseException:
        if isinstance(error, lmdb.Error) and getattr(error, "code", 0) == errno.EAGAIN:
            return TimeOut(
                f"nothing of the copy was taken for {self._stall_max_s} s, and it was ended",
                hint="old pages of the database cannot be reused while a copy runs: read it faster",
            )
        return translate(error)


def begin_copy(
    environment: lmdb.Environment, handles: dict[str, lmdb._Database], look: Callable[[ReadTxn], None]
) -> lmdb.Transaction[bytes]:
    """Open the transaction of a copy and look around in the state that it will have."""
    if not lmdb.version(subpatch=True)[3]:
        raise FeatureNotSupported(
            "this build of py-lmdb cannot copy the state of a transaction", hint="install lmdb from PyPI"
        )
    raw = environment.begin()
    try:
        txn = ReadTxn(handles)
        txn.bind(raw)
        look(txn)
    except BaseException:
        raw.abort()
        raise
    return raw
