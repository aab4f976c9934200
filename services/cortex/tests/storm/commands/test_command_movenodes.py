"""The command `movenodes`: what a layer says goes into another one, and nothing else changes in the view."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.cortex.storm.engine import Engine

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine

IPV4 = "inet:ipv4=1.1.1.8"
NODE = f"[ {IPV4} :asn=3 :loc=us +(refs)> {{ [ inet:asn=9 ] }} +#t=2020 +#u ] $node.data.set(a, b)"
FORKED = f"[ {IPV4} :asn=4 +#t=2021 +#f -:loc -#u ]"
TOLD = "$lib.print((:asn, :loc, #t, $node.tags(), $node.data.get(a))) -(refs)> * $lib.print($node.value())"


@pytest.fixture(name="engine")
def _engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path / "graph") as engine:
        for text in (NODE, "$lib.globals.set(v, $lib.view.get().fork().iden)", in_fork(FORKED)):
            assert Run(engine, text).error is None
        yield engine


def in_fork(text: str) -> str:
    return f"view.exec $lib.globals.get(v) {{ {text} }}"


def test_without_apply_it_only_tells(engine: Engine) -> None:
    before = Run(engine, in_fork(f"{IPV4} {TOLD}")).prints
    told = Run(engine, in_fork(f"{IPV4} | movenodes"))
    top, bottom = Run(engine, in_fork("for $l in $lib.view.get().layers { $lib.print($l.iden) }")).prints
    iden = Run(engine, f"{IPV4} $lib.print($node.iden())").prints[0]
    assert told.error is None, told.message
    assert told.prints[0] == f"{top} add {iden} inet:ipv4 = 1.1.1.8"
    assert f"{bottom} delete {iden} inet:ipv4:asn = 3" in told.prints
    assert f"{top} set {iden} inet:ipv4:loc = us" not in told.prints
    assert Run(engine, in_fork(f"{IPV4} {TOLD}")).prints == before


def test_the_view_shows_the_same_afterwards(engine: Engine) -> None:
    before = Run(engine, in_fork(f"{IPV4} {TOLD}")).prints
    moved = Run(engine, in_fork(f"{IPV4} | movenodes --apply"))
    assert moved.error is None, moved.message
    assert Run(engine, in_fork(f"{IPV4} {TOLD}")).prints == before
    assert Run(engine, in_fork("inet:asn=9 <(refs)- *")).error is None
    assert Run(engine, f"{IPV4} +:asn").nodes == []
    assert Run(engine, "#t").nodes == []
    # What the fork hides stays where it is.
    assert Run(engine, "#u").nodes == [16843016]


def test_precedence(engine: Engine) -> None:
    query = (
        f"$layers=$lib.view.get().layers {IPV4} "
        "| movenodes --apply --precedence $layers.index(1).iden $layers.index(0).iden"
    )
    moved = Run(engine, in_fork(query))
    assert moved.error is None, moved.message
    assert Run(engine, in_fork(f"{IPV4} $lib.print(:asn)")).prints == ["3"]


def test_down_to_the_layer_below(engine: Engine) -> None:
    query = (
        f"$layers=$lib.view.get().layers {IPV4} "
        "| movenodes --apply --srclayers $layers.index(0).iden --destlayer $layers.index(1).iden"
    )
    moved = Run(engine, in_fork(query))
    assert moved.error is None, moved.message
    assert Run(engine, f"{IPV4} $lib.print((:asn, $node.tags()))").prints == ["[4, ['f', 't']]"]


def test_what_cannot_be_moved(engine: Engine) -> None:
    assert Run(engine, f"{IPV4} | movenodes").error == "StormRuntimeError"
    assert Run(engine, in_fork(f"{IPV4} | movenodes --srclayers nope")).error == "BadOperArg"
    assert Run(engine, in_fork(f"{IPV4} | movenodes --destlayer nope")).error == "BadOperArg"
    here = "$lib.layer.get().iden"
    assert Run(engine, in_fork(f"{IPV4} | movenodes --srclayers {here}")).error == "BadOperArg"
    assert Run(engine, in_fork(f"{IPV4} | movenodes --precedence {here}")).error == "BadOperArg"
