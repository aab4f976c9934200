"""Cron jobs: when they run, what is noted, and what a restart makes of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cellmesh.common.errors import BadArg, BadSyntax, StormRuntimeError

sys.path.insert(0, str(Path(__file__).parent))
from automation_kit import START_S, Bench, Clock, open_bench, wait_until

HOURLY = 'return($lib.cron.add(query=$query, hourly="50").iden)'


def pack(bench: Bench, iden: str) -> dict[str, object]:
    """Return what is known of a job."""
    found: dict[str, object] = bench.call("return($lib.cron.get($iden).pack())", iden=iden)
    return found


def test_runs_at_its_times(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = bench.call(HOURLY, query="[ inet:asn=1 inet:asn=2 ]")
        bench.tick(60)
        assert pack(bench, iden)["startcount"] == 0
        bench.tick(300)  # 11:50:43
        row = pack(bench, iden)
        assert (row["startcount"], row["lastresult"]) == (1, "finished successfully with 2 nodes")
        assert row["nexttime"] == START_S - 43 - 44 * 60 + 3600 + 50 * 60
        bench.tick(60)
        assert pack(bench, iden)["startcount"] == 1
        bench.tick(3600)
        assert pack(bench, iden)["startcount"] == 2


def test_errors_are_noted(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = bench.call(HOURLY, query="[ inet:ipv4=zork ]")
        bench.tick(3600)
        bench.tick(3600)
        row = pack(bench, iden)
        assert (row["startcount"], row["errcount"]) == (2, 2)
        assert str(row["lastresult"]).startswith("raised exception BadTypeValu")


def test_knows_what_it_is(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = bench.call(HOURLY, query="[ it:dev:str=$auto.iden it:dev:str=$auto.type ]")
        bench.tick(3600)
        assert sorted(bench.run("it:dev:str")) == sorted([iden, "cron"])


def test_at_runs_once_and_is_cleaned_up(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        bench.call('$lib.cron.at(query="[ inet:asn=1 ]", minute="5,10")')
        bench.call('$lib.cron.at(query="[ inet:asn=2 ]", now=(true))')
        bench.tick(0)
        assert bench.run("inet:asn") == [2]
        bench.tick(400)
        bench.tick(400)
        bench.tick(86400)
        counts = bench.call(
            "$o=([]) for $c in $lib.cron.list() { $o.append($c.pack().startcount) } return($o)"
        )
        assert counts == [2, 1]
        bench.run("cron.cleanup")
        assert bench.call("return($lib.len($lib.cron.list()))") == 0


def test_missed_times_are_one_run_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    with open_bench(tmp_path, clock) as bench:
        iden = bench.call(HOURLY, query="[ inet:asn=1 ]")
    clock.now_s += 10 * 3600
    with open_bench(tmp_path, clock) as bench:
        bench.tick(0)
        bench.tick(1)
        row = pack(bench, iden)
        assert row["startcount"] == 1
        next_s = row["nexttime"]
        assert isinstance(next_s, float)
        assert clock.now_s < next_s <= clock.now_s + 3600


def test_a_started_time_is_not_run_again(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = bench.call(HOURLY, query="$lib.time.sleep(60)")
        bench.clock.now_s += 3600
        bench.automation.cron.start_due()
        wait_until(lambda: pack(bench, iden)["isrunning"])
        row = dict(bench.automation.cron.get(iden).row)
        assert bench.call("return($lib.cron.get($iden).kill())", iden=iden)
        assert bench.automation.executor.wait_idle(5)
        assert pack(bench, iden)["lastresult"] == "cancelled"
        # As if the process had died while the query ran.
        cron = bench.automation.cron
        cron._store.put(cron._store.write_alone, row, "root")
        clock = bench.clock
    with open_bench(tmp_path, clock) as bench:
        bench.automation.cron.resume()
        row = pack(bench, iden)
        assert (row["isrunning"], row["startcount"]) == (False, 1)
        assert str(row["lastresult"]).startswith("interrupted")
        bench.tick(0)
        assert pack(bench, iden)["startcount"] == 1


def test_one_at_a_time(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = bench.call(HOURLY, query="$lib.time.sleep(60)")
        for _ in range(3):
            bench.clock.now_s += 3600
            bench.automation.cron.start_due()
        assert pack(bench, iden)["startcount"] == 1
        bench.run("cron.del $iden", iden=iden)
        assert bench.automation.executor.wait_idle(5)


def test_changes(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = bench.call(HOURLY, query="[ inet:asn=1 ]")
        bench.run("cron.disable $iden", iden=iden)
        bench.tick(3600)
        assert pack(bench, iden)["startcount"] == 0
        bench.run("cron.enable $iden | cron.mod $iden { [ inet:asn=2 ] }", iden=iden)
        fork = bench.graph.fork(bench.graph.default_view)
        bench.run("cron.move $iden $view", iden=iden, view=str(fork.id))
        bench.call("$c=$lib.cron.get($iden) $c.set(name, nn) $c.set(doc, dd)", iden=iden)
        bench.tick(0)
        assert pack(bench, iden)["startcount"] == 0  # what passed while it was off is gone
        bench.tick(3600)
        assert bench.run("inet:asn") == []
        with bench.graph.begin(fork) as session:
            assert session.count_form(bench.graph.model.require_form("inet:asn")) == 1
        row = pack(bench, iden)
        assert (row["name"], row["doc"], str(row["query"]).strip()) == ("nn", "dd", "[ inet:asn=2 ]")
        with pytest.raises(BadArg):
            bench.call("$lib.cron.get($iden).set(zork, x)", iden=iden)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("$lib.cron.add(hourly=15)", StormRuntimeError),
        ('$lib.cron.add(query="inet:asn")', StormRuntimeError),
        ('$lib.cron.add(query="inet:asn", zork=3)', StormRuntimeError),
        ('$lib.cron.add(query="[ inet", hourly=15)', BadSyntax),
        ('$lib.cron.at(query="inet:asn")', StormRuntimeError),
        ('$lib.cron.add(query="", hourly=3)', BadArg),
        ("$lib.cron.get(zork)", StormRuntimeError),
    ],
)
def test_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    with open_bench(tmp_path) as bench, pytest.raises(error):
        bench.call(f"return({text})")


def test_a_job_that_was_stopped_before_it_began_is_still_due(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = bench.call(HOURLY, query="[ inet:asn=1 ]")
        bench.clock.now_s += 3600
        assert bench.automation.executor.stop(5)
        bench.automation.cron.start_due()
        assert pack(bench, iden)["startcount"] == 0
        bench.automation.executor.reopen()
        bench.tick(0)
        assert (pack(bench, iden)["startcount"], bench.run("inet:asn")) == (1, [1])


def test_an_orderly_stop_lets_a_run_end(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = bench.call(HOURLY, query="[ inet:asn=1 ] $lib.time.sleep(0.3) [ inet:asn=2 ]")
        bench.clock.now_s += 3600
        bench.automation.cron.start_due()
        assert bench.automation.suspend()
        row = pack(bench, iden)
        assert (row["startcount"], row["isrunning"]) == (1, False)
        assert bench.run("inet:asn") == [1, 2]


def test_periods_from_commands(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        bench.run("cron.add --period daily@11:50 { [ inet:asn=1 ] }")
        (iden,) = bench.call("$o=([]) for $c in $lib.cron.list() { $o.append($c.iden) } return($o)")
        bench.tick(400)
        assert (pack(bench, iden)["startcount"], bench.run("inet:asn")) == (1, [1])
        bench.run("cron.mod $iden --period hourly@:55", iden=iden)
        bench.tick(300)
        assert pack(bench, iden)["startcount"] == 2
        bench.run("cron.mod $iden --period minutely { [ inet:asn=2 ] }", iden=iden)
        bench.tick(60)
        assert bench.run("inet:asn") == [1, 2]
        for text in (
            "cron.add --period daily --hour 3 { }",
            "cron.mod $iden --period zork",
        ):
            with pytest.raises(StormRuntimeError):
                bench.run(text, iden=iden)
        with pytest.raises(BadArg):
            bench.run("cron.mod $iden", iden=iden)
        at = bench.call('return($lib.cron.at(query="inet:asn", minute=5).iden)')
        with pytest.raises(BadArg):
            bench.run("cron.mod $iden --period daily", iden=at)
