"""Figures and health of real cells over HTTP, and a trace that goes from a client through two processes."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc, key_value_service_pb2
from cellmesh.api.common.v1.key_value_service_pb2_grpc import KeyValueServiceStub
from cellmesh.common.cell import Cell, running
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import AddressInUse
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.storage import SubDb
from cellmesh.common.values import to_value
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

FACTS = SubDb("facts", "name -> what it is")


class MeteredConfig(CellConfig):
    kind: ClassVar[str] = "metered"


class MeteredCell(Cell[MeteredConfig]):
    kind = "metered"
    databases = (FACTS, *LOG_DATABASES)


def make(folder: Path, **flags: Any) -> MeteredCell:
    flags = {"metrics_listen": "127.0.0.1:0", "stop_grace_s": 1.0, **flags}
    return MeteredCell(load_config(MeteredConfig, dir=folder, flags=flags, environ={}))


def get(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


Figures = dict[tuple[str, str], float]


def figures(cell: MeteredCell) -> Figures:
    """Samples by name and, for calls, method and status."""
    status, text = get(cell.metrics_address, "/metrics")
    assert status == 200
    found: Figures = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            label = f"{sample.labels.get('rpc_method', '')} {sample.labels.get('rpc_grpc_status_code', '')}"
            found[sample.name, label.strip()] = sample.value
    return found


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[MeteredCell]:
    with running(make(tmp_path / "cell")) as made:
        yield made


def test_prometheus_reads_what_the_cell_did(cell: MeteredCell) -> None:
    before = figures(cell)
    with open_channel(f"unix:{cell.folder.socket_path}") as channel:
        keyvalues = KeyValueServiceStub(channel)
        watch = keyvalues.WatchKeyValues(key_value_service_pb2.WatchKeyValuesRequest())
        next(watch)
        for number in range(5):
            keyvalues.SetKeyValue(
                key_value_service_pb2.SetKeyValueRequest(path=["n"], value=to_value(number))
            )
        with pytest.raises(grpc.RpcError):
            keyvalues.SetKeyValue(key_value_service_pb2.SetKeyValueRequest(path=[]))
        invalid = grpc.StatusCode.INVALID_ARGUMENT.value[0]
        after = figures(cell)
        # A call is counted a moment after its answer has left.
        while ("rpc_server_duration_seconds_count", f"SetKeyValue {invalid}") not in after:
            time.sleep(0.05)
            after = figures(cell)
        watch.cancel()
    assert after["rpc_server_duration_seconds_count", "SetKeyValue 0"] == 5
    assert after["rpc_server_duration_seconds_count", f"SetKeyValue {invalid}"] == 1
    assert 0 < after["rpc_server_duration_seconds_sum", "SetKeyValue 0"] < 10
    assert after["rpc_server_active", "WatchKeyValues"] == 1
    assert (after["cellmesh_tasks_running", ""], after["cellmesh_tasks_streams", ""]) == (1, 1)
    assert after["cellmesh_change_offset", ""] == before["cellmesh_change_offset", ""] + 5
    assert after["cellmesh_storage_commits_total", ""] >= before["cellmesh_storage_commits_total", ""] + 5
    assert after["cellmesh_storage_aborts_total", ""] == 0
    assert after["cellmesh_storage_map_bytes", ""] > after["cellmesh_storage_used_bytes", ""] > 0
    assert after["cellmesh_disk_free_bytes", ""] > 0
    assert after["process_memory_usage_bytes", ""] > 1 << 20
    assert (after["cellmesh_ready", ""], after["cellmesh_read_only", ""]) == (1, 0)


def test_durations_fall_into_bounds_of_seconds(cell: MeteredCell) -> None:
    with open_channel(f"unix:{cell.folder.socket_path}") as channel:
        cell_service_pb2_grpc.CellServiceStub(channel).GetCellInfo(cell_service_pb2.GetCellInfoRequest())
    text = get(cell.metrics_address, "/metrics")[1]
    assert 'rpc_method="GetCellInfo"' in text
    assert 'le="0.001"' in text
    assert 'le="7500.0"' not in text


def test_health_and_readiness_follow_the_state(tmp_path: Path) -> None:
    with running(make(tmp_path / "cell")):
        pass
    # The disk has too little room by what the cell is told now.
    with running(make(tmp_path / "cell", space_min_bytes=1 << 60)) as cell:
        assert get(cell.metrics_address, "/healthz") == (200, "ok\n")
        assert get(cell.metrics_address, "/readyz")[0] == 200
        wait_for(lambda: get(cell.metrics_address, "/readyz") == (200, "read-only\n"))
        assert figures(cell)["cellmesh_read_only", ""] == 1
        address = cell.metrics_address
    with pytest.raises(OSError):
        get(address, "/readyz")


def test_what_is_no_request_for_a_page_is_refused(cell: MeteredCell) -> None:
    assert get(cell.metrics_address, "/other")[0] == 404
    assert get(cell.metrics_address, "/metrics", "POST")[0] == 405
    assert get(cell.metrics_address, "/healthz?x=1", "HEAD") == (200, "")
    host, port = cell.metrics_address.split(":")
    for garbage, answered in (
        (b"hello\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 20_000, b""),
        (b"\x00\xff", b""),
    ):
        with socket.create_connection((host, int(port)), timeout=10) as link:
            link.sendall(garbage)
            link.shutdown(socket.SHUT_WR)
            try:
                told = link.recv(1000)
            except ConnectionResetError:
                told = b""
            assert answered in told[:20]
    assert get(cell.metrics_address, "/healthz")[0] == 200


def test_many_who_connect_and_say_nothing_leave_room_again(cell: MeteredCell) -> None:
    host, port = cell.metrics_address.split(":")
    idle = [socket.create_connection((host, int(port)), timeout=10) for _ in range(40)]
    for link in idle:
        link.close()
    wait_for(lambda: get(cell.metrics_address, "/healthz")[0] == 200)
    with ThreadPoolExecutor(8) as pool:
        assert {
            status for status, _ in pool.map(lambda _: get(cell.metrics_address, "/metrics"), range(16))
        } == {200}


def test_a_busy_port_is_told(cell: MeteredCell, tmp_path: Path) -> None:
    with (
        pytest.raises(AddressInUse, match="metrics"),
        running(make(tmp_path / "other", metrics_listen=cell.metrics_address)),
    ):
        pass


def test_no_endpoint_unless_asked_for(tmp_path: Path) -> None:
    with running(make(tmp_path / "cell", metrics_listen="")) as cell:
        assert cell.metrics_address == ""


def wait_for(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + 10
    while True:
        try:
            if found := what():
                return found
        except OSError:
            pass
        assert time.monotonic() < end
        time.sleep(0.02)


# Traces.

RELAY = """
import sys
from typing import ClassVar
from cellmesh.api.common.v1 import key_value_service_pb2 as pb
from cellmesh.api.common.v1.key_value_service_pb2_grpc import KeyValueServiceStub
from cellmesh.client import open_cell
from cellmesh.common.cell import Cell, run_cell
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.keyvalues import KeyValueServicer
from cellmesh.common.storage import SubDb

