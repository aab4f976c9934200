"""Counts, from what is kept with the edits where there is one layer."""

from __future__ import annotations

from cellmesh.common.storage import ReadTxn
from cellmesh.cortex.layers import keys, reader
from cellmesh.cortex.layers.catalog import index_name
from cellmesh.cortex.layers.reader import KeyRange
from cellmesh.cortex.layers.schema import BY_PROP, BY_TAG, COUNTS
from cellmesh.cortex.layers.stats import read_count, sum_counts
from cellmesh.cortex.model.registry import Form, Prop
from cellmesh.cortex.model.scans import Filtered
from cellmesh.cortex.views.session_lifts import LiftingSession


class CountingSession(LiftingSession):
    """A session that counts."""

    def count_form(self, form: Form) -> int:
        """Return how many nodes a form has."""
        return self.count_prop(form.value_prop)

    def has_had(self, form: Form) -> bool:
        """Whether a layer of the view has, or had, any node of a form."""

        def read(txn: ReadTxn) -> bool:
            names = self.graph.names
            number = names.props.find(txn, index_name(form.value_prop))
            form_number = names.forms.find(txn, form.name)
            if number is None or form_number is None:
                return False
            return any(
                txn.has(COUNTS, keys.count_key(layer, number, form_number)) for layer in self.stack.layers
            )

        return self.read(read)

    def count_prop(self, prop: Prop) -> int:
        """Return how many nodes have a property."""
        if not self.stack.is_single:
            return sum(1 for _ in self.lift_prop(prop))

        def read(txn: ReadTxn) -> int:
            names = self.graph.names
            number = names.props.find(txn, index_name(prop))
            if number is None:
                return 0
            if prop.form is None:
                return sum_counts(txn, keys.prop_prefix(self.stack.top, number))
            form_number = names.forms.find(txn, prop.form.name)
            return (
                0
                if form_number is None
                else read_count(txn, keys.count_key(self.stack.top, number, form_number))
            )

        return self.read(read)

    def count_value(self, prop: Prop, comparator: str, value: object) -> int | None:
        """Return how many nodes compare so, or None if the index alone cannot tell.

        Raises:
            NoSuchCmpr, BadTypeValu: as `lift_value`.
        """
        scans = self._scans(prop, prop.type.lift, comparator, value)
        if any(isinstance(scan, Filtered) for scan in scans):
            return None
        if not self.stack.is_single:
            return sum(1 for _ in self._lift(prop, BY_PROP, scans, False))

        def read(txn: ReadTxn) -> int:
            total = 0
            for lift in self._lifts(txn, prop, BY_PROP, scans):
                numbers = None if lift.form_key is None else frozenset((keys.unpack_form(lift.form_key),))
                total += reader.count_keys(txn, lift.ranges[0], numbers)
            return total

        return self.read(read)

    def count_tag(self, tag: str, form: Form | None = None) -> int:
        """Return how many nodes have a tag, of one form or of all."""
        if not self.stack.is_single:
            return sum(1 for _ in self.lift_tag(tag, form=form))

        def read(txn: ReadTxn) -> int:
            number = self.graph.names.tags.find(txn, tag)
            if number is None:
                return 0
            prefix = keys.tag_prefix(self.stack.top, number)
            if form is not None:
                form_number = self.graph.names.forms.find(txn, form.name)
                if form_number is None:
                    return 0
                prefix += keys.pack_form(form_number)
            return reader.count_range(txn, KeyRange(BY_TAG, prefix, keys.end_of(prefix)))

        return self.read(read)
