"""Addresses and names: inet:fqdn, inet:ipv4, inet:ipv6, their blocks and ranges, inet:addr."""

from __future__ import annotations

import ipaddress
import re
import socket
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, ClassVar

import idna
from cellmesh.common import hashing
from cellmesh.common.errors import BadLiftValu
from cellmesh.cortex.model.encoding import encode_text, encode_unsigned
from cellmesh.cortex.model.scans import IndexScan, Predicate
from cellmesh.cortex.model.types.base import BaseType, Normed, prefix_scan, text_of
from cellmesh.cortex.model.types.composites import RangeType
from cellmesh.cortex.model.types.strings import TextType

IPV4_MAX = 0xFFFFFFFF
LABEL_SIZE_MAX = 63

_FQDN = re.compile(r"[\w._-]+")
_OTHER_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))

# First and last address of each block, in order; what is in none is unicast.
# Sources: the IANA IPv4 special-purpose address registry, and what Synapse 2.256 makes of its entries.
_IPV4_TYPES: tuple[tuple[str, str], ...] = (
    ("192.0.0.9/32", "unicast"),
    ("192.0.0.10/32", "unicast"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "linklocal"),
    ("100.64.0.0/10", "shared"),
    ("224.0.0.0/4", "multicast"),
    ("0.0.0.0/8", "private"),
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "private"),
    ("192.0.2.0/24", "private"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "private"),
    ("198.51.100.0/24", "private"),
    ("203.0.113.0/24", "private"),
    ("240.0.0.0/4", "private"),
)
_IPV4_BLOCKS: tuple[tuple[int, int, str], ...] = tuple(
    (int(block[0]), int(block[-1]), kind)
    for block, kind in ((ipaddress.IPv4Network(text), kind) for text, kind in _IPV4_TYPES)
)

_IPV6_TYPES: tuple[tuple[str, str], ...] = (
    ("::1/128", "loopback"),
    ("fe80::/10", "linklocal"),
    ("ff00::/8", "multicast"),
    ("2001:1::1/128", "unicast"),
    ("2001:1::2/128", "unicast"),
    ("2001:3::/32", "unicast"),
    ("2001:4:112::/48", "unicast"),
    ("2001:20::/28", "unicast"),
    ("2001:30::/28", "unicast"),
    ("::/128", "private"),
    ("64:ff9b:1::/48", "private"),
    ("100::/64", "private"),
    ("2001::/23", "private"),
    ("2001:db8::/32", "private"),
    ("2002::/16", "private"),
    ("fc00::/7", "private"),
    ("::/8", "reserved"),
    ("100::/8", "reserved"),
    ("200::/7", "reserved"),
    ("400::/6", "reserved"),
    ("800::/5", "reserved"),
    ("1000::/4", "reserved"),
    ("4000::/3", "reserved"),
    ("6000::/3", "reserved"),
    ("8000::/3", "reserved"),
    ("a000::/3", "reserved"),
    ("c000::/3", "reserved"),
    ("e000::/4", "reserved"),
    ("f000::/5", "reserved"),
    ("f800::/6", "reserved"),
    ("fe00::/9", "reserved"),
)
_IPV6_BLOCKS: tuple[tuple[int, int, str], ...] = tuple(
    (int(block[0]), int(block[-1]), kind)
    for block, kind in ((ipaddress.IPv6Network(text), kind) for text, kind in _IPV6_TYPES)
)
_IPV6_MULTICAST_SCOPES = {
    0x0: "reserved",
    0x1: "interface-local",
    0x2: "link-local",
    0x3: "realm-local",
    0x4: "admin-local",
    0x5: "site-local",
    0x8: "organization-local",
    0xE: "global",
    0xF: "reserved",
}

ADDR_PROTOCOLS = ("tcp", "udp", "icmp", "host", "gre")
PORTLESS_PROTOCOLS = ("gre",)


def refang(text: str) -> str:
    """Undo the usual ways to write dots so that nobody clicks: `1[.]2` is `1.2`."""
    return text.replace("[.]", ".").replace("(.)", ".")


