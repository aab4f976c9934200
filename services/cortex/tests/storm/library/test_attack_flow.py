"""`$lib.infosec.mitre.attack.flow`: flows are checked, brought into order and kept, under the same idens as in Synapse."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import SchemaViolation
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.formats.attack_flow import normalised

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine

MADE = {"spec_version": "2.1", "created": "2022-10-27T02:44:01.000Z", "modified": "2022-10-27T02:44:01.000Z"}
EXTENSION = "extension-definition--fb9c968a-745b-4ade-9b25-c324172197f4"
EXTENDED = {"extensions": {EXTENSION: {"extension_type": "new-sdo"}}}


def iden(kind: str, number: int) -> str:
    return f"{kind}--5e4b8a7e-4d1c-4f0c-9c5a-0000000000{number:02d}"


def made(kind: str, number: int, **facts: Any) -> dict[str, Any]:
    return {"type": kind, "id": iden(kind, number), **MADE, **facts}


ACTION = iden("attack-action", 11)
BUNDLE: dict[str, Any] = made(
    "bundle",
    0,
    objects=[
        {
            "type": "extension-definition",
            "id": EXTENSION,
            **MADE,
            "created_by_ref": iden("identity", 1),
            "name": "Attack Flow",
            "description": "d",
            "schema": "https://x/",
            "version": "2.0.0",
            "extension_types": ["new-sdo"],
        },
        made("ipv4-addr", 40, value="1.2.3.4"),
        made("attack-asset", 20, name="S", **EXTENDED),
        made("attack-condition", 30, description="c", on_true_refs=[ACTION], **EXTENDED),
        made("attack-operator", 31, operator="AND", effect_refs=[ACTION], **EXTENDED),
        made(
            "attack-action",
            11,
            name="B",
            tactic_id="TA0001",
            asset_refs=[iden("attack-asset", 20)],
            **EXTENDED,
        ),
        made("identity", 1, name="Me", identity_class="individual", contact_information="me@a.com"),
        made(
            "attack-action",
            10,
            name="A",
            technique_id="T1190",
            description="first",
            effect_refs=[ACTION],
            **EXTENDED,
        ),
        made(
            "attack-flow",
            5,
            name="Flow",
            description="fd",
            scope="incident",
            created_by_ref=iden("identity", 1),
            start_refs=[iden("attack-action", 10)],
            external_references=[{"source_name": "src", "url": "https://a.com/x"}],
            **EXTENDED,
        ),
    ],
)
FLOW = -1


@pytest.fixture(scope="module", name="engine")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(tmp_path_factory.mktemp("flow")) as engine:
        yield engine


def test_the_order_is_always_the_same() -> None:
    found = normalised(BUNDLE)
    ids = [one["id"] for one in found["objects"]]
    assert ids == sorted(ids)
    assert list(found) == ["created", "id", "modified", "objects", "spec_version", "type"]
    other = {**BUNDLE, "objects": [dict(reversed(one.items())) for one in reversed(BUNDLE["objects"])]}
    assert normalised(other) == found
    assert str(normalised(other)) == str(found)
    assert normalised({**BUNDLE, "zork": 5})["zork"] == 5


def test_a_flow_is_kept(engine: Engine) -> None:
    run = Run(engine, "yield $lib.infosec.mitre.attack.flow.ingest($flow)", flow=BUNDLE)
    assert (run.error, run.nodes) == (None, ["d2aa059a2731f59c5f48a8c0b1cd2b60"]), run.message
    props = engine.call("it:mitre:attack:flow return($node.props)")
    assert props["name"] == "Flow"
    assert props["created"] == props["updated"] == 1666838641000
    assert props["author:contact"] == "f9cb1c115502d7cca1c5bb9387657be1"
    assert props["data"]["objects"][0]["id"] == iden("attack-action", 10)
    assert engine.call("return($lib.auth.users.byname(root).iden)") == props["author:user"]
    assert list(engine.call("ps:contact return((:name, :email))")) == ["me", "me@a.com"]
    again = Run(engine, "yield $lib.infosec.mitre.attack.flow.ingest($flow)", flow=BUNDLE)
    assert again.nodes == run.nodes


def test_one_that_nobody_signed_is_not_kept(engine: Engine) -> None:
    flow = copy.deepcopy(BUNDLE)
    del flow["objects"][FLOW]["created_by_ref"]
    run = Run(engine, "$lib.print($lib.infosec.mitre.attack.flow.ingest($flow))", flow=flow)
    assert (run.error, run.prints, len(run.warns)) == (None, ["$lib.null"], 1)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda flow: flow.pop("created"), "data"),
        (lambda flow: flow.update(id="x"), "data.id"),
        (lambda flow: flow.update(type="attack-flow"), "data.id"),
        (lambda flow: flow.pop("objects"), "data.objects"),
        (lambda flow: flow["objects"].pop(), "data.objects"),
        (lambda flow: flow["objects"].append(flow["objects"][FLOW]), "data.objects"),
        (lambda flow: flow["objects"].insert(0, 5), "data.objects[0]"),
        (lambda flow: flow["objects"][FLOW].pop("start_refs"), "data.objects[8]"),
        (lambda flow: flow["objects"][FLOW].update(start_refs=[]), "data.objects[8].start_refs"),
        (lambda flow: flow["objects"][FLOW].update(start_refs=["x"]), "data.objects[8].start_refs"),
        (lambda flow: flow["objects"][FLOW].update(scope="zork"), "data.objects[8].scope"),
        (lambda flow: flow["objects"][FLOW].update(name=5), "data.objects[8].name"),
        (lambda flow: flow["objects"][4].update(operator="XOR"), "data.objects[4].operator"),
        (lambda flow: flow["objects"][2].pop("name"), "data.objects[2]"),
        (lambda flow: flow["objects"][1].pop("modified"), "data.objects[1]"),
    ],
)
def test_what_is_no_flow(change: Callable[[dict[str, Any]], Any], name: str) -> None:
    flow = copy.deepcopy(BUNDLE)
    change(flow)
    with pytest.raises(SchemaViolation) as caught:
        normalised(flow)
    assert caught.value.errinfo["name"] == name


def test_nesting_is_bounded() -> None:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(SchemaViolation):
        normalised({**BUNDLE, "deep": deep})
