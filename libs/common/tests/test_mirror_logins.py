"""Logins on a follower: by what its leader sent, with nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.auth import credentials
from cellmesh.common.auth.credentials import PasswordPolicy
from cellmesh.common.auth.passwords import ROOT_PAUSE_US, Passwords
from cellmesh.common.auth.schema import DATABASES as AUTH_DATABASES
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.changelog import next_offset
from cellmesh.common.errors import NotLeader, Unauthenticated
from cellmesh.common.mirror.gate import MirrorGate
from cellmesh.common.storage import Slab
from cellmesh.testing.clocks import HeldClock

GOOD = "correct horse battery"
ATTEMPTS_MAX = 3


class World:
    """A store that leads or follows, as its gate is open or closed."""

    def __init__(self, path: Path) -> None:
        self.clock = HeldClock()
        self.slab = Slab.open(path, (*AUTH_DATABASES, *LOG_DATABASES), map_size_bytes=1 << 24, sync=False)
        self.gate = self.slab.gate = MirrorGate(self.slab)
        self.store = AuthStore(self.slab, clock=self.clock)
        self.passwords = Passwords(self.store, PasswordPolicy(attempts_max=ATTEMPTS_MAX))
        self.is_follower = False
        self.passwords.follows = lambda: self.is_follower

    def follow(self) -> None:
        self.gate.close(lambda: NotLeader("another leads", name="01.trial.demo", leader="127.0.0.1:4000"))
        self.is_follower = True

    def lead(self) -> None:
        self.gate.open()
        self.is_follower = False

    def wrong(self, name: str, password: str = "wrong") -> None:
        with pytest.raises(Unauthenticated, match="is wrong, or the user is locked"):
            self.passwords.prove(name, password)

    def offset(self) -> int:
        with self.slab.view() as txn:
            return next_offset(txn)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(credentials, "DEFAULT_COST", credentials.HashCost(memory_kib=8, iterations=1))
    made = World(tmp_path / "slab")
    made.store.add_user("bob", "bob@example.com")
    made.passwords.set_password("bob", GOOD)
    yield made
    made.slab.close()


def test_a_follower_checks_passwords_and_writes_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.follow()
    before = world.offset()
    for _ in range(2):
        world.wrong("bob")
    assert world.passwords.prove("bob", GOOD)[0].name == "bob"
    for _ in range(ATTEMPTS_MAX):
        world.wrong("bob")
    world.wrong("bob", GOOD)
    world.clock.millis += ROOT_PAUSE_US // 1000 - 1
    world.wrong("bob", GOOD)
    world.clock.millis += 1
    # A minute after the last wrong one a single attempt is free again: nobody is locked for good here.
    world.wrong("bob")
    world.wrong("bob", GOOD)
    world.clock.millis += ROOT_PAUSE_US // 1000
    assert world.passwords.prove("bob", GOOD)[0].name == "bob"
    assert not world.store.get_user("bob").locked
    assert world.offset() == before
    assert "login_not_stored" not in caplog.text


def test_attempts_at_a_follower_count_when_it_is_made_leader(world: World) -> None:
    world.follow()
    for _ in range(ATTEMPTS_MAX - 1):
        world.wrong("bob")
    world.lead()
    world.wrong("bob")
    assert world.store.get_user("bob").locked
    world.wrong("bob", GOOD)


def test_a_one_time_password_is_good_at_the_leader_only(world: World) -> None:
    password, _ = world.passwords.make_one_time("bob")
    world.follow()
    for _ in range(2):
        with pytest.raises(NotLeader) as refused:
            world.passwords.prove("bob", password)
        assert refused.value.get("leader") == "127.0.0.1:4000"
    assert world.passwords.prove("bob", GOOD)[1]
    world.lead()
    assert world.passwords.prove("bob", password) == (world.store.get_user("bob"), "")
    world.wrong("bob", password)


def test_a_follower_does_not_hash_anew(world: World) -> None:
    world.follow()
    before = world.store.get_credentials(world.store.get_user("bob").user_id).password_hash
    world.passwords.policy = PasswordPolicy(cost=credentials.HashCost(memory_kib=16, iterations=1))
    assert world.passwords.prove("bob", GOOD)[1] == before
    world.lead()
    assert world.passwords.prove("bob", GOOD)[1] != before
