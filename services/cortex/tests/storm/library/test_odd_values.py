"""Functions and methods called with values that nobody meant: errors of Storm, never mistakes of the Cortex."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.runtime.messages import Error
from cellmesh.cortex.storm.runtime.options import QueryOptions

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import open_engine

ODD = (
    "(-1)",
    "([])",
    "({})",
    "(null)",
    "(1.5)",
    "(99999999999999999999999999)",
    '([1, "a", null])',
    "$lib.undef",
    "${ inet:ipv4 }",
    "$lib.hex.decode(ff00)",
    '("é\\u0000")',
)
OUTSIDE = frozenset({"inet", "axon", "cell", "jsonstor", "backup", "mesh"})
"""Libraries that ask other servers."""

WAITING = frozenset({"sleep", "wait"})
SAMPLES = {
    "str": '("abc")',
    "list": '([1, "b"])',
    "dict": '({"a": 1})',
    "set": "$lib.set(a)",
    "int": "(5)",
    "number": "(1.5)",
    "bytes": "$lib.hex.decode(ff00)",
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    logging.disable(logging.ERROR)
    with open_engine(tmp_path_factory.mktemp("odd")) as opened:
        yield opened
    logging.disable(logging.NOTSET)


def _mistakes(engine: Engine, texts: Iterator[str]) -> list[str]:
    options = QueryOptions(time_limit_s=20, memory_limit=200 * 2**20)
    found = []
    for text in texts:
        for message in engine.storm(text, options):
            if isinstance(message, Error) and message.error.name == "Internal":
                found.append(text)
    return found


def _calls_of_libraries() -> Iterator[str]:
    for spec in LIBRARIES:
        if spec.path and spec.path[0] in OUTSIDE:
            continue
        for function in spec.functions:
            if function.name in WAITING:
                continue
            name = ".".join(("$lib", *spec.path, function.name))
            count = max(1, len(function.parameters))
            for value in ODD:
                yield f"$x={name}({', '.join([value] * count)})"
                if count > 1:
                    yield f"$x={name}(abc, {', '.join([value] * (count - 1))})"


def _calls_of_methods() -> Iterator[str]:
    for spec in TYPES:
        for method in spec.methods if spec.name in SAMPLES else ():
            for value in ODD:
                given = ", ".join([value] * len(method.parameters))
                yield f"$v={SAMPLES[spec.name]} $x=$v.{method.name}({given})"


def test_functions_of_the_library_take_anything(engine: Engine) -> None:
    assert _mistakes(engine, _calls_of_libraries()) == []


def test_methods_of_plain_values_take_anything(engine: Engine) -> None:
    assert any(spec.name in SAMPLES for spec in TYPES)
    assert _mistakes(engine, _calls_of_methods()) == []
