"""Edits of tags and of their properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cellmesh.cortex.values.edits import (
    MISSING,
    Interval,
    TagPropDelete,
    TagPropSet,
)
from cellmesh.cortex.values.wire import decode_value
from cellmesh.cortex.views.draft import Draft
from cellmesh.cortex.views.editor_base import EditorBase

REDIRECTS_MAX: Final = 64


class TagEditor(EditorBase):
    """An editor of tags."""

    def add_tag(self, draft: Draft, tag: str, interval: Interval) -> str:
        """Put a tag with those above it on; returns its name after redirects. Intervals widen."""
        tag = self.redirected(tag)
        words = tag.split(".")
        for depth in range(1, len(words)):
            above = ".".join(words[:depth])
            if not draft.has_tag(above):
                draft.set_tag(above, None)
        old = draft.tag(tag)
        if old is MISSING:
            if self.graph.rules.tags is not None:
                self.graph.rules.tags.check(tag)
            self.node(self.session.planner.stored_node(self.session.tag_form, tag))
            draft.set_tag(tag, interval)
        elif interval is not None:
            wide = interval if old is None else (min(old[0], interval[0]), max(old[1], interval[1]))
            if wide != old:
                draft.set_tag(tag, wide)
        return tag

    def redirected(self, tag: str) -> str:
        """Return what a tag is called now: `:isnow` of a syn:tag redirects it and the tags below."""
        if not self.session.has_redirects(self.txn):
            return tag
        seen = {tag}
        for _ in range(REDIRECTS_MAX):
            fresh = self._redirect(tag)
            if fresh is None or fresh in seen:
                return tag
            seen.add(fresh)
            tag = fresh
        return tag

    def _redirect(self, tag: str) -> str | None:
        words = tag.split(".")
        for depth in range(len(words), 0, -1):
            draft = self.existing("syn:tag", ".".join(words[:depth]))
            target = draft.get("isnow") if draft is not None else None
            if target:
                return ".".join((target, *words[depth:]))
        return None

    def del_tag(self, draft: Draft, tag: str) -> bool:
        """Take a tag and those below it off; returns whether there was any."""
        below = tag + "."
        known = draft.tag_names()
        for record in (draft.top, draft.below):
            if record is not None and record.tag_props:
                # Properties of a tag that a layer in between has taken off.
                known |= record.tag_props.keys()
        names = sorted((name for name in known if name == tag or name.startswith(below)), reverse=True)
        for name in names:
            draft.drop_tag(name)
        if names and self.graph.rules.tags is not None:
            for above in self.graph.rules.tags.pruned(tag):
                if draft.has_tag(above) and not any(
                    name.startswith(above + ".") for name in draft.tag_names()
                ):
                    draft.drop_tag(above)
        return bool(names)

    def set_tag_prop(
        self, draft: Draft, tag: str, name: str, value: Any, merge: Callable[[Any, Any], Any]
    ) -> None:
        """Set a property of a tag, putting the tag on first."""
        tag = self.add_tag(draft, tag, None)
        old = self._tag_prop(draft, tag, name)
        if old is not None:
            value = merge(old, value)
            if value == old:
                return
        in_top = draft.top is not None and name in draft.top.tag_props.get(tag, ())
        draft.edits.append(TagPropSet(tag, name, value, old if in_top else MISSING))

    def del_tag_prop(self, draft: Draft, tag: str, name: str) -> bool:
        """Remove a property of a tag; returns whether it was set."""
        if self._tag_prop(draft, tag, name) is None:
            return False
        top, below = draft.top, draft.below
        if top is not None and name in top.tag_props.get(tag, ()):
            draft.edits.append(TagPropDelete(tag, name, decode_value(top.tag_props[tag][name])))
        if below is not None and name in below.tag_props.get(tag, ()):
            draft.edits.append(TagPropDelete(tag, name))
        return True

    def _tag_prop(self, draft: Draft, tag: str, name: str) -> Any:
        for edit in reversed(draft.edits):
            if isinstance(edit, TagPropSet) and (edit.tag, edit.name) == (tag, name):
                return edit.value
        for record in (draft.top, draft.below):
            if record is not None:
                found = record.tag_props.get(tag, {}).get(name)
                if found is not None:
                    return decode_value(found)
                if (tag, name) in record.tag_prop_masks:
                    return None
        return None
