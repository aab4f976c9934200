"""How nodes are told in STIX 2.1 and back, unless a query says otherwise: the configurations that `$lib.stix` starts with.

Both are plain data, as queries may change them. A property of an object is a query that runs on the node and returns the
value, with the bundle as `$bundle`; a relationship is a query that leads to the nodes at its other end. What comes in is
made by a query that has the object as `$object` and returns the node.
"""

from __future__ import annotations

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


def _prop(name: str) -> str:
    return f"+{name} return({name})"


def _prop_or_repr(name: str) -> str:
    return f"$value={name} if ($value = (null)) {{ $value=$node.repr() }} return($value)"


_MADE: Final = "return($lib.stix.export.timestamp(.created))"
_VALUE: Final = "return($node.repr())"
_DATES: Final = {"created": _MADE, "modified": _MADE}


def _listed(steps: str, item: str) -> str:
    """Return a query that gathers values from the nodes that steps lead to; it returns nothing if there are none."""
    return f"init {{ $found=([]) }} {steps} $found.append({item}) fini {{ if $found {{ return($found) }} }}"


def _referred(steps: str) -> str:
    """Return a query that adds the nodes that steps lead to, and returns their ids."""
    return (
        f"init {{ $found=([]) }} {steps} $id=$bundle.add($node) if $id {{ $found.append($id) }}"
        " fini { if $found { return($found) } }"
    )


def _rule(kind: str) -> dict[str, Any]:
    return {
        "default": "indicator",
        "stix": {
            "indicator": {
                "props": {
                    "name": _prop(":name"),
                    "description": f'return("a {kind} rule")',
                    "pattern": _prop(":text"),
                    "pattern_type": f"return({kind})",
                    "valid_from": _MADE,
                    **_DATES,
                }
            }
        },
    }


def _one(kind: str, props: dict[str, str], rels: list[list[str]] | None = None) -> dict[str, Any]:
    known: dict[str, Any] = {"props": props}
    if rels is not None:
        known["rels"] = rels
    return {"default": kind, "stix": {kind: known}}


_IDENTITY: Final = {"name": _prop_or_repr(":name"), **_DATES}


