"""The path of a row: `$path`, `$path.vars`, `$path.meta`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import UNDEF, AttributeSpec, FunctionSpec, TypeSpec
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.values import toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


class PathVars:
    """The variables of a row, as `$path.vars` gives them."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def storm_plain(self) -> dict[str, Any]:
        """Return the variables by name."""
        return dict(self.path.vars)

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"node:path:vars: {sorted(self.path.vars)}"


class PathMeta:
    """The values sent with a row, as `$path.meta` gives them."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def storm_plain(self) -> dict[str, Any]:
        """Return the values by name."""
        return dict(self.path.meta or {})

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"node:path:meta: {self.storm_plain()}"


def _get_var(context: RunContext, self: PathVars, name: Any) -> Any:
    text = tostr(name)
    if text not in self.path.vars:
        raise StormRuntimeError(f"the path has no variable {text}", name=text)
    return self.path.vars[text]


def _set_var(context: RunContext, self: PathVars, name: Any, value: Any) -> None:
    if value is UNDEF:
        self.path.unset(tostr(name))
    else:
        self.path.set(tostr(name), value)


def _get_meta(context: RunContext, self: PathMeta, name: Any) -> Any:
    return (self.path.meta or {}).get(tostr(name))


def _set_meta(context: RunContext, self: PathMeta, name: Any, value: Any) -> None:
    text = tostr(name)
    if value is UNDEF:
        if self.path.meta:
            self.path.meta.pop(text, None)
        return
    if self.path.meta is None:
        self.path.meta = {}
    self.path.meta[text] = toprim(value)


def _var_items(context: RunContext, self: PathVars) -> Iterator[Any]:
    return iter(list(self.path.vars.items()))


def _meta_items(context: RunContext, self: PathMeta) -> Iterator[Any]:
    return iter(list((self.path.meta or {}).items()))


def _idens(context: RunContext, self: Path) -> list[str]:
    found = [self.node.iden]
    prior = self.prior
    while prior is not None:
        found.append(prior.node.iden)
        prior = prior.prior
    return found[::-1]


METHODS: Final = (
    FunctionSpec("idens", "The idens of the nodes on the way.", _idens, (), "list"),
    FunctionSpec(
        "links", "Always empty: kept so that queries which ask for it run.", lambda c, s: [], (), "list"
    ),
    FunctionSpec(
        "listvars",
        "Names and values of its variables.",
        lambda c, s: list(s.vars.items()),
        (),
        "list of pairs",
    ),
)

TYPES: Final = (
    TypeSpec(
        "node:path",
        Path,
        "A row on its way through the query.",
        METHODS,
        (
            AttributeSpec("vars", "Its variables.", lambda c, s: PathVars(s), "node:path:vars"),
            AttributeSpec(
                "meta", "Values to send with its node.", lambda c, s: PathMeta(s), "node:path:meta"
            ),
        ),
    ),
    TypeSpec(
        "node:path:vars",
        PathVars,
        "The variables of a row.",
        get_item=_get_var,
        set_item=_set_var,
        iterate=_var_items,
    ),
    TypeSpec(
        "node:path:meta",
        PathMeta,
        "Values sent with a row.",
        get_item=_get_meta,
        set_item=_set_meta,
        iterate=_meta_items,
    ),
)
