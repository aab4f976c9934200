"""Views and layers as values: `$lib.view.get()` and `$lib.layer.get()`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import (
    BadArg,
    BadOptValu,
    BadState,
    BadTypeValu,
    CantMergeView,
    NoSuchView,
    SchemaViolation,
)
from cellmesh.cortex.layers.layer import Layer
from cellmesh.cortex.storm.rights.gates import claim
from cellmesh.cortex.storm.runtime.context import QueryRun, RunContext
from cellmesh.cortex.storm.runtime.interface import (
    UNDEF,
    AttributeSpec,
    FunctionSpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.libraries import Library
from cellmesh.cortex.storm.runtime.members import get_member, toiter
from cellmesh.cortex.storm.runtime.values import tobool, toprim, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.values.ids import ViewId
from cellmesh.cortex.views import restack
from cellmesh.cortex.views.merge import ALL, Choice, merge_view
from cellmesh.cortex.views.quorum import check_free_merge
from cellmesh.cortex.views.stacks import rename_layer, rename_view
from cellmesh.cortex.views.view import View

if TYPE_CHECKING:
    from cellmesh.cortex.views.session import GraphSession


class LayerObject:
    """A layer."""

    __slots__ = ("layer", "name")

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        # Stays what it was: who wants to know what it is called now asks `get`.
        self.name = layer.name or None

    @property
    def seen_alone(self) -> View:
        """The layer as a view of its own, to read just what it holds."""
        return View(ViewId(""), (self.layer,), self.layer.name)

    def storm_plain(self) -> dict[str, Any]:
        """Return what is known of it."""
        layer = self.layer
        named = {"name": layer.name} if layer.name else {}
        return {
            "iden": str(layer.id),
            **named,
            "readonly": False,
            "lockmemory": False,
            "logedits": True,
            **layer.facts,
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"layer: {self.storm_plain()}"


class ViewObject:
    """A view."""

    __slots__ = ("view",)

    def __init__(self, view: View) -> None:
        self.view = view

    @property
    def layers(self) -> list[LayerObject]:
        """Its layers, the top one first."""
        return [LayerObject(layer) for layer in self.view.layers]

    def storm_plain(self) -> dict[str, Any]:
        """Return what is known of it."""
        view = self.view
        named = {"name": view.name} if view.name else {}
        return {
            "iden": str(view.id),
            **named,
            "protected": False,
            **{name: fact for name, fact in view.facts.items() if name not in _HIDDEN},
            "parent": None if self.view.parent is None else str(self.view.parent),
            "layers": [layer.storm_plain() for layer in self.layers],
            "triggers": [],
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"view: {self.storm_plain()}"


Holder = ViewObject | LayerObject

_HIDDEN: Final = ("votes", "merges", "merging")
"""Facts of views that methods of their own tell."""

VIEW_FACTS: Final = ("name", "desc", "nomerge", "protected", "quorum", "layers", "parent")
LAYER_FACTS: Final = ("name", "desc", "readonly", "logedits")


@contextmanager
def reading(context: RunContext, holder: Holder) -> Iterator[GraphSession]:
    """Give a session on a view or layer: the query's own if that is where it runs, so that its edits show."""
    view = holder.view if isinstance(holder, ViewObject) else holder.seen_alone
    if view.layers == context.view.layers:
        yield context.session
        return
    with context.session.graph.begin(view, user=context.user, readonly=True) as session:
        yield session


def named_view(context: RunContext, iden: Any) -> View:
    """Return the view of an iden; the empty text, which stands for the default view elsewhere, is none here.

    Raises:
        NoSuchView: there is no such view.
    """
    text = tostr(iden)
    if not text:
        raise NoSuchView("no view has an empty iden", iden=text)
    return context.session.graph.view(text)


@contextmanager
def running_in(context: RunContext, view: View) -> Iterator[RunContext]:
    """Give a scope that runs on another view, on a session of its own whose edits are durable at the end.

    The query's own session is paused, and must not edit meanwhile: a thread has one write transaction.
    """
    graph = context.session.graph
    context.session.pause()
    with graph.begin(view, user=context.user, readonly=context.run.is_readonly) as session:
        with context.run.budget.lent(session) as budget:
            outer = context.run
            run = QueryRun(outer.engine, session, outer.options, budget, outer.emit)
            run.is_readonly = outer.is_readonly
            yield RunContext(run, context.all_vars())
        session.sync()
    context.session.generation += 1


