"""What is known of one cell of a mesh, and how it is asked: through AHA, over mutual TLS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.cli.mesh import processes
from cellmesh.cli.output import error_line
from cellmesh.client import open_cell
from cellmesh.common.errors import CellError

ASK_S: Final = 5.0
READY: Final = "ready"
STOPPED: Final = "stopped"
UNREACHABLE: Final = "unreachable"


@dataclass(frozen=True, slots=True)
class CellStatus:
    """How a cell does.

    Attributes:
        kind: What it is called in its mesh: its kind, or "01.cortex" for a mirror.
        state: "ready", "read-only", "starting" or "stopping" as the cell says; "stopped" when it has no
            process; "unreachable" when it has one that does not answer.
        name: Its name in the mesh.
        address: Where it serves.
        pid: Its process, None when it has none.
        uptime_s: For how long it has served, in seconds.
        version: Of Cellmesh.
        memory_bytes: Memory in use, None where the system does not tell.
        problem: Why it is not ready, in a sentence.
    """

    kind: str
    state: str
    name: str = ""
    address: str = ""
    pid: int | None = None
    uptime_s: float = 0.0
    version: str = ""
    memory_bytes: int | None = None
    problem: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it serves."""
        return self.state == READY


def ask_status(kind: str, folder: Path, identity: Path, url: str) -> CellStatus:
    """Ask a cell how it does.

    Args:
        kind: What it is called in its mesh.
        folder: Its folder, where its process is noted.
        identity: The identity folder to call with.
        url: Where AHA is asked for it.
    """
    running = processes.find_running(folder)
    if running is None:
        return CellStatus(kind, STOPPED)
    try:
        with open_cell(url, identity=identity, timeout_s=ASK_S) as client:
            stub = client.stub(cell_service_pb2_grpc.CellServiceStub)
            cell = stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest()).cell
    except CellError as error:
        return CellStatus(
            kind,
            UNREACHABLE,
            address=_first(running.addresses),
            pid=running.pid,
            memory_bytes=processes.memory_bytes(running.pid),
            problem=error_line(error),
        )
    state = cell_service_pb2.CellState.Name(cell.state).removeprefix("CELL_STATE_")
    return CellStatus(
        kind,
        state.lower().replace("_", "-"),
        name=cell.name,
        address=_first(running.addresses),
        pid=running.pid,
        uptime_s=cell.uptime.ToNanoseconds() / 1e9,
        version=cell.version,
        memory_bytes=processes.memory_bytes(running.pid),
    )


def _first(addresses: Sequence[str]) -> str:
    return addresses[0] if addresses else ""
