"""kill -9 of processes that write to a store from several threads, at any moment, again and again on one folder."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from cellmesh.testing.robustness.journal import Journal
from cellmesh.testing.robustness.worker import Job, Workers

READY_MAX_S = 2.0


def test_no_acknowledged_edit_is_lost_in_any_kill(tmp_path: Path, plan: Any) -> None:
    rounds = plan.rounds or plan.count(40, 200)
    rng = random.Random(plan.seed)
    workers = Workers()
    known: dict[int, str] = {}
    acknowledged = 0
    opened_s: list[float] = []
    for number in range(rounds):
        job = Job(tmp_path / "store", seed=plan.seed + number)
        outcome = workers.run(job, kill_after_s=rng.uniform(0.0, 0.1))
        assert outcome.exit_code == -9
        acknowledged += len(outcome.acknowledged)
        begun_s = time.monotonic()
        store = Journal(tmp_path / "store")
        opened_s.append(time.monotonic() - begun_s)
        try:
            known.update(outcome.acknowledged)
            end = store.check(known, outcome.tried)
            # What was committed without an answer has its place in the history from now on.
            known.update({at: text for at, text in outcome.tried.items() if at < end})
            known.update(store.texts())
        finally:
            store.close()
    opened_s.sort()
    print(
        f"{rounds} kills, {acknowledged} edits acknowledged, 0 lost; the log ends at {len(known)}; "
        f"store open again after p50 {opened_s[rounds // 2] * 1000:.0f} ms, worst {opened_s[-1] * 1000:.0f} ms"
    )
    assert acknowledged > rounds
    assert opened_s[int(rounds * 0.99) - 1] < READY_MAX_S
