"""`gen.*`: lift what is known by a name, or make it; and note.add."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.cortex.storm.commands.acting import lib
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.values import toprim

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

Make = Callable[["RunContext", Arguments], Any]


def _generator(make: Make) -> Callable[[RunContext, Arguments, Iterator[Path]], Iterator[Path]]:
    """Make the generator of a command that gives a node, before each inbound one if there are any."""

    def run(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
        is_empty = True
        for path in rows:
            is_empty = False
            node = make(context, arguments)
            if node is not None:
                yield path.fork(node)
            yield path
        if is_empty and arguments.is_constant:
            node = make(context, arguments)
            if node is not None:
                yield Path(node, context.snapshot())

    return run


def _calling(path: str, names: list[str], *, tried: bool) -> Make:
    def make(context: RunContext, given: Arguments) -> Any:
        values = [toprim(getattr(given, one)) for one in names]
        return lib(context, path, *values, *([given.tried] if tried else []))

    return make


def _command(name: str, doc: str, function: str | Make, *arguments: str, tried: bool = False) -> CommandSpec:
    names = [argument.rstrip("?") for argument in arguments]
    make = function if not isinstance(function, str) else _calling(f"gen.{function}", names, tried=tried)
    specs = [
        ArgumentSpec(
            (one.rstrip("?"),),
            _DOCS[one.rstrip("?")],
            type="any",
            count="?" if one.endswith("?") else None,
        )
        for one in arguments
    ]
    if tried:
        specs.append(
            ArgumentSpec(
                ("--try",), "Give nothing, and no error, for bad values.", action="store_true", name="tried"
            )
        )
    return CommandSpec(name, f"Lift {doc}, or make it.", _generator(make), tuple(specs), changes_state=True)


_DOCS: Final = {
    "name": "Its name.",
    "reporter": "The name of the organization that reports it.",
    "iso2": "The code of the country, such as us.",
    "type": "The type of contact.",
    "email": "The address.",
    "cve": "The number, such as CVE-2021-44228.",
}


def _vuln(context: RunContext, given: Arguments) -> Any:
    return lib(context, "gen.vulnByCve", given.cve, given.tried, given.reporter)


def _government(context: RunContext, given: Arguments) -> Any:
    country = lib(context, "gen.polCountryByIso2", given.iso2, given.tried)
    if country is None:
        return None
    session = context.session
    government = country.get("government")
    if government is not None:
        found = session.node(context.model.require_form("ou:org"), government)
        if found is not None:
            return found
    org = lib(context, "gen.orgByName", f"{country.get('iso2')} government")
    session.set_prop(country, "government", org.value)
    return org


def _id_type(context: RunContext, given: Arguments) -> Any:
    return _id_type_by_name(context, given.name)


def _id_type_by_name(context: RunContext, name: str) -> Any:
    prop = context.model.require_prop("ou:id:type:name")
    stored = prop.type.norm(name)
    for node in context.session.lift_value(prop, "=", stored):
        return node
    form = context.model.require_form("ou:id:type")
    return context.session.add_node(form, hashing.guid(["gen", "name", stored]), {"name": stored})


def _id_number(context: RunContext, given: Arguments) -> Any:
    kind = _id_type_by_name(context, given.type)
    return context.session.add_node(context.model.require_form("ou:id:number"), (kind.value, given.value))


def _scan_result(context: RunContext, given: Arguments) -> Any:
    return lib(
        context,
        "gen.itAvScanResultByTarget",
        given.form,
        given.value,
        given.signame,
        given.scanner_name,
        given.time,
        given.tried,
    )


def _note_add(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    session = context.session
    form = context.model.require_form("meta:note")
    for path in rows:
        now_ms = session.graph.now_ms()
        props = {
            "text": arguments.text,
            "creator": context.run.library.get(context, "user").get(context, "iden"),
            "created": now_ms,
            "updated": now_ms,
        }
        if arguments.type is not None:
            props["type"] = arguments.type
        note = session.add_node(form, hashing.guid(), props)
        session.add_edge(note, "about", path.node)
        yield path.fork(note) if arguments.doyield else path


COMMANDS: Final = (
    _command("gen.geo.place", "a place", "geoPlaceByName", "name"),
    _command("gen.it.prod.soft", "a software", "softByName", "name"),
    _command("gen.lang.language", "a language", "langByName", "name"),
    _command("gen.ou.campaign", "a campaign as an organization calls it", "campaign", "name", "reporter"),
    _command("gen.ou.industry", "an industry", "industryByName", "name"),
    _command("gen.ou.org", "an organization", "orgByName", "name"),
    _command("gen.ou.org.hq", "the headquarters of an organization", "orgHqByName", "name"),
    _command("gen.pol.country", "a country", "polCountryByIso2", "iso2", tried=True),
    _command("gen.pol.country.government", "the government of a country", _government, "iso2", tried=True),
    _command("gen.ps.contact.email", "a contact", "psContactByEmail", "type", "email", tried=True),
    _command("gen.risk.threat", "a threat as an organization calls it", "riskThreat", "name", "reporter"),
    _command(
        "gen.risk.tool.software", "a tool as an organization calls it", "riskToolSoftware", "name", "reporter"
    ),
    _command("gen.risk.vuln", "a vulnerability", _vuln, "cve", "reporter?", tried=True),
    CommandSpec(
        "gen.it.av.scan.result",
        """Lift what a scan of something found, or make it.

        The name of the scanner and the time tell results apart only if they are given.

            gen.it.av.scan.result inet:fqdn vertex.link Win32.Foo --scanner-name scanbot
        """,
        _generator(_scan_result),
        (
            ArgumentSpec(("form",), "The form of what was scanned."),
            ArgumentSpec(("value",), "Its value.", type="any"),
            ArgumentSpec(("signame",), "The name of the signature."),
            ArgumentSpec(("--scanner-name",), "The name of the scanner."),
            ArgumentSpec(("--time",), "When it was scanned.", type="any"),
            ArgumentSpec(
                ("--try",), "Give nothing, and no error, for bad values.", action="store_true", name="tried"
            ),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "gen.ou.id.number",
        """Lift a number that an organization is known by, or make it.

            gen.ou.id.number "US FED EIN" 12-3456789
        """,
        _generator(_id_number),
        (
            ArgumentSpec(("type",), "The name of the type of number."),
            ArgumentSpec(("value",), "The number."),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "gen.ou.id.type",
        "Lift a type of number that organizations are known by, or make it.",
        _generator(_id_type),
        (ArgumentSpec(("name",), "Its name."),),
        changes_state=True,
    ),
    CommandSpec(
        "note.add",
        """Write a note about each node.

            inet:fqdn=evil.com | note.add "seen in the wild"
        """,
        _note_add,
        (
            ArgumentSpec(("text",), "The text."),
            ArgumentSpec(("--type",), "The type of note."),
            ArgumentSpec(("--yield",), "Pass on the notes.", action="store_true", name="doyield"),
        ),
        changes_state=True,
    ),
)
