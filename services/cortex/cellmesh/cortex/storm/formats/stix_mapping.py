"""How nodes are told in STIX 2.1 and back, unless a query says otherwise: the configurations that `$lib.stix` starts with.

Both are plain data, as queries may change them. A property of an object is a query that runs on the node and returns the
value, with the bundle as `$bundle`; a relationship is a query that leads to the nodes at its other end. What comes in is
made by a query that has the object as `$object` and returns the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MAX_SIZE: Final = 10_000
"""Objects of one bundle."""

OBSERVABLES: Final = frozenset(
    {
        "artifact",
        "autonomous-system",
        "directory",
        "domain-name",
        "email-addr",
        "email-message",
        "file",
        "ipv4-addr",
        "ipv6-addr",
        "mac-addr",
        "mutex",
        "network-traffic",
        "process",
        "software",
        "url",
        "user-account",
        "windows-registry-key",
        "x509-certificate",
    }
)
"""What STIX calls cyber-observable objects."""

TYPES: Final = OBSERVABLES | {
    "attack-pattern",
    "campaign",
    "course-of-action",
    "grouping",
    "identity",
    "indicator",
    "infrastructure",
    "intrusion-set",
    "location",
    "malware",
    "malware-analysis",
    "note",
    "observed-data",
    "opinion",
    "report",
    "threat-actor",
    "tool",
    "vulnerability",
}
"""Types of objects of STIX 2.1."""


# Out: queries for the properties of an object, each of which runs on the node.


def _held(*names: str) -> str:
    """Return a query for the first of some properties that is set."""
    return " ".join(f'$held=$node.props."{name}" if ($held != (null)) {{ return($held) }}' for name in names)


def _held_or_own(name: str) -> str:
    """Return a query for a property, or for the text of the node where it is not set."""
    return f"{_held(name)} return($node.repr())"


def _moment(*names: str) -> str:
    """Return a query for the first of some times that is set, as STIX writes it."""
    return " ".join(
        f'$at=$node.props."{name}" if ($at != (null)) {{ return($lib.stix.export.timestamp($at)) }}'
        for name in names
    )


def _part(name: str, index: int, *, is_time: bool = False) -> str:
    """Return a query for a part of an interval or pair."""
    item = f"$whole.{index}"
    told = f"$lib.stix.export.timestamp({item})" if is_time else item
    return f'$whole=$node.props."{name}" if ($whole != (null)) {{ return({told}) }}'


def _always(literal: str) -> str:
    return f"return({literal})"


def _across(steps: str, name: str) -> str:
    """Return a query for a property of the first node that steps lead to and that has it."""
    return f"{steps} {_held(name)}"


def _all_across(steps: str, name: str) -> str:
    """Return a query for a property of all nodes that steps lead to; for nothing if there are none."""
    return _collected(steps, f'$item=$node.props."{name}"')


def _ids(steps: str) -> str:
    """Return a query that adds the nodes that steps lead to, for their ids; for nothing if there are none."""
    return _collected(steps, "$item=$bundle.add($node)")


def _id(steps: str) -> str:
    """Return a query that adds the node that steps lead to, for its id."""
    return f"{steps} return($bundle.add($node))"


def _collected(steps: str, step: str) -> str:
    return (
        f"init {{ $items=([]) }} {steps} {step} if ($item != (null)) {{ $items.append($item) }}"
        " fini { if ($items.size() > 0) { return($items) } }"
    )


def _reference(source: str, name: str, *, upper: bool = False) -> str:
    """Return a query for a reference to a list kept elsewhere, by the number that is known of the node there."""
    number = "$held.upper()" if upper else "$held"
    entry = f"{{'source_name': '{source}', 'external_id': {number}}}"
    return f'$held=$node.props."{name}" if ($held != (null)) {{ return(([{entry}])) }}'


def _hashes(names: Mapping[str, str]) -> str:
    """Return a query for a dictionary of hashes, from what STIX calls them and the properties that hold them."""
    pairs = ", ".join(f'("{title}", "{name}")' for title, name in names.items())
    return (
        f"$hashes=({{}}) for ($title, $name) in ({pairs}) {{ $hash=$node.props.$name"
        " if ($hash != (null)) { $hashes.$title=$hash } }"
        " if $hashes { return($hashes) }"
    )


_KEPT_SINCE: Final = {"created": _moment(".created"), "modified": _moment(".created")}
"""Nodes do not say when they last changed, so both are when they were made. Domain objects must have them."""

_HASH_PROPS: Final = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}

_ACCOUNT_KINDS: Final = "({'twitter.com': 'twitter', 'facebook.com': 'facebook'})"
"""Those of the kinds that STIX lists whose site tells them."""


@dataclass(frozen=True, slots=True)
class _Told:
    """How nodes of a form are told as objects of one type.

    Attributes:
        form: The form.
        kind: The type of the objects. The first one of a form is its default.
        props: Queries by the names of properties.
        relations: Types of relationships, with types of the objects at their other end and the steps to these.
        is_domain: Whether it is a domain object, which says when it was made.
    """

    form: str
    kind: str
    props: Mapping[str, str]
    relations: tuple[tuple[str, str, str], ...] = ()
    is_domain: bool = field(default=True)


_ATTACKS: Final = "-> risk:attack:campaign"

_OUT: Final = (
    # Who and where.
    _Told(
        "ou:org",
        "identity",
        {
            "name": _held_or_own("name"),
            "identity_class": _always("organization"),
            "sectors": _all_across("-> ou:industry", "name"),
        },
    ),
    _Told(
        "ou:org",
        "threat-actor",
        {
            "name": _held_or_own("name"),
            "description": _held("desc"),
            "first_seen": _part(".seen", 0, is_time=True),
            "last_seen": _part(".seen", 1, is_time=True),
            "goals": _all_across("-> ou:campaign:org -> ou:goal | uniq |", "name"),
        },
        (
            ("attributed-to", "identity", ""),
            ("located-at", "location", ":hq -> geo:place"),
            ("targets", "identity", "-> ou:campaign:org -(targets)> ou:org | uniq"),
            ("targets", "vulnerability", f"-> ou:campaign:org {_ATTACKS} :used:vuln -> risk:vuln | uniq"),
            ("uses", "attack-pattern", "-(uses)> ou:technique"),
            ("uses", "tool", "-(uses)> it:prod:soft"),
        ),
    ),
    *(
        _Told(
            form,
            "identity",
            {"name": _held_or_own("name"), "identity_class": _always("individual")},
        )
        for form in ("ps:person", "ps:contact")
    ),
    _Told(
        "geo:place",
        "location",
        {
            "name": _held_or_own("name"),
            "description": _held("desc"),
            "country": '$held=$node.props.loc if ($held != (null)) { return($held.split(".").0) }',
            "latitude": _part("latlong", 0),
            "longitude": _part("latlong", 1),
        },
    ),
    _Told(
        "ou:campaign",
        "campaign",
        {
            "name": _held_or_own("name"),
            "description": _held("desc"),
            "objective": _across(":goal -> ou:goal", "name"),
            "first_seen": _part("period", 0, is_time=True),
            "last_seen": _part("period", 1, is_time=True),
        },
        (
            ("attributed-to", "threat-actor", ":org -> ou:org"),
            ("originates-from", "location", ":org -> ou:org :hq -> geo:place"),
            ("targets", "identity", "-(targets)> ou:org"),
            ("targets", "identity", f"{_ATTACKS} :target:org -> ou:org | uniq"),
            ("targets", "identity", f"{_ATTACKS} :target:person -> ps:person | uniq"),
            ("targets", "vulnerability", f"{_ATTACKS} :used:vuln -> risk:vuln | uniq"),
            ("uses", "attack-pattern", "-(uses)> ou:technique"),
            ("uses", "tool", "-(uses)> it:prod:soft"),
        ),
    ),
    # What is used, and what helps against it.
    _Told("it:prod:soft", "tool", {"name": _held_or_own("name"), "description": _held("desc")}),
    _Told(
        "it:prod:softver",
        "tool",
        {
            "name": f"{_held('software:name', 'name')} {_across(':software -> it:prod:soft', 'name')}",
            "tool_version": _held("vers"),
        },
    ),
    _Told("syn:tag", "malware", {"name": _always("$node.repr()"), "is_family": _always("(true)")}),
    _Told(
        "risk:vuln",
        "vulnerability",
        {
            "name": _held_or_own("name"),
            "description": _held("desc"),
            "external_references": _reference("cve", "cve", upper=True),
        },
    ),
    _Told(
        "ou:technique",
        "attack-pattern",
        {
            "name": _held_or_own("name"),
            "description": _held("desc"),
            "external_references": _reference("mitre-attack", "mitre:attack:technique"),
        },
    ),
    _Told(
        "risk:mitigation", "course-of-action", {"name": _held_or_own("name"), "description": _held("desc")}
    ),
    *(
        _Told(
            f"it:app:{language}:rule",
            "indicator",
            {
                "name": _held("name"),
                "description": _always(f'"a {language} rule"'),
                "pattern": _held("text"),
                "pattern_type": _always(language),
                "valid_from": _moment("created", ".created"),
            },
        )
        for language in ("yara", "snort")
    ),
    _Told(
        "media:news",
        "report",
        {
            "name": _held_or_own("title"),
            "description": _held("summary"),
            "published": _moment("published", ".created"),
            "object_refs": _ids("-(refs)> *"),
        },
    ),
    # What can be observed.
    _Told(
        "inet:fqdn",
        "domain-name",
        {
            "value": _always("$node.repr()"),
            "resolves_to_refs": _ids(
                "tee { -> inet:dns:a:fqdn :ipv4 -> inet:ipv4 } { -> inet:dns:aaaa:fqdn :ipv6 -> inet:ipv6 } |"
            ),
        },
        is_domain=False,
    ),
    *(
        _Told(
            form,
            kind,
            {"value": _always("$node.repr()")},
            (("belongs-to", "autonomous-system", ":asn -> inet:asn"),),
            is_domain=False,
        )
        for form, kind in (("inet:ipv4", "ipv4-addr"), ("inet:ipv6", "ipv6-addr"))
    ),
    _Told("inet:url", "url", {"value": _always("$node.repr()")}, is_domain=False),
    _Told(
        "inet:asn",
        "autonomous-system",
        {"number": _always("$node.value()"), "name": _held("name")},
        is_domain=False,
    ),
    _Told(
        "inet:email",
        "email-addr",
        {
            "value": _always("$node.repr()"),
            "display_name": _across("-> ps:contact:email", "name"),
            "belongs_to_ref": _id("-> inet:web:acct:email"),
        },
        is_domain=False,
    ),
    _Told(
        "inet:email:message",
        "email-message",
        {
            "is_multipart": _always("(false)"),
            "date": _moment("date"),
            "subject": _held("subject"),
            "message_id": _across("-> inet:email:header +:name=message_id", "value"),
            "from_ref": _id(":from -> inet:email"),
            "to_refs": _ids(":to -> inet:email"),
        },
        is_domain=False,
    ),
    _Told(
        "inet:web:acct",
        "user-account",
        {
            "user_id": _held("user"),
            "account_login": _held("user"),
            "account_type": f"$kinds={_ACCOUNT_KINDS} $site=$node.props.site $kind=$kinds.$site"
            " if ($kind != (null)) { return($kind) }",
            "display_name": _held("realname"),
            "credential": _held("passwd"),
            "account_created": _moment("signup"),
            "account_first_login": _part(".seen", 0, is_time=True),
            "account_last_login": _part(".seen", 1, is_time=True),
        },
        is_domain=False,
    ),
    _Told(
        "file:bytes",
        "file",
        {
            "hashes": _hashes(_HASH_PROPS),
            "size": _held("size"),
            "name": _held_or_own("name"),
            "mime_type": _held("mime"),
            "contains_refs": _ids("-(refs)> *"),
        },
        is_domain=False,
    ),
)


def export_config() -> dict[str, Any]:
    """Return how nodes are told in STIX; a new dictionary each time."""
    forms: dict[str, Any] = {}
    for told in _OUT:
        rules: dict[str, Any] = {"props": {**told.props, **(_KEPT_SINCE if told.is_domain else {})}}
        if told.relations:
            rules["rels"] = [list(relation) for relation in told.relations]
        known = forms.setdefault(told.form, {"default": told.kind, "stix": {}})
        known["stix"][told.kind] = rules
    return {"maxsize": MAX_SIZE, "custom": {"objects": {}}, "forms": forms, "synapse_extension": True}


# In: queries that make a node of an object.


def _settings(props: Mapping[str, str]) -> str:
    """Return the settings of properties from parts of the object; what cannot be a value of one is left out."""
    return " ".join(f":{name}?=$object.{part}" for name, part in props.items())


def _known_object(form: str, kind: str, props: Mapping[str, str], further: str = "") -> str:
    """Return a query that makes a node named by the object's id, with the whole object as its data."""
    return (
        f"[ {form}=(stix, {kind}, $object.id) {_settings(props)} {further} ]"
        " $node.data.set('stix:object', $object) return($node)"
    )


