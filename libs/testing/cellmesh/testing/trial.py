"""Services for tests of calls: made without generated code, and served from a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from cellmesh.common.rpc import RpcServer
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BytesValue

WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How a method is declared.

    Attributes:
        up: Whether requests come as a stream.
        down: Whether responses go as a stream.
        level: What its proto says of its effects, an `IdempotencyLevel`.
    """

    up: bool = False
    down: bool = False
    level: descriptor_pb2.MethodOptions.IdempotencyLevel.ValueType = (
        descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN
    )


def trial_service(full_name: str, methods: Mapping[str, Shape], message: type[Message] = BytesValue) -> Any:
    """The descriptor of a service, the same for each call with its name.

    Args:
        full_name: Its name with that of its package.
        methods: Its methods.
        message: What each takes and gives, a message of `google/protobuf/wrappers.proto`.
    """
    pool = descriptor_pool.Default()
    try:
        return pool.FindServiceByName(full_name)
    except KeyError:
        pass
    package, _, name = full_name.rpartition(".")
    # Having read the message's descriptor, its file is in the pool.
    told = f".{message.DESCRIPTOR.full_name}"
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{full_name.replace('.', '/')}.proto",
        package=package,
        syntax="proto3",
        dependency=[message.DESCRIPTOR.file.name],
    )
    service = file.service.add(name=name)
    for method, shape in methods.items():
        made = service.method.add(
            name=method,
            input_type=told,
            output_type=told,
            client_streaming=shape.up,
            server_streaming=shape.down,
        )
        if shape.level:
            made.options.idempotency_level = shape.level
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(full_name)


@contextmanager
def serving(server: RpcServer) -> Iterator[str]:
    """Run a server in a thread of its own; gives its first address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(WAIT_S)
    try:
        yield server.addresses[0]
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(WAIT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
