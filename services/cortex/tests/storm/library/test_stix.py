"""Bundles of STIX made of nodes and into nodes; ids are those that Synapse gives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.formats.stix_mapping import export_config
from cellmesh.cortex.storm.runtime.options import QueryOptions

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine

# A node of each form that can be told in STIX, and what its object must have.
NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "ou:campaign": ("ou:campaign=(d,) :name=camp", {"name": "camp"}),
    "ou:org": ("ou:org=(o,) :name=acme", {"name": "acme", "identity_class": "organization"}),
    "ps:person": ("ps:person=(p,) :name=visi", {"name": "visi", "identity_class": "individual"}),
    "ps:contact": ("ps:contact=(p,) :name=visi", {"name": "visi"}),
    "geo:place": (
        "geo:place=(p,) :name=here :loc=us.va :latlong=(1.5, 2.5)",
        {"name": "here", "country": "us", "latitude": 1.5, "longitude": 2.5},
    ),
    "inet:fqdn": ("inet:fqdn=vertex.link", {"value": "vertex.link"}),
    "inet:asn": ("inet:asn=5 :name=as", {"number": 5, "name": "as"}),
    "inet:ipv4": ("inet:ipv4=1.2.3.4", {"value": "1.2.3.4"}),
    "inet:ipv6": ("inet:ipv6='::1'", {"value": "::1"}),
    "inet:email": ("inet:email=a@b.com", {"value": "a@b.com"}),
    "inet:web:acct": (
        "inet:web:acct=(twitter.com, joe) :passwd=x :signup=2020 .seen=(2021, 2022)",
        {
            "user_id": "joe",
            "account_type": "twitter",
            "credential": "x",
            "account_created": "2020-01-01T00:00:00.000Z",
            "account_first_login": "2021-01-01T00:00:00.000Z",
        },
    ),
    "file:bytes": (
        "file:bytes=$sha :size=5 :name=x.exe :mime=text/plain",
        {"name": "x.exe", "size": 5, "mime_type": "text/plain", "hashes": {"SHA-256": "ab" * 32}},
    ),
    "inet:email:message": (
        "inet:email:message=(m,) :subject=hi :date=2020 :from=a@b.com :to=c@d.com :headers=((message_id, x),)",
        {"subject": "hi", "date": "2020-01-01T00:00:00.000Z", "message_id": "x", "is_multipart": False},
    ),
    "inet:url": ("inet:url='http://a.com/'", {"value": "http://a.com/"}),
    "syn:tag": ("syn:tag=cno.mal.foo", {"name": "cno.mal.foo", "is_family": True}),
    "it:prod:soft": ("it:prod:soft=(s,) :name=tool", {"name": "tool"}),
    "it:prod:softver": ("it:prod:softver=(v,) :vers=1.2", {"tool_version": "1.2"}),
    "risk:vuln": (
        "risk:vuln=(v,) :name=bug :desc=words :cve=cve-2020-1234",
        {
            "name": "bug",
            "description": "words",
            "external_references": [{"source_name": "cve", "external_id": "CVE-2020-1234"}],
        },
    ),
    "ou:technique": (
        "ou:technique=(t,) :name=tech :mitre:attack:technique=T1234",
        {
            "name": "tech",
            "external_references": [{"source_name": "mitre-attack", "external_id": "T1234"}],
        },
    ),
    "risk:mitigation": ("risk:mitigation=(m,) :name=mit", {"name": "mit"}),
    "media:news": (
        "media:news=(n,) :title=news :published=2020",
        {"name": "news", "published": "2020-01-01T00:00:00.000Z"},
    ),
    "it:app:yara:rule": (
        "it:app:yara:rule=(y,) :name=n :text=rule",
        {"name": "n", "pattern": "rule", "pattern_type": "yara", "description": "a yara rule"},
    ),
    "it:app:snort:rule": ("it:app:snort:rule=(y,) :text=rule", {"pattern": "rule", "pattern_type": "snort"}),
}


@pytest.fixture(scope="module", name="engine")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One for all, as none changes what another looks at."""
    with open_engine(tmp_path_factory.mktemp("stix")) as engine:
        yield engine


EXPORT = """
    $bundle=$lib.stix.export.bundle()
    [ {made} ] $id=$bundle.add($node)
    return(($id, $bundle.size(), $bundle.pack(), $lib.stix.validate($bundle.pack())))
"""


def call(engine: Engine, query: str, **variables: Any) -> Any:
    return engine.call(query, QueryOptions(vars=variables))


