"""Batches of an import: two in flight, sent again when the connection breaks, parts at fault left out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from cellmesh.api.cortex.v1 import feed_pb2, feed_service_pb2_grpc
from cellmesh.cli.exchange.feeding import IN_FLIGHT_MAX, Feeder, Totals
from cellmesh.cli.exchange.records import Record, make_node
from cellmesh.client import open_cell
from cellmesh.common.errors import AuthDeny, BadTypeValu, CellUnreachable, NoSuchProp
from cellmesh.common.errors.status import to_detail, to_status
from cellmesh.common.values import from_value
from grpc_status import rpc_status


class Cortex(feed_service_pb2_grpc.FeedServiceServicer):
    """Takes nodes, and fails as it is told to.

    Attributes:
        breaks: After how many answers the next streams break, one after the other; 0 for at once.
        refuses: Whether it refuses everything.
        values: Values of all nodes, in the order in which they came.
        last: The nodes of the last batch.
        taken: The nodes it did not refuse.
        vague: A value that it refuses without telling where it stands.
    """

    def __init__(self) -> None:
        self.breaks: list[int] = []
        self.refuses = False
        self.values: list[int] = []
        self.last: list[feed_pb2.FeedNode] = []
        self.taken: list[feed_pb2.FeedNode] = []
        self.vague: Any = None

    def AddNodes(
        self, request_iterator: Iterator[feed_pb2.AddNodesRequest], context: Any
    ) -> Iterator[feed_pb2.AddNodesResponse]:
        left = self.breaks.pop(0) if self.breaks else -1
        for request in request_iterator:
            if self.refuses:
                context.abort_with_status(rpc_status.to_status(to_status(AuthDeny("not you"))))
            if left == 0:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            left -= 1
            self.last = list(request.nodes)
            self.values += [int(from_value(node.value)) for node in request.nodes]
            rejects = self._rejects(request)
            refused = {reject.index for reject in rejects}
            self.taken += [node for index, node in enumerate(request.nodes) if index not in refused]
            yield feed_pb2.AddNodesResponse(accepted_count=len(request.nodes) - len(refused), rejects=rejects)

    def _rejects(self, request: feed_pb2.AddNodesRequest) -> list[feed_pb2.FeedReject]:
        found = []
        for index, node in enumerate(request.nodes):
            if "bad" in node.props:
                error: Any = NoSuchProp("no bad", form=node.form, name=f"{node.form}:bad")
            elif any(from_value(edge.to.value) == "x" for edge in node.edges):
                error = BadTypeValu("no ip", form="inet:ipv4", name="inet:ipv4", valu="x")
            elif self.vague is not None and self.vague in [
                from_value(value) for value in (node.value, *(edge.to.value for edge in node.edges))
            ]:
                error = BadTypeValu("no port", name="inet:port", valu="")
            else:
                continue
            found.append(feed_pb2.FeedReject(index=index, error=to_detail(error)))
        return found


class Book:
    """What a feeder told."""

    def __init__(self) -> None:
        self.rejects: list[str] = []
        self.done: list[int] = []
        self.totals = Totals()


@pytest.fixture
def cortex() -> Iterator[tuple[Cortex, feed_service_pb2_grpc.FeedServiceStub]]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    servicer = Cortex()
    feed_service_pb2_grpc.add_FeedServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with open_cell(f"grpc://127.0.0.1:{port}") as client:
        yield servicer, client.stub(feed_service_pb2_grpc.FeedServiceStub)
    server.stop(None)


def feeder_of(stub: feed_service_pb2_grpc.FeedServiceStub, book: Book, batch_count: int = 2) -> Feeder:
    return Feeder(
        stub,
        view="",
        batch_count=batch_count,
        reject=lambda record, reason: book.rejects.append(f"{record.place}: {reason}"),
        done=book.done.append,
        totals=book.totals,
        retry_pause_s=0.01,
    )


def record(number: int) -> Record:
    return Record(f"line {number}", [make_node("inet:asn", number)])


def test_batches_come_in_order_and_the_note_follows_them(cortex: Any) -> None:
    servicer, stub = cortex
    book = Book()
    feeder = feeder_of(stub, book)
    feeder.skip(100)
    for number in range(9):
        feeder.add(record(number))
        assert len(book.done) * 2 + IN_FLIGHT_MAX * 2 + 2 > number
    feeder.flush()
    assert servicer.values == list(range(9))
    assert book.done == [102, 104, 106, 108, 109, 109]
    assert (book.totals.records, book.totals.nodes) == (9, 9)


def test_what_was_not_answered_is_sent_again_when_the_connection_breaks(cortex: Any) -> None:
    servicer, stub = cortex
    servicer.breaks = [2, 0, 1]
    book = Book()
    feeder = feeder_of(stub, book)
    for number in range(12):
        feeder.add(record(number))
    feeder.flush()
    assert sorted(set(servicer.values)) == list(range(12))
    assert book.totals.nodes == 12
    assert book.done[-1] == 12


def test_a_cortex_that_stays_away_ends_the_import(cortex: Any) -> None:
    servicer, stub = cortex
    servicer.breaks = [0] * 100
    feeder = feeder_of(stub, Book())
    feeder.add(record(1))
    with pytest.raises(CellUnreachable):
        feeder.flush()


def test_a_batch_that_is_refused_ends_the_import_at_once(cortex: Any) -> None:
    servicer, stub = cortex
    servicer.refuses = True
    book = Book()
    feeder = feeder_of(stub, book)
    feeder.add(record(1))
    with pytest.raises(AuthDeny):
        feeder.flush()
    assert book.done == []


def test_a_part_at_fault_is_left_out_and_the_rest_is_taken(cortex: Any) -> None:
    servicer, stub = cortex
    book = Book()
    feeder = feeder_of(stub, book)
    node = make_node("inet:asn", 7, {"bad": 1, "name": "x"})
    for value in ("x", "1.2.3.4"):
        edge = node.edges.add(verb="refs")
        edge.to.form = "inet:ipv4"
        edge.to.value.string_value = value
    feeder.add(Record("line 1", [node]))
    feeder.flush()
    (taken,) = servicer.last
    assert list(taken.props) == ["name"]
    assert [edge.to.value.string_value for edge in taken.edges] == ["1.2.3.4"]
    assert [text.rpartition("imported without ")[2] for text in book.rejects] == [
        ":bad",
        "the edge -(refs)> inet:ipv4=x",
    ]


def test_a_refusal_that_tells_of_no_part_costs_that_part_alone(cortex: Any) -> None:
    """The node is sent bare, then each of its parts by itself."""
    servicer, stub = cortex
    servicer.vague = "http://h:/"
    book = Book()
    feeder = feeder_of(stub, book)
    node = make_node("inet:asn", 7, {"name": "x"}, ["good"])
    for value in ("http://h:/", "http://h/"):
        edge = node.edges.add(verb="refs")
        edge.to.form = "inet:url"
        edge.to.value.string_value = value
    feeder.add(Record("line 1", [node]))
    feeder.add(record(8))
    feeder.flush()
    assert book.rejects == [
        "line 1: inet:asn: BadTypeValu: no port; imported without the edge -(refs)> inet:url=http://h:/"
    ]
    taken = [node for node in servicer.taken if from_value(node.value) == 7]
    assert [name for node in taken for name in (*node.props, *node.tags)] == ["name", "good"]
    assert [from_value(edge.to.value) for node in taken for edge in node.edges] == ["http://h/"]
    assert (book.totals.nodes, book.done[-1]) == (2, 2)


def test_a_node_that_is_refused_bare_is_told_once(cortex: Any) -> None:
    servicer, stub = cortex
    servicer.vague = 7
    book = Book()
    feeder = feeder_of(stub, book)
    feeder.add(Record("line 1", [make_node("inet:asn", 7, {"name": "x"}, ["good"])]))
    feeder.flush()
    assert book.rejects == ["line 1: inet:asn: BadTypeValu: no port"]
    assert servicer.taken == []


def test_what_is_tried_again_is_not_noted_as_done_before_it_is(cortex: Any) -> None:
    _, stub = cortex
    book = Book()
    feeder = feeder_of(stub, book, batch_count=1)
    told: list[tuple[int, int]] = []
    feeder._done = lambda count: told.append((count, len(book.rejects)))
    for number in range(10):
        feeder.add(
            Record(f"line {number}", [make_node("inet:asn", number, {"bad": 1} if number == 2 else {})])
        )
    feeder.flush()
    assert [count for count, rejects in told if not rejects] == [1, 2]
    assert told[-1] == (10, 1)
    assert len({count for count, _ in told}) > 3
