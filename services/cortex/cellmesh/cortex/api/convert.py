"""Proto <-> values of the graph and of Storm.

A Storm stream is put together from bytes: a node's stored record goes into the response as it is, between the tags
and lengths of the messages around it, so that streaming a lift decodes and encodes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, assert_never

from cellmesh.api.cortex.v1 import node_pb2, storm_pb2
from cellmesh.common.errors import BadArg, to_detail
from cellmesh.common.values import fill_value, from_value, to_value
from cellmesh.cortex.storm.runtime.messages import (
    CsvRow,
    Error,
    Fini,
    Fire,
    Init,
    Message,
    NodeRecords,
    NodeRow,
    Print,
    Profiled,
    Warn,
)
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm.runtime.plan import Plan, PlanStep
from cellmesh.cortex.views.node import Node

_LENGTH_DELIMITED: Final = 2
_VARINT: Final = 0

FINI_CACHED_MAX: Final = 256
"""Ends of queries that are kept serialised."""
NODE_HEADS_CACHED_MAX: Final = 1024
"""Sizes of nodes for which the bytes before them are kept."""


def _tag(message: type, field: str, wire_type: int = _LENGTH_DELIMITED) -> bytes:
    """The bytes before a field, length-delimited or a number; one byte, since the field's number is small."""
    number: int = message.DESCRIPTOR.fields_by_name[field].number  # type: ignore[attr-defined]
    assert number < 16
    return bytes([number << 3 | wire_type])


_MESSAGES_TAG: Final = _tag(storm_pb2.StormResponse, "messages")
_NODE_TAG: Final = _tag(storm_pb2.StormMessage, "node")
_INIT_TAG: Final = _tag(storm_pb2.StormMessage, "init")
_TASK_TAG: Final = _tag(storm_pb2.StormInit, "task_id")
_TEXT_TAG: Final = _tag(storm_pb2.StormInit, "text")
_TIME_TAG: Final = _tag(storm_pb2.StormInit, "time_ms", _VARINT)

_MODES: Final = {
    storm_pb2.STORM_MODE_UNSPECIFIED: "storm",
    storm_pb2.STORM_MODE_STORM: "storm",
    storm_pb2.STORM_MODE_LOOKUP: "lookup",
    storm_pb2.STORM_MODE_AUTOADD: "autoadd",
    storm_pb2.STORM_MODE_SEARCH: "search",
}
_SHOWN: Final = frozenset({"node", "print", "warn", "fire", "csv"})