@pytest.mark.parametrize("form", NODES)
def test_a_node_of_each_form(engine: Engine, form: str) -> None:
    made, wanted = NODES[form]
    run = Run(engine, EXPORT.replace("{made}", made).split("return")[0], sha=f"sha256:{'ab' * 32}")
    assert (run.error, run.warns) == (None, []), run.message
    iden, size, bundle, checked = call(engine, EXPORT.replace("{made}", made), sha=f"sha256:{'ab' * 32}")
    own = next(one for one in bundle["objects"] if one["id"] == iden)
    assert {name: plain(own.get(name)) for name in wanted} == wanted
    assert size == len(bundle["objects"]) - 1
    assert checked["ok"], checked
    ndef = next(iter(own["extensions"].values()))["synapse_ndef"]
    assert ndef[0] == form


def plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return float(value) if type(value).__name__ == "Decimal" else value


def test_every_form_is_tried() -> None:
    assert NODES.keys() == export_config()["forms"].keys()


def test_ids_and_what_nodes_lead_to(engine: Engine) -> None:
    made = """
        [ ou:campaign=(c,) :name=camp :org={[ ou:org=(o,) :name=acme :hq={[ geo:place=(p,) ]} ]}
          :goal={[ ou:goal=(g,) :name=win ]} ]
    """
    assert Run(engine, made).error is None
    _, size, bundle, checked = call(engine, EXPORT.replace("{made}", "ou:campaign=(c,)"))
    assert (size, checked["ok"]) == (8, True)
    kinds = [one["type"] for one in bundle["objects"]]
    assert kinds == [
        "extension-definition",
        "campaign",
        "threat-actor",
        "identity",
        "relationship",
        "location",
        "relationship",
        "relationship",
        "relationship",
    ]
    objects = {one["id"]: one for one in bundle["objects"]}
    assert objects["threat-actor--2e4fd8c5-dde6-43c4-a6d5-9a7d063bb15b"]["goals"] == ["win"]
    relation = objects["relationship--3a1c4beb-83ff-4c64-babe-b0a28502b021"]
    assert (relation["relationship_type"], relation["source_ref"], relation["target_ref"]) == (
        "attributed-to",
        "threat-actor--2e4fd8c5-dde6-43c4-a6d5-9a7d063bb15b",
        "identity--2e4fd8c5-dde6-43c4-a6d5-9a7d063bb15b",
    )


def test_observables_have_ids_of_their_own_kind(engine: Engine) -> None:
    assert Run(engine, "[ inet:dns:a=(vertex.link, 1.2.3.4) ]").error is None
    iden, size, bundle, _ = call(engine, EXPORT.replace("{made}", "inet:fqdn=vertex.link"))
    assert (iden, size) == ("domain-name--42366d89-6b94-5b97-a7f3-b1afeb9433a3", 2)
    assert list(bundle["objects"][1]["resolves_to_refs"]) == [
        "ipv4-addr--cbc65d5e-3732-55b3-9b9b-e06155c186db"
    ]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("$c=({'foo': 1})", "NeedConfValu"),
        ("$c.maxsize=many", "BadConfValu"),
        ("$c.forms=words", "BadConfValu"),
        ("$c.forms.zork=({})", "NoSuchForm"),
        ("$c.forms.'inet:ipv4'=({'default': 'ipv4-addr'})", "BadConfValu"),
        ("$c.forms.'inet:ipv4'.default=zork", "BadConfValu"),
        ("$c.forms.'inet:ipv4'=({'default': 'zork', 'stix': {'zork': {}}})", "BadConfValu"),
        ("$c.forms.'inet:ipv4'.stix.'ipv4-addr'.rels=([['a', 'b']])", "BadConfValu"),
        ("$c.maxsize=(0)", "BadConfValu"),
        ("$c.forms.'inet:ipv4'.stix.'ipv4-addr'.props.value='bad ('", "BadSyntax"),
    ],
)
def test_configurations_that_cannot_be(engine: Engine, change: str, name: str) -> None:
    run = Run(
        engine,
        f"[ inet:ipv4=1.2.3.4 ] | spin | $c=$lib.stix.export.config() {change}"
        " $b=$lib.stix.export.bundle($c) inet:ipv4 $x=$b.add($node)",
    )
    assert run.error == name, run.message


