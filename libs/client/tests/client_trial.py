"""A server whose calls leave a line each, for tests of what is carried out how often; also a program of its own. And a
proxy that cuts connections.

    python client_trial.py FOLDER ADDRESS       serve until killed

Its methods differ in what their proto declares: Read changes nothing, Set may be repeated, Add may not, Watch is a stream
that changes nothing. Each appends its request to FOLDER/calls before it answers. A request that holds "slow" is answered
after a while, one that holds "refuse" with an error; one that holds "cancel" cancels its own task, one that holds "die"
ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from cellmesh.common.errors import BadArg, NotLeader, Retry
from cellmesh.common.rpc import Level, Listener, Permission, RpcServer, Service, TcpListener
from cellmesh.testing.trial import Shape, trial_service
from google.protobuf import descriptor_pb2
from google.protobuf.wrappers_pb2 import StringValue

PACKAGE = "cellmesh.trial.client.v1"
NAME = f"{PACKAGE}.CountService"
PATH = f"/{NAME}/"
SLOW_S = 0.5
_OPTIONS = descriptor_pb2.MethodOptions
METHODS = {
    "Read": (_OPTIONS.NO_SIDE_EFFECTS, False),
    "Set": (_OPTIONS.IDEMPOTENT, False),
    "Add": (_OPTIONS.IDEMPOTENCY_UNKNOWN, False),
    "Watch": (_OPTIONS.NO_SIDE_EFFECTS, True),
}
PERMISSIONS = {PATH + name: Permission(Level.MEMBER, f"trial.{name.lower()}") for name in METHODS}


def descriptor() -> Any:
    """The service's descriptor."""
    methods = {name: Shape(down=streams, level=level) for name, (level, streams) in METHODS.items()}
    return trial_service(NAME, methods, StringValue)


class CountStub:
    """As generated code has it."""

    def __init__(self, channel: Any) -> None:
        descriptor()
        for name, (_, streams) in METHODS.items():
            make = channel.unary_stream if streams else channel.unary_unary
            made = make(
                PATH + name,
                request_serializer=StringValue.SerializeToString,
                response_deserializer=StringValue.FromString,
            )
            setattr(self, name, made)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class CountServicer:
    """Notes each call, then answers with the name of the server."""

    def __init__(self, folder: Path, name: str = "", leader: str = "") -> None:
        self.folder = folder
        self.name = name
        self.leader = leader
        self.outcome = ""
        self.offset = 0
        self.busy = 0
        self.min_offsets: list[str] = []

    async def _run(self, method: str, text: str, context: Any) -> StringValue:
        for key, value in context.invocation_metadata() or ():
            if key == "cellmesh-min-offset":
                self.min_offsets.append(value)
        if self.leader and method != "Read":
            fields = {"outcome": self.outcome} if self.outcome else {}
            raise NotLeader("another cell leads", leader=self.leader, **fields)
        if self.busy:
            self.busy -= 1
            raise Retry("not just now")
        with (self.folder / "calls").open("a") as file:
            file.write(f"{method} {text}\n")
        if "die" in text:
            os._exit(9)
        if "refuse" in text:
            raise BadArg("refused", name=text)
        if "cancel" in text:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        if "slow" in text:
            await asyncio.sleep(SLOW_S)
        if self.offset:
            context.set_trailing_metadata((("cellmesh-change-offset", str(self.offset)),))
        return StringValue(value=self.name or text)

    async def Read(self, request: StringValue, context: Any) -> StringValue:
        return await self._run("Read", request.value, context)

    async def Set(self, request: StringValue, context: Any) -> StringValue:
        return await self._run("Set", request.value, context)

    async def Add(self, request: StringValue, context: Any) -> StringValue:
        return await self._run("Add", request.value, context)

    async def Watch(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        for _ in range(3):
            yield await self._run("Watch", request.value, context)


def make_server(servicer: CountServicer, listener: Listener) -> RpcServer:
    """A server of the service."""
    return RpcServer("trial", [Service(descriptor(), servicer, PERMISSIONS)], [listener], stop_grace_s=2.0)


def calls_of(folder: Path) -> list[str]:
    """What was carried out, in order."""
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


class CuttingProxy:
    """Passes bytes between clients and one address, until it cuts them all."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._to = (host, int(port))
        self._lock = threading.Lock()
        self._pairs: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Break every connection; new ones may be made. Returns how many there were."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for one in pairs:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        return len(pairs) // 2

    def close(self) -> None:
        """Break every connection and take no more."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._to)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._pairs += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


async def main() -> None:
    """Serve until killed."""
    server = make_server(CountServicer(Path(sys.argv[1])), TcpListener(sys.argv[2]))
    await server.start()
    print("serving", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
