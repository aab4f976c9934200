"""What docs/model.md, docs/storm-services.md and the example's README tell to run works on a Cortex."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cellmesh.cli.main import run
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.model import Model
from cellmesh.testing.conformance.cases import Step
from cellmesh.testing.conformance.cortex import StormClient, fresh_cortex

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "examples" / "storm-service" / "server.py"
STOP_S = 30.0


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    every = re.findall(r"^```([a-z]*)\n(.*?)^```$", text, re.M | re.S)
    return [block for named, block in every if named == language]


@contextmanager
def service() -> Iterator[str]:
    """Run the example; its URL."""
    command = [sys.executable, str(SERVER), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"grpc://127.0.0.1:{int(process.stdout.readline().split()[-1])}"
        finally:
            process.terminate()
            process.wait(STOP_S)


def ask(cortex: StormClient, text: str) -> tuple[list[str], int]:
    """What a query prints, and how many nodes it gives."""
    answer = cortex.run(Step(text, {}, "root", False))
    assert answer.error is None, f"{text}: {answer.error}"
    return [str(line) for line in answer.prints], len(answer.nodes)


def test_a_model_file_is_one_that_loads(tmp_path: Path) -> None:
    (text,) = blocks("docs/model.md", "json")
    (tmp_path / "corp.json").write_text(text, encoding="utf-8")
    model = Model.load(extra=[tmp_path / "corp.json"])
    form = model.form("corp:asset")
    assert {"host", "tags", ".trust"} <= {
        prop.name.removeprefix("corp:asset:") for prop in form.props.values()
    }


def test_the_commands_that_show_the_model_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("docs/model.md", "sh")
    with running(
        CortexCell(load_config(CortexConfig, dir=tmp_path, flags={"log_level": "error"}, environ={}))
    ):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] == "cellmesh"
            assert run([*words[1:], "--dir", str(tmp_path)]) == 0, line
            assert "inet:" in capsys.readouterr().out


def test_a_service_is_used_as_the_pages_say() -> None:
    guide = blocks("docs/storm-services.md", "")[0].splitlines()
    added, used = (block.splitlines() for block in blocks("examples/storm-service/README.md", ""))
    with service() as url, fresh_cortex() as cortex:
        for lines in (guide, [*added, *used]):
            printed: list[str] = []
            for line in lines:
                if line.startswith("service.del"):
                    continue
                told, _ = ask(cortex, re.sub(r"grpcs?://\S+", url, line))
                assert told or line.startswith(("service.add", "$lib.service.wait", "[")), line
                printed += told
            (iden,) = {word for line in printed for word in re.findall(r"\b[0-9a-f]{32}\b", line)}
            ask(cortex, f"service.del {iden}")