def test_types_of_one_s_own(engine: Engine) -> None:
    iden, bundle = call(
        engine,
        """
        $c=$lib.stix.export.config() $c.custom.objects.'my-type'=({}) $c.synapse_extension=(false)
        $c.forms.'inet:ipv4'=({"default": "my-type", "stix": {"my-type": {"props": {"value": "return(hi)"}}}})
        $b=$lib.stix.export.bundle($c) [ inet:ipv4=1.2.3.4 ] $id=$b.add($node) return(($id, $b.pack()))
        """,
    )
    assert iden == "my-type--cbc65d5e-3732-45b3-9b9b-e06155c186db"
    assert bundle["objects"] == [
        {"id": iden, "type": "my-type", "spec_version": "2.1", "value": "hi"},
    ]


def test_what_cannot_be_told_is_a_warning(engine: Engine) -> None:
    run = Run(
        engine,
        "$b=$lib.stix.export.bundle() $b.add(words) [ it:dev:str=x ] $b.add($node)"
        " [ inet:fqdn=a.com ] -it:dev:str $b.add($node, stixtype=zork) $lib.print($b.size())",
    )
    assert (run.error, len(run.warns), run.prints) == (None, 3, ["0"]), run.warns


# In.

TAIL = "--cbc65d5e-3732-45b3-9b9b-e06155c186db"
OBJECTS: list[dict[str, Any]] = [
    {"type": "identity", "id": f"identity{TAIL}", "name": "I", "identity_class": "organization"},
    {"type": "threat-actor", "id": f"threat-actor{TAIL}", "name": "T", "aliases": ["tt"], "description": "d"},
    {
        "type": "report",
        "id": f"report{TAIL}",
        "name": "R",
        "published": "2020-01-01T00:00:00Z",
        "object_refs": [f"threat-actor{TAIL}", f"missing{TAIL}"],
    },
    {
        "type": "indicator",
        "id": f"indicator{TAIL}",
        "name": "X",
        "pattern": "[ipv4-addr:value = '9.9.9.9']",
        "pattern_type": "stix",
    },
    {
        "type": "indicator",
        "id": f"indicator{TAIL[:-1]}d",
        "name": "Y",
        "pattern": "rule x {}",
        "pattern_type": "yara",
    },
    {
        "type": "location",
        "id": f"location{TAIL}",
        "name": "here",
        "country": "us",
        "latitude": 1.5,
        "longitude": 2.5,
    },
    {"type": "file", "id": f"file{TAIL}", "hashes": {"MD5": "5d41402abc4b2a76b9719d911017c592"}, "size": 5},
    {"type": "url", "id": f"url{TAIL}", "value": "http://x.com/"},
    {"type": "course-of-action", "id": f"course-of-action{TAIL}", "name": "coa"},
    {"type": "tool", "id": f"tool{TAIL}", "name": "tool", "aliases": ["hammer"]},
    {"type": "malware", "id": f"malware{TAIL}", "name": "mal"},
    {"type": "intrusion-set", "id": f"intrusion-set{TAIL}", "name": "APT X"},
    {"type": "ipv6-addr", "id": f"ipv6-addr{TAIL}", "value": "::1"},
    {"type": "ipv4-addr", "id": f"ipv4-addr{TAIL}", "value": "1.2.3.4"},
    {"type": "domain-name", "id": f"domain-name{TAIL}", "value": "a.com"},
    {
        "type": "campaign",
        "id": f"campaign{TAIL}",
        "name": "c",
        "first_seen": "2020-01-01T00:00:00Z",
        "last_seen": "2021-01-01T00:00:00Z",
    },
]


def relation(number: int, source: str, kind: str, target: str) -> dict[str, Any]:
    return {
        "type": "relationship",
        "id": f"relationship--cbc65d5e-3732-45b3-9b9b-e06155c1860{number}",
        "relationship_type": kind,
        "source_ref": source + TAIL,
        "target_ref": target + TAIL,
    }


BUNDLE: dict[str, Any] = {
    "type": "bundle",
    "id": f"bundle{TAIL}",
    "objects": [
        *OBJECTS,
        relation(1, "campaign", "attributed-to", "intrusion-set"),
        relation(2, "intrusion-set", "uses", "malware"),
        relation(3, "indicator", "indicates", "malware"),
        relation(4, "intrusion-set", "attributed-to", "threat-actor"),
        relation(5, "threat-actor", "attributed-to", "identity"),
        relation(6, "threat-actor", "zorks", "identity"),
        relation(7, "threat-actor", "uses", "missing"),
    ],
}
INGEST = "yield $lib.stix.import.ingest($bundle)"


