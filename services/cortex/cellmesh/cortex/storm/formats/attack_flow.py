"""Attack Flow 2.0 (MITRE's Center for Threat-Informed Defense): bundles of STIX 2.1 that draw how an attack went."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from cellmesh.common.errors import SchemaViolation

FLOW: Final = "attack-flow"
OBJECT_COUNT_MAX: Final = 100_000
DEPTH_MAX: Final = 64

SCOPES: Final = ("incident", "campaign", "threat-actor", "malware", "other")
OPERATORS: Final = ("AND", "OR")

_COMMON: Final = ("type", "id", "created", "modified")
"""What a bundle and each of its objects have."""

_WANTED: Final[dict[str, tuple[str, ...]]] = {
    FLOW: ("name", "scope", "start_refs"),
    "attack-action": ("name",),
    "attack-asset": ("name",),
    "attack-condition": ("description",),
    "attack-operator": ("operator",),
}
_CHOICES: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    (FLOW, "scope"): SCOPES,
    ("attack-operator", "operator"): OPERATORS,
}
_REFERENCES: Final[dict[str, tuple[str, ...]]] = {
    FLOW: ("start_refs",),
    "attack-action": ("asset_refs", "effect_refs"),
    "attack-condition": ("on_true_refs", "on_false_refs"),
    "attack-operator": ("effect_refs",),
}
_ID: Final = re.compile(
    r"[a-z][a-z0-9-]*--[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)

Facts = dict[str, Any]


def normalised(given: Any) -> Facts:
    """Check a flow and return it with its objects in order of their ids, and names in order: equal flows look the same.

    Raises:
        SchemaViolation: it is no flow of Attack Flow 2.0.
    """
    if not isinstance(given, dict):
        raise _fault("data", "is no dictionary")
    _check_common(given, "data")
    if given["type"] != "bundle":
        raise _fault("data.type", "is bundle")
    objects = given.get("objects")
    if not isinstance(objects, (list, tuple)) or len(objects) > OBJECT_COUNT_MAX:
        raise _fault("data.objects", f"are a list of at most {OBJECT_COUNT_MAX}")
    for index, one in enumerate(objects):
        _check_object(one, f"data.objects[{index}]")
    if sum(one["type"] == FLOW for one in objects) != 1:
        raise _fault("data.objects", f"have exactly one {FLOW}")
    found: Facts = _ordered(given, 0)
    found["objects"] = sorted(found["objects"], key=lambda one: str(one["id"]))
    return found


def flow_of(bundle: Mapping[str, Any]) -> Facts:
    """Return the one object of a flow that says what it is."""
    return next(one for one in bundle["objects"] if one["type"] == FLOW)


def author_of(bundle: Mapping[str, Any]) -> Facts:
    """Return the object that tells who drew a flow; empty if there is none."""
    wanted = flow_of(bundle).get("created_by_ref")
    return next((one for one in bundle["objects"] if one["id"] == wanted), {})


def _check_object(one: Any, place: str) -> None:
    if not isinstance(one, dict):
        raise _fault(place, "is no dictionary")
    _check_common(one, place)
    kind = one["type"]
    for name in _WANTED.get(kind, ()):
        if name not in one:
            raise _fault(place, f"has no {name}")
        if name not in _REFERENCES.get(kind, ()) and not isinstance(one[name], str):
            raise _fault(f"{place}.{name}", "is no text")
    for (of, name), known in _CHOICES.items():
        if of == kind and one[name] not in known:
            raise _fault(f"{place}.{name}", f"is one of {', '.join(known)}")
    for name in _REFERENCES.get(kind, ()):
        _check_references(one, name, place, is_wanted=name in _WANTED[kind])


def _check_references(one: Facts, name: str, place: str, *, is_wanted: bool) -> None:
    references = one.get(name, ())
    is_listed = isinstance(references, (list, tuple)) and (references or not is_wanted)
    if not is_listed or not all(isinstance(item, str) and _ID.fullmatch(item) for item in references):
        raise _fault(f"{place}.{name}", "is a list of ids")


def _check_common(one: Facts, place: str) -> None:
    for name in _COMMON:
        if not isinstance(one.get(name), str):
            raise _fault(place, f"has no {name}")
    if not _ID.fullmatch(one["id"]) or not one["id"].startswith(f"{one['type']}--"):
        raise _fault(f"{place}.id", "is no id of its type")


def _ordered(value: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise _fault("data", f"is nested deeper than {DEPTH_MAX}")
    if isinstance(value, dict):
        return {str(name): _ordered(value[name], depth + 1) for name in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [_ordered(item, depth + 1) for item in value]
    return value


def _fault(place: str, text: str) -> SchemaViolation:
    return SchemaViolation(f"{place} of an attack flow {text}", name=place)
