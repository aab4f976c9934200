"""Words in lookup and autoadd mode: which forms a bare word may be, tried in order.

A word that is no value itself may have one in it, between punctuation: `(1.2.3.4).` The first by the order of the forms
counts. Longer text is searched for all that it mentions by the scrape library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import BadTypeValu
from cellmesh.cortex.storm.runtime.messages import Warn

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

# Form and pattern of a whole word; the first whose type takes the word counts.
WORD_FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("inet:url", re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)),
    ("inet:email", re.compile(r"[^@\s]+@[a-z0-9.-]+\.[a-z]{2,}", re.IGNORECASE)),
    ("inet:server", re.compile(r"\d{1,3}(\.\d{1,3}){3}:\d{1,5}")),
    ("inet:ipv4", re.compile(r"\d{1,3}(\.\d{1,3}){3}")),
    ("inet:ipv6", re.compile(r"[0-9a-f]*:[0-9a-f:]*:[0-9a-f.:]*", re.IGNORECASE)),
    ("hash:md5", re.compile(r"[0-9a-f]{32}", re.IGNORECASE)),
    ("hash:sha1", re.compile(r"[0-9a-f]{40}", re.IGNORECASE)),
    ("hash:sha256", re.compile(r"[0-9a-f]{64}", re.IGNORECASE)),
    ("hash:sha512", re.compile(r"[0-9a-f]{128}", re.IGNORECASE)),
    ("it:sec:cve", re.compile(r"CVE-\d{4}-\d{4,}", re.IGNORECASE)),
    ("inet:fqdn", re.compile(r"(?:[^\s./@:]+\.)+[^\s./@:\d]{2,}")),
)

INNER_WORD_LENGTH_MAX = 1024
"""Longest word in which values are looked for, in characters: the patterns try each place anew."""

_DOMAIN = r"(?:[\w-]+\.)+[^\W\d_][\w-]+"
_NOT_INNER = frozenset({"inet:url", "inet:ipv6"})
"""Forms whose values may have punctuation themselves."""

INNER_FORMS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(rf"(?<![\w.@:/-])(?:{inner})(?![\w@:/-]|\.\w)", re.IGNORECASE))
    for name, inner in (
        (name, _DOMAIN if name == "inet:fqdn" else pattern.pattern)
        for name, pattern in WORD_FORMS
        if name not in _NOT_INNER
    )
)
"""The same inside of a word."""


def undefang(word: str) -> str:
    """Return a word with the usual ways to make an address harmless undone."""
    for written, meant in (
        ("[.]", "."),
        ("(.)", "."),
        ("[dot]", "."),
        ("[:]", ":"),
        ("[at]", "@"),
        ("[@]", "@"),
    ):
        word = word.replace(written, meant)
    return re.sub(r"^hxxp", "http", word, flags=re.IGNORECASE)


def lookup_words(context: RunContext, words: Sequence[str], mode: str) -> Iterator[Node]:
    """Yield the nodes that words stand for; in autoadd mode missing ones are made.

    In search mode nothing comes, as in a peer without a package that searches: there is none for this Cortex.
    """
    if mode == "search":
        return
    for word in words:
        found = lookup_word(context, undefang(word), make=mode == "autoadd")
        if found is not None:
            yield found
        elif mode == "lookup":
            context.run.emit(Warn(f"no node found for {word}", {"word": word}))


def lookup_word(context: RunContext, word: str, *, make: bool) -> Node | None:
    """Return the node a word stands for, made if need be; None if there is none."""
    for name, value in _meanings(context, word):
        form = context.model.require_form(name)
        if make:
            context.check_writable()
            return context.session.add_node(form, value)
        return context.session.node(form, value, normalise=False)
    return None


def _meanings(context: RunContext, word: str) -> Iterator[tuple[str, Any]]:
    """Yield forms and normalised values that a word may be, then those that may be in it."""
    whole = ((name, word) for name, pattern in WORD_FORMS if pattern.fullmatch(word) is not None)
    inner = (
        (name, found.group())
        for name, pattern in INNER_FORMS
        if len(word) <= INNER_WORD_LENGTH_MAX
        for found in pattern.finditer(word)
    )
    for name, text in chain(whole, inner):
        form = context.model.form(name)
        if form is None:
            continue
        try:
            yield name, form.type.norm(text)
        except BadTypeValu:
            continue