def test_objects_become_nodes(engine: Engine) -> None:
    run = Run(engine, f"{INGEST} $lib.print($node.form())", bundle=BUNDLE)
    assert (run.error, run.warns) == (None, []), run.message
    assert run.prints == [
        "it:sec:stix:bundle",
        "ps:contact",
        "ps:contact",
        "media:news",
        "it:sec:stix:indicator",
        "it:app:yara:rule",
        "geo:place",
        "file:bytes",
        "inet:url",
        "risk:mitigation",
        "it:prod:soft",
        "it:prod:soft",
        "ou:org",
        "inet:ipv6",
        "inet:ipv4",
        "inet:fqdn",
        "ou:campaign",
    ]
    again = Run(engine, INGEST, bundle=BUNDLE)
    assert again.nodes == run.nodes, "the same bundle gives the same nodes"
    # Guids are those that Synapse gives.
    assert call(engine, "ps:contact:names*[=tt] return($node.value())") == "3e0e75dd065782e32b4657b6f6c4e6ed"
    assert call(engine, "media:news return($node.value())") == "8f928cfaa451f20644591fbe809e2e78"
    assert call(engine, "file:bytes return($node.value())") == "guid:1e0fe489e5e3678ac560b6050426e4b1"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("it:sec:stix:bundle -(refs)> *", 16),
        ("media:news -(refs)> ps:contact", 1),
        ("it:sec:stix:indicator -(refs)> inet:ipv4 +inet:ipv4=9.9.9.9", 1),
        ("it:sec:stix:indicator -(indicates)> it:prod:soft +:name=mal", 1),
        ("ou:org -(uses)> it:prod:soft +:name=mal", 1),
        ("ou:campaign :org -> ou:org +:name='apt x'", 1),
        ("ps:contact:names*[=tt] :org -> ou:org +:name='apt x'", 1),
        ("it:prod:soft:name=tool +:names*[=hammer]", 1),
        ("geo:place:name=here +:latlong=(1.5, 2.5) +:loc=us", 1),
        ("ou:campaign +.seen@=(2020, 2021)", 1),
    ],
)
def test_what_refers_to_what(engine: Engine, query: str, count: int) -> None:
    assert Run(engine, INGEST, bundle=BUNDLE).error is None
    assert engine.count(query) == count


def test_what_is_not_known_is_a_warning(engine: Engine) -> None:
    bundle = {"id": f"bundle{TAIL}", "objects": [{"type": "zork", "id": f"zork{TAIL}"}, OBJECTS[7]]}
    run = Run(engine, INGEST, bundle=bundle)
    assert run.warns == ["STIX bundle ingest has no object definition for: zork."]
    assert run.nodes[1:] == ["http://x.com/"]


def test_rules_of_one_s_own(engine: Engine) -> None:
    run = Run(
        engine,
        """
        $c=({"objects": {"url": {"storm": "[ it:dev:str=$object.value ] return($node)"},
            "tool": {"storm": "bad ("}, "file": {"storm": "$lib.print($bundle.id)"}}})
        yield $lib.stix.import.ingest($bundle, config=$c)
        """,
        bundle={"id": f"bundle{TAIL}", "objects": [OBJECTS[7], OBJECTS[9], OBJECTS[6]]},
    )
    assert (run.error, run.nodes, run.prints) == (None, ["http://x.com/"], [f"bundle{TAIL}"])
    assert "BadSyntax" in run.warns[0]


@pytest.mark.parametrize(
    ("bundle", "config", "name"),
    [
        ({}, None, "BadArg"),
        ({"id": "x", "objects": [1]}, None, "SchemaViolation"),
        ({"id": "x", "objects": 5}, None, "SchemaViolation"),
        ({"id": "x"}, 5, "BadConfValu"),
        ({"id": "x"}, {"objects": {"url": 5}}, "BadConfValu"),
        ({"id": "x"}, {"objects": 5}, "BadConfValu"),
    ],
)
def test_bundles_that_cannot_be(engine: Engine, bundle: Any, config: Any, name: str) -> None:
    run = Run(engine, "yield $lib.stix.import.ingest($bundle, config=$config)", bundle=bundle, config=config)
    assert run.error == name, run.message


def test_what_went_out_comes_in(engine: Engine) -> None:
    made = "[ inet:fqdn=a.com inet:ipv4=1.1.1.1 inet:url='http://a.com/' ] $b.add($node)"
    bundle = call(engine, f"$b=$lib.stix.export.bundle() {made} fini {{ return($b.pack()) }}")
    assert Run(engine, "inet:fqdn=a.com inet:ipv4 inet:url | delnode --force").error is None
    run = Run(engine, INGEST, bundle=bundle)
    assert (run.error, run.warns, run.nodes[1:]) == (None, [], ["a.com", 16843009, "http://a.com/"])
