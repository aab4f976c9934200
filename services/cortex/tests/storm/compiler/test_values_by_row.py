"""Variables that a loop gives another value for each row: filters and pivots take the row's, as observed of Synapse 2.256.0."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error
from storm_kit import Run, open_engine

MADE = (
    "$lib.model.ext.addTagProp(risk, (int, ({})), ({}))",
    "[ inet:asn=2 :name=x +(refs)> { [ inet:asn=3 ] } +(seen)> { [ inet:asn=4 ] } +#a +#a.b=2020 +#a:risk=3 ]",
    "[ inet:asn=6 ]",
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Engine]:
    with open_engine(tmp_path_factory.mktemp("rows")) as engine:
        for text in MADE:
            assert not [message for message in engine.storm(text) if isinstance(message, Error)]
        yield engine


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("for $i in (8, 1, 11) { } +inet:asn>=$i", [2]),
        ("for $i in (8, 1, 11) { } +(:name and inet:asn>=$i)", [2]),
        ("for $i in (8, 1, 11) { } +(not inet:asn>=$i)", [2, 2]),
        ("for $i in (x, y, x) { } +:name=$i", [2, 2]),
        ("for $i in (y, x) { } +:name^=$i", [2]),
        ("for $i in ((1, 2), (3, 4)) { } +inet:asn*in=$i", [2]),
        ("for $i in (b, a, c) { } +#$i", [2]),
        ("for $i in (b, a, a.b) { } -#$i", [2]),
        ("for $i in (2019, 2020) { } +#a.b@=$i", [2]),
        ("for $i in (2, 3) { } +#a:risk=$i", [2]),
        ("for $i in (a, b) { } +#$i:risk", [2]),
        ("for $i in (refs, seen, nope) { } -($i)> *", [3, 4]),
        ("for $i in (inet:asn, inet:ipv4) { } -(*)> $i", [3, 4]),
        ("for $i in (1, 2) { } +{ +inet:asn=$i }", [2]),
    ],
)
def test_each_row_is_asked_with_its_own_value(filled: Engine, query: str, values: list[Any]) -> None:
    assert Run(filled, f"inet:asn=2 {query}").nodes == values


def test_a_list_that_grows_is_looked_at_again(filled: Engine) -> None:
    query = "$l=() inet:asn=2 for $i in (1, 2, 3) { } $l.append($i) +inet:asn*in=$l"
    assert Run(filled, query).nodes == [2, 2]


def test_what_a_row_sets_counts_for_the_next(filled: Engine) -> None:
    assert Run(filled, "$x=1 inet:asn +inet:asn>=$x $x=($x + 2)").nodes == [2, 3, 6]
    assert Run(filled, "$x=a inet:asn +#$x $x=zz").nodes == [2]


def test_values_that_stay_are_made_ready_once(filled: Engine) -> None:
    """Also where a variable holds them; one that does not fit is told of all the same."""
    assert Run(filled, "inet:asn +inet:asn>=$x", x=3).nodes == [3, 4, 6]
    assert Run(filled, "$x=3 inet:asn $y=1 +inet:asn>=$x").nodes == [3, 4, 6]
    assert Run(filled, "inet:asn=2 for $i in (1, nope) { } +inet:asn>=$i").error == "BadTypeValu"
