"""Source files -> raw records, in an order that never changes, so that a broken load can go on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellmesh.common.errors import BadArg

# Lists in the ATT&CK files, in the order in which a load wants them.
ATTACK_LISTS = (
    "identities",
    "matrices",
    "collections",
    "marking_definitions",
    "tactics",
    "data_sources",
    "data_components",
    "attack_patterns",
    "mitigations",
    "groups_campaigns",
    "software",
    "detection_strategies",
    "analytics",
    "relationships",
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One unpacked file: where it came from, where it lies, what it should hold."""

    name: str
    path: Path
    package: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record as the source has it.

    Attributes:
        file: The source file's name, such as "clusters/threat-actor.json".
        family: "misp" or "attack".
        kind: The cluster's type, or the ATT&CK list that it stood in.
        source: Name of the whole collection, for provenance.
        body: The record, untouched.
    """

    file: str
    family: str
    kind: str
    source: str
    body: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """As stored in a tank."""
        return {
            "file": self.file,
            "family": self.family,
            "kind": self.kind,
            "source": self.source,
            "body": self.body,
        }

    @classmethod
    def from_plain(cls, row: dict[str, Any]) -> RawRecord:
        """Back from a tank."""
        return cls(row["file"], row["family"], row["kind"], row["source"], row["body"])


def records_of(file: SourceFile) -> Iterator[RawRecord]:
    """Yield the records of one file.

    Raises:
        BadArg: the file is not what its name says; names the file.
    """
    try:
        content = json.loads(file.path.read_bytes())
    except ValueError as error:
        raise BadArg(f"{file.name} is not JSON: {error}", name=file.name) from error
    if not isinstance(content, dict):
        raise BadArg(f"{file.name} holds no object", name=file.name)
    if "values" in content:
        yield from _misp_records(file, content)
    else:
        yield from _attack_records(file, content)


def _misp_records(file: SourceFile, content: dict[str, Any]) -> Iterator[RawRecord]:
    kind = str(content.get("type") or file.path.stem)
    source = f"MISP galaxy: {content.get('name') or kind}"
    for body in content["values"]:
        yield RawRecord(file.name, "misp", kind, source, body)


def _attack_records(file: SourceFile, content: dict[str, Any]) -> Iterator[RawRecord]:
    for kind in ATTACK_LISTS:
        for body in content.get(kind) or ():
            yield RawRecord(file.name, "attack", kind, "MITRE ATT&CK Enterprise 18.1", body)
