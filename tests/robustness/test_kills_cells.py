"""kill -9 of real cells under load over gRPC: what was acknowledged is there, nothing is half there, and soon."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.rpc.channel import open_channel
from cellmesh.testing.robustness.cells import CellProcess
from cellmesh.testing.robustness.loads import LOADS, Load

READY_MAX_S = 2.0
READY_MAX_BUSY_S = 20.0
"""What is asserted: other tests may have the machine."""

QUICK_ROUNDS = {"cortex": 4, "axon": 3, "cryotank": 3}


@pytest.mark.parametrize("make_load", LOADS, ids=lambda load: load.kind)
def test_a_killed_cell_has_all_that_it_acknowledged(tmp_path: Path, plan: Any, make_load: type[Load]) -> None:
    load = make_load(plan.seed)
    cell = CellProcess(load.kind, tmp_path / load.kind)
    rng = random.Random(plan.seed)
    rounds = plan.rounds // 10 if plan.rounds else plan.count(QUICK_ROUNDS[load.kind], 20)
    ready_s = []
    try:
        cell.start()
        for number in range(rounds):
            threads = load.start(cell, number)
            time.sleep(rng.uniform(0.1, 0.6))
            cell.kill()
            for thread in threads:
                thread.join(60)
            assert load.problem is None, load.problem
            ready_s.append(cell.start())
            with open_channel(f"unix:{cell.folder / 'cell.sock'}") as channel:
                load.check(channel)
    finally:
        cell.stop()
    ready_s.sort()
    print(
        f"{load.kind}: {rounds} kills, calls acknowledged {dict(load.acknowledged)}, 0 lost; serving again after "
        f"p50 {ready_s[rounds // 2]:.2f} s, p99 {ready_s[int(rounds * 0.99)]:.2f} s, {READY_MAX_S} s wanted"
    )
    assert load.acknowledged.total() > 0
    assert ready_s[-1] < READY_MAX_BUSY_S
