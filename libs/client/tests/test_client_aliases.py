"""Aliases of URLs, and cells inside this process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cellmesh.client
import cellmesh.client.aio
import pytest
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.client import CellUrl, Scheme, open_cell
from cellmesh.client.aliases import NAME, parse_url, read_aliases, remove_alias, set_alias
from cellmesh.common.errors import (
    BadConfValu,
    BadName,
    BadState,
    BadUrl,
    CellUnreachable,
    IsFini,
    NoSuchName,
    StorageLocked,
)
from hypothesis import given
from hypothesis import strategies as st

INFO = cell_service_pb2.GetCellInfoRequest()


@pytest.fixture(autouse=True)
def aliases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config" / "aliases.toml"
    monkeypatch.setenv("CELLMESH_ALIASES", str(path))
    return path


def kind_of(client: cellmesh.client.CellClient) -> str:
    return str(client.stub(cell_service_pb2_grpc.CellServiceStub).GetCellInfo(INFO).cell.kind)


def test_an_alias_leads_to_its_url(aliases: Path) -> None:
    assert read_aliases() == {}
    set_alias("west", "grpcs://00.axon.demo@10.0.0.7:1")
    set_alias("a.b-c_1", "aha://cortex")
    assert str(parse_url("west")) == "grpcs://00.axon.demo@10.0.0.7:1"
    assert read_aliases() == {"a.b-c_1": "aha://cortex", "west": "grpcs://00.axon.demo@10.0.0.7:1"}
    set_alias("west", 'unix:///tmp/quo"te\\n')
    assert read_aliases()["west"] == 'unix:///tmp/quo"te\\n'
    assert remove_alias("west").startswith("unix:")
    assert list(read_aliases()) == ["a.b-c_1"]
    assert aliases.stat().st_mode & 0o777 == 0o600
    aliases.write_text('# by hand\n[aliases]\nnear = "unix:///nowhere"\n')
    assert parse_url("near") == CellUrl.parse("unix:///nowhere")


def test_what_is_no_alias_is_told(aliases: Path) -> None:
    set_alias("cortex-west", "aha://cortex")
    with pytest.raises(BadUrl, match="did you mean cortex-west"):
        open_cell("cortex-wst")
    with pytest.raises(BadUrl, match="cellmesh alias set other URL"):
        open_cell("other")
    for name in ("", "a b", "a:1", "unix://x", "-a", "x" * 65):
        with pytest.raises(BadName):
            set_alias(name, "aha://cortex")
    with pytest.raises(BadUrl):
        set_alias("chain", "cortex-west")
    with pytest.raises(NoSuchName):
        remove_alias("chain")
    for text in ("[aliases", "[aliases]\nwest = 1\n", "aliases = 1\n", '[aliases]\n"a b" = "aha://x"\n'):
        aliases.write_text(text)
        with pytest.raises(BadConfValu):
            open_cell("west")


def test_a_cell_runs_inside_the_process(tmp_path: Path) -> None:
    folder = tmp_path / "axon"
    with pytest.raises(BadUrl, match="its kind is not known"):
        open_cell(f"cell://{folder}")
    with cellmesh.client.open(f"cell://{folder}?axon") as client:
        assert kind_of(client) == "axon"
        assert client.address == f"unix:{folder}/cell.sock"
        # A second one is told where the first can be called.
        with pytest.raises(StorageLocked) as caught, open_cell(f"cell://{folder}"):
            pass
        assert f"unix://{folder}" in caught.value.hint
        with open_cell(f"unix://{folder}") as other:
            assert kind_of(other) == "axon"
    with pytest.raises(IsFini):
        kind_of(client)
    with open_cell(f"unix://{folder}") as gone, pytest.raises(CellUnreachable):
        kind_of(gone)
    with (
        pytest.raises(BadState, match="belongs to a cell of kind axon"),
        open_cell(f"cell://{folder}?cryotank"),
    ):
        pass
    # Without a block: started by the first call. Its kind is known by now.
    set_alias("mine", f"cell://{folder}")
    client = open_cell("mine")
    assert kind_of(client) == "axon"
    client.close()


def test_a_cell_runs_inside_an_event_loop_s_process(tmp_path: Path) -> None:
    async def main() -> None:
        async with cellmesh.client.aio.open(f"cell://{tmp_path}/tank?cryotank") as client:
            answer = await client.stub(cell_service_pb2_grpc.CellServiceStub).GetCellInfo(INFO)
            assert answer.cell.kind == "cryotank"
        client = cellmesh.client.aio.open(f"cell://{tmp_path}/tank")
        answer = await client.stub(cell_service_pb2_grpc.CellServiceStub).GetCellInfo(INFO)
        assert answer.cell.kind == "cryotank"
        await client.close()
        with pytest.raises(IsFini):
            await client.stub(cell_service_pb2_grpc.CellServiceStub).GetCellInfo(INFO)

    asyncio.run(main())


def test_a_folder_that_another_process_serves_is_told_with_its_url(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cellmesh.cli.main", "axon", "serve", "--dir", str(tmp_path / "axon")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(StorageLocked) as caught, open_cell(f"cell://{tmp_path}/axon"):
                pass
            assert caught.value.get("pid") == str(process.pid)
            with open_cell(f"unix://{tmp_path}/axon") as client:
                assert kind_of(client) == "axon"
        finally:
            process.kill()
    # What the killed process left does not hinder.
    with open_cell(f"cell://{tmp_path}/axon") as client:
        assert kind_of(client) == "axon"


@pytest.mark.parametrize("url", ["cell://", "cell://x?Axon", "cell://x?a/b", "cell://x?nothing"])
def test_other_urls_of_cells_are_refused_at_once(url: str) -> None:
    with pytest.raises(BadUrl):
        open_cell(url)


def test_the_urls_of_cells_read_back() -> None:
    assert str(CellUrl.parse("cell:///srv/axon?axon")) == "cell:///srv/axon?axon"
    assert str(CellUrl.parse("cell://axon")) == f"cell://{os.getcwd()}/axon"


@given(
    st.one_of(
        st.text(),
        st.builds("{}://{}".format, st.sampled_from(list(Scheme)).map(lambda s: s.value), st.text()),
    )
)
def test_any_text_is_a_url_or_refused_as_one(text: str) -> None:
    try:
        url = CellUrl.parse(text)
    except BadUrl:
        return
    if not url.user:
        assert CellUrl.parse(str(url)) == url


@given(
    st.dictionaries(
        st.from_regex(NAME, fullmatch=True), st.text(st.characters(exclude_categories=["Cs"])), max_size=5
    )
)
def test_aliases_are_kept_as_they_were_given(given_urls: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "aliases.toml"
        kept = {name: f"unix:///x{text}" for name, text in given_urls.items()}
        for name, url in kept.items():
            set_alias(name, url, path)
        assert read_aliases(path) == kept
        for name, url in kept.items():
            assert remove_alias(name, path) == url
        assert read_aliases(path) == {}
