"""W11: blobs into an Axon and out again, ours and, with --peer, the peer's in turns.

python -m benchmarks.blob_rates [--peer] [--runs 3] [--mib 512]

Both sides do the same from Python, on loopback without TLS: 20,000 blobs of 1 KiB, 500 a call; one content in writes of 1 MiB;
the same back; 100,000 hashes asked for, 10,000 a call, a fifth of them there; all hashes iterated; then 2,000 puts and gets of
1 KiB, one after the other. Ours are durable when they are acknowledged; the peer's are not. "echo" is the bare stream that
"get" is to be compared with: messages of the same size by gRPC, from a server that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import processes, sides

MIB = 1024 * 1024
SMALL_COUNT = 20_000
SMALL_BATCH = 500
ASKED_COUNT = 100_000
ASKED_BATCH = 10_000
SINGLE_COUNT = 2_000
UNITS = {
    "puts": "blobs",
    "upload": "MiB",
    "get": "MiB",
    "wants": "hashes",
    "hashes": "rows",
    "put 1": "blobs",
    "get 1": "blobs",
    "echo": "MiB",
}

Sample = dict[str, dict[str, float]]


class Timer:
    """Collects how long each part took, and how much of that the server's processor worked."""

    def __init__(self, cpu: Callable[[], float]) -> None:
        self._cpu = cpu
        self.sample: Sample = {}

    def add(self, name: str, count: int, begin: float, cpu_begin: float) -> None:
        """One part is over."""
        taken = time.perf_counter() - begin
        self.sample[name] = {"rate": count / taken, "server_s": self._cpu() - cpu_begin}

    def start(self) -> tuple[float, float]:
        """The time, and that of the server's processor."""
        cpu = self._cpu()
        return time.perf_counter(), cpu


def small_contents() -> list[bytes]:
    """20,000 contents of 1 KiB."""
    chosen = random.Random(11)
    return [chosen.randbytes(1024) for _ in range(SMALL_COUNT)]


def asked_hashes(contents: list[bytes]) -> list[bytes]:
    """100,000 hashes, a fifth of them of those contents."""
    chosen = random.Random(12)
    hashes = [hashlib.sha256(content).digest() for content in contents]
    hashes += [chosen.randbytes(32) for _ in range(ASKED_COUNT - len(hashes))]
    chosen.shuffle(hashes)
    return hashes


async def run_ours(folder: Path, mib: int) -> Sample:
    """One server of ours, empty, all parts once."""
    return await asyncio.to_thread(_run_ours, folder, mib)


def _run_ours(folder: Path, mib: int) -> Sample:
    import grpc
    from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc

    with (
        sides.our_server("axon", folder) as (process, address),
        grpc.insecure_channel(address, options=sides.MESSAGE_OPTIONS) as channel,
    ):
        stub = blob_service_pb2_grpc.BlobServiceStub(channel)
        timer = Timer(lambda: processes.cpu_seconds(process.pid))
        contents = small_contents()
        begin = timer.start()
        for start in range(0, SMALL_COUNT, SMALL_BATCH):
            batch = contents[start : start + SMALL_BATCH]
            stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=batch))
        timer.add("puts", SMALL_COUNT, *begin)
        data = random.Random(1).randbytes(MIB)

        def requests() -> Iterator[blob_pb2.UploadBlobRequest]:
            for number in range(mib):
                piece = number.to_bytes(8, "big") + data[8:]
                yield blob_pb2.UploadBlobRequest(data=piece, last=number == mib - 1)

        begin = timer.start()
        name = stub.UploadBlob(requests()).hashes.sha256
        timer.add("upload", mib, *begin)
        begin = timer.start()
        size = sum(len(message.data) for message in stub.GetBlob(blob_pb2.GetBlobRequest(sha256=name)))
        assert size == mib * MIB, size
        timer.add("get", mib, *begin)
        asked = asked_hashes(contents)
        begin = timer.start()
        missing = 0
        for start in range(0, ASKED_COUNT, ASKED_BATCH):
            request = blob_pb2.ListMissingBlobsRequest(sha256s=asked[start : start + ASKED_BATCH])
            missing += len(stub.ListMissingBlobs(request).sha256s)
        assert missing == ASKED_COUNT - SMALL_COUNT, missing
        timer.add("wants", ASKED_COUNT, *begin)
        begin = timer.start()
        count = 0
        for message in stub.ListBlobs(blob_pb2.ListBlobsRequest()):
            rows = [(item.offset, (item.blob.sha256, item.blob.size_bytes)) for item in message.blobs]
            count += len(rows)
        assert count == SMALL_COUNT + 1, count
        timer.add("hashes", count, *begin)
        singles = [number.to_bytes(8, "big") * 128 for number in range(SINGLE_COUNT)]
        begin = timer.start()
        for content in singles:
            stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=[content]))
        timer.add("put 1", SINGLE_COUNT, *begin)
        names = [hashlib.sha256(content).digest() for content in singles]
        begin = timer.start()
        for name in names:
            b"".join(message.data for message in stub.GetBlob(blob_pb2.GetBlobRequest(sha256=name)))
        timer.add("get 1", SINGLE_COUNT, *begin)
    timer.sample["echo"] = _echo(mib)
    return timer.sample


