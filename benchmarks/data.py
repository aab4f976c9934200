"""The data of the workloads: the same for both sides, the same every time.

Standard library only: the peer's interpreter imports it too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

SEED = 1
ADDRESS_COUNT = 100_000
RESOLUTION_COUNT = 50_000
ASN_COUNT = 500
TAG_COUNT = 20
ZONE_COUNT = 500
COUNTRIES = [
    "us",
    "ca",
    "mx",
    "br",
    "ar",
    "cl",
    "co",
    "pe",
    "gb",
    "ie",
    "fr",
    "de",
    "es",
    "pt",
    "it",
    "ch",
    "at",
    "be",
    "nl",
    "lu",
    "dk",
    "se",
    "no",
    "fi",
    "pl",
    "cz",
    "sk",
    "hu",
    "ro",
    "bg",
    "gr",
    "tr",
    "ua",
    "ru",
    "cn",
    "jp",
    "kr",
    "in",
    "pk",
    "bd",
    "th",
    "vn",
    "my",
    "sg",
    "id",
    "ph",
    "au",
    "nz",
    "za",
    "eg",
]

T = TypeVar("T")


class Address(NamedTuple):
    """One `inet:ipv4` with what is set on it."""

    value: int
    asn: int
    country: str
    tag: str


class Resolution(NamedTuple):
    """One `inet:dns:a`."""

    host: str
    address: int


class FeedRow(NamedTuple):
    """One node to feed: form, value, properties, tags without interval."""

    form: str
    value: Any
    props: dict[str, Any]
    tags: tuple[str, ...]


def addresses(count: int = ADDRESS_COUNT) -> list[Address]:
    """Distinct addresses over 500 ASNs, 50 countries and 20 tags."""
    rand = random.Random(SEED)
    values = rand.sample(range(0x01000000, 0xDF000000), count)
    return [
        Address(
            value,
            1000 + rand.randrange(ASN_COUNT),
            rand.choice(COUNTRIES),
            f"bench.tag{rand.randrange(TAG_COUNT)}",
        )
        for value in values
    ]


def resolutions(rows: Sequence[Address], count: int = RESOLUTION_COUNT) -> list[Resolution]:
    """Distinct host names in 500 zones, each on one of the addresses."""
    rand = random.Random(SEED + 1)
    return [
        Resolution(f"h{i:05d}.z{rand.randrange(ZONE_COUNT)}.com", rand.choice(rows).value)
        for i in range(count)
    ]


def address_nodes(rows: Sequence[Address]) -> list[FeedRow]:
    """The addresses as nodes."""
    return [FeedRow("inet:ipv4", row.value, {"asn": row.asn, "loc": row.country}, (row.tag,)) for row in rows]


def resolution_nodes(rows: Sequence[Resolution]) -> list[FeedRow]:
    """The resolutions as nodes; each also makes its `inet:fqdn`."""
    return [FeedRow("inet:dns:a", (row.host, row.address), {}, ()) for row in rows]


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Slices of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
