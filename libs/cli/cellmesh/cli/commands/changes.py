"""`cellmesh changes`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cellmesh.cli.connect import any_cell_options, open_any

if TYPE_CHECKING:
    from cellmesh.api.common.v1 import change_log_pb2

# The messages that payloads are, so that they can be shown.
PAYLOAD_MODULES = (
    "cellmesh.api.aha.v1.change_pb2",
    "cellmesh.api.axon.v1.change_pb2",
    "cellmesh.api.common.v1.key_value_change_pb2",
    "cellmesh.api.cortex.v1.node_edit_pb2",
    "cellmesh.api.cryotank.v1.change_pb2",
)


@click.command()
@click.option(
    "--offset", type=click.IntRange(0), default=None, help="The first record; else the oldest kept."
)
@click.option("--count", type=click.IntRange(1), default=None, help="At most this many.")
@click.option("--follow", is_flag=True, help="Wait for more.")
@any_cell_options
def changes(
    offset: int | None,
    count: int | None,
    follow: bool,
    kind: str | None,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Print a cell's change log, a JSON object a line."""
    from cellmesh.api.common.v1 import change_log_service_pb2, change_log_service_pb2_grpc

    request = change_log_service_pb2.ReadChangesRequest(offset=offset, count_max=count or 0, follow=follow)
    with open_any(kind, url, folder, identity) as client:
        stub = client.stub(change_log_service_pb2_grpc.ChangeLogServiceStub)
        for message in stub.ReadChanges(request):
            for record in message.records:
                click.echo(json.dumps(shown(record), ensure_ascii=False))


def shown(record: change_log_pb2.ChangeRecord) -> dict[str, Any]:
    """A record for people: its payload as fields if the type is known here, else in hexadecimal."""
    told: dict[str, Any] = {
        "offset": record.offset,
        "time_us": record.time_us,
        "actor": record.actor,
        "type": record.type_name,
    }
    fields = _fields(record.type_name, record.payload)
    if fields is None:
        told["payload_hex"] = record.payload.hex()
    else:
        told["change"] = fields
    return told


def _fields(type_name: str, payload: bytes) -> dict[str, Any] | None:
    import importlib

    from google.protobuf import descriptor_pool, json_format, message_factory
    from google.protobuf.message import DecodeError

    for module in PAYLOAD_MODULES:
        importlib.import_module(module)
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(type_name)
        message = message_factory.GetMessageClass(descriptor).FromString(payload)
    except (KeyError, DecodeError):
        return None
    return json_format.MessageToDict(message, preserving_proto_field_name=True)
