"""What a server serves: services with their handlers, serialisers and permission rows, out of descriptors.

Handlers are looked up by method name on a servicer, which may be any object. Nothing is registered through
generated code, so that each method can have its own serialiser: a method named in `raw_responses` may answer
with bytes that already are the serialised message, which is how stored records are sent without decoding.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from cellmesh.common.errors import BadState
from cellmesh.common.rpc.permissions import Changes, Permission, PermissionTable, find_row
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

# A request, or the stream of them; the context. Answers with one message, or with a stream of them.
SingleHandler = Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]
StreamHandler = Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], AsyncIterator[Any]]

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class Service:
    """One gRPC service to serve.

    Attributes:
        descriptor: `some_pb2.DESCRIPTOR.services_by_name["SomeService"]`.
        servicer: Has a method for each RPC: a coroutine function (one answer) or an async generator (a stream).
        permissions: Rows of at least all its methods, by full name.
        raw_responses: Names of methods whose handlers may answer with serialised messages.
        raw_requests: Names of methods whose handlers want requests as bytes.
        last_returned: Names of methods that answer with a stream and whose handlers are coroutines: they write
            serialised messages with `context.write` and return the last one, which then leaves together with the
            end of the call. Cheaper for small answers; such a stream has at least one message. They must be in
            `raw_responses` too.
        changes_asked: For methods whose row says Changes.ASK: whether a request, as the handler gets it, may change
            anything. A method that is not here counts as one that does.
    """

    descriptor: ServiceDescriptor
    servicer: object
    permissions: PermissionTable
    raw_responses: Sequence[str] = field(default=())
    raw_requests: Sequence[str] = field(default=())
    last_returned: Sequence[str] = field(default=())
    changes_asked: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Full name, such as "cellmesh.api.axon.v1.BlobService"."""
        return self.descriptor.full_name


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC as the interceptors see it."""

    path: str
    service: str
    name: str
    permission: Permission
    request_streaming: bool
    response_streaming: bool
    may_change: Callable[[Any], bool] | None = None
    """Whether a request may change what instances share; None where none does."""


def methods_of(service: Service) -> list[tuple[Method, MethodDescriptor]]:
    """List the methods of a service with their permission rows.

    Raises:
        PermissionRowMissing: a method has none.
        BadState: `raw_responses`, `raw_requests`, `last_returned` or `changes_asked` names no method or an unfit one,
            or the servicer lacks one.
    """
    found = []
    names = set()
    for descriptor in service.descriptor.methods:
        names.add(descriptor.name)
        if not callable(getattr(service.servicer, descriptor.name, None)):
            raise BadState(f"{type(service.servicer).__name__} has no {descriptor.name}", name=service.name)
        path = f"/{service.name}/{descriptor.name}"
        row = find_row(service.permissions, path)
        method = Method(
            path=path,
            service=service.name,
            name=descriptor.name,
            permission=row,
            request_streaming=descriptor.client_streaming,
            response_streaming=descriptor.server_streaming,
            may_change=_may_change(service, row, descriptor),
        )
        found.append((method, descriptor))
    told = (service.raw_responses, service.raw_requests, service.last_returned, service.changes_asked)
    unknown = set().union(*told) - names
    for missing in set(service.last_returned) - set(service.raw_responses):
        # gRPC gives the context of such a handler no serialiser.
        raise BadState(f"{service.name}: {missing} must be in raw_responses as well", name=service.name)
    if unknown:
        raise BadState(f"{service.name} has no method {', '.join(sorted(unknown))}", name=service.name)
    return found


def _may_change(
    service: Service, row: Permission, descriptor: MethodDescriptor
) -> Callable[[Any], bool] | None:
    match row.changes:
        case Changes.NO:
            return None
        case Changes.ASK if not descriptor.client_streaming:
            asked: Callable[[Any], bool] = service.changes_asked.get(descriptor.name, _always)
            return asked
    return _always


def _always(request: Any) -> bool:
    return True


def request_reader(service: Service, descriptor: MethodDescriptor) -> Callable[[bytes], Any] | None:
    """Return what makes a request of bytes; None passes bytes on."""
    if descriptor.name in service.raw_requests:
        return None
    return message_factory.GetMessageClass(descriptor.input_type).FromString


def response_writer(service: Service, descriptor: MethodDescriptor) -> Callable[[Any], bytes]:
    """Return what makes bytes of a response. What a leader answers to a call sent on is bytes already."""
    row = find_row(service.permissions, f"/{service.name}/{descriptor.name}")
    if descriptor.name in service.raw_responses or row.changes is not Changes.NO:
        return serialize_or_pass
    return message_factory.GetMessageClass(descriptor.output_type).SerializeToString


def serialize_or_pass(message: Message | bytes) -> bytes:
    """Serialise a message; bytes are one already."""
    return message if isinstance(message, bytes) else message.SerializeToString()
