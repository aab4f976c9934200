"""kill -9 of a Cortex whose queues are filled and emptied: nothing acknowledged is lost, nothing culled comes again.

Three queues: a daemon empties the first, which makes a node and an event of each item and culls behind them; a client
the second, by get and cull; a client the third, by pop. Whoever is cut off asks again.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from cellmesh.api.cortex.v1 import storm_pb2, storm_service_pb2_grpc
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.values import from_value, to_value
from cellmesh.testing.robustness.cells import CellProcess

from tests.robustness.conftest import Plan

WAIT_S = 60.0
CALL_S = 20.0

SETUP = """
$lib.queue.add(one) $lib.queue.add(two) $lib.queue.add(three)
$lib.dmon.add(${
    $queue = $lib.queue.get(one)
    for ($offset, $name) in $queue.gets(wait=(true)) {
        [ it:dev:str=$name ( it:log:event=* :mesg=$name ) ]
        // Not behind each row: the first one comes before the event is made.
        fini { $queue.cull($offset) }
    }
}, name=one)
return((true))
"""
NEXT = "return($lib.queue.get(two).get($offset, cull=(false), wait=(false)))"
CULL = "$lib.queue.get(two).cull($offset) return((true))"
EVENTS = "$o=([]) it:log:event $o.append(:mesg) fini { return($o) }"
NODES = "$o=([]) it:dev:str $o.append($node.value()) fini { return($o) }"


def call(folder: Path, text: str, **variables: Any) -> Any:
    """What a query returns."""
    request = storm_pb2.CallStormRequest(text=text)
    for name, value in variables.items():
        request.options.vars[name].CopyFrom(to_value(value))
    with open_channel(f"unix:{folder / 'cell.sock'}") as channel:
        stub: Any = storm_service_pb2_grpc.StormServiceStub(channel)
        return from_value(stub.CallStorm(request, timeout=CALL_S).value)


class Users:
    """Who fills and empties the queues, and what was acknowledged to them."""

    def __init__(self, folder: Path) -> None:
        self.put: dict[str, list[str]] = {"one": [], "two": [], "three": []}
        self.taken: list[tuple[int, str]] = []
        self.culled = -1
        self.popped: list[str] = []
        self.problem: str | None = None
        self._folder = folder
        self._count = 0
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin, each on a thread."""
        self._stop.clear()
        works: list[Callable[[], None]] = [
            *(lambda q=q: self._put(q) for q in self.put),
            self._take,
            self._pop,
        ]  # type: ignore[misc]
        self._threads = [threading.Thread(target=self._run, args=(work,), daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all."""
        self._stop.set()
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        assert self.problem is None, self.problem

    def drain(self) -> None:
        """Empty the queues of the clients."""
        while self._take():
            pass
        while self._pop():
            pass
        assert self.problem is None, self.problem

    def _run(self, work: Callable[[], Any]) -> None:
        while not self._stop.is_set():
            try:
                work()
            except grpc.RpcError:
                time.sleep(0.02)

    def _put(self, queue: str) -> None:
        self._count += 1
        name = f"{queue}-{self._count}-{threading.get_ident()}"
        call(self._folder, f"return($lib.queue.get({queue}).put($name))", name=name)
        self.put[queue].append(name)

    def _take(self) -> bool:
        found = call(self._folder, NEXT, offset=0)
        if found is None:
            return False
        offset, name = found
        if offset <= self.culled:
            self.problem = f"offset {offset} came again, though {self.culled} was culled"
        if not self.taken or self.taken[-1][0] != offset:
            self.taken.append((offset, name))
        call(self._folder, CULL, offset=offset)
        self.culled = offset
        return True

    def _pop(self) -> bool:
        found = call(self._folder, "return($lib.queue.get(three).pop())")
        if found is None:
            return False
        self.popped.append(found[1])
        return True


def test_queues_and_daemons_over_kills(tmp_path: Path, plan: Plan) -> None:
    rounds = plan.rounds or plan.count(3, 30)
    rng = random.Random(plan.seed)
    cell = CellProcess("cortex", tmp_path / "cortex")
    users = Users(cell.folder)
    try:
        cell.start()
        call(cell.folder, SETUP)
        for _ in range(rounds):
            users.start()
            time.sleep(rng.uniform(0.2, 0.8))
            cell.kill()
            cell.start()
            users.stop()
        users.drain()
        deadline = time.monotonic() + WAIT_S
        while call(cell.folder, "return($lib.queue.get(one).size())"):
            assert time.monotonic() < deadline, "the daemon leaves items where they are"
            time.sleep(0.05)
        events = Counter(call(cell.folder, EVENTS))
        nodes = set(call(cell.folder, NODES))
    finally:
        cell.stop()
    again = sum(events.values()) - len(events)
    print(
        f"{rounds} kills; items put {sum(map(len, users.put.values()))}, taken by the daemon {len(events)}, "
        f"by get and cull {len(users.taken)}, by pop {len(users.popped)}; not culled yet and so seen again: {again}"
    )
    assert set(users.put["one"]) <= nodes, "items of the daemon were lost"
    assert set(users.put["one"]) <= events.keys(), "events were lost"
    assert again <= rounds, "more than the item at hand came again"
    offsets = [offset for offset, _ in users.taken]
    assert offsets == sorted(set(offsets)), "items came out of order, or again"
    assert set(users.put["two"]) <= {name for _, name in users.taken}, "items were lost"
    assert max(Counter(users.popped).values()) == 1, "popped twice"
    # A pop that was cut off behind its commit has taken its item: one for each kill at most.
    assert len(set(users.put["three"]) - set(users.popped)) <= rounds
