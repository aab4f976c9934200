"""Methods of layers: pushes and pulls, by which layers of two Cortexes follow each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import BadUrl
from cellmesh.cortex.storm.objects.stacks import IDEN_SIZE, LayerObject, own_iden
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import toint, tostr
from cellmesh.cortex.views import restack

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

URL_SCHEMES: Final = ("grpc", "grpcs", "unix", "aha", "cell")


def check_url(url: str) -> None:
    """Make certain that text is the URL of a layer of a Cortex: CELL-URL/layer/IDEN.

    Raises:
        BadUrl: it is not.
    """
    cell, _, layer = url.rpartition("/layer/")
    scheme = url.partition("://")[0]
    if scheme not in URL_SCHEMES or not cell or len(layer) != IDEN_SIZE:
        raise BadUrl(
            f"the URL of a layer is that of its Cortex, /layer/, and its iden: {url[:200]}", url=url[:200]
        )


def _add_sync(
    context: RunContext, self: LayerObject, kind: str, url: Any, offset: Any, queue: Any, chunk: Any
) -> dict[str, Any]:
    text = tostr(url)
    check_url(text)
    definition = {
        "url": text,
        "offs": max(0, toint(offset)),
        "user": own_iden(context),
        "time": context.session.graph.now_ms(),
        "iden": hashing.guid(),
        "queue:size": toint(queue),
        "chunk:size": max(1, min(toint(chunk), 10_000)),
    }
    context.session.pause()

    def change(facts: dict[str, Any]) -> dict[str, Any]:
        return {**facts, kind: {**facts.get(kind, {}), definition["iden"]: definition}}

    graph = context.session.graph
    self.layer = restack.change_layer_facts(graph, str(self.layer.id), change, user=context.user)
    _wake(context)
    return definition


def _del_sync(context: RunContext, self: LayerObject, kind: str, iden: Any) -> None:
    wanted = tostr(iden)
    context.session.pause()

    def change(facts: dict[str, Any]) -> dict[str, Any]:
        left = {key: value for key, value in facts.get(kind, {}).items() if key != wanted}
        facts.pop(kind, None)
        return {**facts, kind: left} if left else facts

    graph = context.session.graph
    self.layer = restack.change_layer_facts(graph, str(self.layer.id), change, user=context.user)
    _wake(context)


def _wake(context: RunContext) -> None:
    syncing: Any = context.engine.capabilities.get("syncing")
    if syncing is not None:
        syncing.wake()


def _add_push(context: RunContext, self: LayerObject, url: Any, offset: Any, queue: Any, chunk: Any) -> Any:
    return _add_sync(context, self, "pushs", url, offset, queue, chunk)


def _add_pull(context: RunContext, self: LayerObject, url: Any, offset: Any, queue: Any, chunk: Any) -> Any:
    return _add_sync(context, self, "pulls", url, offset, queue, chunk)


_SYNC: Final = (
    ParameterSpec("url", type="str", doc="The other layer: the URL of its Cortex, /layer/, its iden."),
    ParameterSpec(
        "offs", 0, "int", "The offset to begin at; 0 for all the layer holds, and its edits from then on."
    ),
    ParameterSpec("queue_size", 10_000, "int", "Without effect: nothing waits in memory."),
    ParameterSpec("chunk_size", 1_000, "int", "Most nodes in one message."),
)

_IDEN: Final = (ParameterSpec("iden", type="str", doc="Its iden."),)

METHODS: Final = (
    FunctionSpec(
        "addPull",
        "Have it take the edits of a layer of another Cortex.",
        _add_pull,
        _SYNC,
        "dict",
        changes_state=True,
    ),
    FunctionSpec(
        "addPush",
        "Have it send its edits to a layer of another Cortex.",
        _add_push,
        _SYNC,
        "dict",
        changes_state=True,
    ),
    FunctionSpec(
        "delPull",
        "Take no more edits of another layer.",
        lambda c, s, i: _del_sync(c, s, "pulls", i),
        _IDEN,
        changes_state=True,
    ),
    FunctionSpec(
        "delPush",
        "Send no more edits to another layer.",
        lambda c, s, i: _del_sync(c, s, "pushs", i),
        _IDEN,
        changes_state=True,
    ),
    FunctionSpec(
        "getMirrorStatus",
        "Whether it is a copy of another layer: never, as Cortexes are mirrored whole.",
        lambda c, s: {"mirror": False},
        (),
        "dict",
    ),
)