def _named(form: str, names: str, kind: str) -> str:
    """Return a query that takes the node of a name, one of several that it may have, or makes one."""
    return (
        f"($is_name, $name)=$lib.trycast({names}, $object.name) if (not $is_name) {{ return() }}"
        f" $known={{ {names}=$name -> {form} return($node) }}"
        f" if ($known = (null)) {{ $known={{ [ {form}=(stix, {kind}, $object.id) :name=$name ] return($node) }} }}"
        " for $other in $object.aliases { yield $known [ :names?+=$other ] | spin } return($known)"
    )


def _observed(form: str) -> str:
    """Return a query that makes a node of an observable's value."""
    return f"[ {form}?=$object.value ] return($node)"


_IDENTITY_IN: Final = """
    $is_system=($object.identity_class = "system") $is_person=($object.identity_class = "individual")
    $guid=$lib.guid(stix, identity, $object.id)
    if $is_system { [ it:host=$guid :name?=$object.name ] }
    elif $is_person { [ ps:contact=$guid :name?=$object.name ] }
    else { [ ps:contact=$guid :orgname?=$object.name ] }
    return($node)
"""

_INDICATOR_IN: Final = """
    $guid=$lib.guid(stix, indicator, $object.id) $language=$object.pattern_type
    if ($language = "yara") { [ it:app:yara:rule=$guid :text?=$object.pattern ] }
    elif ($language = "snort") { [ it:app:snort:rule=$guid :text?=$object.pattern ] }
    else {
        [ it:sec:stix:indicator=$guid :pattern?=$object.pattern
          :created?=$object.created :updated?=$object.modified ]
        | scrape --refs :pattern
    }
    [ :name?=$object.name ] $node.data.set('stix:object', $object) return($node)
"""

