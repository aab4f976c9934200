"""One op's intended edits. What is there is read, rules are kept, NodeEdits come out, then they are applied.

An editor lives inside one write op. Its first half only reads, so that a broken rule leaves nothing behind;
`commit` is its second half. Nodes it works on are drafts: what the layers hold, with the edits on top.
"""

from __future__ import annotations

from typing import Any

from cellmesh.common.errors import ReadOnlyProp
from cellmesh.cortex.model.registry import Prop
from cellmesh.cortex.views.draft import Draft
from cellmesh.cortex.views.editor_base import CREATED
from cellmesh.cortex.views.editor_links import LinkEditor
from cellmesh.cortex.views.editor_tags import TagEditor
from cellmesh.cortex.views.hooks import PROP_CHANGED
from cellmesh.cortex.views.plans import PropPlan


class Editor(TagEditor, LinkEditor):
    """The edits of one op."""

    # Properties.

    def apply_prop(self, draft: Draft, plan: PropPlan, *, only_new: bool = False) -> bool:
        """Set a property with what it implies; returns whether it changed.

        Raises:
            ReadOnlyProp: it has another value already, and may not change.
        """
        prop, value = plan.prop, plan.value
        old = draft.get(prop.name)
        if old is not None:
            if only_new:
                return False
            value = prop.type.merge(old, value)
            if value == old and type(value) is type(old):
                return False
            if prop.read_only:
                raise read_only(draft.form.name, plan)
        if self.graph.rules.locks is not None:
            self.graph.rules.locks.rules.check(prop)
        for implied in plan.implied:
            self.node(implied)
        draft.set(prop.name, value)
        for sub, sub_value in plan.subs:
            self.put(draft, sub.name, sub_value)
        changed = PROP_CHANGED.get((draft.form.name, prop.name))
        if changed is not None:
            changed(self, draft, prop)
        return True

    def put(self, draft: Draft, name: str, value: Any) -> None:
        """Set a property, if it differs, without asking whether it may be."""
        if draft.get(name) != value:
            draft.set(name, value)

    def drop(self, draft: Draft, name: str) -> None:
        """Remove a property, if it is set, without asking whether it may be."""
        if draft.get(name) is not None:
            draft.drop(name)

    def pop_prop(self, draft: Draft, prop: Prop) -> bool:
        """Remove a property; returns whether it was set.

        Raises:
            ReadOnlyProp: it may not be removed.
        """
        if prop.read_only:
            raise ReadOnlyProp(f"{prop.full_name} cannot be removed", form=draft.form.name, prop=prop.name)
        if draft.get(prop.name) is None:
            return False
        draft.drop(prop.name)
        return True


def read_only(form: str, plan: PropPlan) -> ReadOnlyProp:
    """Make the error for a property that has another value and may not change."""
    return ReadOnlyProp(
        f"{plan.prop.full_name} cannot be changed", form=form, prop=plan.prop.name, valu=plan.value
    )


__all__ = ["CREATED", "Draft", "Editor", "read_only"]
