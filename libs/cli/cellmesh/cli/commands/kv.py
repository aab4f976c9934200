"""`cellmesh kv`: the key-values of a cell."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cellmesh.cli.connect import any_cell_options, open_any

if TYPE_CHECKING:
    from cellmesh.api.common.v1 import key_value_service_pb2 as pb
    from cellmesh.api.common.v1.key_value_service_pb2_grpc import KeyValueServiceStub


@contextmanager
def _stub(
    kind: str | None, url: str | None, folder: Path | None, identity: Path | None
) -> Iterator[KeyValueServiceStub]:
    from cellmesh.api.common.v1.key_value_service_pb2_grpc import KeyValueServiceStub

    with open_any(kind, url, folder, identity) as client:
        yield client.stub(KeyValueServiceStub)


@click.group()
def kv() -> None:
    r"""Key-values of a cell: a small tree of values.

    A PATH is names with slashes between, such as app/colour; a slash in a name is written \/.
    Values are printed, and read, as JSON.
    """


@kv.command("get")
@click.argument("path")
@any_cell_options
@click.pass_context
def get(ctx: click.Context, /, path: str, **where: Any) -> None:
    """Print the value at PATH; the exit code is 1 if there is none."""
    from cellmesh.api.common.v1 import key_value_service_pb2 as pb

    with _stub(**where) as stub:
        found = stub.GetKeyValue(pb.GetKeyValueRequest(path=split_path(path)))
    if not found.HasField("key_value"):
        click.echo(f"there is no value at {path}", err=True)
        ctx.exit(1)
    click.echo(_json(found.key_value))


@kv.command("set")
@click.argument("path")
@click.argument("value")
@click.option("--text", is_flag=True, help="VALUE is text as it stands, and no JSON.")
@any_cell_options
def set_(path: str, value: str, text: bool, **where: Any) -> None:
    """Set the value at PATH. VALUE is JSON, or else text; - reads it from standard input."""
    from cellmesh.api.common.v1 import key_value_service_pb2 as pb
    from cellmesh.common.values import to_value

    if value == "-":
        value = sys.stdin.read()
    request = pb.SetKeyValueRequest(path=split_path(path), value=to_value(value if text else parse(value)))
    with _stub(**where) as stub:
        stub.SetKeyValue(request)


@kv.command("pop")
@click.argument("path")
@click.option("--tree", is_flag=True, help="Everything below it as well.")
@any_cell_options
def pop(path: str, tree: bool, **where: Any) -> None:
    """Delete the value at PATH and print it."""
    from cellmesh.api.common.v1 import key_value_service_pb2 as pb

    with _stub(**where) as stub:
        done = stub.PopKeyValue(pb.PopKeyValueRequest(path=split_path(path), tree=tree))
    if done.HasField("old"):
        click.echo(_json(done.old))
    click.echo(f"{done.deleted_count} deleted", err=True)


@kv.command("move")
@click.argument("path")
@click.argument("new_path")
@any_cell_options
def move(path: str, new_path: str, **where: Any) -> None:
    """Move what is at PATH, and all below it, to NEW_PATH, where nothing may be."""
    from cellmesh.api.common.v1 import key_value_service_pb2 as pb

    request = pb.MoveKeyValuesRequest(path=split_path(path), new_path=split_path(new_path))
    with _stub(**where) as stub:
        done = stub.MoveKeyValues(request)
    click.echo(f"{done.moved_count} moved", err=True)


@kv.command("list")
@click.argument("path", default="")
@click.option("--tree", is_flag=True, help="All that is below, not only the next level.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
@any_cell_options
def list_(path: str, tree: bool, as_json: bool, **where: Any) -> None:
    """List what is below PATH, or everything. A slash behind a path says that there is more below it."""
    from cellmesh.api.common.v1 import key_value_service_pb2 as pb
    from cellmesh.cli.output import table

    rows: list[tuple[str, str, str]] = []
    with _stub(**where) as stub:
        request = pb.ListKeyValuesRequest(path=split_path(path), tree=tree)
        for message in stub.ListKeyValues(request):
            for item in message.key_values:
                if as_json:
                    click.echo(_line(item))
                    continue
                value = _json(item) if item.HasField("value") else ""
                name = join_path(item.path) + ("/" if item.has_children else "")
                rows.append(
                    (name, str(item.revision or ""), value if len(value) <= 60 else value[:57] + "...")
                )
    if not as_json:
        click.echo(table(("PATH", "REVISION", "VALUE"), rows))


@kv.command("watch")
@click.argument("path", default="")
@click.option("--snapshot", is_flag=True, help="Print what is there first.")
@click.option("--count", type=click.IntRange(1), default=None, help="End after so many lines.")
@any_cell_options
def watch(path: str, snapshot: bool, count: int | None, **where: Any) -> None:
    """Print each change at PATH and below, a JSON object a line, until interrupted."""
    from cellmesh.api.common.v1 import key_value_service_pb2 as pb

    with _stub(**where) as stub:
        seen = 0
        for message in stub.WatchKeyValues(
            pb.WatchKeyValuesRequest(path=split_path(path), snapshot=snapshot)
        ):
            for event in message.events:
                click.echo(_line(event.key_value, deleted=event.deleted))
                seen += 1
                if seen == count:
                    return


def split_path(text: str) -> list[str]:
    r"""The names of a path with slashes between; \/ and \\ stand for themselves. Empty is the root."""
    names: list[str] = [""]
    rest = iter(text)
    for char in rest:
        if char == "\\":
            names[-1] += next(rest, "\\")
        elif char == "/":
            names.append("")
        else:
            names[-1] += char
    return names if text else []


def join_path(names: Any) -> str:
    """The path of names, as `split_path` reads it."""
    return "/".join(name.replace("\\", "\\\\").replace("/", "\\/") for name in names)


def parse(text: str) -> Any:
    """The value of JSON, or the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _json(item: pb.KeyValue) -> str:
    from cellmesh.cli.output import plain
    from cellmesh.common.values import from_value

    return json.dumps(plain(from_value(item.value)), ensure_ascii=False)


def _line(item: pb.KeyValue, *, deleted: bool = False) -> str:
    from cellmesh.cli.output import plain
    from cellmesh.common.values import from_value

    told: dict[str, Any] = {"path": list(item.path), "revision": item.revision}
    if deleted:
        told["deleted"] = True
    elif item.HasField("value"):
        told["value"] = plain(from_value(item.value))
    return json.dumps(told, ensure_ascii=False)
