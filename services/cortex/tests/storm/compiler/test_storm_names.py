"""Which variables need a node, and which are unknown."""

from __future__ import annotations

import pytest
from cellmesh.common.errors import NoSuchVar
from cellmesh.cortex.storm.compiler.names import Scope
from cellmesh.cortex.storm.parser import parse_query
from cellmesh.cortex.storm.source import Source


def scope_of(text: str, *given: str) -> Scope:
    return Scope(parse_query(text), given)


def test_a_variable_set_from_a_node_needs_one() -> None:
    assert not scope_of("inet:ipv4 $x=:asn").is_known("x")


def test_what_follows_from_it_needs_one_too() -> None:
    scope = scope_of("inet:ipv4 $x=:asn $y=`{$x}` ($a, $b)=$y for $i in $a { $z=$i }")
    assert not any(scope.is_known(name) for name in "xyabiz")


def test_one_assignment_without_a_node_suffices_wherever_it_stands() -> None:
    assert scope_of("inet:ipv4 $x=:asn $x=5").is_known("x")
    assert scope_of("$x=5 inet:ipv4 $x=:asn").is_known("x")


def test_the_body_of_a_function_is_a_scope_of_its_own() -> None:
    assert not scope_of("function f(a) { $x=5 }").has("x")


def test_a_variable_that_is_set_nowhere_is_an_error_with_its_place() -> None:
    source = Source("$x=1\n$y=$nope")
    with pytest.raises(NoSuchVar) as caught:
        Scope(parse_query(source.text), ()).check(source)
    assert (caught.value.get("line"), caught.value.get("column")) == (2, 4)


@pytest.mark.parametrize(
    "text", ["$lib.print($node)", "$x=$later $later=1", "$q=${ $lib.print($nope) }", "$z.a=1"]
)
def test_what_is_set_somewhere_given_or_always_there_is_no_error(text: str) -> None:
    scope_of(text, "z").check(Source(text))
