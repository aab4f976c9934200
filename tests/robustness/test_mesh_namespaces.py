"""A whole mesh in network namespaces under load. Each cell in turn is killed and cut off, and comes back. Clients call by
name and are never opened anew.

What is shown: the longest time for which each kind of call was not answered is below five seconds in each turn; every
write that was acknowledged is there, at every instance; the states of instances are equal. A leader of the Cortex, or of
three AHAs, that is lost is replaced by a promotion by force, at once, as an operator or a watchdog does. Of two AHAs none
is promoted: the cells go on without.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cellmesh.testing.mesh_faults import MeshOnHosts
from cellmesh.testing.namespaces import why_not

from tests.robustness.conftest import Plan

CELLS = ("00.axon", "00.cryotank", "00.cortex", "01.cortex", "02.cortex")
ANSWERED_S = 5.0
AWAY_S = 6.0
LONG_AWAY_S = 20.0
"""Longer than a registration holds."""


@pytest.mark.parametrize("aha_count", [2, 3])
def test_each_cell_in_turn_is_killed_and_cut_off_under_load(
    tmp_path: Path, plan: Plan, aha_count: int
) -> None:
    if not plan.is_full:
        pytest.skip("the short form is tests/mesh/test_mesh_namespaces.py")
    reason = why_not()
    if reason:
        pytest.skip(reason)
    ahas = tuple(f"{number:02}.aha" for number in range(aha_count))
    with MeshOnHosts(tmp_path, (*ahas, *CELLS), {"cortex_synchronous_followers": "1"}) as mesh:
        mesh.start_clients()
        with mesh.phase("nothing", hold_s=AWAY_S):
            pass
        for aha in ahas:
            mesh.kill_and_start(aha, away_s=AWAY_S)
            mesh.cut_and_heal(aha, away_s=LONG_AWAY_S)
        if aha_count > 2:
            mesh.lose_leader("aha", cut=False, away_s=AWAY_S)
            mesh.lose_leader("aha", cut=True, away_s=AWAY_S)
        for cell in ("00.axon", "00.cryotank"):
            mesh.kill_and_start(cell)
            mesh.cut_and_heal(cell, away_s=LONG_AWAY_S)
        # The leader, then the two that follow.
        mesh.kill_and_start(mesh.leader("cortex"))
        mesh.lose_leader("cortex", cut=False, away_s=AWAY_S)
        mesh.lose_leader("cortex", cut=True, away_s=AWAY_S)
        leader = mesh.leader("cortex")
        for cell in mesh.instances("cortex"):
            if cell != leader:
                mesh.kill_and_start(cell, away_s=AWAY_S)
                mesh.cut_and_heal(cell, away_s=LONG_AWAY_S)
        mesh.stop_clients()
        print(f"\nAHA x{aha_count}: seconds without an answer, at most\n\n{mesh.table()}\n")
        acknowledged = mesh.verify()
        failed = sum(bool(entry.error) for entry in mesh.ledger())
        print(
            f"acknowledged: {acknowledged}, none lost; {len(mesh.ledger())} calls, {failed} ended with an error"
        )
        slowest_s, what = mesh.slowest
        assert slowest_s < ANSWERED_S, what
