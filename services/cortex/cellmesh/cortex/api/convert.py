"""Proto <-> values of the graph and of Storm.

A Storm stream is put together from bytes: a node's stored record goes into the response as it is, between the tags
and lengths of the messages around it, so that streaming a lift decodes and encodes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    NodeRow,
    Print,
    Profiled,
    Warn,
)
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm.runtime.plan import Plan, PlanStep
from cellmesh.cortex.views.node import Node

_LENGTH_DELIMITED: Final = 2


def _tag(message: type, field: str) -> bytes:
    """The bytes before a length-delimited field; one byte, since the field's number is small."""
    number: int = message.DESCRIPTOR.fields_by_name[field].number  # type: ignore[attr-defined]
    assert number < 16
    return bytes([number << 3 | _LENGTH_DELIMITED])


_MESSAGES_TAG: Final = _tag(storm_pb2.StormResponse, "messages")
_NODE_TAG: Final = _tag(storm_pb2.StormMessage, "node")

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


def options_from_proto(text_options: storm_pb2.StormOptions, user: str) -> QueryOptions:
    """Return the options of a query.

    Args:
        text_options: As received.
        user: Who it runs as: the caller, or whom the caller named and may name.

    Raises:
        BadArg: an option has a value that there is none of; names the option.
    """
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
    )


def message_bytes(message: Message, reprs: bool) -> bytes:
    """Return a message of a query as one element of `StormResponse.messages`, tag and length included.

    Must be called on the query's own thread: nodes read their records there.
    """
    if type(message) is NodeRow:
        node = message.node.packed()
        if message.path or reprs:
            node += _extras(message, reprs).SerializeToString()
        body = b"".join((_NODE_TAG, varint(len(node)), node))
    else:
        body = _other(message).SerializeToString()
    return b"".join((_MESSAGES_TAG, varint(len(body)), body))


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
        case Init():
            out.init.task_id, out.init.text, out.init.time_ms = message.task_id, message.text, message.time_ms
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
        case Fini():
            out.fini.node_count, out.fini.edit_count = message.node_count, message.edit_count
            out.fini.duration.FromMilliseconds(round(message.duration_s * 1000))
        case NodeRow():
            raise AssertionError("nodes are put together from bytes")
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
