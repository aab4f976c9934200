"""Process entry of a cell: logs first, then start, signals, exit codes."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from cellmesh.common.cell.base import Cell, CellState
from cellmesh.common.errors import CellError
from cellmesh.common.telemetry.logs import configure_logs, get_logger

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1
EXIT_CANNOT_START: Final = 2
EXIT_INTERRUPTED: Final = 130

# How long a thread may keep the interpreter when others want it. The default of 5 ms is what a call would
# wait for whenever a worker thread computes.
SWITCH_INTERVAL_S: Final = 0.0005
START_TIMEOUT_S: Final = 60.0
# Cells make few cycles, and by the million objects that live a moment: each look of the collector is in vain.
GC_THRESHOLDS: Final = (50_000, 20, 50)

CellT = TypeVar("CellT", bound=Cell[Any])

_log = get_logger(__name__)


def run_cell(cell: Cell[Any]) -> int:
    """Run a cell until SIGTERM or SIGINT; the second signal ends it at once. Call it from the main thread.

    Returns:
        The exit code: 0 stopped when asked, 1 failed, 2 cannot start (settings, folder, port, lock), 130 when
        interrupted a second time.
    """
    config = cell.config
    configure_logs(config.log_level, config.log_format, cell=_label(cell))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        return asyncio.run(_run_again(cell))
    except CellError as error:
        # What a person did wrong is told in a sentence; a traceback would only hide it.
        print(f"{cell.kind}: {error}", file=sys.stderr)
        return EXIT_CANNOT_START
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last place where it can be told
        _log.error("cell_failed", exc_info=error)
        return EXIT_FAILED


def _label(cell: Cell[Any]) -> str:
    """What log lines call the cell: its name in the mesh once it has one, else its kind."""
    try:
        identity = cell.folder.identity.cell_identity()
    except CellError:
        # The start will tell what is wrong with it.
        return cell.kind
    return identity.name if identity else cell.kind


async def _run_again(cell: Cell[Any]) -> int:
    """Run the cell, and a new one on the same folder each time it asks for that, until it is to stop."""
    asked = asyncio.Event()
    told_twice = asyncio.Event()
    while True:
        code = await _run(cell, asked, told_twice)
        if asked.is_set() or not cell.restart_wanted.is_set():
            return code
        cell = type(cell)(cell.config)


async def _run(cell: Cell[Any], asked: asyncio.Event, told_twice: asyncio.Event) -> int:
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if asked.is_set():
            told_twice.set()
            return
        _log.info("cell_stopping", signal=signal.Signals(number).name)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    starting = asyncio.ensure_future(cell.start())
    await _first(starting, asked)
    if not starting.done():
        starting.cancel()
    try:
        await starting
    except asyncio.CancelledError:
        return EXIT_STOPPED
    print(serving_line(cell), flush=True)
    # What was made until now lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    await _either(asked, cell.restart_wanted)
    stopping = asyncio.ensure_future(_stop(cell))
    await _first(stopping, told_twice)
    if stopping.done():
        await stopping
        return EXIT_STOPPED
    # Nothing is waited for, neither parts nor threads. What was acknowledged is on disk already.
    _log.warning("cell_stopped_at_once")
    logging.shutdown()
    os._exit(EXIT_INTERRUPTED)


async def _stop(cell: Cell[Any]) -> None:
    try:
        # While it still serves: its followers ask it for what they lack.
        await cell.make_way()
    finally:
        await cell.stop()


async def _first(task: asyncio.Future[Any], event: asyncio.Event) -> None:
    """Wait until the task is done or the event is set."""
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([task, waiter], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waiter = asyncio.ensure_future(first.wait())
    try:
        await _first(waiter, second)
    finally:
        waiter.cancel()


def serving_line(cell: Cell[Any]) -> str:
    """The line that tells people where the cell serves."""
    who = f"{cell.kind} {cell.name}" if cell.name else cell.kind
    return f"{who} serving at {', '.join(cell.addresses)}"


@contextmanager
def running(cell: CellT) -> Iterator[CellT]:
    """Run a cell in a thread with an event loop of its own, for synchronous tests and tools.

    The cell serves when the block is entered and has stopped when it is left. What `start` raises is raised.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"cell-{cell.kind}", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(cell.start(), loop).result(START_TIMEOUT_S)
        try:
            yield cell
        finally:
            if cell.state is not CellState.STOPPED:
                asyncio.run_coroutine_threadsafe(cell.stop(), loop).result(START_TIMEOUT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
