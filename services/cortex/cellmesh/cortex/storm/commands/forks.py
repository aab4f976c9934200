"""Commands about forks: diff and merge, what a fork has changed and how that goes into the view below."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from cellmesh.common.errors import BadArg, CantMergeView, NoSuchProp, StormRuntimeError
from cellmesh.cortex.layers.records import parse_record
from cellmesh.cortex.layers.schema import NODES
from cellmesh.cortex.storm.objects.stacks import ViewObject
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.tags import tag_pattern
from cellmesh.cortex.storm.runtime.values import tostr
from cellmesh.cortex.values.wire import decode_value
from cellmesh.cortex.views.merge import ALL, Choice, below, changed_nids, merge_nodes
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.view import View
from cellmesh.cortex.views.wipe import wipe_layer

MERGE_ROW_COUNT: Final = 256
"""Rows that `merge` takes in before it merges them."""


def _diff(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    yield from rows
    view = context.view
    if view.parent is None:
        raise StormRuntimeError("diff shows what a fork has changed, and this view is no fork", name="diff")
    wanted = _wanted(context, arguments)
    session, layer, after = context.session, view.layers[0].key, b""
    while True:
        nids = session.read(partial(changed_nids, layer=layer, after=after))
        if not nids:
            return
        for nid in nids:
            context.tick()
            for node in session.nodes_by_nid([int.from_bytes(nid, "big")]):
                if wanted(node):
                    yield Path(node, context.snapshot())
        after = nids[-1]


def _wanted(context: RunContext, arguments: Arguments) -> Callable[[Node], bool]:
    """Return a test of nodes: whether the fork's own layer holds what was asked for."""
    if not arguments.tag and arguments.prop is None:
        return lambda node: True
    alone = ViewObject(context.view).layers[0]
    tags = [tostr(tag).removeprefix("#") for tag in arguments.tag or ()]
    prop = None
    if arguments.prop is not None:
        name = tostr(arguments.prop)
        prop = context.model.prop(name)
        if prop is None:
            raise NoSuchProp(f"no property named {name}", name=name)

    def test(node: Node) -> bool:
        stored = node.session.read(lambda txn: txn.get(NODES, alone.layer.key + node.key))
        if stored is None:
            return False
        record = parse_record(stored)
        if any(tag in record.tags for tag in tags):
            return True
        if prop is None:
            return False
        if prop.is_form:
            return record.is_added and node.form is prop.form
        return prop.name in record.props and (prop.is_universal or node.form is prop.form)

    return test


def _merge(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    view = context.view
    if view.parent is None:
        raise CantMergeView("only a fork can be merged", view=str(view.id))
    below(view)
    if arguments.include_tags and arguments.exclude_tags:
        raise BadArg("either --include-tags or --exclude-tags", name="--include-tags")
    if arguments.include_props and arguments.exclude_props:
        raise BadArg("either --include-props or --exclude-props", name="--include-props")
    choice = _choice(context, arguments)
    source = rows
    if arguments.diff:
        source = _everything(context, rows)
    batch: list[bytes] = []
    for path in source:
        if arguments.apply:
            batch.append(path.node.key)
            if len(batch) >= MERGE_ROW_COUNT:
                _apply(context, view, batch, choice)
                batch = []
        else:
            _show(context, path.node, choice)
        yield path
    if batch:
        _apply(context, view, batch, choice)
    if arguments.apply and arguments.wipe:
        context.session.pause()
        wipe_layer(context.session.graph, view.layers[0], context.user, context.tick)
        context.session.generation += 1


def _everything(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
    nothing = Arguments()
    nothing.tag, nothing.prop = [], None  # type: ignore[attr-defined]  # made by names
    return _diff(context, nothing, rows)


def _apply(context: RunContext, view: View, nids: list[bytes], choice: Choice) -> None:
    context.session.pause()
    merge_nodes(context.session.graph, view, nids, choice, context.user)
    context.session.generation += 1


def _choice(context: RunContext, arguments: Arguments) -> Choice:
    def named(included: list[Any], excluded: list[Any], make: Callable[[str], Any]) -> Callable[[str], bool]:
        wanted = [make(tostr(name)) for name in included or ()]
        unwanted = [make(tostr(name)) for name in excluded or ()]
        return lambda name: (
            (not wanted or any(test(name) for test in wanted)) and not any(test(name) for test in unwanted)
        )

    if not any(
        (arguments.only_tags, arguments.no_tags, arguments.include_tags, arguments.exclude_tags)
    ) and not (arguments.include_props or arguments.exclude_props):
        return ALL
    return Choice(
        nodes=not arguments.only_tags,
        tags=not arguments.no_tags,
        tag=named(arguments.include_tags, arguments.exclude_tags, tag_pattern),
        prop=named(arguments.include_props, arguments.exclude_props, _same),
    )


def _same(wanted: str) -> Callable[[str], bool]:
    return lambda name: name == wanted


def _show(context: RunContext, node: Node, choice: Choice) -> None:
    """Print what merging a node would change."""
    layer = context.view.layers[0].key
    stored = node.session.read(lambda txn: txn.get(NODES, layer + node.key))
    if stored is None:
        return
    record, form, iden = parse_record(stored), node.form, node.iden
    if choice.nodes:
        if record.is_added:
            context.print(f"{iden} {form.name} = {node.repr()}")
        for name, encoded in record.props.items():
            prop = form.props.get(name)
            if name == ".created" or prop is None or not choice.prop(prop.full_name):
                continue
            context.print(f"{iden} {prop.full_name} = {prop.type.repr(decode_value(encoded))}")
    if choice.tags:
        for tag in sorted(record.tags):
            if choice.tag(tag):
                context.print(f"{iden} {form.name}#{tag}")


COMMANDS: Final = (
    CommandSpec(
        "diff",
        """Lift the nodes of which the top layer of a fork says anything.

            diff --tag review | merge --apply
        """,
        _diff,
        (
            ArgumentSpec(
                ("--tag",), "Only nodes with one of these tags in the layer.", type="any", count="*"
            ),
            ArgumentSpec(("--prop",), "Only nodes with this property in the layer."),
        ),
    ),
    CommandSpec(
        "merge",
        """Merge nodes of a fork into what it was forked from.

        Without --apply what would change is printed.

            diff | merge --apply
        """,
        _merge,
        (
            ArgumentSpec(("--apply",), "Do it.", action="store_true"),
            ArgumentSpec(("--wipe",), "Remove all that is left in the layer then.", action="store_true"),
            ArgumentSpec(("--no-tags",), "Leave tags out.", action="store_true"),
            ArgumentSpec(("--only-tags",), "Only tags, of nodes that are there.", action="store_true"),
            ArgumentSpec(("--include-tags",), "Only tags that match.", type="any", count="*"),
            ArgumentSpec(("--exclude-tags",), "Leave out tags that match.", type="any", count="*"),
            ArgumentSpec(("--include-props",), "Only these properties, by full name.", type="any", count="*"),
            ArgumentSpec(("--exclude-props",), "Leave out these properties.", type="any", count="*"),
            ArgumentSpec(("--diff",), "All nodes of which the layer says anything.", action="store_true"),
        ),
        needs_constant=True,
        may_change=True,
    ),
)