_LOCATION_IN: Final = """
    $place=({"id": $object.id}) $lat=$object.latitude $long=$object.longitude
    [ geo:place=$place :name?=$object.name :desc?=$object.description :address?=$object.street_address ]
    if $object.country { [ :loc?=$object.country ] }
    if ($lat != (null) and $long != (null)) { [ :latlong?=($lat, $long) ] }
    return($node)
"""

_FILE_IN: Final = """
    $hashes=$object.hashes $name=(null)
    for $title in ("SHA-256", "SHA-512", "SHA-1", MD5) {
        $hash=$hashes.$title
        if ($hash != (null) and $name = (null)) {
            if ($title = "SHA-256") { $name=`sha256:{$hash}` }
            else { $name=`guid:{$lib.guid($hash.lower())}` }
        }
    }
    if ($name = (null)) { return() }
    [ file:bytes?=$name :md5?=$hashes.MD5 :sha1?=$hashes."SHA-1" :sha512?=$hashes."SHA-512"
      :size?=$object.size :name?=$object.name :mime?=$object.mime_type ]
    return($node)
"""

_BUNDLE_IN: Final = """
    $known={ it:sec:stix:bundle:id=$bundle.id return($node) }
    if ($known != (null)) { return($known) }
    [ it:sec:stix:bundle=(stix, bundle, $bundle.id) :id=$bundle.id ] return($node)
"""