name, folder, endpoint, behind = sys.argv[1:]


class RelayConfig(CellConfig):
    kind: ClassVar[str] = name


class RelayCell(Cell[RelayConfig]):
    kind = name
    databases = (SubDb("facts", "nothing"),)


if behind:

    async def relayed(self, request, context):
        def ask():
            with open_cell(f"unix://{behind}/cell.sock") as client:
                return client.stub(KeyValueServiceStub).GetKeyValue(request)

        return await self._run(ask)

    KeyValueServicer.GetKeyValue = relayed

sys.exit(run_cell(RelayCell(load_config(RelayConfig, dir=folder, flags={"otlp_endpoint": endpoint}, environ={}))))
"""


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans it gets, each with the name of its service."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []

    def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            named = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(named["service.name"], span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


def test_a_trace_goes_from_the_client_through_a_cell_to_the_next(tmp_path: Path) -> None:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    script = tmp_path / "relay.py"
    script.write_text(RELAY)
    started: list[subprocess.Popen[str]] = []
    try:
        for name, behind in (("back", ""), ("front", str(tmp_path / "back"))):
            command = [sys.executable, str(script), name, str(tmp_path / name), endpoint, behind]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
            started.append(process)
        for process in started:
            assert process.stdout is not None
            assert "serving at" in process.stdout.readline()
        trace_id, client_span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        with open_channel(f"unix:{tmp_path}/front/cell.sock") as channel:
            KeyValueServiceStub(channel).GetKeyValue(
                key_value_service_pb2.GetKeyValueRequest(path=["a"]),
                metadata=(("traceparent", f"00-{trace_id}-{client_span}-01"), ("x-request-id", "trip-9")),
                timeout=10,
            )
    finally:
        # A stop sends what is left.
        for process in started:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(20) for process in started]
        server.stop(None)
    assert codes == [0, 0]
    spans = {name: span for name, span in collector.spans if span.name.endswith("GetKeyValue")}
    front, back = spans["front"], spans["back"]
    assert front.trace_id.hex() == back.trace_id.hex() == trace_id
    assert front.parent_span_id.hex() == client_span
    assert back.parent_span_id == front.span_id
    for span in (front, back):
        assert {item.key: item.value.string_value for item in span.attributes}[
            "cellmesh.request_id"
        ] == "trip-9"
