"""docs/architecture/platform.md names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cellmesh.common.cell import folder
from cellmesh.common.rpc.interceptors.chain import CHAIN

TEXT = (Path(__file__).parents[3] / "docs" / "architecture" / "platform.md").read_text("utf-8")
IMPORTS = re.findall(r"^from cellmesh\.\S+ import .+$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("line", IMPORTS)
def test_what_the_page_imports_is_there(line: str) -> None:
    exec(line, {})


def test_the_page_shows_imports_at_all() -> None:
    assert len(IMPORTS) >= 6


def test_the_page_tells_the_order_of_the_chain() -> None:
    assert " › ".join((*(kind.name for kind in CHAIN), "handler")) in TEXT


def test_the_page_tells_every_file_of_the_folder() -> None:
    names = [value for key, value in vars(folder).items() if key.endswith(("_FILE", "_FOLDER"))]
    assert names
    assert [name for name in names if f"`{name}" not in TEXT] == []
