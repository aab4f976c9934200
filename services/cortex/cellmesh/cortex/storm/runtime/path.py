"""A row of the pipeline: a node and what the query attached to it on the way."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cellmesh.cortex.views.node import Node

NO_VARS: Final[Mapping[str, Any]] = MappingProxyType({})
"""Shared by all rows without variables; reading from a proxy is as quick as from a dict."""


class Path:
    """A node on its way through the pipeline.

    Attributes:
        node: The node.
        vars: Variables set for this row. Never changed in place: rows share it until one of them sets a variable.
        meta: Values to send with the node (`$path.meta.x=1`), or None.
        prior: The row this one came from by a pivot, or None.
    """

    __slots__ = ("meta", "node", "prior", "vars")

    def __init__(
        self,
        node: Node,
        vars: Mapping[str, Any] = NO_VARS,
        meta: dict[str, Any] | None = None,
        prior: Path | None = None,
    ) -> None:
        self.node = node
        self.vars = vars
        self.meta = meta
        self.prior = prior

    def fork(self, node: Node) -> Path:
        """Return a row for another node that keeps the variables."""
        return Path(node, self.vars, None, self)

    def clone(self) -> Path:
        """Return a row of the same node whose variables can go their own way."""
        return Path(self.node, self.vars, self.meta, self.prior)

    def set(self, name: str, value: Any) -> None:
        """Set a variable of this row."""
        self.vars = {**self.vars, name: value}

    def unset(self, name: str) -> None:
        """Remove a variable of this row, if it is there."""
        if name in self.vars:
            self.vars = {key: value for key, value in self.vars.items() if key != name}