class FqdnType(TextType):
    """A domain name: lower case, in ASCII, no dot at the end. Indexed from its last letter to its first.

    Sub-values: `host` the first label and `domain` the rest; `zone`, `iszone` and `issuffix` as they are
    where nobody has marked more suffixes than the top-level domains. Comparisons take `*` at the front.
    """

    prefix_lift: ClassVar[bool] = False
    range_lift: ClassVar[bool] = False

    def normalize(self, value: object) -> Normed:
        if not isinstance(value, str):
            raise self.bad_kind(value)
        name = self.to_ascii(value)
        host, dot, domain = name.partition(".")
        if not dot:
            return Normed(name, (("host", host), ("issuffix", 1), ("iszone", 0)))
        zone = name if "." not in domain else ".".join(name.rsplit(".", 2)[1:])
        is_zone = int(zone == name)
        subs = (("host", host), ("domain", domain), ("issuffix", 0), ("iszone", is_zone), ("zone", zone))
        return Normed(name, subs)

    def to_ascii(self, value: str) -> str:
        """Return the name in lower-case ASCII."""
        name = refang(value).strip().lower()
        if not name.isascii():
            name = name.translate(_OTHER_DOTS)
        name = name.strip(".")
        if not _FQDN.fullmatch(name):
            try:
                name = self.encode_labels(name)
            except UnicodeError:
                pass
            if not _FQDN.fullmatch(name):
                raise self.bad("has a character that no domain name has", value)
        if not name.isascii():
            name = self.encode_labels(name)
        if len(name) > LABEL_SIZE_MAX and any(len(label) > LABEL_SIZE_MAX for label in name.split(".")):
            raise self.bad(f"a label has at most {LABEL_SIZE_MAX} characters", value)
        if ".." in name:
            raise self.bad("has an empty label", value)
        if name.count(".") == 3 and _is_ipv4(name):
            raise self.bad("an IPv4 address", value)
        return name

    def encode_labels(self, name: str) -> str:
        """Return a name in IDNA form, by the rules of 2008 where they allow it, otherwise those of 2003."""
        try:
            return idna.encode(name, uts46=True).decode("ascii").lower()
        except idna.IDNAError:
            pass
        try:
            return name.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise self.bad("cannot be encoded as an international domain name", name) from None

    def repr(self, value: Any) -> Any:
        if "xn--" not in value:
            return value
        try:
            return idna.decode(value)
        except idna.IDNAError:
            pass
        try:
            return value.encode("ascii").decode("idna")
        except UnicodeError:
            return value

    def encode(self, value: Any) -> bytes:
        return encode_text(value[::-1])

    def wildcard(self, value: object) -> str | None:
        """Return the end that `*end` asks for, or None if the operand has no star."""
        if not isinstance(value, str) or "*" not in value:
            return None
        end = value[1:]
        if not value.startswith("*"):
            raise BadLiftValu("a star may only stand at the beginning", name=self.name, valu=value)
        if "*" in end:
            raise self.bad("one star, at the beginning", value)
        return refang(end).lower()

    def compare_equal(self, value: object) -> Predicate:
        if value == "":
            return lambda stored: False
        if not isinstance(value, str) or not value.startswith("*"):
            return self.equal_to(value)
        end = refang(value[1:])  # as it is given, where a lift looks for it in lower case
        return lambda stored: text_of(stored).endswith(end)

    def compare_prefix(self, value: object) -> Predicate:
        return BaseType.compare_prefix(self, value)

    def compare_range(self, value: object) -> Predicate:
        # In the order of the text, from its first letter, unlike the index.
        low, high = self.range_of(value)
        return lambda stored: low <= text_of(stored) <= high

    def lift_equal(self, value: object) -> tuple[IndexScan, ...]:
        if value == "":
            raise BadLiftValu("a domain name is not empty", name=self.name, valu=value)
        end = self.wildcard(value)
        if end is None:
            return BaseType.lift_equal(self, value)
        return (prefix_scan(end[::-1].encode(), lambda stored: text_of(stored).endswith(end)),)


