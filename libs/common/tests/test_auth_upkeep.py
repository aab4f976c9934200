"""Users over the years: limits, the archive, hashes made anew, certificates' rules, the audit log cut, and mirrors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cellmesh.api.common.v1 import auth_pb2
from cellmesh.common.auth import audit, retention
from cellmesh.common.auth.certificates import CertificateRule, parse_rules, user_name_of
from cellmesh.common.auth.credentials import HashCost, PasswordPolicy
from cellmesh.common.auth.passwords import Passwords
from cellmesh.common.auth.principals import User
from cellmesh.common.auth.replay import AuthApplier
from cellmesh.common.auth.retention import DAY_US, AuditRules, cut_by_rules
from cellmesh.common.auth.rules import Rule
from cellmesh.common.auth.schema import AUDIT, AUTH
from cellmesh.common.auth.schema import DATABASES as AUTH_DATABASES
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.auth.stored import load_policy
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.changelog import ChangeLog, Replay
from cellmesh.common.errors import (
    BadArg,
    BadState,
    CellError,
    LimitExceeded,
    StorageCorrupt,
    Unauthenticated,
)
from cellmesh.common.storage import Slab
from cellmesh.common.storage.codecs import UINT64
from cellmesh.common.tls.identity import UserIdentity

GOOD = "correct horse battery"
LOW = HashCost(memory_kib=64, iterations=1)
HIGH = HashCost(memory_kib=128, iterations=2, lanes=2)


def open_slab(path: Path) -> Slab:
    return Slab.open(
        path, (*AUTH_DATABASES, *LOG_DATABASES), map_size_bytes=1 << 24, sync=False, space_min_bytes=0
    )


@pytest.fixture
def slab(tmp_path: Path) -> Iterator[Slab]:
    with open_slab(tmp_path / "slab") as made:
        yield made


class Closed:
    """A gate that lets no write start, as a follower's, or acknowledges none."""

    def __init__(self, *, acknowledges: bool = True) -> None:
        self.acknowledges = acknowledges

    def check_write(self) -> None:
        if self.acknowledges:
            raise BadState("closed", name="x", state="closed")

    def acknowledge(self, txn_id: int) -> None:
        if not self.acknowledges:
            raise BadState("not acknowledged", name="x", state="closed")


# Limits and the archive.


def test_archived_users_take_no_seat_and_come_back_only_where_there_is_room(slab: Slab) -> None:
    store = AuthStore(slab, user_count_max=2)
    store.add_user("ann")
    store.add_user("bob")
    with pytest.raises(LimitExceeded, match="has 2 users"):
        store.add_user("cyd")
    archived = store.update_user("ann", archived=True)
    assert archived.locked
    assert not archived.active
    store.add_user("cyd")
    with pytest.raises(LimitExceeded):
        store.update_user("ann", archived=False)
    assert store.get_user("ann").archived
    # To say of one who is here that it is here, needs no seat.
    store.update_user("cyd", archived=False)
    store.delete_user("bob")
    assert store.update_user("ann", archived=False).locked
    # Its name was never free.
    store.update_user("ann", archived=True)
    with pytest.raises(CellError):
        store.add_user("ann")


def test_an_archived_user_may_do_nothing_until_it_is_back_and_unlocked(slab: Slab) -> None:
    store = AuthStore(slab)
    passwords = Passwords(store, PasswordPolicy(cost=LOW))
    ann = store.add_user("ann", admin=True)
    passwords.set_password("ann", GOOD)
    _, text = passwords.make_key("ann", "k")
    once, _ = passwords.make_one_time("ann")
    store.update_user("ann", archived=True)
    assert not store.allowed("ann", ("a",), default=True)
    for attempt in (GOOD, once):
        with pytest.raises(Unauthenticated):
            passwords.prove("ann", attempt)
    with pytest.raises(CellError):
        passwords.prove_by_key(text)
    store.update_user("ann", archived=False)
    with pytest.raises(Unauthenticated):
        passwords.prove("ann", GOOD)
    store.update_user("ann", locked=False)
    assert passwords.prove("ann", GOOD)[0].user_id == ann.user_id
    assert passwords.prove_by_key(text)[0].user_id == ann.user_id


# Hashes.


def test_a_password_is_hashed_anew_at_the_next_login_when_the_cost_was_changed(slab: Slab) -> None:
    store = AuthStore(slab)
    ann = store.add_user("ann")
    Passwords(store, PasswordPolicy(cost=LOW)).set_password("ann", GOOD)
    first = store.get_credentials(ann.user_id)
    assert first.password_hash.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    today = Passwords(store, PasswordPolicy(cost=HIGH))
    with pytest.raises(Unauthenticated):
        today.prove("ann", "wrong wrong wrong")
    assert store.get_credentials(ann.user_id).password_hash == first.password_hash
    _, told = today.prove("ann", GOOD)
    second = store.get_credentials(ann.user_id)
    assert told == second.password_hash
    assert told.startswith("$argon2id$v=19$m=128,t=2,p=2$")
    # The same password is no other one: the history and the count of attempts tell nothing new.
    assert replace(second, password_hash="") == replace(first, password_hash="")
    assert today.prove("ann", GOOD)[1] == told
    assert load_policy(slab) == store.policy
    details = [record.detail for record in audit.read(slab, 0, 100)[0]]
    assert details.count("password hashed anew") == 1


