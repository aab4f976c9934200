"""A node being edited: what the layers hold, with the edits on top."""

from __future__ import annotations

from typing import Any, Final

from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.records import Record, parse_record
from cellmesh.cortex.model.registry import Form
from cellmesh.cortex.values.edits import (
    MISSING,
    Interval,
    NodeEdit,
    PropDelete,
    PropSet,
    TagDelete,
    TagPropDelete,
    TagSet,
)
from cellmesh.cortex.values.wire import decode_interval, decode_value

_UNSET: Final = object()


class Draft:
    """A node being edited.

    Attributes:
        nid, key: Its number, and that in 8 bytes.
        form, value: What it is.
        below: What the layers below show of it.
        is_new: Whether the view had no such node.
        edits: The edits so far.
    """

    __slots__ = (
        "_props",
        "_stored",
        "_tags",
        "_top",
        "below",
        "edits",
        "form",
        "is_new",
        "key",
        "nid",
        "value",
    )

    def __init__(self, nid: int, form: Form, value: Any, top: Record | None, below: Record | None) -> None:
        self.nid = nid
        self.key = keys.pack_nid(nid)
        self.form = form
        self.value = value
        self._top = top
        self._stored: bytes | None = None
        self.below = None if top is not None and top.is_mask else below
        self.is_new = not ((top is not None and top.is_added) or self.below is not None)
        self.edits: list[NodeEdit] = []
        self._props: dict[str, Any] = {}
        self._tags: dict[str, Any] = {}

    @classmethod
    def of_stored(cls, nid: int, form: Form, value: Any, stored: bytes) -> Draft:
        """A node of a view with one layer, by what that has stored; taken apart when something asks for it."""
        draft = cls(nid, form, value, None, None)
        draft._stored = stored
        draft.is_new = False
        return draft

    @property
    def top(self) -> Record | None:
        """What the layer written to says of it, before the edits."""
        if self._stored is not None:
            self._top = parse_record(self._stored)
            self._stored = None
        return self._top

    def get(self, name: str) -> Any:
        """Return a property as it is after the edits so far, or None."""
        value = self._props.get(name, _UNSET)
        if value is not _UNSET:
            return value
        encoded = self.encoded(name)
        return None if encoded is None else decode_value(encoded)

    def encoded(self, name: str) -> bytes | None:
        """Return a property as it was before the edits."""
        top, below = self.top, self.below
        if top is not None:
            found = top.props.get(name)
            if found is not None or name in top.prop_masks:
                return found
        return below.props.get(name) if below is not None else None

    def has_tag(self, name: str) -> bool:
        """Whether it has a tag after the edits so far."""
        return self.tag(name) is not MISSING

    def tag(self, name: str) -> Any:
        """Return a tag's interval after the edits so far, None without one; MISSING without the tag."""
        found = self._tags.get(name, _UNSET)
        if found is not _UNSET:
            return found
        for record in (self.top, self.below):
            if record is not None:
                if name in record.tags:
                    encoded = record.tags[name]
                    return decode_interval(encoded[2:]) if encoded else None
                if name in record.tag_masks:
                    break
        return MISSING

    def tag_names(self) -> set[str]:
        """The tags it has after the edits so far."""
        top = self.top
        names = set(top.tags) if top is not None else set()
        if self.below is not None:
            masks = top.tag_masks if top is not None else set()
            names |= self.below.tags.keys() - masks
        for name, interval in self._tags.items():
            if interval is MISSING:
                names.discard(name)
            else:
                names.add(name)
        return names

    def set(self, name: str, value: Any) -> None:
        """Add the edit that sets a property."""
        old: Any = MISSING
        top = self.top
        if name in self._props:
            old = self._props[name] if self._props[name] is not None else MISSING
        elif top is not None and name in top.props:
            old = decode_value(top.props[name])
        self.edits.append(PropSet(name, value, old))
        self._props[name] = value

    def drop(self, name: str) -> None:
        """Add the edits that remove a property from the view."""
        pending = self._props.get(name)
        top = self.top
        if pending is not None:
            self.edits.append(PropDelete(name, pending))
        elif top is not None and name in top.props:
            self.edits.append(PropDelete(name, decode_value(top.props[name])))
        if (
            self.below is not None
            and name in self.below.props
            and not (top and name in top.prop_masks and name not in self._props)
        ):
            self.edits.append(PropDelete(name))
        self._props[name] = None

    def set_tag(self, name: str, interval: Interval) -> None:
        """Add the edit that puts a tag on, or changes its interval."""
        old = self.tag(name)
        top = self.top
        in_top = name in self._tags or (top is not None and name in top.tags)
        if old is MISSING or not in_top:
            self.edits.append(TagSet(name, interval))
        else:
            self.edits.append(TagSet(name, interval, True, old))
        self._tags[name] = interval

    def drop_tag(self, name: str) -> None:
        """Add the edits that take a tag, with its properties, off the view."""
        top, below = self.top, self.below
        for record in (top, below):
            for prop, value in (record.tag_props.get(name, {}) if record is not None else {}).items():
                if record is top:
                    self.edits.append(TagPropDelete(name, prop, decode_value(value)))
                elif top is None or (name, prop) not in top.tag_prop_masks:
                    self.edits.append(TagPropDelete(name, prop))
        pending = self._tags.get(name, MISSING)
        if pending is not MISSING:
            self.edits.append(TagDelete(name, pending))
        elif top is not None and name in top.tags:
            self.edits.append(TagDelete(name, self.tag(name)))
        if below is not None and name in below.tags and not (top is not None and name in top.tag_masks):
            self.edits.append(TagDelete(name))
        self._tags[name] = MISSING
