"""Where pivots and walks lead, held against answers observed from Synapse 2.256."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cellmesh.cortex.storm.engine import Engine

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run

SETUP = (
    "[ it:dev:int=1 +(next)> { [ it:dev:int=2 +(next)> { [ it:dev:int=3 ] } ] } ]",
    "[ ( ou:org=(o, 1) :name=one :names=(acme, corp) ) ( ou:org=(o, 2) :name=two :names=(acme, foo) )"
    " ( ou:org=(o, 3) :name=three :names=(acme, corp) ) ( ps:contact=(p, 1) :orgnames=(acme, zip) ) ]",
)


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """An engine whose graph has three numbers in a row, and organisations that share names."""
    for text in SETUP:
        assert Run(engine, text).error is None
    return engine


@pytest.mark.parametrize(
    ("text", "values"),
    [
        # From an array to an array: those that hold the same list, not those that share an element.
        ("ou:org=(o, 1) :names -> ou:org:names $lib.print(:name)", ["one", "three"]),
        ("ou:org=(o, 2) :names -> ou:org:names $lib.print(:name)", ["two"]),
        ("ps:contact :orgnames -> ou:org:names $lib.print(:name)", []),
        ("ou:name=acme -> ou:org:names $lib.print(:name)", ["one", "three", "two"]),
        # The nodes on the way, the last one's own among them.
        ("it:dev:int=1 $lib.print($path.idens().size())", ["1"]),
        ("it:dev:int=1 -(next)> * -(next)> * $lib.print($path.idens().size())", ["3"]),
        ("ou:org=(o, 1) :name -> ou:name $lib.print($path.idens().size())", ["2"]),
        ("it:dev:int=1 -> { it:dev:int=2 } $lib.print($path.idens().size())", ["1"]),
        # Without a verb, all edges.
        ('$verb="" it:dev:int=1 -($verb)> * $lib.print($node.value())', ["2"]),
        # Nodes that describe the model are reached as others are.
        ("syn:form=inet:asn -> syn:type $lib.print($node.value())", ["inet:asn"]),
        ("syn:prop=inet:asn:name :form -> syn:form $lib.print($node.value())", ["inet:asn"]),
        ("syn:form=inet:asn -> syn:prop:form +:base=name $lib.print($node.value())", ["inet:asn:name"]),
        ("syn:prop=inet:asn:name -> * $lib.print($node.value())", ["inet:asn", "str"]),
        ("syn:form=inet:asn <- * +syn:prop:base=name $lib.print($node.value())", ["inet:asn:name"]),
        ("syn:type=inet:asn -> * $lib.print($node.value())", ["int"]),
    ],
)
def test_where_a_pivot_leads(filled: Engine, text: str, values: list[str]) -> None:
    run = Run(filled, text)
    assert run.error is None, run.message
    assert sorted(run.prints) == values


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("$form=inet:nope it:dev:int=1 -(next)> $form", "NoSuchForm"),
        ("$form=inet:nope it:dev:int=2 <(next)- $form", "NoSuchForm"),
        ("it:dev:int=1 -(next)> nope:*", "NoSuchForm"),
        ("$verb=({}) it:dev:int=1 -($verb)> *", "StormRuntimeError"),
        ("$form=inet:nope it:dev:int=1 -> $form", "NoSuchProp"),
    ],
)
def test_what_a_pivot_refuses(filled: Engine, text: str, error: str) -> None:
    assert Run(filled, text).error == error
