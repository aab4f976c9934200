"""STIX 2.1 bundles -> records.

Each object becomes the node of its kind under the digits of its own UUID, so that several bundles about the same thing
meet; observables become the nodes of their values. Relationships, and the references of reports, become light edges,
made when all objects of the file have come. Objects of ATT&CK are what `cellmesh demo` makes of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final

from cellmesh.cli.exchange import attack
from cellmesh.cli.exchange.json_stream import JsonStream
from cellmesh.cli.exchange.links import Links
from cellmesh.cli.exchange.records import Record, Unusable, add_edge, excerpt_of, make_node, tag_segment
from cellmesh.cli.exchange.sources import Malformed
from cellmesh.common.hashing import guid

Made = tuple[str, Any, dict[str, Any]]

PACKAGING: Final = frozenset(
    {"marking-definition", "extension-definition", "language-content", "x-mitre-matrix", "x-mitre-collection"}
)
"""Types that say something about other objects or about the bundle, and stand for nothing in the world."""

REFERENCES: Final = {
    "object_refs": "refs",
    "resolves_to_refs": "resolves-to",
    "contains_refs": "contains",
    "x_mitre_analytic_refs": "has",
}
"""Fields that name other objects, and the verb of the edge to them."""

TECHNIQUE: Final = re.compile(r"T\d{4}(\.\d{3})?")
MITIGATION: Final = re.compile(r"M\d{4}")
CVE: Final = re.compile(r"CVE-\d{4}-\d{4,}", re.IGNORECASE)

PATTERN_PART: Final = re.compile(
    r"\b(ipv4-addr:value|ipv6-addr:value|domain-name:value|url:value|email-addr:value"
    r"|file:hashes\.'?(?:MD5|SHA-1|SHA-256|SHA-512)'?)\s*=\s*'((?:[^'\\]|\\.)*)'"
)
"""A comparison of a pattern with one value."""

PATTERN_PART_COUNT_MAX: Final = 1000

_PATTERN_FORMS: Final = {
    "ipv4-addr:value": "inet:ipv4",
    "ipv6-addr:value": "inet:ipv6",
    "domain-name:value": "inet:fqdn",
    "url:value": "inet:url",
    "email-addr:value": "inet:email",
    "MD5": "hash:md5",
    "SHA-1": "hash:sha1",
    "SHA-256": "hash:sha256",
    "SHA-512": "hash:sha512",
}


def stix_records(stream: BinaryIO, links: Links) -> Iterator[Record]:
    """Yield the records of a bundle, or of a list of objects; then its edges.

    Raises:
        Malformed: it is no JSON, or ends early.
    """
    for key, item, index in JsonStream(stream).parts(lambda key: key == "objects"):
        if index < 0 and key == "objects":
            raise Malformed("objects", "no list")
        if index < 0 or key not in ("", "objects"):
            continue
        iden = item.get("id") if isinstance(item, dict) else None
        place = f"objects[{index:,}] ({iden})" if iden else f"objects[{index:,}]"
        record = Record(place)
        try:
            _object(record, item, links)
        except Unusable as problem:
            record.problems.append(str(problem))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # Such as a list where STIX has a text.
            record.nodes.clear()
            record.problems.append(f"a field is not what STIX has there: {error}")
        if record.problems:
            record.what = excerpt_of(item)
        yield record
    yield from links.records()


def _object(record: Record, item: Any, links: Links) -> None:
    if not isinstance(item, dict):
        raise Unusable("no object")
    kind, iden = item.get("type"), item.get("id")
    if not isinstance(kind, str) or not isinstance(iden, str):
        raise Unusable("an object has an id and a type")
    if kind in PACKAGING:
        raise Unusable(f"{kind} stands for no node")
    if kind in ("relationship", "sighting"):
        _relate(record, item, links)
        return
    make = _MAKERS.get(kind)
    if make is None:
        raise Unusable(f"there is no form here for {kind}")
    form, value, props = make(item)
    tags = [f"stix.{state}" for state in ("revoked",) if item.get(state)]
    if item.get("x_mitre_deprecated"):
        tags.append("stix.deprecated")
    tags += [f"stix.label.{tag_segment(str(label))}" for label in _texts(item.get("labels"))]
    node = make_node(form, value, props, tags)
    links.name(iden, form, value)
    record.nodes.append(node)
    if kind == "indicator":
        _indicated(record, node, str(item.get("pattern") or ""))
    for name, verb in REFERENCES.items():
        for other in _texts(item.get(name)):
            links.link(iden, verb, other, record.place)
    for other in attack.data_components(item):
        links.link(iden, "uses", other, record.place)
    for reference in attack.dicts(item.get("external_references")):
        url = reference.get("url")
        if isinstance(url, str) and url.strip():
            add_edge(node, "refs", "inet:url", url.strip())


def _relate(record: Record, item: dict[str, Any], links: Links) -> None:
    if item["type"] == "sighting":
        verb, source, targets = "sighted", item.get("sighting_of_ref"), _texts(item.get("where_sighted_refs"))
    else:
        verb = str(item.get("relationship_type") or "related-to")
        source, targets = item.get("source_ref"), _texts(item.get("target_ref"))
    if not isinstance(source, str) or not targets:
        raise Unusable(f"a {item['type']} without both its ends")
    for target in targets:
        links.link(source, verb, target, record.place)


def _indicated(record: Record, node: Any, pattern: str) -> None:
    """Make the nodes of plain comparisons in a pattern, and edges to them."""
    for count, found in enumerate(PATTERN_PART.finditer(pattern)):
        if count >= PATTERN_PART_COUNT_MAX:
            record.problems.append(f"of the pattern, {PATTERN_PART_COUNT_MAX} values are taken")
            return
        name = found[1].partition("hashes.")[2].strip("'") or found[1]
        value = re.sub(r"\\(.)", r"\1", found[2])
        add_edge(node, "refs", _PATTERN_FORMS[name], value)


def guid_of_id(iden: str) -> str:
    """The guid of an object: the digits of its UUID, or else made of its id."""
    digits = iden.partition("--")[2].replace("-", "").lower()
    is_uuid = len(digits) == 32 and all(char in "0123456789abcdef" for char in digits)
    return digits if is_uuid else guid(("stix", iden))


def _texts(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str) and item.strip()]


def _number(item: Mapping[str, Any]) -> str:
    """The number of an object in ATT&CK; empty if it has none."""
    return attack.reference(item, "external_id")


def _url(item: Mapping[str, Any]) -> str:
    return attack.reference(item, "url")


def _aliases(item: Mapping[str, Any]) -> list[str]:
    found = [*_texts(item.get("aliases")), *_texts(item.get("x_mitre_aliases"))]
    return [name for name in dict.fromkeys(found) if name != item.get("name")]


def _named(form: str, **extra: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], Made]:
    """Make the maker of a guid form with name and desc, and further properties."""

    def make(item: Mapping[str, Any]) -> Made:
        props = {"name": item.get("name"), "desc": item.get("description")}
        props |= {name.replace("__", ":"): read(item) for name, read in extra.items()}
        return form, guid_of_id(item["id"]), props

    return make


def _actor(item: Mapping[str, Any]) -> Made:
    number = _number(item)
    props = {
        "name": item.get("name"),
        "org:name": item.get("name"),
        "org:names": _aliases(item),
        "desc": item.get("description"),
        "ext:id": number,
        "mitre:attack:group": number if re.fullmatch(r"G\d{4}", number) else None,
    }
    return "risk:threat", guid_of_id(item["id"]), props


def _software(item: Mapping[str, Any]) -> Made:
    number = _number(item)
    props = {
        "soft:name": item.get("name"),
        "soft:names": _aliases(item),
        "desc": item.get("description"),
        "id": number,
        "mitre:attack:software": number if re.fullmatch(r"S\d{4}", number) else None,
    }
    return "risk:tool:software", guid_of_id(item["id"]), props


def _technique(item: Mapping[str, Any]) -> Made:
    number = _number(item)
    if TECHNIQUE.fullmatch(number):
        props = {"name": item.get("name"), "desc": item.get("description"), "url": _url(item)}
        return "it:mitre:attack:technique", number, props | attack.technique_props(item, number)
    props = {"name": item.get("name"), "desc": item.get("description"), "ext:id": number}
    return "ou:technique", guid_of_id(item["id"]), props


def _mitigation(item: Mapping[str, Any]) -> Made:
    number = _number(item)
    if MITIGATION.fullmatch(number):
        props = {"name": item.get("name"), "desc": item.get("description"), "url": _url(item)}
        return "it:mitre:attack:mitigation", number, props
    props = {"name": item.get("name"), "desc": item.get("description"), "id": number}
    return "risk:mitigation", guid_of_id(item["id"]), props


def _attack_numbered(form: str, desc: str) -> Callable[[Mapping[str, Any]], Made]:
    def make(item: Mapping[str, Any]) -> Made:
        number = _number(item)
        if not number:
            raise Unusable(f"{item['type']} without its number in ATT&CK")
        return form, number, {"name": item.get("name"), desc: item.get("description")}

    return make


def _identity(item: Mapping[str, Any]) -> Made:
    name, desc = item.get("name"), item.get("description")
    if item.get("identity_class") == "individual":
        return "ps:contact", guid_of_id(item["id"]), {"name": name, "desc": desc}
    return "ou:org", guid_of_id(item["id"]), {"name": name, "desc": desc}


def _location(item: Mapping[str, Any]) -> Made:
    name = item.get("name") or item.get("city") or item.get("country") or item.get("region")
    props = {"name": name, "desc": item.get("description"), "address": item.get("street_address")}
    if item.get("latitude") is not None and item.get("longitude") is not None:
        props["latlong"] = [item["latitude"], item["longitude"]]
    return "geo:place", guid_of_id(item["id"]), props


def _vulnerability(item: Mapping[str, Any]) -> Made:
    props = {"name": item.get("name"), "desc": item.get("description")}
    found = CVE.search(str(item.get("name") or ""))
    for reference in attack.dicts(item.get("external_references")):
        if found is None and reference.get("source_name") == "cve":
            found = CVE.search(str(reference.get("external_id") or ""))
    if found is not None:
        props["cve"] = found[0].lower()
    return "risk:vuln", guid_of_id(item["id"]), props


def _indicator(item: Mapping[str, Any]) -> Made:
    name, text = item.get("name"), item.get("pattern")
    kind = item.get("pattern_type")
    if kind in ("yara", "snort"):
        return f"it:app:{kind}:rule", guid_of_id(item["id"]), {"name": name, "text": text}
    props = {
        "name": name,
        "pattern": text,
        "description": item.get("description"),
        "created": item.get("created"),
        "updated": item.get("modified"),
        "valid_from": item.get("valid_from"),
        "valid_until": item.get("valid_until"),
    }
    return "it:sec:stix:indicator", guid_of_id(item["id"]), props


def _report(item: Mapping[str, Any]) -> Made:
    props = {
        "title": item.get("name"),
        "summary": item.get("description"),
        "published": item.get("published") or item.get("created"),
    }
    return "media:news", guid_of_id(item["id"]), props


def _note(item: Mapping[str, Any]) -> Made:
    parts = [item.get("abstract"), item.get("content") or item.get("opinion") or item.get("description")]
    text = "\n\n".join(str(part) for part in parts if part) or str(item.get("name") or item["id"])
    props = {"text": text, "created": item.get("created"), "type": f"stix.{tag_segment(item['type'])}"}
    return "meta:note", guid_of_id(item["id"]), props


def _campaign(item: Mapping[str, Any]) -> Made:
    number = _number(item)
    props: dict[str, Any] = {
        "name": item.get("name"),
        "names": _aliases(item),
        "desc": item.get("description"),
        "mitre:attack:campaign": number if re.fullmatch(r"C\d{4}", number) else None,
    }
    if item.get("first_seen") and item.get("last_seen") and item["first_seen"] < item["last_seen"]:
        props["period"] = [item["first_seen"], item["last_seen"]]
    return "ou:campaign", guid_of_id(item["id"]), props


def _valued(form: str, name: str = "value") -> Callable[[Mapping[str, Any]], Made]:
    def make(item: Mapping[str, Any]) -> Made:
        if item.get(name) in (None, ""):
            raise Unusable(f"{item['type']} without {name}")
        return form, item[name], {}

    return make


def _file(item: Mapping[str, Any]) -> Made:
    hashes = item.get("hashes")
    if not isinstance(hashes, dict) or not hashes:
        if isinstance(item.get("name"), str):
            return "file:base", item["name"], {}
        raise Unusable("a file without hashes and name")
    known = {str(name).upper(): str(text).lower() for name, text in hashes.items()}
    sha256 = known.get("SHA-256")
    rest = known.get("SHA-512") or known.get("SHA-1") or known.get("MD5")
    if sha256 is None and rest is None:
        raise Unusable(f"a file with no hash that is used here: {', '.join(known)}")
    props = {
        "md5": known.get("MD5"),
        "sha1": known.get("SHA-1"),
        "sha512": known.get("SHA-512"),
        "size": item.get("size"),
        "name": item.get("name"),
        "mime": item.get("mime_type"),
    }
    return "file:bytes", f"sha256:{sha256}" if sha256 else f"guid:{guid(rest)}", props


def _system(item: Mapping[str, Any]) -> Made:
    if item.get("number") is None:
        raise Unusable("autonomous-system without number")
    return "inet:asn", item["number"], {"name": item.get("name")}


_MAKERS: Final[dict[str, Callable[[Mapping[str, Any]], Made]]] = {
    "attack-pattern": _technique,
    "autonomous-system": _system,
    "campaign": _campaign,
    "course-of-action": _mitigation,
    "directory": _valued("file:path", "path"),
    "domain-name": _valued("inet:fqdn"),
    "email-addr": _valued("inet:email"),
    "file": _file,
    "grouping": _note,
    "identity": _identity,
    "indicator": _indicator,
    "infrastructure": _note,
    "intrusion-set": _actor,
    "ipv4-addr": _valued("inet:ipv4"),
    "ipv6-addr": _valued("inet:ipv6"),
    "location": _location,
    "mac-addr": _valued("inet:mac"),
    "malware": _software,
    "mutex": _valued("it:dev:mutex", "name"),
    "note": _note,
    "observed-data": _note,
    "opinion": _note,
    "report": _report,
    "software": _named("it:prod:soft"),
    "threat-actor": _actor,
    "tool": _software,
    "url": _valued("inet:url"),
    "vulnerability": _vulnerability,
    "windows-registry-key": _valued("it:dev:regkey", "key"),
    "x-mitre-analytic": _named("meta:rule", ext__id=_number, type=lambda item: "mitre.analytic"),
    "x-mitre-data-component": lambda item: (
        "it:mitre:attack:data:component",
        guid_of_id(item["id"]),
        {"name": item.get("name"), "description": item.get("description")},
    ),
    "x-mitre-data-source": _attack_numbered("it:mitre:attack:datasource", "description"),
    "x-mitre-detection-strategy": _named("meta:ruleset", type=lambda item: "mitre.detection_strategy"),
    "x-mitre-tactic": _attack_numbered("it:mitre:attack:tactic", "desc"),
}
