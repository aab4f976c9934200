"""The files of examples of the Storm reference; tools/storm_examples.py runs them, tools/make_storm_docs.py shows them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference" / "storm" / "examples"
RESULTS = FOLDER / "results.json"

GRAPH = """
$lib.auth.users.add(ann, email="ann@example.com") $lib.auth.roles.add(hunters)
[
    ( inet:ipv4=203.0.113.7 :asn=64500 :loc=nl +#cno.infra )
    ( inet:ipv4=203.0.113.8 :asn=64500 )
    ( inet:dns:a=(www.example.com, 203.0.113.7) )
    ( media:news=(example, report) :title="A report" +(refs)> { inet:fqdn=www.example.com } )
]
"""


@dataclass(slots=True)
class Example:
    """A query that shows one or several names of commands, of the library or of types."""

    kind: str
    names: tuple[str, ...]
    query: str

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.kind} {self.names[0]}"


def examples() -> list[Example]:
    """All examples, in the order of the files."""
    found = []
    for path in sorted(FOLDER.glob("*.storm")):
        for block in path.read_text(encoding="utf-8").split("//: ")[1:]:
            names, _, query = block.partition("\n")
            found.append(Example(path.stem, tuple(name.strip() for name in names.split(",")), query.strip()))
    return found


def results() -> dict[str, Any]:
    """What is kept: `given`, lines by the first name of an example, and `rights`, permissions by name."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found
