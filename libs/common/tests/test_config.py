"""Settings: sources and their order, origins, refusals, help and docs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import click
import pytest
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.config.click_options import config_options
from cellmesh.common.config.docs import settings_table
from cellmesh.common.config.spec import SECRET, SECRET_SHOWN
from cellmesh.common.errors import BadConfValu, NeedConfValu
from click.testing import CliRunner
from pydantic import Field


class TrialConfig(CellConfig):
    kind: ClassVar[str] = "trial"
    chunk_size_bytes: int = Field(4096, ge=16, le=1 << 20, description="Size of one chunk, in bytes.")
    mode: Literal["fast", "safe"] = Field("safe", description="How to go about it.")
    peers: list[str] = Field(default_factory=list, description="Names of others.")
    api_key: str = Field("", description="A key.", json_schema_extra=SECRET)


def load(tmp_path: Path, **sources: object) -> TrialConfig:
    environ = sources.pop("environ", {})
    return load_config(TrialConfig, dir=tmp_path, flags=sources, environ=environ)  # type: ignore[arg-type]


def test_defaults_hold_when_nothing_is_said(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert (config.chunk_size_bytes, config.mode, config.listen) == (4096, "safe", "127.0.0.1:0")
    assert config.origin("mode") == "default"
    assert config.origin("dir") == "flag --dir"


def test_a_later_source_wins_and_its_origin_is_kept(tmp_path: Path) -> None:
    (tmp_path / "cell.toml").write_text('chunk_size_bytes = 32\nmode = "fast"\nlog_level = "debug"\n')
    environ = {"CELLMESH_TRIAL_CHUNK_SIZE_BYTES": "64", "CELLMESH_TRIAL_MODE": "safe", "HOME": "/"}
    config = load(tmp_path, environ=environ, chunk_size_bytes=128, insecure=None)
    assert (config.chunk_size_bytes, config.mode, config.log_level) == (128, "safe", "debug")
    assert config.origin("chunk_size_bytes") == "flag --chunk-size-bytes"
    assert config.origin("mode") == "environment CELLMESH_TRIAL_MODE"
    assert config.origin("log_level") == f"file {tmp_path / 'cell.toml'}"
    assert config.origin("insecure") == "default"


def test_the_folder_may_come_from_the_environment(tmp_path: Path) -> None:
    config = load_config(TrialConfig, environ={"CELLMESH_TRIAL_DIR": str(tmp_path)})
    assert config.dir == tmp_path


def test_a_missing_folder_setting_says_how_to_give_it() -> None:
    with pytest.raises(NeedConfValu) as caught:
        load_config(TrialConfig, environ={})
    assert caught.value.get("name") == "dir"
    assert "CELLMESH_TRIAL_DIR" in str(caught.value)


@pytest.mark.parametrize("source", ["file", "environment", "flag"])
def test_an_unknown_name_is_refused_with_a_near_match(tmp_path: Path, source: str) -> None:
    environ, flags = {}, {}
    match source:
        case "file":
            (tmp_path / "cell.toml").write_text("chunk_size = 5\n")
        case "environment":
            environ["CELLMESH_TRIAL_CHUNK_SIZE"] = "5"
        case _:
            flags["chunk_size"] = 5
    with pytest.raises(BadConfValu) as caught:
        load(tmp_path, environ=environ, **flags)
    assert caught.value.get("name") == "chunk_size"
    assert "did you mean chunk_size_bytes?" in str(caught.value)
    assert source in caught.value.get("origin")


def test_variables_of_other_programs_and_cells_are_left_alone(tmp_path: Path) -> None:
    load(tmp_path, environ={"CELLMESH_AXON_NONSENSE": "1", "CELLMESH_IDENTITY": "x", "PATH": ""})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("chunk_size_bytes", "many", "integer"),
        ("chunk_size_bytes", "8", "greater than or equal to 16"),
        ("mode", "quick", "'fast' or 'safe'"),
        ("listen", "127.0.0.1", "host:port"),
        ("listen", "127.0.0.1:70000", "port"),
    ],
)
def test_a_bad_value_names_setting_value_and_origin(tmp_path: Path, name: str, value: str, said: str) -> None:
    with pytest.raises(BadConfValu) as caught:
        load(tmp_path, environ={f"CELLMESH_TRIAL_{name.upper()}": value})
    text = str(caught.value)
    assert name in text
    assert value in text
    assert said in text
    assert caught.value.get("origin") == f"environment CELLMESH_TRIAL_{name.upper()}"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cell.toml").write_text("mode = \n")
    with pytest.raises(BadConfValu, match=r"cell\.toml is not TOML"):
        load(tmp_path)


def test_the_file_cannot_move_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "cell.toml").write_text('dir = "/elsewhere"\n')
    with pytest.raises(BadConfValu, match="cannot set the folder"):
        load(tmp_path)


def test_lists_come_as_commas_in_the_environment_and_repeated_flags(tmp_path: Path) -> None:
    assert load(tmp_path, environ={"CELLMESH_TRIAL_PEERS": "a, b,"}).peers == ["a", "b"]
    assert load(tmp_path, peers=("c", "d")).peers == ["c", "d"]


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path).mode = "fast"  # type: ignore[misc]


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    shown = load(tmp_path, api_key="hunter2", enroll="cellmesh://h:1/enroll/tok#x").shown()
    assert shown["api_key"] == shown["enroll"] == SECRET_SHOWN
    assert "hunter2" not in str(shown)


def test_a_bad_secret_is_refused_without_being_told(tmp_path: Path) -> None:
    with pytest.raises(BadConfValu) as caught:
        load(tmp_path, api_key={"deep": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(dict(caught.value.items()))


@click.command()
@config_options(TrialConfig)
def serve(**flags: object) -> None:
    config = load_config(TrialConfig, flags=flags, environ={})
    click.echo(
        f"{config.chunk_size_bytes} {config.mode} {config.insecure} {config.origin('insecure')} {config.peers}"
    )


def test_help_tells_every_setting() -> None:
    text = CliRunner().invoke(serve, ["--help"]).output
    squeezed = " ".join(text.split())
    for name in TrialConfig.model_fields:
        assert "--" + name.replace("_", "-") in text
        assert f"CELLMESH_TRIAL_{name.upper()}" in squeezed
    assert "default 4096" in squeezed


def test_flags_reach_the_settings(tmp_path: Path) -> None:
    arguments = [
        "--dir",
        str(tmp_path),
        "--chunk-size-bytes",
        "99",
        "--insecure",
        "--peers",
        "a",
        "--peers",
        "b",
    ]
    result = CliRunner().invoke(serve, arguments)
    assert result.output == "99 safe True flag --insecure ['a', 'b']\n"


def test_the_table_for_the_docs_has_a_row_a_setting() -> None:
    table = settings_table(TrialConfig)
    rows = [line for line in table.splitlines() if line.startswith("| `--")]
    assert len(rows) == len(TrialConfig.model_fields)
    assert "| `--mode` | `CELLMESH_TRIAL_MODE` | fast, safe | `safe` | How to go about it. |" in rows
    assert any("text (secret)" in row for row in rows)