_DESCRIBED: Final = {"name": "name", "desc": "description"}

_IN: Final = {
    "campaign": _known_object(
        "ou:campaign", "campaign", _DESCRIBED, ".seen?=$object.first_seen .seen?=$object.last_seen"
    ),
    "course-of-action": _known_object("risk:mitigation", "course-of-action", _DESCRIBED),
    "domain-name": _observed("inet:fqdn"),
    "email-addr": _observed("inet:email"),
    "file": _FILE_IN,
    "identity": _IDENTITY_IN,
    "indicator": _INDICATOR_IN,
    "intrusion-set": _named("ou:org", "ou:name", "intrusion-set"),
    "ipv4-addr": _observed("inet:ipv4"),
    "ipv6-addr": _observed("inet:ipv6"),
    "location": _LOCATION_IN,
    "malware": _named("it:prod:soft", "it:prod:softname", "malware"),
    "report": _known_object(
        "media:news", "report", {"title": "name", "summary": "description", "published": "published"}
    ),
    "threat-actor": _known_object("ps:contact", "threat-actor", {**_DESCRIBED, "names": "aliases"}),
    "tool": _named("it:prod:soft", "it:prod:softname", "tool"),
    "url": _observed("inet:url"),
}


def _edge(verb: str) -> str:
    return f"yield $n1node [ +({verb})> {{ yield $n2node }} ]"


def _org_of(node: str, org: str) -> str:
    return f"yield ${node} [ :org=${org}.value() ]"


_RELATIONSHIPS: Final = (
    ("campaign", "attributed-to", "intrusion-set", _org_of("n1node", "n2node")),
    ("intrusion-set", "attributed-to", "threat-actor", _org_of("n2node", "n1node")),
    ("threat-actor", "attributed-to", "identity", _edge("refs")),
    (None, "indicates", None, _edge("indicates")),
    (None, "uses", None, _edge("uses")),
)
"""Source, type, target, and what is done about it; the first that fits counts."""


def import_config() -> dict[str, Any]:
    """Return how objects of STIX become nodes; a new dictionary each time."""
    return {
        "addbundle": True,
        "bundle": {"storm": _BUNDLE_IN},
        "objects": {kind: {"storm": text} for kind, text in _IN.items()},
        "relationships": [
            {"type": [source, kind, target], "storm": text} for source, kind, target, text in _RELATIONSHIPS
        ],
    }
