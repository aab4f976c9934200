"""Bundles of STIX 2.1 that are being made of nodes: `$lib.stix.export.bundle()`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import BadConfValu, CellError, NeedConfValu, NoSuchForm
from cellmesh.cortex.storm.formats.stix_mapping import OBSERVABLES
from cellmesh.cortex.storm.formats.stix_mapping import TYPES as STIX_TYPES
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.signals import StormReturn
from cellmesh.cortex.storm.runtime.values import toint, toprim, torepr, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

SPEC_VERSION: Final = "2.1"
EXTENSION: Final = "extension-definition--bdb6d88f-8c26-4d0b-b218-58925aaa5be0"
"""The extension by which objects say which node they are of."""

EXTENSION_OBJECT: Final = {
    "id": EXTENSION,
    "type": "extension-definition",
    "spec_version": SPEC_VERSION,
    "name": "Vertex Project Synapse",
    "description": "Synapse specific STIX 2.1 extensions.",
    "created": "2021-04-29T13:40:00.000Z",
    "modified": "2021-04-29T13:40:00.000Z",
    "schema": "The Synapse Extensions for Stix 2.1",
    "version": "1.0",
    "extension_types": ["property-extension"],
}

_RELATION_SIZE: Final = 3


def stix_id(kind: str, value: Any) -> str:
    """Return the id of an object: the same for the same value, whichever bundle it is in."""
    version = 5 if kind in OBSERVABLES else 4
    return f"{kind}--{uuid.UUID(hashing.guid(value), version=version)}"


def stix_time(at: datetime) -> str:
    """Return a time as STIX writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def check_export_config(context: RunContext, config: Any) -> dict[str, Any]:
    """Check how nodes are told in STIX.

    Raises:
        NeedConfValu: something is missing.
        BadConfValu: something cannot be so.
        NoSuchForm: the model has no such form.
    """
    if not isinstance(config, dict):
        raise BadConfValu("the configuration is a dictionary", name="config")
    for name in ("maxsize", "forms"):
        if config.get(name) is None:
            raise NeedConfValu(f"the configuration has no {name}", name=name)
    if isinstance(config["maxsize"], bool) or not isinstance(config["maxsize"], (int, str)):
        raise BadConfValu("maxsize is a number", name="maxsize")
    try:
        config["maxsize"] = toint(config["maxsize"])
    except CellError as error:
        raise BadConfValu("maxsize is a number", name="maxsize") from error
    if not isinstance(config["forms"], dict):
        raise BadConfValu("forms are a dictionary", name="forms")
    custom = (config.get("custom") or {}).get("objects") or {}
    known = STIX_TYPES | set(custom)
    for form, mapping in config["forms"].items():
        if context.model.form(tostr(form)) is None:
            raise NoSuchForm(f"the model has no form {form}", name=tostr(form))
        _check_form(tostr(form), mapping, known)
    return config


def _check_form(form: str, mapping: Any, known: set[str] | frozenset[str]) -> None:
    if not isinstance(mapping, dict) or not isinstance(mapping.get("stix"), dict):
        raise BadConfValu(f"{form} has no stix", name=form)
    if mapping.get("default") not in mapping["stix"]:
        raise BadConfValu(f"the default of {form} is none of its types", name=form)
    for kind, rules in mapping["stix"].items():
        if kind not in known:
            raise BadConfValu(f"STIX has no type {kind}; custom.objects may name it", name=tostr(kind))
        if not isinstance(rules, dict):
            raise BadConfValu(f"{kind} of {form} is no dictionary", name=form)
        props, relations = rules.get("props") or {}, rules.get("rels") or []
        if not isinstance(props, dict) or not all(isinstance(text, str) for text in props.values()):
            raise BadConfValu(f"props of {kind} are queries by name", name=form)
        for relation in relations:
            if not isinstance(relation, (list, tuple)) or len(relation) != _RELATION_SIZE:
                raise BadConfValu(
                    f"a relationship of {kind} is its type, the type at its end and a query", name=form
                )
            if relation[1] not in known:
                raise BadConfValu(f"STIX has no type {relation[1]}", name=form)


