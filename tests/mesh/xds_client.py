"""A stock gRPC client as a program of its own: gRPC reads its bootstrap once, from the environment of its process.

Takes commands on standard input and answers each with a line of JSON. Nothing of Cellmesh but the stubs is in it.

    python xds_client.py sync|aio
    {"name": "cortex", "call": "info", "count": 30, "read": "any"}   ->  {"00.cortex.mesh": 15, ...}
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import grpc
import grpc.aio
from cellmesh.api.common.v1 import cell_service_pb2, key_value_service_pb2, value_pb2
from cellmesh.api.cortex.v1 import storm_pb2

INFO = "/cellmesh.api.common.v1.CellService/GetCellInfo"
SET = "/cellmesh.api.common.v1.KeyValueService/SetKeyValue"
STORM = "/cellmesh.api.cortex.v1.StormService/CountStorm"
PAUSE_S = 0.002


def credentials() -> grpc.ChannelCredentials:
    return grpc.xds_channel_credentials(grpc.ssl_channel_credentials())


def shape(command: dict[str, Any]) -> tuple[str, Any, Any, dict[str, Any]]:
    """Method, request and reader of answers, and options of a call."""
    read = command.get("read")
    options = {
        "timeout": command.get("timeout", 5.0),
        "metadata": (("cellmesh-read", read),) if read else (),
        "wait_for_ready": command.get("wait", False),
    }
    if command["call"] == "set":
        value = value_pb2.Value(int_value=command.get("value", 0))
        request = key_value_service_pb2.SetKeyValueRequest(path=["xds"], value=value)
        return SET, request, key_value_service_pb2.SetKeyValueResponse.FromString, options
    if command["call"] == "storm":
        query = storm_pb2.CountStormRequest(text="[ inet:asn=5 ]")
        return STORM, query, storm_pb2.CountStormResponse.FromString, options
    return (
        INFO,
        cell_service_pb2.GetCellInfoRequest(),
        cell_service_pb2.GetCellInfoResponse.FromString,
        options,
    )


def told(answer: Any) -> str:
    return answer.cell.name if hasattr(answer, "cell") else "done"


def failed(error: Any) -> str:
    return f"{error.code().name}: {error.details()}"


class Timeline:
    """When which answer was seen first, for as long as it stayed the same."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str]] = []

    def note(self, answer: str) -> None:
        if not self.seen or self.seen[-1][1] != answer:
            self.seen.append((time.time(), answer))


def run_sync() -> None:
    channels: dict[str, grpc.Channel] = {}
    for line in sys.stdin:
        command = json.loads(line)
        name = command["name"]
        if name not in channels:
            channels[name] = grpc.secure_channel(f"xds:///{name}", credentials())
        method, request, reader, options = shape(command)
        call = channels[name].unary_unary(method, type(request).SerializeToString, reader)
        found: Counter[str] = Counter()
        timeline = Timeline()
        end_s = time.monotonic() + command.get("seconds", 0.0)
        while sum(found.values()) < command.get("count", 1) or time.monotonic() < end_s:
            try:
                answer = told(call(request, **options))
            except grpc.RpcError as error:
                answer = failed(error)
            found[answer] += 1
            timeline.note(answer)
            time.sleep(PAUSE_S)
        print(json.dumps({"found": found, "seen": timeline.seen}), flush=True)


async def run_aio() -> None:
    channels: dict[str, grpc.aio.Channel] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        name = command["name"]
        if name not in channels:
            channels[name] = grpc.aio.secure_channel(f"xds:///{name}", credentials())
        method, request, reader, options = shape(command)
        call = channels[name].unary_unary(method, type(request).SerializeToString, reader)
        found: Counter[str] = Counter()
        timeline = Timeline()
        end_s = time.monotonic() + command.get("seconds", 0.0)
        while sum(found.values()) < command.get("count", 1) or time.monotonic() < end_s:
            try:
                answer = told(await call(request, **options))
            except grpc.aio.AioRpcError as error:
                answer = failed(error)
            found[answer] += 1
            timeline.note(answer)
            await asyncio.sleep(PAUSE_S)
        print(json.dumps({"found": found, "seen": timeline.seen}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "aio":
        asyncio.run(run_aio())
    else:
        run_sync()
