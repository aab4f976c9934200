"""A Cortex that changes its leader under load, in order and by kill: what runs by itself runs exactly once.

Each cron job, and each edit that a trigger or an asynchronous one watches, leaves one node of its own per run. Counting
them tells of runs that were lost and of those that came twice.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.cortex.v1 import storm_pb2, storm_service_pb2_grpc
from cellmesh.client import CellClient
from cellmesh.common.errors import CellError
from cellmesh.common.values import from_value, to_value
from cellmesh.testing.mirrors import Instances

from tests.robustness.conftest import Plan

SETTINGS = {"leader_lease_s": "1.0", "synchronous_followers": "1", "synchronous_timeout_s": "3.0"}

TRIGGERS = (
    "trigger.add node:add --form it:dev:str --query { $text=$node.value() [ ( it:log:event=* :mesg=`now {$text}` ) ] }",
    "trigger.add node:add --form it:dev:str --async"
    " --query { $text=$node.value() [ ( it:log:event=* :mesg=`soon {$text}` ) ] }",
)
JOB = '$lib.cron.at(query=`[ it:log:event=* :mesg="cron {$name}" ]`, name=$name, now=(true))'
JOBS = "$o=([]) for $c in $lib.cron.list() { $o.append($c.pack()) } return($o)"
TRIGGERS_NOW = "$o=([]) for $t in $lib.trigger.list() { $o.append($t.pack()) } return($o)"
EVENTS = "$o=([]) it:log:event $o.append(:mesg) fini { return($o) }"
TEXTS = "$o=([]) it:dev:str $o.append($node.value()) fini { return($o) }"


def call(instances: Instances, number: str, text: str, **variables: Any) -> Any:
    """What a query returns at an instance."""
    request = storm_pb2.CallStormRequest(text=text)
    for name, value in variables.items():
        request.options.vars[name].CopyFrom(to_value(value))

    def ask(client: CellClient) -> Any:
        stub: Any = client.stub(storm_service_pb2_grpc.StormServiceStub)
        return from_value(stub.CallStorm(request, timeout=20.0).value)

    return instances.ask(number, ask)


class Load:
    """Makes cron jobs that run at once, and nodes that triggers watch, at any of the instances."""

    def __init__(self, instances: Instances, prefix: str) -> None:
        self.acknowledged: set[str] = set()
        self._instances = instances
        self._prefix = prefix
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in ("job", "str")
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60.0)
            assert not thread.is_alive()

    def _run(self, kind: str) -> None:
        count = 0
        text = JOB if kind == "job" else "[ it:dev:str=$name ]"
        while not self._stop.is_set():
            name = f"{kind}-{self._prefix}-{count}"
            try:
                call(
                    self._instances,
                    self._instances.numbers[count % len(self._instances.numbers)],
                    text,
                    name=name,
                )
            except (CellError, OSError):
                time.sleep(0.05)
            else:
                self.acknowledged.add(name)
            count += 1
            time.sleep(0.01)


@pytest.fixture
def cortexes(tmp_path: Path) -> Iterator[Instances]:
    with Instances(tmp_path, "cortex", 3, SETTINGS) as instances:
        leader = instances.settle()[0]
        for text in TRIGGERS:
            instances.storm(leader, text)
        assert call(instances, leader, "return($lib.len($lib.trigger.list()))") == len(TRIGGERS)
        yield instances


def wait_until_done(instances: Instances, leader: str) -> list[dict[str, Any]]:
    """Wait until every job has run and every task is done; return the jobs."""
    found: list[dict[str, Any]] = []

    def done() -> bool:
        found[:] = call(instances, leader, JOBS)
        texts = call(instances, leader, TEXTS)
        soon = [mesg for mesg in call(instances, leader, EVENTS) if mesg.startswith("soon ")]
        is_still = all(job["nexttime"] is None and not job["isrunning"] for job in found)
        return is_still and len(soon) >= len(texts)

    try:
        instances.wait("what runs by itself is done", done, 20.0)
    except TimeoutError:
        left = [job for job in found if job["nexttime"] is not None or job["isrunning"]]
        print(f"{len(found)} jobs, not run: {left[:3]}")
        print(
            f"{len(call(instances, leader, TEXTS))} nodes, {Counter(e[:4] for e in call(instances, leader, EVENTS))}"
        )
        print(call(instances, leader, TRIGGERS_NOW))
        raise
    return found


def test_everything_runs_exactly_once_over_promotions(cortexes: Instances, plan: Plan) -> None:
    promotions = plan.rounds or plan.count(3, 100)
    names: set[str] = set()
    for number in range(promotions):
        leader, follower, _ = cortexes.settle()
        load = Load(cortexes, str(number))
        time.sleep(0.4)
        if number % 3 == 2:
            cortexes.kill(leader)
            cortexes.promote(follower, force=True)
        else:
            cortexes.promote(follower)
        time.sleep(0.4)
        load.stop()
        names |= load.acknowledged
    leader = cortexes.settle()[0]
    jobs = wait_until_done(cortexes, leader)
    events = Counter(call(cortexes, leader, EVENTS))
    texts = set(call(cortexes, leader, TEXTS))
    print(f"{promotions} promotions, {len(jobs)} jobs, {len(texts)} nodes that triggers watch")

    job_names = {job["query"].split('"cron ')[1].split('"')[0]: job for job in jobs}
    assert {name for name in names if name.startswith("job")} <= job_names.keys(), "jobs were lost"
    assert {name for name in names if name.startswith("str")} <= texts, "nodes were lost"
    wanted = Counter(f"cron {name}" for name in job_names)
    wanted.update(f"{kind} {text}" for text in texts for kind in ("now", "soon"))
    different = {
        mesg: (events[mesg], wanted[mesg]) for mesg in events | wanted if events[mesg] != wanted[mesg]
    }
    assert different == {}, "(runs, wanted runs)"
    assert all(job["startcount"] == 1 for job in jobs)
    assert cortexes.check_equal(leader) == 3
