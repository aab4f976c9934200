"""AddNodes: batches of any size are answered in order, and written in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.api.cortex.v1 import feed_pb2, storm_pb2
from cellmesh.api.cortex.v1.feed_service_pb2_grpc import FeedServiceStub
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadArg, NoSuchView
from cellmesh.common.values import to_value
from cellmesh.cortex.api.feed import SMALL_AT_ONCE_MAX
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig


@pytest.fixture(scope="module")
def cortex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CellClient]:
    folder: Path = tmp_path_factory.mktemp("feed") / "cortex"
    config = load_config(CortexConfig, dir=folder, flags={"log_level": "error"}, environ={})
    with running(CortexCell(config)), open_cell(f"unix://{config.dir}/cell.sock") as cell:
        yield cell


def node(form: str, value: object, asn: int | None = None) -> feed_pb2.FeedNode:
    made = feed_pb2.FeedNode(form=form, value=to_value(value))
    if asn is not None:
        made.props["asn"].CopyFrom(to_value(asn))
    return made


def batch(first: int, count: int, asn: int) -> feed_pb2.AddNodesRequest:
    return feed_pb2.AddNodesRequest(nodes=[node("inet:ipv4", first + n, asn) for n in range(count)])


def count(cortex: CellClient, text: str) -> int:
    return int(cortex.stub(StormServiceStub).CountStorm(storm_pb2.CountStormRequest(text=text)).count)


def test_batches_of_a_stream_are_written_in_their_order(cortex: CellClient) -> None:
    # Small ones wait for others, large ones do not; each sets what the one before has set.
    sizes = [1, 1, 1500, 1, 1500, 2, 3, 1500, 1500, 1]
    requests = [batch(1000, size, asn) for asn, size in enumerate(sizes, 1)]
    answers = list(cortex.stub(FeedServiceStub).AddNodes(iter(requests)))
    assert [answer.accepted_count for answer in answers] == sizes
    assert count(cortex, "inet:ipv4=0.0.3.232 +:asn=10") == 1
    assert count(cortex, "inet:ipv4:asn=9") == 1499
    assert count(cortex, "inet:ipv4:asn") == 1500


def test_many_streams_of_single_nodes(cortex: CellClient) -> None:
    each, streams = 40, 8
    made: list[int] = []

    def feed(number: int) -> None:
        first = 100_000 + number * 1000
        requests = (batch(first + n, 1, 77 + number) for n in range(each))
        answers = list(cortex.stub(FeedServiceStub).AddNodes(requests))
        assert [answer.accepted_count for answer in answers] == [1] * each
        made.append(sum(answer.new_node_count for answer in answers))

    threads = [threading.Thread(target=feed, args=(number,)) for number in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # Each stream's addresses and its AS number, told to those who made them.
    assert made == [each + 1] * streams
    assert count(cortex, "inet:ipv4>=0.1.134.160") == each * streams


def test_a_stream_may_send_more_than_is_at_work_at_once(cortex: CellClient) -> None:
    count_sent = 5 * SMALL_AT_ONCE_MAX
    requests = [batch(200_000 + n, 1 + n % 3, 90) for n in range(count_sent)]
    answers = list(cortex.stub(FeedServiceStub).AddNodes(iter(requests)))
    assert [answer.accepted_count for answer in answers] == [1 + n % 3 for n in range(count_sent)]
    assert count(cortex, "inet:ipv4:asn=90") == count_sent + (count_sent - 1) % 3


def test_a_record_that_cannot_be_used_is_told_to_its_own_batch(cortex: CellClient) -> None:
    requests = [
        feed_pb2.AddNodesRequest(nodes=[node("inet:ipv4", 5000)]),
        feed_pb2.AddNodesRequest(nodes=[node("inet:ipv4", 5001), node("inet:ipv4", "x"), node("no:such", 1)]),
        feed_pb2.AddNodesRequest(nodes=[node("inet:ipv4", 5002)]),
        feed_pb2.AddNodesRequest(),
    ]
    answers = list(cortex.stub(FeedServiceStub).AddNodes(iter(requests)))
    assert [answer.accepted_count for answer in answers] == [1, 1, 1, 0]
    assert [[reject.index for reject in answer.rejects] for answer in answers] == [[], [1, 2], [], []]


def test_an_unknown_view_fails_its_own_stream(cortex: CellClient) -> None:
    bad = feed_pb2.AddNodesRequest(nodes=[node("inet:ipv4", 6000)], view_id="0" * 32)
    with pytest.raises(NoSuchView):
        list(cortex.stub(FeedServiceStub).AddNodes(iter([bad])))
    assert [
        answer.accepted_count for answer in cortex.stub(FeedServiceStub).AddNodes(iter([batch(6001, 1, 1)]))
    ] == [1]
    large = batch(7000, 2000, 1)
    large.view_id = "0" * 32
    with pytest.raises(NoSuchView):
        list(cortex.stub(FeedServiceStub).AddNodes(iter([large])))


@pytest.mark.parametrize("count_each", [1, 2000])
def test_a_stream_goes_into_one_view(cortex: CellClient, count_each: int) -> None:
    answers = cortex.stub(FeedServiceStub).AddNodes(
        iter([batch(8001, count_each, 1), feed_pb2.AddNodesRequest(view_id="0" * 32)])
    )
    assert next(answers).accepted_count == count_each
    with pytest.raises(BadArg, match="this feed goes into the default view"):
        next(answers)


def test_too_many_nodes_in_a_batch(cortex: CellClient) -> None:
    with pytest.raises(BadArg):
        list(cortex.stub(FeedServiceStub).AddNodes(iter([batch(20_000, 10_001, 1)])))
    assert count(cortex, "inet:ipv4>=0.0.78.32 +inet:ipv4<0.1.134.160") == 0
