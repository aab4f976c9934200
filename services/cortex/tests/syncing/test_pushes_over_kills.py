"""A push between two Cortex processes, each killed in the middle: every edit arrives, and each once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.cortex.v1 import layer_pb2, storm_pb2
from cellmesh.api.cortex.v1.layer_service_pb2_grpc import LayerServiceStub
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import open_cell
from cellmesh.common.values import from_value

START_S = 60.0
NODE_COUNT = 1000


class Process:
    """A Cortex of its own, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = ("cortex", "serve", "--dir", str(self.folder), "--insecure", "--log-level", "error")
        self.child = subprocess.Popen(
            [sys.executable, "-m", "cellmesh.cli.main", *arguments],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self.child.stdout is not None
        assert b"serving at" in self.child.stdout.readline()

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait(START_S)

    def call(self, text: str) -> Any:
        with open_cell(f"unix://{self.folder}") as client:
            stub = client.stub(StormServiceStub)
            return from_value(stub.CallStorm(storm_pb2.CallStormRequest(text=text)).value)

    def faults(self, layer: str) -> list[str]:
        with open_cell(f"unix://{self.folder}") as client:
            stub = client.stub(LayerServiceStub)
            found = stub.VerifyLayer(layer_pb2.VerifyLayerRequest(layer_id=layer))
            return [fault.kind for message in found for fault in message.faults]


@pytest.fixture(name="pair")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Process]]:
    first, second = Process(tmp_path_factory.mktemp("a")), Process(tmp_path_factory.mktemp("b"))
    try:
        first.start()
        second.start()
        yield first, second
    finally:
        for process in (first, second):
            if process.child is not None and process.child.poll() is None:
                process.kill()


COUNT = "return($lib.layer.get().getPropCount(inet:asn))"


def test_a_push_goes_on_after_kills_of_either_side(pair: tuple[Process, Process]) -> None:
    first, second = pair
    layer = second.call("return($lib.layer.get().iden)")
    first.call(f'[ inet:asn=1 :name=a ] $lib.layer.get().addPush("unix://{second.folder}/layer/{layer}")')
    made = 'for $i in $lib.range({stop}, start={start}) {{ $lib.view.get().addNode(inet:asn, $i, ({{"name": "n"}})) }}'
    half = NODE_COUNT // 2
    first.call(made.format(start=1, stop=half))
    second.kill()
    first.call(made.format(start=half, stop=NODE_COUNT + 1))
    second.start()
    # In the middle of what is left, most likely; whenever it is, nothing may be missing.
    _wait(lambda: second.call(COUNT) >= half // 2)
    first.kill()
    first.start()
    first.call("inet:asn=2 | delnode")
    _wait(lambda: second.call(COUNT) == NODE_COUNT - 1)
    _wait(lambda: not second.call("inet:asn=2 return($node.value())"))
    assert second.call("return($lib.layer.get().getPropCount(inet:asn:name))") == NODE_COUNT - 1
    assert second.faults(layer) == []


def _wait(is_so: Any) -> None:
    end_s = time.monotonic() + START_S
    while not is_so():
        assert time.monotonic() < end_s, "it does not come to be"
        time.sleep(0.1)
