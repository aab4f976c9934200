"""Objects that have rules of their own: the cell, layers, views, queues, triggers and cron jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.auth.gates import Gate
from cellmesh.common.errors import NoSuchAuthGate
from cellmesh.cortex.storm.runtime.rights import AUTH

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

CELL_GATE: Final = "cortex"


def queue_gate(name: str) -> str:
    """Return the iden of a queue's gate."""
    return f"queue:{name}"


def gates_of(context: RunContext) -> Iterator[tuple[str, str]]:
    """Yield idens and kinds of all objects that may have rules."""
    graph, capabilities = context.session.graph, context.engine.capabilities
    yield CELL_GATE, CELL_GATE
    for layer in list(graph.layers.values()):
        yield str(layer.id), "layer"
    for view in list(graph.views.values()):
        yield str(view.id), "view"
    queues: Any = capabilities.get("queues")
    if queues is not None:
        for known in queues.describe(context.session):
            yield queue_gate(known["name"]), "queue"
    for capability, kind in (("triggers", "trigger"), ("cron", "cronjob")):
        holder: Any = capabilities.get(capability)
        if holder is not None:
            for iden in list(holder.by_iden):
                yield iden, kind


def kind_of_gate(context: RunContext, iden: str) -> str | None:
    """Return what an object is, or None if there is none of the iden."""
    return next((kind for known, kind in gates_of(context) if known == iden), None)


def gate_of(context: RunContext, iden: str) -> Gate:
    """Return the rules on an object; raises NoSuchAuthGate if there is no such object."""
    known = context.capability(AUTH).policy.gates.get(iden)
    kind = kind_of_gate(context, iden)
    if kind is None:
        raise NoSuchAuthGate(f"there is no gate {iden[:200]}", iden=iden[:200])
    return known if known is not None else Gate(iden, kind)


def ensure_gate(context: RunContext, iden: str) -> str:
    """Make the gate of an object if it has none yet; returns the iden, which may be empty for everywhere."""
    if iden:
        gate = gate_of(context, iden)
        context.session.pause()
        context.capability(AUTH).add_gate(gate.gate_id, gate.kind)
    return iden


def claim(context: RunContext, iden: str, kind: str) -> None:
    """Make the query's user administrator of an object that it has just made, unless it is one of everything."""
    rights = context.run.rights
    if rights is not None:
        context.session.pause()
        with rights.auth.changing():
            rights.auth.add_gate(iden, kind)
            rights.auth.set_gate_admin(rights.user, iden, True)


def drop_gate(context: RunContext, iden: str) -> None:
    """Forget the rules on an object that is gone."""
    auth: Any = context.engine.capabilities.get(AUTH)
    if auth is not None and iden in auth.policy.gates:
        context.session.pause()
        auth.delete_gate(iden)
