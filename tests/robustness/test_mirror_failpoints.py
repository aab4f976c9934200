"""An instance killed at each named point of following, seeding and promotion: it comes back, and all are equal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from cellmesh.common.errors import CellError
from cellmesh.testing.mirrors import Instances

SETTINGS = {"leader_lease_s": "1.0", "synchronous_followers": "1", "stop_grace_s": "2.0"}


@pytest.fixture(scope="module")
def tanks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instances]:
    with Instances(tmp_path_factory.mktemp("mirror-failpoints"), "cryotank", 3, SETTINGS) as instances:
        yield instances


def armed(tanks: Instances, number: str, point: str, *, wait: bool = True) -> None:
    """Start an instance that was stopped, to be killed at a point."""
    tanks.start(number, wait=wait, environment={"CELLMESH_FAILPOINTS": f"{point}=kill"})


def died(tanks: Instances, number: str) -> None:
    tanks.wait(f"{number} is killed", lambda: not tanks.is_running(number))
    # Reaped, or a start would take it for running.
    tanks.kill(number)


def all_equal(tanks: Instances) -> None:
    leader = tanks.settle()[0]
    assert tanks.get(leader, "kept") == "before the kill"
    assert tanks.check_equal(leader) == 3


@pytest.mark.parametrize("point", ["mirror_before_apply", "mirror_after_apply"])
def test_a_follower_killed_while_it_applies(tanks: Instances, point: str) -> None:
    leader, follower, _ = tanks.settle()
    tanks.set(leader, "kept", "before the kill")
    tanks.stop(follower)
    armed(tanks, follower, point, wait=False)
    tanks.wait_serving(follower)
    tanks.set(leader, "more", point)
    died(tanks, follower)
    all_equal(tanks)


@pytest.mark.parametrize("point", ["mirror_seed_chunk", "mirror_before_seed_swap"])
def test_a_follower_killed_while_it_is_seeded(tanks: Instances, point: str) -> None:
    leader, follower, _ = tanks.settle()
    tanks.set(leader, "kept", "before the kill")
    tanks.stop(follower)
    shutil.rmtree(tanks.dir(follower) / "slab")
    armed(tanks, follower, point, wait=False)
    died(tanks, follower)
    all_equal(tanks)


def test_a_leader_killed_before_it_hands_over(tanks: Instances) -> None:
    leader, follower, _ = tanks.settle()
    tanks.set(leader, "kept", "before the kill")
    # Told to stop, it would hand over.
    tanks.kill(leader)
    armed(tanks, leader, "mirror_before_transfer")
    tanks.wait_followers(tanks.leader())
    with pytest.raises(CellError):
        tanks.promote(follower)
    died(tanks, leader)
    all_equal(tanks)


@pytest.mark.parametrize("point", ["mirror_before_claim", "mirror_before_lead"])
@pytest.mark.parametrize("force", [False, True], ids=["gracefully", "by-force"])
def test_a_successor_killed_before_it_leads(tanks: Instances, point: str, force: bool) -> None:
    leader, follower, _ = tanks.settle()
    tanks.set(leader, "kept", "before the kill")
    tanks.stop(follower)
    armed(tanks, follower, point)
    tanks.wait_followers(leader)
    with pytest.raises(CellError):
        tanks.promote(follower, force=force)
    died(tanks, follower)
    all_equal(tanks)
