"""W12: records into a Cryotank and out again, ours and, with --peer, the peer's in turns.

python -m benchmarks.tank_rates [--peer] [--runs 3] [--count 200000]

Both sides do the same from Python: 200,000 dictionaries of some 200 bytes, 1,000 a call, packed by the client; then all of them
read back as dictionaries, then all of them as packed bytes. Ours are durable when they are acknowledged. "puts" sends the next
1,000 when the last were acknowledged, as the peer's client does; "stream" sends on meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks import processes, sides

BATCH = 1000

Record = dict[str, Any]
Timed = dict[str, float]


def make_records(count: int) -> list[Record]:
    """Dictionaries of about 200 bytes of JSON, as events of a network sensor look."""
    chosen = random.Random(12)
    return [
        {
            "time": 1_700_000_000_000 + number,
            "host": f"host{chosen.randrange(10_000)}.example.com",
            "source": chosen.randrange(2**32),
            "destination": chosen.randrange(2**32),
            "port": chosen.randrange(65_536),
            "protocol": "tcp",
            "digest": f"{chosen.getrandbits(256):064x}",
            "tags": ["sensor", f"site{number % 50}"],
            "blocked": number % 3 == 0,
        }
        for number in range(count)
    ]


async def timed(work: Awaitable[int], expected: int, cpu: Callable[[], float]) -> Timed:
    """Run it; how long it took, and how much of that the server's processor worked."""
    before, begin = cpu(), time.perf_counter()
    found = await work
    taken = time.perf_counter() - begin
    assert found == expected, (found, expected)
    return {"s": taken, "server_s": cpu() - before}


async def run_ours(folder: Path, records: list[Record]) -> dict[str, Timed]:
    """One server of ours, empty, all parts once."""
    import grpc
    import msgpack
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
    from cellmesh.common.msgpack import decode

    with sides.our_server("cryotank", folder) as (process, address):
        async with grpc.aio.insecure_channel(address, options=sides.MESSAGE_OPTIONS) as channel:
            stub: Any = tank_service_pb2_grpc.TankServiceStub(channel)
            count = len(records)
            pack = msgpack.Packer().pack
            await stub.CreateTank(tank_pb2.CreateTankRequest(name="t"))
            await stub.CreateTank(tank_pb2.CreateTankRequest(name="s"))

            async def puts() -> int:
                done = 0
                for start in range(0, count, BATCH):
                    packed = b"".join(map(pack, records[start : start + BATCH]))
                    request = tank_pb2.AppendRecordsRequest(name="t", packed_items=packed)
                    done += (await stub.AppendRecords(request)).count
                return done

            async def stream() -> int:
                async def requests() -> AsyncIterator[tank_pb2.AppendStreamRequest]:
                    for start in range(0, count, BATCH):
                        packed = b"".join(map(pack, records[start : start + BATCH]))
                        yield tank_pb2.AppendStreamRequest(name="s", packed_items=packed)

                done = 0
                async for answer in stub.AppendStream(requests()):
                    done += answer.count
                return done

            async def rows(unpack: Callable[[bytes], Any] | None) -> int:
                done = 0
                async for answer in stub.ReadRows(tank_pb2.ReadRowsRequest(name="t")):
                    for run in answer.runs:
                        found = [unpack(item) for item in run.items] if unpack else list(run.items)
                        done += len(found)
                return done

            def cpu() -> float:
                return processes.cpu_seconds(process.pid)

            return {
                "puts": await timed(puts(), count, cpu),
                "stream": await timed(stream(), count, cpu),
                "slice": await timed(rows(decode), count, cpu),
                "rows": await timed(rows(None), count, cpu),
            }


async def run_peer(folder: Path, records: list[Record]) -> dict[str, Timed]:
    """One server of the peer, empty, all parts once. Runs in the peer's environment."""
    async with sides.peer_server("cryotank", folder) as (process, proxy):
        count = len(records)
        await proxy.init("t")

        async def puts() -> int:
            for start in range(0, count, BATCH):
                await proxy.puts("t", records[start : start + BATCH])
            return count

        async def read(name: str, *args: Any) -> int:
            done = 0
            async for _ in getattr(proxy, name)("t", 0, *args):
                done += 1
            return done

        def cpu() -> float:
            return processes.cpu_seconds(process.pid)

        return {
            "puts": await timed(puts(), count, cpu),
            "slice": await timed(read("slice", count), count, cpu),
            "rows": await timed(read("rows", count), count, cpu),
        }


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tank_rates", description=__doc__)
    parser.add_argument("--peer", action="store_true", help="run the same on Synapse 2.256.0 too")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--side", nargs=2, metavar=("NAME", "FOLDER"), help="one run of one side, as JSON")
    options = parser.parse_args()
    if options.side:
        run = run_ours if options.side[0] == "ours" else run_peer
        print(json.dumps(asyncio.run(run(Path(options.side[1]), make_records(options.count)))))
        return
    found = sides.run_in_turns(
        "benchmarks.tank_rates", ["--count", str(options.count)], options.runs, options.peer
    )
    rates: dict[str, dict[str, list[float]]] = {name: {} for name in found}
    busy: dict[str, dict[str, list[float]]] = {name: {} for name in found}
    for name, results in found.items():
        for result in results:
            for part, sample in result.items():
                rates[name].setdefault(part, []).append(options.count / sample["s"])
                busy[name].setdefault(part, []).append(sample["server_s"])
    print(f"{'':8} {'ours/s':>10} {'(spread)':>22} {'server s':>9} {'peer/s':>10} {'ratio':>6}")
    for part, ours in rates["ours"].items():
        line = f"{part:8} {statistics.median(ours):10,.0f} {f'{min(ours):,.0f}..{max(ours):,.0f}':>22}"
        line += f" {statistics.median(busy['ours'][part]):9.2f}"
        if options.peer:
            peer = statistics.median(rates["peer"]["puts" if part == "stream" else part])
            line += f" {peer:10,.0f} {statistics.median(ours) / peer:6.2f}"
        print(line)


if __name__ == "__main__":
    main()
