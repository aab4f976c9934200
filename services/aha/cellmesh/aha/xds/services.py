"""One service as the registry knows it now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cellmesh.aha.directory import Instance


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

    def ready(self) -> list[Instance]:
        """Those that answer calls, by name."""
        return [instance for _, instance in sorted(self.instances.items()) if instance.ready]
