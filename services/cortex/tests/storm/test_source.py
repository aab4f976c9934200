"""Places in a query text."""

from __future__ import annotations

from cellmesh.cortex.storm.source import EXCERPT_WIDTH_MAX, Location, Source, Span

TEXT = 'inet:ipv4\n  +:asn="é"\n\nend'


def test_location_counts_lines_and_columns_from_one() -> None:
    source = Source(TEXT)

    assert source.location(0) == Location(0, 1, 1)
    assert source.location(9) == Location(9, 1, 10)
    assert source.location(10) == Location(10, 2, 1)
    assert source.location(TEXT.index("é")) == Location(TEXT.index("é"), 2, 10)
    assert source.location(len(TEXT)) == Location(len(TEXT), 4, 4)


def test_location_past_the_end_is_the_end() -> None:
    assert Source("ab").location(99) == Location(2, 1, 3)


def test_excerpt_marks_the_span() -> None:
    at = TEXT.index(":asn")

    assert Source(TEXT).excerpt(Span(at, at + 4)) == '  +:asn="é"\n   ^^^^'


def test_excerpt_of_an_empty_span_has_one_caret() -> None:
    assert Source("abc").excerpt(Span(3, 3)) == "abc\n   ^"


def test_excerpt_of_a_span_over_lines_stops_at_the_line_end() -> None:
    assert Source("ab\ncd").excerpt(Span(1, 5)) == "ab\n ^"


def test_excerpt_cuts_a_long_line_around_the_caret() -> None:
    text = "x" * 500 + "!" + "y" * 500

    line, carets = Source(text).excerpt(Span(500, 501)).split("\n")

    assert len(line) == EXCERPT_WIDTH_MAX
    assert line[carets.index("^")] == "!"


def test_excerpt_keeps_the_caret_in_place_after_tabs() -> None:
    assert Source("\tab").excerpt(Span(1, 3)) == " ab\n ^^"


def test_line_text_drops_the_line_end() -> None:
    source = Source("a\r\nb")

    assert source.line_text(1) == "a"
    assert source.line_text(2) == "b"
