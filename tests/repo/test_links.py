"""Links in the README, docs/ and the READMEs of folders lead to files and headings that exist, and every page can be found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SITE = ROOT / "tools" / "mkdocs.yml"
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
OTHERS = tuple(
    sorted(p for top in ("deploy", "examples", "tests/conformance") for p in (ROOT / top).rglob("*.md"))
)
FENCE = re.compile(r"^( *)(`{3,}|~{3,})[^\n]*\n.*?^ *\2[`~]* *$", re.M | re.S)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.S)
COMMENT = re.compile(r"<!--.*?-->", re.S)
INLINE = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)", re.M)
HTML = re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)=[\"']([^\"']+)")
HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$", re.M)
NAMED = re.compile(r"<[a-z]+\b[^>]*?\b(?:id|name)=[\"']([^\"']+)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)


def prose(text: str) -> str:
    """A page without code blocks and comments."""
    return COMMENT.sub("", FENCE.sub("", text))


def links(text: str) -> Iterator[str]:
    """The targets of a page's links, those in code left out."""
    plain = CODE.sub("", prose(text))
    for pattern in (INLINE, REFERENCE, HTML):
        yield from pattern.findall(plain)


def slug(heading: str) -> str:
    """What a heading is called in links by GitHub's rule: lower case, no punctuation, blanks as hyphens."""
    shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    shown = re.sub(r"(?<!\\)(?:\*+|(?<!\w)_+|_+(?!\w))", "", shown) if "`" not in shown else shown
    return re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")


def anchors_of(text: str) -> set[str]:
    """Every name in a page that a link may end with."""
    plain = prose(text)
    seen: Counter[str] = Counter()
    found = set(NAMED.findall(plain))
    for heading in HEADING.findall(plain):
        name = slug(heading)
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


@cache
def anchors(page: Path) -> set[str]:
    return anchors_of(page.read_text(encoding="utf-8"))


def dead(page: Path, text: str) -> Iterator[str]:
    """The links in the text of a page that lead nowhere."""
    for link in links(text):
        if ELSEWHERE.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        if path.startswith("/") or not target.exists() or not target.is_relative_to(ROOT):
            yield f"{link}: no such file"
        elif anchor and (target.suffix != ".md" or unquote(anchor) not in anchors(target)):
            yield f"{link}: no such heading"


def test_no_link_is_dead() -> None:
    found = [
        f"{page.relative_to(ROOT)}: {problem}"
        for page in (*PAGES, *OTHERS)
        if "node_modules" not in page.parts
        for problem in dead(page, page.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("[a](docs/storage.md) [b](docs) [c](https://example.com/#x) [d](mailto:a@example.com)", 0),
        ("[a](docs/nowhere.md)", 1),
        ("[a](/README.md)", 1),
        ("[a](../../../etc/passwd)", 1),
        ("[a](docs/storage.md#nowhere)", 1),
        ("[a](pyproject.toml#x)", 1),
        ("[a](README.md#two-commands) [b](README.md#Two-commands)", 1),
        ("[a][b]\n\n[b]: nowhere.md\n", 1),
        ('<a href="nowhere.md">a</a> <img alt="" src="nowhere.png">', 2),
        ('[a](nowhere.md "with a title") ![a](nowhere.png)', 2),
        ("`[a](nowhere.md)` ``[a](`nowhere.md)``", 0),
        ("```\n[a](nowhere.md)\n```\n[a](nowhere.md)", 1),
        ("<!-- [a](nowhere.md) -->", 0),
    ],
)
def test_the_checker_finds_what_is_dead(text: str, problems: int) -> None:
    assert len(list(dead(ROOT / "README.md", text))) == problems


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("# Two Words\n\n## Two words\n", {"two-words", "two-words-1"}),
        ("## `$lib.str.join`, of `a_b`\n", {"libstrjoin-of-a_b"}),
        ("### What *this* is, and [that](x.md)?\n", {"what-this-is-and-that"}),
        ("## a - b ##\n", {"a---b"}),
        ("```\n# a comment\n```\n", set()),
        ('<a id="here"></a>\n', {"here"}),
    ],
)
def test_headings_are_named_as_github_does(text: str, names: set[str]) -> None:
    assert anchors_of(text) == names


def test_the_readme_leads_to_every_page() -> None:
    """Pages made in numbers (one a domain, one a library) are reached from their folder's README.md."""
    for start, pages in (
        (ROOT / "README.md", {p for p in PAGES if p.parent != DOCS / "reference/model"}),
        (DOCS / "reference/model/README.md", set((DOCS / "reference/model").glob("*.md"))),
        (DOCS / "reference/storm/README.md", set((DOCS / "reference/storm").glob("*/*.md"))),
    ):
        linked = {(start.parent / link.split("#")[0]).resolve() for link in links(start.read_text("utf-8"))}
        linked |= {target / "README.md" for target in linked}
        made = {p for p in pages if p.is_relative_to(DOCS / "reference/storm") and p.name != "README.md"}
        wanted = pages - made if start.name == "README.md" and start.parent == ROOT else pages
        assert (
            sorted(p.relative_to(ROOT).as_posix() for p in wanted - linked - {start, DOCS / "index.md"}) == []
        )


def site_pages(entries: list[object]) -> Iterator[str]:
    """The pages in a navigation of mkdocs.yml."""
    for entry in entries:
        inner = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(inner, list):
            yield from site_pages(inner)
        else:
            yield str(inner)


def test_the_site_has_every_page_once_in_its_navigation() -> None:
    settings = yaml.safe_load(SITE.read_text(encoding="utf-8"))
    listed = list(site_pages(settings["nav"]))
    folders = ("reference/model/", "reference/storm/")
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    wanted = [p for p in pages if not p.startswith(folders) or p.endswith("README.md")]
    generated = [
        "tour.md",
        "reference/commands.md",
        "repository/deploy/k8s/README.md",
        "repository/examples/typescript/README.md",
    ]
    assert sorted(listed) == sorted(wanted + generated)


def test_targets_files_and_modules_that_pages_name_are_there() -> None:
    """What a page says in code: `make NAME`, a path of the repository or of the Cortex, `python -m benchmarks.NAME`."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    wrong = []
    for page in (*PAGES, *OTHERS):
        text = page.read_text(encoding="utf-8")
        code = "\n".join(match[0].strip("`") for pattern in (FENCE, CODE) for match in pattern.finditer(text))
        for name in re.findall(r"^(?:[A-Z]+=\S+ )*make ([a-z][a-z0-9-]*)", code, re.M):
            if name not in targets:
                wrong.append(f"{page.name}: make {name}")
        for path in re.findall(
            r"(?<![\w./-])((?:libs|services|tests|tools|benchmarks|examples)/[\w./-]+\w)", code
        ):
            if not any((top / path).exists() for top in (ROOT, ROOT / "services/cortex")):
                wrong.append(f"{page.name}: {path}")
        for module in re.findall(r"-m (benchmarks(?:\.\w+)*)", code):
            path = ROOT / module.replace(".", "/")
            if not path.is_dir() and not path.with_suffix(".py").exists():
                wrong.append(f"{page.name}: {module}")
    assert "\n".join(wrong) == ""
