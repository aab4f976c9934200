"""Commands that work in another view or as another user: view.exec, copyto, runas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.commands.acting import doing
from cellmesh.cortex.storm.objects.stacks import named_view, running_in
from cellmesh.cortex.storm.runtime.context import QueryRun, RunContext
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.rights import AUTH
from cellmesh.cortex.storm.runtime.values import tostr
from cellmesh.cortex.views.node import Node
from cellmesh.cortex.views.view import View


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
        "runas",
        "Run a query as another user, with that user's rights; only administrators may.",
        doing(_runas),
        (
            ArgumentSpec(("user",), "The name of the user.", type="any"),
            ArgumentSpec(("storm",), "The query.", type="query"),
            ArgumentSpec(
                ("--asroot",),
                "Taken, and without effect: for queries written for Synapse.",
                action="store_true",
            ),
        ),
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
)
