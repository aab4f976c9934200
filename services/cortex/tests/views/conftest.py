"""The suites of layers run over LMDB and over its twin in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from graph_kit import STORAGE

BOTH = ("test_derived_props", "test_edits_together", "test_feed", "test_graph_edits", "test_graph_sessions")

MEMORY_NOT = ("test_everything_is_there_after_reopening",)
"""What is about the file."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if Path(metafunc.definition.path).stem in BOTH and metafunc.definition.name not in MEMORY_NOT:
        metafunc.fixturenames.insert(0, "storage")
        metafunc.parametrize("storage", ["lmdb", "memory"], indirect=True)


@pytest.fixture
def storage(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have graphs opened over this storage."""
    token = STORAGE.set(request.param)
    yield request.param
    STORAGE.reset(token)
