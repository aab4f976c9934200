"""GraphSession: one unit of work on a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from cellmesh.common.errors import BadTypeValu, NoSuchProp, NoSuchTagProp
from cellmesh.cortex.model.registry import Form
from cellmesh.cortex.values.edits import Interval
from cellmesh.cortex.values.ids import buid_of
from cellmesh.cortex.views.constructors import add_by_props, find_by_props
from cellmesh.cortex.views.editor import CREATED, Draft, Editor
from cellmesh.cortex.views.feed import Feeder, FeedResult
from cellmesh.cortex.views.feed_wire import FeedRecord
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.plans import PropPlan, no_such_prop
from cellmesh.cortex.views.session_counts import CountingSession
from cellmesh.cortex.views.session_data import DataSession
from cellmesh.cortex.views.session_pivots import PivotingSession

if TYPE_CHECKING:
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.view import View

TAG_NAMES_MAX: Final = 10_000


class GraphSession(PivotingSession, CountingSession, DataSession):
    """One query's, feed's or call's work on a view: sees its own edits at once. Used from one thread, then closed.

    What it reads is in the modules it is made of; here are its edits.
    """

    def __init__(self, graph: Graph, view: View, *, user: str, readonly: bool) -> None:
        super().__init__(graph, view, user=user, readonly=readonly)
        self._feeder: Feeder | None = None
        # A tag's normalised name depends on nothing but the tag.
        self._tag_names: dict[str, str] = {}

    def feed(self, batch: Sequence[FeedRecord]) -> FeedResult:
        """Make or enrich many nodes; a record that cannot be used is rejected by itself. See `feed`."""
        return self._feeding().feed(batch)

    def feed_together(self, batches: Sequence[Sequence[FeedRecord]]) -> list[FeedResult]:
        """As `feed`, several batches in one op."""
        return self._feeding().feed_together(batches)

    def _feeding(self) -> Feeder:
        if self._feeder is None:
            self._feeder = Feeder(self, self._kept.feed_cache(self.graph, self.stack.top))
        return self._feeder

    def node(self, form: Form, value: object, *, normalise: bool = True) -> Node | None:
        """Return a node by form and value, or None.

        Raises:
            BadTypeValu: the value does not normalise.
        """
        if normalise:
            if type(value) is dict:
                return self.find_by_props(form, value)
            value = form.type.normalize(value).value
        return self.node_by_buid(buid_of(form.name, value))

    # Nodes.

    def add_node(
        self,
        form: Form,
        value: object,
        props: Mapping[str, object] | None = None,
        *,
        may_wait: bool = False,
    ) -> Node:
        """Make a node, with those it implies, and set properties. Of one that exists only unset ones are set.

        Args:
            form: The form.
            value: Not yet normalised; a mapping stands for a node of a guid form with such properties.
            props: Properties by relative name.
            may_wait: Whether the edit may become part of one op with those that follow; see `edit_later`.

        Raises:
            BadTypeValu: a value does not normalise; the error names form and property.
            NoSuchProp, IsRuntForm: the model does not allow it.
        """
        if type(value) is dict:
            return self._add_by_dict(form, value, props)
        if self.guard is not None:
            self.guard.confirm_edit(self, ("node", "add", form.name))
            for name in props or ():
                self.guard.confirm_edit(self, ("node", "prop", "set", form.name, name))
        plan = self.planner.node(form, value)
        prop_plans = [self.plan_prop(form, name, part) for name, part in (props or {}).items()]

        def op(editor: Editor) -> Draft:
            draft = editor.node(plan)
            only_new = plan.buid not in editor.fresh
            for prop_plan in prop_plans:
                editor.apply_prop(draft, prop_plan, only_new=only_new)
            return draft

        return self.edit_making_later(op, form) if may_wait else self.edit_making(op)

    def _form_of(self, node: Node) -> Form:
        """Return a node's form, without looking at one that waits to be made."""
        together = self.together
        if together.node is node and together.form is not None:
            return together.form
        return node.form

    def _add_by_dict(
        self, form: Form, value: Mapping[str, object], props: Mapping[str, object] | None
    ) -> Node:
        made = self.add_by_props(form, value)
        return self.add_node(form, made.value, props) if props else made

    def add_by_props(
        self, form: Form, props: Mapping[str, object], try_: bool = False, *, may_wait: bool = False
    ) -> Node:
        """Return the node of a guid form that has some properties, made if there is none; see `constructors`."""
        return add_by_props(self, form, props, try_=try_, may_wait=may_wait)

    def find_by_props(self, form: Form, props: Mapping[str, object]) -> Node | None:
        """Return a node of a guid form that has some properties, or None."""
        return find_by_props(self, form, props)

    def delete_node(self, node: Node, *, force: bool = False) -> None:
        """Remove a node with its properties, tags, data and outward edges.

        Raises:
            CantDelNode: other nodes refer to it and `force` is not set.
        """
        if self.guard is not None:
            # All that goes with it counts.
            form = node.form.name
            for tag in sorted(node.tags):
                self._confirm_tag("del", tag)
            for name in node.props:
                if name != CREATED:
                    self.guard.confirm_edit(self, ("node", "prop", "del", form, name))
            self.guard.confirm_edit(self, ("node", "del", form))

        def op(editor: Editor) -> None:
            draft = self._draft(editor, node)
            if draft is not None:
                editor.delete(draft, force=force)

        self.edit(op, node)

    # Properties.

    def plan_prop(self, form: Form, name: str, value: object) -> PropPlan:
        """Plan the setting of a property; a mapping given for a guid stands for the node with such properties."""
        if type(value) is dict:
            prop = form.props.get(name)
            if prop is not None and "guid" in prop.type.chain and self.model.is_form(prop.type_name):
                target = self.model.require_form(prop.type_name)
                value = self.add_by_props(target, value).value
        return self.planner.set_prop(form, name, value)

    def set_prop(self, node: Node, name: str, value: object, *, may_wait: bool = False) -> bool:
        """Set a property; returns whether it changed. Intervals, minima and maxima merge.

        With `may_wait` it is not known yet whether it changes, and False comes back; see `edit_later`.

        Raises:
            NoSuchProp: the form has no such property.
            BadTypeValu: the value does not normalise.
            ReadOnlyProp: it is set, and may not change.
        """
        form = self._form_of(node)
        if self.guard is not None and name in form.props:
            self.guard.confirm_edit(self, ("node", "prop", "set", form.name, name))
        plan = self.plan_prop(self.planner.editable(form), name, value)

        def op(editor: Editor) -> bool:
            draft = self._draft(editor, node)
            return draft is not None and editor.apply_prop(draft, plan)

        if may_wait:
            self.edit_later(op, node)
            return False
        return self.edit(op, node)

    def pop_prop(self, node: Node, name: str, *, may_wait: bool = False) -> bool:
        """Remove a property; returns whether it was set.

        With `may_wait` it is not known yet whether it was, and False comes back; see `edit_later`.

        Raises:
            NoSuchProp: the form has no such property.
            ReadOnlyProp: it may not be removed.
        """
        form = self._form_of(node)
        prop = form.props.get(name)
        if prop is None:
            raise no_such_prop(self.model, form, name)
        if self.guard is not None:
            self.guard.confirm_edit(self, ("node", "prop", "del", form.name, name))

        def op(editor: Editor) -> bool:
            draft = self._draft(editor, node)
            return draft is not None and editor.pop_prop(draft, prop)

        if may_wait:
            self.edit_later(op, node)
            return False
        return self.edit(op, node)

    # Tags.

    def add_tag(self, node: Node, tag: object, interval: object = None, *, may_wait: bool = False) -> None:
        """Put a tag on, with those above it; an interval widens the one it has. For `may_wait` see `edit_later`.

        Raises:
            BadTypeValu: the tag or the interval does not normalise.
        """
        name = self.tag_name(tag)
        self._confirm_tag("add", name)
        span: Interval = None
        if interval is not None:
            span = self.interval(interval)

        def op(editor: Editor) -> None:
            draft = self._draft(editor, node)
            if draft is not None:
                editor.add_tag(draft, name, span)

        if may_wait:
            self.edit_later(op, node)
        else:
            self.edit(op, node)

    def del_tag(self, node: Node, tag: object) -> None:
        """Take a tag and those below it off."""
        name = self.tag_name(tag)
        self._confirm_tag("del", name)

        def op(editor: Editor) -> None:
            draft = self._draft(editor, node)
            if draft is not None:
                editor.del_tag(draft, name)

        self.edit(op, node)

    def _confirm_tag(self, change: str, name: str) -> None:
        if self.guard is not None:
            self.guard.confirm_edit(self, ("node", "tag", change, *name.split(".")))

    def tag_name(self, tag: object) -> str:
        """Return the normalised name of a tag, checked to be storable."""
        if type(tag) is str:
            known = self._tag_names.get(tag)
            if known is not None:
                return known
        plan = self.planner.node(self.tag_form, tag)
        name: str = plan.value
        self.graph.names.tags.check(name)
        if type(tag) is str:
            if len(self._tag_names) >= TAG_NAMES_MAX:
                self._tag_names.clear()
            self._tag_names[tag] = name
        return name

    def interval(self, interval: object) -> tuple[int, int]:
        """Return a normalised interval."""
        low, high = self.model.type("ival").norm(interval)
        return low, high

    def set_tag_prop(self, node: Node, tag: object, name: str, value: object) -> None:
        """Set a property of a tag, putting the tag on first.

        Raises:
            NoSuchTagProp: the model has no such tag property.
            BadTypeValu: the value does not normalise.
        """
        tag_prop = self.model.require_tagprop(name)
        tag_name = self.tag_name(tag)
        self._confirm_tag("add", tag_name)
        try:
            stored = tag_prop.type.norm(value)
        except BadTypeValu as error:
            error.setdefault("prop", f"#{tag_name}:{name}")
            raise
        tag_prop.type.encode(stored)

        def op(editor: Editor) -> None:
            draft = self._draft(editor, node)
            if draft is not None:
                editor.set_tag_prop(draft, tag_name, name, stored, tag_prop.type.merge)

        self.edit(op, node)

    def del_tag_prop(self, node: Node, tag: object, name: str) -> bool:
        """Remove a property of a tag; returns whether it was set."""
        self.model.require_tagprop(name)
        tag_name = self.tag_name(tag)
        self._confirm_tag("del", tag_name)

        def op(editor: Editor) -> bool:
            draft = self._draft(editor, node)
            return draft is not None and editor.del_tag_prop(draft, tag_name, name)

        return self.edit(op, node)

    # Light edges.

    def add_edge(self, node: Node, verb: str, to: Node) -> bool:
        """Make a light edge; returns whether it is new."""
        self.graph.names.verbs.check(verb)
        to.check_editable()
        if self.guard is not None:
            self.guard.confirm_edit(self, ("node", "edge", "add", verb))

        def op(editor: Editor) -> bool:
            draft = self._draft(editor, node)
            if draft is None or self.stack.node(editor.txn, to.key) is None:
                return False
            return editor.add_edge(draft, verb, to.key)

        return self.edit(op)

    def del_edge(self, node: Node, verb: str, to: Node) -> bool:
        """Remove a light edge; returns whether it was there."""
        to.check_editable()
        if self.guard is not None:
            self.guard.confirm_edit(self, ("node", "edge", "del", verb))

        def op(editor: Editor) -> bool:
            draft = self._draft(editor, node)
            return draft is not None and editor.del_edge(draft, verb, to.key)

        return self.edit(op)

    def close(self) -> None:
        """End the work. Edits not synced will be durable soon, unless that fails for all."""
        self._feeder = None
        super().close()


__all__ = ["GraphSession", "NoSuchProp", "NoSuchTagProp"]
