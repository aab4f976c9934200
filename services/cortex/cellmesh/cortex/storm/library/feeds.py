"""`$lib.feed` and `$lib.export`: packed nodes in and out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgpack
from cellmesh.common.errors import BadArg, NoSuchName
from cellmesh.cortex.storm.library.axon import read_sha256
from cellmesh.cortex.storm.objects.stacks import running_in
from cellmesh.cortex.storm.outside.axon_files import axon_of
from cellmesh.cortex.storm.packed_nodes import FEED, Feeder, confirm_feeding, export_node, unpacked
from cellmesh.cortex.storm.rights.checks import confirm_reading
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

_SUMMARY: Final = "Packed nodes: pairs of form and value with their properties, tags, data and edges."


def _feed(context: RunContext, name: Any, data: Any) -> Iterator[Node]:
    if tostr(name) != FEED:
        raise NoSuchName(f"there is no feed {tostr(name)}", name=tostr(name))
    confirm_feeding(context)
    return Feeder(context).add_all(toprim(item) for item in toiter(context, data))


def _genr(context: RunContext, name: Any, data: Any) -> Iterator[Node]:
    yield from _feed(context, name, data)


def _ingest(context: RunContext, name: Any, data: Any) -> None:
    for _ in _feed(context, name, data):
        pass


def _from_axon(context: RunContext, sha256: Any) -> int:
    confirm_feeding(context)
    parts = axon_of(context).read(read_sha256(sha256))
    return sum(1 for _ in Feeder(context).add_all(unpacked(parts, "the content")))


def _list(context: RunContext) -> list[dict[str, str]]:
    return [{"name": FEED, "desc": _SUMMARY, "fulldoc": _SUMMARY}]


def _to_axon(context: RunContext, query: Any, options: Any) -> tuple[int, str]:
    given = toprim(options) or {}
    if not isinstance(given, dict):
        raise BadArg("opts is a dictionary", name="opts")
    text: StormQuery | str = query if isinstance(query, StormQuery) else tostr(query)
    limit = None if given.get("limit") is None else toint(given["limit"])
    axon = axon_of(context)
    view = context.view
    if given.get("view") is not None:
        view = context.session.graph.view(tostr(given["view"]))
        confirm_reading(context, str(view.id))
    with running_in(context, view) as inner:
        # Edges are told between nodes of the export only, so which these are is found out first.
        found: dict[bytes, None] = {}
        for row in inner.run_query(text, given.get("vars") or {}):
            inner.tick()
            found[row.node.buid] = None
            if limit is not None and len(found) >= limit:
                break
        size, sha256 = axon.upload(_export(inner, found))
    return size, sha256.hex()


def _export(context: RunContext, found: dict[bytes, None]) -> Iterator[bytes]:
    known = set(found)
    packer = msgpack.Packer(use_bin_type=True, default=_foreign)
    for buid in found:
        context.tick()
        node = context.session.node_by_buid(buid)
        if node is not None:
            yield packer.pack(export_node(context.session, node, known))


def _foreign(value: Any) -> Any:
    """Write numbers with a point as texts, which their types read again."""
    return str(value)


_NAME: Final = ParameterSpec("name", type="str", doc="The kind of feed: syn.nodes.")
_DATA: Final = ParameterSpec("data", type="list", doc="The packed nodes.")

LIBRARIES: Final = (
    LibrarySpec(
        ("feed",),
        "Packed nodes into the graph.",
        (
            FunctionSpec(
                "fromAxon",
                "Add the packed nodes of a content that the Axon keeps; gives how many there were.",
                _from_axon,
                (ParameterSpec("sha256", type="str", doc="The SHA-256 of the content."),),
                "int",
                changes_state=True,
            ),
            FunctionSpec(
                "genr",
                "Add packed nodes and give them, one by one.",
                _genr,
                (_NAME, _DATA),
                "nodes",
                is_generator=True,
                changes_state=True,
            ),
            FunctionSpec("ingest", "Add packed nodes.", _ingest, (_NAME, _DATA), changes_state=True),
            FunctionSpec("list", "The kinds of feeds.", _list, (), "list"),
        ),
    ),
    LibrarySpec(
        ("export",),
        "Packed nodes out of the graph.",
        (
            FunctionSpec(
                "toaxon",
                "Have the Axon keep the nodes of a query, packed; gives size and SHA-256 of the content.",
                _to_axon,
                (
                    ParameterSpec("query", type="str", doc="The query."),
                    ParameterSpec("opts", None, "dict", "Options: vars, view, limit."),
                ),
                "list",
                may_change=True,
            ),
        ),
    ),
)
