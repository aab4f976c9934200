"""Raw MISP galaxy clusters -> nodes and relations. Pure functions; the table in clusters.py says what is what."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cellmesh.cli.demo.clusters import Kind, kind_of
from cellmesh.cli.demo.items import (
    Edge,
    Item,
    Ndef,
    Reject,
    Unusable,
    first_text,
    guid_of,
    slug,
    texts,
    without_empty,
)
from cellmesh.cli.demo.records import RawRecord
from cellmesh.common.hashing import guid

if TYPE_CHECKING:
    from cellmesh.cli.demo.index import Index

TECHNIQUE: Final = re.compile(r"^T\d{4}(\.\d{3})?$")
TECHNIQUE_INSIDE: Final = re.compile(r"\bT\d{4}(?:\.\d{3})?\b", re.IGNORECASE)
MITIGATION: Final = re.compile(r"^M\d{4}$")
TACTIC: Final = re.compile(r"^TA\d{4}$")
GROUP: Final = re.compile(r"^G\d{4}$")
SOFTWARE: Final = re.compile(r"^S\d{4}$")
DATA_SOURCE: Final = re.compile(r"^DS\d{4}$")
COUNTRY_CODE: Final = re.compile(r"^[A-Za-z]{2}$")

REFERENCE_FIELDS: Final = (
    "refs",
    "official-refs",
    "links",
    "references",
    "sources",
    "ransomnotes-refs",
    "ransomenotes-refs",
)
SECTOR_FIELDS: Final = ("cfr-target-category", "targeted-sector", "target-category", "target_categories")
VICTIM_FIELDS: Final = ("cfr-suspected-victims", "suspected-victims", "observed_countries")
TECHNIQUE_FIELDS: Final = ("TTP", "ttp")
# Relations written from the other end: the edge points the other way.
INVERSE_VERBS: Final = {
    "used-by": "uses",
    "child-of": "parent-of",
    "detected-by": "detects",
    "blocked-by": "blocks",
    "included-in": "includes",
    "dropped-by": "dropped",
    "is-deployed-by": "deploys",
}


def name_of(record: RawRecord) -> str:
    """How a reject names the record."""
    body = record.body
    return f"{body.get('uuid') or 'no uuid'} ({body.get('value') or 'no value'})"


def identify(record: RawRecord) -> Ndef | None:
    """Return the node that the record stands for.

    Raises:
        Unusable: it stands for none; the text says why.
    """
    body = record.body
    if not first_text(body.get("value")):
        raise Unusable("no value")
    uuid = guid_of(str(body.get("uuid") or ""))
    number = _number(body)
    match kind_of(record.kind):
        case Kind.ACTOR:
            return ("risk:threat", uuid)
        case Kind.SOFTWARE:
            return ("risk:tool:software", uuid)
        case Kind.TECHNIQUE:
            return (
                ("it:mitre:attack:technique", number) if TECHNIQUE.match(number) else ("ou:technique", uuid)
            )
        case Kind.MITIGATION:
            return (
                ("it:mitre:attack:mitigation", number)
                if MITIGATION.match(number)
                else ("risk:mitigation", uuid)
            )
        case Kind.TACTIC:
            return ("it:mitre:attack:tactic", number) if TACTIC.match(number) else ("meta:note", uuid)
        case Kind.DATA_SOURCE:
            return (
                ("it:mitre:attack:datasource", number) if DATA_SOURCE.match(number) else ("meta:note", uuid)
            )
        case Kind.COUNTRY:
            code = country_code(body)
            return country_ndef(code) if code else ("geo:place", uuid)
        case Kind.INDUSTRY:
            return industry_ndef(industry_name(record))
        case kind:
            return (_GUID_FORMS[kind], uuid)


_GUID_FORMS: Final[dict[Kind, str]] = {
    Kind.CAMPAIGN: "ou:campaign",
    Kind.REGION: "geo:place",
    Kind.ORGANIZATION: "ou:org",
    Kind.REFERENCE: "media:news",
    Kind.RULE: "meta:rule",
    Kind.DATA_COMPONENT: "it:mitre:attack:data:component",
    Kind.THING: "mat:spec",
    Kind.NOTE: "meta:note",
}


def country_code(body: dict[str, Any]) -> str | None:
    """The two-letter code of a country's record, in lower case; None when it is no country."""
    meta = body.get("meta") or {}
    for code in [*texts(meta.get("ISO")), *texts(meta.get("iso-code"))]:
        if COUNTRY_CODE.match(code):
            return code.lower()
    return None


