"""The compiled model: look-ups, near matches, who holds a type, changes at run time, runtime nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.errors import (
    BadConfValu,
    BadEdgeDef,
    BadFormDef,
    BadPropDef,
    BadTypeDef,
    BadTypeValu,
    CantDelForm,
    CantDelType,
    DupEdgeType,
    DupFormName,
    DupPropName,
    DupTypeName,
    IsDeprLocked,
    NoSuchEdge,
    NoSuchForm,
    NoSuchName,
    NoSuchProp,
    NoSuchTagProp,
    NoSuchType,
    NoSuchUniv,
)
from cellmesh.cortex.model.changes import ModelChanges
from cellmesh.cortex.model.definitions import ROOT, EdgeDef, ModelDefs, PropDef, TypeDef, TypeRef
from cellmesh.cortex.model.extensions import Extensions
from cellmesh.cortex.model.loader import catalog_files, load_files
from cellmesh.cortex.model.locks import DeprecationLocks
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.model.types import FAMILIES

NO_INFO: dict[str, object] = {}


@pytest.fixture
def model() -> Model:
    return Model.load()


@pytest.fixture
def extensions(model: Model) -> Extensions:
    return Extensions(model)


# ---------------------------------------------------------------------- the catalog


def every_reference(defs: ModelDefs) -> Iterator[tuple[str, TypeRef]]:
    for form in defs.forms.values():
        for prop in form.props.values():
            yield f"{form.name}:{prop.name}", prop.type
    for prop in defs.universal.values():
        yield prop.name, prop.type


def test_every_type_of_the_catalog_compiles() -> None:
    model = Model.load()
    for name in model.defs.types:
        assert model.type(name).name == name


def test_every_base_form_interface_and_edge_end_of_the_catalog_exists() -> None:
    defs = load_files(catalog_files())
    assert [
        name for name, item in defs.types.items() if item.base != ROOT and item.base not in defs.types
    ] == []
    assert [name for name in defs.forms if name not in defs.types] == []
    assert [
        name for name, item in defs.types.items() if not defs.interfaces.keys() >= set(item.interfaces)
    ] == []
    ends = {end for edge in defs.edges.values() for end in (edge.source, edge.target) if end is not None}
    assert ends - defs.forms.keys() == set()


def test_every_property_of_the_catalog_has_a_type_and_every_array_an_element() -> None:
    model = Model.load()
    for _, reference in every_reference(model.defs):
        model.resolve(reference)
    for form in model.forms():
        for prop in form.props.values():
            for name, part in prop.type.fields:
                assert name, prop.full_name
                assert part.name
            if prop.type.is_array:
                assert prop.type.element is not None


def test_every_root_type_has_code() -> None:
    defs = load_files(catalog_files())
    roots = {name for name, item in defs.types.items() if item.base == ROOT}
    assert roots - FAMILIES.keys() == set()
    assert FAMILIES.keys() - defs.types.keys() == set()


def test_every_catalog_file_holds_its_own_domain() -> None:
    for path in catalog_files():
        content = json.loads(path.read_bytes())
        names = [*content.get("types", ()), *content.get("forms", ()), *content.get("interfaces", ())]
        if path.stem == "base":
            assert [name for name in names if ":" in name] == []
        else:
            assert [name for name in names if name.split(":")[0] != path.stem] == []


DOCUMENTED = [
    "base",
    "edge",
    "econ",
    "file",
    "geo",
    "hash",
    "inet",
    "it",
    "media",
    "meta",
    "ou",
    "pol",
    "ps",
    "risk",
    "syn",
    "tel",
]


@pytest.mark.parametrize("domain", DOCUMENTED)
def test_types_and_forms_of_the_first_domains_say_what_they_are(domain: str) -> None:
    (path,) = [path for path in catalog_files() if path.stem == domain]
    content = json.loads(path.read_bytes())
    assert content["doc"]
    assert [name for name, entry in content["types"].items() if not entry["doc"]] == []


def test_loading_compiles_nothing() -> None:
    model = Model.load()
    assert model.types._compiled == {}
    assert model._forms == {}


# ---------------------------------------------------------------------- look-ups


def test_properties_are_found_by_full_name(model: Model) -> None:
    assert model.require_prop("inet:ipv4:asn").type.name == "inet:asn"
    assert model.require_prop("inet:ipv4").is_form
    assert model.require_prop("inet:ipv4.seen").is_universal
    assert model.require_prop(".seen").form is None
    assert model.require_prop("inet:flow:src:port").name == "src:port"
    for name in ("nosuch:form", "inet:ipv4:nosuch", ".nosuch", "inet:ipv4.nosuch", ""):
        assert model.prop(name) is None


def test_a_missing_name_comes_with_near_ones(model: Model) -> None:
    with pytest.raises(NoSuchForm, match="inet:fqdn"):
        model.require_form("inet:fqnd")
    with pytest.raises(NoSuchProp, match="inet:ipv4:asn"):
        model.require_prop("inet:ipv4:ans")
    with pytest.raises(NoSuchType):
        model.type("no:such:type")
    with pytest.raises(NoSuchTagProp):
        model.require_tagprop("nope")
    with pytest.raises(NoSuchUniv):
        model.require_universal("nope")


def test_forms_are_found_by_prefix_and_wildcard(model: Model) -> None:
    assert [form.name for form in model.forms_by_wildcard("ps:cont*")] == [
        "ps:contact",
        "ps:contact:type:taxonomy",
        "ps:contactlist",
    ]
    with pytest.raises(NoSuchForm):
        model.forms_by_wildcard("zz:*")


def test_forms_carry_the_properties_of_their_interfaces(model: Model) -> None:
    form = model.require_form("it:exec:proc")
    assert form.interfaces == ("it:host:activity",)
    assert form.props["host"].type.name == "it:host"
    assert form in model.forms_by_interface("it:host:activity")
    taxonomy = model.require_form("risk:attacktype")
    assert taxonomy.props["parent"].type.name == "risk:attacktype"
    assert taxonomy.props["depth"].read_only


def test_who_holds_a_type_is_known_for_pivots(model: Model) -> None:
    held = {prop.full_name for prop in model.props_by_type("inet:asn")}
    assert {"inet:asn", "inet:ipv4:asn", "inet:asnet4:asn"} <= held
    assert "ps:contact:emails" in {prop.full_name for prop in model.array_props_by_type("inet:email")}
    assert model.props_by_type("no:such") == ()


def test_edges_are_found_by_their_ends(model: Model) -> None:
    verbs = {edge.verb for edge in model.edges_of("risk:threat", "ou:technique")}
    assert "uses" in verbs
    assert "uses" not in {edge.verb for edge in model.edges_of("inet:fqdn", "inet:asn")}


# ---------------------------------------------------------------------- changes at run time


def test_an_extended_form_and_property_work_at_once(model: Model, extensions: Extensions) -> None:
    extensions.add_form("_my:thing", "str", {"lower": True}, {"doc": "a thing"})
    extensions.add_prop("_my:thing", "owner", ("ps:contact", {}), NO_INFO)
    form = model.require_form("_my:thing")
    assert form.type.normalize("ABC").value == "abc"
    assert form.props["owner"].type.name == "ps:contact"
    assert form.props[".seen"].is_universal
    assert model.props_by_type("_my:thing") == (form.value_prop,)
    assert form.doc == "a thing"


def test_extended_properties_of_every_kind(model: Model, extensions: Extensions) -> None:
    extensions.add_type("_x:num", "int", {"min": 2, "max": 9}, NO_INFO)
    extensions.add_prop("inet:ipv4", "_score", ("_x:num", {}), NO_INFO)
    extensions.add_universal("_conf", ("int", {}), NO_INFO)
    extensions.add_tagprop("risk", ("int", {"min": 0}), NO_INFO)
    extensions.add_edge("inet:ipv4", "_zaps", "*", NO_INFO)
    with pytest.raises(BadTypeValu):
        model.require_prop("inet:ipv4:_score").type.normalize(10)
    assert model.require_prop("inet:asn._conf").type.name == "int"
    assert model.require_tagprop("risk").type.normalize("5").value == 5
    assert model.edge("inet:ipv4", "_zaps", None) == EdgeDef("inet:ipv4", "_zaps", None)


@pytest.mark.parametrize("name", ["_foo", "foo:bar", "_foo:Bar", "_foo:b r", "_foo:bar:"])
def test_extended_forms_need_a_name_of_their_own(extensions: Extensions, name: str) -> None:
    with pytest.raises(BadFormDef):
        extensions.add_form(name, "str", {}, NO_INFO)


def test_bad_extensions_are_refused_and_change_nothing(model: Model, extensions: Extensions) -> None:
    before = extensions.dump()
    version = model.version
    with pytest.raises(NoSuchType):
        extensions.add_form("_a:b", "nosuch", {}, NO_INFO)
    with pytest.raises(BadTypeDef):
        extensions.add_form("_a:b", "int", {"min": 5, "max": 1}, NO_INFO)
    with pytest.raises(NoSuchName):
        extensions.add_form("_a:b", "str", {}, {"interfaces": ["nosuch"]})
    with pytest.raises(BadPropDef):
        extensions.add_prop("inet:ipv4", "foo", ("str", {}), NO_INFO)
    with pytest.raises(BadPropDef):
        extensions.add_prop("inet:ipv4", "_has space", ("str", {}), NO_INFO)
    with pytest.raises(NoSuchForm):
        extensions.add_prop("nosuch", "_foo", ("str", {}), NO_INFO)
    with pytest.raises(NoSuchType):
        extensions.add_prop("inet:ipv4", "_foo", ("nosuch", {}), NO_INFO)
    with pytest.raises(BadTypeDef):
        extensions.add_type("t:low", "str", {}, NO_INFO)
    with pytest.raises(BadEdgeDef):
        extensions.add_edge("inet:ipv4", "zaps", None, NO_INFO)
    with pytest.raises(NoSuchForm):
        extensions.add_edge("no:such", "_zaps", None, NO_INFO)
    assert extensions.dump() == before
    assert model.version == version
    assert not model.has_type("_a:b")


def test_nothing_is_added_twice(extensions: Extensions) -> None:
    extensions.add_form("_a:b", "str", {}, NO_INFO)
    extensions.add_type("_a:t", "str", {}, NO_INFO)
    extensions.add_prop("inet:ipv4", "_p", ("int", {}), NO_INFO)
    extensions.add_universal("_u", ("int", {}), NO_INFO)
    extensions.add_tagprop("t", ("int", {}), NO_INFO)
    extensions.add_edge(None, "_e", None, NO_INFO)
    with pytest.raises(DupFormName):
        extensions.add_form("_a:b", "str", {}, NO_INFO)
    with pytest.raises(DupTypeName):
        extensions.add_type("_a:t", "str", {}, NO_INFO)
    with pytest.raises(DupPropName):
        extensions.add_prop("inet:ipv4", "_p", ("int", {}), NO_INFO)
    with pytest.raises(DupPropName):
        extensions.add_universal("_u", ("int", {}), NO_INFO)
    with pytest.raises(DupPropName):
        extensions.add_tagprop("t", ("int", {}), NO_INFO)
    with pytest.raises(DupEdgeType):
        extensions.add_edge("*", "_e", "*", NO_INFO)


def test_what_is_in_use_stays(extensions: Extensions) -> None:
    extensions.add_type("_t:low", "str", {}, NO_INFO)
    extensions.add_prop("inet:ipv4", "_x", ("_t:low", {}), NO_INFO)
    extensions.add_form("_a:b", "str", {}, NO_INFO)
    extensions.add_prop("_a:b", "_p", ("int", {}), NO_INFO)
    with pytest.raises(CantDelType):
        extensions.remove_type("_t:low")
    with pytest.raises(CantDelForm):
        extensions.remove_form("_a:b")
    with pytest.raises(BadFormDef):
        extensions.remove_form("inet:ipv4")
    with pytest.raises(NoSuchProp):
        extensions.remove_prop("inet:ipv4", "asn")


def test_what_is_removed_is_gone(model: Model, extensions: Extensions) -> None:
    extensions.add_form("_a:b", "str", {}, NO_INFO)
    extensions.add_prop("inet:ipv4", "_p", ("int", {}), NO_INFO)
    extensions.add_universal("_u", ("int", {}), NO_INFO)
    extensions.add_tagprop("t", ("int", {}), NO_INFO)
    extensions.add_edge(None, "_e", None, NO_INFO)
    extensions.remove_form("_a:b")
    extensions.remove_prop("inet:ipv4", "_p")
    extensions.remove_universal("_u")
    extensions.remove_tagprop("t")
    extensions.remove_edge(None, "_e", None)
    assert model.form("_a:b") is None
    assert not model.has_type("_a:b")
    assert model.prop("inet:ipv4:_p") is None
    assert model.prop("inet:ipv4._u") is None
    assert model.tagprop("t") is None
    with pytest.raises(NoSuchEdge):
        extensions.remove_edge(None, "_e", None)


def test_the_dump_names_all_that_users_added(extensions: Extensions) -> None:
    extensions.add_prop("inet:ipv4", "_score", ("int", {}), {"doc": "x"})
    extensions.add_form("_l:form", "str", {"lower": True}, NO_INFO)
    extensions.add_edge("inet:ipv4", "_zaps", "*", {"doc": "y"})
    dumped = extensions.dump()
    assert dumped["props"] == [["inet:ipv4", "_score", ["int", {}], {"doc": "x"}]]
    assert dumped["forms"] == [["_l:form", "str", {"lower": True}, {}]]
    assert dumped["edges"] == [[["inet:ipv4", "_zaps", None], {"doc": "y"}]]
    assert dumped["types"] == []


# ---------------------------------------------------------------------- runtime nodes


def test_the_model_shows_as_runtime_nodes(model: Model, extensions: Extensions) -> None:
    extensions.add_tagprop("score", ("int", {}), NO_INFO)
    extensions.add_prop("inet:ipv4", "_score", ("int", {}), NO_INFO)
    forms = {node.value: node.props for node in model.runtime_nodes("syn:form")}
    assert forms["inet:asn"]["runt"] == 0
    assert forms["syn:form"]["runt"] == 1
    prop = model.runtime_node("syn:prop", "inet:ipv4:_score")
    assert prop is not None
    assert {**prop.props, "doc": ""} == {
        "doc": "",
        "base": "_score",
        "extmodel": 1,
        "form": "inet:ipv4",
        "relname": "_score",
        "ro": 0,
        "type": "int",
        "univ": 0,
    }
    assert [(node.value, node.props["type"]) for node in model.runtime_nodes("syn:tagprop")] == [
        ("score", "int")
    ]
    asn = model.runtime_node("syn:type", "inet:asn")
    assert asn is not None
    assert asn.props["subof"] == "int"
    assert asn.props["opts"]["size"] == 8  # type: ignore[index]
    seen = model.runtime_node("syn:prop", ".seen")
    assert seen is not None
    assert seen.props["univ"] == 1
    assert ".seen" in {node.value for node in model.runtime_nodes("syn:prop")}
    assert list(model.runtime_nodes("syn:cron")) == []


# ---------------------------------------------------------------------- model files


def test_extra_model_files_add_to_the_catalog(tmp_path: Path) -> None:
    path = tmp_path / "corp.json"
    path.write_text(
        json.dumps(
            {
                "types": {"corp:asset": {"base": "str", "options": {"lower": True}, "doc": "An asset tag."}},
                "forms": {"corp:asset": {"props": {"host": {"type": "it:host"}}}},
                "edges": [{"source": "corp:asset", "verb": "runs", "target": "it:prod:soft"}],
            }
        )
    )
    model = Model.load([path])
    assert model.require_form("corp:asset").type.normalize("A1").value == "a1"
    assert model.require_prop("corp:asset:host").type.name == "it:host"
    assert model.edge("corp:asset", "runs", "it:prod:soft") is not None
    assert model.require_form("inet:fqdn")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", BadConfValu),
        ("[]", BadConfValu),
        ('{"typos": {}}', BadConfValu),
        ('{"types": {"a:b": {"options": {}}}}', BadTypeDef),
        ('{"types": {"a:b": {"base": "str", "opts": {}}}}', BadTypeDef),
        ('{"forms": {"a:b": {"props": {"x": {}}}}}', BadPropDef),
        ('{"forms": {"a:b": {"properties": {}}}}', BadFormDef),
    ],
)
def test_a_broken_model_file_is_refused_by_name(tmp_path: Path, content: str, error: type[Exception]) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(error, match=r"broken\.json"):
        Model.load([path])


def test_a_missing_model_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadConfValu, match=r"nope\.json"):
        Model.load([tmp_path / "nope.json"])


def test_a_circle_of_bases_is_refused(model: Model) -> None:
    extended = ModelDefs(types=dict(model.defs.types))
    extended.types["a"] = TypeDef("a", "b")
    extended.types["b"] = TypeDef("b", "a")
    with pytest.raises(BadTypeDef):
        Model(extended).type("a")


def test_a_property_with_a_type_that_does_not_exist_is_named(model: Model) -> None:
    with pytest.raises(NoSuchType) as caught:
        ModelChanges(model).add_prop("inet:ipv4", PropDef("_x", TypeRef("no:such")))
    assert caught.value.get("name") == "no:such"


# ---------------------------------------------------------------------- locks


def test_only_deprecated_names_can_be_locked_and_then_are_refused(model: Model) -> None:
    locks = DeprecationLocks(model)
    edge, alias = model.require_form("edge:refs"), model.require_prop("ou:org:alias")
    locks.check(edge)
    locks.set("edge:refs", True)
    locks.set("ou:org:alias", True)
    for used in (edge, alias):
        with pytest.raises(IsDeprLocked):
            locks.check(used)
    locks.check(model.require_prop("ou:org:name"))
    assert locks.all()["edge:refs"] is True
    locks.set("edge:refs", False)
    locks.check(edge)
    assert locks.all()["edge:refs"] is False
    assert locks.locked() == {"ou:org:alias"}
    for name in ("inet:ipv4:asn", "nosuch", "*"):
        with pytest.raises(NoSuchProp):
            locks.set(name, True)
