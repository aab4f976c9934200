"""Write the model browser, `docs/reference/model/`, from the catalog: a page a domain, and one that lists them.

python tools/make_model_docs.py           write the pages
python tools/make_model_docs.py --check   say whether they are fresh, by exit status
"""

from __future__ import annotations

import html
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "reference" / "model"

sys.path.insert(0, str(ROOT))

from cellmesh.cortex.model import Form, Model
from cellmesh.cortex.model.definitions import EdgeDef, PropDef
from cellmesh.cortex.model.loader import CATALOG_DIR

from tools.made_pages import write_or_check

HEAD = "<!-- Written by tools/make_model_docs.py from the model's catalog. Do not edit. -->"
BASE = "base"
"""The page of names without a colon, and of what every node has."""
TAXONOMY = "meta:taxonomy"
"""The interface whose forms all look alike, so that its properties are listed once."""
USERS_SHOWN = 20
"""How many of the properties that refer to a form are listed."""
PLAIN: tuple[Any, ...] = (None, [])
"""Values of options that say nothing."""
TEXT_SWITCHES = frozenset(("lower", "strip", "onespace", "globsuffix"))
"""Options of text that are off unless said otherwise."""


def make() -> dict[str, str]:
    """The text of each page by its file name."""
    model = Model.load()
    domains: dict[str, list[str]] = defaultdict(list)
    for name in sorted({*model.defs.types, *model.defs.interfaces}):
        domains[domain_of(name)].append(name)
    users = uses_of_types(model)
    pages = {
        f"{domain}.md": "\n".join(page(model, domain, names, users)).rstrip() + "\n"
        for domain, names in domains.items()
    }
    pages["README.md"] = "\n".join(index(model, domains)).rstrip() + "\n"
    return pages


def domain_of(name: str) -> str:
    """The page that a name stands on."""
    return name.partition(":")[0] if ":" in name else BASE


def link(name: str, *, page_of: str) -> str:
    """A link from a page to the entry of a type, form or interface."""
    page = "" if domain_of(name) == page_of else f"{domain_of(name)}.md"
    return f"[{name}]({page}#{anchor(name)})"


def anchor(name: str) -> str:
    """What headings are called in links: as common renderers of Markdown make it, without colons."""
    return name.replace(":", "").replace(".", "").lower()


def uses_of_types(model: Model) -> Mapping[str, list[str]]:
    """Full names of the properties that have a form's type, by form; those of an interface stand once."""
    found: dict[str, list[str]] = defaultdict(list)
    forms = {name: form.props for name, form in model.defs.forms.items()}
    interfaces = {name: interface.props for name, interface in model.defs.interfaces.items()}
    for owner, props in (*forms.items(), *interfaces.items()):
        for name, prop in props.items():
            inner = prop.type.options.get("type") if prop.type.name == "array" else None
            target = inner if isinstance(inner, str) else prop.type.name
            if model.is_form(target):
                found[target].append(f"{owner}:{name}")
    return {name: sorted(users) for name, users in found.items()}


def index(model: Model, domains: Mapping[str, list[str]]) -> list[str]:
    """The page that lists the others."""
    props = sum(len(form.props) for form in model.forms())
    lines = [
        HEAD,
        "",
        "# The model, entry by entry",
        "",
        f"{len(model.defs.forms)} forms, {len(model.defs.types)} types, {len(model.defs.interfaces)} interfaces, "
        f"{len(model.defs.edges)} edges, {props:,} properties. `cellmesh model NAME` shows the same of a running "
        "Cortex, with what users added. How model files are written is told in [The model](../../model.md).",
        "",
        "| page | about | forms | other types |",
        "| --- | --- | --- | --- |",
    ]
    for domain, names in sorted(domains.items()):
        forms = [name for name in names if model.is_form(name)]
        types = [name for name in names if name in model.defs.types and not model.is_form(name)]
        about = json.loads((CATALOG_DIR / f"{domain}.json").read_bytes())["doc"]
        lines.append(f"| [{domain}]({domain}.md) | {about} | {len(forms)} | {len(types)} |")
    return lines


def page(model: Model, domain: str, names: list[str], users: Mapping[str, list[str]]) -> list[str]:
    """The page of one domain: its forms, then interfaces, then types that are no forms."""
    forms = [name for name in names if model.is_form(name)]
    interfaces = [name for name in names if name in model.defs.interfaces]
    types = [name for name in names if name in model.defs.types and not model.is_form(name)]
    lines = [HEAD, "", f"# Model: {domain}", ""]
    if forms:
        lines += ["| form | what it is |", "| --- | --- |"]
        for form in map(model.require_form, forms):
            mark = " (deprecated)" if form.deprecated else ""
            lines.append(f"| {link(form.name, page_of=domain)} | {form.doc}{mark} |")
        lines.append("")
    if domain == BASE:
        lines += ["## Of every node", ""]
        lines += props_table(model, list(model.defs.universal.values()), domain)
        lines += edges_table([edge for edge in edges_of(model) if not edge.source and not edge.target])
    for name in forms:
        lines += form_entry(model, model.require_form(name), domain, users.get(name, []))
    if interfaces:
        lines += ["## Interfaces", ""]
    for name in interfaces:
        lines += interface_entry(model, name, domain)
    if types:
        lines += ["## Types", ""]
    for name in types:
        definition = model.defs.types[name]
        facts = type_facts(model, name, domain)
        lines += [f"### {name}", "", definition.doc, "", *facts, *([""] if facts else [])]
    return lines


