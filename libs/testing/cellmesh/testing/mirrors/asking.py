"""How an instance stands and who leads, asked at its unix socket; waiting until it is so."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cellmesh.api.common.v1 import mirror_pb2, mirror_service_pb2_grpc
from cellmesh.client import open_cell
from cellmesh.common.errors import CellError
from cellmesh.common.tls.folder import IdentityFolder

WAIT_S: Final = 30.0
POLL_S: Final = 0.02
STATUS_TIMEOUT_S: Final = 5.0
PROMOTE_TIMEOUT_S: Final = 60.0


def wait(what: str, test: Callable[[], bool], timeout_s: float = WAIT_S) -> float:
    """Wait until a test holds, and take errors of cells for no; returns how long it took in seconds.

    Raises:
        TimeoutError: it did not hold in time.
    """
    began_s = time.monotonic()
    last: CellError | None = None
    while time.monotonic() - began_s < timeout_s:
        try:
            if test():
                return time.monotonic() - began_s
        except CellError as error:
            last = error
        time.sleep(POLL_S)
    raise TimeoutError(f"{what}: not after {timeout_s:g} s; last: {last}")


def status_of(folder: Path, *, timeout_s: float = STATUS_TIMEOUT_S) -> mirror_pb2.MirrorStatus:
    """How the instance with this folder stands."""
    with open_cell(f"unix://{folder}") as client:
        stub: Any = client.stub(mirror_service_pb2_grpc.MirrorServiceStub)
        request = mirror_pb2.GetMirrorStatusRequest()
        found: mirror_pb2.MirrorStatus = stub.GetMirrorStatus(request, timeout=timeout_s).status
        return found


def promote(folder: Path, *, timeout_s: float = PROMOTE_TIMEOUT_S, **how: bool) -> float:
    """Make the instance with this folder leader, as an operator does; returns how long it took in seconds.

    Args:
        folder: The instance's.
        timeout_s: How long the call may take.
        how: Fields of `PromoteRequest`: `force`, `accept_loss`.
    """
    began_s = time.monotonic()
    with open_cell(f"unix://{folder}") as client:
        stub: Any = client.stub(mirror_service_pb2_grpc.MirrorServiceStub)
        stub.Promote(mirror_pb2.PromoteRequest(**how), timeout=timeout_s)
    return time.monotonic() - began_s


def leads(status: mirror_pb2.MirrorStatus) -> bool:
    """Whether an instance leads and may take writes."""
    return status.role == mirror_pb2.MIRROR_ROLE_LEADER and status.writable


def follower_count(status: mirror_pb2.MirrorStatus) -> int:
    """How many instances follow one and have all that it has."""
    return sum(one.connected and not one.lag for one in status.followers)


def known_registries(identity: Path) -> tuple[str, ...]:
    """The addresses of AHA that the owner of an identity knows."""
    found = IdentityFolder(identity).mesh()
    return found.registry_addresses if found is not None else ()
