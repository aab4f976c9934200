"""Daemons: kept running, through ends, errors and restarts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import BadSyntax, NoSuchIden, SchemaViolation

sys.path.insert(0, str(Path(__file__).parent))
from automation_kit import Bench, open_bench, wait_until


def add(bench: Bench, query: str, **variables: Any) -> str:
    """Make a daemon, return its iden."""
    found: str = bench.call(f"return($lib.dmon.add(${{ {query} }}, name=d).iden)", **variables)
    return found


def get(bench: Bench, iden: str) -> dict[str, Any]:
    """Return what is known of a daemon."""
    found: dict[str, Any] = bench.call("return($lib.dmon.get($iden))", iden=iden)
    return found


def test_runs_with_the_variables_it_saw(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = add(bench, "[ inet:asn=$x ] $lib.print(hi) $lib.time.sleep(60)", x=7)
        wait_until(lambda: bench.run("inet:asn") == [7])
        wait_until(lambda: len(bench.call("return($lib.dmon.log($iden))", iden=iden)) == 1)
        assert get(bench, iden)["status"] == "running"
        assert bench.run("dmon.list")[1].startswith(f"    {iden}:  (d ")


def test_starts_again_after_its_end_and_after_errors(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        ends = add(bench, "[ it:dev:str=$lib.guid() ]")
        fails = add(bench, "[ inet:fqdn=`{$lib.guid()}.com` ] $lib.raise(Foo, bar)")
        wait_until(lambda: bench.engine.count("it:dev:str") >= 3)
        wait_until(lambda: bench.engine.count("inet:fqdn") >= 3)
        wait_until(lambda: get(bench, fails)["status"].startswith("error: "))
        bench.call("$lib.dmon.stop($one) $lib.dmon.stop($two)", one=ends, two=fails)
        assert bench.automation.executor.wait_idle(5)


def test_stop_start_bump(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        iden = add(bench, "[ it:dev:str=$lib.guid() ] $lib.time.sleep(60)")
        wait_until(lambda: bench.engine.count("it:dev:str") == 1)
        assert bench.call("return(($lib.dmon.stop($i), $lib.dmon.stop($i), $lib.dmon.bump($i)))", i=iden) == [
            True,
            False,
            False,
        ]
        assert bench.automation.executor.wait_idle(5)
        assert get(bench, iden)["status"] == "stopped"
        assert bench.call("return(($lib.dmon.start($i), $lib.dmon.start($i)))", i=iden) == [True, False]
        wait_until(lambda: bench.engine.count("it:dev:str") == 2)
        assert bench.call("return($lib.dmon.bump($i))", i=iden)
        wait_until(lambda: bench.engine.count("it:dev:str") == 3)


def test_restart(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        add(bench, "[ it:dev:str=$lib.guid() ] $lib.time.sleep(60)")
        off = add(bench, "[ inet:asn=1 ] $lib.time.sleep(60)")
        gone = add(bench, "[ inet:asn=2 ] $lib.time.sleep(60)")
        bench.call("$lib.dmon.stop($off) $lib.dmon.del($gone)", off=off, gone=gone)
        wait_until(lambda: bench.engine.count("it:dev:str") == 1)
    with open_bench(tmp_path) as bench:
        bench.automation.daemons.start_all()
        wait_until(lambda: bench.engine.count("it:dev:str") == 2)
        assert get(bench, off)["status"] == "stopped"
        assert get(bench, gone) is None


def test_refused(tmp_path: Path) -> None:
    with open_bench(tmp_path) as bench:
        for text, error in (
            ('$lib.dmon.add("[")', BadSyntax),
            ("$lib.dmon.del(zork)", NoSuchIden),
            ('$lib.dmon.add("inet:asn", ddef=({"zork": 1}))', SchemaViolation),
            ('$lib.dmon.add("inet:asn", ddef=({"iden": "foo"}))', SchemaViolation),
        ):
            with pytest.raises(error):
                bench.call(text)
        assert bench.call("return(($lib.dmon.get(x), $lib.dmon.stop(x), $lib.dmon.log(x)))") == [
            None,
            False,
            [],
        ]
