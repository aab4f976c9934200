"""RegistryService over the directory. A cell speaks for itself alone; administrators for every cell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from cellmesh.aha.directory import Instance, Registry
from cellmesh.aha.directory.instances import from_proto, to_proto
from cellmesh.aha.directory.watch import ChangeKind
from cellmesh.api.aha.v1 import registry_pb2
from cellmesh.common.auth.context import current_caller
from cellmesh.common.errors import AuthDeny, BadArg, BadName
from cellmesh.common.tls.identity import CellIdentity

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 1000

_KINDS: Final = {
    ChangeKind.ADDED: registry_pb2.InstanceChange.KIND_ADDED,
    ChangeKind.UPDATED: registry_pb2.InstanceChange.KIND_UPDATED,
    ChangeKind.REMOVED: registry_pb2.InstanceChange.KIND_REMOVED,
}

Context = Any


class RegistryServicer:
    """Serves cellmesh.api.aha.v1.RegistryService."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def RegisterInstance(
        self, request: registry_pb2.RegisterInstanceRequest, context: Context
    ) -> registry_pb2.RegisterInstanceResponse:
        """See the proto."""
        instance = from_proto(request.instance)
        _check_own_name(instance.name)
        lease_s = request.lease.ToNanoseconds() / 1e9
        if lease_s < 0:
            raise BadArg("a lease has a length", name="lease", valu=lease_s)
        stored = await self._registry.register(instance, lease_s)
        return registry_pb2.RegisterInstanceResponse(instance=to_proto(stored))

    async def RenewInstance(
        self, request: registry_pb2.RenewInstanceRequest, context: Context
    ) -> registry_pb2.RenewInstanceResponse:
        """See the proto."""
        _check_own_name(request.name)
        stored = await self._registry.renew(request.name, ready=request.ready)
        return registry_pb2.RenewInstanceResponse(instance=to_proto(stored))

    async def UnregisterInstance(
        self, request: registry_pb2.UnregisterInstanceRequest, context: Context
    ) -> registry_pb2.UnregisterInstanceResponse:
        """See the proto."""
        _check_own_name(request.name)
        await self._registry.unregister(request.name)
        return registry_pb2.UnregisterInstanceResponse()

    async def GetService(
        self, request: registry_pb2.GetServiceRequest, context: Context
    ) -> registry_pb2.GetServiceResponse:
        """See the proto."""
        found = self._registry.find(request.name)
        return registry_pb2.GetServiceResponse(instances=map(to_proto, found))

    async def ListInstances(
        self, request: registry_pb2.ListInstancesRequest, context: Context
    ) -> registry_pb2.ListInstancesResponse:
        """See the proto."""
        page_size, token = request.page_size, request.page_token
        if page_size < 0:
            raise BadArg("a page has at least one instance", name="page_size", valu=page_size)
        count = min(page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        if token:
            _check_token(token)
        found = [instance for instance in self._registry.all(request.service) if instance.name > token]
        return registry_pb2.ListInstancesResponse(
            instances=map(to_proto, found[:count]),
            next_page_token=found[count - 1].name if len(found) > count else "",
        )

    async def WatchInstances(
        self, request: registry_pb2.WatchInstancesRequest, context: Context
    ) -> AsyncIterator[registry_pb2.WatchInstancesResponse]:
        """See the proto."""
        present, watch = self._registry.watch(request.service)
        try:
            yield _changes_to_proto((ChangeKind.ADDED, instance) for instance in present)
            while (changes := await watch.take()) is not None:
                yield _changes_to_proto((change.kind, change.instance) for change in changes)
        finally:
            self._registry.unwatch(watch)


def _changes_to_proto(
    changes: Iterable[tuple[ChangeKind, Instance]],
) -> registry_pb2.WatchInstancesResponse:
    return registry_pb2.WatchInstancesResponse(
        changes=[
            registry_pb2.InstanceChange(kind=_KINDS[kind], instance=to_proto(instance))
            for kind, instance in changes
        ]
    )


def _check_own_name(name: str) -> None:
    caller = current_caller()
    if caller.admin or caller.name == name:
        return
    raise AuthDeny(
        f"{caller.name} may not register as {name[:128]}: a cell registers under the name in its certificate",
        name=name[:128],
        username=caller.name,
    )


def _check_token(token: str) -> None:
    try:
        CellIdentity.parse(token)
    except BadName:
        raise BadArg("this is no page token of ours", name="page_token", valu=token[:128]) from None
