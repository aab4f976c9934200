"""Measure cells at work and at rest: durable single writes from 1 and 32 clients, start-up, memory.

    python benchmarks/cell_rates.py [--dir DIR] [--seconds S] [--starts N]      (0: not at all)

Each cell is a process of its own, on loopback TCP without TLS; 32 clients are four processes of eight threads, each
thread with a write on its way at any time. A start is from the process's start to its first answered call: of a new
folder, and of the same folder again, with the CPU time of the process, which a busy machine changes least. Memory is taken five seconds after the start, before any other call: resident,
and proportional (what is shared with other processes counted by share). Prints Markdown tables; docs/performance.md
has them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc

KINDS = ("aha", "axon", "cryotank", "cortex")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
REST_S = 5.0
CLIENT_PROCESSES = 4
CLIENT_THREADS = 8


def start(kind: str, folder: Path) -> tuple[subprocess.Popen[bytes], str, float]:
    """Start a cell; returns its process, its address, and the seconds to the first answered call."""
    from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc

    (folder / "run.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "cellmesh.cli.main", kind, "serve", "--dir", str(folder)]
    if kind != "aha":
        command += ["--insecure", "--listen", "127.0.0.1:0"]
    command += ["--log-level", "error"]
    start_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    while time.perf_counter() - start_s < START_TIMEOUT_S and process.poll() is None:
        try:
            addresses = json.loads((folder / "run.json").read_text())["addresses"]
        except (OSError, ValueError):
            time.sleep(0.005)
            continue
        with grpc.insecure_channel(f"unix:{folder / 'cell.sock'}") as channel:
            cell_service_pb2_grpc.CellServiceStub(channel).GetCellInfo(
                cell_service_pb2.GetCellInfoRequest(), wait_for_ready=True, timeout=START_TIMEOUT_S
            )
        took_s = time.perf_counter() - start_s
        return process, next((a for a in addresses if not a.startswith("unix:")), ""), took_s
    raise SystemExit(f"the {kind} did not start")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a cell."""
    process.terminate()
    process.wait(STOP_TIMEOUT_S)


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """CPU time that a cell has taken, in seconds."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Figures of /proc: resident, of that not backed by files, proportional."""
    found = {}
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        found[name.rstrip(":")] = int(value) / 1024
    return {"rss": found["Rss"], "anonymous": found["Anonymous"], "pss": found["Pss"]}


# One write of each kind of cell, by a number that no other write has.


def storm_write(channel: grpc.Channel) -> Callable[[int], object]:
    """Add a node with a property and a tag."""
    from cellmesh.api.cortex.v1 import storm_pb2, storm_service_pb2_grpc

    call = storm_service_pb2_grpc.StormServiceStub(channel).CountStorm
    return lambda number: call(
        storm_pb2.CountStormRequest(text=f"[inet:ipv4={number} :asn=20 +#bench]"), timeout=START_TIMEOUT_S
    )


def key_value_write(channel: grpc.Channel) -> Callable[[int], object]:
    """Set a key-value."""
    from cellmesh.api.common.v1 import key_value_service_pb2, key_value_service_pb2_grpc, value_pb2

    call = key_value_service_pb2_grpc.KeyValueServiceStub(channel).SetKeyValue
    value = value_pb2.Value(string_value="value")
    return lambda number: call(
        key_value_service_pb2.SetKeyValueRequest(path=["bench", str(number)], value=value),
        timeout=START_TIMEOUT_S,
    )


def axon_write(channel: grpc.Channel) -> Callable[[int], object]:
    """Put a blob of 1 KiB."""
    from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc

    call = blob_service_pb2_grpc.BlobServiceStub(channel).PutBlobs
    return lambda number: call(
        blob_pb2.PutBlobsRequest(contents=[b"%1024d" % number]), timeout=START_TIMEOUT_S
    )


def tank_write(channel: grpc.Channel) -> Callable[[int], object]:
    """Append one record."""
    from cellmesh.api.common.v1 import value_pb2
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    stub = tank_service_pb2_grpc.TankServiceStub(channel)
    with contextlib.suppress(grpc.RpcError):
        stub.CreateTank(tank_pb2.CreateTankRequest(name="bench"), timeout=START_TIMEOUT_S)
    value = value_pb2.Value(string_value="x" * 100)
    return lambda number: stub.AppendRecords(
        tank_pb2.AppendRecordsRequest(name="bench", values=[value]), timeout=START_TIMEOUT_S
    )