class IPv4Type(BaseType):
    """An IPv4 address, stored as an integer. Sub-value: `type`.

    Comparisons, and edits by the query engine, also take blocks `1.2.3.0/24` and ranges `1.2.3.4-1.2.3.9`.
    """

    ordered: ClassVar[bool] = True

    def normalize(self, value: object) -> Normed:
        number = self.to_number(value)
        return Normed(number, (("type", ipv4_kind(number)),))

    def norm(self, value: object) -> Any:
        return self.to_number(value)

    def to_number(self, value: object) -> int:
        """Read an address, which may be written as a number or in parts as C's `inet_aton` takes it."""
        if isinstance(value, bool):
            raise self.bad_kind(value)
        if isinstance(value, int):
            if not 0 <= value <= IPV4_MAX:
                raise self.bad(f"must be from 0 to {IPV4_MAX}", value)
            return value
        if not isinstance(value, str):
            raise self.bad_kind(value)
        text = refang(value)
        try:
            return int.from_bytes(socket.inet_aton(text), "big")
        except (OSError, ValueError):
            raise self.bad("not an IPv4 address", value) from None

    def repr(self, value: Any) -> Any:
        return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"

    def encode(self, value: Any) -> bytes:
        return encode_unsigned(value, 4)

    def block(self, value: object) -> tuple[int, int] | None:
        """Return the first and last address of a block or range, or None if the operand is neither."""
        if not isinstance(value, str):
            return None
        if "/" in value:
            return self.cidr(value)
        if "-" in value:
            low, _, high = value.partition("-")
            return self.to_number(low), self.to_number(high)
        return None

    def cidr(self, value: str) -> tuple[int, int]:
        """Return the first and last address of `address/bits`; the address may be any in the block."""
        address, _, bits = value.partition("/")
        if not bits.isdecimal() or int(bits) > 32:
            raise self.bad("a block ends with a number of bits from 0 to 32", value)
        span = (1 << 32 - int(bits)) - 1
        first = self.to_number(address) & ~span & IPV4_MAX
        return first, first | span

    def values_of_block(self, value: object) -> range | None:
        """Return every address of a block or range, or None if the operand is neither: for edits."""
        ends = self.block(value)
        return None if ends is None else range(ends[0], ends[1] + 1)

    def compare_equal(self, value: object) -> Predicate:
        ends = self.block(value)
        if ends is None:
            return self.equal_to(value)
        low, high = ends
        return lambda stored: low <= stored <= high  # type: ignore[operator]

    def lift_equal(self, value: object) -> tuple[IndexScan, ...]:
        ends = self.block(value)
        if ends is None:
            return super().lift_equal(value)
        return self.scan_between(*ends)


