"""Trees and faults as files: goldens/parser/NAME.storm with NAME.expected.

A `.storm` file holds texts separated by lines of dashes; its name ends in the mode to parse them in, if that is not
storm (`words.lookup.storm`). The `.expected` file holds the tree of each, a line a node with the part of the text it
covers, or the fault. `CELLMESH_GOLDEN=write` rewrites the expected files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import BadSyntax
from cellmesh.cortex.storm.parser import ast, parse_query

GOLDENS = Path(__file__).parents[2] / "goldens" / "parser"
FILES = sorted(GOLDENS.glob("*.storm"))
SEPARATOR = "----\n"


def _dump(value: Any, text: str, label: str = "", indent: int = 0) -> Iterator[str]:
    prefix = "  " * indent + (f"{label}: " if label else "")
    if isinstance(value, ast.Node):
        plain = []
        nested = []
        for field in fields(value):
            content = getattr(value, field.name)
            if field.name == "span" or (isinstance(value, ast.EmbeddedQuery) and field.name == "text"):
                continue
            is_tree = isinstance(content, ast.Node) or (isinstance(content, tuple) and content != ())
            if is_tree and not (isinstance(content, tuple) and isinstance(content[0], str)):
                nested.append((field.name, content))
            else:
                plain.append(f"{field.name}={content!r}")
        covered = text[value.span.start : value.span.end].replace("\n", "\\n")
        yield f"{prefix}{type(value).__name__}({', '.join(plain)})  <{covered}>"
        for name, content in nested:
            yield from _dump(content, text, name, indent + 1)
    elif isinstance(value, tuple):
        for item in value:
            yield from _dump(item, text, label, indent)
    else:
        yield f"{prefix}{value!r}"


def _render(text: str, mode: ast.ParseMode) -> str:
    try:
        tree = parse_query(text, mode)
    except BadSyntax as error:
        return f"BadSyntax at {error.get('at')}: {error.message}\n"
    return "\n".join(_dump(tree, text)) + "\n"


def _mode(path: Path) -> ast.ParseMode:
    suffix = path.stem.rpartition(".")[2]
    return ast.ParseMode(suffix) if "." in path.stem else ast.ParseMode.STORM


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_trees_are_as_in_the_golden_file(path: Path) -> None:
    texts = path.read_text(encoding="utf-8").split(SEPARATOR)
    rendered = SEPARATOR.join(_render(text.rstrip("\n"), _mode(path)) for text in texts)
    expected = path.with_suffix(".expected")
    if os.environ.get("CELLMESH_GOLDEN") == "write":
        expected.write_text(rendered, encoding="utf-8")

    assert rendered == expected.read_text(encoding="utf-8")


def test_there_are_golden_files() -> None:
    assert len(FILES) >= 9