# What both can be asked.


def _form_counts(context: RunContext, self: Holder) -> dict[str, int]:
    found: dict[str, int] = {}
    with reading(context, self) as session:
        for name in sorted(context.model.form_names()):
            form = context.model.require_form(name)
            count = 0 if form.is_runtime else session.count_form(form)
            if count or (not form.is_runtime and session.has_had(form)):
                found[name] = count
    return found


def _prop_count(context: RunContext, self: Holder, name: Any, value: Any) -> int:
    prop = context.model.require_prop(tostr(name))
    with reading(context, self) as session:
        if value is UNDEF:
            return session.count_prop(prop)
        wanted = plain_value(value)
        counted = session.count_value(prop, "=", wanted)
        if counted is not None:
            return counted
        return _count(context, session.lift_value(prop, "=", wanted))


def _layer_prop_count(context: RunContext, self: Holder, name: Any, size_max: Any, value: Any) -> int:
    return _prop_count(context, self, name, value)


def _count(context: RunContext, nodes: Iterator[Any]) -> int:
    count = 0
    for _ in nodes:
        context.tick()
        count += 1
    return count


def _prop_array_count(context: RunContext, self: Holder, name: Any, value: Any) -> int:
    prop = context.model.require_prop(tostr(name))
    if not prop.is_array:
        raise BadTypeValu(f"{prop.full_name} is no array", name=prop.full_name)
    with reading(context, self) as session:
        if value is not UNDEF:
            return _count(context, session.lift_array(prop, "=", plain_value(value)))
        total = 0
        for node in session.lift_prop(prop):
            context.tick()
            total += len(node.get(prop.name) or ())
        return total


def _tag_prop_count(context: RunContext, self: Holder, tag: Any, name: Any, form: Any, value: Any) -> int:
    found_form = None if form is None else context.model.require_form(tostr(form))
    comparator = None if value is UNDEF else "="
    wanted = None if value is UNDEF else plain_value(value)
    with reading(context, self) as session:
        return _count(
            context,
            session.lift_tag_prop(
                tostr(tag), tostr(name), form=found_form, comparator=comparator, value=wanted
            ),
        )


def _tag_count(context: RunContext, self: Holder, tag: Any, form: Any) -> int:
    found_form = None
    if form is not None:
        found_form = context.model.form(tostr(form))
        if found_form is None:
            return 0
    with reading(context, self) as session:
        return session.count_tag(tostr(tag), found_form)


def _prop_values(context: RunContext, self: Holder, name: Any) -> Iterator[Any]:
    """Yield each value once: the index has equal values side by side."""
    prop = context.model.require_prop(tostr(name))
    last = UNDEF
    with reading(context, self) as session:
        for node in session.lift_prop(prop):
            context.tick()
            value = node.value if prop.is_form else node.get(prop.name)
            if last is UNDEF or value != last:
                yield value
            last = value


def _edge_verbs(context: RunContext, self: Holder) -> Iterator[str]:
    with reading(context, self) as session:
        yield from session.edge_verbs()


def _edges(context: RunContext, self: Holder, verb: Any) -> Iterator[tuple[str, str, str]]:
    with reading(context, self) as session:
        for name in session.edge_verbs() if verb is None else [tostr(verb)]:
            for node in session.lift_verb(name):
                for _, _, other in session.edges_out([node], [name]):
                    context.tick()
                    yield (node.iden, name, other.iden)


def _all_edges(context: RunContext, self: Holder) -> Iterator[tuple[str, str, str]]:
    return _edges(context, self, None)


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


# What one of them can be asked.


