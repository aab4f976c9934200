"""`movenodes`: what layers say of nodes goes into another layer of the view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadOperArg, StormRuntimeError
from cellmesh.common.storage import WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.layer import Layer
from cellmesh.cortex.layers.records import Record, node_value, parse_record
from cellmesh.cortex.layers.schema import NODES
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.values import tostr
from cellmesh.cortex.values.changes import encode_layer_edits
from cellmesh.cortex.values.edits import (
    EdgeAdd,
    EdgeDelete,
    LayerEdits,
    NodeAdd,
    NodeDataDelete,
    NodeDataSet,
    NodeDelete,
    NodeEdit,
    NodeEdits,
    PropDelete,
    PropSet,
    TagDelete,
    TagPropDelete,
    TagPropSet,
    TagSet,
)
from cellmesh.cortex.values.ids import ViewId
from cellmesh.cortex.values.wire import decode_value
from cellmesh.cortex.views.draft import Draft
from cellmesh.cortex.views.editor import Editor
from cellmesh.cortex.views.merge import ALL, Choice, NodeMerge
from cellmesh.cortex.views.view import View

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.storm.runtime.path import Path
    from cellmesh.cortex.views.graph import Graph

BATCH_NODE_COUNT: Final = 256
CREATED: Final = ".created"


@dataclass(frozen=True, slots=True)
class Move:
    """What is moved where.

    Attributes:
        sources: The layers that are emptied of the nodes.
        target: The layer they go into.
        order: All of them, and the target, from the one whose word counts least to the one whose word counts most.
    """

    sources: tuple[Layer, ...]
    target: Layer
    order: tuple[Layer, ...]


class _OnlyLook(Exception):
    """Ends an op that is to change nothing."""

    def __init__(self, changes: list[tuple[Layer, NodeEdits]]) -> None:
        super().__init__("nothing is to be changed")
        self.changes = changes


def move_nodes(
    graph: Graph, move: Move, nids: Sequence[bytes], user: str, *, is_applied: bool
) -> list[tuple[Layer, NodeEdits]]:
    """Move what the layers say of some nodes, in one transaction, durable on return; returns the edits of each layer.

    No session of the calling thread may hold the write transaction.

    Args:
        graph: The graph.
        move: From where to where.
        nids: The nodes, each in 8 bytes.
        user: Who does it.
        is_applied: Whether it is done, or only found out what would be.
    """
    alone = View(ViewId(""), (move.target,), move.target.name)
    with graph.begin(alone, user=user) as session:

        def run(txn: WriteTxn) -> tuple[list[tuple[Layer, NodeEdits]], int, Any]:
            editor = Editor(session, txn)
            taken: dict[Layer, list[NodeEdits]] = {layer: [] for layer in move.sources}
            for nid in nids:
                for layer, found in _merge_layers(graph, editor, move, nid):
                    taken[layer].append(found)
            # The nodes of tags are in the view already.
            for key in editor.drafts.keys() - set(nids):
                del editor.drafts[key]
            changes = [(layer, edits) for layer in move.sources for edits in taken[layer]]
            given = [
                (move.target, NodeEdits(draft.nid, draft.form.name, draft.value, tuple(draft.edits)))
                for draft in editor.drafts.values()
                if draft.edits
            ]
            if not is_applied:
                raise _OnlyLook([*given, *changes])
            count = editor.commit()
            for layer, edits in taken.items():
                if edits:
                    graph.check_layer(txn, layer)
                    LayerWriter(txn, layer.key, graph.catalog, graph.names, graph.nids).apply(edits)
                    payload = encode_layer_edits(LayerEdits(layer.id, tuple(edits), user, editor.now_ms))
                    graph.log_edits(txn, payload, user=user, now_ms=editor.now_ms)
            return [*given, *changes], count, graph.names.take_stored()

        try:
            found, count, stored = session.write_op(run)
        except _OnlyLook as look:
            return look.changes
        session.note_edits(count, stored)
        session.sync()
        return found


def _merge_layers(graph: Graph, editor: Editor, move: Move, nid: bytes) -> Iterator[tuple[Layer, NodeEdits]]:
    """Add what the layers say of a node to the editor, on the target; yield what is taken out of each layer."""
    txn = editor.txn
    records = {layer: _record(txn, layer, nid) for layer in move.order}
    own = records[move.target]
    choice = _not_hidden(graph, own) if own is not None else ALL
    is_made = False
    for layer in move.order:
        if layer is move.target:
            if own is not None:
                _say_again(editor, nid, own)
                # What the target hides of the layers above it in rank is not hidden.
                choice = ALL
            continue
        record = records[layer]
        if record is not None and record.is_mask:
            continue  # it hides what lies below, and what lies above is there all the same
        if nid not in editor.drafts:
            _begin(graph, editor, nid, records)
        found = NodeMerge(graph, editor, layer.key, choice).node(nid)
        if found is None:
            continue
        if record is not None and record.is_added and not is_made and not (own is not None and own.is_added):
            is_made = True
            editor.drafts[nid].edits.insert(0, NodeAdd())
        yield layer, found


def _record(txn: WriteTxn, layer: Layer, nid: bytes) -> Record | None:
    stored = txn.get(NODES, layer.key + nid)
    return None if stored is None else parse_record(stored)


def _begin(graph: Graph, editor: Editor, nid: bytes, records: Mapping[Layer, Record | None]) -> None:
    """Begin a draft of a node that the target need not have."""
    form = graph.form_of_key(lambda op: op(editor.txn), nid[6:])
    for record in records.values():
        if record is not None:
            value = node_value(record.head)
            top, _ = editor.stack.parsed(editor.txn, nid)
            editor.drafts[nid] = Draft(keys.unpack_nid(nid), form, value, top, None)
            return


def _not_hidden(graph: Graph, own: Record) -> Choice:
    """Return what to take of layers that the target outranks: all but what it hides, which stays where it is."""
    tags, tag_props = own.tag_masks, own.tag_prop_masks
    names = own.prop_masks
    if not tags and not tag_props and not names:
        return ALL

    def prop(full_name: str) -> bool:
        found = graph.model.prop(full_name)
        return (full_name if found is None else found.name) not in names

    return Choice(tag=lambda tag: tag not in tags, prop=prop)


def _say_again(editor: Editor, nid: bytes, own: Record) -> None:
    """Have the word of the target count more than what came from other layers so far."""
    draft = editor.drafts.get(nid)
    if draft is None:
        return
    for name, encoded in own.props.items():
        value, now = decode_value(encoded), draft.get(name)
        if name != CREATED and now != value:
            prop = draft.form.props.get(name)
            draft.set(name, value if prop is None or now is None else prop.type.merge(now, value))


# The command -----------------------------------------------------------------------------------------------------


def _movenodes(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    move = _move(context, arguments)
    batch: list[Path] = []
    for path in rows:
        batch.append(path)
        if len(batch) >= BATCH_NODE_COUNT:
            yield from _do(context, move, batch, is_applied=arguments.apply)
            batch = []
    if batch:
        yield from _do(context, move, batch, is_applied=arguments.apply)


def _do(context: RunContext, move: Move, batch: Sequence[Path], *, is_applied: bool) -> Iterator[Path]:
    session = context.session
    session.sync()
    session.pause()
    nids = list(dict.fromkeys(path.node.key for path in batch))
    changes = move_nodes(session.graph, move, nids, context.user, is_applied=is_applied)
    session.generation += 1
    if not is_applied:
        nodes = {path.node.key: path.node for path in batch}
        idens = {int.from_bytes(key, "big"): node.iden for key, node in nodes.items()}
        for layer, edits in changes:
            for edit in edits.edits:
                for line in _shown(context, edits, edit):
                    context.print(f"{layer.id} {line.format(iden=idens[edits.nid])}")
    yield from batch


def _shown(context: RunContext, edits: NodeEdits, edit: NodeEdit) -> Iterator[str]:
    """Yield what to print of an edit; braces stand for the iden of the node."""
    form = context.model.require_form(edits.form)
    match edit:
        case NodeAdd() | NodeDelete():
            word = "add" if isinstance(edit, NodeAdd) else "delete"
            text = f"{word} {{iden}} {edits.form} = {_plain(form.type.repr(edits.value))}"
        case PropSet(name=name) | PropDelete(name=name):
            word = "set" if isinstance(edit, PropSet) else "delete"
            value = edit.value if isinstance(edit, PropSet) else edit.old_value
            prop = form.props.get(name)
            shown = value if prop is None or isinstance(edit, PropDelete) else prop.type.repr(value)
            full = edits.form + (name if name.startswith(".") else f":{name}")
            text = f"{word} {{iden}} {full} = {_plain(shown)}"
        case TagSet(name=name) | TagDelete(name=name):
            word = "set" if isinstance(edit, TagSet) else "delete"
            text = f"{word} {{iden}} {edits.form}#{name}"
        case TagPropSet(tag=tag, name=name) | TagPropDelete(tag=tag, name=name):
            word = "set" if isinstance(edit, TagPropSet) else "delete"
            text = f"{word} {{iden}} {edits.form}#{tag}:{name}"
        case NodeDataSet(name=name) | NodeDataDelete(name=name):
            word = "set" if isinstance(edit, NodeDataSet) else "delete"
            text = f"{word} {{iden}} {edits.form} DATA {_plain(name)}"
        case EdgeAdd(verb=verb, to_nid=nid) | EdgeDelete(verb=verb, to_nid=nid):
            word = "add" if isinstance(edit, EdgeAdd) else "delete"
            others = context.session.nodes_by_nid((nid,))
            text = f"{word} {{iden}} {edits.form} +({_plain(verb)})> {others[0].iden if others else nid}"
        case _:
            return
    yield text


def _plain(value: object) -> str:
    return str(value).replace("{", "{{").replace("}", "}}")


def _move(context: RunContext, arguments: Arguments) -> Move:
    layers = context.view.layers
    if len(layers) < 2:
        raise StormRuntimeError("movenodes needs a view of several layers", name="movenodes")
    known = {str(layer.id): layer for layer in layers}

    def layer(iden: Any, option: str) -> Layer:
        found = known.get(tostr(iden))
        if found is None:
            raise BadOperArg(f"{option} names a layer that is not in the view", layr=tostr(iden))
        return found

    target = layers[0] if arguments.destlayer is None else layer(arguments.destlayer, "--destlayer")
    if arguments.srclayers:
        sources = tuple(layer(iden, "--srclayers") for iden in arguments.srclayers)
    else:
        sources = tuple(one for one in layers[1:] if one is not target)
    if target in sources:
        raise BadOperArg("a layer cannot be source and destination", layr=str(target.id))
    wanted = {*sources, target}
    if arguments.precedence:
        ranked = [layer(iden, "--precedence") for iden in arguments.precedence]
        if set(ranked) != wanted:
            missing = ", ".join(sorted(str(one.id) for one in wanted ^ set(ranked)))
            raise BadOperArg("--precedence names each source and the destination once", layr=missing)
    else:
        ranked = [one for one in layers if one in wanted]
    return Move(sources, target, tuple(reversed(ranked)))


COMMANDS: Final = (
    CommandSpec(
        "movenodes",
        """Move what layers of the view say of the nodes into another of its layers.

        Without --apply what would change is printed.

            ou:org | movenodes --apply
            ou:org | movenodes --srclayers $low --destlayer $high
        """,
        _movenodes,
        (
            ArgumentSpec(("--apply",), "Do it.", action="store_true"),
            ArgumentSpec(
                ("--srclayers",),
                "Idens of the layers to take from; all below the top one when left out.",
                type="any",
                count="*",
            ),
            ArgumentSpec(("--destlayer",), "The iden of the layer to move to; the top one when left out."),
            ArgumentSpec(
                ("--precedence",),
                "Idens of these layers, the one whose values win first; as they lie when left out.",
                type="any",
                count="*",
            ),
        ),
        needs_constant=True,
        may_change=True,
    ),
)
