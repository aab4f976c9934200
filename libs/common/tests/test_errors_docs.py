"""The reference page of errors: there, fresh, and complete. The contract names every reason with a comment."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cellmesh.api.common.v1 import errors_pb2
from cellmesh.common import errors

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "reference" / "errors.md"
PROTO = ROOT / "protos" / "cellmesh" / "api" / "common" / "v1" / "errors.proto"


def test_page_is_fresh() -> None:
    found = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_error_docs.py", "--check"], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr


def test_every_reason_has_one_entry_with_its_fields() -> None:
    entries = PAGE.read_text().split("\n### ")[1:]
    by_reason = {match[1]: entry for entry in entries if (match := re.search(r"`(ERROR_REASON_\w+)`", entry))}
    assert len(entries) == len(by_reason)
    assert set(by_reason) == set(errors_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}
    for cls in errors.ALL_ERRORS:
        entry = by_reason[cls.reason_name()]
        assert entry.startswith(f"{cls.__name__}\n")
        assert all(f"`{name}`" in entry for name in cls.field_docs)


def test_contract_says_of_each_reason_what_its_class_says() -> None:
    found = re.findall(r"// (.*)\n  (ERROR_REASON_\w+) = ", PROTO.read_text())
    told = {name: text for text, name in found}
    wrong = [cls for cls in errors.ALL_ERRORS[1:] if told[cls.reason_name()].rstrip(".") != cls.summary()]
    assert wrong == []
