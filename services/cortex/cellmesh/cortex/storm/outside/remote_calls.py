"""Calls of RPCs of other cells by name: messages made of plain values, and plain values of messages."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cellmesh.api.common.v1 import value_pb2
from cellmesh.common.errors import BadArg, FeatureNotSupported, NoSuchMeth
from cellmesh.common.values import from_value, to_value
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from cellmesh.client import CellClient

API_KINDS: Final = ("aha", "axon", "common", "cortex", "cryotank", "storm_service")
"""Folders of the mesh's services; they are no packages that could be listed."""

TIMEOUT_S: Final = 300.0
"""How long a call may take that gives one answer, unless the caller says otherwise."""

Field: TypeAlias = Any
"""Descriptor of a field: the one of Python or the one of C."""

_NANOS: Final = 1_000_000


@functools.cache
def methods() -> Mapping[str, tuple[MethodDescriptor, ...]]:
    """Return all RPCs of the mesh's services by name, with a small letter first as Storm calls them."""
    found: dict[str, list[MethodDescriptor]] = {}
    for kind in API_KINDS:
        package = importlib.import_module(f"cellmesh.api.{kind}.v1")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.endswith("_service_pb2"):
                services = importlib.import_module(f"{package.__name__}.{module.name}").DESCRIPTOR
                for service in services.services_by_name.values():
                    for method in service.methods:
                        found.setdefault(storm_name(method.name), []).append(method)
    return {name: tuple(known) for name, known in found.items()}


def storm_name(name: str) -> str:
    """Return what Storm calls an RPC: `getCellInfo` for GetCellInfo."""
    return name[:1].lower() + name[1:]


def find_method(name: str) -> MethodDescriptor:
    """Return an RPC by its name, or by service and name as `BlobService/hasBlob`.

    Raises:
        NoSuchMeth: there is none, or it takes a stream of requests.
        BadArg: several services have one of the name.
    """
    service, _, plain = name.rpartition("/")
    found = [
        method
        for method in methods().get(storm_name(plain), ())
        if not service or service in (method.containing_service.name, method.containing_service.full_name)
    ]
    if not found:
        raise NoSuchMeth(f"no service of the mesh has an RPC {name[:100]}", name=name[:100])
    if len(found) > 1:
        names = ", ".join(sorted(method.containing_service.name for method in found))
        raise BadArg(f"{names} have an RPC {plain}: say which, as SERVICE/{plain}", name=name)
    if found[0].client_streaming:
        raise FeatureNotSupported(f"{name} takes a stream of requests", name=name)
    return found[0]


def call(client: CellClient, name: str, arguments: Mapping[str, Any], timeout_s: float | None = None) -> Any:
    """Call an RPC with the fields of its request by name.

    Returns:
        The fields of its answer by name, or an iterator over those of each answer.

    Raises:
        NoSuchMeth, BadArg, FeatureNotSupported: it cannot be called so.
        CellError: what the other cell raised, or that it cannot be reached.
    """
    method = find_method(name)
    path = f"/{method.containing_service.full_name}/{method.name}"
    answer_class = message_factory.GetMessageClass(method.output_type)
    request_class = message_factory.GetMessageClass(method.input_type)
    request = request_class()
    fill(request, arguments)
    options: dict[str, Any] = {
        "request_serializer": request_class.SerializeToString,
        "response_deserializer": answer_class.FromString,
    }
    if method.server_streaming:
        return _streamed(client.channel.unary_stream(path, **options), request, timeout_s)
    return plain(client.channel.unary_unary(path, **options)(request, timeout=timeout_s or TIMEOUT_S))


def _streamed(start: Any, request: Message, timeout_s: float | None) -> Iterator[Any]:
    answers = start(request, timeout=timeout_s)
    try:
        for answer in answers:
            yield plain(answer)
    finally:
        cancel = getattr(answers, "cancel", None) or getattr(answers, "close", None)
        if cancel is not None:
            cancel()


# Messages to plain values. Times are in milliseconds since 1970, durations in milliseconds.


def plain(message: Message) -> Any:
    """Return a message as a dictionary of the fields that it has; enumerations by name."""
    if isinstance(message, Timestamp):
        return message.ToNanoseconds() // _NANOS
    if isinstance(message, Duration):
        return message.ToNanoseconds() // _NANOS
    if isinstance(message, value_pb2.Value):
        return from_value(message)
    found: dict[str, Any] = {}
    fields: tuple[Field, ...] = tuple(message.DESCRIPTOR.fields)
    for field in fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if _is_map(field):
            of = field.message_type.fields_by_name["value"]
            found[field.name] = {str(key): _plain_item(of, item) for key, item in value.items()}
        elif field.is_repeated:
            found[field.name] = [_plain_item(field, item) for item in value]
        else:
            found[field.name] = _plain_item(field, value)
    return found


def _plain_item(field: Field, value: Any) -> Any:
    if isinstance(value, Message):
        return plain(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    return value


def _is_map(field: Field) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


# Plain values to messages.


def fill(message: Message, values: Mapping[str, Any]) -> None:
    """Set the fields of a message; null leaves one out.

    Raises:
        BadArg: there is no such field, or it holds other values.
    """
    for name, value in values.items():
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            known = ", ".join(message.DESCRIPTOR.fields_by_name) or "no fields"
            raise BadArg(f"{message.DESCRIPTOR.name} has no {name[:100]}; it has {known}", name=name[:100])
        if value is None:
            continue
        try:
            _set(message, field, value)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BadArg(f"{message.DESCRIPTOR.name}.{name} cannot be so: {error}", name=name) from error


def _set(message: Message, field: Field, value: Any) -> None:
    held = getattr(message, field.name)
    if _is_map(field):
        of = field.message_type.fields_by_name["value"]
        for key, item in value.items():
            if of.message_type is not None:
                _fill_item(held[key], item)
            else:
                held[key] = _number(of, item)
    elif field.is_repeated:
        for item in value:
            if field.message_type is not None:
                _fill_item(held.add(), item)
            else:
                held.append(_number(field, item))
    elif field.message_type is not None:
        held.SetInParent()
        _fill_item(held, value)
    else:
        setattr(message, field.name, _number(field, value))


def _fill_item(message: Message, value: Any) -> None:
    if isinstance(message, (Timestamp, Duration)):
        message.FromNanoseconds(int(value) * _NANOS)
    elif isinstance(message, value_pb2.Value):
        message.CopyFrom(to_value(value))
    else:
        fill(message, value)


def _number(field: Field, value: Any) -> Any:
    """Return an enumeration's number for a name of it; other values as they are."""
    if field.enum_type is not None and isinstance(value, str):
        return (
            field.enum_type.values_by_name[value].number
            if value in field.enum_type.values_by_name
            else (_unknown(field, value))
        )
    return value


def _unknown(field: Field, value: str) -> Any:
    raise ValueError(f"{value[:100]} is none of {', '.join(field.enum_type.values_by_name)}")


__all__ = ["call", "fill", "find_method", "methods", "plain", "storm_name"]
