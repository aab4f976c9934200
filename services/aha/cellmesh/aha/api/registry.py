"""RegistryService over the directory. A cell speaks for itself alone; administrators for every cell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Any, Final

from cellmesh.aha.directory import Instance, Registry
from cellmesh.aha.directory.instances import from_proto, to_proto
from cellmesh.aha.directory.watch import Change, ChangeKind, Scope, Watch
from cellmesh.aha.provisioning.subjects import REGISTRY_SERVICE
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
        pool = self._registry.pools.get(request.name.removesuffix(f".{self._registry.network}"))
        members = () if pool is None else [member.name for member in pool.members]
        return registry_pb2.GetServiceResponse(instances=map(to_proto, found), pool_members=members)

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
        asked_for = (
            instance
            for instance in self._registry.after(token, request.service)
            if _is_asked_for(request, instance)
        )
        found = list(islice(asked_for, count + 1))
        return registry_pb2.ListInstancesResponse(
            instances=map(to_proto, found[:count]),
            next_page_token=found[count - 1].name if len(found) > count else "",
        )

    async def WatchInstances(
        self, request: registry_pb2.WatchInstancesRequest, context: Context
    ) -> AsyncIterator[registry_pb2.WatchInstancesResponse]:
        """See the proto."""
        if request.pool and request.service:
            raise BadArg("a watch is of a service or of a pool", name="pool", valu=request.pool[:128])
        registry = self._registry
        watch = registry.follow(Scope(request.service, request.kind, request.pool))
        try:
            changes = registry.changed_since(request.revision, watch)
            yield self._snapshot(watch) if changes is None else _changes_to_proto(changes, watch)
            while (changes := await watch.take()) is not None:
                yield self._snapshot(watch) if watch.renewed else _changes_to_proto(changes, watch)
        finally:
            registry.unwatch(watch)

    async def SetInstanceDown(
        self, request: registry_pb2.SetInstanceDownRequest, context: Context
    ) -> registry_pb2.SetInstanceDownResponse:
        """See the proto."""
        _check_own_name(request.name)
        stored = await self._registry.set_down(request.name, down=request.down)
        return registry_pb2.SetInstanceDownResponse(instance=to_proto(stored))

    async def ListServices(
        self, request: registry_pb2.ListServicesRequest, context: Context
    ) -> registry_pb2.ListServicesResponse:
        """See the proto."""
        found: dict[str, registry_pb2.ServiceSummary] = {}
        for instance in self._registry.all():
            summary = found.get(instance.service)
            if summary is None:
                summary = found[instance.service] = registry_pb2.ServiceSummary(
                    service=instance.service, network=instance.network, kind=instance.kind
                )
            summary.instance_count += 1
            summary.ready_count += instance.ready
            if instance.leader:
                summary.leader = instance.name
        return registry_pb2.ListServicesResponse(services=[found[name] for name in sorted(found)])

    async def GetNetwork(
        self, request: registry_pb2.GetNetworkRequest, context: Context
    ) -> registry_pb2.GetNetworkResponse:
        """See the proto."""
        found = sorted(self._registry.all(REGISTRY_SERVICE), key=lambda item: (not item.leader, item.name))
        return registry_pb2.GetNetworkResponse(
            network=self._registry.network,
            registries=map(to_proto, found),
            revision=self._registry.revision,
        )

    def _snapshot(self, watch: Watch) -> registry_pb2.WatchInstancesResponse:
        """Everything there is of what a watch wants."""
        watch.renewed = False
        pool = self._registry.pools.get(watch.scope.pool) if watch.scope.pool else None
        found = [Change(ChangeKind.ADDED, instance) for instance in self._registry.present(watch)]
        message = _changes_to_proto(found, watch)
        message.snapshot = True
        message.revision = self._registry.revision
        message.pool_members.extend(() if pool is None else (member.name for member in pool.members))
        return message


def _changes_to_proto(changes: Iterable[Change], watch: Watch) -> registry_pb2.WatchInstancesResponse:
    return registry_pb2.WatchInstancesResponse(
        changes=[
            registry_pb2.InstanceChange(kind=_KINDS[change.kind], instance=to_proto(change.instance))
            for change in changes
        ],
        revision=watch.revision,
    )


def _is_asked_for(request: registry_pb2.ListInstancesRequest, instance: Instance) -> bool:
    return (
        (not request.network or instance.network == request.network)
        and (not request.kind or instance.kind == request.kind)
        and (not request.HasField("ready") or instance.ready == request.ready)
        and (not request.HasField("leader") or instance.leader == request.leader)
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
