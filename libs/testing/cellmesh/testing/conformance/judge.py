"""Says whether an answer is the expected one, by the rules of tests/conformance/README.md."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cellmesh.testing.conformance.cases import Case
from cellmesh.testing.conformance.plain import plain

# Left out of the comparison: `.created` always, and the texts of runtime nodes, which are ours.
IGNORED_PROPS = frozenset({".created"})
IGNORED_RUNTIME_PROPS = frozenset({".created", "doc", "ctor"})
RUNTIME_PREFIXES = ("syn:form", "syn:prop", "syn:type", "syn:tagprop", "syn:cmd", "syn:cron", "syn:trigger")


# Commands that print what they did: those with a dotted name, and these.
PRINTING_COMMANDS = re.compile(r"(?:^|[|{}]\s*)\s*(?:[a-z]+(?:\.[a-z]+)+\s|count\b|help\b|version\b)")


@dataclass(slots=True)
class Answer:
    """What a query gave. `error` holds name and fields; `returned` counts for calls only."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    prints: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fires: list[Any] = field(default_factory=list)
    csv_rows: list[Any] = field(default_factory=list)
    error: dict[str, Any] | None = None
    returned: Any = None


def differences(case: Case, answer: Answer) -> list[str]:
    """Return what differs, a line each; empty when the answer is as expected."""
    expect = case.expect
    found = _error_differences(expect.get("err"), answer.error)
    if "return" in expect or "nodes" not in expect:
        if not expect.get("err") and plain(expect.get("return")) != plain(answer.returned):
            found.append(f"return: expected {expect.get('return')!r}, got {answer.returned!r}")
        return found
    ordered = bool(expect.get("ordered"))
    found += _rows("node", [_node(n) for n in expect["nodes"]], [_node(n) for n in answer.nodes], ordered)
    found += _rows("print", expect.get("print", []), _own(case, "print", answer.prints), ordered)
    found += _rows("warn", expect.get("warn", []), _own(case, "warn", answer.warnings), True)
    found += _rows("fire", _plains(expect.get("fire", [])), _plains(answer.fires), True)
    found += _rows("csv", _plains(expect.get("csv", [])), _plains(answer.csv_rows), True)
    return found


def _own(case: Case, what: str, texts: list[str]) -> list[str]:
    """Leave out what built-in commands print by themselves: the cases do not record it.

    Which text a command printed does not show; where one that prints stands beside prints of the query's own, texts
    that are not expected are taken for the command's.
    """
    wanted = case.expect.get(what) or []
    if not wanted and f"{what}(" not in case.query.text:
        return []
    if PRINTING_COMMANDS.search(case.query.text):
        return [text for text in texts if text in wanted]
    return texts


def _plains(rows: list[Any]) -> list[Any]:
    return [plain(row) for row in rows]


def _error_differences(expect: dict[str, Any] | None, error: dict[str, Any] | None) -> list[str]:
    if not expect:
        return [] if error is None else [f"error: expected none, got {error}"]
    if error is None:
        return [f"error: expected {expect}, got none"]
    if expect.get("internal"):
        return []
    if expect["name"] != error["name"]:
        return [f"error: expected {expect['name']}, got {error}"]
    if "errname" in expect and expect["errname"] != error.get("errname"):
        return [f"error: expected errname {expect['errname']}, got {error.get('errname')}"]
    return []


def position_differs(expect: dict[str, Any], answer: Answer) -> bool:
    """Whether a BadSyntax was found at another place than the peer finds it."""
    wanted = expect.get("err") or {}
    if wanted.get("name") != "BadSyntax" or "at" not in wanted or answer.error is None:
        return False
    return any(wanted.get(key) != answer.error.get(key) for key in ("at", "line", "column"))


def _node(row: dict[str, Any]) -> Any:
    runtime = row["form"].startswith(RUNTIME_PREFIXES)
    ignored = IGNORED_RUNTIME_PROPS if runtime else IGNORED_PROPS
    props = {k: v for k, v in row.get("props", {}).items() if k not in ignored}
    tags = {k: None if v is None or list(v) == [None, None] else v for k, v in row.get("tags", {}).items()}
    tag_props = {k: v for k, v in (row.get("tagprops") or {}).items() if v}
    # What a query hangs on a node's path is compared when the case recorded it.
    return (
        row["form"],
        plain(row["valu"]),
        plain(props),
        plain(tags),
        plain(tag_props),
        plain(row.get("path") or {}),
    )


def _rows(what: str, expected: list[Any], got: list[Any], ordered: bool) -> list[str]:
    if ordered:
        if expected == got:
            return []
        if Counter(expected) == Counter(got):
            return [
                f"{what}s: the right ones in another order: expected {_short(expected)}, got {_short(got)}"
            ]
    missing = Counter(expected) - Counter(got)
    extra = Counter(got) - Counter(expected)
    lines = [f"{what}: missing {_short(row)}" for row in missing.elements()]
    return lines + [f"{what}: not expected {_short(row)}" for row in extra.elements()]


def _short(row: Any, size: int = 600) -> str:
    text = repr(row)
    return text if len(text) <= size else text[:size] + "…"
