"""`scrape`: makes nodes of what texts mention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadTypeValu
from cellmesh.cortex.storm.formats.text_scrape import SCRAPER
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.values import tostr
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def _forms(given: Any) -> frozenset[str] | None:
    if not given:
        return None
    items = given if isinstance(given, (list, tuple)) else tostr(given).split(",")
    return frozenset(tostr(item).strip() for item in items)


def _texts(node: Node | None, values: list[Any]) -> list[str]:
    """Return what to go through: the values given, or the properties of a node that are text or lists of it."""
    if values or node is None:
        return [tostr(value) for value in values]
    texts: list[str] = []
    for value in node.props.values():
        items = value if isinstance(value, (list, tuple)) else (value,)
        texts += [item for item in items if isinstance(item, str)]
    return texts


def _mentioned(context: RunContext, arguments: Arguments, node: Node | None) -> Iterator[Node]:
    forms = _forms(arguments.forms)
    for text in _texts(node, arguments.values):
        seen: set[tuple[str, Any]] = set()
        for found in SCRAPER.find(text, refang=arguments.dorefang, forms=forms):
            context.tick()
            form = context.model.require_form(found.form)
            try:
                value = form.type.norm(found.value)
            except BadTypeValu:
                continue
            if (found.form, value) not in seen:
                seen.add((found.form, value))
                yield context.session.add_node(form, found.value)


def _scrape(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    is_empty = True
    for path in rows:
        is_empty = False
        for node in _mentioned(context, arguments, path.node):
            if arguments.refs:
                context.session.add_edge(path.node, "refs", node)
            if arguments.doyield:
                yield path.fork(node)
        if not arguments.doyield:
            yield path
    if is_empty and arguments.is_constant:
        for node in _mentioned(context, arguments, None):
            if arguments.doyield:
                yield Path(node, context.snapshot())


COMMANDS: Final = (
    CommandSpec(
        "scrape",
        """Make nodes of what texts mention: addresses, names, hashes, numbers, also when they are defanged.

        Without texts, the properties of each node that are text are gone through.

            media:news | scrape :summary --refs
        """,
        _scrape,
        (
            ArgumentSpec(("values",), "The texts.", type="any", count="*"),
            ArgumentSpec(("--refs", "-r"), "Make light edges to what a node mentions.", action="store_true"),
            ArgumentSpec(("--yield",), "Pass on what is found.", action="store_true", name="doyield"),
            ArgumentSpec(
                ("--skiprefang",), "Leave out what is defanged.", action="store_false", name="dorefang"
            ),
            ArgumentSpec(("--forms",), "Only these forms.", type="any"),
        ),
        changes_state=True,
    ),
)
