"""What `$lib.model` says and refuses, held against answers observed from Synapse 2.256."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cellmesh.cortex.storm.engine import Engine

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, plain

ADD = "$lib.model.ext"
FORM = f'{ADD}.addForm("_a:form", str, ({{}}), ({{}}))'
PROP = f"{ADD}.addFormProp(inet:asn, _x, (int, ({{}})), ({{}}))"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f'{ADD}.addType("_a:form", str, ({{}}), ({{}})) {FORM}', "DupTypeName"),
        (
            f'{FORM} {ADD}.addFormProp(inet:asn, _x, ("_a:form", ({{}})), ({{}})) {ADD}.delForm("_a:form")',
            "CantDelType",
        ),
        (f"{ADD}.delFormProp(inet:nope, _x)", "NoSuchProp"),
        (f'{ADD}.addFormProp(inet:asn, _x, (array, ({{"type": "nope"}})), ({{}}))', "BadTypeDef"),
        (f'{ADD}.addFormProp(inet:asn, _x, (hex, ({{"size": 3}})), ({{}}))', "BadConfValu"),
        (f'{ADD}.addEdge(inet:asn, "_Owns", *, ({{}}))', "BadEdgeDef"),
        (f'{ADD}.addEdge(inet:asn, "_", *, ({{}}))', "BadEdgeDef"),
        (f'{ADD}.addEdge(inet:asn, "_a b", *, ({{}}))', "BadEdgeDef"),
        (f"{ADD}.delEdge($lib.null, refs, $lib.null)", "NoSuchEdge"),
    ],
)
def test_what_is_refused(engine: Engine, text: str, error: str) -> None:
    assert Run(engine, text).error == error


@pytest.mark.parametrize(
    ("key", "add", "same", "other", "error"),
    [
        ("types", f'{ADD}.addType("_a:t", str, ({{}}), ({{}}))', '["_a:t", "str", {}, {}]', '["_a:t", "int", {}, {}]', "BadTypeDef"),
        ("forms", FORM, '["_a:form", "str", {}, {}]', '["_a:form", "int", {}, {}]', "BadFormDef"),
        ("props", PROP, '["inet:asn", "_x", ["int", {}], {}]', '["inet:asn", "_x", ["str", {}], {}]', "BadPropDef"),
        ("univs", f"{ADD}.addUnivProp(_u, (int, ({{}})), ({{}}))", '["_u", ["int", {}], {}]', '["_u", ["str", {}], {}]', "BadPropDef"),
        ("tagprops", f"{ADD}.addTagProp(tp, (int, ({{}})), ({{}}))", '["tp", ["int", {}], {}]', '["tp", ["str", {}], {}]', "BadPropDef"),
        ("edges", f'{ADD}.addEdge(inet:asn, "_e", *, ({{}}))', '[["inet:asn", "_e", null], {}]', '[["inet:asn", "_e", null], {"doc": "x"}]', "BadEdgeDef"),
    ],
)  # fmt: skip
def test_an_extended_model_passes_over_what_is_there(
    engine: Engine, key: str, add: str, same: str, other: str, error: str
) -> None:
    assert Run(engine, add).error is None
    again = Run(engine, f'{ADD}.addExtModel(({{"{key}": [{same}]}}))')
    assert again.error is None, again.message
    assert Run(engine, f'{ADD}.addExtModel(({{"{key}": [{other}]}}))').error == error


def test_a_dump_of_the_model_can_be_added_to_it(engine: Engine) -> None:
    assert Run(engine, f"{FORM} {PROP}").error is None
    text = f"$dump={ADD}.getExtModel() {ADD}.delFormProp(inet:asn, _x) {ADD}.addExtModel($dump) [ inet:asn=5 :_x=3 ]"
    run = Run(engine, text)
    assert (run.error, run.nodes) == (None, [5])


def test_parts_of_the_model_are_equal_when_they_are_the_same(engine: Engine) -> None:
    parts = (
        "form(inet:asn)",
        "prop(inet:asn:name)",
        "type(int)",
        "form(inet:asn).type",
        "prop(inet:asn:name).form",
    )
    for part in parts:
        assert engine.call(f"return(($lib.model.{part} = $lib.model.{part}))") is True
    assert engine.call("return(($lib.model.form(inet:asn) = $lib.model.form(inet:fqdn)))") is False


@pytest.mark.parametrize(
    ("name", "value", "facts"),
    [
        ("inet:fqdn", '"Foo.com"', {"subs": {"host": "foo", "domain": "com"}}),
        ("inet:fqdn", "com", {"subs": {"host": "com", "issuffix": 1}}),
        ("syn:tag", "a.b", {"subs": {"base": "b", "depth": 1, "up": "a"}, "toks": ["a", "b"]}),
        ("ndef", "(inet:asn, 5)", {"subs": {"form": "inet:asn"}, "adds": [["inet:asn", 5, {}]]}),
        (
            "inet:web:acct",
            "(a.com, Bob)",
            {
                "subs": {"site": "a.com", "site:host": "a", "site:domain": "com", "user": "bob"},
                "adds": [
                    ["inet:fqdn", "a.com", {"subs": {"host": "a", "domain": "com"}}],
                    ["inet:user", "bob", {}],
                ],
            },
        ),
        ("inet:http:header", "(Foo, bar)", {"subs": {"name": "foo", "value": "bar"}, "adds": []}),
    ],
)
def test_what_normalising_tells(engine: Engine, name: str, value: str, facts: object) -> None:
    assert plain(engine.call(f"return($lib.model.type({name}).norm({value}).1)")) == facts


def test_universal_properties_and_extended_forms_as_nodes(engine: Engine) -> None:
    assert Run(engine, 'syn:prop=".seen"').nodes == [".seen"]
    run = Run(engine, f'{FORM} syn:prop="_a:form" $lib.print(:extmodel)')
    assert (run.error, run.prints) == (None, ["0"])
