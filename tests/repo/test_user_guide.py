"""The user guide is true: each of its queries runs, in order, on a fresh Cortex, and gives what its comment says."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.testing.conformance.cases import Step
from cellmesh.testing.conformance.cortex import StormClient, fresh_cortex

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "user-guide.md"
BLOCK = re.compile(r"^```storm\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMISE = re.compile(r"^// (\d+) nodes?(, soon)?$", re.MULTILINE)
SOON_S = 60.0
"""How long what runs by itself may take."""


@pytest.fixture(scope="module")
def cortex() -> Iterator[StormClient]:
    with fresh_cortex() as client:
        yield client


def test_every_query_of_the_user_guide_does_what_it_says(cortex: StormClient) -> None:
    page = GUIDE.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(page))
    assert len(blocks) > 25
    wrong = []
    for block in blocks:
        text = block[1]
        answer = cortex.run(Step(text, {}, "root", False))
        line = page.count("\n", 0, block.start(1)) + 1
        promise = PROMISE.search(text)
        deadline = time.monotonic() + SOON_S
        while promise is not None and promise[2] and len(answer.nodes) != int(promise[1]):
            if answer.error is not None or time.monotonic() > deadline:
                break
            time.sleep(0.1)
            answer = cortex.run(Step(text, {}, "root", False))
        if answer.error is not None:
            wrong.append(f"line {line}: {answer.error}")
        elif promise is not None and len(answer.nodes) != int(promise[1]):
            wrong.append(f"line {line}: {len(answer.nodes)} nodes instead of {promise[1]}: {text}")
        elif promise is None and not (answer.prints or answer.warnings):
            wrong.append(f"line {line}: promises no nodes, and prints nothing: {text}")
    assert wrong == []
