"""A new layer from a file.

It is stored as a detached layer, which nobody sees and which the next start removes, until all is in it and the end of the
file was checked. One transaction then attaches it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from cellmesh.api.cortex.v1 import layer_file_pb2
from cellmesh.common.errors import (
    BadMesgFormat,
    CellError,
    NoSuchForm,
    NoSuchLayer,
    NoSuchProp,
    NoSuchTagProp,
    Retry,
)
from cellmesh.cortex.layers.file_format import TRAILER, Block, FileReader, parsed
from cellmesh.cortex.layers.layer import DETACHED, Layer, find_layer, free_number
from cellmesh.cortex.values.ids import LayerId, new_layer_id
from cellmesh.cortex.views.import_batch import ImportBatches, MakeFreshWriter, split_nodes
from cellmesh.cortex.views.stack_changes import Step, attach_layer, stage_layer
from cellmesh.cortex.views.stacks import clear_detached

if TYPE_CHECKING:
    from cellmesh.common.storage import WriteTxn
    from cellmesh.cortex.views.graph import Graph

LOGGER = logging.getLogger(__name__)

BATCH_NODE_COUNT: Final = 2000
"""Nodes of one transaction."""

NAME_SIZE_MAX: Final = 1000
KEPT_FACTS: Final = ("desc", "readonly", "logedits")
"""What of the facts of the layer goes for the new one as well."""

NAMES_TOLD: Final = 10
"""So many missing names are told of."""

Header = layer_file_pb2.LayerFileHeader


def import_layer(
    graph: Graph,
    parts: Iterator[bytes],
    *,
    name: str | None,
    user: str,
    tick: Callable[[], None],
    make_writer: MakeFreshWriter,
    extend: Callable[[Header], None] | None = None,
) -> tuple[Layer, int]:
    """Make a layer of a file; returns it and how many nodes it says anything of. Durable on return.

    Args:
        parts: The file's bytes.
        name: What to call it; None, as the file says.
        make_writer: Makes what writes fresh nodes to a layer.
        extend: Adds to the model what is missing; left out, that is refused.

    Raises:
        BadMesgFormat, BadMesgVers: the file is none, damaged, cut short, or of another version.
        NoSuchForm, NoSuchProp, NoSuchTagProp, BadTypeValu, BadArg: something of it does not fit the model here.
        Retry: another instance came to lead meanwhile.
    """
    reader = FileReader(parts)
    header = reader.begin()
    if extend is not None:
        extend(header)
    check_model(graph, header)
    staging = _Staging(graph, user, header, name, make_writer)
    try:
        count = 0
        for block in reader.blocks():
            tick()
            if block.kind == TRAILER:
                _compare(block, staging)
                count = staging.node_count
            else:
                staging.take(block)
        check_model(graph, header)
        return staging.attach(), count
    except BaseException:
        staging.drop()
        raise


def check_model(graph: Graph, header: Header) -> None:
    """Make certain that the model has what the header names; raises NoSuchForm, NoSuchProp or NoSuchTagProp."""
    model = graph.model
    hint = "the file tells what users had added to the model where it comes from: import it with that"
    missing = [form for form in header.forms if model.form(form) is None]
    if missing:
        raise NoSuchForm(
            f"the layer needs forms that the model lacks: {_some(missing)}", name=missing[0], hint=hint
        )
    missing = [prop for prop in header.props if model.prop(prop) is None]
    if missing:
        raise NoSuchProp(
            f"the layer needs properties that the model lacks: {_some(missing)}", name=missing[0], hint=hint
        )
    missing = [prop for prop in header.tag_props if model.tagprop(prop) is None]
    if missing:
        raise NoSuchTagProp(
            f"the layer needs tag properties that the model lacks: {_some(missing)}",
            name=missing[0],
            hint=hint,
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_TOLD
    return ", ".join(names[:NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")


def _compare(block: Block, staging: _Staging) -> None:
    trailer = parsed(layer_file_pb2.LayerFileTrailer, block)
    if (trailer.node_count, trailer.edit_count) != (staging.node_count, staging.edit_count):
        raise BadMesgFormat(
            f"the file of the layer says in {block.place} that it has {trailer.node_count} nodes with"
            f" {trailer.edit_count} edits, and has {staging.node_count} with {staging.edit_count}",
            name="layer file",
            offset=block.offset,
            block=block.number,
        )


class _Staging:
    """A layer that is being made."""

    def __init__(
        self, graph: Graph, user: str, header: Header, name: str | None, make_writer: MakeFreshWriter
    ) -> None:
        self._graph = graph
        self._user = user
        self._led_count = graph.led_count
        chosen = new_layer_id()
        facts = {"created": graph.now_ms(), **_kept(header)}
        creator = graph.model.iden_of("user", user)
        if creator is not None:
            facts["creator"] = creator
        called = (header.name if name is None else name)[:NAME_SIZE_MAX]
        made: list[Layer] = []

        def op(txn: WriteTxn) -> Sequence[Step]:
            made[:] = [Layer(LayerId(chosen), free_number(txn), called, facts)]
            return (stage_layer(made[0]),)

        graph.change_stacks(op, user)
        self._layer = made[0]
        self._batches = ImportBatches(graph, self._layer, user, self._check, make_writer)

    @property
    def node_count(self) -> int:
        """How many nodes were taken."""
        return self._batches.node_count

    @property
    def edit_count(self) -> int:
        """How many edits they had."""
        return self._batches.edit_count

    def take(self, block: Block) -> None:
        """Take the nodes of a block."""
        try:
            nodes = split_nodes(block.body)
            for start in range(0, len(nodes), BATCH_NODE_COUNT):
                self._batches.take(nodes[start : start + BATCH_NODE_COUNT])
        except CellError as error:
            error.setdefault("place", f"{block.place} of the file")
            raise

    def _check(self, txn: WriteTxn) -> None:
        """Make certain that the layer is still there to be filled, and nobody is removing it."""
        if self._graph.led_count != self._led_count:
            raise Retry("another instance came to lead while the layer was imported")
        if find_layer(txn, self._layer.id, DETACHED) is None:
            raise NoSuchLayer("the layer that is imported was removed", iden=str(self._layer.id))

    def attach(self) -> Layer:
        """Have everybody see the layer."""

        def op(txn: WriteTxn) -> Sequence[Step]:
            self._check(txn)
            return (attach_layer(str(self._layer.id)),)

        self._graph.change_stacks(op, self._user)
        return self._graph.layer(self._layer.id)

    def drop(self) -> None:
        """Leave nothing of it, unless it is attached. What cannot be removed now is at the next start."""
        try:
            with self._graph.slab.view() as txn:
                found = find_layer(txn, self._layer.id, DETACHED)
            if found is not None:
                clear_detached(self._graph, found, self._user)
        except CellError as error:
            LOGGER.warning("what was imported of a layer is removed at the next start: %s", error)


def _kept(header: Header) -> dict[str, Any]:
    try:
        facts = json.loads(header.facts or "{}")
    except ValueError as error:
        raise BadMesgFormat("the facts in the header of the file do not read", name="layer file") from error
    if not isinstance(facts, dict):
        raise BadMesgFormat("the facts in the header of the file are no object", name="layer file")
    found = {name: facts[name] for name in KEPT_FACTS if name in facts}
    fits = {"desc": str, "readonly": bool, "logedits": bool}
    return {name: value for name, value in found.items() if isinstance(value, fits[name])}


__all__ = ["check_model", "import_layer"]
