"""Methods of values: what goldens of calls cannot show."""

from __future__ import annotations

import bz2
import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.errors import CellError
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.primitives.tags import difference, glob_regex, leaves
from cellmesh.cortex.storm.runtime.options import QueryOptions
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine

TAGS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map(".".join)


@pytest.fixture(name="engine", scope="module")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(tmp_path_factory.mktemp("primitives") / "graph") as engine:
        assert (
            Run(
                engine, "[ inet:ipv4=1.2.3.4 :asn=5 +#a.b=(2020, 2021) +#c +(refs)> { [ inet:fqdn=a.com ] } ]"
            ).error
            is None
        )
        yield engine


def error_of(engine: Engine, call: str, **variables: object) -> str | None:
    try:
        engine.call(call, QueryOptions(vars=variables))
    except CellError as error:
        return error.name
    return None


def test_no_class_is_described_twice() -> None:
    classes = [spec.python_type for spec in TYPES]
    assert len(classes) == len(set(classes))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ('return(("abc").split(""))', "BadArg"),
        ('return(("abc").encode(nosuch))', "StormRuntimeError"),
        ('return(("abc").ljust((5), fillchar=ab))', "BadArg"),
        ('return(("abc").encode().gunzip())', "StormRuntimeError"),
        ('return(("abc").encode().bunzip())', "StormRuntimeError"),
        ('return(("abc").encode().decode(nosuch))', "StormRuntimeError"),
        ('return(("abc").upper(zork=(1)))', "StormRuntimeError"),
    ],
)
def test_bad_arguments_are_errors_with_a_name(call: str, name: str, engine: Engine) -> None:
    assert error_of(engine, call) == name


def test_packed_bytes_that_are_cut_off_are_refused(engine: Engine) -> None:
    for method, data in (("gunzip", gzip.compress(b"abc")), ("bunzip", bz2.compress(b"abc"))):
        assert engine.call(f"return($data.{method}())", QueryOptions(vars={"data": data})) == b"abc"
        assert error_of(engine, f"return($data.{method}())", data=data[:-4]) == "StormRuntimeError"


def test_a_list_from_the_graph_does_not_change(engine: Engine) -> None:
    query = "inet:ipv4 $n=$node.ndef() $n.append(5) $n.reverse() return(([$n, $n.pop()]))"
    assert engine.call(query) == [("inet:ipv4", 16909060), 16909060]


def test_a_node_shows_its_parts(engine: Engine) -> None:
    call = (
        "inet:ipv4 return(([ $node.form(), $node.value(), $node.ndef(), $node.repr(), $node.repr(asn),"
        " $node.tags(leaf=(true)), $node.globtags('a.*'), $node.isform(inet:ipv4) ]))"
    )
    found = engine.call(call)
    assert found == [
        "inet:ipv4",
        16909060,
        ("inet:ipv4", 16909060),
        "1.2.3.4",
        "5",
        ["a.b", "c"],
        ["b"],
        True,
    ]


def test_packed_nodes_have_texts_when_asked(engine: Engine) -> None:
    ndef, known = engine.call("inet:ipv4 return($node.pack(dorepr=(true)))")
    assert ndef == ("inet:ipv4", 16909060)
    assert known["repr"] == "1.2.3.4"
    assert known["reprs"]["asn"] == "5"
    assert known["tags"]["a.b"] == (1577836800000, 1609459200000)
    assert known["tags"]["c"] == (None, None)


def test_a_node_tells_which_layer_holds_what(engine: Engine) -> None:
    iden = str(engine.graph.default_view.layers[0].id)
    found = engine.call("inet:ipv4 return($node.getByLayer())")
    assert found["ndef"] == iden
    assert set(found["props"]) == {".created", "asn", "type"}
    assert set(found["props"].values()) | set(found["tags"].values()) == {iden}
    (stored,) = engine.call("inet:ipv4 return($node.getStorNodes())")
    assert (stored["form"], stored["valu"], stored["props"]["asn"]) == ("inet:ipv4", 16909060, 5)


