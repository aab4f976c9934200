"""Names as people and programs write them: inet:url, inet:email, mail and HTTP headers, inet:dns:name."""

from __future__ import annotations

import ipaddress
import json
import re
from email.utils import getaddresses
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from cellmesh.common.errors import BadTypeValu
from cellmesh.cortex.model.types.base import Normed
from cellmesh.cortex.model.types.network import refang
from cellmesh.cortex.model.types.strings import TextType

FILE_PROTOCOL = "file"
_DRIVE = re.compile(r"/?[A-Za-z][:|](?:[/\\]|$)")
_IN_ADDR = ".in-addr.arpa"
_IP6_ARPA = ".ip6.arpa"
_IP6_DIGITS = 32


class UrlType(TextType):
    """A URL.

    Protocol and host are normalised, the rest is kept as written. Sub-values: `proto`, `path`, `params` (from
    the question mark on), `user`, `passwd`, `fqdn` or `ipv4` or `ipv6`, `port`, `base` (up to the parameters).
    """

    def normalize(self, value: object) -> Normed:
        text = refang(self.to_text(value))
        if text.startswith("\\\\"):
            text = "smb://" + text[2:].replace("\\", "/")
        protocol, mark, rest = text.partition("://")
        if not mark:
            protocol, mark, rest = text.partition(":")
            if protocol.lower() != FILE_PROTOCOL or not mark:
                raise self.bad("has no protocol", value)
            if _DRIVE.match(rest):
                rest = "/" + rest.lstrip("/")
            elif not rest.startswith("/"):
                raise self.bad("a local file needs a path", value)
        protocol = protocol.lower()
        if not protocol or not rest:
            raise self.bad("has no protocol or nothing after it", value)
        if protocol == FILE_PROTOCOL:
            return self.file_url(rest, value)
        return self.host_url(protocol, rest, value)

    def host_url(self, protocol: str, rest: str, value: object) -> Normed:
        """Make a URL with a host."""
        authority, path, params = _split_path(rest)
        subs: list[tuple[str, object]] = [("proto", protocol), ("path", path), ("params", params)]
        shown, parts = self.authority(authority, _service_ports().get(protocol), value)
        subs.extend(parts)
        base = f"{protocol}://{shown}{path}"
        subs.append(("base", base))
        return Normed(base + params, tuple(subs))

    def file_url(self, rest: str, value: object) -> Normed:
        """Make a URL of a file, on this machine or on a named one."""
        rest = rest.replace("\\", "/")
        where, path, params = _split_path(rest)
        parts: list[tuple[str, object]] = []
        if where in ("", "."):
            where = ""
            if path.startswith("//"):
                # The name of a share, written with two slashes more than it takes.
                path = "//" + path.lstrip("/")
                shown = path
                host, slash, inner = path[2:].partition("/")
                path = slash + inner
                parts = self.authority(host, None, value)[1]
            else:
                shown = path
        else:
            where, parts = self.authority(where, None, value)
            shown = path
        if _DRIVE.match(path):
            path = path.lstrip("/")
        base = f"file://{where}{shown}"
        subs = [("proto", FILE_PROTOCOL), ("path", path), ("params", params), *parts, ("base", base)]
        return Normed(base + params, tuple(subs))

    def authority(
        self, text: str, default_port: int | None, value: object
    ) -> tuple[str, list[tuple[str, object]]]:
        """Read what stands between `://` and the path; return it normalised, with its sub-values."""
        subs: list[tuple[str, object]] = []
        credentials, at, address = text.rpartition("@")
        if at:
            user, colon, password = credentials.partition(":")
            subs.append(("user", unquote(user)))
            if colon:
                subs.append(("passwd", unquote(password)))
        if not credentials:
            at = ""
        host, port = self.split_port(address)
        shown, hosts = self.host(host, value)
        subs.extend(hosts)
        if port is not None:
            number = self.model.type("inet:port").normalize(port).value
            subs.append(("port", number))
            shown = f"{shown}:{number}"
        elif default_port is not None:
            subs.append(("port", default_port))
        return f"{credentials}{at}{shown}", subs

    def split_port(self, address: str) -> tuple[str, str | None]:
        """Split a host and its port; an IPv6 address without brackets has none."""
        if address.startswith("["):
            host, bracket, tail = address[1:].partition("]")
            if not bracket or (tail and not tail.startswith(":")):
                return "", None
            return f"[{host}]", tail[1:] if tail else None
        if address.count(":") > 1:
            return address, None
        host, colon, port = address.partition(":")
        return host, port if colon else None

    def host(self, text: str, value: object) -> tuple[str, tuple[tuple[str, object], ...]]:
        """Return a host as shown, and its sub-values."""
        if text.startswith("[") or ":" in text:
            ipv6 = self.model.type("inet:ipv6")
            if text.startswith("["):
                text = text[1:-1]
            try:
                if "%" in text:
                    raise self.bad("names an interface of one machine", value)
                normed = ipv6.normalize(text)
            except BadTypeValu:
                raise self.bad("the host is no address", value) from None
            mapped = tuple(item for item in normed.subs if item[0] == "ipv4")
            return f"[{normed.value}]", (("ipv6", normed.value), *mapped)
        if text:
            for kind in ("ipv4", "fqdn"):
                type_ = self.model.type(f"inet:{kind}")
                try:
                    found = type_.normalize(text).value
                except BadTypeValu:
                    continue
                return (type_.repr(found) if kind == "ipv4" else str(found)), ((kind, found),)
        raise self.bad("has no host that is an address or a domain name", value)


