"""Clients of a mesh as one process: each calls a cell by its name, over and over, and writes down how each call ended.

python -m cellmesh.testing.mesh_load IDENTITY LEDGER NAME KIND...

Each kind is one thread with one client, which is never opened anew, but for "new client", which opens one each time. A
line of the ledger is a JSON object: kind, value, began_s and ended_s on the system's monotonic clock, error (empty if
the call was acknowledged).
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.api.cortex.v1 import storm_pb2, storm_service_pb2_grpc
from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
from cellmesh.client import CellClient, open_cell
from cellmesh.common.errors import CellError
from cellmesh.common.values import to_value

TANK: Final = "load"
PAUSE_S: Final = 0.03
FAILED_PAUSE_S: Final = 0.05

WRITE_NODES: Final = "cortex write"
READ_NODES: Final = "cortex read"
READ_ANY_NODES: Final = "cortex read, any instance"
PUT_BLOBS: Final = "axon write"
HAS_BLOBS: Final = "axon read"
APPEND_RECORDS: Final = "cryotank write"
READ_RECORDS: Final = "cryotank read"
NEW_CLIENT: Final = "new client"

WRITES: Final = (WRITE_NODES, PUT_BLOBS, APPEND_RECORDS)


@dataclass(frozen=True, slots=True)
class Entry:
    """One call.

    Attributes:
        kind: What was called.
        value: What was written; of a read, which one it was.
        began_s: When, on the monotonic clock of the system.
        ended_s: When it ended.
        error: How it failed; empty if it was acknowledged.
    """

    kind: str
    value: int
    began_s: float
    ended_s: float
    error: str


def blob_content(value: int) -> bytes:
    """The content that a value stands for."""
    return f"content {value} ".encode() * 20


def blob_sha256(value: int) -> bytes:
    """Its name."""
    return hashlib.sha256(blob_content(value)).digest()


def read_ledger(path: Path) -> list[Entry]:
    """All calls so far, in the order in which they ended."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    # The last line may be half written.
    return [Entry(**json.loads(line)) for line in lines if line.endswith("\n")]


def run(identity: Path, ledger: Path, first_value: int, kinds: list[str]) -> None:
    """Call until the process ends."""
    with ledger.open("a", buffering=1) as file:
        lock = threading.Lock()

        def note(entry: dict[str, Any]) -> None:
            with lock:
                file.write(json.dumps(entry) + "\n")

        threads = [
            threading.Thread(target=_repeat, args=(kind, identity, first_value, note), daemon=True)
            for kind in kinds
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _repeat(kind: str, identity: Path, first_value: int, note: Callable[[dict[str, Any]], None]) -> None:
    value = first_value
    for call in _calls(kind, identity):
        value += 1
        began_s, error = time.monotonic(), ""
        try:
            call(value)
        except CellError as failed:
            error = f"{type(failed).__name__}: {failed}"
        ended_s = time.monotonic()
        note({"kind": kind, "value": value, "began_s": began_s, "ended_s": ended_s, "error": error})
        time.sleep(FAILED_PAUSE_S if error else PAUSE_S)


def _calls(kind: str, identity: Path) -> Iterator[Callable[[int], None]]:
    """The call of a kind, again and again."""
    service = "cortex" if kind == NEW_CLIENT else kind.partition(" ")[0]
    prefer = "any" if kind in (READ_ANY_NODES, NEW_CLIENT) else "leader"

    def client() -> CellClient:
        return open_cell(f"aha://{service}", identity=identity, prefer=prefer)

    if kind == NEW_CLIENT:
        while True:
            yield lambda value: _with_new(client(), value)
    with client() as kept:
        call = _CALLS[kind](kept)
        while True:
            yield call


def _with_new(client: CellClient, value: int) -> None:
    with client:
        _read_nodes(client)(value)


def _write_nodes(client: CellClient) -> Callable[[int], None]:
    stub: Any = client.stub(storm_service_pb2_grpc.StormServiceStub)
    return lambda value: stub.CallStorm(storm_pb2.CallStormRequest(text=f"[ inet:ipv4={value} :asn=7 ]"))


def _read_nodes(client: CellClient) -> Callable[[int], None]:
    stub: Any = client.stub(storm_service_pb2_grpc.StormServiceStub, read_only=True)
    return lambda value: stub.CountStorm(storm_pb2.CountStormRequest(text="inet:ipv4 | limit 3"))


def _put_blobs(client: CellClient) -> Callable[[int], None]:
    stub: Any = client.stub(blob_service_pb2_grpc.BlobServiceStub)
    return lambda value: stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=[blob_content(value)]))


def _has_blobs(client: CellClient) -> Callable[[int], None]:
    stub: Any = client.stub(blob_service_pb2_grpc.BlobServiceStub)
    return lambda value: stub.HasBlobs(blob_pb2.HasBlobsRequest(sha256s=[blob_sha256(1)]))


def _append_records(client: CellClient) -> Callable[[int], None]:
    stub: Any = client.stub(tank_service_pb2_grpc.TankServiceStub)
    return lambda value: stub.AppendRecords(
        tank_pb2.AppendRecordsRequest(name=TANK, values=[to_value(value)])
    )


def _read_records(client: CellClient) -> Callable[[int], None]:
    stub: Any = client.stub(tank_service_pb2_grpc.TankServiceStub)
    return lambda value: stub.GetTank(tank_pb2.GetTankRequest(name=TANK))


_CALLS: Final[dict[str, Callable[[CellClient], Callable[[int], None]]]] = {
    WRITE_NODES: _write_nodes,
    READ_NODES: _read_nodes,
    READ_ANY_NODES: _read_nodes,
    PUT_BLOBS: _put_blobs,
    HAS_BLOBS: _has_blobs,
    APPEND_RECORDS: _append_records,
    READ_RECORDS: _read_records,
}

if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
