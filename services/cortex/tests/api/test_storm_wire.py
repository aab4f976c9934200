"""Messages that are put together from bytes are those that protobuf would make."""

from __future__ import annotations

import pytest
from cellmesh.api.cortex.v1 import node_pb2, storm_pb2
from cellmesh.cortex.api.convert import message_bytes, options_from_proto, pack_messages, pack_records
from cellmesh.cortex.storm.runtime.messages import Fini, Init
from cellmesh.cortex.storm.runtime.options import QueryOptions
from google.protobuf.duration_pb2 import Duration

TASK = "0123456789abcdef" * 2


@pytest.mark.parametrize("text", ["", "inet:asn=5", "inet:fqdn=müller.de // " + "x" * 300])
@pytest.mark.parametrize("time_ms", [1, 63, 64, 1_795_000_000_000])
def test_the_beginning(text: str, time_ms: int) -> None:
    wanted = storm_pb2.StormResponse()
    wanted.messages.add(init=storm_pb2.StormInit(task_id=TASK, text=text, time_ms=time_ms))
    assert pack_messages([message_bytes(Init(TASK, text, time_ms), False)]) == wanted.SerializeToString()


@pytest.mark.parametrize(
    ("nodes", "duration_s", "edits"), [(0, 0.0, 0), (1, 0.0004, 0), (300, 1.5, 7), (2, 86400.123, 1)]
)
def test_the_end(nodes: int, duration_s: float, edits: int) -> None:
    duration = Duration()
    duration.FromMilliseconds(round(duration_s * 1000))
    wanted = storm_pb2.StormResponse()
    wanted.messages.add(fini=storm_pb2.StormFini(node_count=nodes, edit_count=edits, duration=duration))
    assert pack_messages([message_bytes(Fini(nodes, duration_s, edits), False)]) == wanted.SerializeToString()


def test_a_whole_answer() -> None:
    node = node_pb2.Node(form="it:dev:str")
    answer = storm_pb2.StormResponse.FromString(
        pack_records(TASK, "it:dev:str=x", 5.0, [node.SerializeToString()] * 2)
    )
    assert [message.WhichOneof("kind") for message in answer.messages] == ["init", "node", "node", "fini"]
    assert (answer.messages[0].init.task_id, answer.messages[0].init.text) == (TASK, "it:dev:str=x")
    assert answer.messages[0].init.time_ms == 5000
    assert answer.messages[1].node == node
    assert answer.messages[3].fini.node_count == 2


def test_options_that_are_few_and_many() -> None:
    given = storm_pb2.StormOptions()
    assert options_from_proto(given, "root") == QueryOptions()
    given.vars["x"].int_value = 5
    assert options_from_proto(given, "ann", has_all_rights=True) == QueryOptions(
        vars={"x": 5}, user="ann", has_all_rights=True
    )
    given.limit = 3
    assert options_from_proto(given, "ann", has_all_rights=True) == QueryOptions(
        vars={"x": 5}, user="ann", has_all_rights=True, limit=3
    )
