"""Passwords, one-time passwords, API keys, attempts; the audit log against tampering; denials in floods."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cellmesh.api.common.v1 import auth_pb2
from cellmesh.common.auth import audit, credentials
from cellmesh.common.auth.credentials import PasswordPolicy
from cellmesh.common.auth.denials import BURST_COUNT, PENDING_COUNT_MAX, Denials
from cellmesh.common.auth.passwords import ROOT_PAUSE_US, Passwords
from cellmesh.common.auth.schema import AUDIT
from cellmesh.common.auth.schema import DATABASES as AUTH_DATABASES
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.errors import AuthDeny, BadArg, LimitExceeded, LowSpace, Unauthenticated
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.storage import Slab
from cellmesh.common.storage.codecs import UINT64
from cellmesh.testing.clocks import HeldClock

GOOD = "correct horse battery"
OTHER = "staple under bridges"


class World:
    """A store with its credentials, reopened at will. Argon2id is made cheap, which the tests of it undo."""

    def __init__(self, path: Path, policy: PasswordPolicy) -> None:
        self.path, self.policy, self.clock = path, policy, HeldClock()
        self.open()

    def open(self) -> None:
        self.slab = Slab.open(
            self.path / "slab", (*AUTH_DATABASES, *LOG_DATABASES), map_size_bytes=1 << 24, sync=False
        )
        self.store = AuthStore(self.slab, clock=self.clock)
        self.passwords = Passwords(self.store, self.policy)

    def reopen(self) -> None:
        self.slab.close()
        self.open()

    def wrong(self, name: str, password: str = "wrong") -> None:
        with pytest.raises(Unauthenticated, match="is wrong, or the user is locked"):
            self.passwords.prove(name, password)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "DEFAULT_COST", credentials.HashCost(memory_kib=8, iterations=1))


@pytest.fixture
def world(tmp_path: Path, cheap: None) -> Iterator[World]:
    made = World(tmp_path, PasswordPolicy(attempts_max=3))
    made.store.add_user("bob", "bob@example.com")
    yield made
    made.slab.close()


def test_passwords_are_argon2id_with_the_parameters_and_no_password_is_stored(tmp_path: Path) -> None:
    world = World(tmp_path, PasswordPolicy())
    world.store.add_user("bob")
    world.passwords.set_password("bob", GOOD)
    bob = world.store.get_user("bob")
    stored = world.store.get_credentials(bob.user_id).password_hash
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert world.passwords.prove("bob", GOOD) == (bob, stored)
    world.wrong("bob")
    world.slab.close()
    assert GOOD.encode() not in (tmp_path / "slab" / "data.mdb").read_bytes()


def test_a_password_lasts_over_restarts_and_a_new_one_ends_the_old(world: World) -> None:
    world.passwords.set_password("bob", GOOD)
    world.reopen()
    assert world.passwords.prove("bob", GOOD)[0].name == "bob"
    world.passwords.set_password("bob", OTHER)
    world.wrong("bob", GOOD)
    assert world.passwords.prove("bob", OTHER)[0].name == "bob"
    world.passwords.set_password("bob", "")
    for password in (GOOD, OTHER, ""):
        world.wrong("bob", password)


@pytest.mark.parametrize(
    ("policy", "password", "why"),
    [
        (PasswordPolicy(), "short", "12 characters or more"),
        (PasswordPolicy(), "é" * 600, "too long"),
        (PasswordPolicy(classes_min=3), "onlylowercase12", "3 kinds"),
        (PasswordPolicy(length_min=3), "BOB", "neither the user's name nor its email"),
        (PasswordPolicy(length_min=3), "bob@EXAMPLE.com", "neither the user's name nor its email"),
        (PasswordPolicy(), "\ud800" * 20, "no proper text"),
    ],
)
def test_the_policy_says_why_it_refuses(
    world: World, policy: PasswordPolicy, password: str, why: str
) -> None:
    with pytest.raises(BadArg, match=why):
        Passwords(world.store, policy).set_password("bob", password)
    assert not world.store.get_credentials(world.store.get_user("bob").user_id).password_hash


def test_the_last_passwords_may_not_come_again(world: World) -> None:
    many = [f"password number {index}" for index in range(4)]
    for password in many[:3]:
        world.passwords.set_password("bob", password)
        with pytest.raises(BadArg, match="none of the last 3"):
            world.passwords.set_password("bob", password)
    with pytest.raises(BadArg, match="none of the last 3"):
        world.passwords.set_password("bob", many[0])
    world.passwords.set_password("bob", many[3])
    world.passwords.set_password("bob", many[0])


def test_the_same_letters_typed_otherwise_are_the_same_password(world: World) -> None:
    world.passwords.set_password("bob", "caf\u00e9 au lait please")
    assert world.passwords.prove("bob", "cafe\u0301 au lait please")[0].name == "bob"


def test_wrong_passwords_lock_a_user_for_good(world: World) -> None:
    world.passwords.set_password("bob", GOOD)
    world.wrong("bob")
    world.wrong("bob")
    world.reopen()  # what was counted is not forgotten
    assert world.passwords.prove("bob", GOOD)[0].name == "bob"  # which clears the count
    for _ in range(3):
        world.wrong("bob")
    assert world.store.get_user("bob").locked
    world.wrong("bob", GOOD)
    world.reopen()
    world.wrong("bob", GOOD)
    world.store.update_user("bob", locked=False)
    assert world.passwords.prove("bob", GOOD)[0].name == "bob"


def test_a_locked_user_gives_no_hint_and_costs_no_disk(world: World) -> None:
    world.passwords.set_password("bob", GOOD)
    world.store.update_user("bob", locked=True)
    with world.slab.view() as txn:
        before = ChangeLog(world.slab).next_offset(txn)
    for password in (GOOD, "wrong") * 5:
        world.wrong("bob", password)
        world.wrong("nobody", password)
        world.wrong("root", password)
    with world.slab.view() as txn:
        assert ChangeLog(world.slab).next_offset(txn) == before


def test_root_is_not_locked_but_has_to_wait(world: World) -> None:
    world.passwords.set_password("root", GOOD)
    for _ in range(3):
        world.wrong("root")
    assert not world.store.get_user("root").locked
    world.wrong("root", GOOD)
    world.clock.millis += ROOT_PAUSE_US // 1000 + 1
    assert world.passwords.prove("root", GOOD)[0].name == "root"
    world.wrong("root")
    assert world.passwords.prove("root", GOOD)[0].name == "root"


def test_identifiers_log_nobody_in(world: World) -> None:
    world.passwords.set_password("bob", GOOD)
    world.wrong(world.store.get_user("bob").user_id, GOOD)
    world.wrong("", GOOD)


def test_a_one_time_password_is_good_once_even_for_many_at_the_same_time(world: World) -> None:
    password, _ = world.passwords.make_one_time("bob")
    outcomes: list[bool] = []
    gate = threading.Barrier(8)

    def attempt() -> None:
        gate.wait()
        try:
            outcomes.append(world.passwords.prove("bob", password)[1] == "")
        except Unauthenticated:
            outcomes.append(False)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]
    world.reopen()
    world.wrong("bob", password)


def test_a_one_time_password_ends_with_its_time_its_successor_and_the_lock(world: World) -> None:
    late, _ = world.passwords.make_one_time("bob", 60)
    world.clock.go_on(60)
    world.wrong("bob", late)
    first, _ = world.passwords.make_one_time("bob")
    second, _ = world.passwords.make_one_time("bob")
    world.wrong("bob", first)
    world.store.update_user("bob", locked=True)
    world.wrong("bob", second)
    world.store.update_user("bob", locked=False)
    assert world.passwords.prove("bob", second)[1] == ""
    for life_s in (0.0, -1.0, 8 * 86400.0):
        with pytest.raises(BadArg):
            world.passwords.make_one_time("bob", life_s)


def test_api_keys_are_good_until_they_end(world: World) -> None:
    key, text = world.passwords.make_key("bob", "loader", 60)
    endless, endless_text = world.passwords.make_key("bob", "")
    world.reopen()
    assert world.passwords.prove_by_key(text) == (world.store.get_user("bob"), key)
    for bad in (
        "",
        "cmk",
        text[:-1],
        text + "x",
        text.replace("cmk", "xyz"),
        f"cmk.{'0' * 32}.{'x' * 43}",
        "é" + text,
    ):
        with pytest.raises(Unauthenticated):
            world.passwords.prove_by_key(bad)
    # The secret of one is not good with the name of another.
    crossed = ".".join(("cmk", key.key_id, endless_text.rpartition(".")[2]))
    with pytest.raises(Unauthenticated):
        world.passwords.prove_by_key(crossed)
    world.clock.go_on(60)
    with pytest.raises(Unauthenticated, match="expired"):
        world.passwords.prove_by_key(text)
    assert world.passwords.prove_by_key(endless_text)[1] == endless
    world.store.update_user("bob", locked=True)
    with pytest.raises(AuthDeny, match="user bob is locked"):
        world.passwords.prove_by_key(endless_text)
    world.store.update_user("bob", locked=False)
    world.store.delete_api_key(endless.key_id)
    with pytest.raises(Unauthenticated):
        world.passwords.prove_by_key(endless_text)
    secret = text.rpartition(".")[2]
    world.slab.close()
    assert secret.encode() not in (world.path / "slab" / "data.mdb").read_bytes()
    world.open()


def test_a_user_has_so_many_keys_and_no_more_and_they_go_with_it(world: World) -> None:
    texts = [world.passwords.make_key("bob", "")[1] for _ in range(100)]
    with pytest.raises(LimitExceeded, match="100 API keys"):
        world.passwords.make_key("bob", "")
    world.store.delete_user("bob")
    assert not world.store.policy.api_keys
    with pytest.raises(Unauthenticated):
        world.passwords.prove_by_key(texts[0])


def test_where_nothing_can_be_written_wrong_passwords_count_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.passwords.set_password("bob", GOOD)

    def full(op: Callable[..., object]) -> None:
        raise LowSpace("the disk is full")

    monkeypatch.setattr(world.slab, "write", full)
    for _ in range(3):
        world.wrong("bob")
    assert world.store.get_user("bob").locked
    world.wrong("bob", GOOD)


# The audit log.


def put_entries(slab: Slab, count: int) -> None:
    kind = auth_pb2.AUDIT_KIND_CHANGE
    audit.append_all(slab, [audit.AuditEntry(kind, "root", f"act{index}") for index in range(count)], 1)


@pytest.fixture
def slab(tmp_path: Path) -> Iterator[Slab]:
    with Slab.open(tmp_path / "slab", AUTH_DATABASES, map_size_bytes=1 << 24, sync=False) as made:
        yield made


def test_the_audit_log_reads_back_and_is_sound(slab: Slab) -> None:
    assert audit.check(slab).sound
    put_entries(slab, 5)
    records, next_offset = audit.read(slab, 2, 2)
    assert ([record.action for record in records], next_offset) == (["act2", "act3"], 4)
    assert audit.read(slab, 5, 10) == ([], 5)
    report = audit.check(slab)
    assert (report.sound, report.record_count) == (True, 5)
    # What was noted earlier is still there when more has come.
    put_entries(slab, 2500)
    assert audit.check(slab, (4, report.head_hash)).sound
    assert not audit.check(slab, (4, b"\0" * 32)).sound
    assert audit.check(slab, (9999, report.head_hash)).problem == "the record noted elsewhere is missing"


def key(offset: int) -> bytes:
    return UINT64.encode(offset)


def tamper_changed(slab: Slab) -> None:
    def op(txn):  # type: ignore[no-untyped-def]
        value = bytearray(txn.get(AUDIT, key(3)))
        value[-1] ^= 1
        txn.put(AUDIT, key(3), bytes(value))

    slab.write(op)


def tamper_removed(slab: Slab) -> None:
    slab.write(lambda txn: txn.delete(AUDIT, key(3)))


def tamper_first_removed(slab: Slab) -> None:
    slab.write(lambda txn: txn.delete(AUDIT, key(0)))


def tamper_last_removed(slab: Slab) -> None:
    slab.write(lambda txn: txn.delete(AUDIT, key(9)))


def tamper_swapped(slab: Slab) -> None:
    def op(txn):  # type: ignore[no-untyped-def]
        left, right = txn.get(AUDIT, key(3)), txn.get(AUDIT, key(4))
        txn.put(AUDIT, key(3), right)
        txn.put(AUDIT, key(4), left)

    slab.write(op)


def tamper_closed_up(slab: Slab) -> None:
    """Takes one out and moves those behind it up."""

    def op(txn):  # type: ignore[no-untyped-def]
        for offset in range(3, 9):
            txn.put(AUDIT, key(offset), txn.get(AUDIT, key(offset + 1)))
        txn.delete(AUDIT, key(9))

    slab.write(op)


def tamper_head_removed(slab: Slab) -> None:
    slab.write(lambda txn: txn.delete(AUDIT, audit.HEAD_KEY))


def tamper_rewritten(slab: Slab) -> None:
    """Makes the whole chain anew without its fourth record: only what was noted elsewhere shows that."""
    records, _ = audit.read(slab, 0, 100)
    slab.write(lambda txn: txn.delete_range(AUDIT, b"", None, count_max=100))
    kept = [record for record in records if record.offset != 3]
    entries = [audit.AuditEntry(record.kind, record.actor, record.action) for record in kept]
    audit.append_all(slab, entries, 1)


@pytest.mark.parametrize(
    "tamper",
    [
        tamper_changed,
        tamper_removed,
        tamper_first_removed,
        tamper_last_removed,
        tamper_swapped,
        tamper_closed_up,
        tamper_head_removed,
        tamper_rewritten,
    ],
)
def test_tampering_shows(slab: Slab, tamper: Callable[[Slab], None]) -> None:
    put_entries(slab, 10)
    head = audit.check(slab).head_hash
    tamper(slab)
    report = audit.check(slab, (9, head))
    assert not report.sound
    assert report.problem
    if tamper is not tamper_rewritten:
        assert not audit.check(slab).sound


def test_a_flood_of_denials_is_counted_and_does_not_fill_the_disk(slab: Slab) -> None:
    async def main() -> None:
        workers, clock = Workers(), HeldClock()

        class Store:
            pass

        store = Store()
        store.slab, store.clock, store.now_us = slab, clock, 1  # type: ignore[attr-defined]
        denials = Denials(store, workers)  # type: ignore[arg-type]

        def note(actor: str, port: int = 1) -> None:
            denials.note(
                actor=actor, method="/x/Y", reason="no", peer=f"ipv4:10.0.0.1:{port}", request_id="r"
            )

        for port in range(500):
            note("bob", port)
        await denials.flush()
        records, _ = audit.read(slab, 0, 10)
        assert [(record.actor, record.count, record.peer) for record in records] == [
            ("bob", 500, "ipv4:10.0.0.1")
        ]
        total = 500
        for round_number in range(3):
            for index in range(PENDING_COUNT_MAX * 2):
                note(f"user{round_number}-{index}")
            total += PENDING_COUNT_MAX * 2
            await denials.flush()
        # The rest of the budget is a minute later enough to tell of all that had no record of its own.
        clock.go_on(60)
        await denials.flush()
        records, count = [], 0
        while True:
            more, count = audit.read(slab, count, 1000)
            records += more
            if not more:
                break
        assert len(records) <= BURST_COUNT + 60
        assert sum(record.count for record in records) == total
        assert records[-1].kind == auth_pb2.AUDIT_KIND_DENIAL_OVERFLOW
        assert audit.check(slab).sound
        await workers.close()

    asyncio.run(main())
