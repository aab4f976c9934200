"""How a query's messages reach a client: as they arise, slowed by whoever reads slowly, ended by whoever leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadArg, BadSyntax, NoSuchIden
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

TALKER = '$text = "{}" while (true) {{ $lib.print($text) }}'


@pytest.fixture
def cortex(tmp_path: Path) -> Iterator[CellClient]:
    config = load_config(CortexConfig, dir=tmp_path / "cortex", flags={"log_level": "error"}, environ={})
    with running(CortexCell(config)), open_cell(f"unix://{config.dir}/cell.sock") as cell:
        yield cell


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def messages(cortex: CellClient, text: str) -> Iterator[storm_pb2.StormMessage]:
    for response in cortex.stub(StormServiceStub).Storm(storm_pb2.StormRequest(text=text)):
        yield from response.messages


def test_prints_of_a_query_that_never_ends_arrive(cortex: CellClient) -> None:
    begin = time.monotonic()
    stream = messages(cortex, TALKER.format("x"))
    kinds = [next(stream).WhichOneof("kind") for _ in range(1000)]
    assert kinds == ["init"] + ["print"] * 999
    assert time.monotonic() - begin < 10


def test_prints_that_nobody_reads_do_not_pile_up(cortex: CellClient) -> None:
    stream = messages(cortex, TALKER.format("x" * 10_000))
    for _ in range(100):
        next(stream)
    before = resident_bytes()
    time.sleep(1.0)
    assert resident_bytes() - before < 100 * 2**20
    assert next(stream).print.text == "x" * 10_000


def test_prints_and_nodes_keep_their_order(cortex: CellClient) -> None:
    text = "[ it:dev:int=1 it:dev:int=2 ] $lib.print($node.value()) | spin | $lib.print(after)"
    found = [m.print.text for m in messages(cortex, text) if m.HasField("print")]
    assert found == ["1", "2", "after"]
    order = [m.WhichOneof("kind") for m in messages(cortex, "it:dev:int $lib.print($node.value())")]
    assert order == ["init", "print", "node", "print", "node", "fini"]


def test_a_query_ends_when_its_client_leaves(cortex: CellClient) -> None:
    stub = cortex.stub(StormServiceStub)
    call = stub.Storm(storm_pb2.StormRequest(text="$i=(0) while (true) { $i=($i + 1) }"))
    next(iter(call))
    call.cancel()
    # A thread that went on would keep the others waiting: a short query is answered at once.
    begin = time.monotonic()
    assert [m.WhichOneof("kind") for m in messages(cortex, "it:dev:int")] == ["init", "fini"]
    assert time.monotonic() - begin < 2


def test_a_plan_is_told_and_a_profile_comes_before_fini(cortex: CellClient) -> None:
    stub = cortex.stub(StormServiceStub)
    assert not stub.ParseStorm(storm_pb2.ParseStormRequest(text="it:dev:int=5 +{ -> * }")).may_change
    assert stub.ParseStorm(storm_pb2.ParseStormRequest(text="[ it:dev:int=5 ]" + " " * 2000)).may_change
    with pytest.raises(BadSyntax) as raised:
        stub.ParseStorm(storm_pb2.ParseStormRequest(text="it:dev:int=5 +{ -> "))
    assert raised.value.get("line") == 1
    with pytest.raises(BadArg, match="mode"):
        stub.ParseStorm(storm_pb2.ParseStormRequest(text="it:dev:int", mode=99))  # type: ignore[arg-type]  a mode of later
    plan = stub.ExplainStorm(storm_pb2.ExplainStormRequest(text="it:dev:int=5 +{ -> * }")).plan
    assert [step.kind for step in plan.steps] == ["lift", "filter"]
    assert plan.steps[0].notes == ["reads one key of the index"]
    assert plan.steps[1].steps[0].text == "-> *"
    options = storm_pb2.StormOptions(profile=True)
    request = storm_pb2.StormRequest(text="[ it:dev:int=1 it:dev:int=2 ] | limit 1", options=options)
    found = [message for response in stub.Storm(request) for message in response.messages]
    assert [message.WhichOneof("kind") for message in found] == ["init", "node", "profile", "fini"]
    steps = found[2].profile.steps
    assert [(step.run_count, step.row_count) for step in steps] == [(1, 1), (1, 1)]
    assert found[2].profile.may_change
    assert steps[0].duration.ToNanoseconds() > 0


def test_edits_are_counted_while_they_are_made(cortex: CellClient) -> None:
    stub = cortex.stub(StormServiceStub)
    edits = "for $number in $lib.range(50) { [ it:dev:int=$number ] } | spin | $lib.print(made) while (true) { $lib.time.sleep(1) }"
    stream = stub.Storm(storm_pb2.StormRequest(text=f"init {{ {edits} }}"))
    task_id = next(iter(stream)).messages[0].init.task_id
    request = storm_pb2.GetStormProgressRequest(task_id=task_id)
    end = time.monotonic() + 30
    while (count := stub.GetStormProgress(request).edit_count) < 50:
        assert time.monotonic() < end, count
        time.sleep(0.05)
    stream.cancel()
    # It ends at the Cortex too, and then nothing is known of it.
    while is_known(stub, request):
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(NoSuchIden):
        stub.GetStormProgress(storm_pb2.GetStormProgressRequest(task_id="0" * 32))


def is_known(stub: StormServiceStub, request: storm_pb2.GetStormProgressRequest) -> bool:
    try:
        stub.GetStormProgress(request)
    except NoSuchIden:
        return False
    return True