def test_a_login_goes_well_where_the_new_hash_cannot_be_stored(slab: Slab) -> None:
    store = AuthStore(slab)
    ann = store.add_user("ann")
    Passwords(store, PasswordPolicy(cost=LOW)).set_password("ann", GOOD)
    stored = store.get_credentials(ann.user_id).password_hash
    slab.gate = Closed()
    assert Passwords(store, PasswordPolicy(cost=HIGH)).prove("ann", GOOD)[1] == stored
    assert store.get_credentials(ann.user_id).password_hash == stored


# Certificates.


def test_the_first_rule_that_matches_says_whose_a_certificate_is() -> None:
    rules = parse_rules(["alice@demo=al", "robot-*@demo=robot", "*@partner=Guest user", "x@*=-", "*@demo=*"])

    def user(name: str) -> str:
        return user_name_of(UserIdentity.parse(name), rules)

    assert user("alice@demo") == "al"
    assert user("alice@partner") == "Guest user"
    assert user("robot-7@demo") == "robot"
    assert user("robot@demo") == "robot"
    assert user("x@demo") == ""
    assert user("x@partner") == "Guest user"
    assert user("bob@demo") == "bob"
    assert user("bob@other") == "bob"
    assert user_name_of(UserIdentity("bob", "other"), parse_rules(["*@*=-"])) == ""
    assert user_name_of(UserIdentity("bob@mail", "demo"), parse_rules(["bob@mail@demo=bob"])) == "bob"


@pytest.mark.parametrize(
    "text",
    ["", "alice", "alice@demo", "alice@demo=", "@demo=al", "alice@=al", "=al", "a[bc]@demo=al", "a@demo=b/c"],
)
def test_what_is_no_rule_of_certificates_is_refused(text: str) -> None:
    with pytest.raises(BadArg):
        CertificateRule.parse(text)


# The audit log.


def fill(slab: Slab, count: int, *, day: int = 0) -> None:
    entries = [audit.AuditEntry(auth_pb2.AUDIT_KIND_CHANGE, "ann", f"do {index}") for index in range(count)]
    audit.append_all(slab, entries, day * DAY_US)