def varint(number: int) -> bytes:
    """A non-negative number as protobuf writes lengths."""
    if number < 0x80:
        return _SMALL[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL: Final = [bytes([number]) for number in range(0x80)]


def mode_of(asked: storm_pb2.StormOptions | storm_pb2.ParseStormRequest) -> str | None:
    """Return how the text of a query is read; None for a mode there is none of."""
    return _MODES.get(asked.mode)


def options_from_proto(
    text_options: storm_pb2.StormOptions, user: str, *, has_all_rights: bool = False
) -> QueryOptions:
    """Return the options of a query.

    Args:
        text_options: As received.
        user: Who it runs as: the caller, or whom the caller named and may name.
        has_all_rights: Whether it may do everything, whoever the user is.

    Raises:
        BadArg: an option has a value that there is none of; names the option.
    """
    given = [field.name for field, _ in text_options.ListFields()]
    if not given or given == ["vars"]:
        # What most queries have; to look for each of the others costs more than a point query reads.
        variables = {name: from_value(value) for name, value in text_options.vars.items()} if given else {}
        return QueryOptions(vars=variables, user=user, has_all_rights=has_all_rights)
    unknown = [name for name in text_options.show if name not in _SHOWN]
    if unknown:
        raise BadArg(
            f"options.show knows no message {unknown[0]!r}; there are {', '.join(sorted(_SHOWN))}",
            name="show",
        )
    mode = mode_of(text_options)
    if mode is None:
        raise BadArg(f"options.mode {text_options.mode} is unknown", name="mode")
    has_limit = text_options.HasField("time_limit")
    return QueryOptions(
        vars={name: from_value(value) for name, value in text_options.vars.items()},
        view=text_options.view_id or None,
        user=user,
        mode=mode,
        limit=text_options.limit or None,
        readonly=text_options.readonly,
        ndefs=tuple((ref.form, from_value(ref.value)) for ref in text_options.ndefs),
        idens=tuple(text_options.idens),
        repr=text_options.repr,
        show=frozenset(text_options.show),
        path=text_options.path,
        time_limit_s=text_options.time_limit.ToTimedelta().total_seconds() if has_limit else None,
        profile=text_options.profile,
        row_limit=text_options.row_limit or None,
        memory_limit=text_options.memory_limit or None,
        depth_limit=text_options.depth_limit or None,
        has_all_rights=has_all_rights,
    )


def message_bytes(message: Message, reprs: bool) -> bytes:
    """Return a message of a query as one element of `StormResponse.messages`, tag and length included.

    Must be called on the query's own thread: nodes read their records there.
    """
    if type(message) is NodeRow:
        node = message.node.packed()
        if message.path or reprs:
            node += _extras(message, reprs).SerializeToString()
        return _node(node)
    if type(message) is NodeRecords:
        return nodes_bytes(message.records)
    if type(message) is Init:
        return _init(message.task_id, message.text, message.time_ms)
    if type(message) is Fini:
        return _fini(message.node_count, message.duration_s, message.edit_count)
    return _element(_other(message).SerializeToString())


def nodes_bytes(records: Sequence[bytes]) -> bytes:
    """Return stored nodes as elements of `StormResponse.messages`."""
    return b"".join(chain.from_iterable(zip(map(_node_head, map(len, records)), records)))


def pack_records(task_id: str, text: str, began_s: float, records: Sequence[bytes]) -> bytes:
    """Return a serialised StormResponse with all of a query's messages.

    Args:
        task_id: The query's, 32 hexadecimal digits.
        text: The query's.
        began_s: When it began, in seconds since 1970.
        records: Its nodes, as stored.
    """
    init = _init(task_id, text, int(began_s * 1000))
    return b"".join((init, nodes_bytes(records), _fini(len(records), max(time.time() - began_s, 0.0), 0)))


def _element(body: bytes) -> bytes:
    return b"".join((_MESSAGES_TAG, varint(len(body)), body))


def _node(node: bytes) -> bytes:
    return _node_head(len(node)) + node


@lru_cache(maxsize=NODE_HEADS_CACHED_MAX)
def _node_head(size: int) -> bytes:
    """What stands before a node of so many bytes; the nodes of a query are of few sizes."""
    length = varint(size)
    return b"".join((_MESSAGES_TAG, varint(len(_NODE_TAG) + len(length) + size), _NODE_TAG, length))


def _init(task_id: str, text: str, time_ms: int) -> bytes:
    """As `_other` would make it of an Init, at a third of the time: every query has one."""
    encoded = text.encode()
    text_part = (_TEXT_TAG, varint(len(encoded)), encoded) if encoded else ()
    # Signed numbers travel zigzag.
    parts = (_TASK_TAG, varint(len(task_id)), task_id.encode(), *text_part, _TIME_TAG, varint(time_ms << 1))
    body = b"".join(parts)
    return _element(b"".join((_INIT_TAG, varint(len(body)), body)))


def _fini(node_count: int, duration_s: float, edit_count: int) -> bytes:
    """A Fini likewise; most queries end within a millisecond or few, with few nodes."""
    return _fini_in_ms(node_count, round(duration_s * 1000), edit_count)


@lru_cache(maxsize=FINI_CACHED_MAX)
def _fini_in_ms(node_count: int, duration_ms: int, edit_count: int) -> bytes:
    out = storm_pb2.StormMessage()
    out.fini.node_count, out.fini.edit_count = node_count, edit_count
    out.fini.duration.FromMilliseconds(duration_ms)
    return _element(out.SerializeToString())


def pack_messages(parts: Sequence[bytes]) -> bytes:
    """Return a serialised StormResponse of elements made by `message_bytes`."""
    return b"".join(parts)


def _extras(row: NodeRow, reprs: bool) -> node_pb2.Node:
    """Fields that a query adds to a node. Appended to the stored bytes they make one message with them."""
    extras = node_pb2.Node()
    for name, value in (row.path or {}).items():
        fill_value(extras.path[name], value)
    if reprs:
        extras.repr.CopyFrom(node_repr(row.node))
    return extras


def node_repr(node: Node) -> node_pb2.NodeRepr:
    """A node in human text."""
    shown = node_pb2.NodeRepr(value=_shown(node.repr()))
    for name, value in node.props.items():
        text = node.repr(name)
        if text != value:
            shown.props[name] = _shown(text)
    return shown


def _shown(text: Any) -> str:
    """What a type shows as one text: values made of several are shown as several texts, in brackets here."""
    if isinstance(text, (list, tuple)):
        return f"({', '.join(map(_shown, text))})"
    return str(text)


def _other(message: Message) -> storm_pb2.StormMessage:
    out = storm_pb2.StormMessage()
    match message:
        case Print():
            out.print.text = message.text
        case Warn():
            out.warn.text = message.text
            for name, value in message.fields.items():
                fill_value(out.warn.fields[name], value)
        case Fire():
            out.fire.type = message.type
            fill_value(out.fire.data, message.data)
        case CsvRow():
            out.csv_row.row.items.extend(to_value(cell) for cell in message.row)
            out.csv_row.table = message.table or ""
        case Error():
            out.err.CopyFrom(to_detail(message.error))
        case Profiled():
            out.profile.CopyFrom(plan_to_proto(message.plan))
        case NodeRow() | NodeRecords() | Init() | Fini():
            raise AssertionError("those are put together from bytes")
        case _:
            assert_never(message)
    return out


def plan_to_proto(plan: Plan) -> storm_pb2.StormPlan:
    """The plan of a query on the wire."""
    return storm_pb2.StormPlan(
        steps=map(_step, plan.steps),
        may_change=plan.may_change,
        is_batched=plan.is_batched,
        notes=plan.notes,
    )


def _step(step: PlanStep) -> storm_pb2.StormStep:
    out = storm_pb2.StormStep(
        kind=step.kind,
        text=step.text,
        line=step.line,
        column=step.column,
        notes=step.notes,
        steps=map(_step, step.steps),
        run_count=step.run_count,
        row_count=step.row_count,
    )
    if step.run_count:
        out.duration.FromNanoseconds(round(step.time_s * 1e9))
    return out


def plain_result(value: Any) -> Any:
    """What a query returned, as it travels."""
    return to_value(value)
