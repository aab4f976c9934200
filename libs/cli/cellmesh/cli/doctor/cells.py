"""Running cells: reached, ready, clock, version, room in the storage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cellmesh.api.common.v1 import (
    cell_service_pb2,
    cell_service_pb2_grpc,
    storage_service_pb2,
    storage_service_pb2_grpc,
)
from cellmesh.cli.doctor.finding import Finding, ok, problem, warning
from cellmesh.cli.output import size_text, span_text
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell.version import cellmesh_version
from cellmesh.common.errors import CellError, DeadlineExceeded

ASK_S: Final = 5.0
CLOCK_WARNING_S: Final = 2.0
CLOCK_PROBLEM_S: Final = 60.0
"""Certificates begin five minutes in the past, and leases last minutes: beyond this a mesh comes apart."""

FREE_SHARE: Final = 0.5
FREE_BYTES: Final = 1 << 30


def check_cell(subject: str, url: str, identity: Path | None, *, is_local: bool) -> Iterator[Finding]:
    """Call a cell and look at what it tells.

    Args:
        subject: What to call it.
        url: Where it is.
        identity: The identity folder to call with.
        is_local: Whether it runs on this machine, so that its clock is this one's.
    """
    try:
        with open_cell(url, identity=identity, timeout_s=ASK_S) as client:
            stub = client.stub(cell_service_pb2_grpc.CellServiceStub)
            began_s = time.time()
            cell = stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest()).cell
            ended_s = time.time()
            yield ok(
                "reach", subject, f"{cell.name or cell.kind} answers in {(ended_s - began_s) * 1000:.0f} ms"
            )
            yield _state(subject, cell)
            yield _version(subject, cell)
            if not is_local:
                yield check_clock(subject, cell, began_s, ended_s)
            yield from _storage(subject, client)
    except CellError as error:
        yield not_reached(subject, error)


def not_reached(subject: str, error: CellError) -> Finding:
    """A cell that could not be asked, by what came of it."""
    if isinstance(error, DeadlineExceeded):
        return problem(
            "reach",
            subject,
            f"it takes calls and does not answer within {ASK_S:.0f} s",
            "it hangs, was stopped by a signal, or has far too much to do: see its log and the load, then start it anew",
        )
    return problem(
        "reach",
        subject,
        f"it cannot be asked: {error.message}",
        str(error.get("hint") or "see whether it runs, and its log"),
    )


def _state(subject: str, cell: cell_service_pb2.CellInfo) -> Finding:
    match cell.state:
        case cell_service_pb2.CELL_STATE_READY:
            return ok("state", subject, f"ready since {span_text(cell.uptime.ToNanoseconds() / 1e9)}")
        case cell_service_pb2.CELL_STATE_READ_ONLY:
            return problem(
                "state",
                subject,
                "it takes no writes",
                "its disk is full, or its storage found a fault: see the disk here and the cell's log",
            )
        case state:
            name = cell_service_pb2.CellState.Name(state).removeprefix("CELL_STATE_").lower()
            return warning("state", subject, f"it is {name}", "wait a moment and look again")


def _version(subject: str, cell: cell_service_pb2.CellInfo) -> Finding:
    own = cellmesh_version()
    if cell.version == own:
        return ok("version", subject, f"version {own}, as this command line")
    return warning(
        "version",
        subject,
        f"version {cell.version}, and this command line is {own}",
        "bring both to the same version; docs/operations.md has the order of an upgrade",
    )


def check_clock(subject: str, cell: cell_service_pb2.CellInfo, began_s: float, ended_s: float) -> Finding:
    """Compare a cell's clock with this machine's, as exactly as the way there and back allows."""
    told_s = (cell.start_time.ToNanoseconds() + cell.uptime.ToNanoseconds()) / 1e9
    off_s = told_s - (began_s + ended_s) / 2
    doubt_s = (ended_s - began_s) / 2
    sure_s = max(abs(off_s) - doubt_s, 0.0)
    if sure_s < CLOCK_WARNING_S:
        return ok(
            "clock", subject, f"its clock and this one differ by less than {max(doubt_s + sure_s, 0.1):.1f} s"
        )
    way = "ahead of" if off_s > 0 else "behind"
    message = f"its clock is {span_text(abs(off_s))} {way} this one"
    make = problem if sure_s >= CLOCK_PROBLEM_S else warning
    return make("clock", subject, message, "have both machines' clocks set by NTP (`timedatectl`, chrony)")


def _storage(subject: str, client: CellClient) -> Iterator[Finding]:
    stub = client.stub(storage_service_pb2_grpc.StorageServiceStub)
    stats = stub.GetStorageStats(storage_service_pb2.GetStorageStatsRequest())
    shown = f"{size_text(stats.used_bytes)} of data in a file of {size_text(stats.file_size_bytes)}"
    if stats.free_bytes > FREE_BYTES and stats.free_bytes > stats.file_size_bytes * FREE_SHARE:
        yield warning(
            "storage",
            subject,
            f"{shown}, of which {size_text(stats.free_bytes)} are free pages",
            "`cellmesh compact` gives them back to the disk",
        )
    else:
        yield ok("storage", subject, shown)
