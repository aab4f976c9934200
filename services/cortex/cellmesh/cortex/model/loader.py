"""Reads model files: JSON, one file a domain, as docs/model.md describes.

A file that cannot be used is refused whole, with the file, the entry and the reason in the error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cellmesh.common.errors import BadConfValu, BadFormDef, BadPropDef, BadTypeDef
from cellmesh.cortex.model.definitions import (
    NO_OPTIONS,
    EdgeDef,
    FormDef,
    InterfaceDef,
    ModelDefs,
    PropDef,
    TagPropDef,
    TypeDef,
    TypeRef,
)

CATALOG_DIR = Path(__file__).parent / "catalog"
FILE_SIZE_MAX = 32 * 1024 * 1024

_SECTIONS = frozenset(("doc", "types", "interfaces", "forms", "universal", "tagprops", "edges"))
_TYPE_KEYS = frozenset(("base", "options", "interfaces", "deprecated", "doc"))
_PROP_KEYS = frozenset(("type", "options", "read_only", "deprecated", "doc"))
_FORM_KEYS = frozenset(("runtime", "deprecated", "doc", "props"))
_INTERFACE_KEYS = frozenset(("interfaces", "doc", "props"))
_EDGE_KEYS = frozenset(("source", "verb", "target", "doc"))


def catalog_files(folder: Path = CATALOG_DIR) -> list[Path]:
    """Return the model files of a folder, in the order of their names."""
    return sorted(folder.glob("*.json"))


def load_files(paths: Iterable[Path]) -> ModelDefs:
    """Read model files into one set of definitions; a later file replaces what an earlier one defines.

    Raises:
        BadConfValu: a file cannot be read, or is not a JSON object of known sections.
        BadTypeDef, BadFormDef, BadPropDef: an entry has unknown keys or lacks one.
    """
    found = ModelDefs()
    for path in paths:
        _load_file(found, path)
    return found


def _load_file(found: ModelDefs, path: Path) -> None:
    try:
        if path.stat().st_size > FILE_SIZE_MAX:
            raise BadConfValu(f"model file is larger than {FILE_SIZE_MAX} bytes", name=path.name)
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadConfValu(f"cannot read model file: {error}", name=path.name) from error
    if not isinstance(content, dict) or not content.keys() <= _SECTIONS:
        raise BadConfValu(f"a model file is an object of {', '.join(sorted(_SECTIONS))}", name=path.name)
    where = path.name
    for name, entry in content.get("types", {}).items():
        found.types[name] = type_def(name, entry, where)
    for name, entry in content.get("interfaces", {}).items():
        found.interfaces[name] = _interface_def(name, entry, where)
    for name, entry in content.get("forms", {}).items():
        found.forms[name] = form_def(name, entry, where)
    for name, entry in content.get("universal", {}).items():
        found.universal[name] = prop_def(name, entry, where)
    for name, entry in content.get("tagprops", {}).items():
        prop = prop_def(name, entry, where)
        found.tagprops[name] = TagPropDef(name, prop.type, prop.doc)
    for entry in content.get("edges", ()):
        edge = _edge_def(entry, where)
        found.edges[edge.key] = edge


def type_def(name: str, entry: Mapping[str, Any], where: str = "") -> TypeDef:
    """Make a type's definition of its entry in a model file."""
    if not entry.keys() <= _TYPE_KEYS or "base" not in entry:
        raise BadTypeDef(f"a type has a base and {_listed(_TYPE_KEYS)}", name=name, file=where)
    return TypeDef(
        name,
        entry["base"],
        entry.get("options", NO_OPTIONS),
        tuple(entry.get("interfaces", ())),
        entry.get("deprecated", False),
        entry.get("doc", ""),
    )


def prop_def(name: str, entry: Mapping[str, Any], where: str = "") -> PropDef:
    """Make a property's definition of its entry in a model file."""
    if not entry.keys() <= _PROP_KEYS or "type" not in entry:
        raise BadPropDef(f"a property has a type and {_listed(_PROP_KEYS)}", name=name, file=where)
    return PropDef(
        name,
        TypeRef(entry["type"], entry.get("options", NO_OPTIONS)),
        entry.get("read_only", False),
        entry.get("deprecated", False),
        entry.get("doc", ""),
    )


def form_def(name: str, entry: Mapping[str, Any], where: str = "") -> FormDef:
    """Make a form's definition of its entry in a model file."""
    if not entry.keys() <= _FORM_KEYS:
        raise BadFormDef(f"a form has {_listed(_FORM_KEYS)}", name=name, file=where)
    props = {key: prop_def(key, prop, where) for key, prop in entry.get("props", {}).items()}
    return FormDef(
        name, props, entry.get("runtime", False), entry.get("deprecated", False), entry.get("doc", "")
    )


def _interface_def(name: str, entry: Mapping[str, Any], where: str) -> InterfaceDef:
    if not entry.keys() <= _INTERFACE_KEYS:
        raise BadFormDef(f"an interface has {_listed(_INTERFACE_KEYS)}", name=name, file=where)
    props = {key: prop_def(key, prop, where) for key, prop in entry.get("props", {}).items()}
    return InterfaceDef(name, props, tuple(entry.get("interfaces", ())), entry.get("doc", ""))


def _edge_def(entry: Mapping[str, Any], where: str) -> EdgeDef:
    if not entry.keys() <= _EDGE_KEYS or "verb" not in entry:
        raise BadFormDef(f"an edge has a verb and {_listed(_EDGE_KEYS)}", file=where)
    return EdgeDef(entry.get("source"), entry["verb"], entry.get("target"), entry.get("doc", ""))


def _listed(keys: frozenset[str]) -> str:
    return ", ".join(sorted(keys))
