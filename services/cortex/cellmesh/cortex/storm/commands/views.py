"""Commands about views and layers: view.*, layer.*, diff, merge, copyto, runas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from cellmesh.common.errors import BadArg, CantMergeView, NoSuchProp, StormRuntimeError
from cellmesh.cortex.layers.records import parse_record
from cellmesh.cortex.layers.schema import NODES
from cellmesh.cortex.storm.commands.stored import doing, lib
from cellmesh.cortex.storm.objects.stacks import LayerObject, ViewObject, named_view, running_in
from cellmesh.cortex.storm.objects.view_methods import merge_fork
from cellmesh.cortex.storm.runtime.context import QueryRun, RunContext
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.members import get_member
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.rights import AUTH
from cellmesh.cortex.storm.runtime.tags import tag_pattern
from cellmesh.cortex.storm.runtime.values import tostr
from cellmesh.cortex.values.wire import decode_value
from cellmesh.cortex.views.merge import ALL, Choice, below, changed_nids, merge_nodes
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.view import View
from cellmesh.cortex.views.wipe import wipe_layer

MERGE_ROW_COUNT: Final = 256
"""Rows that `merge` takes in before it merges them."""


def _say(context: RunContext, thing: ViewObject | LayerObject) -> None:
    text = context.call(get_member(context, thing, "repr"))
    for line in tostr(text).split("\n"):
        context.print(line)


def _view_exec(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    is_empty = True
    for path in rows:
        is_empty = False
        _run_elsewhere(context, arguments)
        yield path
    if is_empty and arguments.is_constant:
        _run_elsewhere(context, arguments)


def _run_elsewhere(context: RunContext, arguments: Arguments) -> None:
    view = named_view(context, arguments.view)
    with running_in(context, view) as inner:
        for _ in inner.rows_of(arguments.storm):
            inner.tick()


def _view_get(context: RunContext, arguments: Arguments) -> None:
    _say(context, lib(context, "view.get", arguments.iden))


def _view_list(context: RunContext, arguments: Arguments) -> None:
    context.print("")
    for view in lib(context, "view.list"):
        _say(context, view)
        context.print("")


def _view_add(context: RunContext, arguments: Arguments) -> None:
    _say(context, lib(context, "view.add", arguments.layers, arguments.name))
    context.print("View added.")


def _view_del(context: RunContext, arguments: Arguments) -> None:
    lib(context, "view.del", arguments.iden)
    context.print(f"View deleted: {arguments.iden}")


def _view_set(context: RunContext, arguments: Arguments) -> None:
    view = lib(context, "view.get", arguments.iden)
    context.call(get_member(context, view, "set"), arguments.name, arguments.valu)
    _say(context, view)
    context.print("View updated.")


def _view_fork(context: RunContext, arguments: Arguments) -> None:
    view = lib(context, "view.get", arguments.iden)
    made = context.call(get_member(context, view, "fork"), arguments.name)
    _say(context, made)
    context.print(f"View {arguments.iden} forked to new view: {made.view.id}")


def _view_merge(context: RunContext, arguments: Arguments) -> None:
    view: View = lib(context, "view.get", arguments.iden).view
    merge_fork(context, view)
    if not arguments.delete:
        context.print(f"View merged: {arguments.iden}")
        return
    lib(context, "view.del", str(view.id))
    lib(context, "layer.del", str(view.layers[0].id))
    context.print(f"View merged and deleted: {arguments.iden}")


def _layer_get(context: RunContext, arguments: Arguments) -> None:
    _say(context, lib(context, "layer.get", arguments.iden))


def _layer_list(context: RunContext, arguments: Arguments) -> None:
    context.print("Layers:")
    for layer in lib(context, "layer.list"):
        _say(context, layer)


def _layer_add(context: RunContext, arguments: Arguments) -> None:
    facts = {"name": arguments.name, "readonly": arguments.readonly}
    _say(context, lib(context, "layer.add", facts))
    context.print("Layer added.")


def _layer_del(context: RunContext, arguments: Arguments) -> None:
    lib(context, "layer.del", arguments.iden)
    context.print(f"Layer deleted: {arguments.iden}")


def _layer_set(context: RunContext, arguments: Arguments) -> None:
    layer = lib(context, "layer.get", arguments.iden)
    context.call(get_member(context, layer, "set"), arguments.name, arguments.valu)
    _say(context, layer)
    context.print("Layer updated.")


# What a fork has changed.


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
    nothing.tag, nothing.prop = [], None  # type: ignore[attr-defined]
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


def _runas(context: RunContext, arguments: Arguments) -> None:
    name = tostr(arguments.user)
    auth: Any = context.engine.capabilities.get(AUTH)
    if auth is not None:
        name = auth.get_user(name).name
    elif name != context.user:
        raise StormRuntimeError("the cell keeps no users", name="user")
    outer, session = context.run, context.session
    options = replace(outer.options, user=name, has_all_rights=False)
    acting, guard, session.user = session.user, session.guard, name
    try:
        run = QueryRun(outer.engine, session, options, outer.budget, outer.emit)
        run.is_readonly = outer.is_readonly
        inner = RunContext(run, {})
        for _ in inner.run_query(arguments.storm, context.all_vars()):
            context.tick()
    finally:
        session.user, session.guard = acting, guard


def _copyto(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    """Copy each node, as the view shows it, to another view."""
    if arguments.is_constant:
        named_view(context, arguments.view)
    for path in rows:
        view = named_view(context, arguments.view)
        if view.id != context.view.id:
            _copy(context, path.node, view, with_data=not arguments.no_data)
        yield path


def _copy(context: RunContext, node: Node, view: View, *, with_data: bool) -> None:
    form, value = node.form, node.value
    props = {
        name: item
        for name, item in node.props.items()
        if name != ".created" and not form.props[name].read_only
    }
    data = list(context.session.list_data(node)) if with_data else []
    edges = [(verb, other.form, other.value) for _, verb, other in context.session.edges_out([node])]
    tags, tag_props = node.tags, node.tag_props
    with running_in(context, view) as inner:
        made = inner.session.add_node(form, value, props)
        for tag, interval in tags.items():
            inner.session.add_tag(made, tag, interval)
        for tag, named in tag_props.items():
            for name, item in named.items():
                inner.session.set_tag_prop(made, tag, name, item)
        for name, item in data:
            inner.session.set_data(made, name, item)
        for verb, other_form, other_value in edges:
            other = inner.session.node(other_form, other_value, normalise=False)
            if other is not None:
                inner.session.add_edge(made, verb, other)


# Pushes and pulls.


def _add_sync(kind: str) -> Callable[[RunContext, Arguments], None]:
    name, method = ("push", "addPush") if kind == "pushs" else ("pull", "addPull")

    def act(context: RunContext, arguments: Arguments) -> None:
        layer = lib(context, "layer.get", arguments.layr)
        url = arguments.dest if kind == "pushs" else arguments.src
        made = context.call(get_member(context, layer, method), url, arguments.offset)
        context.print(f"Layer {name} added: {made['iden']}")

    return act


def _del_sync(name: str, method: str) -> Callable[[RunContext, Arguments], None]:
    def act(context: RunContext, arguments: Arguments) -> None:
        layer = lib(context, "layer.get", arguments.layr)
        context.call(get_member(context, layer, method), arguments.iden)
        context.print(f"Layer {name} deleted.")

    return act


def _list_syncs(kind: str) -> Callable[[RunContext, Arguments], None]:
    def act(context: RunContext, arguments: Arguments) -> None:
        layer: LayerObject = lib(context, "layer.get", arguments.layr)
        _say(context, layer)
        known = layer.layer.facts.get(kind) or {}
        if not known:
            context.print("No pushes configured." if kind == "pushs" else "No pulls configured.")
            return
        syncing: Any = context.engine.capabilities.get("syncing")
        for iden, definition in known.items():
            state = "" if syncing is None else f" {syncing.state_of(iden)}"
            context.print(
                f"{'Push' if kind == 'pushs' else 'Pull'}: {iden} {shown_url(definition['url'])}{state}"
            )

    return act


def shown_url(url: str) -> str:
    """Return a URL without the password in it."""
    scheme, _, rest = url.partition("://")
    who, at, where = rest.rpartition("@")
    return f"{scheme}://{who.partition(':')[0]}:****@{where}" if at and ":" in who else url


def _quorum_list(context: RunContext, arguments: Arguments) -> None:
    found = list(lib(context, "quorum.merge.list", arguments.todo))
    if not found:
        context.print("Nothing to do. Go grab some coffee!" if arguments.todo else "No merge requests.")
        return
    head = f" {'view':<32}  {'name':<32}  {'creator':<22}  {'created':<24}  {'updated':<24} "
    context.print(head)
    context.print("#" * len(head))
    time = context.model.type("time")
    for view, summary in found:
        request = summary["merge"]
        who = context.model.name_of("user", request["creator"]) or request["creator"]
        created = time.repr(request["created"])
        updated = time.repr(request["updated"]) if "updated" in request else ""
        name = view.get("name") or ""
        context.print(f" {view['iden']:<32}  {name:<32}  {who:<22}  {created:<24}  {updated:<24} ")


_IDEN: Final = ArgumentSpec(("iden",), "The iden.")
_LAYER: Final = ArgumentSpec(("layr",), "The iden of the layer.")
_OFFSET: Final = ArgumentSpec(("--offset",), "The offset to begin at.", type="int", default=0)
_MAYBE_IDEN: Final = ArgumentSpec(("iden",), "The iden; that of the query when left out.", count="?")
_FACT: Final = (ArgumentSpec(("name",), "Which fact: name."), ArgumentSpec(("valu",), "What it shall be."))

COMMANDS: Final = (
    CommandSpec(
        "copyto",
        """Copy nodes to another view, with properties, tags, data and edges to nodes that are there.

            inet:ipv4#good | copyto $view.iden
        """,
        _copyto,
        (
            ArgumentSpec(("view",), "The iden of the view.", type="any"),
            ArgumentSpec(("--no-data",), "Leave node data out.", action="store_true"),
        ),
        changes_state=True,
    ),
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
        "layer.add",
        "Make an empty layer.",
        doing(_layer_add),
        (
            ArgumentSpec(("--name",), "What to call it."),
            ArgumentSpec(("--readonly",), "Let it take no edits.", action="store_true"),
            ArgumentSpec(("--lockmemory",), "Without effect.", action="store_true"),
            ArgumentSpec(("--growsize",), "Without effect.", type="int"),
            ArgumentSpec(("--cache-size",), "Without effect.", type="int"),
            ArgumentSpec(("--mirror",), "Not here: Cortexes are mirrored whole.", type="str"),
            ArgumentSpec(("--upstream",), "Not here: see layer.pull.add."),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "layer.del", "Remove a layer that no view has.", doing(_layer_del), (_IDEN,), changes_state=True
    ),
    CommandSpec("layer.get", "Print what is known of a layer.", doing(_layer_get), (_MAYBE_IDEN,)),
    CommandSpec("layer.list", "Print what is known of all layers.", doing(_layer_list)),
    CommandSpec(
        "layer.set", "Set a fact about a layer.", doing(_layer_set), (_IDEN, *_FACT), changes_state=True
    ),
    CommandSpec(
        "layer.pull.add",
        "Have a layer take the edits of a layer of another Cortex.",
        doing(_add_sync("pulls")),
        (
            _LAYER,
            ArgumentSpec(("src",), "The URL of the other Cortex, /layer/, the other layer's iden."),
            _OFFSET,
        ),
        changes_state=True,
    ),
    CommandSpec(
        "layer.pull.del",
        "Have a layer take no more edits of another.",
        doing(_del_sync("pull", "delPull")),
        (_LAYER, _IDEN),
        changes_state=True,
    ),
    CommandSpec(
        "layer.pull.list", "Print what a layer takes edits of.", doing(_list_syncs("pulls")), (_LAYER,)
    ),
    CommandSpec(
        "layer.push.add",
        "Have a layer send its edits to a layer of another Cortex.",
        doing(_add_sync("pushs")),
        (
            _LAYER,
            ArgumentSpec(("dest",), "The URL of the other Cortex, /layer/, the other layer's iden."),
            _OFFSET,
        ),
        changes_state=True,
    ),
    CommandSpec(
        "layer.push.del",
        "Have a layer send no more edits to another.",
        doing(_del_sync("push", "delPush")),
        (_LAYER, _IDEN),
        changes_state=True,
    ),
    CommandSpec(
        "layer.push.list", "Print what a layer sends edits to.", doing(_list_syncs("pushs")), (_LAYER,)
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
    CommandSpec(
        "quorum.merge.list",
        "Print the forks that have merge requests.",
        doing(_quorum_list),
        (ArgumentSpec(("--todo",), "Only those that you may vote on, and have not.", action="store_true"),),
    ),
    CommandSpec(
        "runas",
        "Run a query as a user; only as root so far.",
        doing(_runas),
        (
            ArgumentSpec(("user",), "The name of the user.", type="any"),
            ArgumentSpec(("storm",), "The query.", type="query"),
            ArgumentSpec(("--asroot",), "Without effect yet.", action="store_true"),
        ),
    ),
    CommandSpec(
        "view.add",
        "Make a view of some layers.",
        doing(_view_add),
        (
            ArgumentSpec(("--name",), "What to call it."),
            ArgumentSpec(("--worldreadable",), "Without effect yet.", type="bool", default=False),
            ArgumentSpec(("--layers",), "Idens of the layers, the top one first.", type="any", count="*"),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "view.del", "Remove a view; its layers stay.", doing(_view_del), (_IDEN,), changes_state=True
    ),
    CommandSpec(
        "view.exec",
        """Run a query in another view; its nodes are not passed on.

            view.exec $view.iden { inet:ipv4=1.2.3.4 [ +#seen ] }
        """,
        _view_exec,
        (
            ArgumentSpec(("view",), "The iden of the view.", type="any"),
            ArgumentSpec(("storm",), "The query.", type="query"),
        ),
    ),
    CommandSpec(
        "view.fork",
        "Make a view with a layer of its own on top of another view's.",
        doing(_view_fork),
        (_IDEN, ArgumentSpec(("--name",), "What to call it.")),
        changes_state=True,
    ),
    CommandSpec("view.get", "Print what is known of a view.", doing(_view_get), (_MAYBE_IDEN,)),
    CommandSpec("view.list", "Print what is known of all views.", doing(_view_list)),
    CommandSpec(
        "view.merge",
        "Merge all of a fork into what it was forked from.",
        doing(_view_merge),
        (_IDEN, ArgumentSpec(("--delete",), "Remove the fork and its layer then.", action="store_true")),
        changes_state=True,
    ),
    CommandSpec(
        "view.set", "Set a fact about a view.", doing(_view_set), (_IDEN, *_FACT), changes_state=True
    ),
)