def test_the_log_is_cut_by_count_and_by_age_and_its_chain_still_checks(
    slab: Slab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP_COUNT", 7)
    fill(slab, 20, day=1)
    noted = audit.check(slab)
    fill(slab, 20, day=30)
    assert cut_by_rules(slab, AuditRules(), 40 * DAY_US) == 0
    assert cut_by_rules(slab, AuditRules(keep_days=20), 40 * DAY_US) == 20
    report = audit.check(slab)
    assert report.sound
    # Three cuts of up to seven, each with a record of its own.
    assert (report.first_offset, report.record_count) == (20, 23)
    # What was noted of the last one cut still proves that these followed it; what came before cannot be asked.
    assert audit.check(slab, (19, noted.head_hash)).sound
    assert not audit.check(slab, (19, bytes(32))).sound
    with pytest.raises(BadArg, match="record 18 was cut"):
        audit.check(slab, (18, noted.head_hash))
    assert cut_by_rules(slab, AuditRules(count_max=10), 40 * DAY_US) == 33 - 20
    report = audit.check(slab)
    assert report.sound
    assert report.record_count == 12
    records = audit.read(slab, 0, 100)[0]
    assert [record.offset for record in records] == list(range(33, 45))
    assert records[-1].kind == auth_pb2.AUDIT_KIND_CUT
    assert records[-1].target == "audit/32"
    # It goes on, and after a restart too; nothing more is cut than the rules say.
    fill(slab, 3, day=40)
    assert audit.check(slab).sound
    assert cut_by_rules(slab, AuditRules(count_max=1000), 40 * DAY_US) == 0
    assert cut_by_rules(slab, AuditRules(count_max=1), 400 * DAY_US) == 14
    assert audit.check(slab).sound


def test_the_newest_record_is_never_cut(slab: Slab) -> None:
    fill(slab, 1, day=1)
    assert cut_by_rules(slab, AuditRules(count_max=1, keep_days=1), 400 * DAY_US) == 0
    with slab.view() as txn:
        assert audit.head(txn)[0] == 1
    assert audit.check(slab).record_count == 1


def test_who_cuts_without_a_record_of_it_is_found_out(slab: Slab) -> None:
    fill(slab, 30)
    with slab.view() as txn:
        ninth = (txn.get(AUDIT, UINT64.encode(9)) or b"")[: audit.HASH_SIZE]

    def op(txn):  # type: ignore[no-untyped-def]
        txn.delete_range(AUDIT, b"", UINT64.encode(10), count_max=10)
        txn.put(AUDIT, audit.ANCHOR_KEY, UINT64.encode(10) + ninth)

    slab.write(op)
    report = audit.check(slab)
    assert (report.bad_offset, report.sound) == (10, False)
    assert "no record tells that they were cut" in report.problem


def test_an_anchor_moved_back_or_taken_away_shows(slab: Slab) -> None:
    fill(slab, 30)
    cut_by_rules(slab, AuditRules(count_max=20), 1)
    with slab.view() as txn:
        was = txn.get(AUDIT, audit.ANCHOR_KEY) or b""
    slab.write(lambda txn: txn.delete(AUDIT, audit.ANCHOR_KEY))
    assert "record 0 is missing" in audit.check(slab).problem
    slab.write(lambda txn: txn.put(AUDIT, audit.ANCHOR_KEY, UINT64.encode(11) + was[8:]))
    assert not audit.check(slab).sound
    slab.write(lambda txn: txn.put(AUDIT, audit.ANCHOR_KEY, was))
    assert audit.check(slab).sound
    # A record that was cut and is put back says nothing true either.
    slab.write(lambda txn: txn.put(AUDIT, UINT64.encode(3), bytes(40)))
    assert "still there" in audit.check(slab).problem


def test_a_broken_chain_is_not_cut(slab: Slab) -> None:
    fill(slab, 30)
    slab.write(lambda txn: txn.delete(AUDIT, UINT64.encode(4)))
    with pytest.raises(StorageCorrupt, match="it is not cut"):
        cut_by_rules(slab, AuditRules(count_max=5), 1)
    assert audit.check(slab).bad_offset == 4


# Followers.


def test_a_follower_applies_what_its_leader_logged_and_has_an_audit_log_of_its_own(
    slab: Slab, tmp_path: Path
) -> None:
    leader = AuthStore(slab)
    passwords = Passwords(leader, PasswordPolicy(cost=LOW))
    ann = leader.add_user("ann")
    leader.add_role("hunters")
    leader.grant("ann", "hunters")
    leader.add_gate("layer1", "layer")
    leader.add_rule(ann, Rule.parse("node.add"), "layer1")
    passwords.set_password("ann", GOOD)
    key, text = passwords.make_key("ann", "k")
    leader.add_user("bob")
    leader.delete_user("bob")
    records = ChangeLog(slab).read(0, count_max=1000).records
    with open_slab(tmp_path / "follower") as other:
        other.gate = Closed()
        follower = AuthStore(other)
        told: list[int] = []
        follower.listeners.append(lambda policy: told.append(len(policy.users)))
        replay = Replay(other, [AuthApplier(follower)])
        replay.apply(records[:3])
        assert follower.get_user("ann").name == "ann"
        # What counts on the follower alone, as wrong passwords do, stays out of what is stored.
        follower.put_in_memory(replace(follower.get_user("ann"), locked=True))
        replay.apply(records[3:5])
        assert follower.get_user("ann").locked
        replay.apply(records[5:])
        assert load_policy(other) == leader.policy == follower.stored
        assert follower.get_user("ann").locked
        leader.update_user("ann", email="a@example.com")
        replay.apply(ChangeLog(slab).read(len(records), count_max=9).records)
        # The leader has the last word.
        assert not follower.get_user("ann").locked
        assert told
        assert Passwords(follower, PasswordPolicy(cost=LOW)).prove_by_key(text)[1] == key
        assert audit.check(other).sound
        own = audit.read(other, 0, 1000)[0]
        theirs = audit.read(slab, 0, 1000)[0]
        assert [(r.actor, r.action, r.target) for r in own] == [(r.actor, r.action, r.target) for r in theirs]
        assert own[0].detail == "applied from record 0 of the change log"
    with slab.view() as txn, open_slab(tmp_path / "follower") as other, other.view() as others:
        for db in (AUTH, LOG_DATABASES[0]):
            ours = txn.scan(db, count_max=1000).items
            assert ours
            assert ours == others.scan(db, count_max=1000).items
    assert AUDIT.local


def test_what_cannot_be_applied_leaves_nothing(slab: Slab, tmp_path: Path) -> None:
    leader = AuthStore(slab)
    leader.add_user("ann")
    leader.add_user("bob")
    records = list(ChangeLog(slab).read(0, count_max=9).records)
    with open_slab(tmp_path / "follower") as other:
        follower = AuthStore(other)
        replay = Replay(other, [AuthApplier(follower)])
        with pytest.raises(StorageCorrupt):
            replay.apply([records[0], replace(records[1], payload=b"\xff")])
        assert load_policy(other) == follower.policy
        assert follower.policy.find_user("ann") is None
        assert replay.apply(records) == 2
        assert follower.policy == leader.policy


def test_a_change_that_is_on_disk_counts_though_nobody_was_told(slab: Slab) -> None:
    store = AuthStore(slab)
    slab.gate = Closed(acknowledges=False)
    with pytest.raises(BadState):
        store.add_user("ann")
    assert load_policy(slab) == store.policy
    assert isinstance(store.policy.find_user("ann"), User)
