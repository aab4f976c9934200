"""One query in a format, for scripts: data on standard output, all else on standard error."""

from __future__ import annotations

from typing import IO

from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.cli.shell.paging import may_color, screen_size
from cellmesh.cli.shell.rendering import DATA_FORMATS, Paint, make_renderer, other_lines
from cellmesh.cli.shell.running import RunningQuery
from cellmesh.cli.totals import speaks, totals_text
from cellmesh.client import CellClient


def run_once(
    client: CellClient, request: storm_pb2.StormRequest, format_name: str, out: IO[str], beside: IO[str]
) -> bool:
    """Run a query and print what comes of it; returns whether it succeeded.

    Args:
        client: The Cortex.
        request: The query.
        format_name: One of FORMATS.
        out: Where data goes.
        beside: Where errors, warnings and totals go, and what the query prints when data is for programs.

    Raises:
        CellError: the call failed.
    """
    renderer = make_renderer(format_name, Paint(may_color(out)), screen_size()[1] if out.isatty() else None)
    paint = Paint(may_color(beside))
    succeeded, spoke = True, False
    running = RunningQuery(client, request)
    try:
        for message in running.messages():
            if message is None:
                out.flush()
                continue
            for line in renderer.lines(message):
                out.write(line + "\n")
            kind = message.WhichOneof("kind")
            succeeded = succeeded and kind != "err"
            spoke = spoke or speaks(kind)
            if format_name == "jsonl":
                continue
            for line in other_lines(message, request.text, paint):
                if kind == "csv_row" and format_name == "csv":
                    # The renderer has given it.
                    continue
                is_data = kind in ("print", "fire", "csv_row") and format_name not in DATA_FORMATS
                (out if is_data else beside).write(line + "\n")
            if kind == "fini":
                beside.write(totals_text(message.fini, spoke=spoke) + "\n")
        for line in renderer.end():
            out.write(line + "\n")
    finally:
        running.cancel()
        out.flush()
    return succeeded