class EmailType(TextType):
    """A mail address. Sub-values: `user`, `fqdn`; and `plus` and `base` of an address such as bob+tag@x.org."""

    def normalize(self, value: object) -> Normed:
        text = self.to_text(value).lower()
        user, at, domain = text.partition("@")
        if not at:
            raise self.bad("needs a user and a domain around an @", value)
        try:
            fqdn = self.model.type("inet:fqdn").normalize(domain).value
        except BadTypeValu as error:
            raise self.bad(error.message, value) from None
        subs: list[tuple[str, object]] = [("fqdn", fqdn), ("user", user)]
        name, plus, tag = user.partition("+")
        if plus:
            subs.append(("plus", tag))
            subs.append(("base", f"{name}@{fqdn}"))
        return Normed(f"{user}@{fqdn}", tuple(subs))


class MailAddressType(TextType):
    """The sender or receiver in a mail header: `name <address>`. Sub-values: `name`, `email`."""

    def normalize(self, value: object) -> Normed:
        text = " ".join(self.to_text(value).lower().replace('"', " ").replace("'", " ").split())
        addresses = getaddresses([text])
        if len(addresses) != 1:
            raise self.bad("must be one name and address", value)
        name, address = addresses[0]
        if "[" in address:
            raise self.bad("the address has brackets", value)
        if not name and not address:
            raise self.bad("has neither a name nor an address", value)
        if not address or "@" not in address:
            # A name alone, or an address that is none: kept as written.
            whole, bracket, _ = text.partition("<")
            name = whole.strip()
            return Normed(text, (("name", name),) if bracket and name else ())
        subs: list[tuple[str, object]] = []
        if name:
            subs.append(("name", name))
        try:
            address = str(self.model.type("inet:email").normalize(address).value)
            subs.append(("email", address))
        except BadTypeValu:
            pass  # the header is still what it is, only without a usable address
        return Normed(f"{name} <{address}>" if name else address, tuple(subs))


class HttpCookieType(TextType):
    """A cookie, `name=value`. Sub-values: `name`, `value`."""

    def normalize(self, value: object) -> Normed:
        text = self.to_text(value).strip()
        # Where several cookies stand in one text, the sub-values are those of the first.
        name, equals, content = text.partition(";")[0].partition("=")
        if not equals:
            return Normed(text, (("name", name.strip()),))
        return Normed(text, (("name", name.strip()), ("value", content.strip())))


class DnsNameType(TextType):
    """What is asked of the DNS: any text; sub-values `fqdn`, `ipv4`, `ipv6` of what it names."""

    def normalize(self, value: object) -> Normed:
        text = self.to_text(value).lower().strip()
        if text.endswith(_IN_ADDR):
            labels = text.removesuffix(_IN_ADDR).split(".")
            return Normed(text, self.subs_of("ipv4", ".".join(reversed(labels))))
        if text.endswith(_IP6_ARPA):
            return Normed(text, self.subs_of("ipv6", _reverse_ip6(text.removesuffix(_IP6_ARPA))))
        if ":" in text:
            return Normed(text, self.subs_of("ipv6", text) or self.subs_of("fqdn", text))
        if text.isdecimal():
            return Normed(text)
        # `1.2` is both: a domain name, and an address in the short form that C's `inet_aton` takes.
        return Normed(text, (*self.subs_of("ipv4", text), *self.subs_of("fqdn", text)))

    def subs_of(self, kind: str, text: str) -> tuple[tuple[str, object], ...]:
        """Return the sub-value of a kind that a text gives, or nothing if it is none."""
        try:
            return ((kind, self.model.type(f"inet:{kind}").normalize(text).value),)
        except BadTypeValu:
            return ()


@lru_cache(maxsize=1)
def _service_ports() -> dict[str, int]:
    """Read what port a URL means that names none.

    Source: IANA's registry of service names, as far as systems commonly list it.
    """
    ports: dict[str, int] = json.loads((Path(__file__).parent / "service_ports.json").read_bytes())
    return ports


def _split_path(rest: str) -> tuple[str, str, str]:
    """Split what follows `://` into authority, path and parameters; an empty query is dropped."""
    before, question, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    params = f"?{query}" if question and query else ""
    return authority, slash + path, params


def _reverse_ip6(text: str) -> str:
    """Return the address that the labels of an ip6.arpa name spell from the end."""
    digits = text.split(".")[::-1]
    if len(digits) != _IP6_DIGITS:
        return ""
    joined = "".join(digits)
    try:
        return str(ipaddress.IPv6Address(int(joined, 16)))
    except ValueError:
        return ""
