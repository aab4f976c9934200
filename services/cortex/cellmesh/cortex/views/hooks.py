"""Rules of single forms, beyond what their types say.

Some need nothing but the value at hand (`DERIVED`): a text also kept in lower case, the digests of a password.
Plans apply them. Others need what other nodes hold: a domain name is a zone if its parent is a public suffix;
others take their parent's zone. Changing a name's `issuffix` or `iszone` changes the names below.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from cellmesh.cortex.model.registry import Prop

if TYPE_CHECKING:
    from cellmesh.cortex.views.editor import Draft, Editor


@dataclass(frozen=True, slots=True)
class Derived:
    """A property that follows from the value of another, or of the node.

    Attributes:
        prop: The property that is set.
        make: Gives the value to set, not yet normalised; None for none.
        is_optional: Whether it is left as it is where the value does not normalise.
    """

    prop: str
    make: Callable[[Any], Any]
    is_optional: bool = False


def _lower(value: Any) -> str | None:
    return value.lower() or None


def _itself(value: Any) -> Any:
    return value


def _digest(algorithm: str) -> Callable[[Any], str]:
    def make(value: Any) -> str:
        data = value.encode("utf-8", "surrogatepass")
        return hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()

    return make


DERIVED: Final[Mapping[tuple[str, str], tuple[Derived, ...]]] = {
    ("it:dev:str", ""): (Derived("norm", str.lower),),
    ("inet:passwd", ""): tuple(Derived(name, _digest(name)) for name in ("md5", "sha1", "sha256")),
    ("it:prod:softver", "vers"): (
        Derived("vers:norm", _lower),
        Derived("semver", _itself, is_optional=True),
    ),
}
"""(form, property, or nothing for its own value) -> what else is set with it."""


class Held(Protocol):
    """A node whose properties can be read."""

    def get(self, name: str) -> Any:
        """Return a property, or None."""
        ...


class Nodes(Protocol):
    """Where a rule looks for other nodes."""

    def existing(self, form: str, value: Any) -> Held | None:
        """Return a node by form and stored value, or None."""
        ...


def fqdn_props(editor: Nodes, props: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
    """Return what a new inet:fqdn starts with, given what its parent is."""
    domain = props.get("domain")
    if domain is None:
        return props
    parent = editor.existing("inet:fqdn", domain)
    if parent is None:
        return props
    is_zone = 1 if parent.get("issuffix") else 0
    zone = value if is_zone else parent.get("zone")
    if zone is not None and props.get("zone") == zone and props.get("iszone") == is_zone:
        return props
    fixed = dict(props)
    fixed["iszone"] = is_zone
    fixed.pop("zone", None)
    if zone is not None:
        fixed["zone"] = zone
    return fixed


def fqdn_changed(editor: Editor, draft: Draft, prop: Prop) -> None:
    """Keep zones right after `issuffix` or `iszone` of a name changed."""
    if prop.name == "iszone":
        _set_zone(editor, draft)
    for child in editor.holders("inet:fqdn:domain", draft.value):
        _follow(editor, child, draft)


def _follow(editor: Editor, draft: Draft, parent: Draft) -> None:
    is_zone = 1 if parent.get("issuffix") else 0
    before = (draft.get("iszone"), draft.get("zone"))
    editor.put(draft, "iszone", is_zone)
    _set_zone(editor, draft, parent)
    if (draft.get("iszone"), draft.get("zone")) == before:
        return
    for child in editor.holders("inet:fqdn:domain", draft.value):
        _follow(editor, child, draft)


def _set_zone(editor: Editor, draft: Draft, parent: Draft | None = None) -> None:
    if draft.get("iszone"):
        editor.put(draft, "zone", draft.value)
        return
    domain = draft.get("domain")
    if parent is None and domain is not None:
        parent = editor.existing("inet:fqdn", domain)
    zone = parent.get("zone") if parent is not None else None
    if zone is None:
        editor.drop(draft, "zone")
    else:
        editor.put(draft, "zone", zone)


NEW_NODE_PROPS: Final[Mapping[str, Callable[[Nodes, Mapping[str, Any], Any], Mapping[str, Any]]]] = {
    "inet:fqdn": fqdn_props,
}
"""Form -> what gives the properties its new nodes start with."""

PROP_CHANGED: Final[Mapping[tuple[str, str], Callable[[Editor, Draft, Prop], None]]] = {
    ("inet:fqdn", "issuffix"): fqdn_changed,
    ("inet:fqdn", "iszone"): fqdn_changed,
}
"""(form, property) -> what else changes when it is set."""
