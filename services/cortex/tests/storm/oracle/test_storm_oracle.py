"""Random queries on random graphs: the engine against a small and slow evaluator of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cellmesh.cortex.storm.engine import Engine
from cellmesh.testing.oracle import queries as q
from cellmesh.testing.oracle.evaluate import Oracle
from cellmesh.testing.oracle.making import Maker, RandomChoices
from cellmesh.testing.oracle.queries import text_of
from cellmesh.testing.oracle.world import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))

from oracle_kit import Pair

ROUNDS = 25
QUERIES = 25


class DrawnChoices:
    """Choices of Hypothesis, which makes a failing round small."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def below(self, count: int) -> int:
        """A number less than `count`."""
        return self._data.draw(st.integers(0, count - 1))


@pytest.fixture
def pair(engine: Engine) -> Pair:
    """The engine and the oracle, both empty."""
    return Pair(engine)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)
@given(st.data())
def test_random_queries_give_what_the_oracle_gives(pair: Pair, data: st.DataObject) -> None:
    pair.round(DrawnChoices(data), 4)


def test_many_rounds_of_random_queries_give_what_the_oracle_gives(pair: Pair) -> None:
    """With seeds instead of Hypothesis, which is quick enough for graphs that grow."""
    for seed in range(ROUNDS):
        pair.round(RandomChoices(seed), QUERIES)
    assert pair.steps > 1000


def test_the_oracle_by_hand() -> None:
    """It is no mirror of the engine: cases that can be followed."""
    oracle = Oracle(World())
    add = q.Edits(
        (q.Add("inet:ipv4", 4), q.Set("asn", 2), q.Add("inet:ipv4", 3), q.Tag("a.b", is_added=True))
    )
    both = [("inet:ipv4", 4), ("inet:ipv4", 3)]
    assert oracle.run((add,)) == (both, None)
    assert set(oracle.world.nodes) == {*both, ("inet:asn", 2), ("syn:tag", "a"), ("syn:tag", "a.b")}
    assert oracle.run((q.Lift("inet:ipv4"),)) == (both[::-1], None)
    assert oracle.run((q.Lift("inet:ipv4"), q.Filter(q.HasProp("asn"), is_keep=False))) == ([both[1]], None)
    pivot = (q.Lift("inet:ipv4"), q.Pivot("inet:asn", is_join=True))
    assert oracle.run(pivot) == ([both[1], both[0], ("inet:asn", 2)], None)
    counted = q.Filter(q.Leads((q.Pivot("*"),), "=", 1), is_keep=True)
    assert oracle.run((q.Lift(tag="a"), counted)) == ([both[0]], None)
    assert oracle.run((q.Lift("inet:ipv4"), q.Edits((q.Set("name", "x"),)))) == ([], "NoSuchProp")
    each = q.For(q.Variable("i"), (1, 2), (q.Lift("inet:asn", "", "=", q.Variable("i")),))
    assert oracle.run((q.Lift("inet:ipv4", "", "=", 4), each))[0] == [both[0], both[0], ("inet:asn", 2)]
    assert oracle.run((q.Lift("inet:ipv4"), q.Command("limit", 1), q.Command("delnode")))[1] is None
    assert both[1] not in oracle.world.nodes


def test_random_queries_have_each_kind_of_step() -> None:
    texts = [text_of(Maker(RandomChoices(seed)).query()) for seed in range(4000)]
    for part in ("-> *", "<- *", "-+>", "-(", "<(", "-->", "+{", "limit", "uniq", "for $i", "if (", "yield {", "*[=",
                 "reverse(", " and ", " or ", "not ", "*range=", "*in=", "$r=", "*unset=", "?=", "-#", "delnode"):  # fmt: skip
        assert any(part in text for text in texts), part