@pytest.mark.parametrize(
    "query",
    [
        "inet:ipv4 $node.props.asn=6",
        "inet:ipv4 $node.props.set(asn, 6)",
        "inet:ipv4 $node.data.set(a, 1)",
        "inet:ipv4 $node.data.pop(a)",
        "inet:ipv4 $node.data.cacheset(a, 1)",
        "inet:ipv4 $node.difftags((x,), apply=(true))",
        "inet:ipv4 $node.addEdge(refs, $node.iden())",
        "inet:ipv4 $node.delEdge(refs, $node.iden())",
    ],
)
def test_a_read_only_query_edits_nothing(query: str, engine: Engine) -> None:
    assert Run(engine, query, readonly=True).error == "IsReadOnly"
    assert engine.call("inet:ipv4 return($node.props.asn)") == 5


def test_data_is_what_json_holds(engine: Engine) -> None:
    assert error_of(engine, "inet:ipv4 $node.data.set(a, $lib.set(b)) return()") == "MustBeJsonSafe"
    assert (
        error_of(engine, "$l=([]) $l.append($l) inet:ipv4 $node.data.set(a, $l) return()") == "MustBeJsonSafe"
    )
    found = engine.call(
        "inet:ipv4 $node.data.set(a, ({'b': [1, null]})) return(($node.data.get(a), $node.data.pop(a), $node.data.get(a)))"
    )
    assert list(found) == [{"b": (1, None)}, {"b": (1, None)}, None]


def test_cached_data_grows_old(engine: Engine) -> None:
    call = "inet:ipv4 $node.data.cacheset(k, 1) return(($node.data.cacheget(k, asof='-1 hour'), $node.data.cacheget(k, asof='+1 hour')))"
    assert list(engine.call(call)) == ["1", None]


def test_an_edge_needs_both_nodes(engine: Engine) -> None:
    nobody = "ab" * 32
    assert error_of(engine, f"inet:ipv4 $node.addEdge(refs, '{nobody}') return()") == "NoSuchIden"
    assert error_of(engine, f"inet:ipv4 $node.delEdge(refs, '{nobody}') return()") is None
    assert error_of(engine, "inet:ipv4 $node.addEdge(refs, foo) return()") == "BadCast"


@given(st.sets(TAGS, max_size=6), st.lists(TAGS, max_size=4))
def test_a_difference_of_tags_leads_to_those_wanted(present: set[str], wanted: list[str]) -> None:
    whole = {".".join(tag.split(".")[:count]) for tag in present for count in range(1, 5)}
    adds, removes = difference(whole, wanted, None)
    left = {tag for tag in whole if not any(tag == gone or tag.startswith(f"{gone}.") for gone in removes)}
    left |= {".".join(tag.split(".")[:count]) for tag in adds for count in range(1, 5)}
    assert set(leaves(left)) == set(leaves({*wanted}))


def test_a_difference_below_a_prefix_leaves_the_rest() -> None:
    assert difference({"z", "z.a", "q"}, ["b"], "z") == (["z.b"], ["z.a"])
    assert difference({"z", "z.a", "q"}, [], "z") == ([], ["z", "z.a"])


@pytest.mark.parametrize(
    ("glob", "tag", "groups"),
    [
        ("a.*", "a.b", ("b",)),
        ("a.*", "a.b.c", None),
        ("a.**", "a.b.c", ("b.c",)),
        ("*.b.*", "a.b.c", ("a", "c")),
        ("a.b", "axb", None),
        ("f*", "foo", ("oo",)),
    ],
)
def test_globs(glob: str, tag: str, groups: tuple[str, ...] | None) -> None:
    match = glob_regex(glob).fullmatch(tag)
    assert (None if match is None else match.groups()) == groups