class StixBundle:
    """Objects made of nodes, and what these lead to."""

    __slots__ = ("config", "iden", "objects")

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.iden = f"bundle--{uuid.uuid4()}"
        self.objects: dict[str, dict[str, Any]] = {}

    @property
    def is_extended(self) -> bool:
        """Whether objects say which node they are of."""
        return bool(self.config.get("synapse_extension", True))

    def add(self, context: RunContext, node: Node, kind: str | None) -> str | None:
        """Add a node and what it leads to; returns the object's id, or None with a warning.

        Raises:
            BadConfValu: the bundle is full.
        """
        mapping = self.config["forms"].get(node.form.name)
        if mapping is None:
            context.warn(f"STIX bundle has no config for mapping {node.form.name}.", form=node.form.name)
            return None
        chosen = mapping["default"] if kind is None else kind
        rules = mapping["stix"].get(chosen)
        if rules is None:
            context.warn(
                f"STIX bundle config has no config to map {node.form.name} to {chosen}.", form=node.form.name
            )
            return None
        ndef = [node.form.name, plain_value(node.value)]
        iden = stix_id(chosen, ndef)
        if iden in self.objects:
            return iden
        # It is there before what it refers to, which may refer to it in turn.
        made: dict[str, Any] = {"id": iden, "type": chosen, "spec_version": SPEC_VERSION}
        self._put(made)
        if self.is_extended:
            made["extensions"] = {EXTENSION: {"extension_type": "property-extension", "synapse_ndef": ndef}}
        for name, text in (rules.get("props") or {}).items():
            value = self._value(context, node, text)
            if value is not None:
                made[name] = value
        for relation, target, text in rules.get("rels") or []:
            for other in self._nodes(context, node, text):
                other_iden = self.add(context, other, target)
                if other_iden is not None:
                    self._relate(iden, relation, other_iden)
        return iden

    def _put(self, made: dict[str, Any]) -> None:
        if len(self.objects) >= self.config["maxsize"]:
            raise BadConfValu(
                f"the bundle has {len(self.objects)} objects, as many as maxsize allows", name="maxsize"
            )
        self.objects[made["id"]] = made

    def _relate(self, source: str, relation: str, target: str) -> None:
        iden = stix_id("relationship", [source, relation, target])
        if iden in self.objects:
            return
        now = stix_time(datetime.now(UTC))
        self._put(
            {
                "id": iden,
                "type": "relationship",
                "relationship_type": relation,
                "created": now,
                "modified": now,
                "source_ref": source,
                "target_ref": target,
                "spec_version": SPEC_VERSION,
            }
        )

    def _value(self, context: RunContext, node: Node, text: str) -> Any:
        try:
            for _ in context.run_query(text, {"bundle": self}, [Path(node)]):
                context.tick()
        except StormReturn as signal:
            return toprim(signal.value)
        return None

    def _nodes(self, context: RunContext, node: Node, text: str) -> list[Node]:
        if not text:
            return [node]
        found = []
        for path in context.run_query(text, {"bundle": self}, [Path(node)]):
            context.tick()
            found.append(path.node)
        return found

    def pack(self) -> dict[str, Any]:
        """Return the bundle as plain data."""
        objects: list[Mapping[str, Any]] = [dict(EXTENSION_OBJECT)] if self.is_extended else []
        return {"type": "bundle", "id": self.iden, "objects": [*objects, *self.objects.values()]}

    def storm_plain(self) -> dict[str, Any]:
        """Return the bundle as plain data."""
        return self.pack()

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"stix:bundle: {torepr(self.pack())}"


def _add(context: RunContext, self: StixBundle, node: Any, kind: Any) -> str | None:
    if not isinstance(node, Node):
        context.warn("STIX bundle add() method requires a node.")
        return None
    return self.add(context, node, None if kind is None else tostr(kind))


TYPES: Final = (
    TypeSpec(
        "stix:bundle",
        StixBundle,
        "A bundle of STIX 2.1 that nodes are added to.",
        (
            FunctionSpec(
                "add",
                "Add a node and what it leads to; gives the id of its object, null if it cannot be told in STIX.",
                _add,
                (
                    ParameterSpec("node", type="node", doc="The node."),
                    ParameterSpec("stixtype", None, "str", "The type of its object; by default its form's."),
                ),
                "str",
                may_change=True,
            ),
            FunctionSpec("pack", "The bundle as a dictionary.", lambda c, s: s.pack(), (), "dict"),
            FunctionSpec("size", "How many objects it has.", lambda c, s: len(s.objects), (), "int"),
        ),
    ),
)