def _add_node(context: RunContext, self: ViewObject, form: Any, value: Any, props: Any) -> Any:
    """Make a node in the view; in another view than the query's it is made at once, outside the query's edits."""
    found = context.model.require_form(tostr(form))
    given = {tostr(name): plain_value(item) for name, item in (props or {}).items()}
    if self.view.id == context.view.id:
        return context.session.add_node(found, plain_value(value), given)
    context.session.pause()
    with context.session.graph.begin(self.view, user=context.user) as session:
        session.guard = context.run.rights
        session.add_node(found, plain_value(value), given)
        session.sync()
    return None


def _fork(context: RunContext, self: ViewObject, name: Any) -> ViewObject:
    context.session.pause()
    made = context.session.graph.fork(
        self.view, name="" if name is None else tostr(name), user=context.user, facts=made_facts(context)
    )
    claim(context, str(made.id), "view")
    claim(context, str(made.layers[0].id), "layer")
    return ViewObject(made)


def made_facts(context: RunContext) -> dict[str, Any]:
    """Return what is known of a view or layer that the query makes."""
    return {"creator": own_iden(context), "created": context.session.graph.now_ms()}


def own_iden(context: RunContext) -> str:
    """Return the iden of the query's user; one made of the name where the cell keeps no users."""
    known = context.model.iden_of("user", context.user)
    return known if known is not None else hashing.guid(["user", context.user])


def merge_fork(context: RunContext, view: View, choice: Choice = ALL) -> None:
    """Merge all of a fork into what it was forked from.

    Raises:
        SynErr: the view below has a quorum, whose votes decide.
        CantMergeView: the fork has forks, or is not to be merged.
    """
    graph = context.session.graph
    check_free_merge(graph, view)
    if any(other.parent == view.id for other in graph.views.values()):
        raise CantMergeView("a view that has forks cannot be merged", view=str(view.id))
    context.session.pause()
    merge_view(graph, view, choice, context.user)
    # Nodes of this query are to be read anew.
    context.session.generation += 1


def _merge(context: RunContext, self: ViewObject, force: Any) -> None:
    merge_fork(context, self.view)


def _set_view(context: RunContext, self: ViewObject, name: Any, value: Any) -> Any:
    fact, graph, user = tostr(name), context.session.graph, context.user
    if fact not in VIEW_FACTS:
        raise BadOptValu(f"{fact} of a view cannot be set", name=fact)
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
    context.session.pause()
    if fact == "name":
        self.layer = rename_layer(graph, self.layer, "" if value is None else tostr(value), user=user)
        return
    made: Any = None if value is None else tostr(value) if fact == "desc" else tobool(value)
    self.layer = restack.change_layer_facts(graph, str(self.layer.id), _with_fact(fact, made), user=user)


def _view_triggers(context: RunContext, self: ViewObject) -> list[Any]:
    library = context.run.library.members.get("trigger")
    if not isinstance(library, Library):
        return []
    triggers = context.call(library.get(context, "list"), True)
    return [found for found in triggers if get_member(context, found, "view") == str(self.view.id)]


def _children(context: RunContext, self: ViewObject) -> Iterator[ViewObject]:
    for view in list(context.session.graph.views.values()):
        if view.parent == self.view.id:
            yield ViewObject(view)


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


UNNAMED: Final = "unnamed"
IDEN_SIZE: Final = 32

_PROP_NAME: Final = ParameterSpec("propname", type="str", doc="The property by its full name.")
_VALUE: Final = ParameterSpec("valu", UNDEF, "any", "Count only this value.")
_ELEMENT: Final = ParameterSpec("valu", UNDEF, "any", "Count only this element.")

_FACT: Final = (
    ParameterSpec("name", type="str", doc="Which fact."),
    ParameterSpec("valu", type="prim", doc="What it shall be."),
)

