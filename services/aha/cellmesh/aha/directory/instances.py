"""One running cell as the registry knows it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cellmesh.api.aha.v1 import registry_pb2
from cellmesh.common.addresses import split_host_port
from cellmesh.common.errors import BadArg, BadName
from cellmesh.common.tls.identity import CellIdentity
from google.protobuf.timestamp_pb2 import Timestamp

ADDRESS_SIZE_MAX: Final = 512
TEXT_SIZE_MAX: Final = 128
MESSAGE_COUNT_MAX: Final = 4096
"""Messages that are kept made: look-ups and watches tell of the same instances all the time."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One running cell.

    Attributes:
        name: "00.cortex.demo"; service and network are its parts.
        service: "cortex".
        network: "demo".
        kind: The kind of cell.
        cell_id: 32 hexadecimal digits.
        address: Where it serves, as gRPC target text.
        version: Of Cellmesh.
        ready: Whether it answers calls now.
        leader: Whether it takes the writes of its service.
        register_ms: When it registered, milliseconds since 1970.
        expire_ms: When its lease ends; 0 for one that has none.
        down: Whether it was marked down: then it is not ready, whatever it says.
    """

    name: str
    service: str
    network: str
    kind: str
    cell_id: str
    address: str
    version: str
    ready: bool
    leader: bool
    register_ms: int = 0
    expire_ms: int = 0
    down: bool = False

    def is_same_but_for_times(self, other: Instance) -> bool:
        """Whether a look-up would answer the same, times aside."""
        return _facts(self) == _facts(other)


def _facts(instance: Instance) -> tuple[object, ...]:
    return (
        instance.name,
        instance.kind,
        instance.cell_id,
        instance.address,
        instance.version,
        instance.ready,
        instance.leader,
        instance.down,
    )


def from_proto(message: registry_pb2.Instance) -> Instance:
    """Read an instance. Service and network come from its name.

    Raises:
        BadName: the name is malformed.
        BadArg: the address is malformed, or a text too long.
    """
    identity = CellIdentity.parse(message.name)
    check_address(message.address)
    for field in ("kind", "cell_id", "version"):
        if len(getattr(message, field)) > TEXT_SIZE_MAX:
            raise BadArg(f"{field} is too long", name=field, size_max=TEXT_SIZE_MAX)
    return Instance(
        name=identity.name,
        service=identity.service,
        network=identity.network,
        kind=message.kind,
        cell_id=message.cell_id,
        address=message.address,
        version=message.version,
        ready=message.ready,
        leader=message.leader,
        register_ms=message.register_time.ToMilliseconds(),
        expire_ms=message.expire_time.ToMilliseconds(),
        down=message.down,
    )


@lru_cache(MESSAGE_COUNT_MAX)
def to_proto(instance: Instance) -> registry_pb2.Instance:
    """Write an instance. The message is shared by all who are told of it: put it into another one, and do not change it."""
    return registry_pb2.Instance(
        name=instance.name,
        service=instance.service,
        network=instance.network,
        kind=instance.kind,
        cell_id=instance.cell_id,
        address=instance.address,
        version=instance.version,
        ready=instance.ready,
        leader=instance.leader,
        register_time=timestamp(instance.register_ms),
        expire_time=timestamp(instance.expire_ms),
        down=instance.down,
    )


def timestamp(millis: int) -> Timestamp | None:
    """A time as it travels; None for 0, which stands for no time."""
    if not millis:
        return None
    made = Timestamp()
    made.FromMilliseconds(millis)
    return made


def check_address(text: str) -> None:
    """Refuse what others could not connect to.

    Raises:
        BadArg: the text is neither host:port with a port nor unix:PATH.
    """
    reason = ""
    if len(text) > ADDRESS_SIZE_MAX:
        reason = "it is too long"
    elif text.startswith("unix:"):
        reason = "" if text.startswith("unix:/") else "the path of a unix socket is absolute"
    else:
        try:
            reason = "" if split_host_port(text)[1] else "port 0 is no port"
        except ValueError as error:
            reason = str(error)
    if reason:
        raise BadArg(f"the address cannot be used: {reason}", name="address", valu=text[:ADDRESS_SIZE_MAX])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a look-up asks for: all instances of a service, or one by its number."""

    service: str
    network: str
    number: str = ""

    def matches(self, instance: Instance) -> bool:
        """Whether it asks for this instance."""
        if (instance.service, instance.network) != (self.service, self.network):
            return False
        return not self.number or instance.name == f"{self.number}.{self.service}.{self.network}"


def parse_wanted(name: str, network: str) -> Wanted:
    """Read "cortex", "cortex.demo", "00.cortex" or "00.cortex.demo".

    Args:
        name: The name.
        network: The network meant when the name has none.

    Raises:
        BadName: it is none of these.
    """
    match name.split("."):
        case [service] if service:
            return Wanted(service, network)
        case [number, service] if number.isdigit() and service:
            return Wanted(service, network, number)
        case [service, of] if service and of:
            return Wanted(service, of)
        case [number, service, of] if number and service and of:
            return Wanted(service, of, number)
    raise BadName(f"{name[:TEXT_SIZE_MAX]!r} names no service or instance", name=name[:TEXT_SIZE_MAX])
