"""`cellmesh model` against a real Cortex, and the whole model against the names and types that Synapse has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cli.main import run
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

FACTS = Path(__file__).parents[3] / "services" / "cortex" / "tests" / "model" / "inventory.txt"
TYPES_OF_CODE = {"data": {"schema"}}
"""Options that hold much text and are compared elsewhere."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    config = load_config(
        CortexConfig, dir=tmp_path_factory.mktemp("cortex"), flags={"log_level": "error"}, environ={}
    )
    with running(CortexCell(config)):
        yield config.dir


@pytest.fixture
def shell(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str, code: int = 0) -> str:
        assert run([*words, "--dir", str(folder)]) == code
        captured = capsys.readouterr()
        return captured.out if code == 0 else captured.err

    return call


def lines_of(found: dict[str, Any]) -> list[str]:
    """The model in the words of the file of facts."""

    def prop(head: str, name: str, entry: dict[str, Any]) -> str:
        type_, options = entry["type"]
        kept = {key: value for key, value in options.items() if key not in TYPES_OF_CODE.get(type_, ())}
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        return f"{head}{name} {type_} {text}{' ro' if entry.get('ro') else ''}"

    lines = [
        " ".join(["type", name, entry["base"], *sorted(entry["interfaces"])])
        for name, entry in found["types"].items()
    ]
    lines += [prop("universal ", name, entry) for name, entry in found["univs"].items()]
    for kind in ("interfaces", "forms"):
        for name, entry in found[kind].items():
            lines.append(f"{kind[:-1]} {name}")
            # Whether a property of an interface is set once is known only of the forms that have it.
            end = " ro" if kind == "interfaces" else ""
            lines += [
                f"{name}:{prop('', *item).removesuffix(end)}"
                for item in entry["props"].items()
                if item[0] not in found["univs"]
            ]
    lines += [f"edge {edge['n1'] or '*'} {edge['verb']} {edge['n2'] or '*'}" for edge in found["edges"]]
    return lines


def facts() -> list[str]:
    lines, owner = [], ""
    for line in FACTS.read_text().splitlines():
        if line.startswith("#"):
            continue
        if line.startswith(" "):
            lines.append(f"{owner}:{line[1:]}")
        else:
            owner = line.split()[1]
            lines.append(line)
    return lines


def test_the_model_has_every_name_and_type_that_synapse_has_and_no_other(shell: Any) -> None:
    found = json.loads(shell("model", "--json"))
    ours, theirs = set(lines_of(found)), set(facts())
    assert sorted(theirs - ours) == []
    assert sorted(ours - theirs) == []
    assert len(found["forms"]) == 595
    assert sum(len(form["props"]) for form in found["forms"].values()) == 5615


def test_forms_are_listed_with_what_they_stand_for(shell: Any) -> None:
    lines = shell("model").splitlines()
    assert lines[-1] == "595 forms, 698 types, 21 interfaces, 90 edges, 5,615 properties"
    assert [line.split()[0] for line in shell("model", "inet:fq*").splitlines()] == ["inet:fqdn"]
    assert "begins with nothing:at:all" in shell("model", "nothing:at:all*", code=1)


def test_a_form_a_property_a_type_and_an_interface_are_described(shell: Any) -> None:
    form = shell("model", "inet:dns:a")
    assert form.startswith("inet:dns:a  (form)\n")
    assert "  derives from: comp\n" in form
    assert '  options: fields=[["fqdn", "inet:fqdn"], ["ipv4", "inet:ipv4"]]\n' in form
    assert [line.split()[:2] for line in form.splitlines() if line.startswith("  fqdn")] == [
        ["fqdn", "inet:fqdn"]
    ]
    assert shell("model", "inet:fqdn:zone").startswith("inet:fqdn:zone  (property)\n")
    assert shell("model", "inet:fqdn.seen").startswith("inet:fqdn.seen  (property)\n")
    assert "  forms: " in shell("model", "it:host:activity")
    assert "  risk:threat -(" in shell("model", "risk:threat")


def test_an_unknown_name_is_told_with_near_ones(shell: Any) -> None:
    assert "nothing named inet:fqdx; near: inet:fqdn" in shell("model", "inet:fqdx", code=1)
    assert "nothing named inet:fqdx" in shell("model", "inet:fqdx", "--json", code=1)


def test_a_part_of_the_model_as_json(shell: Any) -> None:
    found = json.loads(shell("model", "inet:fqdn", "--json"))
    assert list(found["forms"]) == ["inet:fqdn"]
    assert found["forms"]["inet:fqdn"]["props"]["zone"]["type"] == ["inet:fqdn", {}]
    many = json.loads(shell("model", "inet:dns:*", "--json"))
    assert all(name.startswith("inet:dns:") for name in [*many["forms"], *many["types"]])


def test_what_users_add_is_there_and_marked(shell: Any) -> None:
    text = "$lib.model.ext.addForm(_corp:asset, str, ({'lower': true}), ({'doc': 'Ours.'}))"
    shell("storm", text)
    form = json.loads(shell("model", "_corp:asset", "--json"))["forms"]["_corp:asset"]
    assert form["extended"] is True
    assert form["doc"] == "Ours."