_SHARED: Final = (
    FunctionSpec("getEdgeVerbs", "The verbs of its light edges.", _edge_verbs, (), "str", is_generator=True),
    FunctionSpec("getFormCounts", "How many nodes it has of each form.", _form_counts, (), "dict"),
    FunctionSpec(
        "getPropArrayCount",
        "How many elements an array property has over all nodes.",
        _prop_array_count,
        (_PROP_NAME, _ELEMENT),
        "int",
    ),
    FunctionSpec(
        "getPropValues",
        "The values of a property, each once.",
        _prop_values,
        (_PROP_NAME,),
        "any",
        is_generator=True,
    ),
    FunctionSpec(
        "getTagPropCount",
        "How many nodes have a property of a tag.",
        _tag_prop_count,
        (
            ParameterSpec("tag", type="str", doc="The tag."),
            ParameterSpec("propname", type="str", doc="The tag property."),
            ParameterSpec("form", None, "str", "Count only nodes of this form."),
            _VALUE,
        ),
        "int",
    ),
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

TYPES: Final = (
    TypeSpec(
        "view",
        ViewObject,
        "A view.",
        (
            *_SHARED,
            FunctionSpec(
                "addNode",
                "Make a node; gives it back if it is in the view of the query.",
                _add_node,
                (
                    ParameterSpec("form", type="str", doc="Its form."),
                    ParameterSpec("valu", type="any", doc="Its value."),
                    ParameterSpec("props", None, "dict", "Properties to set."),
                ),
                "node",
                changes_state=True,
            ),
            FunctionSpec("children", "The views forked from it.", _children, (), "view", is_generator=True),
            FunctionSpec(
                "getEdges",
                "Its light edges: iden, verb, iden.",
                _edges,
                (ParameterSpec("verb", None, "str", "Only edges with this verb."),),
                "lists",
                is_generator=True,
            ),
            FunctionSpec(
                "getPropCount",
                "How many nodes have a property.",
                _prop_count,
                (_PROP_NAME, _VALUE),
                "int",
            ),
            FunctionSpec(
                "fork",
                "Make a view with a layer of its own on top of this one's.",
                _fork,
                (ParameterSpec("name", None, "str", "What to call it."),),
                "view",
                changes_state=True,
            ),
            FunctionSpec(
                "merge",
                "Merge all that its top layer holds into what it was forked from.",
                _merge,
                (ParameterSpec("force", False, "bool", "Without effect."),),
                changes_state=True,
            ),
            FunctionSpec("repr", "A description in words.", _view_repr, (), "str"),
            FunctionSpec(
                "set",
                "Set a fact about it: name, desc, nomerge, protected, quorum, layers or parent.",
                _set_view,
                _FACT,
                changes_state=True,
            ),
        ),
        (
            AttributeSpec("iden", "Its iden.", lambda c, s: str(s.view.id), "str"),
            AttributeSpec("layers", "Its layers, the top one first.", lambda c, s: s.layers, "list"),
            AttributeSpec(
                "parent",
                "The iden of the view it was forked from.",
                lambda c, s: s.storm_plain()["parent"],
                "str",
            ),
            AttributeSpec("triggers", "Its triggers.", _view_triggers, "list"),
        ),
    ),
    TypeSpec(
        "layer",
        LayerObject,
        "A layer. Nodes count where they were made, not where a layer above only changes them.",
        (
            *_SHARED,
            FunctionSpec(
                "getEdges", "Its light edges: iden, verb, iden.", _all_edges, (), "lists", is_generator=True
            ),
            FunctionSpec(
                "getPropCount",
                "How many nodes have a property.",
                _layer_prop_count,
                (
                    _PROP_NAME,
                    ParameterSpec("maxsize", None, "int", "Without effect: counts cost nothing."),
                    _VALUE,
                ),
                "int",
            ),
            FunctionSpec(
                "getTagCount",
                "How many nodes have a tag.",
                _tag_count,
                (
                    ParameterSpec("tagname", type="str", doc="The tag."),
                    ParameterSpec("formname", None, "str", "Count only nodes of this form."),
                ),
                "int",
            ),
            FunctionSpec("repr", "A description in words.", _layer_repr, (), "str"),
            FunctionSpec(
                "set", "Set a fact about it: name, desc or readonly.", _set_layer, _FACT, changes_state=True
            ),
        ),
        (
            AttributeSpec("iden", "Its iden.", lambda c, s: str(s.layer.id), "str"),
            AttributeSpec("name", "Its name when the value was made.", lambda c, s: s.name, "str"),
        ),
    ),
)
