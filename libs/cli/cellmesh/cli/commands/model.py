"""`cellmesh model`: types, forms, properties, interfaces and edges of a Cortex, for people or as JSON."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from cellmesh.cli.connect import cell_options, open_by_options

if TYPE_CHECKING:
    from cellmesh.api.common.v1 import value_pb2
    from cellmesh.api.cortex.v1 import model_pb2

ANY_FORM: Final = "*"
DOC_SIZE: Final = 88
NEAR_COUNT: Final = 3


@click.command()
@click.argument("name", default="")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, with every option and every name."
)
@cell_options
def model(name: str, as_json: bool, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Print the data model of the Cortex: what a graph may hold.

    NAME is a form, type, interface or full property (inet:fqdn, inet:fqdn:zone), which is described whole, or what names begin
    with and a star (inet:*), which are listed. Without it all forms are listed. With --json the listed are described
    whole.
    """
    with open_by_options("cortex", url, folder, identity) as client:
        found = fetch(client)
    if name and not name.endswith("*") and not as_json:
        click.echo("\n".join(described(found, name)))
        return
    prefix = name.removesuffix("*")
    if as_json:
        click.echo(json.dumps(selected(found, name), indent=1))
        return
    rows = [(form, entry["doc"]) for form, entry in found["forms"].items() if form.startswith(prefix)]
    if not rows:
        raise click.ClickException(f"no form begins with {prefix}")
    width = max(len(form) for form, _ in rows)
    for form, doc in rows:
        click.echo(f"{form:{width}}  {_shortened(doc)}".rstrip())
    if not prefix:
        counts = ", ".join(
            f"{len(found[kind]):,} {kind}" for kind in ("forms", "types", "interfaces", "edges")
        )
        click.echo(f"\n{counts}, {sum(len(form['props']) for form in found['forms'].values()):,} properties")


def fetch(client: Any) -> dict[str, Any]:
    """Return the whole model of a Cortex: `types`, `interfaces`, `univs`, `tagprops`, `forms` by name, `edges` as a list."""
    from cellmesh.api.cortex.v1 import model_pb2
    from cellmesh.api.cortex.v1.model_service_pb2_grpc import ModelServiceStub

    found: dict[str, Any] = {
        "types": {},
        "interfaces": {},
        "univs": {},
        "tagprops": {},
        "edges": [],
        "forms": {},
    }
    for message in client.stub(ModelServiceStub).GetModel(model_pb2.GetModelRequest()):
        for type_ in message.types:
            found["types"][type_.name] = {
                "base": type_.base,
                "opts": _options(type_.options),
                "interfaces": list(type_.interfaces),
                **_marks(type_),
            }
        for interface in message.interfaces:
            found["interfaces"][interface.name] = {
                "props": _props(interface.props),
                "interfaces": list(interface.interfaces),
                "doc": interface.doc,
            }
        found["univs"].update(_props(message.universal_props))
        for tag_prop in message.tag_props:
            found["tagprops"][tag_prop.name] = {
                "type": [tag_prop.type, _options(tag_prop.options)],
                "doc": tag_prop.doc,
            }
        found["edges"].extend(
            {"n1": edge.source or None, "verb": edge.verb, "n2": edge.target or None, "doc": edge.doc}
            for edge in message.edges
        )
        for form in message.forms:
            found["forms"][form.name] = {
                "type": form.type,
                "props": _props(form.props),
                "interfaces": list(form.interfaces),
                **({"runt": True} if form.runtime else {}),
                **_marks(form),
            }
    return found


