"""What a name stands for now: one service, or a pool of several."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cellmesh.aha.directory import Instance

Owner = tuple[str, str]
"""Whose certificate an instance shows: its service and its number, or "" for any instance of the service."""


class Callee(Protocol):
    """What clients call by one name."""

    def kinds(self) -> Collection[str]:
        """The kinds of cells that its instances are."""
        ...

    def owners(self) -> list[Owner]:
        """Who may answer."""
        ...

    def knows(self, number: str) -> bool:
        """Whether an instance of this number was ever seen since the start."""
        ...

    def instance(self, number: str) -> Instance | None:
        """The live instance of a number."""
        ...

    def ready(self) -> list[Instance]:
        """Those that answer calls, by name."""
        ...

    def leading(self) -> list[Instance]:
        """Those of them that take the calls which are not for just any one."""
        ...


@dataclass(slots=True)
class ServiceState:
    """One service. It stays known when its last instance has gone: clients then have no endpoints, but keep their routes.

    Attributes:
        name: "cortex".
        network: "demo".
        kind: The kind of cell its instances are.
        instances: The live ones by number.
        numbers: Of all instances that were ever seen since the start.
    """

    name: str
    network: str
    kind: str = ""
    instances: dict[str, Instance] = field(default_factory=dict)
    numbers: set[str] = field(default_factory=set)

    def replace_all(self, instances: Iterable[Instance]) -> None:
        """Note who is there now."""
        self.instances = {instance.name.partition(".")[0]: instance for instance in instances}
        self.numbers |= self.instances.keys()
        for instance in self.instances.values():
            self.kind = instance.kind

    def kinds(self) -> Collection[str]:
        """See Callee."""
        return (self.kind,)

    def owners(self) -> list[Owner]:
        """See Callee."""
        return [(self.name, "")]

    def knows(self, number: str) -> bool:
        """See Callee."""
        return number in self.numbers

    def instance(self, number: str) -> Instance | None:
        """See Callee."""
        return self.instances.get(number)

    def ready(self) -> list[Instance]:
        """See Callee."""
        return [instance for _, instance in sorted(self.instances.items()) if instance.ready]

    def leading(self) -> list[Instance]:
        """See Callee: one, or none for a moment."""
        return [instance for instance in self.ready() if instance.leader]


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool. Once seen it stays known, without members when it was deleted, as a service does.

    Attributes:
        name: "blobs".
        network: "demo".
        members: Services, such as "axon", and single instances, such as "01.cortex".
        services: Every service by name, as they are now.
    """

    name: str
    network: str
    members: frozenset[str]
    services: Mapping[str, ServiceState]

    def kinds(self) -> Collection[str]:
        """See Callee."""
        found = (self.services.get(service) for service, _ in self.owners())
        return sorted({service.kind for service in found if service is not None})

    def owners(self) -> list[Owner]:
        """See Callee."""
        split = (member.rpartition(".") for member in sorted(self.members))
        return [(service, number) for number, _, service in split]

    def knows(self, number: str) -> bool:
        """See Callee: the instances of a pool have names of their own."""
        return False

    def instance(self, number: str) -> Instance | None:
        """See Callee."""
        return None

    def ready(self) -> list[Instance]:
        """See Callee."""
        found: dict[str, Instance] = {}
        for service, number in self.owners():
            state = self.services.get(service)
            for instance in state.ready() if state is not None else ():
                if not number or instance.name.startswith(f"{number}."):
                    found[instance.name] = instance
        return [found[name] for name in sorted(found)]

    def leading(self) -> list[Instance]:
        """See Callee: of a service its leader; an instance that is a member by itself."""
        alone = {f"{member}.{self.network}" for member in self.members if "." in member}
        return [
            instance
            for instance in self.ready()
            if instance.name in alone or (instance.leader and instance.service in self.members)
        ]