def country_ndef(code: str) -> Ndef:
    """The node of a country by its two-letter code, the same from whatever source."""
    return ("pol:country", guid(("pol:country", code)))


def industry_name(record: RawRecord) -> str:
    """An industry's name: classifications carry it beside their number."""
    meta = record.body.get("meta") or {}
    named = first_text(meta.get("Preferred Label")) or first_text(record.body.get("description"))
    if record.kind in {"naics", "NACE"} and named:
        return named
    return first_text(record.body.get("value"))


def industry_ndef(name: str) -> Ndef:
    """The node of an industry by its name, the same from whatever source."""
    return ("ou:industry", guid(("ou:industry", " ".join(name.lower().split()))))


def describe(record: RawRecord, index: Index) -> list[Item]:
    """Return the record's node with its properties, and the nodes that it names beside."""
    ndef = identify(record)
    assert ndef is not None
    form, value = ndef
    props = _PROPS.get(form, _note_props)(record)
    tags = [f"misp.galaxy.{slug(record.kind)}"]
    if record.body.get("revoked"):
        tags.append("misp.revoked")
    return [Item(form, value, without_empty(props), tuple(tags)), *_targets(record, ndef, index)]


def references(record: RawRecord) -> list[str]:
    """Return the addresses that the record cites, each once."""
    meta = record.body.get("meta") or {}
    found = [text for name in REFERENCE_FIELDS for text in texts(meta.get(name))]
    return list(dict.fromkeys(found))


def relate(record: RawRecord, index: Index) -> tuple[list[Edge], list[Reject]]:
    """Return the edges at the record's node, and relations that lead nowhere."""
    edges: list[Edge] = []
    rejects: list[Reject] = []
    meta = record.body.get("meta") or {}
    for number in _technique_numbers(record, meta):
        verb = "detects" if kind_of(record.kind) is Kind.RULE else "uses"
        edges.append(Edge(verb, ("it:mitre:attack:technique", number)))
    for relation in record.body.get("related") or ():
        verb = slug(str(relation.get("type") or "related-to")).replace("_", "-")
        uuid = str(relation.get("dest-uuid") or "")
        to = index.by_uuid(uuid)
        if to is None:
            what = f"relation {verb} to {uuid or 'nothing'}"
            rejects.append(Reject(record.file, name_of(record), what, "no record has that uuid"))
        elif verb in INVERSE_VERBS:
            edges.append(Edge(INVERSE_VERBS[verb], to, reverse=True))
        else:
            edges.append(Edge(verb, to))
    return list(dict.fromkeys(edges)), rejects


def _technique_numbers(record: RawRecord, meta: dict[str, Any]) -> list[str]:
    named = [text for name in TECHNIQUE_FIELDS for text in texts(meta.get(name))]
    if kind_of(record.kind) is Kind.RULE:
        named += [text for text in texts(meta.get("tags")) if text.lower().startswith("attack.t")]
    return list(dict.fromkeys(number.upper() for text in named for number in TECHNIQUE_INSIDE.findall(text)))


def _targets(record: RawRecord, ndef: Ndef, index: Index) -> list[Item]:
    """The industries and countries that an actor or a campaign is said to aim at."""
    meta = record.body.get("meta") or {}
    items: list[Item] = []
    for name in dict.fromkeys(text for field in SECTOR_FIELDS for text in texts(meta.get(field))):
        form, value = industry_ndef(name)
        items.append(Item(form, value, {"name": name}, edges=(Edge("targets", ndef, reverse=True),)))
    for name in dict.fromkeys(text for field in VICTIM_FIELDS for text in texts(meta.get(field))):
        form, value = index.place(name)
        props = {"name": name} if form == "geo:place" else {}
        items.append(Item(form, value, props, edges=(Edge("targets", ndef, reverse=True),)))
    return items


def _number(body: dict[str, Any]) -> str:
    """The record's number in ATT&CK or a framework like it."""
    meta = body.get("meta") or {}
    for field in (
        "external_id",
        "software_attack_id",
        "group_attack_id",
        "technique_attack_id",
        "tactic_attack_id",
    ):
        number = first_text(meta.get(field))
        if number:
            return number
    return ""


def _plain_name(record: RawRecord) -> str:
    """The value without a number behind it: "Phishing - T1566" is "Phishing"."""
    value = first_text(record.body.get("value"))
    number = _number(record.body)
    return value.removesuffix(f" - {number}") if number else value


def _names(record: RawRecord) -> list[str]:
    meta = record.body.get("meta") or {}
    return list(dict.fromkeys([*texts(meta.get("synonyms")), *texts(meta.get("synomyms"))]))


def _desc(record: RawRecord) -> str:
    return first_text(record.body.get("description"))


