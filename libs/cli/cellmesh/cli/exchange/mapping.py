"""Columns and fields -> forms and properties, as `--map COLUMN=FORM[:PROP]` says, or as the columns are named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cellmesh.api.cortex.v1 import feed_pb2, model_pb2
from cellmesh.cli.exchange.records import Record, Unusable, excerpt_of, make_node, tag_segment
from cellmesh.common.errors import BadArg
from cellmesh.common.hashing import guid

KNOWN_COLUMNS: Final = {
    "ip": "inet:ip",
    "ipaddress": "inet:ip",
    "ipv4": "inet:ipv4",
    "ipv6": "inet:ipv6",
    "domain": "inet:fqdn",
    "domainname": "inet:fqdn",
    "fqdn": "inet:fqdn",
    "hostname": "inet:fqdn",
    "url": "inet:url",
    "email": "inet:email",
    "emailaddress": "inet:email",
    "md5": "hash:md5",
    "sha1": "hash:sha1",
    "sha256": "hash:sha256",
    "sha512": "hash:sha512",
    "asn": "inet:asn",
    "cve": "it:sec:cve",
    "cveid": "it:sec:cve",
    "cidr": "inet:cidr4",
    "mac": "inet:mac",
    "filename": "file:base",
}
"""What columns of common names hold, without `--map`."""

ADDRESS: Final = "inet:ip"
"""Stands for inet:ipv4 or inet:ipv6, as the value is."""

COLUMNS_SHOWN: Final = 10
COLUMN_NAME_SHOWN: Final = 40
"""Characters of a column's name in a message; the first line of a text that is no table may be long."""

_PUNCTUATION: Final = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a column goes: to a form's value, one of its properties, or a tag.

    Attributes:
        form: The form; empty for tags.
        prop: The property by relative name; empty for the form's value.
        tag: The tag below which the column's texts become tags.
    """

    form: str
    prop: str = ""
    tag: str = ""

    def __str__(self) -> str:
        if self.tag:
            return f"#{self.tag}.*"
        return self.form if not self.prop else f"{self.form}{'' if self.prop[0] == '.' else ':'}{self.prop}"


class Forms:
    """The forms of a model, as far as mappings need to know them."""

    def __init__(self, model: model_pb2.GetModelResponse) -> None:
        self._props = {form.name: {prop.name for prop in form.props} for form in model.forms}
        universal = {prop.name for prop in model.universal_props}
        types = {kind.name: kind for kind in model.types}
        self._fields: dict[str, list[str]] = {}
        self._is_guid: set[str] = set()
        for form in model.forms:
            self._props[form.name] |= universal
            kind = types.get(form.type)
            if form.type == "guid" or (kind is not None and kind.base == "guid"):
                self._is_guid.add(form.name)
            elif kind is not None and kind.base == "comp":
                self._fields[form.name] = _field_names(kind)

    def __contains__(self, name: object) -> bool:
        return name in self._props

    def target(self, text: str) -> Target:
        """Read the right side of a mapping; raises BadArg."""
        if text.startswith("#"):
            if len(text) < 2:
                raise BadArg("a mapping to tags says below which one: COLUMN=#TAG", name=text)
            return Target("", tag=text[1:])
        if text in self._props or text == ADDRESS:
            return Target(text)
        form, dot, universal = text.partition(".")
        if dot and form in self._props and f".{universal}" in self._props[form]:
            return Target(form, f".{universal}")
        parts = text.split(":")
        for end in range(len(parts) - 1, 0, -1):
            form, prop = ":".join(parts[:end]), ":".join(parts[end:])
            if form in self._props:
                if prop in self._props[form]:
                    return Target(form, prop)
                raise BadArg(f"{form} has no property {prop}", name=text)
        raise BadArg(f"the model has no form or property {text}", name=text)

    def value_of(self, form: str, props: dict[str, Any]) -> Any:
        """Return the value of a node of which only properties are given: from its parts, or a guid made of them.

        Raises:
            Unusable: the form's value does not follow from its properties.
        """
        if form in self._fields:
            names = self._fields[form]
            missing = [name for name in names if props.get(name) in (None, "")]
            if missing:
                raise Unusable(f"{form} is made of {', '.join(names)}, and {', '.join(missing)} is not given")
            return [props.pop(name) for name in names]
        if form in self._is_guid:
            return guid((form, *sorted((name, str(value)) for name, value in props.items())))
        raise Unusable(f"no value for {form}")

    def can_follow(self, form: str) -> bool:
        """Whether a form's value follows from properties."""
        return form in self._fields or form in self._is_guid


def _field_names(kind: model_pb2.TypeInfo) -> list[str]:
    from cellmesh.common.values import from_value

    for entry in kind.options.entries:
        if entry.key == "fields":
            found = from_value(entry.value)
            return [str(part[0]) for part in found] if isinstance(found, list) else []
    return []


