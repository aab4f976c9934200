"""Queries in the background, and the commands that list and end what runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cellmesh.common.errors import BadArg, NoSuchVar, StormRuntimeError

sys.path.insert(0, str(Path(__file__).parent))
from automation_kit import Bench, open_bench, wait_until


def tasks(bench: Bench) -> list[str]:
    """The idens of the queries that run, but for the one that asks."""
    lines = [str(line) for line in bench.run("task.list")]
    return [line.split()[2] for line in lines if line.startswith("task iden:")][:-1]


def test_it_has_the_variables_and_not_the_nodes(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        assert bench.run("[ inet:asn=1 inet:asn=2 ] $x=5 | background { [ inet:asn=$x ] }") == [1, 2]
        assert bench.automation.executor.wait_idle(5)
        assert sorted(bench.run("inet:asn")) == [1, 2, 5]


def test_it_sees_what_was_edited_before(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        bench.run("[ inet:asn=1 ] | background { inet:asn=1 [ +#seen ] }")
        assert bench.automation.executor.wait_idle(5)
        assert bench.run("inet:asn#seen") == [1]


def test_what_it_cannot_run_is_refused_at_once(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        with pytest.raises(NoSuchVar):
            bench.run("background { [ inet:asn=$zork ] }")
        with pytest.raises(BadArg):
            bench.run("background")


def test_it_is_listed_and_ended(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        bench.run("background { $lib.time.sleep(60) [ inet:asn=1 ] }")
        wait_until(lambda: len(tasks(bench)) == 1)
        (iden,) = tasks(bench)
        shown = "\n".join(str(line) for line in bench.run("task.list --verbose"))
        assert "$lib.time.sleep(60)" in shown
        assert "2 tasks found." in shown
        with pytest.raises(StormRuntimeError):
            bench.run('task.kill ""')
        with pytest.raises(StormRuntimeError):
            bench.run("ps.kill zork")
        assert bench.run("task.kill $iden", iden=iden[:20]) == ["kill status: true"]
        assert bench.automation.executor.wait_idle(5)
        assert (tasks(bench), bench.run("inet:asn")) == ([], [])
