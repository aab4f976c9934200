"""Records for programs: `--json` prints what a command lists as JSON, one object a line, with nothing rounded.

Messages keep the names of their protos; times are RFC 3339, lengths of time seconds, bytes hexadecimal, enums lower case.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from google.protobuf.message import Message

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_KEY: Final = "cellmesh.json"


def json_option(command: CommandT) -> CommandT:
    """Decorate a command with --json; the command asks `echo_records` whether it was given."""

    def note(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        ctx.meta[_KEY] = value

    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        expose_value=False,
        callback=note,
        help="Print JSON, one object a line, for programs.",
    )(command)


def wants_json() -> bool:
    """Whether the running command was given --json."""
    return bool(click.get_current_context().meta.get(_KEY))


def echo_records(records: Iterable[Any]) -> bool:
    """Print records as JSON if that was asked for; returns whether it was.

    Args:
        records: Messages, dataclasses or dicts.
    """
    if not wants_json():
        return False
    for record in records:
        click.echo(json.dumps(record_of(record), ensure_ascii=False))
    return True


def record_of(value: Any) -> Any:
    """A value as JSON has it."""
    from google.protobuf.message import Message

    if isinstance(value, Message):
        return _of_message(value)
    if is_dataclass(value) and not isinstance(value, type):
        return record_of(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): record_of(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (str, int, float)) or value is None:
        return value
    if isinstance(value, Iterable):
        return [record_of(item) for item in value]
    return str(value)


def _of_message(message: Message) -> Any:
    from cellmesh.api.common.v1.value_pb2 import Value
    from cellmesh.common.values import from_value
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    match message:
        case Timestamp():
            return message.ToJsonString()
        case Duration():
            return message.ToNanoseconds() / 1e9
        case Value():
            return record_of(from_value(message))
    return {
        field.name: _of_field(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _of_field(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        if field.is_repeated:
            return [_enum_text(field, number) for number in value]
        return _enum_text(field, value)
    return record_of(value)


def _enum_text(field: Any, number: int) -> Any:
    values = field.enum_type.values_by_number
    if number not in values:
        return number
    # MIRROR_ROLE_LEADER of the enum MirrorRole is "leader".
    start = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in field.enum_type.name)
    return values[number].name.removeprefix(f"{start.lstrip('_')}_").lower()
