"""The commands of docs/concepts.md and docs/from-synapse.md do what the pages say, on a mesh of their own each;
the commands that any page names are there."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import click
import msgpack
import pytest
from cellmesh.cli.main import cli
from cellmesh.cli.mesh import Mesh

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BIN = Path(sys.executable).parent
PAGES = [ROOT / "README.md", *(p for p in sorted(DOCS.rglob("*.md")) if "reference" not in p.parts)]
CONTENTS = (b"hello", b"world")
TIMEOUT_S = 120


def commands(page: str) -> list[str]:
    """The lines of a page's shell blocks, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [
        line for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    mesh = Mesh(tmp_path / "mesh")
    if mesh.exists:
        mesh.down()


def run_page(page: str, folder: Path) -> dict[str, str]:
    """Run what a page tells to run, in a folder; what each command printed."""
    environ = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": str(folder / "state"),
    }
    told: dict[str, str] = {}
    for command in commands(page):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        told[command] = done.stdout + done.stderr
    return told


def files_of_the_peer(folder: Path) -> None:
    """An export of Synapse, and files laid out as its tools for Axon and Cryotank lay them out."""
    shutil.copy(ROOT / "libs/cli/tests/files/peer.nodes", folder / "export.nodes")
    (folder / "events.jsonl").write_text('{"a":1}\n{"b":[1,2]}\n', encoding="utf-8")
    with tarfile.open(folder / "dumped.tar.gz", "w:gz") as archive:
        for content in CONTENTS:
            entry = tarfile.TarInfo(f"{hashlib.sha256(content).hexdigest()}.blob")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def test_the_commands_of_the_concepts_work(folder: Path) -> None:
    told = run_page("concepts.md", folder)
    assert "inet:fqdn=www.example.com" in told["cellmesh storm --dir mesh '[ inet:fqdn=WWW.Example.COM ]'"]
    (pivot,) = (told[command] for command in told if "-> inet:ipv4'" in command)
    assert "inet:ipv4=203.0.113.7" in pivot
    assert told["cellmesh storm --dir mesh 'inet:fqdn=draft.example.com' --count"].split()[0] == "0"
    assert (
        "Counted 1 nodes."
        in told["cellmesh storm --dir mesh 'inet:fqdn:zone=example.com +:host=www | count'"]
    )


def test_what_was_kept_in_the_peer_comes_over(folder: Path) -> None:
    files_of_the_peer(folder)
    told = run_page("from-synapse.md", folder)
    (guid,) = (told[command] for command in told if "lib.guid" in command)
    assert re.search(r"^[0-9a-f]{32}$", guid, re.M)
    assert "nothing is imported" in told["cellmesh import --dir mesh export.nodes --dry-run"]
    assert "2 stored, 0 were there" in told["gzip -dc dumped.tar.gz | cellmesh axon load - --dir mesh"]
    assert "blobs  2\n" in told["cellmesh axon stat --dir mesh"]
    with (folder / "export.nodes").open("rb") as stream:
        exported = len(list(msgpack.Unpacker(stream, raw=False)))
    assert f"packed nodes, {exported} records" in told["cellmesh import --dir mesh export.nodes"]
    assert not (folder / "rejects.jsonl").exists()
    assert int(told["cellmesh storm --dir mesh '.created' --count"].split()[0]) > exported
    assert "2" in told["cellmesh cryotank import events events.jsonl --dir mesh"].split()
    assert "allowed" in told["cellmesh auth check alice node.add.inet:fqdn --dir mesh"]


def named_commands(text: str) -> list[str]:
    """The `cellmesh` commands in the text and the blocks of a page, without the name of the program."""
    blocks = "\n".join(re.findall(r"^```[a-z]*\n(.*?)^```", text, re.M | re.S)).replace("\\\n", " ")
    blocks += "\n" + "\n".join(re.findall(r"^    (cellmesh .*)$", text, re.M))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    found = re.findall(r"(?:^|\$\(|\| |/)cellmesh ([^\n|)]+)", blocks, re.M)
    return found + [
        line for line in re.findall(r"`cellmesh ([^`]+)`", prose) if line.islower() or " " in line
    ]


def unknown_in(line: str) -> str | None:
    """What in a command the program does not have, by its own declarations."""
    line = line.replace("KIND", "cortex")
    words = [word for word in line.split(" #")[0].split() if word not in {"&", "...", "\u2026"}]
    command: click.Command = cli
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            takes_more = command.invoke_without_command or words[0].startswith("-") or words[0].isupper()
            return None if takes_more and command is not cli else words[0]
        command, words = found, words[1:]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    quoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", " ".join(words))
    return next(
        (word for word in re.findall(r"(?<=\s)--[a-z][a-z-]*", f" {quoted}") if word not in known), None
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_command_that_a_page_names_is_one(page: Path) -> None:
    """Also where a page only mentions it: names and long options, so that a renamed one is found."""
    wrong = {line: unknown_in(line) for line in named_commands(page.read_text(encoding="utf-8"))}
    assert {line: word for line, word in wrong.items() if word} == {}


def test_commands_that_are_none_are_found() -> None:
    assert len(named_commands((DOCS / "from-synapse.md").read_text(encoding="utf-8"))) > 60
    for line in (
        "nonsense",
        "axon nonsense X",
        "storm --nonsense 'a'",
        "auth user add --nonsense",
        "up --dirr x",
    ):
        assert unknown_in(line), line
    for line in (
        "storm 'inet:fqdn --nonsense'",
        "up --dir x",
        "mirror status",
        "auth user",
        "storm lint FILE",
    ):
        assert unknown_in(line) is None, line
