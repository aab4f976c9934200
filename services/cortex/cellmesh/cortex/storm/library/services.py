"""`$lib.service`: Storm services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CellError, NoSuchName
from cellmesh.cortex.stores.services import SHOWN
from cellmesh.cortex.storm.objects.services import ServiceObject
from cellmesh.cortex.storm.outside.service_calls import SERVICE_KEY, Links, wait_for
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tonumber, tostr
from cellmesh.cortex.storm.waiting import wait

if TYPE_CHECKING:
    from cellmesh.cortex.stores.services import StormServices
    from cellmesh.cortex.storm.runtime.context import RunContext


def _store(context: RunContext) -> StormServices:
    found: StormServices = context.capability("services")
    return found


def _links(context: RunContext) -> Links:
    found: Links = context.capability("service.links")
    return found


def _shown(context: RunContext, row: dict[str, Any]) -> dict[str, Any]:
    found = {name: row[name] for name in SHOWN}
    # Without the password that it may have.
    found["url"] = _links(context).shown_url(row["url"])
    found["ready"] = _links(context).is_ready(row["iden"])
    return found


def _add(context: RunContext, name: Any, url: Any) -> dict[str, Any]:
    text = tostr(url)
    shown = _links(context).shown_url(text)
    row = _store(context).add(context.session, tostr(name), text, context.user)
    return {"name": row["name"], "url": shown, "iden": row["iden"]}


def _del(context: RunContext, iden: Any) -> None:
    store, key = _store(context), tostr(iden)
    row = store.known.get(key)
    if row is None:
        # Says that there is none.
        store.remove(context.session, key)
        return
    query = row["evts"].get("del", {}).get("storm")
    if query and row["is_added"]:
        try:
            for _ in context.run_query(query, {"cmdconf": {SERVICE_KEY: key}}):
                context.tick()
        except CellError as error:
            # It goes all the same.
            context.warn(f"what the service wanted run has failed: {error.message}", name=row["name"])
    packages = context.capability("packages")
    for name, known in packages.all(context.session):
        if known.get(SERVICE_KEY) == key:
            packages.remove(context.session, name)
    store.remove(context.session, key)


def _found(context: RunContext, name: Any) -> dict[str, Any]:
    """Return a service that the user may use; raises NoSuchName, AuthDeny."""
    text = tostr(name)
    row = _store(context).find(text)
    rights = context.run.rights
    if rights is not None and not rights.allowed(("service", "get", row["iden"])):
        for label in (row["name"], row["svcname"]):
            if label and rights.allowed(("service", "get", label)):
                context.warn(f"rights on service.get.{label} are old: use the iden", name=label)
                return row
        raise rights.denied(("service", "get", row["iden"]))
    return row


def _get(context: RunContext, name: Any) -> ServiceObject:
    row = _found(context, name)
    return ServiceObject(_links(context), row["iden"], row["name"])


def _has(context: RunContext, name: Any) -> bool:
    try:
        _store(context).find(tostr(name))
    except NoSuchName:
        return False
    return True


def _list(context: RunContext) -> list[dict[str, Any]]:
    return [_shown(context, row) for row in _store(context).known.values()]


def _wait(context: RunContext, name: Any, timeout: Any) -> bool:
    row = _found(context, name)
    seconds = None if timeout is None else float(tonumber(timeout))
    return wait_for(_links(context), row["iden"], seconds, lambda pause_s: wait(context, pause_s))


_NAME: Final = ParameterSpec("name", type="str", doc="The iden of the service, or a name of it.")

LIBRARIES: Final = (
    LibrarySpec(
        ("service",),
        "Storm services: programs that give queries methods and commands.",
        (
            FunctionSpec(
                "add",
                "Add a service. What it has is there as soon as it was reached.",
                _add,
                (
                    ParameterSpec("name", type="str", doc="What queries may call it."),
                    ParameterSpec("url", type="str", doc="Where it is: `aha://NAME`, `grpcs://HOST:PORT`."),
                ),
                "dict",
                changes_state=True,
            ),
            FunctionSpec(
                "del",
                "Remove a service and its packages; what it wants run then is run before.",
                _del,
                (ParameterSpec("iden", type="str", doc="The iden of the service."),),
                changes_state=True,
            ),
            # A leader is in touch with services. What is called may change anything.
            FunctionSpec("get", "A service.", _get, (_NAME,), "telepath:proxy", may_change=True),
            FunctionSpec("has", "Whether there is such a service.", _has, (_NAME,), "bool"),
            FunctionSpec("list", "What is known of each service.", _list, (), "list", may_change=True),
            FunctionSpec(
                "wait",
                "Wait until a service is there to be called; gives whether it is.",
                _wait,
                (
                    _NAME,
                    ParameterSpec("timeout", None, "int", "The longest wait, in seconds; null for no end."),
                ),
                "bool",
                may_change=True,
            ),
        ),
    ),
)
