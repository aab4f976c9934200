"""Raw ATT&CK objects -> nodes and relations. Pure functions.

ATT&CK objects and the MISP clusters made of them share their UUIDs, so both describe the same nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellmesh.cli.demo.items import Edge, Item, Ndef, Reject, Unusable, guid_of, slug, texts, without_empty
from cellmesh.cli.demo.misp import MITIGATION, TECHNIQUE
from cellmesh.cli.demo.records import RawRecord

if TYPE_CHECKING:
    from cellmesh.cli.demo.index import Index

UNUSED = {
    "matrices": "a matrix is how ATT&CK lays out its tactics, not something to ask about",
    "collections": "a collection is packaging",
    "marking_definitions": "a marking says how to credit the data; the README does",
}


def name_of(record: RawRecord) -> str:
    """How a reject names the record."""
    body = record.body
    return (
        f"{body.get('stix_id') or 'no id'} ({body.get('name') or body.get('relationship_type') or 'no name'})"
    )


def identify(record: RawRecord) -> Ndef | None:
    """Return the node that the record stands for; None for a relationship, which stands for an edge.

    Raises:
        Unusable: it stands for neither.
    """
    body = record.body
    if record.kind == "relationships":
        return None
    if record.kind in UNUSED:
        raise Unusable(UNUSED[record.kind])
    uuid = guid_of(str(body["stix_id"]).split("--", 1)[-1])
    number = str(body.get("external_id") or "")
    match record.kind:
        case "tactics":
            return ("it:mitre:attack:tactic", number)
        case "attack_patterns" if TECHNIQUE.match(number):
            return ("it:mitre:attack:technique", number)
        case "mitigations":
            return (
                ("it:mitre:attack:mitigation", number)
                if MITIGATION.match(number)
                else ("risk:mitigation", uuid)
            )
        case "data_sources":
            return ("it:mitre:attack:datasource", number)
        case "groups_campaigns":
            return ("ou:campaign" if body.get("stix_type") == "campaign" else "risk:threat", uuid)
        case "software":
            return ("risk:tool:software", uuid)
        case "data_components":
            return ("it:mitre:attack:data:component", uuid)
        case "detection_strategies":
            return ("meta:ruleset", uuid)
        case "analytics":
            return ("meta:rule", uuid)
        case "identities":
            return ("ou:org", uuid)
    raise Unusable(f"no form for {record.kind} numbered {number!r}")


def describe(record: RawRecord, index: Index) -> list[Item]:
    """Return the record's nodes with their properties; none for a relationship."""
    ndef = identify(record)
    if ndef is None:
        return []
    form, value = ndef
    body = record.body
    tags = [f"mitre.attack.{slug(record.kind)}"]
    tags += [f"mitre.attack.{state}" for state in ("revoked", "deprecated") if body.get(state)]
    item = Item(form, value, without_empty(_props(record, ndef, index)), tuple(tags))
    numbered = _numbered_item(record)
    return [item, numbered] if numbered else [item]


def _props(record: RawRecord, ndef: Ndef, index: Index) -> dict[str, Any]:
    body = record.body
    name, desc, number = body.get("name") or "", body.get("description") or "", body.get("external_id") or ""
    match ndef[0]:
        case "it:mitre:attack:technique":
            return {
                "name": name,
                "desc": desc,
                "url": body.get("url"),
                "matrix": "enterprise",
                "tactics": [t for t in (index.tactic(short) for short in texts(body.get("tactics"))) if t],
                "parent": number.split(".")[0] if "." in number else "",
            }
        case "it:mitre:attack:tactic" | "it:mitre:attack:mitigation":
            return {"name": name, "desc": desc, "url": body.get("url"), "matrix": "enterprise"}
        case "risk:threat":
            aliases = _aliases(body)
            return {
                "name": name, "org:name": name, "org:names": aliases, "desc": desc, "ext:id": number,
                "mitre:attack:group": number,
            }  # fmt: skip
        case "risk:tool:software":
            return {
                "soft:name": name, "soft:names": _aliases(body), "desc": desc, "id": number,
                "mitre:attack:software": number,
            }  # fmt: skip
        case "ou:campaign":
            return {"name": name, "names": _aliases(body), "desc": desc, "mitre:attack:campaign": number}
        case "risk:mitigation":
            return {"name": name, "desc": desc, "id": number}
        case "it:mitre:attack:datasource" | "it:mitre:attack:data:component":
            return {"name": name, "description": desc}
        case "meta:rule":
            return {
                "name": name,
                "desc": desc,
                "ext:id": number,
                "url": body.get("url"),
                "type": "mitre.analytic",
            }
        case "meta:ruleset":
            return {"name": name, "desc": desc, "type": "mitre.detection_strategy"}
    return {"name": name}


def _aliases(body: dict[str, Any]) -> list[str]:
    return [alias for alias in texts(body.get("aliases")) if alias != body.get("name")]


def _numbered_item(record: RawRecord) -> Item | None:
    """The node under which ATT&CK itself numbers a group, a campaign or a piece of software."""
    body = record.body
    number = str(body.get("external_id") or "")
    forms = {"intrusion-set": "group", "campaign": "campaign", "malware": "software", "tool": "software"}
    form = forms.get(str(body.get("stix_type") or ""))
    if form is None or not number:
        return None
    props = {
        "name": body.get("name"),
        "names": _aliases(body),
        "desc": body.get("description"),
        "url": body.get("url"),
    }
    if form == "campaign" and body.get("first_seen") and body.get("last_seen"):
        props["period"] = (body["first_seen"], body["last_seen"])
    return Item(f"it:mitre:attack:{form}", number, without_empty(props))


def references(record: RawRecord) -> list[str]:
    """Return the addresses that the record cites."""
    return texts(record.body.get("url")) if record.kind != "relationships" else []


def relate(record: RawRecord, index: Index) -> tuple[list[Edge], list[Reject]]:
    """Return the edges at the record's own node, and relations that lead nowhere."""
    edges: list[Edge] = []
    rejects: list[Reject] = []
    for verb, stix_id in _own_relations(record):
        to = index.by_stix(stix_id)
        if to is None:
            rejects.append(
                Reject(record.file, name_of(record), f"relation {verb} to {stix_id}", "no such object")
            )
        else:
            edges.append(Edge(verb, to))
    return list(dict.fromkeys(edges)), rejects


def _own_relations(record: RawRecord) -> list[tuple[str, str]]:
    body = record.body
    if record.kind == "detection_strategies":
        return [("has", stix_id) for stix_id in texts(body.get("analytic_refs"))]
    if record.kind == "analytics":
        sources = body.get("log_source_references") or ()
        found = [("uses", str(source.get("x_mitre_data_component_ref") or "")) for source in sources]
        return list(dict.fromkeys(pair for pair in found if pair[1]))
    return []


def relationship(record: RawRecord, index: Index) -> tuple[Item | None, Reject | None]:
    """Return the edge of a relationship record as an item at its source node, or why there is none."""
    body = record.body
    source, target = index.by_stix(str(body.get("source_ref"))), index.by_stix(str(body.get("target_ref")))
    verb = slug(str(body.get("relationship_type") or "related-to")).replace("_", "-")
    if source is None or target is None:
        missing = body.get("source_ref") if source is None else body.get("target_ref")
        return None, Reject(record.file, name_of(record), f"relationship {verb}", f"no object {missing}")
    return Item(source[0], source[1], edges=(Edge(verb, target),)), None
