"""Queries among the running tasks of a Cortex: listed with their text, and ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.api.common.v1 import task_service_pb2
from cellmesh.api.common.v1.task_service_pb2_grpc import TaskServiceStub
from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import Cancelled
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

ENDLESS = "while (true) { $lib.print(on) }"


@pytest.fixture
def cortex(tmp_path: Path) -> Iterator[CellClient]:
    config = load_config(CortexConfig, dir=tmp_path / "cortex", flags={"log_level": "error"}, environ={})
    with running(CortexCell(config)), open_cell(f"unix://{config.dir}/cell.sock") as cell:
        yield cell


def test_a_query_is_listed_with_its_text_and_ends_when_cancelled(cortex: CellClient) -> None:
    stream = cortex.stub(StormServiceStub).Storm(storm_pb2.StormRequest(text=ENDLESS))
    next(iter(stream))
    tasks = cortex.stub(TaskServiceStub)
    (task,) = tasks.ListTasks(task_service_pb2.ListTasksRequest()).tasks
    assert (task.text, task.caller) == (ENDLESS, "root")
    assert task.method.endswith("StormService/Storm")
    begin = time.monotonic()
    tasks.CancelTask(task_service_pb2.CancelTaskRequest(task_id=task.task_id))
    with pytest.raises(Cancelled, match="cancelled by root"):
        for _ in stream:
            pass
    assert time.monotonic() - begin < 5
    assert not tasks.ListTasks(task_service_pb2.ListTasksRequest()).tasks
