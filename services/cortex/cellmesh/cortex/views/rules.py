"""Rules that a cell adds to edits: which deprecated names are locked, and what tags may look like."""

from __future__ import annotations

from typing import Protocol

from cellmesh.cortex.model.locks import DeprecationLocks


class LockRules(Protocol):
    """Keeps which deprecated names are locked."""

    rules: DeprecationLocks


class TagRules(Protocol):
    """Rules for tags."""

    def check(self, tag: str) -> None:
        """Check a normalised tag; raises BadTypeValu."""

    def pruned(self, tag: str) -> list[str]:
        """Return which tags above a removed one, the lowest first, go as well if nothing is left below them."""


class EditRules:
    """The rules of one graph; None where the cell keeps none."""

    __slots__ = ("locks", "tags")

    def __init__(self) -> None:
        self.locks: LockRules | None = None
        self.tags: TagRules | None = None
