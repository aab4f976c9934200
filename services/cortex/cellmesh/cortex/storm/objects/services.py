"""Storm services as values: `$lib.service.get(name)`, whose members are the service's methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CellUnreachable, NoSuchMeth, StormRuntimeError
from cellmesh.cortex.storm.outside.service_calls import Link, Links, wait_for
from cellmesh.cortex.storm.runtime.functions import StormGenerator
from cellmesh.cortex.storm.runtime.interface import TypeSpec
from cellmesh.cortex.storm.runtime.values import toprim, tostr
from cellmesh.cortex.storm.waiting import wait

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

READY_WAIT_S: Final = 3.0
"""How long a query waits for a service that it wants to call."""


class ServiceObject:
    """A Storm service.

    Args:
        links: The ways to all services.
        iden: Its iden.
        name: The name it was added under.
    """

    __slots__ = ("iden", "links", "name")

    def __init__(self, links: Links, iden: str, name: str) -> None:
        self.links = links
        self.iden = iden
        self.name = name

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"service: {self.name} ({self.iden})"


class ServiceMethod:
    """A method of a Storm service. Whether there is one of the name is seen when it is called.

    Args:
        service: The service.
        name: The method.
    """

    __slots__ = ("name", "service")

    def __init__(self, service: ServiceObject, name: str) -> None:
        self.service = service
        self.name = name

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"service method: {self.service.name}.{self.name}"

    def storm_call(self, context: RunContext, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Call it: gives a value, or a stream of values.

        Raises:
            StormRuntimeError: the service is not there. NoSuchMeth: it has no such method.
        """
        link = _ready_link(context, self.service, self.name)
        streams = link.streams(self.name)
        if streams is None:
            raise NoSuchMeth(f"the service {self.service.name} has no method {self.name}", name=self.name)
        plain = [toprim(value) for value in arguments]
        named = {name: toprim(value) for name, value in keywords.items()}
        if streams:
            return StormGenerator(self._stream(context, link, plain, named))
        # What was edited before must not hold up others while the service takes its time.
        context.session.pause()
        try:
            found = link.client().call(self.name, plain, named, context.user)
        except CellUnreachable as error:
            raise self._gone(link) from error
        context.tick()
        return found

    def _stream(
        self, context: RunContext, link: Link, arguments: list[Any], named: dict[str, Any]
    ) -> Iterator[Any]:
        values = link.client().stream(self.name, arguments, named, context.user)
        try:
            while True:
                context.session.pause()
                try:
                    value = next(values)
                except StopIteration:
                    return
                except CellUnreachable as error:
                    raise self._gone(link) from error
                context.tick()
                yield value
        finally:
            close = getattr(values, "close", None)
            if close is not None:
                close()

    def _gone(self, link: Link) -> StormRuntimeError:
        link.is_ready = False
        link.wake()
        return _away(self.service, self.name)


def _ready_link(context: RunContext, service: ServiceObject, method: str) -> Link:
    try:
        is_ready = wait_for(service.links, service.iden, READY_WAIT_S, lambda seconds: wait(context, seconds))
        link = service.links.link(service.iden)
    except CellUnreachable as error:
        raise _away(service, method) from error
    if not is_ready:
        raise _away(service, method)
    return link


def _away(service: ServiceObject, method: str) -> StormRuntimeError:
    return StormRuntimeError(
        f"the service {service.name} is not there to be asked for {method}", name=method, service=service.name
    )


def _member(context: RunContext, self: ServiceObject, name: Any) -> ServiceMethod:
    return ServiceMethod(self, tostr(name))


TYPES: Final = (
    TypeSpec(
        "telepath:proxy",
        ServiceObject,
        "A Storm service; its members are the methods that it has.",
        get_item=_member,
    ),
    TypeSpec("telepath:proxy:method", ServiceMethod, "A method of a Storm service, to be called."),
)
