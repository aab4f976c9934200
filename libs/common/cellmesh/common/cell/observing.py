"""Traces and metrics of a cell, as its settings ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cellmesh.common.telemetry.tracing import configure_telemetry

if TYPE_CHECKING:
    from cellmesh.common.cell.base import Cell
    from cellmesh.common.telemetry.endpoint import MonitorEndpoint


def start_telemetry(cell: Cell[Any]) -> MonitorEndpoint | None:
    """Begin to send traces and metrics where the settings say; nothing of it is imported where they say nothing.

    Returns:
        The endpoint for monitors, to be started; None when none is asked for.
    """
    config = cell.config
    endpoint = None
    readers: Sequence[object] = ()
    if config.metrics_listen:
        from cellmesh.common.telemetry.endpoint import MonitorEndpoint, prometheus_reader

        registry, reader = prometheus_reader()
        endpoint, readers = MonitorEndpoint(cell, config.metrics_listen, registry), (reader,)
    meter = configure_telemetry(
        config.otlp_endpoint,
        cell=cell.name or cell.kind,
        cell_id=cell.cell_id,
        version=cell.version,
        readers=readers,
    )
    if meter is not None:
        from cellmesh.common.telemetry.observed import CellFigures

        CellFigures(cell, meter)
    return endpoint
