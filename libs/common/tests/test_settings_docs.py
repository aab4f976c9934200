"""The reference page of settings is what the code says, and `serve --help` tells each of them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from cellmesh.cli.main import cli
from cellmesh.common.config.spec import environment_name, flag_name
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "reference" / "settings.md"
KINDS = ("aha", "axon", "cortex", "cryotank")


def test_the_page_is_fresh() -> None:
    found = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_settings_docs.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_help_and_page_tell_every_setting(kind: str) -> None:
    config = importlib.import_module(f"cellmesh.{kind}.main").CONFIG
    told = CliRunner().invoke(cli, [kind, "serve", "--help"], terminal_width=200, max_content_width=200)
    assert told.exit_code == 0
    page = PAGE.read_text()
    for name, field in config.model_fields.items():
        assert field.description, f"{kind}.{name} has no description"
        assert f"{flag_name(name)} " in told.output
        assert environment_name(config, name) in told.output
        assert f"| `{flag_name(name)}` |" in page
    assert told.output.index(f"Settings of the {kind}" if kind != "aha" else "--") >= 0
    assert "Settings of every cell" in told.output
    assert "Exit codes" in told.output


def test_help_is_quick_and_names_what_is_needed() -> None:
    told = CliRunner().invoke(cli, ["axon", "serve", "--help"], terminal_width=110)
    assert "--dir PATH" in told.output
    assert "[required]" in told.output
