"""CellService: what every cell answers, whatever its kind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cellmesh.api.common.v1 import cell_service_pb2
from cellmesh.common.errors import BadArg
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.service import Service
from cellmesh.common.telemetry.log_levels import LogLevels

if TYPE_CHECKING:
    from cellmesh.common.cell.base import Cell

_LEVELS = {
    cell_service_pb2.LOG_LEVEL_UNSPECIFIED: "",
    cell_service_pb2.LOG_LEVEL_DEBUG: "debug",
    cell_service_pb2.LOG_LEVEL_INFO: "info",
    cell_service_pb2.LOG_LEVEL_WARNING: "warning",
    cell_service_pb2.LOG_LEVEL_ERROR: "error",
}


class CellServicer:
    """Answers from memory, in the event loop."""

    def __init__(self, cell: Cell[Any], levels: LogLevels) -> None:
        self._cell = cell
        self._levels = levels

    async def GetCellInfo(
        self, request: cell_service_pb2.GetCellInfoRequest, context: Any
    ) -> cell_service_pb2.GetCellInfoResponse:
        """Tell who the cell is and how it does."""
        cell = self._cell
        info = cell_service_pb2.CellInfo(
            cell_id=cell.cell_id,
            kind=cell.kind,
            name=cell.name,
            version=cell.version,
            storage_version=cell.storage_version,
            state=cell_service_pb2.CellState.Value(f"CELL_STATE_{cell.state.name}"),
            change_offset=cell.change_offset(),
        )
        info.start_time.FromNanoseconds(cell.start_time_ns)
        info.uptime.FromNanoseconds(time.time_ns() - cell.start_time_ns)
        return cell_service_pb2.GetCellInfoResponse(cell=info)

    async def GetLogLevel(
        self, request: cell_service_pb2.GetLogLevelRequest, context: Any
    ) -> cell_service_pb2.GetLogLevelResponse:
        """See the proto."""
        return cell_service_pb2.GetLogLevelResponse(levels=self._told_levels())

    async def SetLogLevel(
        self, request: cell_service_pb2.SetLogLevelRequest, context: Any
    ) -> cell_service_pb2.SetLogLevelResponse:
        """See the proto."""
        duration_s = request.duration.ToNanoseconds() / 1e9 if request.HasField("duration") else None
        if request.level not in _LEVELS:
            raise BadArg(f"there is no level {request.level}", name="level")
        self._levels.set(request.logger, _LEVELS[request.level], duration_s)
        return cell_service_pb2.SetLogLevelResponse(levels=self._told_levels())

    def _told_levels(self) -> list[cell_service_pb2.LoggerLevel]:
        found = []
        for level in self._levels.levels():
            value = cell_service_pb2.LogLevel.Value(f"LOG_LEVEL_{level.level.upper()}")
            made = cell_service_pb2.LoggerLevel(logger=level.logger, level=value)
            if level.expire_time_s is not None:
                made.expire_time.FromNanoseconds(int(level.expire_time_s * 1e9))
            found.append(made)
        return found


def cell_service(cell: Cell[Any], levels: LogLevels) -> Service:
    """The CellService of a cell."""
    descriptor = cell_service_pb2.DESCRIPTOR.services_by_name["CellService"]
    return Service(descriptor, CellServicer(cell, levels), COMMON_PERMISSIONS)