def selected(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the part of a model that a name, or what names begin with and a star, stands for.

    Raises:
        click.ClickException: nothing is named so.
    """
    if not name:
        return dict(found)
    prefix = name.removesuffix("*") if name.endswith("*") else None

    def is_named(entry: str | None) -> bool:
        return entry is not None and (entry.startswith(prefix) if prefix is not None else entry == name)

    chosen: dict[str, Any] = {
        kind: {entry: value for entry, value in entries.items() if is_named(entry)}
        for kind, entries in found.items()
        if kind != "edges"
    }
    chosen["edges"] = [
        edge
        for edge in found["edges"]
        if is_named(edge["n1"]) or is_named(edge["n2"]) or is_named(edge["verb"])
    ]
    if not any(chosen.values()):
        raise _nothing(found, name)
    return chosen


def described(found: Mapping[str, Any], name: str) -> list[str]:
    """Return lines that describe a form, type, interface or property.

    Raises:
        click.ClickException: nothing is named so.
    """
    if name in found["forms"]:
        return _form_lines(found, name)
    if name in found["interfaces"]:
        entry = found["interfaces"][name]
        carriers = [form for form, other in found["forms"].items() if name in other["interfaces"]]
        return [
            f"{name}  (interface)",
            *_doc_lines(entry["doc"]),
            *_listed("builds on", entry["interfaces"]),
            *_listed("forms", carriers),
            *_prop_lines(entry["props"]),
        ]
    if name in found["types"]:
        return _type_lines(found, name, "type")
    prop = _prop_named(found, name)
    if prop is not None:
        return [f"{name}  (property)", *_doc_lines(prop["doc"]), *_prop_lines({name: prop})]
    raise _nothing(found, name)


def _form_lines(found: Mapping[str, Any], name: str) -> list[str]:
    form = found["forms"][name]
    edges = [edge for edge in found["edges"] if name in (edge["n1"], edge["n2"])]
    lines = [
        *_type_lines(found, name, "form"),
        *(["  nodes are made on the fly and cannot be edited"] if form.get("runt") else []),
        *_prop_lines(form["props"]),
    ]
    if edges:
        lines += ["", "edges"]
        lines += [
            f"  {edge['n1'] or ANY_FORM} -({edge['verb']})> {edge['n2'] or ANY_FORM}  {_shortened(edge['doc'])}".rstrip()
            for edge in edges
        ]
    return lines


def _type_lines(found: Mapping[str, Any], name: str, kind: str) -> list[str]:
    entry = found["types"][name]
    own = found["forms"].get(name, entry)
    chain = []
    base = entry["base"]
    while base in found["types"]:
        chain.append(base)
        base = found["types"][base]["base"]
    return [
        f"{name}  ({kind}{', deprecated' if own.get('deprecated') else ''})",
        *_doc_lines(own["doc"] or entry["doc"]),
        *_listed("derives from", chain),
        *_listed("options", [f"{key}={json.dumps(value)}" for key, value in entry["opts"].items()]),
        *_listed("interfaces", own["interfaces"]),
    ]


def _prop_lines(props: Mapping[str, Any]) -> list[str]:
    if not props:
        return []
    names = max(len(name) for name in props)
    types = max(len(prop["type"][0]) for prop in props.values())
    lines = ["", "properties"]
    for name, prop in props.items():
        marks = [mark for mark, key in (("read only", "ro"), ("deprecated", "deprecated")) if prop.get(key)]
        inner = prop["type"][1].get("type") if prop["type"][0] == "array" else None
        text = " ".join(
            part
            for part in (
                f"of {inner}:" if inner else "",
                prop["doc"],
                f"({', '.join(marks)})" if marks else "",
            )
            if part
        )
        lines.append(f"  {name:{names}}  {prop['type'][0]:{types}}  {text}".rstrip())
    return lines


def _prop_named(found: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    props: Mapping[str, Mapping[str, Any]] = found["univs"]
    if name in props:
        return props[name]
    for form, entry in found["forms"].items():
        rest = name[len(form) :] if name.startswith(form) else ""
        props, relative = entry["props"], rest.removeprefix(":")
        if rest[:1] in (":", ".") and relative in props:
            return props[relative]
    return None


def _nothing(found: Mapping[str, Any], name: str) -> click.ClickException:
    known = [
        *found["forms"],
        *found["types"],
        *found["interfaces"],
        *(edge["verb"] for edge in found["edges"]),
    ]
    near = difflib.get_close_matches(name, sorted(set(known)), NEAR_COUNT)
    hint = f"; near: {', '.join(near)}" if near else ""
    return click.ClickException(f"the model has nothing named {name}{hint}")


def _listed(label: str, items: Sequence[str]) -> list[str]:
    return [f"  {label}: {', '.join(items)}"] if items else []


def _doc_lines(doc: str) -> list[str]:
    return [f"  {doc}"] if doc else []


def _shortened(doc: str) -> str:
    return doc if len(doc) <= DOC_SIZE else doc[: DOC_SIZE - 3] + "..."


def _options(options: value_pb2.MapValue) -> dict[str, Any]:
    from cellmesh.cli.output import plain
    from cellmesh.common.values import Value, from_value

    found: dict[str, Any] = plain(from_value(Value(map_value=options)))
    return found


def _marks(entry: model_pb2.TypeInfo | model_pb2.FormInfo) -> dict[str, Any]:
    return {
        **({"deprecated": True} if entry.deprecated else {}),
        **({"extended": True} if entry.extended else {}),
        "doc": entry.doc,
    }


def _props(props: Iterable[model_pb2.PropInfo]) -> dict[str, Any]:
    return {
        prop.name: {
            "type": [prop.type, _options(prop.options)],
            **({"ro": True} if prop.read_only else {}),
            **({"deprecated": True} if prop.deprecated else {}),
            **({"extended": True} if prop.extended else {}),
            "doc": prop.doc,
        }
        for prop in props
    }
