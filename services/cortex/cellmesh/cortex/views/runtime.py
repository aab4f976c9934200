"""Nodes that exist in no layer: those of runtime forms, which describe the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import BadTypeValu, IsRuntForm
from cellmesh.cortex.layers.records import Record, node_head
from cellmesh.cortex.model.registry import Form, Prop
from cellmesh.cortex.model.runtime import RuntimeNode, runtime_node
from cellmesh.cortex.values.ids import buid_of
from cellmesh.cortex.values.wire import encode_value
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.views.session_base import SessionBase


class ModelNode(Node):
    """A node of a runtime form. It has no nid (0), no tags, no edges, and cannot be edited."""

    __slots__ = ("_form",)

    def __init__(self, session: SessionBase, form: Form, made: RuntimeNode) -> None:
        buid = buid_of(made.form, made.value)
        record = Record(node_head(made.form, made.value, buid))
        record.props = {name: encode_value(value) for name, value in made.props.items() if value is not None}
        super().__init__(session, buid, record.node_bytes(), session.generation)
        self._form = form

    @property
    def nid(self) -> int:
        return 0

    @property
    def form(self) -> Form:
        return self._form

    def check_editable(self) -> None:
        raise IsRuntForm(f"nodes of {self._form.name} cannot be edited", form=self._form.name)

    def _fresh(self) -> None:
        """It changes with the model alone, not with edits."""


def lift_runtime(
    session: SessionBase, form: Form, prop: Prop | None, comparator: str | None, value: object
) -> Iterator[Node]:
    """Yield the nodes of a runtime form, all or those whose value or property compares so."""
    model = session.model
    if prop is not None and prop.is_form:
        prop = None
    if comparator is None:
        for made in model.runtime_nodes(form.name):
            if prop is None or made.props.get(prop.name) is not None:
                yield ModelNode(session, form, made)
        return
    type_ = form.type if prop is None else prop.type
    if prop is None and comparator in ("=", "?="):
        found = runtime_node(model, form.name, str(type_.norm(value)))
        if found is not None:
            yield ModelNode(session, form, found)
        return
    # A lift may try, which is for equality; a filter may not.
    test = type_.comparator("=" if comparator == "?=" else comparator, value)
    for made in model.runtime_nodes(form.name):
        held: Any = made.value if prop is None else made.props.get(prop.name)
        try:
            if held is not None and test(held):
                yield ModelNode(session, form, made)
        except BadTypeValu:
            continue
