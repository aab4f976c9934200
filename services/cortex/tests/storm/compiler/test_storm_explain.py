"""Plans of queries, as files and with counts.

goldens/plan/plans.storm holds texts separated by lines of dashes, the `.expected` file what is told of each.
`CELLMESH_GOLDEN=write` rewrites it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.errors import BadSyntax, NoSuchVar
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, Fini, Profiled
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm.runtime.plan import Plan, PlanStep

sys.path.insert(0, str(Path(__file__).parents[1]))

from storm_kit import open_engine

GOLDEN = Path(__file__).parents[2] / "goldens" / "plan" / "plans.storm"
SEPARATOR = "----\n"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(tmp_path_factory.mktemp("explain")) as opened:
        list(opened.storm("for $i in $lib.range(20) { [ inet:ipv4=$i :asn=($i % 5) +#foo ] }"))
        yield opened


def _lines(step: PlanStep, indent: int = 0) -> Iterator[str]:
    notes = f"  // {'; '.join(step.notes)}" if step.notes else ""
    yield f"{'  ' * indent}{step.kind} {step.line}:{step.column} {step.text}{notes}"
    for inner in step.steps:
        yield from _lines(inner, indent + 1)


def _rendered(plan: Plan) -> str:
    flags = [name for name in ("may_change", "is_batched") if getattr(plan, name)]
    return "\n".join([" ".join(flags) or "-", *[line for step in plan.steps for line in _lines(step)]]) + "\n"


def test_plans_are_as_in_the_golden_file(engine: Engine) -> None:
    texts = GOLDEN.read_text(encoding="utf-8").split(SEPARATOR)
    rendered = SEPARATOR.join(_rendered(engine.plan(text.rstrip("\n"))) for text in texts)
    expected = GOLDEN.with_suffix(".expected")
    if os.environ.get("CELLMESH_GOLDEN") == "write":
        expected.write_text(rendered, encoding="utf-8")

    assert rendered == expected.read_text(encoding="utf-8")


def test_what_cannot_run_has_no_plan(engine: Engine) -> None:
    with pytest.raises(BadSyntax):
        engine.plan("inet:ipv4 +(")
    with pytest.raises(NoSuchVar):
        engine.plan("$lib.print($nosuch)")
    assert engine.plan("$lib.print($given)", QueryOptions(vars={"given": 1})).steps


def _profile(engine: Engine, text: str) -> tuple[Plan, list[object]]:
    messages = list(engine.storm(text, QueryOptions(profile=True)))
    plans = [message.plan for message in messages if isinstance(message, Profiled)]
    assert len(plans) == 1
    assert isinstance(messages[-2], Profiled)
    return plans[0], list(messages)


def _counts(step: PlanStep) -> tuple[int, int]:
    return step.run_count, step.row_count


def test_a_profile_has_rows_runs_and_times(engine: Engine) -> None:
    plan, messages = _profile(engine, "inet:ipv4 +{ -> inet:asn +inet:asn=99 } { +:asn } | limit 3")
    lift, having, inner, limit = plan.steps
    assert [_counts(step) for step in (having, inner, limit)] == [(1, 0), (1, 0), (1, 0)]
    assert _counts(lift) == (1, 20)
    assert [_counts(step)[0] for step in having.steps] == [20, 20]
    assert isinstance(messages[-1], Fini)
    total = sum(step.time_s for step in plan.steps)
    assert 0 < total <= messages[-1].duration_s
    assert sum(step.time_s for step in having.steps) <= having.time_s


def test_functions_loops_and_embedded_queries_are_counted(engine: Engine) -> None:
    text = "function f(x) { for $i in $lib.range(3) { $x=($x+1) } return($x) } $q=${ inet:ipv4 | limit 2 } "
    plan, _ = _profile(engine, text + "for $j in (a, b) { $z=$f(1) yield $q }")
    function, query, loop = plan.steps
    assert function.steps[0].run_count == 2
    assert function.steps[0].steps[0].run_count == 6
    assert [_counts(step) for step in query.steps] == [(2, 4), (2, 4)]
    assert loop.row_count == 4


def test_counts_folded_into_an_index_are_measured_as_one(engine: Engine) -> None:
    plan, _ = _profile(engine, "inet:ipv4 +#foo | count")
    assert [step.run_count for step in plan.steps] == [0, 0, 1]


def test_a_profile_comes_also_of_a_query_that_fails(engine: Engine) -> None:
    plan, messages = _profile(engine, "inet:ipv4 | limit 2 | $x=$node.nosuch()")
    assert [step.row_count for step in plan.steps] == [1, 1, 0]
    assert any(isinstance(message, Error) for message in messages)


def test_a_query_gives_the_same_with_and_without_a_profile(engine: Engine) -> None:
    for text in (
        "inet:ipv4 +:asn=3",
        "inet:ipv4 -> * | uniq",
        "for $i in (1, 2) { yield ${ inet:ipv4 | limit 1 } }",
    ):
        plain = [repr(message) for message in engine.storm(text, QueryOptions(show=frozenset({"node"})))]
        profiled = list(engine.storm(text, QueryOptions(show=frozenset({"node"}), profile=True)))
        kept = [message for message in profiled if not isinstance(message, Profiled)]
        assert len(kept) == len(plain)
        assert not any(isinstance(message, Error) for message in kept)


def test_a_plan_tells_where_the_query_runs_and_what_bounds_it(engine: Engine) -> None:
    point = "looks up one node: the thread that has the call answers, and no other is woken"
    assert engine.plan("inet:ipv4=1.2.3.4").notes == (point, "ends with an error beyond 100 calls deep")
    assert point in _profile(engine, "inet:ipv4=1.2.3.4")[0].notes
    options = QueryOptions(row_limit=5000, depth_limit=7, time_limit_s=1.5, memory_limit=65536)
    assert engine.plan("inet:ipv4", options).notes == (
        "ends with an error beyond 5,000 rows, 7 calls deep, 1.5 s, 65,536 bytes of values",
    )


def test_a_plan_tells_what_is_asked_of_rights(engine: Engine) -> None:
    list(engine.storm("$lib.auth.users.add(reader)"))
    view = "asks once whether the user may read the view"
    edits = "asks for each kind of edit when it is first made, and again when rules change"
    assert engine.plan("[ inet:asn=5 ]", QueryOptions(user="reader")).notes[:2] == (view, edits)
    notes = engine.plan("inet:asn", QueryOptions(user="reader")).notes
    assert view in notes
    assert edits not in notes
    assert view not in engine.plan("[ inet:asn=5 ]").notes
