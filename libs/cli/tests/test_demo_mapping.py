"""What raw records of the CTI pack turn into."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cli.demo import attack, misp
from cellmesh.cli.demo.index import Index
from cellmesh.cli.demo.items import Edge, Unusable, guid_of, slug
from cellmesh.cli.demo.merge import Merge
from cellmesh.cli.demo.records import RawRecord, SourceFile, records_of
from cellmesh.common.errors import BadArg

ACTOR = "00000000-0000-4000-8000-000000000001"
TOOL = "00000000-0000-4000-8000-000000000002"
NOWHERE = "00000000-0000-4000-8000-00000000dead"


def misp_record(kind: str, **body: Any) -> RawRecord:
    return RawRecord(f"{kind}.json", "misp", kind, "MISP galaxy: test", body)


def attack_record(kind: str, **body: Any) -> RawRecord:
    return RawRecord("attack.json", "attack", kind, "ATT&CK", body)


def actor(**body: Any) -> RawRecord:
    return misp_record("threat-actor", **{"uuid": ACTOR, "value": "Night Owl", **body})


def test_a_threat_actor_becomes_a_threat_under_its_own_uuid() -> None:
    record = actor(description="quiet", meta={"synonyms": ["Owl", "Strix"], "country": "XA"})
    item = misp.describe(record, Index.over([record]))[0]
    assert item.ndef == ("risk:threat", guid_of(ACTOR))
    assert item.props["org:name"] == "Night Owl"
    assert item.props["org:names"] == ["Owl", "Strix"]
    assert item.props["country:code"] == "xa"
    assert item.tags == ("misp.galaxy.threat_actor",)


def test_a_country_that_is_no_code_is_left_out() -> None:
    record = actor(meta={"country": "mideast"})
    assert "country:code" not in misp.describe(record, Index.over([record]))[0].props


def test_a_technique_is_known_by_its_number_and_loses_it_from_its_name() -> None:
    record = misp_record(
        "mitre-attack-pattern", uuid=TOOL, value="Phishing - T1566", meta={"external_id": "T1566"}
    )
    item = misp.describe(record, Index.over([record]))[0]
    assert item.ndef == ("it:mitre:attack:technique", "T1566")
    assert item.props["name"] == "Phishing"


def test_a_technique_of_another_framework_is_known_by_its_uuid() -> None:
    record = misp_record("disarm-techniques", uuid=TOOL, value="Rumour", meta={"external_id": "T0001.x"})
    assert misp.identify(record) == ("ou:technique", guid_of(TOOL))


def test_targets_become_edges_from_the_actor_to_industries_and_countries() -> None:
    country = misp_record("country", uuid=TOOL, value="utopia", description="Utopia", meta={"ISO": "XU"})
    record = actor(meta={"cfr-target-category": ["Energy"], "cfr-suspected-victims": ["Utopia", "The North"]})
    index = Index.over([country, record])
    _, industry, known, unknown = misp.describe(record, index)
    aimed = (Edge("targets", ("risk:threat", guid_of(ACTOR)), reverse=True),)
    assert (industry.form, industry.edges) == ("ou:industry", aimed)
    assert known.ndef == misp.identify(country)
    assert (unknown.form, unknown.props) == ("geo:place", {"name": "The North"})


def test_a_relation_to_a_uuid_that_no_record_has_is_rejected_with_its_place() -> None:
    record = actor(related=[{"dest-uuid": NOWHERE, "type": "uses"}])
    edges, rejects = misp.relate(record, Index.over([record]))
    assert edges == []
    assert (rejects[0].what, rejects[0].reason) == (f"relation uses to {NOWHERE}", "no record has that uuid")


def test_an_inverse_relation_points_the_other_way() -> None:
    tool = misp_record("tool", uuid=TOOL, value="Lamp", related=[{"dest-uuid": ACTOR, "type": "used-by"}])
    edges, _ = misp.relate(tool, Index.over([actor(), tool]))
    assert edges == [Edge("uses", ("risk:threat", guid_of(ACTOR)), reverse=True)]


def test_a_uuid_in_two_records_means_the_first_and_is_counted() -> None:
    index = Index.over([actor(), misp_record("tool", uuid=ACTOR, value="Lamp")])
    assert index.shared_uuid_count == 1
    assert index.by_uuid(ACTOR) == ("risk:threat", guid_of(ACTOR))


@pytest.mark.parametrize("body", [{"uuid": ACTOR}, {"uuid": "nonsense", "value": "x"}, {"value": "x"}])
def test_a_record_without_value_or_uuid_is_unusable(body: dict[str, Any]) -> None:
    with pytest.raises(Unusable):
        misp.identify(misp_record("tool", **body))
    assert len(Index.over([misp_record("tool", **body)]).rejects) == 1


def test_references_are_kept_apart_and_each_once() -> None:
    record = actor(meta={"refs": ["http://a.example/", "http://a.example/"], "links": "http://b.example/"})
    assert misp.references(record) == ["http://a.example/", "http://b.example/"]


def test_attack_and_misp_describe_the_same_node() -> None:
    group = attack_record(
        "groups_campaigns", stix_id=f"intrusion-set--{ACTOR}", stix_type="intrusion-set", external_id="G0001",
        name="Night Owl", aliases=["Night Owl", "Strix"], description="", url="https://attack.mitre.org/groups/G0001",
    )  # fmt: skip
    index = Index.over([group])
    described, numbered = attack.describe(group, index)
    assert described.ndef == misp.identify(actor())
    assert described.props["org:names"] == ["Strix"]
    assert numbered.ndef == ("it:mitre:attack:group", "G0001")


def test_a_relationship_becomes_an_edge_at_its_source() -> None:
    technique = attack_record(
        "attack_patterns", stix_id="attack-pattern--" + TOOL, external_id="T1566.001", name="x"
    )
    group = attack_record(
        "groups_campaigns", stix_id="intrusion-set--" + ACTOR, stix_type="intrusion-set", name="y"
    )
    relation = attack_record(
        "relationships", stix_id="relationship--1", relationship_type="uses", source_ref="intrusion-set--" + ACTOR,
        target_ref="attack-pattern--" + TOOL,
    )  # fmt: skip
    index = Index.over([technique, group, relation])
    item, reject = attack.relationship(relation, index)
    assert reject is None
    assert item is not None
    assert item.edges == (Edge("uses", ("it:mitre:attack:technique", "T1566.001")),)
    broken = attack_record(
        "relationships", stix_id="r", relationship_type="uses", source_ref="x--1", target_ref="y--2"
    )
    assert attack.relationship(broken, index)[1] is not None


def test_slugs_are_single_tag_segments() -> None:
    assert slug("Mitre Attack-Pattern/2") == "mitre_attack_pattern_2"
    assert slug("—") == "unnamed"


def test_records_come_in_file_order_and_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tool.json"
    path.write_text(json.dumps({"type": "tool", "name": "Tool", "values": [{"value": "a"}, {"value": "b"}]}))
    records = list(records_of(SourceFile("tool.json", path, "p", "")))
    assert [record.body["value"] for record in records] == ["a", "b"]
    assert RawRecord.from_plain(records[0].plain()) == records[0]
    path.write_text("{")
    with pytest.raises(BadArg, match=r"tool\.json"):
        list(records_of(SourceFile("tool.json", path, "p", "")))


def test_the_first_record_gives_a_property_and_lists_are_joined() -> None:
    first = actor(description="quiet", meta={"synonyms": ["Owl"]})
    second = actor(description="loud", meta={"synonyms": ["Owl", "Strix"], "country": "XA"})
    index = Index.over([first, second])
    merge = Merge([first, second], lambda record: misp.describe(record, index))
    assert merge.items(first)[0].props["desc"] == "quiet"
    assert merge.items(first)[0].props["org:names"] == ["Owl", "Strix"]
    assert merge.items(second)[0].props == {"country:code": "xa"}
