"""A Cortex with mirrors, as processes: followed, promoted, killed, cut off. What was acknowledged stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.api.common.v1 import mirror_pb2
from cellmesh.api.cortex.v1 import layer_pb2
from cellmesh.api.cortex.v1.layer_service_pb2_grpc import LayerServiceStub
from cellmesh.api.cortex.v1.storm_pb2 import CallStormRequest
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import CellClient
from cellmesh.common.errors import BadState, CellError, NoSuchName, PromotionUnsafe
from cellmesh.testing.mirrors import Instances

SETTINGS = {"leader_lease_s": "1.0", "synchronous_followers": "1", "synchronous_timeout_s": "3.0"}
SERVING_AGAIN_S = 5.0

EDITS = (
    "[ inet:ipv4=1.2.3.4 :asn=10 +#cno.mal=(2020, 2021) ]",
    "[ inet:dns:a=(vertex.link, 1.2.3.4) +(refs)> { inet:ipv4=1.2.3.4 } ]",
    "[ test:str=kept ] | delnode --force",
    "$lib.model.ext.addFormProp(inet:ipv4, _score, (int, ({})), ({}))",
    "inet:ipv4=1.2.3.4 [ :_score=7 ]",
    "$lib.globals.set(answer, 42) $lib.queue.add(todo).put(1)",
    "$fork=$lib.view.get().fork() view.exec $fork.iden { [ inet:fqdn=only.fork ] }",
)


class Writer:
    """Sets key-values one after the other at an instance, and notes which were acknowledged."""

    def __init__(self, instances: Instances, number: str, prefix: str) -> None:
        self.acknowledged: list[int] = []
        self._instances = instances
        self._number = number
        self._prefix = prefix
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> list[int]:
        """End it; returns what was acknowledged."""
        self._stop.set()
        self._thread.join(30.0)
        assert not self._thread.is_alive()
        return self.acknowledged

    def lost_at(self, number: str) -> list[int]:
        """What was acknowledged and is not at an instance."""
        found = []
        for value in self.acknowledged:
            try:
                assert self._instances.get(number, f"{self._prefix}{value}") == value
            except NoSuchName:
                found.append(value)
        return found

    def _run(self) -> None:
        value = 0
        while not self._stop.is_set():
            try:
                self._instances.set(self._number, f"{self._prefix}{value}", value, timeout_s=8.0)
            except CellError:
                time.sleep(0.05)
            else:
                self.acknowledged.append(value)
            value += 1


@pytest.fixture(scope="module")
def cortexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instances]:
    folder: Path = tmp_path_factory.mktemp("mirrors")
    with Instances(folder, "cortex", 3, SETTINGS) as instances:
        yield instances


def test_followers_are_their_leader_and_one_becomes_it(cortexes: Instances) -> None:
    leader, follower, _ = cortexes.settle()
    for text in EDITS:
        cortexes.storm(leader, text)
    cortexes.wait_followers(leader)
    assert cortexes.check_equal(leader) == 3

    assert cortexes.promote(follower) < SERVING_AGAIN_S
    with pytest.raises(BadState, match="leads already"):
        cortexes.promote(follower)
    cortexes.storm(follower, "[ inet:ipv4=5.6.7.8 ]")
    cortexes.wait_followers(follower)
    assert cortexes.status(leader).role == mirror_pb2.MIRROR_ROLE_FOLLOWER
    assert cortexes.check_equal(follower) == 3


def test_what_is_written_at_a_follower_is_there_when_it_answers(cortexes: Instances) -> None:
    leader, follower, other = cortexes.settle()
    cortexes.set(follower, "forwarded", "by a follower")
    assert cortexes.get(follower, "forwarded") == "by a follower"
    assert cortexes.get(leader, "forwarded") == "by a follower"
    for number in range(20):
        form = f"[ inet:fqdn=n{number}.forwarded.test ]"
        cortexes.storm(follower, form)
        assert cortexes.count(follower, f"inet:fqdn=n{number}.forwarded.test") == 1
    cortexes.wait_followers(leader)
    assert cortexes.count(other, "inet:fqdn:zone=forwarded.test") == 21
    # What only reads is answered where it is asked, even when nobody leads.
    cortexes.pause(leader)
    try:
        assert cortexes.count(follower, "inet:fqdn:zone=forwarded.test") == 21
    finally:
        cortexes.resume(leader)


def test_a_layer_from_a_file_is_at_every_instance(cortexes: Instances) -> None:
    leader, follower, other = cortexes.settle()
    cortexes.storm(
        leader, "[ inet:asn=7 :name=seven +#filed +(refs)> { [ inet:asn=8 ] } ] $node.data.set(k, v)"
    )
    cortexes.wait_followers(leader)

    def export(client: CellClient) -> bytes:
        text = "return($lib.layer.get().iden)"
        layer = client.stub(StormServiceStub).CallStorm(CallStormRequest(text=text)).value.string_value
        request = layer_pb2.ExportLayerRequest(layer_id=layer)
        return b"".join(part.data for part in client.stub(LayerServiceStub).ExportLayer(request))

    data = cortexes.ask(other, export)

    def load(client: CellClient) -> layer_pb2.ImportLayerResponse:
        requests = iter([layer_pb2.ImportLayerRequest(name="filed", data=data)])
        made: layer_pb2.ImportLayerResponse = client.stub(LayerServiceStub).ImportLayer(requests)
        return made

    # A follower sends it on to the leader.
    made = cortexes.ask(follower, load)
    cortexes.wait_followers(leader)
    for number in (leader, follower, other):
        found = cortexes.ask(number, lambda client: list(_faults(client, made.layer_id)))
        assert found == []
    cortexes.storm(other, f"$lib.view.add(({made.layer_id},), name=filed)")
    cortexes.wait_followers(leader)
    assert cortexes.check_equal(leader) == 3


def _faults(client: CellClient, layer: str) -> Iterator[str]:
    for message in client.stub(LayerServiceStub).VerifyLayer(layer_pb2.VerifyLayerRequest(layer_id=layer)):
        yield from (fault.kind for fault in message.faults)


def test_a_killed_leader_is_followed_by_another_that_has_all(cortexes: Instances) -> None:
    leader, _, follower = cortexes.settle()
    writer = Writer(cortexes, leader, "killed")
    time.sleep(1.0)
    cortexes.kill(leader)
    assert len(writer.stop()) > 10

    began_s = time.monotonic()
    cortexes.promote(follower, force=True)
    cortexes.set(follower, "after", 1)
    assert time.monotonic() - began_s < SERVING_AGAIN_S
    assert writer.lost_at(follower) == []

    # The old leader comes back as a follower; what only it had is put aside with its storage.
    assert cortexes.settle()[0] == follower
    assert cortexes.check_equal(follower) == 3


def test_a_leader_that_is_cut_off_acknowledges_nothing_once_another_leads(cortexes: Instances) -> None:
    leader, follower, _ = cortexes.settle()
    writer = Writer(cortexes, leader, "cut")
    time.sleep(0.5)
    cortexes.network.cut(leader, cortexes.others(leader))
    cortexes.promote(follower, force=True)
    promoted_at = len(writer.acknowledged)
    cortexes.set(follower, "new", 1)
    time.sleep(1.5)
    assert len(writer.acknowledged) == promoted_at
    assert not cortexes.status(leader).writable
    writer.stop()
    assert writer.lost_at(follower) == []

    assert cortexes.settle()[0] == follower
    assert cortexes.check_equal(follower) == 3
    assert cortexes.get(leader, "new") == 1


def test_a_leader_that_stands_still_learns_that_it_was_deposed(cortexes: Instances) -> None:
    leader, follower, _ = cortexes.settle()
    cortexes.pause(leader)
    try:
        assert cortexes.promote(follower, force=True) < SERVING_AGAIN_S
        cortexes.set(follower, "while still", 1)
    finally:
        cortexes.resume(leader)
    assert cortexes.settle()[0] == follower
    assert cortexes.check_equal(follower) == 3


def test_who_might_lose_acknowledged_writes_is_not_promoted_unless_told(cortexes: Instances) -> None:
    leader, follower, other = cortexes.settle()
    cortexes.kill(leader)
    cortexes.kill(other)
    with pytest.raises(PromotionUnsafe, match=cortexes.name(other)):
        cortexes.promote(follower, force=True)
    cortexes.promote(follower, force=True, accept_loss=True)
    # One synchronous follower is asked for, and there is none: nothing is acknowledged until they are forgotten.
    with pytest.raises(CellError, match="0 of 1 synchronous followers"):
        cortexes.set(follower, "alone", 1, timeout_s=10.0)
    for gone in (leader, other):
        cortexes.remove(follower, gone)
    cortexes.set(follower, "alone", 2)
    assert cortexes.settle()[0] == follower
    assert cortexes.check_equal(follower) == 3


def test_a_follower_that_takes_long_over_much_still_answers(cortexes: Instances) -> None:
    """More than a window is on its way, and applying it takes longer than a lease: grants and role stay."""
    leader, follower, other = cortexes.settle()
    cortexes.kill(other)
    cortexes.kill(follower)
    cortexes.remove(leader, other)
    cortexes.remove(leader, follower)
    big = "x" * 900_000
    for number in range(60):
        cortexes.set(leader, "big", f"{number}{big}")
    cortexes.start(
        follower, environment={"CELLMESH_FAILPOINTS": "mirror_before_apply=sleep:1500*3"}, wait=True
    )
    cortexes.wait("the follower is connected", lambda: cortexes.status(follower).connected)
    time.sleep(2.0)
    assert cortexes.status(follower).next_offset < cortexes.status(leader).next_offset
    assert cortexes.status(leader).term == cortexes.status(follower).term
    assert cortexes.status(leader).writable
    cortexes.wait_followers(leader)
    assert cortexes.get(follower, "big") == f"59{big}"
    assert cortexes.settle()[0] == leader
    assert cortexes.check_equal(leader) == 3


def test_a_leader_that_lost_its_storage_does_not_lead_the_others_into_nothing(cortexes: Instances) -> None:
    leader, follower, _ = cortexes.settle()
    cortexes.set(leader, "precious", 1)
    cortexes.kill(leader)
    (cortexes.dir(leader) / "slab").rename(cortexes.dir(leader) / "lost")
    cortexes.start(leader, wait=False)
    time.sleep(2.0)
    assert cortexes.get(follower, "precious") == 1
    cortexes.promote(follower, force=True)
    cortexes.wait_serving(leader)
    assert cortexes.settle()[0] == follower
    assert cortexes.get(leader, "precious") == 1
    assert cortexes.check_equal(follower) == 3
