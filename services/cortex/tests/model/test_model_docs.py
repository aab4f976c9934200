"""Every entry of the catalog says what it is, shortly and of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import pytest
from cellmesh.cortex.model import Model
from cellmesh.cortex.model.definitions import PropDef

LENGTH_MAX = 160
SHARED_MAX = 10
"""How many entries may say the same without being listed below."""

SAME_WHEREVER_THEY_STAND = frozenset(
    (
        "The IPv4 address of the client.",
        "The IPv6 address of the client.",
    )
)

GROUPS = ("types", "forms", "interfaces", "properties", "universal properties", "tag properties", "edges")


@pytest.fixture(scope="module")
def docs() -> Mapping[str, Mapping[str, str]]:
    """What each entry says, by kind of entry and name; inherited properties count where they are defined."""
    model = Model.load()
    defs = model.defs
    owners = {
        **{name: form.props for name, form in defs.forms.items()},
        **{f"{name} (interface)": interface.props for name, interface in defs.interfaces.items()},
    }
    return {
        "types": {name: entry.doc for name, entry in defs.types.items()},
        "forms": {form.name: form.doc for form in model.forms()},
        "interfaces": {name: entry.doc for name, entry in defs.interfaces.items()},
        "properties": dict(properties(owners)),
        "universal properties": {name: prop.doc for name, prop in defs.universal.items()},
        "tag properties": {name: prop.doc for name, prop in defs.tagprops.items()},
        "edges": {
            f"{edge.source or '*'} -({edge.verb})> {edge.target or '*'}": edge.doc
            for edge in defs.edges.values()
        },
    }


def properties(owners: Mapping[str, Mapping[str, PropDef]]) -> Iterator[tuple[str, str]]:
    """Each property with what it says, named by its owner too."""
    for owner, props in owners.items():
        for name, prop in props.items():
            yield f"{owner}:{name}", prop.doc


def test_all_of_the_catalog_is_looked_at(docs: Mapping[str, Mapping[str, str]]) -> None:
    assert tuple(docs) == GROUPS
    counts = {group: len(entries) for group, entries in docs.items()}
    assert counts["types"] >= 698
    assert counts["forms"] >= 595
    assert counts["interfaces"] >= 21
    assert counts["properties"] >= 3_200
    assert counts["edges"] >= 90


@pytest.mark.parametrize("group", GROUPS)
def test_every_entry_is_documented(docs: Mapping[str, Mapping[str, str]], group: str) -> None:
    assert [name for name, doc in docs[group].items() if not doc] == []


@pytest.mark.parametrize("group", GROUPS)
def test_docs_are_short_sentences(docs: Mapping[str, Mapping[str, str]], group: str) -> None:
    wrong = {
        name: doc
        for name, doc in docs[group].items()
        if not doc.endswith(".")
        or doc.endswith("..")
        or not (doc[:1].isupper() or doc[:1].isdigit())
        or len(doc) > LENGTH_MAX
        or doc != " ".join(doc.split())
        or len(doc.split()) < 2
    }
    # One word is enough where the word is the thing.
    assert {name: doc for name, doc in wrong.items() if doc != "Text."} == {}


def test_few_entries_say_the_same(docs: Mapping[str, Mapping[str, str]]) -> None:
    names: dict[str, list[str]] = defaultdict(list)
    for group, entries in docs.items():
        if group != "forms":  # a form says what its type says
            for name, doc in entries.items():
                names[doc].append(name)
    shared = {doc: found for doc, found in names.items() if len(found) > SHARED_MAX}
    assert {doc: found for doc, found in shared.items() if doc not in SAME_WHEREVER_THEY_STAND} == {}
    assert shared.keys() == SAME_WHEREVER_THEY_STAND
