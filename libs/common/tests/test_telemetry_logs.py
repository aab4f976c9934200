"""Log lines: text and JSON, request ids, secrets; spans and metrics of real calls."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.common.auth.context import LOCAL_ROOT, Call, set_current_call
from cellmesh.common.cell import Cell
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.rpc.channel import open_aio_channel
from cellmesh.common.telemetry import names, tracing
from cellmesh.common.telemetry.logs import MASKED, configure_logs, get_logger


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A stream in place of standard error; logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    ours = logging.getLogger("cellmesh").level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("cellmesh").setLevel(ours)


def test_json_lines_hold_event_fields_and_cell(stream: io.StringIO) -> None:
    configure_logs("info", "json", cell="axon", stream=stream)
    get_logger("cellmesh.trial").info("blob_stored", size=7, names=("a", "b"))
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["cell"], line["size"]) == ("blob_stored", "info", "axon", 7)
    assert line["names"] == ["a", "b"]
    assert line["time"].endswith("Z")


def test_text_lines_are_readable(stream: io.StringIO) -> None:
    configure_logs("info", "text", stream=stream)
    get_logger("cellmesh.trial").warning("disk_low", folder="/a b", free_bytes=12)
    time, rest = stream.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert rest == 'warning disk_low folder="/a b" free_bytes=12\n'


def test_a_value_cannot_forge_a_line(stream: io.StringIO) -> None:
    configure_logs("info", "text", stream=stream)
    get_logger("cellmesh.trial").info("seen", name="x\n2026-01-01 error forged")
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_secrets_are_masked_by_name(stream: io.StringIO, log_format: Any) -> None:
    configure_logs("info", log_format, stream=stream)
    get_logger("cellmesh.trial").info(
        "seen", password="hunter2", enroll="hunter2", api_key="hunter2", user_token="hunter2", tokens=3
    )
    assert "hunter2" not in stream.getvalue()
    assert MASKED in stream.getvalue()


def test_levels_apply_to_us_and_others_speak_only_of_trouble(stream: io.StringIO) -> None:
    configure_logs("warning", "json", stream=stream)
    get_logger("cellmesh.trial").info("hidden")
    logging.getLogger("elsewhere").info("hidden too")
    logging.getLogger("elsewhere").warning("shown")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["shown"]


def test_lines_carry_the_request_they_belong_to(stream: io.StringIO) -> None:
    configure_logs("info", "json", stream=stream)

    async def serve() -> None:
        set_current_call(Call("r-1", "/t.T/Do", LOCAL_ROOT))
        get_logger("cellmesh.trial").info("inside")

    asyncio.run(serve())
    get_logger("cellmesh.trial").info("outside")
    inside, outside = map(json.loads, stream.getvalue().splitlines())
    assert (inside["request_id"], inside["method"], inside["caller"]) == ("r-1", "/t.T/Do", "root")
    assert "request_id" not in outside


def test_an_exception_is_logged_whole(stream: io.StringIO) -> None:
    configure_logs("info", "json", stream=stream)
    try:
        raise ValueError("why")
    except ValueError as error:
        get_logger("cellmesh.trial").error("failed", exc_info=error)
    line = json.loads(stream.getvalue())
    assert "ValueError: why" in line["traceback"]


class TrialConfig(CellConfig):
    kind: ClassVar[str] = "trial"


class TrialCell(Cell[TrialConfig]):
    kind = "trial"


async def call_cell(tmp_path: Path, metadata: tuple[tuple[str, str], ...]) -> None:
    config = load_config(TrialConfig, dir=tmp_path, environ={})
    async with TrialCell(config) as cell, open_aio_channel(cell.addresses[-1]) as channel:
        stub = cell_service_pb2_grpc.CellServiceStub(channel)
        await stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest(), metadata=metadata)


def test_calls_become_spans_under_their_callers_trace_and_durations(tmp_path: Path) -> None:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    reader = InMemoryMetricReader()
    trace = "0af7651916cd43dd8448eb211c80319c"

    async def main() -> Any:
        tracing.install(SimpleSpanProcessor(exporter), reader, cell="trial")
        metadata = ((names.METADATA_TRACE_PARENT, f"00-{trace}-b7ad6b7169203331-01"),)
        config = load_config(TrialConfig, dir=tmp_path, environ={})
        async with TrialCell(config) as cell, open_aio_channel(cell.addresses[-1]) as channel:
            stub = cell_service_pb2_grpc.CellServiceStub(channel)
            await stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest(), metadata=metadata)
            return reader.get_metrics_data()

    metrics = asyncio.run(main())
    (span,) = exporter.get_finished_spans()
    assert span.name == "cellmesh.api.common.v1.CellService/GetCellInfo"
    assert f"{span.context.trace_id:032x}" == trace
    assert span.attributes is not None
    assert span.attributes[names.ATTRIBUTE_CALLER] == "root"
    assert span.attributes[names.ATTRIBUTE_STATUS] == 0
    found = {
        metric.name: metric
        for resource in metrics.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert found[names.METRIC_RPC_DURATION].data.data_points[0].count == 1
    assert found[names.METRIC_RPC_ACTIVE].data.data_points[0].value == 0


def test_off_means_nothing_is_wrapped_and_nothing_imported(tmp_path: Path) -> None:
    assert tracing.call_recorder("a.B", "C") is None
    code = (
        "import sys, cellmesh.common.cell, cellmesh.common.rpc\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
