"""Every error reason has one class and a docs entry, and the page is what the classes say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cellmesh.api.common.v1 import errors_pb2
from cellmesh.common.errors import ALL_ERRORS, CLASS_BY_REASON

ROOT = Path(__file__).resolve().parents[2]


def test_every_reason_has_one_class() -> None:
    reasons = [value for value in errors_pb2.ErrorReason.values() if value]
    assert sorted(CLASS_BY_REASON) == sorted(reasons)
    assert len({error.reason for error in ALL_ERRORS}) == len(ALL_ERRORS)


def test_every_error_has_a_docs_entry() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### (\w+)$", page, re.MULTILINE))
    assert {error.__name__ for error in ALL_ERRORS} - headings == set()


def test_the_errors_page_is_fresh() -> None:
    subprocess.run([sys.executable, "tools/make_error_docs.py", "--check"], cwd=ROOT, check=True)
