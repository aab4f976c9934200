"""What users are told of typical mistakes, as a file to be read through.

goldens/errors/mistakes.storm holds queries separated by lines of dashes; the `.expected` file has the error of each: name,
message, hint, and the line at fault with carets. `CELLMESH_GOLDEN=write` rewrites it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.errors import CellError
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import open_engine

GOLDEN = Path(__file__).parents[2] / "goldens" / "errors" / "mistakes.storm"
SEPARATOR = "----\n"
NAMES_OF_PYTHON = re.compile(
    r"\b(TypeError|KeyError|ValueError|AttributeError|IndexError|NoneType|Traceback|NotImplemented\w*|object at 0x)"
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(tmp_path_factory.mktemp("messages")) as opened:
        list(opened.storm("[ inet:ipv4=1.2.3.4 :asn=5 +#foo inet:dns:a=(foo.com, 1.2.3.4) ]"))
        yield opened


def _error(engine: Engine, text: str) -> CellError | None:
    for message in engine.storm(text):
        if isinstance(message, Error):
            return message.error
    return None


def _told(error: CellError | None) -> str:
    if error is None:
        return "no error\n"
    head, _, lines = error.message.partition("\n")
    hint = error.get("hint")
    if hint and hint not in head:
        head = f"{head} ({hint})"
    shown = error.get("excerpt") or lines
    return f"{error.name}: {head.rstrip(':')}\n" + "".join(f"  {line}\n" for line in shown.splitlines())


def _texts() -> list[str]:
    return [text.rstrip("\n") for text in GOLDEN.read_text(encoding="utf-8").split(SEPARATOR)]


def test_messages_are_as_in_the_golden_file(engine: Engine) -> None:
    rendered = SEPARATOR.join(f"{text}\n=>\n{_told(_error(engine, text))}" for text in _texts())
    expected = GOLDEN.with_suffix(".expected")
    if os.environ.get("CELLMESH_GOLDEN") == "write":
        expected.write_text(rendered, encoding="utf-8")

    assert rendered == expected.read_text(encoding="utf-8")


def test_every_error_has_a_name_and_a_place_and_nothing_of_python(engine: Engine) -> None:
    texts = _texts()
    assert len(texts) > 150
    wrong = []
    for text in texts:
        error = _error(engine, text)
        if error is None:
            continue
        told = _told(error)
        is_placed = isinstance(error.get("line"), int) and isinstance(error.get("column"), int)
        if error.name == "Internal" or not is_placed or "^" not in told or NAMES_OF_PYTHON.search(told):
            wrong.append((text, told))
    assert wrong == []
