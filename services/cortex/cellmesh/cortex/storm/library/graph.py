"""`$lib.lift`, `$lib.tags`, `$lib.view`, `$lib.layer` and `$lib.user`: the graph a query runs on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from cellmesh.common import hashing
from cellmesh.common.auth.rules import parse_path
from cellmesh.common.errors import (
    BadArg,
    BadTypeValu,
    NoSuchIden,
    SchemaViolation,
    StormRuntimeError,
)
from cellmesh.cortex.storm.objects.merge_requests import is_asked
from cellmesh.cortex.storm.objects.stacks import LayerObject, ViewObject, made_facts, named_view, own_iden
from cellmesh.cortex.storm.rights.gates import claim, drop_gate
from cellmesh.cortex.storm.runtime.interface import (
    AttributeSpec,
    FunctionSpec,
    LibrarySpec,
    ParameterSpec,
)
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, tostr
from cellmesh.cortex.views import quorum
from cellmesh.cortex.views.stacks import remove_layer, remove_view

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node


class ViewTriggers(Protocol):
    """What removing a view asks of automation."""

    def delete_of_view(self, view: str, *, user: str) -> None:
        """Remove the triggers of a view that is gone."""


def _by_node_data(context: RunContext, name: Any) -> Iterator[Node]:
    """Yield nodes with data of a name. There is no index of names: every node is looked at."""
    wanted = tostr(name)
    session = context.session
    for form in context.model.forms():
        if form.is_runtime:
            continue
        for node in session.lift_form(form):
            context.tick()
            if session.has_data(node, wanted):
                yield node


def _tags_by_prefix(context: RunContext, prefix: Any, depth: Any) -> Iterator[Node]:
    start = tostr(prefix)
    deepest = start.count(".") + toint(depth)
    prop = context.model.require_prop("syn:tag")
    for node in context.session.lift_value(prop, "^=", start):
        context.tick()
        if node.value.count(".") <= deepest:
            yield node


def _with_prefix(context: RunContext, names: Any, prefix: Any, is_part: Any) -> list[str]:
    if names is None:
        raise StormRuntimeError("null has no names of tags", name="names")
    head = tostr(prefix)
    part = context.model.type("syn:tag:part")
    found: list[str] = []
    for name in toiter(context, names):
        text = tostr(name)
        if not tobool(is_part):
            try:
                text = str(part.norm(text))
            except BadTypeValu:  # nothing of the name is left that a tag could hold
                continue
        found.append(f"{head}.{text}")
    return found


def _view(context: RunContext, iden: Any) -> ViewObject:
    return ViewObject(context.view if iden is None else named_view(context, iden))


def _views(context: RunContext, by_dependence: Any) -> list[ViewObject]:
    views = list(context.session.graph.views.values())
    if tobool(by_dependence):
        # A fork has more layers than what it was forked from.
        views.sort(key=lambda view: len(view.layers))
    return [ViewObject(view) for view in views]


def _layer(context: RunContext, iden: Any) -> LayerObject:
    if iden is None:
        return LayerObject(context.view.layers[0])
    wanted = tostr(iden)
    for layer in context.session.graph.layers.values():
        if str(layer.id) == wanted:
            return LayerObject(layer)
    raise NoSuchIden("no layer of this iden", iden=wanted)


def _add_view(context: RunContext, layers: Any, name: Any, world_readable: Any) -> ViewObject:
    idens = [tostr(item) for item in toiter(context, layers)]
    if not idens:
        raise SchemaViolation("a view has at least one layer", name="layers")
    graph = context.session.graph
    for iden in idens:
        if not hashing.isguid(iden):
            raise SchemaViolation(f"{iden[:64]} is no iden of a layer", name="layers")
    stack = [graph.layer(iden) for iden in idens]
    context.session.pause()
    view = graph.add_view(
        stack, name="" if name is None else tostr(name), user=context.user, facts=made_facts(context)
    )
    claim(context, str(view.id), "view")
    return ViewObject(view)


def _del_view(context: RunContext, iden: Any) -> None:
    graph = context.session.graph
    view = named_view(context, iden)
    context.session.pause()
    remove_view(graph, view, user=context.user)
    drop_gate(context, str(view.id))
    triggers = context.engine.capabilities.get("triggers")
    if triggers is not None:
        # Should the cell end in between, its start finds them without a view.
        cast("ViewTriggers", triggers).delete_of_view(str(view.id), user=context.user)


def _add_layer(context: RunContext, facts: Any) -> LayerObject:
    known = toprim(facts) or {}
    if not isinstance(known, dict):
        raise BadArg("what is said of a layer is a dict", name="ldef")
    context.session.pause()
    graph = context.session.graph
    facts = made_facts(context)
    if known.get("readonly"):
        facts["readonly"] = True
    if known.get("desc"):
        facts["desc"] = tostr(known["desc"])
    layer = graph.add_layer(name=tostr(known.get("name") or ""), user=context.user, facts=facts)
    claim(context, str(layer.id), "layer")
    return LayerObject(layer)


def _del_layer(context: RunContext, iden: Any) -> None:
    layer = _layer(context, tostr(iden)).layer
    context.session.pause()
    remove_layer(context.session.graph, layer, user=context.user)
    drop_gate(context, str(layer.id))


def _layers(context: RunContext) -> list[LayerObject]:
    return [LayerObject(layer) for layer in context.session.graph.layers.values()]


def _merge_requests(context: RunContext, todo: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    graph, only_todo = context.session.graph, tobool(todo)
    context.session.sync()
    for view in list(graph.views.values()):
        if quorum.request_of(view) is None:
            continue
        if only_todo and not is_asked(context, view):
            continue
        yield (ViewObject(view).storm_plain(), quorum.summary(graph, view))


def user_iden(context: RunContext) -> str:
    """Return the iden of the user; one made of the name where the cell keeps no users."""
    return own_iden(context)


def _allowed(context: RunContext, name: Any, gate: Any, default: Any) -> bool:
    rights = context.run.rights
    if rights is None:
        return True
    where = "" if gate is None else tostr(gate)
    return rights.allowed(parse_path(tostr(name)), where, default=tobool(default))


_IDEN: Final = ParameterSpec("iden", None, "str", "Which; the query's own when left out.")

_WHICH: Final = ParameterSpec("iden", type="str", doc="Which.")

LIBRARIES: Final = (
    LibrarySpec(
        ("quorum", "merge"),
        "Merge requests.",
        (
            FunctionSpec(
                "list",
                "Forks with merge requests, each with the summary of its request.",
                _merge_requests,
                (ParameterSpec("todo", False, "bool", "Only those that the user may vote on, and has not."),),
                "list",
                is_generator=True,
            ),
        ),
    ),
    LibrarySpec(
        ("layer",),
        "Layers.",
        (
            FunctionSpec(
                "get", "A layer; by default the one the query writes to.", _layer, (_IDEN,), "layer"
            ),
            FunctionSpec("list", "All layers.", _layers, (), "list"),
            FunctionSpec(
                "add",
                "Make an empty layer.",
                _add_layer,
                (ParameterSpec("ldef", None, "dict", "Facts about it: name, desc, readonly."),),
                "layer",
                changes_state=True,
            ),
            FunctionSpec(
                "del", "Remove a layer that no view has.", _del_layer, (_WHICH,), changes_state=True
            ),
        ),
    ),
    LibrarySpec(
        ("lift",),
        "Lifts that the language has no syntax for.",
        (
            FunctionSpec(
                "byNodeData",
                "Nodes that have data of a name.",
                _by_node_data,
                (ParameterSpec("name", type="str", doc="The name of the data."),),
                "node",
                is_generator=True,
            ),
            FunctionSpec(
                "tagsByPref",
                "Tag nodes whose name starts so.",
                _tags_by_prefix,
                (
                    ParameterSpec("prefix", type="str", doc="How the name starts."),
                    ParameterSpec("depth", 0, "int", "How many dots more than the prefix it may have."),
                ),
                "node",
                is_generator=True,
            ),
        ),
    ),
    LibrarySpec(
        ("tags",),
        "Names of tags.",
        (
            FunctionSpec(
                "prefix",
                "Tags made of a prefix and names.",
                _with_prefix,
                (
                    ParameterSpec("names", type="list of str", doc="What stands behind the prefix."),
                    ParameterSpec("prefix", type="str", doc="The tag above."),
                    ParameterSpec("ispart", False, "bool", "The names are valid already."),
                ),
                "list of str",
            ),
        ),
    ),
    LibrarySpec(
        ("user",),
        "The user the query runs as.",
        (
            FunctionSpec(
                "allowed",
                "Whether the user has a permission.",
                _allowed,
                (
                    ParameterSpec("permname", type="str", doc="The permission, such as `node.add`."),
                    ParameterSpec("gateiden", None, "str", "What it is about: a view or layer."),
                    ParameterSpec("default", False, "bool", "What holds when no rule decides."),
                ),
                "bool",
            ),
            FunctionSpec("name", "The user's name.", lambda c: c.user, (), "str"),
        ),
        (AttributeSpec("iden", "The user's iden.", lambda c, s: user_iden(c), "str"),),
    ),
    LibrarySpec(
        ("view",),
        "Views.",
        (
            FunctionSpec("get", "A view; by default the one the query runs in.", _view, (_IDEN,), "view"),
            FunctionSpec(
                "list",
                "All views.",
                _views,
                (ParameterSpec("deporder", False, "bool", "Forks behind what they were forked from."),),
                "list",
            ),
            FunctionSpec(
                "add",
                "Make a view of some layers.",
                _add_view,
                (
                    ParameterSpec(
                        "layers", type="list of str", doc="Idens of the layers, the top one first."
                    ),
                    ParameterSpec("name", None, "str", "What to call it."),
                    ParameterSpec("worldreadable", False, "bool", "Without effect yet."),
                ),
                "view",
                changes_state=True,
            ),
            FunctionSpec(
                "del",
                "Remove a view that has no forks; its layers stay.",
                _del_view,
                (_WHICH,),
                changes_state=True,
            ),
        ),
    ),
)
