"""Views and layers as values, `$lib.view.get()` and `$lib.layer.get()`; how a query reads and runs in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import NoSuchView
from cellmesh.cortex.layers.layer import Layer
from cellmesh.cortex.storm.runtime.context import QueryRun, RunContext
from cellmesh.cortex.storm.runtime.values import tostr
from cellmesh.cortex.values.ids import ViewId
from cellmesh.cortex.views.view import View

if TYPE_CHECKING:
    from cellmesh.cortex.views.session import GraphSession

IDEN_SIZE: Final = 32
"""Digits of the iden of a view, a layer or a role."""

_HIDDEN: Final = ("votes", "merges", "merging")
"""Facts of views that methods of their own tell."""


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


def made_facts(context: RunContext) -> dict[str, Any]:
    """Return what is known of a view or layer that the query makes."""
    return {"creator": own_iden(context), "created": context.session.graph.now_ms()}


def own_iden(context: RunContext) -> str:
    """Return the iden of the query's user; one made of the name where the cell keeps no users."""
    known = context.model.iden_of("user", context.user)
    return known if known is not None else hashing.guid(["user", context.user])
