"""One push or pull, until it is told to end: the layer's content first, then its edits, each applied once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cellmesh.common.errors import LogTrimmed
from cellmesh.cortex.layers.offsets import Taken
from cellmesh.cortex.syncing.lost import Lost
from cellmesh.cortex.syncing.sides import IsOver, Source, Target
from cellmesh.cortex.values.shared import SharedNode

IDLE_COUNT_MAX: Final = 10_000
"""The place is stored after so many records that were of other layers."""


def copy_edits(
    source: Source,
    target: Target,
    *,
    offset: int,
    is_over: IsOver,
    note: Callable[[str], None],
) -> None:
    """Bring edits from a source to a target until told to end.

    Args:
        offset: Where to begin a source that is new; 0 for the layer's content, and its edits from then on.
        note: Is told what goes on.

    Raises:
        CellError: one of them cannot be reached, or refuses the edits; to be called again.
    """
    taken = target.taken()
    if taken is None and offset > 0:
        taken = _take(target, [], None, Taken(offset), source.layer_id)
    while not is_over():
        if taken is None or taken.after:
            note("takes the content")
            taken = _copy_content(source, target, taken, is_over)
            if taken is None or taken.after:
                return
        note("follows the edits")
        try:
            taken = _copy_edits(source, target, taken, is_over)
        except LogTrimmed:
            # Edits are gone that were not taken: all that the layer holds comes again, with those from then on.
            known = target.taken()
            fresh = _copy_content(source, target, known, is_over, anew=True)
            if fresh is None:
                return
            taken = fresh


def _copy_content(
    source: Source, target: Target, taken: Taken | None, is_over: IsOver, *, anew: bool = False
) -> Taken | None:
    begin: int | None = None if taken is None or anew else taken.offset
    after = b"" if taken is None or anew else taken.after
    for nodes, following, offset in source.content(after):
        if begin is None:
            begin = offset
        taken = _take(target, nodes, taken, Taken(begin, following), source.layer_id)
        if is_over():
            break
    return taken


def _copy_edits(source: Source, target: Target, taken: Taken, is_over: IsOver) -> Taken:
    # What was made in the target is not sent back: it would undo what changed there meanwhile, over and over.
    for edits in source.edits(taken.offset, target.layer_id):
        if edits.nodes or edits.offset - taken.offset >= IDLE_COUNT_MAX:
            taken = _take(target, edits.nodes, taken, Taken(edits.offset), edits.origin)
        if is_over():
            break
    return taken


def _take(target: Target, nodes: list[SharedNode], begins: Taken | None, ends: Taken, origin: str) -> Taken:
    taken = target.take(nodes, begins, ends, origin)
    if taken != ends:
        raise Lost
    return ends
