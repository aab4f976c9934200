"""The search of the site of docs/ finds what was typed: tools/site/search.js over the index that MkDocs gathers, in QuickJS."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

dukpy = pytest.importorskip(
    "dukpy", reason="there is no JavaScript engine here: pip install 'cellmesh[docs]'"
)
pytest.importorskip("mkdocs", reason="there is no MkDocs here: pip install 'cellmesh[docs]'")

ROOT = Path(__file__).resolve().parents[2]
BASE = ".."
SHOWN_MAX = 40

PAGE = """
    var window = {location: {search: ""}}, base_url = "%s";
    function Element(name) { this.name = name; this.children = []; this.acts = {}; this.text = ""; }
    Element.prototype = {
        appendChild: function (child) { this.children.push(child); return child; },
        addEventListener: function (name, act) { this.acts[name] = act; },
        set textContent(text) { this.text = text; this.children = []; }
    };
    var places = {"mkdocs-search-query": new Element("input"), "mkdocs-search-results": new Element("div")};
    var document = {
        body: new Element("body"),
        createElement: function (name) { return new Element(name); },
        getElementById: function (id) { return places[id]; }
    };
    function URLSearchParams(text) { this.text = text; }
    URLSearchParams.prototype.get = function (name) {
        var found = this.text.match(new RegExp("[?&]" + name + "=([^&]*)"));
        return found && decodeURIComponent(found[1].replace(/\\+/g, " "));
    };
    function plain(element) {
        return {name: element.name, text: element.text, href: element.href || "", children: element.children.map(plain)};
    }
    null
"""
"""What search.js uses of a browser: a page with the field and the place for results that MkDocs's theme has."""


@dataclass(frozen=True, slots=True)
class Hit:
    """What is shown of a section that was found."""

    title: str
    place: str
    page: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a query shows: a line above, and what was found."""

    line: str
    hits: tuple[Hit, ...]


class Site:
    """The site as it is built, with its page of results open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        told = (folder / "search" / "records.js").read_text(encoding="utf-8")
        self.rows: list[list[str]] = json.loads(
            told.removeprefix("cellmeshSearch(").rstrip().removesuffix(");")
        )

    def open(self, query: str = "") -> Any:
        """A browser that has opened the page of results, with a query in its address."""
        browser = dukpy.JSInterpreter()
        browser.evaljs(PAGE % BASE)
        browser.evaljs("window.location.search = dukpy['query']; null", query=query)
        browser.evaljs((self.folder / "search" / "main.js").read_text(encoding="utf-8") + "; null")
        (script,) = browser.evaljs("document.body.children.map(function (one) { return one.src; })")
        told = (self.folder / script.removeprefix(f"{BASE}/")).read_text(encoding="utf-8")
        browser.evaljs("var cellmeshSearch = window.cellmeshSearch; null")
        browser.evaljs(f"{told}; null")
        return browser

    def matching(self, query: str) -> set[str]:
        """The places of the sections that have all words of a query, by looking at each."""
        words = query.lower().split()
        return {
            place
            for place, title, text in self.rows
            if all(word in title.lower() or word in text.lower() for word in words)
        }


def results(browser: Any) -> Shown:
    told = browser.evaljs("plain(places['mkdocs-search-results']).children")
    line = told[0]["text"] if told else ""
    hits = []
    for article in told[1:]:
        heading, page, excerpt = article["children"]
        (link,) = heading["children"]
        hits.append(
            Hit(link["text"], link["href"].removeprefix(f"{BASE}/"), page["text"], excerpt["text"].lower())
        )
    return Shown(line, tuple(hits))


def typed(browser: Any, query: str) -> Shown:
    field = "places['mkdocs-search-query']"
    browser.evaljs(f"{field}.value = dukpy['query']; {field}.acts.input(); null", query=query)
    return results(browser)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """What `make site` builds; a dead link between pages would end it."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "-q",
        "--strict",
        "-f",
        "tools/mkdocs.yml",
        "-d",
        folder,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Site(folder)


@pytest.fixture(scope="module")
def browser(site: Site) -> Any:
    return site.open()


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("inet:dns:a", "reference/model/inet.html#inetdnsa"),
        ("INET:DNS:A", "reference/model/inet.html#inetdnsa"),
        ("  mirror promote ", "reference/commands.html#mirror-promote"),
    ],
)
def test_a_name_is_found_first_as_it_is_typed(browser: Any, query: str, place: str) -> None:
    assert typed(browser, query).hits[0].place == place


@pytest.mark.parametrize(
    "query",
    [
        "inet:dns:a",
        "cortex mirror",
        "promote cortex kubernetes",
        "$lib.str.join",
        "-(refs)>",
        "+#a.b",
        "[ inet:fqdn=",
        ".*",
        "\\",
        "'\"",
        "<script>",
        "(",
        "%s",
    ],
)
def test_what_is_found_has_every_word(site: Site, browser: Any, query: str) -> None:
    expected = site.matching(query)
    shown = typed(browser, query)
    assert shown.line == (f"{len(expected)} found" if expected else "No page has all of this.")
    assert len({hit.place for hit in shown.hits}) == len(shown.hits) == min(len(expected), SHOWN_MAX)
    assert {hit.place for hit in shown.hits} <= expected
    assert all(hit.title and hit.page for hit in shown.hits)


def test_sections_that_have_it_in_their_title_come_before_those_that_only_mention_it(browser: Any) -> None:
    hits = [hit for hit in typed(browser, "provision").hits if not hit.place.startswith("repository/")]
    in_title = ["provision" in hit.title.lower() for hit in hits]
    assert in_title == sorted(in_title, reverse=True)
    assert len(set(in_title)) == 2


def test_some_queries_find_much_and_the_excerpt_shows_why(site: Site, browser: Any) -> None:
    assert len(site.matching("cortex mirror")) > 10
    assert len(site.matching("$lib.str.join")) > 0
    in_text = [hit for hit in typed(browser, "kubernetes").hits if "kubernetes" not in hit.title.lower()]
    assert in_text
    assert all("kubernetes" in hit.excerpt for hit in in_text)


def test_words_that_no_section_has_together_say_so(browser: Any) -> None:
    assert typed(browser, "inet:dns:a zzqqxx") == Shown("No page has all of this.", ())


def test_an_empty_field_shows_nothing_and_clears_what_was_there(browser: Any) -> None:
    assert typed(browser, "cortex").hits
    assert typed(browser, "  ") == Shown("", ())


def test_a_query_in_the_address_is_answered_when_the_page_opens(site: Site) -> None:
    browser = site.open("?q=inet%3Adns%3Aa")
    assert browser.evaljs("places['mkdocs-search-query'].value") == "inet:dns:a"
    assert results(browser).hits[0].title == "inet:dns:a"


def test_what_is_found_leads_to_sections_that_are_there(site: Site, browser: Any) -> None:
    for query in ("inet:dns:a", "cortex mirror", "$lib.str.join"):
        for hit in typed(browser, query).hits:
            page, _, anchor = hit.place.partition("#")
            text = (site.folder / page).read_text(encoding="utf-8")
            assert not anchor or f'id="{anchor}"' in text, hit.place
