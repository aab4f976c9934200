"""The map of the peer's API: whole, true of what it names here, and its page is fresh."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from cellmesh.cli.main import cli as program
from cellmesh.cortex.automation import registry
from cellmesh.cortex.model import Model
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.library import LIBRARIES
from google.protobuf import descriptor_pool

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"

# How many names each class of the peer promises, and a hash of them: a name that is lost or misspelt shows.
NAME_COUNT = 941
NAMES_SHA256 = "d84409f724414cad876a8dee4603a517cc3a46c0307fd02384722969b4497b09"


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_api_map", ROOT / "tools" / "make_api_map.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()
MAP = TOOL.read()


def texts(kind: str) -> list[str]:
    """What the map names of a kind, each once."""
    return sorted({target.text for entry in MAP.entries for target in entry.targets if target.kind == kind})


def test_the_page_is_fresh() -> None:
    command = [sys.executable, str(ROOT / "tools" / "make_api_map.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_name_of_the_peer_is_in_the_map_once() -> None:
    names = sorted(f"{entry.owner}.{entry.name}" for entry in MAP.entries)
    assert len(names) == len(set(names)) == NAME_COUNT
    assert hashlib.sha256("\n".join(names).encode()).hexdigest() == NAMES_SHA256


def test_every_rpc_named_is_in_the_protos() -> None:
    for path in PROTOS.glob("cellmesh/api/*/v1/*.proto"):
        importlib.import_module(".".join(path.relative_to(PROTOS).with_suffix("").parts) + "_pb2")
    importlib.import_module("grpc_health.v1.health_pb2")
    pool = descriptor_pool.Default()
    for text in texts("rpc"):
        service, slash, method = text.partition("/")
        if not service.startswith("grpc."):
            package, _, name = service.rpartition(".")
            service = f"cellmesh.api.{package}.v1.{name}"
        assert slash, text
        assert method in pool.FindServiceByName(service).methods_by_name, text


@pytest.mark.parametrize("text", texts("py"))
def test_every_python_name_resolves(text: str) -> None:
    module, colon, path = text.partition(":")
    assert colon
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)


def test_every_storm_name_is_there() -> None:
    libraries = (*LIBRARIES, *registry.LIBRARIES)
    functions = {
        ".".join(("$lib", *library.path, function.name))
        for library in libraries
        for function in library.functions
    }
    commands = {command.name for command in (*COMMANDS, *registry.COMMANDS)}
    model = Model.load()
    for text in texts("storm"):
        assert text in functions or text in commands or model.is_form(text), text


def test_every_command_is_one_of_the_program() -> None:
    for text in texts("cli"):
        command: click.Command | None = program
        for word in text.split():
            assert isinstance(command, click.Group), text
            command = command.get_command(click.Context(command), word)
        assert command is not None, text


def test_every_reason_is_used_and_says_something() -> None:
    for kind, reasons in MAP.reasons.items():
        assert set(reasons) == set(texts(kind))
        assert all(reason.endswith((".", ")")) for reason in reasons.values())


def test_what_is_no_line_of_the_map_is_refused(tmp_path: Path) -> None:
    head = '[to_come]\nhttp = "With HTTP."\n[gone]\nbase = "Not needed."\n[peer.x]\n'
    path = tmp_path / "map.toml"
    for line in ('a = "nothing such"', 'a = "gone else"', 'a = "gone base, py json:loads"', 'a = ""'):
        path.write_text(head + line)
        with pytest.raises(ValueError, match=r"x\.a"):
            TOOL.read(path)
    path.write_text(head + 'a = "py json:loads"\na = "gone base"')
    with pytest.raises(tomllib.TOMLDecodeError):
        TOOL.read(path)
