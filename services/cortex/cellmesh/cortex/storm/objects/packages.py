"""What belongs to a Storm package, as values: its modules, variables and queues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import DupName, NoSuchName
from cellmesh.cortex.storm.objects.queues import TYPES as QUEUE_TYPES
from cellmesh.cortex.storm.objects.queues import QueueObject
from cellmesh.cortex.storm.runtime.interface import (
    UNDEF,
    AttributeSpec,
    FunctionSpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.values import toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

OWNER_HEAD: Final = "pkg:"


def package_owner(name: str) -> str:
    """Return whom the variables of a package belong to, in the store of what users keep."""
    return OWNER_HEAD + name


class ModuleObject:
    """A module that was run: what it defined.

    Args:
        name: Its name.
        scope: The scope it ran in.
    """

    __slots__ = ("name", "scope")

    def __init__(self, name: str, scope: RunContext) -> None:
        self.name = name
        self.scope = scope

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"Imported Module {self.name}"


def _member(context: RunContext, self: ModuleObject, name: Any) -> Any:
    if isinstance(name, str) and name in self.scope.vars:
        return self.scope.vars[name]
    raise NoSuchName(f"the module {self.name} has no {name}", name=str(name))


class PackageVars:
    """The variables of a package."""

    __slots__ = ("owner", "store")

    def __init__(self, store: Any, name: str) -> None:
        self.store = store
        self.owner = package_owner(name)

    def storm_plain(self) -> str:
        """Return the package's name."""
        return self.owner.removeprefix(OWNER_HEAD)


def _get_var(context: RunContext, self: PackageVars, name: Any) -> Any:
    return self.store.get(context.session, self.owner, "vars", tostr(name))


def _set_var(context: RunContext, self: PackageVars, name: Any, value: Any) -> None:
    context.check_writable()
    if value is UNDEF:
        self.store.pop(context.session, self.owner, "vars", tostr(name))
    else:
        self.store.put(context.session, self.owner, "vars", tostr(name), toprim(value))


def _each_var(context: RunContext, self: PackageVars) -> Iterator[Any]:
    return iter(self.store.all(context.session, self.owner, "vars"))


class PackageQueue(QueueObject):
    """A queue of a package. Other packages may have one of the same name."""

    __slots__ = ("own_name", "package")

    def __init__(self, package: str, name: str) -> None:
        super().__init__(f"{OWNER_HEAD}{package}:{name}")
        self.package = package
        self.own_name = name


class PackageQueues:
    """The queues of a package."""

    __slots__ = ("package", "user")

    def __init__(self, package: str, user: str) -> None:
        self.package = package
        self.user = user

    def storm_plain(self) -> str:
        """Return the package's name."""
        return self.package


def _queue_add(context: RunContext, self: PackageQueues, name: Any) -> PackageQueue:
    queue = PackageQueue(self.package, tostr(name))
    context.capability("queues").add(context.session, queue.name, self.user)
    return queue


def _queue_get(context: RunContext, self: PackageQueues, name: Any) -> PackageQueue:
    queue = PackageQueue(self.package, tostr(name))
    if not context.capability("queues").has(context.session, queue.name):
        raise NoSuchName(f"the package {self.package} has no queue {queue.own_name}", name=queue.own_name)
    return queue


def _queue_gen(context: RunContext, self: PackageQueues, name: Any) -> PackageQueue:
    try:
        return _queue_get(context, self, name)
    except NoSuchName:
        pass
    try:
        return _queue_add(context, self, name)
    except DupName:  # another query was quicker
        return _queue_get(context, self, name)


def _queue_del(context: RunContext, self: PackageQueues, name: Any) -> None:
    context.capability("queues").remove(context.session, _queue_get(context, self, name).name)


def _queue_list(context: RunContext, self: PackageQueues) -> Iterator[Any]:
    head = PackageQueue(self.package, "").name
    for known in context.capability("queues").describe(context.session):
        if known["name"].startswith(head):
            name = known["name"].removeprefix(head)
            yield {**known, "name": name, "meta": {**known["meta"], "name": name, "pkgname": self.package}}


_NAME: Final = ParameterSpec("name", type="str", doc="The name of the queue.")
_OF_QUEUES: Final = {method.name: method for method in QUEUE_TYPES[0].methods}

TYPES: Final = (
    TypeSpec(
        "lib", ModuleObject, "A module of a package; its members are what it defined.", get_item=_member
    ),
    TypeSpec(
        "pkg:vars",
        PackageVars,
        "The variables of a package.",
        get_item=_get_var,
        set_item=_set_var,
        iterate=_each_var,
    ),
    TypeSpec(
        "pkg:queues",
        PackageQueues,
        "The queues of a package.",
        (
            FunctionSpec("add", "Make a queue.", _queue_add, (_NAME,), "pkg:queue", changes_state=True),
            FunctionSpec("del", "Remove a queue and its items.", _queue_del, (_NAME,), changes_state=True),
            FunctionSpec(
                "gen",
                "A queue, made if there is none.",
                _queue_gen,
                (_NAME,),
                "pkg:queue",
                changes_state=True,
            ),
            FunctionSpec("get", "A queue.", _queue_get, (_NAME,), "pkg:queue"),
            FunctionSpec("list", "What is known of each queue.", _queue_list, (), "dicts", is_generator=True),
        ),
    ),
    TypeSpec(
        "pkg:queue",
        PackageQueue,
        "A queue of a package.",
        tuple(_OF_QUEUES.values()),
        (
            AttributeSpec("name", "Its name.", lambda c, s: s.own_name, "str"),
            AttributeSpec("pkgname", "The package's name.", lambda c, s: s.package, "str"),
        ),
    ),
)
