"""Fresh nodes made ready outside of the write transaction: record, log entry, index keys.

Nothing here depends on the node's nid, so that an op has only lists to append to. What repeats (a property's
value, a tag) is kept as fragments over the batches of a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers.bulk import FormParts, Fragments, NumberOf, PropFragment, TagFragment
from cellmesh.cortex.layers.catalog import IndexCatalog
from cellmesh.cortex.layers.names import Names, NameTables
from cellmesh.cortex.layers.records import node_head
from cellmesh.cortex.model.registry import Form, Model
from cellmesh.cortex.values.changes import NODE_ADD
from cellmesh.cortex.values.edits import Interval
from cellmesh.cortex.views.editor import CREATED
from cellmesh.cortex.views.plans import NodePlan, PropPlan, Shape

KEPT_COUNT_MAX: Final = 50_000


class Unnumbered(Exception):
    """A name has no number yet, and outside of the write transaction none can be given out."""


def finder(txn: ReadTxn) -> NumberOf:
    """Return what looks numbers up.

    It raises Unnumbered where there is none.
    """

    def number_of(names: Names, name: str) -> int:
        number = names.find(txn, name)
        if number is None:
            raise Unnumbered(name)
        return number

    return number_of


def ensurer(txn: WriteTxn) -> NumberOf:
    """Return what looks numbers up and gives new ones out."""
    return lambda names, name: names.ensure(txn, name)


class TagGroup:
    """The tags of a node, sorted by name, with what they put into its record and the log.

    Attributes:
        fragments: Each of them.
        entries, edits: Theirs, joined.
    """

    __slots__ = ("edits", "entries", "fragments")

    def __init__(self, fragments: Iterable[TagFragment]) -> None:
        self.fragments = tuple(fragments)
        self.entries = b"".join([fragment.entry for fragment in self.fragments])
        self.edits = b"".join([fragment.edit for fragment in self.fragments])


NO_TAGS: Final = TagGroup(())


class Prepared:
    """A fresh node, ready to be written under any nid.

    Attributes:
        plan: What it is.
        form: What all nodes of its form have in common.
        props: Fragments of its properties, by name.
        fragments: Fragments of its properties, sorted by name.
        tags: Its tags.
        record: Its record.
        edits: Its NodeEdits without the nid.
        edit_count: How many edits they hold.
        own_key: The key of its value in `by_prop`.
        implied: Nodes that shall exist.
    """

    __slots__ = ("edit_count", "edits", "form", "fragments", "implied", "own_key", "plan", "props", "record", "tags")  # fmt: skip

    def __init__(
        self,
        plan: NodePlan,
        form: FormParts,
        props: dict[str, PropFragment],
        tags: TagGroup,
        implied: Sequence[NodePlan],
    ) -> None:
        self.plan = plan
        self.form = form
        self.props = props
        self.fragments = fragments = [props[name] for name in sorted(props)]
        self.tags = tags
        self.implied = implied
        head = node_head(form.name, plan.value, plan.buid)
        # Form and value are fields 2 and 3 of NodeEdits, 1 and 2 of a record's head.
        end = 2 + head[1]
        start = b"\x12" + head[1:end] + b"\x1a" + head[end + 1 : -34] + NODE_ADD
        self.record = b"".join([head, *[fragment.entry for fragment in fragments], tags.entries])
        self.edits = b"".join([start, *[fragment.edit for fragment in fragments], tags.edits])
        self.edit_count = 1 + len(fragments) + len(tags.fragments)
        self.own_key = form.prefix + plan.encoded


class FeedCache:
    """What repeats in the feeds of one layer. Used by one session at a time."""

    def __init__(self, layer: bytes, catalog: IndexCatalog, names: NameTables) -> None:
        self.fragments = Fragments(layer, catalog, names)
        self.props: dict[tuple[str, str, Any], PropFragment] = {}
        self.plans: dict[PropPlan, tuple[PropFragment, ...]] = {}
        self.tags: dict[tuple[str, str, Interval], TagGroup] = {}
        self.shapes: dict[Shape, dict[str, PropFragment]] = {}
        # What records say, by its bytes; see `feed_wire`.
        self.wire_forms: dict[bytes, Form] = {}
        self.wire_props: dict[tuple[Form, bytes], PropPlan] = {}
        self.wire_tags: dict[bytes, tuple[str, Interval]] = {}
        self._version = -1

    def renew(self, model: Model) -> None:
        """Forget what the model no longer says, and bound what is kept."""
        if self._version != model.version:
            self._version = model.version
            self.fragments.clear()
            self._forget()
        if max(len(kept) for kept in self._all()) > KEPT_COUNT_MAX:
            self._forget()

    def _all(self) -> tuple[dict[Any, Any], ...]:
        return (
            self.props,
            self.plans,
            self.tags,
            self.shapes,
            self.wire_forms,
            self.wire_props,
            self.wire_tags,
        )

    def _forget(self) -> None:
        for kept in self._all():
            kept.clear()


class Preparer:
    """Makes the nodes of one batch ready.

    Args:
        cache: What repeats.
        now_ms: When the nodes are made.
    """

    def __init__(self, cache: FeedCache, now_ms: int) -> None:
        self.cache = cache
        self.now_ms = now_ms
        self._created: dict[str, PropFragment] = {}

    def prepare(
        self,
        number_of: NumberOf,
        plan: NodePlan,
        base: Mapping[str, Any],
        given: Iterable[PropPlan] = (),
        tags: Sequence[tuple[str, Interval]] = (),
        implied: Sequence[NodePlan] = (),
    ) -> Prepared:
        """Make one node ready.

        Args:
            number_of: What gives the numbers of names.
            plan: The node.
            base: The properties it starts with.
            given: Properties set on it.
            tags: Tags put on it, with those above them.
            implied: Further nodes that shall exist.

        Raises:
            Unnumbered: by `number_of`.
        """
        form = self.cache.fragments.form(number_of, plan.form)
        created = self._created.get(form.name)
        if created is None:
            created = self._created[form.name] = self.cache.fragments.prop(
                number_of, form, CREATED, self.now_ms
            )
        shape = plan.shape
        if shape is not None and base is shape.props:
            shared = self.cache.shapes.get(shape)
            if shared is None:
                shared = self.cache.shapes[shape] = {
                    name: self._prop(number_of, form, name, value) for name, value in base.items()
                }
            props = shared.copy()
        else:
            props = {name: self._prop(number_of, form, name, value) for name, value in base.items()}
        if CREATED not in props:
            props[CREATED] = created
        needed = [*plan.implied]
        for prop_plan in given:
            held = props.get(prop_plan.prop.name)
            if held is not None and held.value == prop_plan.value:
                continue
            for fragment in self._plan(number_of, form, prop_plan):
                props[fragment.name] = fragment
            needed += prop_plan.implied
        needed += implied
        return Prepared(plan, form, props, self._tags(number_of, form, tags), needed)

    def _tags(self, number_of: NumberOf, form: FormParts, tags: Sequence[tuple[str, Interval]]) -> TagGroup:
        if not tags:
            return NO_TAGS
        if len(tags) == 1:
            return self._tag(number_of, form, *tags[0])
        found: dict[str, TagFragment] = {}
        for tag, interval in tags:
            *above, own = self._tag(number_of, form, tag, interval).fragments
            for fragment in above:
                found.setdefault(fragment.name, fragment)
            if interval is not None or tag not in found:
                found[tag] = own
        return TagGroup(found[name] for name in sorted(found))

    def _plan(self, number_of: NumberOf, form: FormParts, plan: PropPlan) -> tuple[PropFragment, ...]:
        fragments = self.cache.plans.get(plan)
        if fragments is None:
            fragments = (
                self._prop(number_of, form, plan.prop.name, plan.value),
                *(self._prop(number_of, form, sub.name, value) for sub, value in plan.subs),
            )
            if plan.is_kept:
                self.cache.plans[plan] = fragments
        return fragments

    def _prop(self, number_of: NumberOf, form: FormParts, name: str, value: Any) -> PropFragment:
        kept = self.cache.props
        key = (form.name, name, value)
        try:
            fragment = kept.get(key)
        except TypeError:
            return self.cache.fragments.prop(number_of, form, name, value)
        if fragment is None or type(fragment.value) is not type(value):
            fragment = kept[key] = self.cache.fragments.prop(number_of, form, name, value)
        return fragment

    def _tag(self, number_of: NumberOf, form: FormParts, tag: str, interval: Interval) -> TagGroup:
        """Return a tag with those above it."""
        key = (form.name, tag, interval)
        group = self.cache.tags.get(key)
        if group is None:
            words = tag.split(".")
            above = [".".join(words[:depth]) for depth in range(1, len(words))]
            make = self.cache.fragments.tag
            group = self.cache.tags[key] = TagGroup(
                (
                    *(make(number_of, form, name, None) for name in above),
                    make(number_of, form, tag, interval),
                )
            )
        return group
