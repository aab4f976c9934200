"""The tag model: what parts of tags may look like, and which tags go when the last one below them does."""

from __future__ import annotations

import re
from threading import Lock
from typing import Any

from cellmesh.common.errors import BadTypeValu, SchemaViolation
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.stores.named import NamedValues, Reader
from cellmesh.cortex.stores.schema import TAG_MODEL
from cellmesh.cortex.values.wire import decode_value, encode_value

RULES = ("prune", "regex")


class TagModel(NamedValues):
    """Rules for tags by the tag they hold for. Kept in memory as well, for each tag that is put on is checked."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(TAG_MODEL, changes, "tag")
        self._rules: dict[str, dict[str, Any]] = {}
        self._patterns: dict[str, list[re.Pattern[str] | None]] = {}
        self._lock = Lock()

    def follow(self, read: Reader) -> None:
        """Take what is stored.

        Args:
            read: Reads in the newest committed state.
        """
        with self._lock:
            self._rules = {tag: dict(value) for tag, value in read(self.load)}
            self._compile()

    def _compile(self) -> None:
        self._patterns = {
            tag: [None if pattern is None else re.compile(pattern) for pattern in rules["regex"]]
            for tag, rules in self._rules.items()
            if rules.get("regex")
        }

    @property
    def is_empty(self) -> bool:
        """Whether there is no rule at all."""
        return not self._rules

    # Rules.

    def rules(self) -> list[tuple[str, dict[str, Any]]]:
        """Return all rules, in order of the tags."""
        return sorted(self._rules.items())

    def rules_of(self, tag: str) -> dict[str, Any] | None:
        """Return the rules set for a tag itself."""
        return self._rules.get(tag)

    def set_rule(self, access: Access, tag: str, name: str, value: Any) -> None:
        """Set a rule of a tag, durable on return.

        Raises:
            SchemaViolation: there is no such rule, or the value does not fit.
        """
        checked, key = _checked(name, value), self.key(tag)

        def op(rows: Rows) -> None:
            found = rows.txn.get(self.db, key)
            known = {} if found is None else dict(decode_value(found))
            rows.put(self.db, key, encode_value({**known, name: checked}))

        self.changes.run(access, op)
        access.sync()
        self.follow(access.read)

    def pop_rule(self, access: Access, tag: str, name: str, default: Any = None) -> Any:
        """Remove a rule of a tag and return what it was, or a default."""
        if name not in self._rules.get(tag, {}):
            return default
        key = self.key(tag)

        def op(rows: Rows) -> Any:
            found = rows.txn.get(self.db, key)
            known = {} if found is None else dict(decode_value(found))
            if name not in known:
                return default
            value = known.pop(name)
            rows.put(self.db, key, encode_value(known))
            return value

        value = self.changes.run(access, op)
        access.sync()
        self.follow(access.read)
        return value

    def remove(self, access: Access, tag: str) -> None:
        """Remove all rules of a tag."""
        if tag not in self._rules:
            return
        self.pop(access, tag)
        access.sync()
        self.follow(access.read)

    # What edits ask.

    def check(self, tag: str) -> None:
        """Check a normalised tag against the patterns set for it and for the tags above.

        Raises:
            BadTypeValu: a part of it does not match.
        """
        if not self._patterns:
            return
        parts = tag.split(".")
        for depth in range(1, len(parts) + 1):
            patterns = self._patterns.get(".".join(parts[:depth]))
            if patterns is None:
                continue
            for part, pattern in zip(parts, patterns, strict=False):
                if pattern is not None and pattern.fullmatch(part) is None:
                    raise BadTypeValu(
                        f"{part} in the tag {tag} does not match {pattern.pattern}",
                        name="syn:tag",
                        valu=tag,
                    )

    def pruned(self, tag: str) -> list[str]:
        """Return which tags above a removed one, the lowest first, go as well if nothing is left below them."""
        if not self._rules:
            return []
        parts = tag.split(".")
        found: set[int] = set()
        for depth in range(1, len(parts)):
            rules = self._rules.get(".".join(parts[:depth]))
            if rules and rules.get("prune"):
                found.update(range(depth, min(depth + rules["prune"], len(parts))))
        return [".".join(parts[:depth]) for depth in sorted(found, reverse=True)]


def _checked(name: str, value: Any) -> Any:
    if name == "prune":
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SchemaViolation("prune is a number of levels, at least 1", name=name)
        return value
    if name == "regex":
        if not isinstance(value, (list, tuple)) or not all(
            item is None or isinstance(item, str) for item in value
        ):
            raise SchemaViolation("regex is a list of patterns, null for parts without one", name=name)
        for item in value:
            try:
                re.compile(item or "")
            except re.error as error:
                raise SchemaViolation(f"{item} is no regular expression: {error}", name=name) from error
        return list(value)
    raise SchemaViolation(f"tags have no rule named {name}, only {' and '.join(RULES)}", name=name)
