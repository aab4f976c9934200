"""cell://DIR?KIND: a cell inside this process, in a thread with an event loop of its own."""

from __future__ import annotations

import importlib
import json
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from cellmesh.client.urls import SOCKET_FILE, CellUrl
from cellmesh.common.errors import BadUrl, IsFini, StorageLocked

CELL_FILE: Final = "cell.json"
KINDS: Final = ("aha", "axon", "cryotank", "cortex")


class CellInProcess:
    """A cell that is started at the first call and stopped when the client is closed. Threads may share it.

    Its settings are those of its folder and the environment, as `cellmesh KIND serve` would have them. The client calls
    it on the unix socket of the folder, so that it is root there.
    """

    def __init__(self, url: CellUrl) -> None:
        self._url = url
        self._folder = Path(url.address)
        self._lock = threading.Lock()
        self._running: AbstractContextManager[Any] | None = None
        self._closed = False
        self._kind = url.kind or _kind_of(self._folder, url)
        if self._kind not in KINDS:
            raise BadUrl(
                f"{url}: there is no cell of kind {self._kind}, but {', '.join(KINDS)}", url=str(url)
            )

    @property
    def address(self) -> str:
        """Where it serves, as gRPC target text."""
        return f"unix:{self._folder / SOCKET_FILE}"

    @property
    def is_running(self) -> bool:
        """Whether it has been started."""
        return self._running is not None

    def start(self) -> None:
        """Start it unless it runs; returns when it serves.

        Raises:
            StorageLocked: a process runs a cell on the folder already; tells where to call it.
            BadState: the folder belongs to another kind of cell.
            BadConfValu: the folder cannot be used.
            BadUrl: what this kind of cell needs is not installed.
        """
        with self._lock:
            if self._running is not None:
                return
            if self._closed:
                raise IsFini("the client is closed", name=str(self._url))
            running = self._make()
            try:
                running.__enter__()
            except StorageLocked as error:
                error.set("hint", f"a cell runs there already: call it at unix://{self._folder}")
                raise
            self._running = running

    def close(self) -> None:
        """Stop it, if it runs; returns when it has stopped."""
        with self._lock:
            self._closed = True
            running, self._running = self._running, None
        if running is not None:
            running.__exit__(None, None, None)

    def _make(self) -> AbstractContextManager[Any]:
        # By name: who calls cells elsewhere needs neither their code nor what it imports.
        try:
            cells: Any = importlib.import_module("cellmesh.common.cell")
            config: Any = importlib.import_module("cellmesh.common.config")
            module: Any = importlib.import_module(f"cellmesh.{self._kind}.cell")
            main: Any = importlib.import_module(f"cellmesh.{self._kind}.main")
        except ModuleNotFoundError as error:
            raise BadUrl(
                f"{self._url} needs the module {error.name}, which is not installed",
                url=str(self._url),
                hint=f"pip install 'cellmesh[{self._kind}]'",
            ) from None
        made = getattr(module, f"{self._kind.capitalize()}Cell")
        settings = config.load_config(main.CONFIG, dir=self._folder)
        running: AbstractContextManager[Any] = cells.running(made(settings))
        return running


def _kind_of(folder: Path, url: CellUrl) -> str:
    try:
        return str(json.loads((folder / CELL_FILE).read_bytes())["kind"])
    except FileNotFoundError:
        raise BadUrl(
            f"{url}: no cell has used the folder {folder} yet, so that its kind is not known",
            url=str(url),
            hint=f"name it: {url}?axon",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadUrl(f"{url}: {folder / CELL_FILE} cannot be read: {error}", url=str(url)) from None