class IPv6Type(BaseType):
    """An IPv6 address as its shortest text. Sub-values: `type`, `scope`, and `ipv4` of a mapped address."""

    ordered: ClassVar[bool] = True

    def normalize(self, value: object) -> Normed:
        address = self.to_address(value)
        number = int(address)
        subs: list[tuple[str, object]] = [("type", ipv6_kind(number)), ("scope", ipv6_scope(number))]
        mapped = address.ipv4_mapped
        if mapped is not None:
            subs.append(("ipv4", int(mapped)))
        return Normed(_ipv6_text(address), tuple(subs))

    def to_address(self, value: object) -> ipaddress.IPv6Address:
        """Read an address given as text, as a number, or as an IPv4 address, which is then mapped."""
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise self.bad_kind(value)
        try:
            if isinstance(value, int):
                return ipaddress.IPv6Address(value)
            text = value.strip("\t\r\n")
            if ":" not in text:
                text = f"::ffff:{text}"
            return ipaddress.IPv6Address(text)
        except ValueError as error:
            raise self.bad(str(error), value) from None

    def repr(self, value: Any) -> Any:
        return value

    def encode(self, value: Any) -> bytes:
        address = ipaddress.IPv6Address(value)
        scope = address.scope_id
        return address.packed + (encode_text(scope)[:64] if scope else b"")

    def compare_order(self, name: str, value: object) -> Predicate:
        wanted = self.encode(self.norm(value))
        encode = self.encode
        match name:
            case "<":
                return lambda stored: encode(stored) < wanted
            case "<=":
                return lambda stored: encode(stored) <= wanted
            case ">":
                return lambda stored: encode(stored) > wanted
            case _:
                return lambda stored: encode(stored) >= wanted

    def block(self, value: object) -> tuple[str, str] | None:
        """Return the first and last address of a block or range, or None if the operand is neither."""
        if not isinstance(value, str):
            return None
        if "/" in value:
            try:
                network = ipaddress.IPv6Network(value, strict=False)
            except ValueError as error:
                raise self.bad(str(error), value) from None
            return _ipv6_text(network[0]), _ipv6_text(network[-1])
        if "-" in value:
            low, _, high = value.partition("-")
            return self.norm(low), self.norm(high)
        return None

    def compare_equal(self, value: object) -> Predicate:
        ends = self.block(value)
        if ends is None:
            return self.equal_to(value)
        return self.compare_range(ends)

    def lift_equal(self, value: object) -> tuple[IndexScan, ...]:
        ends = self.block(value)
        if ends is None:
            return super().lift_equal(value)
        return self.scan_between(*ends)


class Cidr4Type(TextType):
    """A block of IPv4 addresses, as text. Sub-values: `broadcast`, `mask`, `network`."""

    def normalize(self, value: object) -> Normed:
        if not isinstance(value, str):
            raise self.bad_kind(value)
        address, slash, bits = value.partition("/")
        bits = bits.strip()
        if not slash or not bits.isdecimal() or int(bits) > 32:
            raise self.bad("a block ends with / and a number of bits from 0 to 32", value)
        span = (1 << 32 - int(bits)) - 1
        ipv4 = self.model.type("inet:ipv4")
        number = ipv4.normalize(address).value
        assert isinstance(number, int)
        first = number & ~span & IPV4_MAX
        text = f"{ipv4.repr(first)}/{int(bits)}"
        return Normed(text, (("broadcast", first | span), ("mask", int(bits)), ("network", first)))


class Cidr6Type(TextType):
    """A block of IPv6 addresses, as text. Sub-values: `broadcast`, `mask`, `network`."""

    def normalize(self, value: object) -> Normed:
        if not isinstance(value, str):
            raise self.bad_kind(value)
        if "/" not in value:
            raise self.bad("a block ends with / and a number of bits", value)
        try:
            network = ipaddress.IPv6Network(refang(value))
        except ValueError as error:
            raise self.bad(str(error), value) from None
        subs = (
            ("broadcast", _ipv6_text(network[-1])),
            ("mask", network.prefixlen),
            ("network", _ipv6_text(network[0])),
        )
        return Normed(f"{_ipv6_text(network[0])}/{network.prefixlen}", subs)


class IPv4RangeType(RangeType):
    """A range of IPv4 addresses, also given as a block."""

    def ends_of(self, value: object) -> Sequence[object]:
        if isinstance(value, str) and "-" not in value:
            subs = dict(self.model.type("inet:cidr4").normalize(value).subs)
            return subs["network"], subs["broadcast"]
        return super().ends_of(value)


class IPv6RangeType(RangeType):
    """A range of IPv6 addresses, also given as a block."""

    def ends_of(self, value: object) -> Sequence[object]:
        if isinstance(value, str) and "-" not in value:
            subs = dict(self.model.type("inet:cidr6").normalize(value).subs)
            return subs["network"], subs["broadcast"]
        return super().ends_of(value)


