"""`cellmesh tasks`: what a cell is doing now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cellmesh.cli.connect import any_cell_options, open_any
from cellmesh.cli.records import echo_records, json_option

if TYPE_CHECKING:
    from cellmesh.api.common.v1.task_service_pb2_grpc import TaskServiceStub

TEXT_SIZE_MAX = 80


@contextmanager
def _stub(
    kind: str | None, url: str | None, folder: Path | None, identity: Path | None
) -> Iterator[TaskServiceStub]:
    from cellmesh.api.common.v1.task_service_pb2_grpc import TaskServiceStub

    with open_any(kind, url, folder, identity) as client:
        yield client.stub(TaskServiceStub)


@click.group()
def tasks() -> None:
    """The calls a cell is serving: list, cancel."""


@tasks.command("list")
@click.option("--caller", default="", help="Only those of this user or cell.")
@click.option("--request", default="", help="Only those with this request id.")
@json_option
@any_cell_options
def list_(caller: str, request: str, **where: Any) -> None:
    """List running calls, the oldest first: all for administrators, your own for others."""
    from cellmesh.api.common.v1 import task_service_pb2 as pb
    from cellmesh.cli.output import span_text, table

    with _stub(**where) as stub:
        found = stub.ListTasks(pb.ListTasksRequest(caller=caller, request_id=request)).tasks
    if echo_records(found):
        return
    rows = []
    for task in found:
        text = " ".join(task.text.split())
        rows.append(
            (
                task.task_id,
                task.caller or "-",
                span_text(task.duration.ToNanoseconds() / 1e9),
                task.method.rpartition(".")[2],
                task.request_id,
                text if len(text) <= TEXT_SIZE_MAX else text[: TEXT_SIZE_MAX - 3] + "...",
            )
        )
    click.echo(table(("TASK", "CALLER", "TIME", "METHOD", "REQUEST", "TEXT"), rows))


@tasks.command("cancel")
@click.argument("task_id")
@any_cell_options
def cancel(task_id: str, **where: Any) -> None:
    """End a running call. Who waits for it is told who ended it."""
    from cellmesh.api.common.v1 import task_service_pb2 as pb

    with _stub(**where) as stub:
        task = stub.CancelTask(pb.CancelTaskRequest(task_id=task_id)).task
    click.echo(f"cancelled {task.method.rpartition('.')[2]} of {task.caller or 'nobody known'}")
