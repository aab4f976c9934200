"""Commands that change the graph: delnode, edges.del, movetag, tag.prune; and lifts by iden and verb."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadOperArg
from cellmesh.cortex.storm.commands.nested import new_path
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.storm.runtime.path import Path
    from cellmesh.cortex.views.node import Node

IDEN_SIZE: Final = 64
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
TAG_TEXTS: Final = ("title", "doc", "doc:url")
REDIRECT_COUNT_MAX: Final = 1_000


def _delnode(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    session = context.session
    for path in rows:
        node = path.node
        if arguments.delbytes and node.form.name == "file:bytes" and node.get("sha256") is not None:
            context.capability("axon").delete(node.get("sha256"))
        if arguments.deledges:
            for _, verb, other in list(session.edges_in([node])):
                context.tick()
                session.del_edge(other, verb, node)
            for _, verb, other in list(session.edges_out([node])):
                context.tick()
                session.del_edge(node, verb, other)
        session.delete_node(node, force=arguments.force)
    return
    yield  # makes this a generator


def _edges_del(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    session = context.session
    for path in rows:
        verbs = None if arguments.verb == "*" else [arguments.verb]
        if arguments.n2:
            for _, verb, other in list(session.edges_in([path.node], verbs)):
                context.tick()
                session.del_edge(other, verb, path.node)
        else:
            for _, verb, other in list(session.edges_out([path.node], verbs)):
                context.tick()
                session.del_edge(path.node, verb, other)
        yield path


def _lift_byverb(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    if not arguments.is_constant:
        for path in rows:
            yield path
            for node in context.session.lift_verb(arguments.verb, inward=arguments.n2):
                yield path.fork(node)
        return
    yield from rows
    for node in context.session.lift_verb(arguments.verb, inward=arguments.n2):
        context.tick()
        yield new_path(context, node)


def _iden(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    yield from rows
    for iden in arguments.iden:
        if not _HEX.fullmatch(iden):
            context.warn(f"{iden} is no iden: it has other characters than pairs of hexadecimal digits")
        elif len(iden) != IDEN_SIZE:
            context.warn(f"{iden} is no iden: it has {len(iden)} digits, not {IDEN_SIZE}")
        else:
            node = context.session.node_by_iden(iden.lower())
            if node is not None:
                yield new_path(context, node)


# Tags.


def _movetag(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    # What comes before has its say first, then the tags move, then nodes pass on.
    first = next(rows, None)
    _move_tags(context, arguments)
    if first is not None:
        yield first
        yield from rows


def _move_tags(context: RunContext, arguments: Arguments) -> None:
    session = context.session
    form = session.tag_form
    old = tostr(arguments.oldtag)
    old_node = session.node(form, old, normalise=False)
    if old_node is None:
        raise BadOperArg(f"there is no tag {old}", oldtag=old)
    new = str(form.type.normalize(arguments.newtag).value)
    if new == old:
        raise BadOperArg("a tag cannot move to itself", oldtag=old, newtag=new)
    _check_circle(context, old, new)
    moved = [
        node
        for node in session.lift_value(form.value_prop, "^=", old)
        if node.value == old or node.value.startswith(f"{old}.")
    ]
    pairs = [(node, new + node.value[len(old) :]) for node in moved]
    count = 0
    for node in session.lift_tag(old):
        context.tick()
        _move_on_node(context, node, old, new)
        count += 1
    for node, name in pairs:
        context.tick()
        _move_tag_node(context, node, name)
    context.print(f"moved tags on {count} nodes.")


def _check_circle(context: RunContext, old: str, new: str) -> None:
    """Refuse a move to where a redirect leads back."""
    session = context.session
    seen = [old]
    name: str | None = new
    while name is not None and len(seen) < REDIRECT_COUNT_MAX:
        if name in seen or name.startswith(f"{old}."):
            raise BadOperArg(f"the tag {new} leads back to {old}", cycle=[*seen, name])
        seen.append(name)
        node = session.node(session.tag_form, name, normalise=False)
        name = None if node is None else node.get("isnow")


def _move_on_node(context: RunContext, node: Node, old: str, new: str) -> None:
    session = context.session
    tags, tag_props = dict(node.tags), dict(node.tag_props)
    names = [name for name in tags if name == old or name.startswith(f"{old}.")]
    session.del_tag(node, old)
    for name in names:
        target = new + name[len(old) :]
        session.add_tag(node, target, tags[name])
        for prop, value in tag_props.get(name, {}).items():
            session.set_tag_prop(node, target, prop, value)


def _move_tag_node(context: RunContext, node: Node, name: str) -> None:
    """Make the tag node of the new name, hand over texts it has not, and let the old one redirect to it."""
    session = context.session
    target = session.add_node(session.tag_form, name)
    for prop in TAG_TEXTS:
        if target.get(prop) is None and node.get(prop) is not None:
            session.set_prop(target, prop, node.get(prop))
    session.set_prop(node, "isnow", name)


def _tag_prune(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    for path in rows:
        for tag in arguments.tags:
            _prune(context, path.node, tag)
        yield path


def _prune(context: RunContext, node: Node, tag: Any) -> None:
    """Take a tag off, and each one above it that then has none below."""
    name = tostr(tag)
    while name and node.has_tag(name):
        context.session.del_tag(node, name)
        name = name.rpartition(".")[0]
        if any(other.startswith(f"{name}.") for other in node.tags):
            return


COMMANDS: Final = (
    CommandSpec(
        "delnode",
        """Delete the nodes.

        A node that others refer to is not deleted, unless --force is given.

            inet:fqdn=vertex.link | delnode
        """,
        _delnode,
        (
            ArgumentSpec(("--force",), "Delete even what other nodes refer to.", action="store_true"),
            ArgumentSpec(("--delbytes",), "Delete the contents of files as well.", action="store_true"),
            ArgumentSpec(("--deledges",), "Delete light edges from and to it first.", action="store_true"),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "edges.del",
        """Delete the light edges of a verb from the nodes.

            risk:attack | edges.del refs
            risk:attack | edges.del *
        """,
        _edges_del,
        (
            ArgumentSpec(("verb",), "The verb, or * for all."),
            ArgumentSpec(("--n2",), "Delete those that lead to the nodes.", action="store_true"),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "iden",
        """Lift nodes by their idens.

            iden 20153b758f9d5eaaa38e4f4a65c36da797c3e59e549620fa7c4895e1a920991f
        """,
        _iden,
        (ArgumentSpec(("iden",), "Idens of 64 hexadecimal digits.", count="*"),),
        needs_constant=True,
    ),
    CommandSpec(
        "lift.byverb",
        """Lift the nodes that have light edges of a verb.

            lift.byverb refs
            lift.byverb --n2 refs
        """,
        _lift_byverb,
        (
            ArgumentSpec(("verb",), "The verb."),
            ArgumentSpec(("--n2",), "Lift the nodes the edges lead to.", action="store_true"),
        ),
    ),
    CommandSpec(
        "movetag",
        """Rename a tag and all below it, wherever they are; new uses of the old name become the new one.

            movetag cno.infra.foo cno.infra.bar
        """,
        _movetag,
        (
            ArgumentSpec(("oldtag",), "The tag to move.", type="any"),
            ArgumentSpec(("newtag",), "What it is to be called.", type="any"),
        ),
        needs_constant=True,
        changes_state=True,
    ),
    CommandSpec(
        "tag.prune",
        """Take tags off the nodes, and those above that only led to them.

            inet:ipv4 | tag.prune cno.infra.foo
        """,
        _tag_prune,
        (ArgumentSpec(("tags",), "The tags.", type="any", count="*"),),
        changes_state=True,
    ),
)
