"""Methods of views and layers: the facts about them, told and set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cellmesh.common.errors import BadArg, BadOptValu, BadState, SchemaViolation
from cellmesh.cortex.storm.objects.stacks import IDEN_SIZE, Holder, LayerObject, ViewObject
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.interface import UNDEF, FunctionSpec, ParameterSpec
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.values import tobool, toprim, tostr
from cellmesh.cortex.views import restack
from cellmesh.cortex.views.stacks import rename_layer, rename_view

VIEW_FACTS: Final = ("name", "desc", "nomerge", "protected", "quorum", "layers", "parent")
LAYER_FACTS: Final = ("name", "desc", "readonly", "logedits")
UNNAMED: Final = "unnamed"


def _pack(context: RunContext, self: Holder) -> dict[str, Any]:
    known = self.storm_plain()
    if isinstance(self, LayerObject):
        return {**known, "totalsize": _size(context, self)}
    return {**known, "layers": [_pack(context, layer) for layer in self.layers]}


def _size(context: RunContext, self: LayerObject) -> int:
    """About how much room a layer takes: see `layers/sizes.py`."""
    graph = context.session.graph
    return graph.sizes.of(self.layer, graph.layers.values())


def _get(context: RunContext, self: Holder, name: Any, default: Any) -> Any:
    fact = tostr(name)
    if fact == "totalsize" and isinstance(self, LayerObject):
        return _size(context, self)
    found = self.storm_plain().get(fact)
    return default if found is None else found


def _set_view(context: RunContext, self: ViewObject, name: Any, value: Any) -> Any:
    fact, graph, user = tostr(name), context.session.graph, context.user
    if fact not in VIEW_FACTS:
        raise BadOptValu(f"{fact} of a view cannot be set", name=fact)
    value = None if value is UNDEF else value
    context.session.pause()
    if fact == "name":
        self.view = rename_view(graph, self.view, "" if value is None else tostr(value), user=user)
    elif fact == "layers":
        idens = [tostr(iden) for iden in toiter(context, value)]
        if not idens:
            raise BadArg("a view has at least one layer", name="layers")
        self.view = restack.set_layers(graph, self.view, [graph.layer(iden) for iden in idens], user=user)
    elif fact == "parent":
        if value is None:
            self.view = restack.detach(graph, self.view, user=user)
        else:
            self.view = restack.set_parent(graph, self.view, graph.view(tostr(value)), user=user)
    else:
        _set_view_fact(context, self, fact, toprim(value))
    context.session.generation += 1
    if fact == "name":
        return self.view.name
    return self.view.facts.get(fact) if fact in ("desc", "nomerge", "protected") else None


def _set_view_fact(context: RunContext, self: ViewObject, fact: str, value: Any) -> None:
    if fact == "quorum" and value is not None:
        if self.view.parent is not None:
            raise BadState("a fork cannot have a quorum", iden=str(self.view.id))
        value = _quorum(context, value)
    elif fact in ("nomerge", "protected"):
        value = tobool(value)
    elif fact == "desc" and value is not None:
        value = tostr(value)
    self.view = restack.change_view_facts(
        context.session.graph, str(self.view.id), _with_fact(fact, value), user=context.user
    )


def _quorum(context: RunContext, value: Any) -> dict[str, Any]:
    count, roles = (value.get("count"), value.get("roles")) if isinstance(value, dict) else (None, None)
    if (
        type(count) is not int
        or count < 1
        or not isinstance(roles, list | tuple)
        or not all(isinstance(role, str) and len(role) == IDEN_SIZE for role in roles)
    ):
        raise SchemaViolation("a quorum has a count of at least 1, and idens of roles", name="quorum")
    return {"count": count, "roles": list(roles)}


def _with_fact(fact: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(facts: dict[str, Any]) -> dict[str, Any]:
        facts.pop(fact, None)
        return facts if value is None else {**facts, fact: value}

    return change


def _set_layer(context: RunContext, self: LayerObject, name: Any, value: Any) -> None:
    fact, graph, user = tostr(name), context.session.graph, context.user
    if fact not in LAYER_FACTS:
        raise BadOptValu(f"{fact} of a layer cannot be set", name=fact)
    value = None if value is UNDEF else value
    context.session.pause()
    if fact == "name":
        self.layer = rename_layer(graph, self.layer, "" if value is None else tostr(value), user=user)
        return
    made: Any = None if value is None else tostr(value) if fact == "desc" else tobool(value)
    self.layer = restack.change_layer_facts(graph, str(self.layer.id), _with_fact(fact, made), user=user)


def _view_repr(context: RunContext, self: ViewObject) -> str:
    layers = "".join(
        f"\n    {layer.id}: {layer.name or UNNAMED} readonly: {layer.is_readonly}"
        for layer in self.view.layers
    )
    creator = self.view.facts.get("creator") or ""
    name = self.view.name or UNNAMED
    return f"View: {self.view.id} (name: {name})\n  Creator: {creator}\n  Layers:{layers}"


def _layer_repr(context: RunContext, self: LayerObject) -> str:
    layer = self.layer
    creator = layer.facts.get("creator") or ""
    return (
        f"Layer: {layer.id} (name: {layer.name or UNNAMED}) readonly: {layer.is_readonly} creator: {creator}"
    )


_FACT: Final = (
    ParameterSpec("name", type="str", doc="Which fact."),
    ParameterSpec("valu", type="prim", doc="What it shall be."),
)

_SHARED: Final = (
    FunctionSpec(
        "get",
        "A fact about it, such as `name`.",
        _get,
        (
            ParameterSpec("name", type="str", doc="Which fact."),
            ParameterSpec("defv", None, "any", "What to give when it is not known."),
        ),
        "any",
    ),
    FunctionSpec("pack", "All facts about it.", _pack, (), "dict"),
)

VIEW_METHODS: Final = (
    *_SHARED,
    FunctionSpec("repr", "A description in words.", _view_repr, (), "str"),
    FunctionSpec(
        "set",
        "Set a fact about it: name, desc, nomerge, protected, quorum, layers or parent.",
        _set_view,
        _FACT,
        changes_state=True,
    ),
)

LAYER_METHODS: Final = (
    *_SHARED,
    FunctionSpec("repr", "A description in words.", _layer_repr, (), "str"),
    FunctionSpec(
        "set", "Set a fact about it: name, desc or readonly.", _set_layer, _FACT, changes_state=True
    ),
)
