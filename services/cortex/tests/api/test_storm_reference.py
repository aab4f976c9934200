"""What the language has, as programs are told of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cellmesh.api.cortex.v1 import storm_pb2, storm_reference_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.automation import registry as automation
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES

PACKAGE = """
    $lib.pkg.add(({"name": "owl", "version": "0.0.1", "commands": [
        {"name": "owl.hoot", "descr": "Hoots.\nLoudly.", "storm": "", "cmdargs": [["--times", {"type": "int", "default": 2}]]}
    ]}))
"""


@pytest.fixture(scope="module")
def cortex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CellClient]:
    folder = tmp_path_factory.mktemp("reference")
    config = load_config(CortexConfig, dir=folder, flags={"log_level": "error"}, environ={})
    with running(CortexCell(config)), open_cell(f"unix://{config.dir}/cell.sock") as cell:
        yield cell


def reference(cortex: CellClient) -> storm_reference_pb2.GetStormReferenceResponse:
    found = storm_reference_pb2.GetStormReferenceResponse()
    request = storm_reference_pb2.GetStormReferenceRequest()
    for part in cortex.stub(StormServiceStub).GetStormReference(request):
        found.MergeFrom(part)
    return found


def test_everything_that_is_declared_is_told_once_and_in_order(cortex: CellClient) -> None:
    found = reference(cortex)
    commands = [one.name for one in found.commands]
    assert commands == sorted({one.name for one in (*COMMANDS, *automation.COMMANDS)})
    functions = [f"{one.name}.{function.name}" for one in found.libraries for function in one.functions]
    declared = (*LIBRARIES, *automation.LIBRARIES)
    assert sorted(functions) == sorted(
        ".".join(("$lib", *one.path, function.name)) for one in declared for function in one.functions
    )
    types = (one for one in (*TYPES, *automation.TYPES) if one.python_type is not tuple)
    assert [one.name for one in found.types] == sorted(one.name for one in types)
    assert all(one.doc for one in found.commands)
    assert all(one.doc for one in found.types)


def test_a_function_is_told_with_its_parameters(cortex: CellClient) -> None:
    (text,) = (one for one in reference(cortex).libraries if one.name == "$lib.str")
    (join,) = (one for one in text.functions if one.name == "join")
    assert [(one.name, one.optional) for one in join.parameters] == [("sepr", False), ("items", False)]
    assert (join.returns, join.changes_state) == ("str", False)
    (root,) = (one for one in reference(cortex).libraries if one.name == "$lib")
    assert {one.name: one.constant_text for one in root.attributes}["true"] == "true"


def test_a_command_is_told_with_its_arguments(cortex: CellClient) -> None:
    (countby,) = (one for one in reference(cortex).commands if one.name == "stats.countby")
    told = {one.flags[0]: one for one in countby.arguments}
    assert (told["valu"].count, told["valu"].required) == ("?", False)
    assert (told["--size"].type, told["--size"].default_text) == ("int", "")
    assert (told["--char"].default_text, told["--reverse"].type) == ("#", "")
    (delete,) = (one for one in reference(cortex).commands if one.name == "delnode")
    assert delete.changes_state


def test_commands_of_packages_are_among_them(cortex: CellClient) -> None:
    cortex.stub(StormServiceStub).CallStorm(storm_pb2.CallStormRequest(text=PACKAGE))
    (hoot,) = (one for one in reference(cortex).commands if one.name == "owl.hoot")
    assert hoot.doc.startswith("Hoots.")
    assert [(list(one.flags), one.type, one.default_text) for one in hoot.arguments] == [
        (["--times"], "int", "2")
    ]
