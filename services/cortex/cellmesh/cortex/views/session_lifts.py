"""Lifts: the nodes of a form, with a property, a tag, or a value that compares so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cellmesh.common.errors import BadTypeValu
from cellmesh.common.storage import ReadTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.catalog import index_name
from cellmesh.cortex.layers.reader import KeyRange, key_range
from cellmesh.cortex.layers.schema import BY_ARRAY, BY_PROP, BY_TAG, BY_TAG_PROP
from cellmesh.cortex.model.registry import Form, Prop
from cellmesh.cortex.model.scans import EVERYTHING, Filtered, IndexScan
from cellmesh.cortex.views.lifts import Lift, LiftedNodes
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.overlay import FORM, Held
from cellmesh.cortex.views.runtime import lift_runtime
from cellmesh.cortex.views.session_base import SessionBase


class LiftingSession(SessionBase):
    """A session that lifts."""

    def lift_form(self, form: Form, *, reverse: bool = False) -> Iterator[Node]:
        """Yield every node of a form, by value."""
        return self.lift_prop(form.value_prop, reverse=reverse)

    def lift_prop(self, prop: Prop, *, reverse: bool = False) -> Iterator[Node]:
        """Yield every node that has a property, by its value; a universal one over all forms."""
        return self._lift(prop, BY_PROP, (EVERYTHING,), reverse)

    def lift_value(
        self, prop: Prop, comparator: str, value: object, *, reverse: bool = False
    ) -> Iterator[Node]:
        """Yield the nodes whose property, or own value, compares so.

        Raises:
            NoSuchCmpr: the type cannot be lifted by the comparison.
            BadTypeValu: the value does not normalise.
        """
        return self._lift(prop, BY_PROP, self._scans(prop, prop.type.lift, comparator, value), reverse)

    def lift_array(
        self, prop: Prop, comparator: str, value: object, *, reverse: bool = False
    ) -> Iterator[Node]:
        """Yield the nodes with an array element that compares so, once for each such element.

        Raises:
            BadTypeValu: the property is no array, or the value does not normalise.
        """
        element = prop.type.element
        if element is None:
            raise BadTypeValu(f"{prop.full_name} is no array", name=prop.full_name)
        return self._lift(prop, BY_ARRAY, self._scans(prop, element.lift, comparator, value), reverse)

    def _scans(
        self, prop: Prop, lift: Callable[[str, object], tuple[IndexScan, ...]], comparator: str, value: object
    ) -> tuple[IndexScan, ...]:
        try:
            return lift(comparator, value)
        except BadTypeValu as error:
            error.setdefault("prop", prop.full_name)
            raise

    def _lift(self, prop: Prop, db: Any, scans: Sequence[IndexScan], reverse: bool) -> Iterator[Node]:
        lifts = self.read(lambda txn: self._lifts(txn, prop, db, scans))
        return LiftedNodes(self, lifts, reverse)

    def _lifts(self, txn: ReadTxn, prop: Prop, db: Any, scans: Sequence[IndexScan]) -> list[Lift]:
        number = self.graph.names.props.find(txn, index_name(prop))
        if number is None:
            return []
        form_key = None
        if prop.is_universal and prop.form is not None:
            form_number = self.graph.names.forms.find(txn, prop.form.name)
            if form_number is None:
                return []
            form_key = keys.pack_form(form_number)
        held = FORM if prop.is_form else Held("prop", prop.name)
        return [
            Lift(
                tuple(key_range(db, keys.prop_prefix(layer, number), scan) for layer in self.stack.layers),
                held,
                form_key,
                None if db is BY_ARRAY else self._acceptor(prop, scan),
                self._element_acceptor(prop, scan) if db is BY_ARRAY else None,
            )
            for scan in scans
        ]

    def _acceptor(self, prop: Prop, scan: IndexScan) -> Callable[[Node], bool] | None:
        if not isinstance(scan, Filtered):
            return None
        predicate, name = scan.predicate, prop.name
        if prop.is_form:
            return lambda node: predicate(node.value)

        def one_value(node: Node) -> bool:
            found = node.get(name)
            return found is not None and predicate(found)

        return one_value

    def _element_acceptor(self, prop: Prop, scan: IndexScan) -> Callable[[Node, bytes], bool] | None:
        element = prop.type.element
        if not isinstance(scan, Filtered) or element is None:
            return None
        predicate, encode, name = scan.predicate, element.encode, prop.name

        def accepts(node: Node, key: bytes) -> bool:
            encoded = key[keys.NUMBER_SIZE :]
            found = node.value if prop.is_form else node.get(name)
            return any(encode(item) == encoded and predicate(item) for item in found or ())

        return accepts

    def lift_tag(
        self,
        tag: str,
        *,
        form: Form | None = None,
        comparator: str | None = None,
        value: object = None,
        reverse: bool = False,
    ) -> Iterator[Node]:
        """Yield the nodes that have a tag, of one form or of all; those whose interval compares so.

        Raises:
            NoSuchCmpr, BadTypeValu: the comparison or its value does not fit an interval.
        """
        accepts = None
        if comparator is not None:
            test = self.model.type("ival").comparator("=" if comparator == "?=" else comparator, value)

            def accepts(node: Node) -> bool:
                interval = node.tag(tag)
                return interval is not None and test(interval)

        def prepare(txn: ReadTxn) -> list[Lift]:
            number = self.graph.names.tags.find(txn, tag)
            if number is None:
                return []
            suffix = b""
            if form is not None:
                form_number = self.graph.names.forms.find(txn, form.name)
                if form_number is None:
                    return []
                suffix = keys.pack_form(form_number)
            prefixes = [keys.tag_prefix(layer, number) + suffix for layer in self.stack.layers]
            ranges = tuple(KeyRange(BY_TAG, prefix, keys.end_of(prefix)) for prefix in prefixes)
            return [Lift(ranges, Held("tag", tag), None, accepts)]

        return LiftedNodes(self, self.read(prepare), reverse)

    def lift_tag_prop(
        self,
        tag: str,
        name: str,
        *,
        form: Form | None = None,
        comparator: str | None = None,
        value: object = None,
        reverse: bool = False,
    ) -> Iterator[Node]:
        """Yield the nodes whose tag has a property, or one that compares so, by its value.

        Raises:
            NoSuchTagProp: the model has no such tag property.
        """
        tag_prop = self.model.require_tagprop(name)
        scans: tuple[IndexScan, ...] = (EVERYTHING,)
        if comparator is not None:
            scans = tag_prop.type.lift(comparator, value)

        def acceptor(scan: IndexScan) -> Callable[[Node], bool] | None:
            if not isinstance(scan, Filtered):
                return None
            predicate = scan.predicate

            def accepts(node: Node) -> bool:
                found = node.tag_prop(tag, name)
                return found is not None and predicate(found)

            return accepts

        def prepare(txn: ReadTxn) -> list[Lift]:
            names = self.graph.names
            tag_number, number = names.tags.find(txn, tag), names.tag_props.find(txn, name)
            if tag_number is None or number is None:
                return []
            form_key = None
            if form is not None:
                form_number = names.forms.find(txn, form.name)
                if form_number is None:
                    return []
                form_key = keys.pack_form(form_number)
            prefixes = [keys.tag_prop_prefix(layer, tag_number, number) for layer in self.stack.layers]
            return [
                Lift(
                    tuple(key_range(BY_TAG_PROP, prefix, scan) for prefix in prefixes),
                    Held("tagprop", tag, name),
                    form_key,
                    acceptor(scan),
                )
                for scan in scans
            ]

        return LiftedNodes(self, self.read(prepare), reverse)

    def lift_runtime(
        self,
        form: Form,
        prop: Prop | None = None,
        comparator: str | None = None,
        value: object = None,
        *,
        reverse: bool = False,
    ) -> Iterator[Node]:
        """Yield the nodes of a runtime form, which exist in no layer."""
        found = lift_runtime(self, form, prop, comparator, value)
        return iter(reversed(list(found))) if reverse else found