def client(address: str, write: str, thread_count: int, seconds: float, base: int) -> None:
    """A client process: writes as fast as each thread gets its answers; prints durations in ms as JSON."""
    durations_ms: list[list[float]] = [[] for _ in range(thread_count)]

    def run(place: int) -> None:
        with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            call = WRITES[write][1](channel)
            number = base + place * 1_000_000
            call(number)
            end_s = time.perf_counter() + seconds
            while (begun_s := time.perf_counter()) < end_s:
                number += 1
                call(number)
                durations_ms[place].append((time.perf_counter() - begun_s) * 1000)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(thread_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([one for found in durations_ms for one in found]))


WRITES: dict[str, tuple[str, Callable[[grpc.Channel], Callable[[int], object]]]] = {
    "Cortex: a node, a property and a tag by Storm": ("cortex", storm_write),
    "Axon: a blob of 1 KiB": ("axon", axon_write),
    "Cryotank: a record": ("cryotank", tank_write),
    "any cell: a key-value": ("cryotank", key_value_write),
}


def measure_writes(folder: Path, seconds: float) -> None:
    """Print the table of durable single writes."""
    print("| one write a call, acknowledged when it is on disk | clients | writes a second | p50 | p99 |")
    print("| --- | --- | --- | --- | --- |")
    for place, (name, (kind, _)) in enumerate(WRITES.items()):
        process, address, _ = start(kind, folder / f"writes-{place}")
        try:
            for processes, threads in ((1, 1), (CLIENT_PROCESSES, CLIENT_THREADS)):
                children = [
                    subprocess.Popen(
                        [
                            sys.executable,
                            __file__,
                            "--client",
                            address,
                            name,
                            str(threads),
                            str(seconds),
                            str(base),
                        ],
                        stdout=subprocess.PIPE,
                    )
                    for base in (10_000_000 * (1 + number + 10 * threads) for number in range(processes))
                ]
                found = sorted(one for child in children for one in json.loads(child.communicate()[0]))
                print(
                    f"| {name} | {processes * threads} | {len(found) / seconds:,.0f} | "
                    f"{found[len(found) // 2]:.1f} ms | {found[int(len(found) * 0.99)]:.1f} ms |",
                    flush=True,
                )
        finally:
            stop(process)


def measure_starts(folder: Path, count: int) -> None:
    """Print the table of starts and of memory at rest."""
    print("| cell | new folder to first call | again | CPU | resident | not backed by files | proportional |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in KINDS:
        new: list[float] = []
        again: list[float] = []
        cpu: list[float] = []
        figures: dict[str, float] = {}
        for number in range(count):
            place = folder / f"start-{kind}-{number}"
            for times in (new, again):
                process, _, took_s = start(kind, place)
                times.append(took_s)
                cpu.append(cpu_s(process))
                if times is again and number == count - 1:
                    time.sleep(REST_S)
                    figures = memory_mib(process)
                stop(process)
        print(
            f"| {kind} | {statistics.median(new):.2f} s | {statistics.median(again):.2f} s | "
            f"{statistics.median(cpu):.2f} s | "
            f"{figures['rss']:.0f} MiB | {figures['anonymous']:.0f} MiB | {figures['pss']:.0f} MiB |",
            flush=True,
        )


def main() -> None:
    """See the module."""
    if sys.argv[1:2] == ["--client"]:
        address, write, threads, seconds, base = sys.argv[2:]
        client(address, write, int(threads), float(seconds), int(base))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, default=Path("."), help="on the disk to measure")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each number of clients writes")
    parser.add_argument("--starts", type=int, default=3, help="how many folders are started twice")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cell-rates-", dir=arguments.dir))
    try:
        if arguments.seconds:
            measure_writes(folder.absolute(), arguments.seconds)
            print()
        if arguments.starts:
            measure_starts(folder.absolute(), arguments.starts)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