def export_config() -> dict[str, Any]:
    """Return how nodes are told in STIX; a new dictionary each time."""
    names_of_mime = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
    hashes = " ".join(
        f'$hash=:{name} if ($hash != (null)) {{ $found."{title}"=$hash }}'
        for title, name in names_of_mime.items()
    )
    organization = _one("identity", {"identity_class": "return(organization)", **_IDENTITY})
    organization["stix"]["identity"]["props"]["sectors"] = _listed("-> ou:industry +:name", ":name")
    organization["stix"]["threat-actor"] = {
        "props": {
            **_IDENTITY,
            "first_seen": "+.seen ($from, $to)=.seen return($lib.stix.export.timestamp($from))",
            "last_seen": "+.seen ($from, $to)=.seen return($lib.stix.export.timestamp($to))",
            "goals": _listed("-> ou:campaign:org -> ou:goal | uniq | +:name", ":name"),
        },
        "rels": [
            ["attributed-to", "identity", ""],
            ["located-at", "location", ":hq -> geo:place"],
            ["targets", "identity", "-> ou:campaign -> risk:attack :target:org -> ou:org"],
            ["targets", "vulnerability", "-> ou:campaign -> risk:attack :used:vuln -> risk:vuln"],
        ],
    }
    forms: dict[str, Any] = {
        "ou:campaign": _one(
            "campaign",
            {
                "name": _prop_or_repr(":name"),
                "description": _prop(":desc"),
                "objective": "+:goal :goal -> ou:goal +:name return(:name)",
                **_DATES,
            },
            [
                ["attributed-to", "threat-actor", ":org -> ou:org"],
                ["originates-from", "location", ":org -> ou:org :hq -> geo:place"],
                ["targets", "identity", "-> risk:attack :target:org -> ou:org"],
                ["targets", "identity", "-> risk:attack :target:person -> ps:person"],
                ["targets", "vulnerability", "-> risk:attack :used:vuln -> risk:vuln"],
            ],
        ),
        "ou:org": organization,
        "ps:person": _one("identity", {**_IDENTITY, "identity_class": "return(individual)"}),
        "ps:contact": _one("identity", {**_IDENTITY, "identity_class": "return(individual)"}),
        "geo:place": _one(
            "location",
            {
                **_IDENTITY,
                "country": '+:loc $loc=:loc return($loc.split(".").0)',
                "latitude": "+:latlong ($lat, $long)=:latlong return($lat)",
                "longitude": "+:latlong ($lat, $long)=:latlong return($long)",
            },
        ),
        "inet:fqdn": _one(
            "domain-name",
            {
                "value": _VALUE,
                "resolves_to_refs": _referred(
                    "tee { -> inet:dns:a -> inet:ipv4 } { -> inet:dns:aaaa -> inet:ipv6 } |"
                ),
            },
        ),
        "inet:asn": _one("autonomous-system", {"name": _prop(":name"), "number": "return($node.value())"}),
        "inet:email": _one(
            "email-addr",
            {
                "value": _VALUE,
                "display_name": "-> ps:contact +:name return(:name)",
                "belongs_to_ref": "-> inet:web:acct return($bundle.add($node))",
            },
        ),
        "inet:web:acct": _one(
            "user-account",
            {
                "user_id": "return(:user)",
                "account_login": "return(:user)",
                "account_type": "$site=:site $kinds=({'twitter.com': 'twitter', 'facebook.com': 'facebook'})"
                " $kind=$kinds.$site if $kind { return($kind) }",
                "credential": _prop(":passwd"),
                "display_name": _prop(":realname"),
                "account_created": "+:signup return($lib.stix.export.timestamp(:signup))",
                "account_first_login": "+.seen ($from, $to)=.seen return($lib.stix.export.timestamp($from))",
                "account_last_login": "+.seen ($from, $to)=.seen return($lib.stix.export.timestamp($to))",
            },
        ),
        "file:bytes": _one(
            "file",
            {
                "name": _prop_or_repr(":name"),
                "size": _prop(":size"),
                "hashes": f"$found=({{}}) {hashes} if $found {{ return($found) }}",
                "mime_type": _prop(":mime"),
                "contains_refs": _referred("-(refs)> *"),
            },
        ),
        "inet:email:message": _one(
            "email-message",
            {
                "date": "+:date return($lib.stix.export.timestamp(:date))",
                "subject": _prop(":subject"),
                "message_id": "-> inet:email:header +:name=message_id return(:value)",
                "is_multipart": "return((false))",
                "from_ref": "+:from :from -> inet:email return($bundle.add($node))",
                "to_refs": _referred("+:to :to -> inet:email"),
            },
        ),
        "inet:url": _one("url", {"value": _VALUE}),
        "syn:tag": _one("malware", {"name": _VALUE, "is_family": "return((true))", **_DATES}, []),
        "it:prod:soft": _one("tool", {"name": _prop_or_repr(":name"), **_DATES}),
        "it:prod:softver": _one(
            "tool",
            {"name": "-> it:prod:soft +:name return(:name)", "tool_version": _prop(":vers"), **_DATES},
            [],
        ),
        "risk:vuln": _one(
            "vulnerability",
            {
                "name": _prop_or_repr(":name"),
                "description": _prop(":desc"),
                "external_references": "+:cve $cve=:cve return(([{'source_name': 'cve', 'external_id': $cve.upper()}]))",
                **_DATES,
            },
            [],
        ),
        "ou:technique": _one(
            "attack-pattern",
            {
                "name": _prop_or_repr(":name"),
                "description": _prop(":desc"),
                "external_references": "+:mitre:attack:technique return(([{'source_name': 'mitre-attack',"
                " 'external_id': :mitre:attack:technique}]))",
                **_DATES,
            },
        ),
        "risk:mitigation": _one(
            "course-of-action", {"name": _prop_or_repr(":name"), "description": _prop(":desc"), **_DATES}
        ),
        "media:news": _one(
            "report",
            {
                "name": _prop_or_repr(":title"),
                "description": _prop(":summary"),
                "published": "$at=:published if ($at = (null)) { $at=.created }"
                " return($lib.stix.export.timestamp($at))",
                "object_refs": _referred("-(refs)> *"),
                **_DATES,
            },
        ),
        "it:app:yara:rule": _rule("yara"),
        "it:app:snort:rule": _rule("snort"),
    }
    for form, kind in (("inet:ipv4", "ipv4-addr"), ("inet:ipv6", "ipv6-addr")):
        forms[form] = _one(kind, {"value": _VALUE}, [["belongs-to", "autonomous-system", "-> inet:asn"]])
    return {"maxsize": MAX_SIZE, "custom": {"objects": {}}, "forms": forms, "synapse_extension": True}


def _kept(made: str) -> str:
    """Return a query that makes a node and keeps the whole object as its data."""
    return f"{made} $node.data.set('stix:object', $object) return($node)"


def _known_by_name(kind: str, form: str, name_form: str) -> str:
    """Return a query that takes the node of a name, or makes one."""
    return (
        f"($ok, $name)=$lib.trycast({name_form}, $object.name) if (not $ok) {{ return() }}"
        f" $found={{ {name_form}=$name -> {form} return($node) }}"
        f" if ($found = (null)) {{ $found={{ [ {form}=(stix, {kind}, $object.id) :name=$name ] return($node) }} }}"
        " for $alias in $object.aliases { yield $found [ :names?+=$alias ] | spin }"
        " return($found)"
    )