def _country_of(record: RawRecord) -> str:
    code = first_text((record.body.get("meta") or {}).get("country"))
    return code.lower() if COUNTRY_CODE.match(code) else ""


def _actor_props(record: RawRecord) -> dict[str, Any]:
    number = _number(record.body)
    return {
        "name": _plain_name(record),
        "org:name": _plain_name(record),
        "org:names": _names(record),
        "desc": _desc(record),
        "country:code": _country_of(record),
        "ext:id": number,
        "mitre:attack:group": number if GROUP.match(number) else "",
    }


def _software_props(record: RawRecord) -> dict[str, Any]:
    number = _number(record.body)
    return {
        "soft:name": _plain_name(record),
        "soft:names": _names(record),
        "desc": _desc(record),
        "id": number,
        "mitre:attack:software": number if SOFTWARE.match(number) else "",
    }


def _named_props(record: RawRecord) -> dict[str, Any]:
    return {"name": _plain_name(record), "desc": _desc(record)}


def _technique_props(record: RawRecord) -> dict[str, Any]:
    return {**_named_props(record), "ext:id": _number(record.body)}


def _mitigation_props(record: RawRecord) -> dict[str, Any]:
    return {**_named_props(record), "id": _number(record.body)}


def _described_props(record: RawRecord) -> dict[str, Any]:
    return {"name": _plain_name(record), "description": _desc(record)}


def _country_props(record: RawRecord) -> dict[str, Any]:
    meta = record.body.get("meta") or {}
    codes = [*texts(meta.get("ISO3")), *texts(meta.get("iso-code"))]
    code3 = next((code.lower() for code in codes if len(code) == 3 and code.isascii() and code.isalpha()), "")
    domain = (first_text(meta.get("tld")) or first_text(meta.get("top-level-domain"))).strip(".").lower()
    is_domain = domain.isascii() and domain.isalpha()
    name = _desc(record) if record.kind == "country" else first_text(record.body.get("value"))
    return {
        "name": name or first_text(record.body.get("value")),
        "names": _names(record),
        "iso2": country_code(record.body),
        "iso3": code3,
        "tld": domain if is_domain else "",
    }


def _place_props(record: RawRecord) -> dict[str, Any]:
    return {"name": first_text(record.body.get("value")), "names": _names(record), "desc": _desc(record)}


def _industry_props(record: RawRecord) -> dict[str, Any]:
    name = industry_name(record)
    desc = _desc(record)
    return {"name": name, "desc": desc if desc != name else ""}


def _organization_props(record: RawRecord) -> dict[str, Any]:
    return {
        "name": _plain_name(record),
        "names": _names(record),
        "desc": _desc(record),
        "country:code": _country_of(record),
    }


def _reference_props(record: RawRecord) -> dict[str, Any]:
    meta = record.body.get("meta") or {}
    return {
        "title": first_text(meta.get("title")) or first_text(record.body.get("value")),
        "summary": _desc(record),
        "published": first_text(meta.get("date_published")),
        "publisher:name": first_text(meta.get("owner")),
    }


def _rule_props(record: RawRecord) -> dict[str, Any]:
    meta = record.body.get("meta") or {}
    return {
        "name": first_text(record.body.get("value")),
        "desc": _desc(record),
        "ext:id": first_text(meta.get("filename")),
        "created": first_text(meta.get("creation_date")),
        "type": slug(record.kind),
    }


def _thing_props(record: RawRecord) -> dict[str, Any]:
    return {"name": first_text(record.body.get("value"))}


def _note_props(record: RawRecord) -> dict[str, Any]:
    parts = [first_text(record.body.get("value")), _desc(record)]
    return {"text": "\n\n".join(part for part in parts if part), "type": f"misp.{slug(record.kind)}"}


_PROPS: Final[dict[str, Callable[[RawRecord], dict[str, Any]]]] = {
    "risk:threat": _actor_props,
    "risk:tool:software": _software_props,
    "it:mitre:attack:technique": _named_props,
    "it:mitre:attack:mitigation": _named_props,
    "it:mitre:attack:tactic": _named_props,
    "it:mitre:attack:datasource": _described_props,
    "it:mitre:attack:data:component": _described_props,
    "ou:technique": _technique_props,
    "risk:mitigation": _mitigation_props,
    "ou:campaign": _named_props,
    "pol:country": _country_props,
    "geo:place": _place_props,
    "ou:industry": _industry_props,
    "ou:org": _organization_props,
    "media:news": _reference_props,
    "meta:rule": _rule_props,
    "mat:spec": _thing_props,
}