def form_entry(model: Model, form: Form, domain: str, users: list[str]) -> list[str]:
    """What is said of a form."""
    lines = [f"## {form.name}", "", form.doc, ""]
    if form.deprecated:
        lines += ["Deprecated.", ""]
    if form.is_runtime:
        lines += ["Its nodes are made on the fly and cannot be edited.", ""]
    lines += type_facts(model, form.name, domain)
    if form.interfaces:
        note = ", whose properties it has" if TAXONOMY in form.interfaces else ""
        lines.append(
            f"- interfaces: {', '.join(link(name, page_of=domain) for name in form.interfaces)}{note}"
        )
    if users:
        rest = f" and {len(users) - USERS_SHOWN} more" if len(users) > USERS_SHOWN else ""
        lines.append(f"- referred to by: {', '.join(f'`{name}`' for name in users[:USERS_SHOWN])}{rest}")
    if lines[-1]:
        lines.append("")
    hidden = model.interface(TAXONOMY).props if TAXONOMY in form.interfaces else {}
    props = [
        prop.definition
        for name, prop in sorted(form.props.items())
        if not prop.is_universal and name not in hidden
    ]
    lines += props_table(model, props, domain)
    return lines + edges_table([edge for edge in edges_of(model) if form.name in (edge.source, edge.target)])


def interface_entry(model: Model, name: str, domain: str) -> list[str]:
    """What is said of an interface."""
    found = model.interface(name)
    carriers = [form.name for form in model.forms_by_interface(name)]
    lines = [f"### {name}", "", found.doc, ""]
    if found.interfaces:
        lines.append(f"- builds on: {', '.join(link(other, page_of=domain) for other in found.interfaces)}")
    if carriers and name != TAXONOMY:
        lines.append(f"- forms: {', '.join(link(other, page_of=domain) for other in carriers)}")
    if lines[-1]:
        lines.append("")
    return lines + props_table(model, [prop for _, prop in sorted(found.props.items())], domain)


def type_facts(model: Model, name: str, domain: str) -> list[str]:
    """From what a type derives, and with which options."""
    definition = model.defs.types[name]
    lines = []
    if definition.base in model.defs.types:
        lines.append(f"- derives from: {link(definition.base, page_of=domain)}")
    options = options_text(definition.options)
    if options:
        lines.append(f"- options: {options}")
    if definition.deprecated and not model.is_form(name):
        lines.append("- deprecated")
    return lines


def props_table(model: Model, props: list[PropDef], domain: str) -> list[str]:
    """A table of properties."""
    if not props:
        return []
    lines = ["| property | type | what it says |", "| --- | --- | --- |"]
    for prop in props:
        marks = [
            mark for mark, is_so in (("read only", prop.read_only), ("deprecated", prop.deprecated)) if is_so
        ]
        text = " ".join(part for part in (prop.doc, f"({', '.join(marks)})" if marks else "") if part)
        lines.append(f"| `{prop.name}` | {type_text(model, prop, domain)} | {text} |")
    return [*lines, ""]


def type_text(model: Model, prop: PropDef, domain: str) -> str:
    """The type of a property, with its options."""
    name, options = prop.type.name, dict(prop.type.options)
    shown = link(name, page_of=domain) if model.has_type(name) else f"`{name}`"
    inner = options.get("type")
    if name == "array" and isinstance(inner, str):
        del options["type"]
        shown += f" of {link(inner, page_of=domain) if model.has_type(inner) else f'`{inner}`'}"
    return f"{shown} {options_text(options)}".rstrip().replace("|", "\\|")


def options_text(options: Mapping[str, Any]) -> str:
    """Options in one line, without those that say nothing."""
    return ", ".join(
        option_text(key, value)
        for key, value in options.items()
        if value not in PLAIN and not (key in TEXT_SWITCHES and value is False)
    )


def option_text(key: str, value: Any) -> str:
    """One option; the values of an enumeration are listed as people write them."""
    if key in {"enum", "enums"}:
        choices = value.split(",") if isinstance(value, str) else value
        shown = [choice if isinstance(choice, str) else f"{choice[0]} {choice[1]}" for choice in choices]
        return f"one of {', '.join(f'`{choice}`' for choice in shown)}"
    if key == "fields":
        fields = ((name, kind if isinstance(kind, str) else kind[0]) for name, kind in value)
        return f"fields {', '.join(f'`{name}` ({kind})' for name, kind in fields)}"
    if value is True or (key in TEXT_SWITCHES and value):
        return f"`{key}`"
    text = f"{key}={json.dumps(value, sort_keys=True, ensure_ascii=False)}"
    if "](" in text:  # a regular expression that programs would take for a link
        return f"<code>{html.escape(text, quote=False).replace('](', ']&#40;')}</code>"
    return f"`{text}`"


def edges_of(model: Model) -> list[EdgeDef]:
    """All edges, in order."""
    return sorted(
        model.defs.edges.values(), key=lambda edge: (edge.verb, edge.source or "", edge.target or "")
    )


def edge_text(edge: EdgeDef) -> str:
    """An edge as queries walk it."""
    return f"`{edge.source or '*'} -({edge.verb})> {edge.target or '*'}`"


def edges_table(edges: list[EdgeDef]) -> list[str]:
    """A table of edges."""
    if not edges:
        return []
    rows = [f"| {edge_text(edge)} | {edge.doc} |" for edge in edges]
    return ["| edge | what it says |", "| --- | --- |", *rows, ""]


def main() -> int:
    """Write or check the pages; 1 if the check finds one stale."""
    return write_or_check(OUT, make(), ["*.md"])


if __name__ == "__main__":
    raise SystemExit(main())