class AddrType(TextType):
    """An address with protocol and perhaps a port: `tcp://1.2.3.4:80`, `udp://[::1]:53`, `host://NAME`.

    Sub-values: `proto`, `ipv4`, `ipv6`, `port`, `host`.
    """

    def normalize(self, value: object) -> Normed:
        text = self.to_text(value).lower()
        protocol, slashes, rest = text.partition("://")
        if not slashes:
            protocol, rest = "tcp", text
        if protocol not in ADDR_PROTOCOLS:
            raise self.bad(f"the protocol must be one of {', '.join(ADDR_PROTOCOLS)}", value)
        rest = rest.strip()
        if protocol == "host":
            return self.host_address(protocol, rest)
        if rest.startswith("["):
            return self.bracketed(protocol, rest, value)
        if rest.count(":") >= 2:
            return self.finish(protocol, "ipv6", rest, None, value)
        address, colon, port = rest.partition(":")
        return self.finish(protocol, "ipv4", address, port if colon else None, value)

    def host_address(self, protocol: str, rest: str) -> Normed:
        """Make the address of a host that is named, not numbered."""
        name, colon, port = rest.partition(":")
        host = hashing.guid(name)
        subs: list[tuple[str, object]] = [("proto", protocol)]
        text = f"host://{host}"
        if colon:
            number = self.port_of(port)
            subs.append(("port", number))
            text = f"{text}:{number}"
        subs.append(("host", host))
        return Normed(text, tuple(subs))

    def bracketed(self, protocol: str, rest: str, value: object) -> Normed:
        """Make the address of an IPv6 address in brackets."""
        address, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise self.bad("the bracket does not close before the port", value)
        return self.finish(protocol, "ipv6", address, tail[1:] if tail else None, value)

    def finish(self, protocol: str, kind: str, address: str, port: str | None, value: object) -> Normed:
        """Put an address together from its parts."""
        type_ = self.model.type(f"inet:{kind}")
        normed = type_.normalize(address)
        shown = type_.repr(normed.value)
        text = f"{protocol}://[{shown}]" if kind == "ipv6" else f"{protocol}://{shown}"
        subs: list[tuple[str, object]] = [("proto", protocol), (kind, normed.value)]
        if kind == "ipv6":
            subs.extend(item for item in normed.subs if item[0] == "ipv4")
        if port is not None:
            if protocol in PORTLESS_PROTOCOLS:
                raise self.bad(f"{protocol} has no ports", value)
            number = self.port_of(port)
            text = f"{text}:{number}"
            if number:
                subs.append(("port", number))
        return Normed(text, tuple(subs))

    def port_of(self, text: str) -> int:
        """Read a port."""
        number = self.model.type("inet:port").normalize(text).value
        assert isinstance(number, int)
        return number


def ipv4_kind(number: int) -> str:
    """Return what kind of address an IPv4 address is."""
    return _IPV4_KINDS[bisect_right(_IPV4_STARTS, number) - 1]


def _ipv4_kind(number: int) -> str:
    for low, high, kind in _IPV4_BLOCKS:
        if low <= number <= high:
            return kind
    return "unicast"


_IPV4_STARTS = sorted({0, *(low for low, _, _ in _IPV4_BLOCKS), *(high + 1 for _, high, _ in _IPV4_BLOCKS)})
_IPV4_KINDS = [_ipv4_kind(number) for number in _IPV4_STARTS]


def ipv6_kind(number: int) -> str:
    """Return what kind of address an IPv6 address is; a mapped one is as its IPv4 address."""
    if number >> 32 == 0xFFFF:
        return "reserved" if ipv4_kind(number & IPV4_MAX) in ("unicast", "shared", "multicast") else "private"
    for low, high, kind in _IPV6_BLOCKS:
        if low <= number <= high:
            return kind
    return "unicast"


def ipv6_scope(number: int) -> str:
    """Return how far packets to an IPv6 address go."""
    if number >> 120 == 0xFF:
        # Four bits of flags and four of scope; where a flag is set, no scope is told.
        return _IPV6_MULTICAST_SCOPES.get(number >> 112 & 0xFF, "unassigned")
    return "link-local" if ipv6_kind(number) in ("loopback", "linklocal") else "global"


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _ipv6_text(address: ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped
    if mapped is not None:
        return f"::ffff:{mapped}"
    return str(address)
