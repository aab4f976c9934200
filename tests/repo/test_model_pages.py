"""The pages of the model are what the catalog says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cellmesh.cortex.model import Model

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "reference" / "model"


def test_the_pages_are_fresh() -> None:
    subprocess.run([sys.executable, "tools/make_model_docs.py", "--check"], cwd=ROOT, check=True)


def test_every_form_type_and_interface_has_an_entry() -> None:
    model = Model.load()
    headings = {
        heading
        for page in PAGES.glob("*.md")
        for heading in re.findall(r"^##+ (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {*model.defs.types, *model.defs.interfaces} - headings == set()


def test_links_to_entries_lead_to_a_heading() -> None:
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES.glob("*.md")}
    anchors = {
        name: {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        for name, text in texts.items()
    }
    links = {
        (name, page or name, anchor)
        for name, text in texts.items()
        for page, anchor in re.findall(r"\]\(([\w.]*)#([^)]+)\)", text)
    }
    assert len(links) > 1000
    assert [link for link in links if link[2] not in anchors.get(link[1], set())] == []
