"""What a cell tells of itself in figures, read when they are collected and not before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import CellError
from cellmesh.common.storage.slab import free_space_bytes
from cellmesh.common.telemetry import names

if TYPE_CHECKING:
    from cellmesh.common.cell.base import Cell
    from cellmesh.common.storage.slab import SlabStats
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

STATM_PATH = "/proc/self/statm"
PAGE_SIZE = 4096


class CellFigures:
    """Registers a cell's figures with a meter. They are asked for on the thread that collects.

    Args:
        cell: The cell. While it has no storage open, its figures are missing.
        meter: OpenTelemetry's.
    """

    def __init__(self, cell: Cell[Any], meter: Meter) -> None:
        self._cell = cell
        self._meter = meter
        for add in (self._add_process, self._add_calls, self._add_storage):
            add()

    def _add_process(self) -> None:
        self._gauge(names.METRIC_MEMORY, "By", "Memory of the process that is in RAM.", resident_bytes)
        self._gauge(names.METRIC_READY, "1", "1 while calls are served, 0 before and after.", self._ready)
        self._gauge(
            names.METRIC_READ_ONLY, "1", "1 while writes are refused for lack of room.", self._read_only
        )
        self._gauge(
            names.METRIC_DISK_FREE,
            "By",
            "Room on the disk of the cell's folder.",
            lambda: free_space_bytes(self._cell.folder.path),
        )

    def _add_calls(self) -> None:
        running = self._cell.tasks.running
        self._gauge(names.METRIC_TASKS, "{call}", "Calls being served.", lambda: len(running))
        self._gauge(
            names.METRIC_STREAMS,
            "{call}",
            "Calls being served that are streams.",
            lambda: sum(call.is_stream for call in list(running.values())),
        )

    def _add_storage(self) -> None:
        if not self._cell.databases:
            return
        self._gauge(
            names.METRIC_CHANGE_OFFSET,
            "{record}",
            "The offset that the next record of the change log gets.",
            self._cell.change_offset,
        )
        for name, unit, description, read in _SLAB_GAUGES:
            self._gauge(name, unit, description, self._of_slab(read))
        for name, unit, description, read in _SLAB_COUNTERS:
            self._meter.create_observable_counter(
                name, [_callback(self._of_slab(read))], unit=unit, description=description
            )

    def _ready(self) -> int:
        return int(self._cell.is_ready)

    def _read_only(self) -> int:
        return int(self._cell.is_read_only)

    def _of_slab(self, read: Callable[[SlabStats], int]) -> Callable[[], int]:
        return lambda: read(self._cell.slab.stats())

    def _gauge(self, name: str, unit: str, description: str, read: Callable[[], int]) -> None:
        self._meter.create_observable_gauge(name, [_callback(read)], unit=unit, description=description)


_SlabRows = tuple[tuple[str, str, str, "Callable[[SlabStats], int]"], ...]

_SLAB_GAUGES: _SlabRows = (
    (names.METRIC_MAP_SIZE, "By", "Size of the database's map.", lambda stats: stats.map_size_bytes),
    (names.METRIC_USED, "By", "The part of the database's file in use.", lambda stats: stats.used_bytes),
    (names.METRIC_READERS, "{transaction}", "Open read transactions.", lambda stats: stats.readers),
)
_SLAB_COUNTERS: _SlabRows = (
    (names.METRIC_COMMITS, "{commit}", "Commits, each of them synced.", lambda stats: stats.commits),
    (names.METRIC_ABORTS, "{transaction}", "Transactions rolled back.", lambda stats: stats.aborts),
    (names.METRIC_GROWTHS, "{growth}", "How often the map grew.", lambda stats: stats.growths),
)


def _callback(read: Callable[[], int]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    from opentelemetry.metrics import Observation

    def observe(options: CallbackOptions) -> Iterable[Observation]:
        try:
            return [Observation(read())]
        except (CellError, OSError):
            # The storage is not open (yet, or any more): there is nothing to tell.
            return []

    return observe


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    with open(STATM_PATH) as file:
        return int(file.read().split()[1]) * PAGE_SIZE