def import_config() -> dict[str, Any]:
    """Return how objects of STIX become nodes; a new dictionary each time."""
    objects = {
        "intrusion-set": _known_by_name("intrusion-set", "ou:org", "ou:name"),
        "identity": """
            $guid=$lib.guid(stix, identity, $object.id)
            switch $object.identity_class {
                system: { [ it:host=$guid :name?=$object.name ] return($node) }
                individual: { [ ps:contact=$guid :name?=$object.name ] return($node) }
                *: { [ ps:contact=$guid :orgname?=$object.name ] return($node) }
            }
        """,
        "tool": _known_by_name("tool", "it:prod:soft", "it:prod:softname"),
        "malware": _known_by_name("malware", "it:prod:soft", "it:prod:softname"),
        "threat-actor": _kept(
            "[ ps:contact=(stix, threat-actor, $object.id) :name?=$object.name :desc?=$object.description"
            " :names?=$object.aliases ]"
        ),
        "course-of-action": _kept(
            "[ risk:mitigation=(stix, course-of-action, $object.id) :name?=$object.name :desc?=$object.description ]"
        ),
        "campaign": _kept(
            "[ ou:campaign=(stix, campaign, $object.id) :name?=$object.name :desc?=$object.description"
            " .seen?=$object.first_seen .seen?=$object.last_seen ]"
        ),
        "indicator": _kept(
            """
            $guid=$lib.guid(stix, indicator, $object.id)
            switch $object.pattern_type {
                yara: { [ it:app:yara:rule=$guid :name?=$object.name :text?=$object.pattern ] }
                snort: { [ it:app:snort:rule=$guid :name?=$object.name :text?=$object.pattern ] }
                *: {
                    [ it:sec:stix:indicator=$guid :name?=$object.name :pattern?=$object.pattern
                      :created?=$object.created :updated?=$object.modified ]
                    | scrape --refs :pattern
                }
            }
            """
        ),
        "report": _kept(
            "[ media:news=(stix, report, $object.id) :title?=$object.name :summary?=$object.description"
            " :published?=$object.published ]"
        ),
        "ipv4-addr": "[ inet:ipv4?=$object.value ] return($node)",
        "ipv6-addr": "[ inet:ipv6?=$object.value ] return($node)",
        "domain-name": "[ inet:fqdn?=$object.value ] return($node)",
        "url": "[ inet:url?=$object.value ] return($node)",
        "email-addr": "[ inet:email?=$object.value ] return($node)",
        "location": """
            [ geo:place=({"id": $object.id}) :name?=$object.name :desc?=$object.description
              :address?=$object.street_address ]
            if ($object.latitude != (null) and $object.longitude != (null)) {
                [ :latlong?=($object.latitude, $object.longitude) ]
            }
            if $object.country { [ :loc?=$object.country ] }
            return($node)
        """,
        "file": """
            $hashes=$object.hashes
            if (not $hashes) { return() }
            if $hashes."SHA-256" { $value=`sha256:{$hashes."SHA-256"}` }
            elif $hashes."SHA-512" { $value=`guid:{$lib.guid($hashes."SHA-512".lower())}` }
            elif $hashes."SHA-1" { $value=`guid:{$lib.guid($hashes."SHA-1".lower())}` }
            elif $hashes.MD5 { $value=`guid:{$lib.guid($hashes.MD5.lower())}` }
            else { return() }
            [ file:bytes?=$value :md5?=$hashes.MD5 :sha1?=$hashes."SHA-1" :sha512?=$hashes."SHA-512"
              :size?=$object.size :name?=$object.name :mime?=$object.mime_type ]
            return($node)
        """,
    }
    relationships = [
        (("campaign", "attributed-to", "intrusion-set"), "yield $n1node [ :org=$n2node.value() ]"),
        (("intrusion-set", "attributed-to", "threat-actor"), "yield $n2node [ :org=$n1node.value() ]"),
        ((None, "uses", None), "yield $n1node [ +(uses)> { yield $n2node } ]"),
        ((None, "indicates", None), "yield $n1node [ +(indicates)> { yield $n2node } ]"),
        (("threat-actor", "attributed-to", "identity"), "yield $n1node [ +(refs)> { yield $n2node } ]"),
    ]
    return {
        "addbundle": True,
        "bundle": {
            "storm": "it:sec:stix:bundle:id=$bundle.id return($node)"
            " [ it:sec:stix:bundle=(stix, bundle, $bundle.id) :id=$bundle.id ] return($node)"
        },
        "objects": {kind: {"storm": text} for kind, text in objects.items()},
        "relationships": [{"type": list(kind), "storm": text} for kind, text in relationships],
    }
