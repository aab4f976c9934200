"""Rules of single forms that need more than the value at hand: what their other nodes hold.

A domain name is a zone if its parent is a public suffix; others take their parent's zone. Changing a name's
`issuffix` or `iszone` changes the names below. A string of `it:dev:str` is also kept in lower case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from cellmesh.cortex.model.registry import Prop

if TYPE_CHECKING:
    from cellmesh.cortex.views.editor import Draft, Editor


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


def text_props(editor: Nodes, props: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
    """Return what a new it:dev:str starts with: its text in lower case, to find it by."""
    return {**props, "norm": value.lower()}


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
    "it:dev:str": text_props,
}
"""Form -> what gives the properties its new nodes start with."""

PROP_CHANGED: Final[Mapping[tuple[str, str], Callable[[Editor, Draft, Prop], None]]] = {
    ("inet:fqdn", "issuffix"): fqdn_changed,
    ("inet:fqdn", "iszone"): fqdn_changed,
}
"""(form, property) -> what else changes when it is set."""
