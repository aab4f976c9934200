"""CellService: what every cell answers, whatever its kind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cellmesh.api.common.v1 import cell_service_pb2
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.service import Service

if TYPE_CHECKING:
    from cellmesh.common.cell.base import Cell


class CellServicer:
    """Answers from memory, in the event loop."""

    def __init__(self, cell: Cell[Any]) -> None:
        self._cell = cell

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


def cell_service(cell: Cell[Any]) -> Service:
    """The CellService of a cell."""
    descriptor = cell_service_pb2.DESCRIPTOR.services_by_name["CellService"]
    return Service(descriptor, CellServicer(cell), COMMON_PERMISSIONS)
