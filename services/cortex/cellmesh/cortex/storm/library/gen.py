"""`$lib.gen`: nodes by what is known of them, made if there are none; and the `gen.*` commands' functions.

A node that has the fact is taken, whatever its guid. A new one gets a guid worked out from the facts, so that it is the
same in every Cortex.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import BadArg, BadTypeValu, NoSuchType
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

SCAN_RESULT: Final = "it:av:scan:result"


def _norm(context: RunContext, prop: str, value: Any) -> Any:
    """Return a value as a property stores it; raises BadTypeValu."""
    return context.model.require_prop(prop).type.norm(plain_value(value))


def _found(context: RunContext, props: Mapping[str, Any], also: str | None = None) -> Node | None:
    """Return a node whose properties, given by full name, have these values; the first may be one of several names.

    Args:
        props: Stored values, by the full names of properties of one form.
        also: An array property that may hold the first value as well.
    """
    (first, value), *rest = props.items()
    session, model = context.session, context.model
    sources = [session.lift_value(model.require_prop(first), "=", value)]
    if also is not None:
        sources.append(session.lift_array(model.require_prop(also), "=", value))
    for source in sources:
        for node in source:
            context.tick()
            if all(node.get(name.rpartition(node.form.name + ":")[2]) == item for name, item in rest):
                return node
    return None


def _made(context: RunContext, form: str, key: list[Any], props: Mapping[str, Any]) -> Node:
    context.check_writable()
    return context.session.add_node(
        context.model.require_form(form), hashing.guid(["gen", *key]), dict(props)
    )


def _by_fact(
    context: RunContext, form: str, prop: str, value: Any, *, key: str | None = None, also: str | None = None
) -> Node:
    """Return the node of a form that has a property, or make it."""
    stored = _norm(context, f"{form}:{prop}", value)
    found = _found(context, {f"{form}:{prop}": stored}, None if also is None else f"{form}:{also}")
    if found is not None:
        return found
    return _made(context, form, [prop if key is None else key, stored], {prop: stored})


def tried(make: Callable[[], Node], is_tried: Any) -> Node | None:
    """Return a node; null if its values are bad and that is no error."""
    try:
        return make()
    except BadTypeValu:
        if tobool(is_tried):
            return None
        raise


def _org(context: RunContext, name: Any) -> Node:
    return _by_fact(context, "ou:org", "name", name, also="names")


def _org_by_fqdn(context: RunContext, fqdn: Any, is_tried: Any) -> Node | None:
    def make() -> Node:
        stored = _norm(context, "inet:fqdn", fqdn)
        prop = context.model.require_prop("ou:org:dns:mx")
        for node in context.session.lift_array(prop, "=", stored):
            return node
        return _made(context, "ou:org", ["fqdn", stored], {"dns:mx": (stored,)})

    return tried(make, is_tried)


def _org_hq(context: RunContext, name: Any) -> Node:
    org = _org(context, name)
    hq = org.get("hq")
    if hq is not None:
        contact = context.session.node(context.model.require_form("ps:contact"), hq)
        if contact is not None:
            return contact
    stored = _norm(context, "ou:org:name", name)
    made = _made(context, "ps:contact", ["hq", "name", stored], {"orgname": stored, "org": org.value})
    context.session.set_prop(org, "hq", made.value)
    return made


def _industry(context: RunContext, name: Any) -> Node:
    return _by_fact(context, "ou:industry", "name", name, also="names")


def _soft(context: RunContext, name: Any) -> Node:
    return _by_fact(context, "it:prod:soft", "name", name, also="names")


def _language(context: RunContext, name: Any) -> Node:
    return _by_fact(context, "lang:language", "name", name, also="names")


def _place(context: RunContext, name: Any) -> Node:
    return _by_fact(context, "geo:place", "name", name, also="names")


def _language_by_code(context: RunContext, code: Any, is_tried: Any) -> Node | None:
    return tried(lambda: _by_fact(context, "lang:language", "code", code), is_tried)


def _country(context: RunContext, iso2: Any, is_tried: Any) -> Node | None:
    return tried(lambda: _by_fact(context, "pol:country", "iso2", iso2), is_tried)


def _contact(context: RunContext, type: Any, email: Any, is_tried: Any) -> Node | None:
    def make() -> Node:
        kind = _norm(context, "ps:contact:type", type)
        address = _norm(context, "ps:contact:email", email)
        found = _found(context, {"ps:contact:email": address, "ps:contact:type": kind})
        if found is not None:
            return found
        return _made(
            context,
            "ps:contact",
            ["type", "email", kind, address],
            {"email": address, "type": kind},
        )

    return tried(make, is_tried)


def _news(context: RunContext, url: Any, is_tried: Any) -> Node | None:
    return tried(lambda: _by_fact(context, "media:news", "url", url), is_tried)


def _reported(
    context: RunContext, form: str, prop: str, name: Any, reporter: Any, key: Callable[[Any, Any], list[Any]]
) -> Node:
    """Return what a reporter calls by a name: others may mean something else by it."""
    stored = _norm(context, f"{form}:{prop}", name)
    reporter_name = _norm(context, f"{form}:reporter:name", reporter)
    found = _found(context, {f"{form}:{prop}": stored, f"{form}:reporter:name": reporter_name})
    if found is not None:
        return found
    org = _org(context, reporter)
    return _made(
        context,
        form,
        key(stored, reporter_name),
        {prop: stored, "reporter": org.value, "reporter:name": reporter_name},
    )


def _named_by(name: Any, reporter: Any) -> list[Any]:
    return ["name", "reporter", name, reporter]


def _campaign(context: RunContext, name: Any, reporter: Any) -> Node:
    return _reported(context, "ou:campaign", "name", name, reporter, _named_by)


def _threat(context: RunContext, name: Any, reporter: Any) -> Node:
    return _reported(context, "risk:threat", "org:name", name, reporter, _named_by)


def _tool(context: RunContext, name: Any, reporter: Any) -> Node:
    return _reported(
        context, "risk:tool:software", "soft:name", name, reporter, lambda name, reporter: [name, reporter]
    )


def _vuln(context: RunContext, cve: Any, is_tried: Any, reporter: Any) -> Node | None:
    def make() -> Node:
        if reporter is not None:
            return _reported(
                context, "risk:vuln", "cve", cve, reporter, lambda cve, reporter: ["cve", cve, reporter]
            )
        return _by_fact(context, "risk:vuln", "cve", cve)

    return tried(make, is_tried)


def _file(context: RunContext, sha256: Any, is_tried: Any) -> Node | None:
    def make() -> Node:
        stored = _norm(context, "file:bytes:sha256", sha256)
        found = _found(context, {"file:bytes:sha256": stored})
        if found is not None:
            return found
        context.check_writable()
        return context.session.add_node(context.model.require_form("file:bytes"), f"sha256:{stored}")

    return tried(make, is_tried)


def _certificate(context: RunContext, sha256: Any, is_tried: Any) -> Node | None:
    def make() -> Node:
        stored = _norm(context, "crypto:x509:cert:sha256", sha256)
        found = _found(context, {"crypto:x509:cert:sha256": stored})
        if found is not None:
            return found
        context.check_writable()
        file = _file(context, stored, False)
        assert file is not None
        return context.session.add_node(
            context.model.require_form("crypto:x509:cert"),
            hashing.guid(stored),
            {"file": file.value, "sha256": stored},
        )

    return tried(make, is_tried)


def _server_certificate(context: RunContext, server: Any, sha256: Any, is_tried: Any) -> Node | None:
    def make() -> Node:
        form = context.model.require_form("inet:tls:servercert")
        certificate = _certificate(context, sha256, False)
        assert certificate is not None
        context.check_writable()
        return context.session.add_node(form, (plain_value(server), certificate.value))

    return tried(make, is_tried)


def _scan_result(
    context: RunContext, form: Any, value: Any, signature: Any, scanner: Any, time: Any, is_tried: Any
) -> Node | None:
    """Return what a scan of something found; a scanner and a time tell results apart only if they are given."""
    target = tostr(form)
    if context.model.form(target) is None:
        raise NoSuchType(f"no form named {target}", name=target)
    scan = context.model.require_form(SCAN_RESULT)
    name = next(
        (
            name
            for name, prop in scan.props.items()
            if name.startswith("target:") and prop.type.name == target
        ),
        None,
    )
    if name is None:
        raise BadArg(f"a scan result has no target of the form {target}", name="form", valu=target)

    def make() -> Node:
        given = {name: value, "signame": signature, "scanner:name": scanner, "time": time}
        wanted = {
            key: _norm(context, f"{SCAN_RESULT}:{key}", item)
            for key, item in given.items()
            if item is not None
        }
        found = _found(context, {f"{SCAN_RESULT}:{key}": item for key, item in wanted.items()})
        return found if found is not None else _made(context, SCAN_RESULT, list(wanted.items()), wanted)

    return tried(make, is_tried)


def _param(name: str, doc: str) -> ParameterSpec:
    return ParameterSpec(name, type="str", doc=doc)


_TRY: Final = ParameterSpec("try", False, "bool", "Give null, and no error, for bad values.")
_NAME: Final = _param("name", "Its name.")
_REPORTER: Final = _param("reporter", "The name of the organization that reports it.")
_SHA256: Final = _param("sha256", "The SHA-256 of the file.")


def _spec(name: str, doc: str, function: Callable[..., Any], *parameters: ParameterSpec) -> FunctionSpec:
    return FunctionSpec(name, f"{doc}, made if there is none.", function, parameters, "node", may_change=True)


LIBRARIES: Final = (
    LibrarySpec(
        ("gen",),
        "Nodes by what is known of them, made if there are none.",
        (
            _spec("campaign", "A campaign as an organization calls it", _campaign, _NAME, _REPORTER),
            _spec("cryptoX509CertBySha256", "The certificate in a file", _certificate, _SHA256, _TRY),
            _spec("fileBytesBySha256", "A file", _file, _SHA256, _TRY),
            _spec("geoPlaceByName", "A place", _place, _NAME),
            _spec("industryByName", "An industry", _industry, _NAME),
            _spec(
                "inetTlsServerCertByServerAndSha256",
                "That a server showed a certificate",
                _server_certificate,
                _param("server", "The server, such as tcp://1.2.3.4:443."),
                _SHA256,
                _TRY,
            ),
            _spec(
                "itAvScanResultByTarget",
                "What a scan of something found",
                _scan_result,
                _param("form", "The form of what was scanned, such as inet:fqdn."),
                _param("value", "Its value."),
                _param("signame", "The name of the signature."),
                ParameterSpec("scanner", None, "str", "The name of the scanner."),
                ParameterSpec("time", None, "time", "When it was scanned."),
                _TRY,
            ),
            _spec(
                "langByCode",
                "A language by its code",
                _language_by_code,
                _param("name", "Such as en.us."),
                _TRY,
            ),
            _spec("langByName", "A language", _language, _NAME),
            _spec("newsByUrl", "A report by its URL", _news, _param("url", "Where it was published."), _TRY),
            _spec(
                "orgByFqdn",
                "An organization by its domain",
                _org_by_fqdn,
                _param("fqdn", "The domain."),
                _TRY,
            ),
            _spec("orgByName", "An organization", _org, _NAME),
            _spec("orgHqByName", "The headquarters of an organization", _org_hq, _NAME),
            _spec("polCountryByIso2", "A country", _country, _param("iso2", "Its code, such as us."), _TRY),
            _spec(
                "psContactByEmail",
                "A contact",
                _contact,
                _param("type", "The type of contact."),
                _param("email", "The address."),
                _TRY,
            ),
            _spec("riskThreat", "A threat as an organization calls it", _threat, _NAME, _REPORTER),
            _spec("riskToolSoftware", "A tool as an organization calls it", _tool, _NAME, _REPORTER),
            _spec("softByName", "A software", _soft, _NAME),
            _spec(
                "vulnByCve",
                "A vulnerability by its CVE number",
                _vuln,
                _param("cve", "Such as CVE-2021-44228."),
                _TRY,
                ParameterSpec("reporter", None, "str", "The name of the organization that reports it."),
            ),
        ),
    ),
)
