"""What the attributes of MISP are in the data model."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from cellmesh.cli.exchange.mapping import address_form
from cellmesh.cli.exchange.records import Unusable
from cellmesh.common.hashing import guid

Found = tuple[str, Any, dict[str, Any]]

FORMS: Final = {
    "AS": "inet:asn",
    "cpe": "it:sec:cpe",
    "domain": "inet:fqdn",
    "email": "inet:email",
    "email-dst": "inet:email",
    "email-reply-to": "inet:email",
    "email-src": "inet:email",
    "target-email": "inet:email",
    "whois-registrant-email": "inet:email",
    "dns-soa-email": "inet:email",
    "filename": "file:base",
    "hostname": "inet:fqdn",
    "link": "inet:url",
    "mac-address": "inet:mac",
    "md5": "hash:md5",
    "mutex": "it:dev:mutex",
    "phone-number": "tel:phone",
    "whois-registrant-phone": "tel:phone",
    "regkey": "it:dev:regkey",
    "sha1": "hash:sha1",
    "sha256": "hash:sha256",
    "sha384": "hash:sha384",
    "sha512": "hash:sha512",
    "ssdeep": "hash:ssdeep",
    "target-org": "ou:name",
    "uri": "inet:url",
    "url": "inet:url",
    "user-agent": "it:dev:str",
    "vulnerability": "it:sec:cve",
    "x509-fingerprint-md5": "hash:md5",
    "x509-fingerprint-sha1": "hash:sha1",
    "x509-fingerprint-sha256": "hash:sha256",
    "named pipe": "it:dev:pipe",
    "pdb": "file:path",
    "github-username": "inet:user",
}
"""Types of attributes whose value is that of a node."""

ADDRESSES: Final = frozenset({"ip-src", "ip-dst"})
COINS: Final = {"btc": "btc", "xmr": "xmr", "dash": "dash"}
RULES: Final = {"yara": "it:app:yara:rule", "snort": "it:app:snort:rule", "sigma": "meta:rule"}
HASH_SIZES: Final = {
    32: "hash:md5",
    40: "hash:sha1",
    64: "hash:sha256",
    96: "hash:sha384",
    128: "hash:sha512",
}

_LABEL: Final = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?")
_HEX: Final = re.compile(r"[0-9a-fA-F]+")


def nodes_of(kind: str, value: str) -> list[Found]:
    """Return the nodes of an attribute, the main one first: form, value, properties.

    Raises:
        Unusable: the data model has nothing for it.
    """
    value = value.strip()
    if not value:
        raise Unusable("no value")
    if kind in ADDRESSES:
        return [_address(value)]
    if kind in FORMS:
        return [(FORMS[kind], value, {})]
    if kind in COINS:
        return [("crypto:currency:address", [COINS[kind], value], {})]
    if kind in RULES:
        return [(RULES[kind], guid((RULES[kind], value)), {"text": value})]
    maker = _PAIRS.get(kind)
    if maker is not None:
        left, bar, right = value.partition("|")
        if not bar:
            left, bar, right = value.rpartition(":")
        if not bar:
            raise Unusable(f"{kind} without its second part: {value}")
        return maker(left.strip(), right.strip())
    if kind.startswith("filename|"):
        name, _, rest = value.partition("|")
        return [*nodes_of(kind.partition("|")[2], rest), ("file:base", name.strip(), {})]
    raise Unusable(f"there is no form here for attributes of type {kind}")


def guess(text: str, kinds: frozenset[str]) -> Found:
    """Return the node of an entry of a list of which only the types it is compared with are known.

    Raises:
        Unusable: it looks like none of them.
    """
    text = text.strip()
    if _HEX.fullmatch(text) and len(text) in HASH_SIZES:
        return (HASH_SIZES[len(text)], text, {})
    if "://" in text:
        return ("inet:url", text, {})
    if "@" in text and any("email" in kind for kind in kinds):
        return ("inet:email", text, {})
    if (re.fullmatch(r"[0-9.]+(/\d+)?", text) and text.count(".") == 3) or (
        re.fullmatch(r"[0-9a-fA-F:.]+(/\d+)?", text) and text.count(":") >= 2
    ):
        return network(text)
    if any("phone" in kind for kind in kinds):
        return ("tel:phone", text, {})
    if "/" not in text and ("." in text.strip(".") or text.startswith(".")):
        return host(text)
    if _LABEL.fullmatch(text) and kinds & {"domain", "hostname"}:
        # Of lists of top-level domains.
        return host(text)
    raise Unusable("it looks like nothing that has a form")


def host(text: str) -> Found:
    """Return the node of a host's name, which lists also write with a dot before it."""
    return ("inet:fqdn", text.strip().strip("."), {})


def network(text: str) -> Found:
    """Return the node of an address, or of a network of more than one."""
    text = text.strip()
    address, slash, size = text.partition("/")
    is_six = ":" in address
    if not slash or size == ("128" if is_six else "32"):
        return _address(address)
    return ("inet:cidr6" if is_six else "inet:cidr4", text, {})


def _address(value: str) -> Found:
    if "/" in value:
        return network(value)
    return (address_form(value), value, {})


def _dns(domain: str, address: str) -> list[Found]:
    form = "inet:dns:aaaa" if ":" in address else "inet:dns:a"
    return [(form, [domain, address], {})]


def _server(address: str, port: str) -> list[Found]:
    shown = f"[{address}]" if ":" in address else address
    return [("inet:server", f"tcp://{shown}:{port}", {}), _address(address)]


def _host_port(name: str, port: str) -> list[Found]:
    return [host(name)]


def _key_value(key: str, value: str) -> list[Found]:
    return [("it:dev:regval", guid(("it:dev:regval", key, value)), {"key": key, "str": value})]


_PAIRS: Final[dict[str, Callable[[str, str], list[Found]]]] = {
    "domain|ip": _dns,
    "ip-dst|port": _server,
    "ip-src|port": _server,
    "hostname|port": _host_port,
    "regkey|value": _key_value,
}
