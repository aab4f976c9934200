"""Filters, tag globs and tag names from variables: what is checked when, and what matches."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from cellmesh.cortex.storm.engine import Engine
from storm_kit import Run


@pytest.mark.parametrize(
    ("condition", "error"),
    [
        ("+inet:nosuch", "NoSuchProp"),
        ("-inet:ipv4:nosuch=5", "NoSuchProp"),
        ("+inet:nosuch*", "NoSuchForm"),
        ("+(inet:nosuch or :asn=5)", "NoSuchProp"),
        ("+(:asn=5 and not inet:nosuch)", "NoSuchProp"),
        ("+inet:ipv4*zork=5", "NoSuchCmpr"),
        ("+inet:ipv4:asn*zork=5", "NoSuchCmpr"),
        ("+#a=nosuch", "BadTypeValu"),
        ("+#a@=(2020, nosuch)", "BadTypeValu"),
        ("+#a>2020", "NoSuchCmpr"),
    ],
)
def test_a_filter_that_cannot_be_fails_before_the_edit_in_front_of_it(
    engine: Engine, condition: str, error: str
) -> None:
    assert Run(engine, f"inet:asn=1 {condition}").error == error
    assert Run(engine, f"[ inet:asn=1 ] {condition}").error == error
    assert Run(engine, "inet:asn").nodes == []


@pytest.mark.parametrize(
    "condition", ["+inet:ipv4=nosuch", "+:nosuch=5", "+:asn=nosuch", "+.seen=nosuch", "+#a:nosuch=5", "+{ +inet:nosuch }"]
)  # fmt: skip
def test_what_only_a_row_can_tell_waits_for_one(engine: Engine, condition: str) -> None:
    assert Run(engine, f"inet:ipv4=1.2.3.4 {condition}").error is None


def test_pivots_to_tags_take_globs_over_dots(engine: Engine) -> None:
    Run(engine, "[ inet:asn=1 +#a.b.c.d +#a.x.c +#c.c +#abc ]")

    def tags(glob: str) -> list[str]:
        return sorted(Run(engine, f"inet:asn -> #{glob}").nodes)

    assert tags("a.*") == ["a.b", "a.b.c", "a.b.c.d", "a.x", "a.x.c"]
    assert tags("a*c") == ["a.b.c", "a.x.c", "abc"]
    assert tags("*.c") == ["a.b.c", "a.x.c", "c.c"]
    assert tags("a.*.*") == ["a.b.c", "a.b.c.d", "a.x.c"]
    assert tags("*") == tags("**")
    assert len(tags("*")) == 9
    assert Run(engine, '$glob="a.*" inet:asn -> #$glob').nodes == []


def test_a_glob_in_a_variable_counts_in_filters_and_is_no_tag_to_lift_by(engine: Engine) -> None:
    Run(engine, "[ inet:asn=1 +#a.b ]")
    assert Run(engine, '$glob="a.*" inet:asn +#$glob').nodes == [1]
    assert Run(engine, '$glob="b.*" inet:asn +#$glob').nodes == []
    assert Run(engine, '$glob="a.*" #$glob').error == "BadTypeValu"


def test_tag_properties_are_found_by_globs(engine: Engine) -> None:
    Run(engine, "$lib.model.ext.addTagProp(score, (int, ({})), ({}))")
    Run(engine, "[ inet:asn=1 +#a.b:score=5 +#q ]")
    found = {glob: Run(engine, f"inet:asn +#{glob}:score").nodes for glob in ("*", "a*", "a.*", "*.b", "**")}
    assert found == {"*": [], "a*": [], "a.*": [1], "*.b": [1], "**": [1]}


def test_tags_of_no_text(engine: Engine) -> None:
    for value in ("$lib.null", "(5)", '({"a": 1})'):
        assert Run(engine, f"$tag={value} [ inet:asn=1 +?#$tag ]").nodes == [1]
        assert Run(engine, f"$tag={value} [ inet:asn=1 +#$tag ]").error == "BadTypeValu"
    assert Run(engine, "$tag=$lib.null [ inet:asn=1 -#$tag ]").error is None
    Run(engine, "$tag=(a, b) [ inet:asn=1 +#foo.$tag ]")
    assert Run(engine, "inet:asn=1 -> #").nodes == ["foo.a_b"]


def test_a_form_that_is_not_there_before_a_tag(engine: Engine) -> None:
    for text in ("inet:nosuch#a", "inet:nosuch#a:score", "inet:ipv4:asn#a"):
        assert Run(engine, text).error == "NoSuchForm"


def test_verbs_of_edges_may_be_numbers(engine: Engine) -> None:
    Run(engine, "$verb=(1) [ inet:asn=1 +($verb)> { [ inet:asn=2 ] } ]")
    assert Run(engine, "inet:asn=1 -(1)> *").nodes == [2]
