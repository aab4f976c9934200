"""Hooks of MkDocs for `make site`: pages from outside of docs/ that others link to, and Markdown as GitHub reads it.

The README becomes the page `tour.md`. Other files of the repository that a page links to become pages below
`repository/`: Markdown as it is, a folder as a list, anything else as a code block. The page of commands is made by command_page.py. The
site's own style and search are in tools/site.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

sys.path.insert(0, str(ROOT))

from tools import command_page

TOUR = "tour.md"
FENCE = re.compile(r"^ *(```|~~~)")
LINK = re.compile(r"(?<!`)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
BEGINS_LIST = re.compile(r"^ *(?:[-*+]|\d+\.) ")
FOLDED = re.compile(r"^( +)(?=[-*+] )")
CODE_IN_CELL = re.compile(r"<code>[^<]*</code>")
OWN = Path(__file__).parent / "site"
COMMANDS = "reference/commands.md"
STYLE = "css/site.css"

_origins: dict[str, str] = {}
"""From the name of a page on the site to its file or folder, both relative to their roots."""


def page_name(origin: str) -> str:
    """What the page of a file or folder of the repository is called on the site."""
    if origin.startswith("docs/"):
        return origin.removeprefix("docs/")
    if origin == "README.md":
        return TOUR
    path = ROOT / origin
    if path.is_dir():
        return f"repository/{origin}/{'README' if (path / 'README.md').is_file() else 'index'}.md"
    return f"repository/{origin}" if path.suffix == ".md" else f"repository/{origin}.md"


def content(origin: str) -> str:
    """The Markdown of a file or folder that is not in docs/."""
    path = ROOT / origin
    if (path / "README.md").is_file():
        path = path / "README.md"
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        listed = [f"- [{p.relative_to(path).as_posix()}]({p.relative_to(path).as_posix()})" for p in files]
        return "\n".join([f"# {origin}", "", *listed, ""])
    text = path.read_text(encoding="utf-8")
    return text if path.suffix == ".md" else f"# {origin}\n\n````\n{text}````\n"


def folder_of(origin: str) -> str:
    """The folder that links in the page of a file or folder start from."""
    return origin if (ROOT / origin).is_dir() else PurePosixPath(origin).parent.as_posix()


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Change the lines of a page that are not in code blocks."""
    lines, inside = [], ""
    for line in text.split("\n"):
        fence = FENCE.match(line)
        if fence and inside in ("", fence[1]):
            inside = "" if inside else fence[1]
            lines.append(line)
        else:
            lines.append(line if inside else change(line))
    return "\n".join(lines)


def linked(origin: str, text: str) -> list[str]:
    """Files and folders of the repository that a page links to, relative to it."""
    found: list[str] = []

    def note(line: str) -> str:
        for target, _ in LINK.findall(line):
            path = os.path.normpath(f"{folder_of(origin)}/{target}")
            if (ROOT / path).exists():
                found.append(path)
        return line

    outside_code(text, note)
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name headings as GitHub does, so that links have the same ends on both."""
    config.mdx_configs["toc"] = {**config.mdx_configs.get("toc", {}), "slugify": slug}
    return config


def slug(heading: str, separator: str) -> str:
    """What a heading is called in links."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside of docs/: the README, and what is linked to, directly or from those."""
    _origins.clear()
    files.append(File.generated(config, STYLE, abs_src_path=str(OWN / "site.css")))
    files.append(File.generated(config, COMMANDS, content=command_page.page()))
    waiting = ["README.md"]
    for file in files.documentation_pages():
        origin = f"docs/{file.src_uri}"
        _origins[file.src_uri] = origin
        waiting += linked(origin, file.content_string)
    while waiting:
        origin = waiting.pop()
        name = page_name(origin)
        if name in _origins or origin.startswith("docs/") or origin == "docs":
            continue
        text = content(origin)
        _origins[name] = origin
        files.append(File.generated(config, name, content=text))
        waiting += linked(origin, text)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to the pages of the site, and part lists from the text before, as Python's Markdown wants it."""
    name = page.file.src_uri
    origin = _origins[name]

    def point(match: re.Match[str]) -> str:
        path = os.path.normpath(f"{folder_of(origin)}/{match[1]}")
        if not (ROOT / path).exists():
            return match[0]
        target = os.path.relpath(page_name(path), PurePosixPath(name).parent)
        return f"]({target}{match[2] or ''})"

    before = ""

    def change(line: str) -> str:
        nonlocal before
        begins = BEGINS_LIST.match(line) and before.strip() and not BEGINS_LIST.match(before)
        begins = begins and not before.startswith(" ")
        before = line
        # Two blanks are enough for GitHub to put a list into another; here it takes four.
        wide = FOLDED.sub(lambda blanks: blanks[1] * 2, line)
        return ("\n" if begins else "") + LINK.sub(point, wide)

    return outside_code(markdown, change)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show a bar in code in a table as a bar: Markdown wants a backslash before it there, and Python's keeps that."""
    return CODE_IN_CELL.sub(lambda code: code[0].replace("\\|", "|"), html)


def on_post_build(config: MkDocsConfig) -> None:
    """Put the site's own search in place of MkDocs's, over the texts that MkDocs gathered."""
    folder = Path(config.site_dir) / "search"
    gathered = json.loads((folder / "search_index.json").read_text(encoding="utf-8"))
    rows = [[one["location"], one["title"], one["text"]] for one in gathered["docs"]]
    told = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    (folder / "records.js").write_text(f"cellmeshSearch({told});\n", encoding="utf-8")
    (folder / "main.js").write_text((OWN / "search.js").read_text(encoding="utf-8"), encoding="utf-8")
    for unused in ("search_index.json", "lunr.js", "worker.js"):
        (folder / unused).unlink()