@dataclass(slots=True)
class Columns:
    """What becomes of each column.

    Attributes:
        targets: Columns (or paths of fields, `a.b`) and where they go.
        ignored: Columns that go nowhere.
    """

    forms: Forms
    targets: list[tuple[str, Target]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def record(self, place: str, row: Any, get: Callable[[str], Any]) -> Record:
        """Make the nodes of one row: one for each form that is mapped, and has a value."""
        record = Record(place)
        values: dict[str, list[Any]] = {}
        props: dict[str, dict[str, Any]] = {}
        tags: list[str] = []
        try:
            for name, target in self.targets:
                given = get(name)
                if isinstance(given, str):
                    given = given.strip()
                if given in (None, "", [], {}):
                    continue
                if target.tag:
                    texts = given if isinstance(given, list) else [given]
                    tags += [f"{target.tag}.{tag_segment(str(text))}" for text in texts]
                elif target.prop:
                    props.setdefault(target.form, {})[target.prop] = _plain(given)
                else:
                    many = given if isinstance(given, list) else [given]
                    values.setdefault(target.form, []).extend(many)
            for form in dict.fromkeys((*values, *props)):
                own = props.get(form, {})
                for value in values.get(form) or [self.forms.value_of(form, own)]:
                    made = address_form(value) if form == ADDRESS else form
                    record.nodes.append(make_node(made, _plain(value), own, tags))
        except Unusable as problem:
            record.problems.append(str(problem))
        if not record.nodes and not record.problems:
            record.problems.append("none of the mapped columns has a value")
        if record.problems:
            record.what = excerpt_of(row)
        return record


def _plain(value: Any) -> Any:
    """A value as a node takes it; objects as JSON text."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def address_form(value: Any) -> str:
    """inet:ipv4 or inet:ipv6, as the value looks."""
    return "inet:ipv6" if ":" in str(value) else "inet:ipv4"


def read_maps(texts: Iterable[str], forms: Forms) -> list[tuple[str, Target]]:
    """Read `--map` options; raises BadArg."""
    found = []
    for text in texts:
        column, equals, right = text.partition("=")
        if not equals or not column or not right:
            raise BadArg(f"--map is COLUMN=FORM, COLUMN=FORM:PROP or COLUMN=#TAG, not {text!r}", name=text)
        found.append((column.strip(), forms.target(right.strip())))
    return found


def mapping_for(columns: Sequence[str], maps: Sequence[tuple[str, Target]], forms: Forms) -> Columns:
    """Say what becomes of columns: what `--map` says, else what their names say.

    Raises:
        BadArg: a column of `--map` is not there, or nothing is mapped at all.
    """
    made = Columns(forms)
    unknown = [name for name, _ in maps if name not in columns]
    if unknown:
        raise BadArg(f"there is no column {unknown[0]!r}; there are {names_text(columns)}", name=unknown[0])
    if maps:
        made.targets = list(maps)
    else:
        for column in columns:
            target = _target_by_name(column, forms)
            if target is not None:
                made.targets.append((column, target))
    mapped = {name for name, _ in made.targets}
    made.ignored = [column for column in columns if column not in mapped]
    _check(made)
    return made


def names_text(columns: Sequence[str]) -> str:
    """The names of columns in a message: the first of them, and of long ones their beginning."""
    shown = [
        name if len(name) <= COLUMN_NAME_SHOWN else f"{name[: COLUMN_NAME_SHOWN - 1]}…"
        for name in columns[:COLUMNS_SHOWN]
    ]
    more = len(columns) - len(shown)
    return ", ".join((*shown, f"{more:,} more") if more else shown) or "none"


def _target_by_name(column: str, forms: Forms) -> Target | None:
    text = column.strip()
    if ":" in text:
        try:
            return forms.target(text)
        except BadArg:
            return None
    known = KNOWN_COLUMNS.get(_PUNCTUATION.sub("", text.lower()))
    return Target(known) if known and (known in forms or known == ADDRESS) else None


def _check(made: Columns) -> None:
    if not any(target.form for _, target in made.targets):
        raise BadArg(
            f"no column is known by its name (there are: {names_text(made.ignored)})",
            hint="say what they are with --map COLUMN=FORM, such as --map address=inet:ipv4",
        )
    valued = {target.form for _, target in made.targets if not target.prop}
    for _, target in made.targets:
        if target.prop and target.form not in valued and not made.forms.can_follow(target.form):
            raise BadArg(f"{target} is mapped, but no column to {target.form} itself", name=target.form)


def field_of(row: Mapping[str, Any], path: str) -> Any:
    """Return a field of an object by its path, `a.b`; None if it is not there."""
    if path in row:
        return row[path]
    found: Any = row
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found


def node_of_object(row: Mapping[str, Any]) -> feed_pb2.FeedNode:
    """Make the node of an object of our own export form; see docs/import-export.md.

    Raises:
        Unusable: it is none.
    """
    from cellmesh.cli.exchange.records import add_edge, set_value

    form = row.get("form")
    if not isinstance(form, str) or "value" not in row:
        raise Unusable("no form and value")
    props = _mapping(row, "props")
    made = make_node(form, row["value"], {name: item for name, item in props.items() if name != ".created"})
    for name, interval in _mapping(row, "tags").items():
        set_value(made.tags[name], interval, f"#{name}")
    for tag, given in _mapping(row, "tag_props").items():
        if not isinstance(given, dict):
            raise Unusable(f"tag_props of {tag} is no object")
        for name, item in given.items():
            set_value(made.tag_props[tag].props[name], item, f"#{tag}:{name}")
    for name, item in _mapping(row, "node_data").items():
        set_value(made.node_data[name], item, name)
    for edge in row.get("edges") or ():
        if not isinstance(edge, dict) or not isinstance(edge.get("verb"), str) or "form" not in edge:
            raise Unusable("an edge is an object with verb, form and value")
        add_edge(made, edge["verb"], str(edge["form"]), edge.get("value"))
    return made


def _mapping(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = row.get(name) or {}
    if not isinstance(found, dict):
        raise Unusable(f"{name} is no object")
    return found