ECHO_SERVER = """
import asyncio, sys, grpc
async def main():
    data = bytes(983056)
    count = int(sys.argv[1])
    async def send(request, context):
        for _ in range(count):
            yield data
    handler = grpc.unary_stream_rpc_method_handler(send)
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("e.E", {"Get": handler}),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()
asyncio.run(main())
"""


def _echo(mib: int) -> dict[str, float]:
    """Messages as large as those of GetBlob, from a bare server of grpc.aio, as bytes to the client."""
    import grpc

    count = mib * MIB // 983056
    server = subprocess.Popen(
        [sys.executable, "-c", ECHO_SERVER, str(count)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=sides.MESSAGE_OPTIONS) as channel:
            call = channel.unary_stream("/e.E/Get", None, None)
            begin = time.perf_counter()
            size = sum(map(len, call(b"")))
            return {"rate": size / MIB / (time.perf_counter() - begin), "server_s": 0.0}
    finally:
        server.terminate()
        server.wait(10)


async def run_peer(folder: Path, mib: int) -> Sample:
    """One server of the peer, empty, all parts once. Runs in the peer's environment."""
    async with sides.peer_server("axon", folder) as (process, proxy):
        timer = Timer(lambda: processes.cpu_seconds(process.pid))
        contents = small_contents()
        begin = timer.start()
        for start in range(0, SMALL_COUNT, SMALL_BATCH):
            await proxy.puts(contents[start : start + SMALL_BATCH])
        timer.add("puts", SMALL_COUNT, *begin)
        data = random.Random(1).randbytes(MIB)
        begin = timer.start()
        async with await proxy.upload() as upload:
            for number in range(mib):
                await upload.write(number.to_bytes(8, "big") + data[8:])
            _, name = await upload.save()
        timer.add("upload", mib, *begin)
        begin = timer.start()
        size = 0
        async for piece in proxy.get(name):
            size += len(piece)
        assert size == mib * MIB, size
        timer.add("get", mib, *begin)
        asked = asked_hashes(contents)
        begin = timer.start()
        missing = 0
        for start in range(0, ASKED_COUNT, ASKED_BATCH):
            missing += len(await proxy.wants(asked[start : start + ASKED_BATCH]))
        assert missing == ASKED_COUNT - SMALL_COUNT, missing
        timer.add("wants", ASKED_COUNT, *begin)
        begin = timer.start()
        count = 0
        async for _ in proxy.hashes(0):
            count += 1
        timer.add("hashes", count, *begin)
        singles = [number.to_bytes(8, "big") * 128 for number in range(SINGLE_COUNT)]
        begin = timer.start()
        for content in singles:
            await proxy.put(content)
        timer.add("put 1", SINGLE_COUNT, *begin)
        names = [hashlib.sha256(content).digest() for content in singles]
        begin = timer.start()
        for name in names:
            async for _ in proxy.get(name):
                pass
        timer.add("get 1", SINGLE_COUNT, *begin)
        return timer.sample


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blob_rates", description=__doc__)
    parser.add_argument("--peer", action="store_true", help="run the same on Synapse 2.256.0 too")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mib", type=int, default=512, help="size of the large content, in MiB")
    parser.add_argument("--side", nargs=2, metavar=("NAME", "FOLDER"), help="one run of one side, as JSON")
    options = parser.parse_args()
    if options.side:
        run = run_ours if options.side[0] == "ours" else run_peer
        print(json.dumps(asyncio.run(run(Path(options.side[1]), options.mib))))
        return
    samples: dict[str, list[Sample]] = sides.run_in_turns(
        "benchmarks.blob_rates", ["--mib", str(options.mib)], options.runs, options.peer
    )
    print(f"{'':8} {'ours':>12} {'(spread)':>24} {'server s':>9} {'peer':>12} {'ratio':>6} (range)")
    for part, unit in UNITS.items():
        ours = [sample[part]["rate"] for sample in samples["ours"]]
        busy = statistics.median(sample[part]["server_s"] for sample in samples["ours"])
        line = f"{part:8} {statistics.median(ours):12,.0f} {f'{min(ours):,.0f}..{max(ours):,.0f}':>24} {busy:9.2f}"
        if options.peer and part in samples["peer"][0]:
            peer = [sample[part]["rate"] for sample in samples["peer"]]
            # Each run beside the one that came next to it: the machine's speed moves meanwhile.
            ratios = [one / other for one, other in zip(ours, peer)]
            line += f" {statistics.median(peer):12,.0f} {statistics.median(ratios):6.2f}"
            line += f" ({min(ratios):.2f}..{max(ratios):.2f})"
        print(f"{line}  {unit}/s")


if __name__ == "__main__":
    main()
