"""`$lib.aha` and `$lib.telepath`: the other cells of the mesh, which the Cortex calls as itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, CellError, NoSuchName
from cellmesh.cortex.storm.objects.remote import AhaPool, RemoteCell
from cellmesh.cortex.storm.outside.registry_calls import find_service, instances, registry
from cellmesh.cortex.storm.outside.remote_calls import call
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

TODO_SIZE: Final = 3
"""A call that is asked for: the method, its arguments in order, and by name."""


def told(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return an instance under the names that Synapse gives such facts, and the others that AHA knows."""
    network = instance["network"]
    host, _, port = str(instance["address"]).rpartition(":")
    return {
        "name": instance["name"],
        "svcname": str(instance["name"]).removesuffix(f".{network}"),
        "svcnetw": network,
        "svcinfo": {
            "iden": instance["cell_id"],
            "leader": str(instance["service"]).removesuffix(f".{network}"),
            "ready": instance["ready"],
            "isleader": instance["leader"],
            "down": instance["down"],
            "kind": instance["kind"],
            "version": instance["version"],
            "online": instance.get("expire_time"),
            "urlinfo": {"scheme": "grpcs", "host": host, "port": int(port) if port.isdigit() else 0},
        },
    }


def _list(context: RunContext) -> Iterator[dict[str, Any]]:
    for instance in instances(registry(context)):
        context.tick()
        yield told(instance)


def _get(context: RunContext, name: Any, filters: Any) -> dict[str, Any] | None:
    found = find_service(context, tostr(name))
    wanted = toprim(filters) or {}
    if not isinstance(wanted, dict) or wanted.keys() - {"mirror"}:
        raise BadArg("filters are a dictionary with mirror", name="filters")
    if wanted.get("mirror"):
        found = [row for row in found if not row["leader"]] or found
    else:
        found = [row for row in found if row["leader"]] or found
    return told(found[0]) if found else None


def _del(context: RunContext, name: Any) -> None:
    text = tostr(name)
    if text.endswith("..."):
        network = call(registry(context), "getNetwork", {})["network"]
        text = f"{text.removesuffix('...')}.{network}"
    call(registry(context), "unregisterInstance", {"name": text})


def _each(
    context: RunContext, name: Any, todo: Any, timeout: Any, skipped: Any
) -> Iterator[tuple[str, tuple[bool, Any]]]:
    wanted = toprim(todo)
    if not isinstance(wanted, (list, tuple)) or len(wanted) != TODO_SIZE or wanted[1]:
        raise BadArg("todo is a method, an empty list and a dictionary of the request's fields", name="todo")
    method, _, fields = wanted
    limit = None if timeout is None else float(toint(timeout))
    mesh = context.capability("mesh")
    rows = find_service(context, tostr(name))
    if not rows:
        raise NoSuchName(f"AHA knows no service {tostr(name)[:100]}", name=tostr(name)[:100])
    for row in rows:
        context.tick()
        if skipped is not None and row["cell_id"] == tostr(skipped):
            continue
        instance = row["name"]
        try:
            found = call(mesh.client(f"aha://{instance}"), tostr(method), fields or {}, limit)
            if isinstance(found, Iterator):
                for value in found:
                    context.tick()
                    yield (instance, (True, value))
            else:
                yield (instance, (True, found))
        except CellError as error:
            yield (instance, (False, (error.name, {"mesg": error.message, **error.errinfo})))


# Pools.


def _pool_add(context: RunContext, name: Any) -> AhaPool:
    client = registry(context)
    return AhaPool(client, call(client, "createPool", {"name": tostr(name)})["pool"])


def _pool_del(context: RunContext, name: Any) -> dict[str, Any]:
    client = registry(context)
    found = AhaPool(client, call(client, "getPool", {"name": tostr(name)})["pool"])
    call(client, "deletePool", {"name": tostr(name)})
    return found.storm_plain()


def _pool_get(context: RunContext, name: Any) -> AhaPool | None:
    client = registry(context)
    try:
        return AhaPool(client, call(client, "getPool", {"name": tostr(name)})["pool"])
    except NoSuchName:
        return None


def _pool_list(context: RunContext) -> Iterator[AhaPool]:
    client = registry(context)
    for pool in call(client, "listPools", {})["pools"]:
        yield AhaPool(client, pool)


def _open(context: RunContext, url: Any) -> RemoteCell:
    text = tostr(url)
    client = context.capability("mesh").client(text)
    return RemoteCell(client, str(client.url))


_SERVICE: Final = ParameterSpec("svcname", type="str", doc="The service, or one instance of it.")
_POOL: Final = ParameterSpec("name", type="str", doc="The pool.")
_CALL: Final = (
    _SERVICE,
    ParameterSpec("todo", type="list", doc="The RPC, an empty list, and the fields of its request by name."),
    ParameterSpec("timeout", None, "int", "Seconds that an instance may take to answer."),
    ParameterSpec("skiprun", None, "str", "The identifier of a cell to leave out."),
)

LIBRARIES: Final = (
    LibrarySpec(
        ("aha",),
        "The registry of the mesh.",
        (
            FunctionSpec(
                "callPeerApi",
                "Call an RPC of every instance of a service; gives name, and whether it went well with the answer.",
                _each,
                _CALL,
                "list",
                is_generator=True,
                may_change=True,
            ),
            FunctionSpec(
                "callPeerGenr",
                "Call an RPC with many answers of every instance of a service; gives as callPeerApi, for each answer.",
                _each,
                _CALL,
                "list",
                is_generator=True,
                may_change=True,
            ),
            FunctionSpec("del", "Have AHA forget an instance.", _del, (_SERVICE,), changes_state=True),
            FunctionSpec(
                "get",
                "What AHA knows of a service, or one instance of it: the one that leads. null if it knows none.",
                _get,
                (_SERVICE, ParameterSpec("filters", None, "dict", "mirror as true: one that follows.")),
                "dict",
            ),
            FunctionSpec("list", "What AHA knows of all instances.", _list, (), "list", is_generator=True),
        ),
    ),
    LibrarySpec(
        ("aha", "pool"),
        "Pools of services, which AHA keeps.",
        (
            FunctionSpec("add", "Make a pool.", _pool_add, (_POOL,), "aha:pool", changes_state=True),
            FunctionSpec(
                "del", "Remove a pool; gives what it was.", _pool_del, (_POOL,), "dict", changes_state=True
            ),
            FunctionSpec("get", "A pool; null if there is none.", _pool_get, (_POOL,), "aha:pool"),
            FunctionSpec("list", "All pools.", _pool_list, (), "aha:pool", is_generator=True),
        ),
    ),
    LibrarySpec(
        ("telepath",),
        "Other cells, called as the Cortex itself.",
        (
            FunctionSpec(
                "open",
                "A cell by its URL. Nothing is sent before its first call.",
                _open,
                (ParameterSpec("url", type="str", doc="Such as `aha://axon`."),),
                "telepath:proxy",
                may_change=True,
            ),
        ),
    ),
)
