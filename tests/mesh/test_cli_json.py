"""Everything that lists or shows something does so for programs too: one JSON object a line, nothing rounded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from cellmesh.api.aha.v1 import registry_pb2
from cellmesh.api.common.v1 import mirror_pb2
from cellmesh.cli.main import cli, run
from cellmesh.cli.mesh import Mesh
from cellmesh.cli.records import record_of
from cellmesh.common.values import to_value
from google.protobuf.duration_pb2 import Duration

SHOWING = (
    "list",
    "ls",
    "status",
    "show",
    "info",
    "stat",
    "services",
    "certs",
    "permissions",
    "storage",
    "tasks",
    "version",
)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    made = Mesh(tmp_path_factory.mktemp("m"), network="demo")
    try:
        made.up()
        yield made
    finally:
        made.down()


def commands(
    command: click.Command, path: tuple[str, ...], context: click.Context
) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, (*path, name), click.Context(found, info_name=name, parent=context))


def test_every_command_that_shows_something_has_json() -> None:
    lacking = [
        name
        for name, command in commands(cli, (), click.Context(cli))
        if name.rpartition(" ")[2] in SHOWING
        and not {"--json", "--format"} & {option for parameter in command.params for option in parameter.opts}
    ]
    assert lacking == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("aha list", {"name": "00.axon.demo", "ready": True, "leader": True}),
        ("aha services", {"service": "cortex", "ready_count": 1}),
        ("aha certs", {"name": "00.cortex.demo"}),
        ("aha enrollments list", {"name": "00.cortex.demo"}),
        ("aha pool list", {"name": "both"}),
        ("auth user list --cell cortex", {"name": "root", "admin": True}),
        ("auth role list --cell cortex", {"name": "all"}),
        ("auth permissions --cell cortex", {"path": ["storm"], "level": "rule"}),
        ("auth audit list --cell cortex", {}),
        ("backup list --cell axon", {"name": "monday"}),
        ("cryotank list", {"record_count": 1}),
        ("cryotank info things", {"record_count": 1, "next_offset": 1}),
        ("cryotank consumer list things", {"consumer": "reader"}),
        ("axon list", {"offset": 0}),
        ("axon stat", {"blob_count": 1}),
        ("log-level --cell cortex", {"level": "info"}),
        ("mirror status --cell cortex", {"name": "00.cortex.demo", "role": "leader"}),
        ("storage --cell cortex", {}),
        ("status", {"kind": "cortex", "state": "ready"}),
        ("version", {"cellmesh": "0.1.0"}),
    ],
)  # fmt: skip
def test_json_tells_what_there_is(
    mesh: Mesh, filled: None, command: str, expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    where = [] if command == "version" else ["--dir", str(mesh.dir)]
    capsys.readouterr()
    assert run([*command.split(), *where, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines
    found = [line for line in lines if expected.items() <= line.items()]
    assert found, lines


@pytest.fixture(scope="module")
def filled(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Something of each kind to list."""
    where = ["--dir", str(mesh.dir)]
    path = tmp_path_factory.mktemp("f") / "file"
    path.write_text("content")
    for command in (
        ["aha", "pool", "create", "both"],
        ["backup", "create", "monday", "--cell", "axon"],
        ["cryotank", "create", "things"],
        ["cryotank", "append", "things", '{"a": 1}'],
        ["cryotank", "consumer", "set", "things", "reader", "0"],
        ["axon", "put", str(path)],
        ["auth", "user", "add", "alice", "--cell", "cortex"],
    ):
        assert run([*command, *where]) == 0, command


def test_layers_to_files_and_back_tell_what_was_done(
    mesh: Mesh, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ["--dir", str(mesh.dir)]
    file = tmp_path / "out.layer"

    def told(*command: str) -> dict[str, Any]:
        capfd.readouterr()
        assert run([*command, *where, "--json"]) == 0
        return dict(json.loads(capfd.readouterr().out.splitlines()[-1]))

    # Two, and the tag.
    assert run(["storm", "[ inet:asn=1 inet:asn=2 +#t ]", *where]) == 0
    made = told("layer", "export", "default", str(file))
    assert (made["nodes"], made["bytes"], made["dropped_edges"]) == (3, file.stat().st_size, 0)
    # Not without --force, and a failure leaves what is there.
    whole = file.read_bytes()
    assert run(["layer", "export", "default", str(file), *where]) != 0
    assert run(["layer", "export", "f" * 32, str(file), "--force", *where]) != 0
    assert file.read_bytes() == whole
    assert told("layer", "export", "default", str(file), "--force")["nodes"] == 3
    found = told("layer", "import", str(file), "--name", "back")
    assert (found["nodes"], found["name"]) == (3, "back")
    assert told("layer", "verify", "back") == {
        "layer": found["layer"],
        "faults": {},
        "repaired": 0,
        "first": [],
    }
    file.write_bytes(whole[:-1])
    capfd.readouterr()
    assert run(["layer", "import", str(file), *where]) != 0
    assert f"ends at byte {len(whole) - 1}" in capfd.readouterr().err
    assert run(["layer", "list", *where, "--json"]) == 0
    (listed,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {one["name"] for one in listed} == {"default", "back"}
    assert all(one["bytes"] > 0 for one in listed)


def test_messages_lose_nothing() -> None:
    instance = registry_pb2.Instance(name="00.axon", ready=True)
    instance.register_time.FromMilliseconds(1_700_000_000_123)
    told = record_of(instance)
    assert told["register_time"] == "2023-11-14T22:13:20.123Z"
    # A message that is not set is left out; a plain field never is.
    assert "expire_time" not in told
    assert told["leader"] is False
    assert record_of(Duration(seconds=1, nanos=500_000_000)) == 1.5
    assert record_of(to_value({"a": [1, b"\xff", 2**70]})) == {"a": [1, "ff", 2**70]}
    status = mirror_pb2.MirrorStatus(role=mirror_pb2.MIRROR_ROLE_FOLLOWER, next_offset=2**60)
    assert (record_of(status)["role"], record_of(status)["next_offset"]) == ("follower", 2**60)
