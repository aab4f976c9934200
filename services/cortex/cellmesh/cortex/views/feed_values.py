"""What feeds take and give: records, results, rejects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cellmesh.common.errors import CellError

BATCH_COUNT_MAX: Final = 10_000

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class FeedEdge(NamedTuple):
    """A light edge to or from the record's node; the node at the other end is made if it is not there."""

    verb: str
    form: str
    value: object
    reverse: bool = False


class FeedNode(NamedTuple):
    """A record of a feed; values need not be normalised.

    Attributes:
        form, value: The node.
        props: Properties by relative name.
        tags: Tags by name with their intervals in any form, None for none.
        tag_props: Tag properties by tag and name.
        edges: Light edges.
        node_data: Data by name.
    """

    form: str
    value: object
    props: Mapping[str, object] = NOTHING
    tags: Mapping[str, object] = NOTHING
    tag_props: Mapping[str, Mapping[str, object]] = NOTHING
    edges: Sequence[FeedEdge] = ()
    node_data: Mapping[str, object] = NOTHING


class BadRecord(NamedTuple):
    """A record that has a value which is none, such as a number whose text is no number: why it is left out."""

    error: CellError


@dataclass(frozen=True, slots=True)
class FeedReject:
    """A record that was left out: its place in the batch, from 0, and why."""

    index: int
    error: CellError


@dataclass(slots=True)
class FeedResult:
    """What became of a batch.

    Attributes:
        accepted_count: Records taken.
        edit_count: Node edits made; 0 when all was known.
        new_node_count: Nodes made, those that records only imply among them.
        new_edge_count: Light edges made.
        rejects: Records left out, in order.
    """

    accepted_count: int = 0
    edit_count: int = 0
    new_node_count: int = 0
    new_edge_count: int = 0
    rejects: list[FeedReject] = field(default_factory=list)
