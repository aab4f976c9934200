"""What edits from elsewhere must be, so that nothing fails once writing has begun, and only what a type stores is stored.

A layer holds the normal form of each value alone: buids, indexes and comparisons rest on it. Edits that were read from a layer
have such values, and it is enough that these can be indexed here. Those of any other origin are normalised, and refused
if that gives something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadTypeValu, CellError, NoSuchForm, NoSuchProp, NoSuchTagProp
from cellmesh.cortex.values.edits import (
    NodeAdd,
    NodeDataDelete,
    NodeDataSet,
    PropSet,
    TagPropSet,
    TagSet,
)
from cellmesh.cortex.values.ids import buid_of
from cellmesh.cortex.values.shared import SharedEdge, SharedEdit, SharedNode
from cellmesh.cortex.values.wire import encode_value

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form
    from cellmesh.cortex.model.types.base import Type
    from cellmesh.cortex.views.graph import Graph

SHOWN_SIZE: Final = 200

_WRONG: Final = (TypeError, ValueError, AttributeError, OverflowError, LookupError)


def check_edits(graph: Graph, nodes: Sequence[SharedNode], *, is_stored: bool) -> None:
    """Make certain that edits can be applied here.

    Args:
        is_stored: Whether they were read from a layer, so that values are normalised already.

    Raises:
        NoSuchForm, NoSuchProp, NoSuchTagProp: the model here does not have it.
        BadTypeValu: a value does not normalise, is not its normal form, or cannot be indexed.
        BadName: a tag, verb or name of data cannot be stored.

        Each with `node`, the place of the node among all, from 0.
    """
    check = _Check(graph, is_stored)
    for index, node in enumerate(nodes):
        try:
            check.node(node)
        except CellError as error:
            error.setdefault("node", index)
            raise


class _Check:
    """Checks the edits of one call."""

    def __init__(self, graph: Graph, is_stored: bool) -> None:
        self.graph = graph
        self.model = graph.model
        self.is_stored = is_stored
        self._tag = graph.model.form_type("syn:tag")
        self._span = graph.model.type("ival")
        # Tags and intervals that were found to be right: most come again.
        self._tags: set[str] = set()
        self._spans: set[tuple[int, int]] = set()

    def node(self, node: SharedNode) -> None:
        form = self._form(node.form)
        try:
            self._node_value(form, node)
        except (BadTypeValu, NoSuchForm) as error:
            error.setdefault("form", form.name)
            raise
        for edit in node.edits:
            try:
                self._edit(form, edit)
            except (BadTypeValu, NoSuchForm) as error:
                error.setdefault("form", form.name)
                if isinstance(edit, PropSet):
                    error.setdefault("prop", edit.name)
                elif isinstance(edit, TagPropSet):
                    error.setdefault("prop", f"#{edit.tag}:{edit.name}")
                elif isinstance(edit, TagSet):
                    error.setdefault("prop", f"#{edit.name}")
                elif isinstance(edit, SharedEdge):
                    error.setdefault("prop", f"-({edit.verb})>")
                raise

    def _form(self, name: str) -> Form:
        form = self.model.form(name)
        if form is None or form.is_runtime:
            raise NoSuchForm("no form of this name", name=name)
        return form

    def _node_value(self, form: Form, node: SharedNode) -> None:
        try:
            self._value(form.name, form.type, node.value)
        except (BadTypeValu, NoSuchForm):
            # A type may have become stricter. What is here already can be edited, to put it right among others.
            if NodeAdd() in node.edits or not self._is_known(node):
                raise
            _encodable(form.name, form.type.encode, node.value)

    def _is_known(self, node: SharedNode) -> bool:
        try:
            buid = buid_of(node.form, node.value)
        except CellError:
            return False
        with self.graph.slab.view() as txn:
            return self.graph.nids.find(txn, buid) is not None

    def _edit(self, form: Form, edit: SharedEdit) -> None:
        names = self.graph.names
        match edit:
            case PropSet(name, value):
                prop = form.props.get(name)
                if prop is None:
                    raise NoSuchProp("no property of this name", name=f"{form.name}:{name}")
                self._value(prop.full_name, prop.type, value)
            case TagSet(name, interval):
                self._tag_name(name)
                if interval is not None:
                    self._interval(name, interval)
            case TagPropSet(tag, name, value):
                self._tag_name(tag)
                tag_prop = self.model.tagprop(name)
                if tag_prop is None:
                    raise NoSuchTagProp("no tag property of this name", name=name)
                self._value(f"#{tag}:{name}", tag_prop.type, value)
            case SharedEdge(verb):
                names.verbs.check(verb)
                if edit.form:
                    target = self.model.form(edit.form)
                    if target is None:
                        raise NoSuchForm("no form of this name", name=edit.form)
                    if edit.is_add and not self.is_stored:
                        self._value(edit.form, target.type, edit.value)
            case NodeDataSet(name) | NodeDataDelete(name):
                names.data.check(name)
            case _:
                pass

    def _tag_name(self, name: str) -> None:
        if name in self._tags:
            return
        self.graph.names.tags.check(name)
        if not self.is_stored:
            self._value(f"#{name}", self._tag, name)
        self._tags.add(name)

    def _interval(self, tag: str, interval: tuple[int, int]) -> None:
        if not self.is_stored and interval not in self._spans:
            self._value(f"#{tag}", self._span, interval)
            self._spans.add(interval)

    def _value(self, name: str, type_: Type, value: Any) -> None:
        if self.is_stored:
            _encodable(name, type_.encode, value)
            element = type_.element
            if element is not None:
                for item in value if isinstance(value, list | tuple) else ():
                    _encodable(name, element.encode, item)
            return
        try:
            normal = type_.normalize(value).value
            # What is too large for an index is told of here.
            type_.encode(normal)
            is_same = _is_same(normal, value)
        except BadTypeValu as error:
            error.setdefault("name", name)
            raise
        except _WRONG as error:
            raise _bad(name, value, "the value is none that its type stores") from error
        if not is_same:
            raise _bad(name, value, f"the value is not normalised, its type stores {normal!r:.{SHOWN_SIZE}}")


def _is_same(normal: object, value: object) -> bool:
    """Whether two values are stored as the same bytes."""
    kind = type(normal)
    if kind is str or kind is int:
        return type(value) is kind and normal == value
    return encode_value(normal) == encode_value(value)


def _encodable(name: str, encode: Any, value: object) -> None:
    try:
        encode(value)
    except BadTypeValu as error:
        error.setdefault("name", name)
        raise
    except _WRONG as error:
        raise _bad(name, value, "the value is none that its type stores") from error


def _bad(name: str, value: object, reason: str) -> BadTypeValu:
    return BadTypeValu(reason, name=name, valu=repr(value)[:SHOWN_SIZE])
